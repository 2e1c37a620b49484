"""The other formats of a run, those that `kpipe export` wrote: a table of its card."""

from collections.abc import Iterator, Mapping
from typing import Any

from .. import files, formatting
from ..disk import megabytes
from ..errors import UserError
from ..formats import FORMATS
from ..formats.telling import difference
from ..records import Run
from . import markdown
from .markdown import code, text

EXPORTS = "exports"  # their folder, in that of a run
_HEAD = (
    *("format", "size", "on the test split", "difference [95 % interval]", "answers changed"),
    *("largest difference", "ms, batch of 1", "ms, batch of 64"),
)


def other_formats(run: Run) -> str:
    """Writes what the formats keep and cost, compared with the trained model; "" without any.

    Raises:
        UserError: A record is damaged; the message names it.
    """
    rows, others, sizes = [], [], set()
    for path in sorted(run.folder.glob(f"{EXPORTS}/*/export.json")):
        content: Any = files.read_json(path)
        try:
            if content["weights_sha256"] == run.record.weights_sha256:
                rows.append([*_cells(content, path.parent.name)])
                sizes.add(megabytes(content["savedmodel_bytes"]))
            else:
                others.append(code(f"{EXPORTS}/{path.parent.name}"))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UserError(
                f"{path}: not the record of an export; export it again with --fresh"
            ) from None
    if not rows and not others:
        return ""
    return markdown.join("### Other formats", _warning(others), *_table(rows, sorted(sizes)))


def _warning(folders: list[str]) -> str:
    if not folders:
        return ""
    are, they = ("are", "them") if len(folders) > 1 else ("is", "it")
    listed = ", ".join(folders)
    return f"> **{listed} {are} of OTHER WEIGHTS: do not use {they}; export {they} again.**"


def _table(rows: list[list[str]], sizes: list[str]) -> Iterator[str]:
    """Yields a note and the table, without empty columns: not all runs have a metric."""
    if not rows:
        return
    yield (
        f"Converted from the SavedModel ({', '.join(sizes)}) by `kpipe export`, into `{EXPORTS}/`, "
        "and compared with the trained model. The largest difference is that of one number of an "
        "answer, relative to the largest of them if that exceeds 1. Milliseconds are those of an "
        "example on one thread; in parentheses those of the SavedModel, measured in turns."
    )
    kept = [i for i, column in enumerate(zip(*rows, strict=True)) if any(column)]
    yield markdown.table([_HEAD[i] for i in kept], [[row[i] for i in kept] for row in rows])


def _cells(content: Mapping[str, Any], folder: str) -> Iterator[str]:
    quantize, quality, proof = content["quantize"], content["quality"], content["proof"]
    name = " ".join(filter(None, (FORMATS[content["format"]][0], quantize)))
    usual = "-".join(filter(None, (content["format"], quantize)))
    yield text(name) + (f" ({code(folder)})" if folder != usual else "")
    yield megabytes(content["bytes"])
    if quality:
        metric = quality["metric"]
        value = formatting.number(metric, quality["after"]["value"])
        yield text(f"{formatting.with_unit(metric)} {value}")
        yield text(difference(quality))
        yield "" if quality["changed"] is None else formatting.percent(quality["changed"])
    else:
        yield from ("", "", "")
    allowed = f", allowed {formatting.small(proof['tolerance'])}" if proof["tolerance"] else ""
    alone = ", without the test split" if proof["test_examples"] is None else ""
    yield f"{formatting.small(proof['max_difference'])}{allowed}{alone}"
    for batch in ("1", "64"):
        before, after = content["speed"]["milliseconds"][batch]
        yield f"{after:.3g} ({before:.3g})"
