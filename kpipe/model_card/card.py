"""Writes the model card of a run, renews it, and says what it lacks."""

import dataclasses
import difflib
import os
import pathlib
import re
from collections.abc import Iterator, Sequence

from .. import files, formatting
from ..errors import UserError
from ..records import Run, open_run
from . import blanks, making, metadata, parts, sections
from .parts import Part, Piece

NAME = "MODEL_CARD.md"
SHOWN = 100  # characters of a line
_TITLES = {blank.name: blank.title.lower() for blank in blanks.BLANKS}


@dataclasses.dataclass(frozen=True)
class Card:
    """A model card that was written.

    Attributes:
        path: The file.
        to_fill: What people have to fill in yet, such as "intended use".
        lines: What there is to say: where it is, and what is to be done.
    """

    path: pathlib.Path
    to_fill: list[str]
    lines: list[str]

    def __repr__(self) -> str:
        return "\n".join(self.lines)


def write(
    folder: str | os.PathLike, out: str | os.PathLike | None = None, *, fresh: bool = False
) -> Card:
    """Writes the model card of a finished run, or renews an existing one.

    What people filled in or wrote between the parts of an existing card is kept; what kpipe wrote
    is written again. The run's other files are only read; its data are not needed.

    Args:
        folder: The run's folder, such as "saved_models/mnist_mlp".
        out: The file; by default MODEL_CARD.md in the folder.
        fresh: Whether parts that kpipe wrote are replaced although they were changed by hand.

    Returns:
        The card.

    Raises:
        UserError: It is not a finished run, a file of it is damaged, or the card cannot be read or
            written, or was changed by hand where kpipe writes; the message names the parts.

    Example:
        write("saved_models/mnist_mlp").to_fill[:2]  # ["license", "intended use"]
    """
    run = _open(folder)
    path = _target(run, out)
    now = parts_of(run)
    lines = []
    if path.exists():
        existing = _read(path)
        changed = [p.name for p in existing if isinstance(p, Part) and p.is_changed]
        if changed and not fresh:
            raise UserError(
                f"{path}: changed by hand since kpipe wrote it: {', '.join(changed)}; nothing is "
                "written: move your words between the parts, or replace these with --fresh"
            )
        pieces = parts.renew(existing, now)
    else:
        if earlier := _earlier(run, path):
            now = parts.take_blanks(now, _read(earlier))
            lines.append(f"what was filled in is taken from {earlier}")
        pieces = parts.new(now)
    content = _as_bytes(pieces)
    if not path.exists() or path.read_bytes() != content:
        files.write_bytes(path, content)
    to_fill = [line.partition(":")[0] for line in _to_fill(pieces, run)]
    lines.insert(0, f"model card: {path}")
    if to_fill:
        lines.append(f"to fill in by you: {', '.join(to_fill)}")
    return Card(path, to_fill, lines)


def check(folder: str | os.PathLike, out: str | os.PathLike | None = None) -> list[str]:
    """Returns what a run's model card lacks, a line each; none if it is complete.

    These are blanks that are not filled in, keys that the front matter must have, and parts whose
    numbers are not those of the run, such as those of earlier weights. Nothing is written.

    Args:
        folder: The run's folder.
        out: The file; by default MODEL_CARD.md in the folder.

    Raises:
        UserError: It is not a finished run, or the card cannot be read.

    Example:
        for line in check("saved_models/mnist_mlp"):
            print(line)
    """
    run = _open(folder)
    path = pathlib.Path(out) if out is not None else run.folder / NAME
    if not path.exists():
        return [f"{path}: missing; kpipe card {run.folder} writes it"]
    pieces = _read(path)
    return [*_to_fill(pieces, run), *_differences(pieces, parts_of(run))]


def parts_of(run: Run) -> list[Part]:
    """Returns the parts of a run's card in their order, with empty blanks."""

    def written(name: str, content: str) -> Part:
        return Part("kpipe", name, content)

    return [
        blanks.front_matter(run.record),
        written("metadata", metadata.to_yaml(metadata.of_run(run))),
        written("summary", sections.summary(run)),
        blanks.INTENDED_USE.part,
        blanks.OUT_OF_SCOPE.part,
        written("use", sections.use(run)),
        written("data", sections.data(run)),
        written("results", sections.results(run)),
        written("limits", sections.limits(run)),
        blanks.ETHICS.part,
        written("training", making.training(run)),
        written("export", making.export(run)),
        written("identity", making.identity(run)),
        blanks.TERMS.part,
        blanks.CONTACT.part,
    ]


def _open(folder: str | os.PathLike) -> Run:
    path = pathlib.Path(folder).expanduser()
    if (path / "search.json").is_file() and not (path / "run.json").is_file():
        raise UserError(f"{path}: the folder of a search; expected that of a run, such as its best")
    return open_run(path)


def _target(run: Run, out: str | os.PathLike | None) -> pathlib.Path:
    """Checks that a card can be written, and that it is no file that the run lists."""
    path = run.folder / NAME if out is None else pathlib.Path(out)
    inside = pathlib.Path(os.path.abspath(path)).relative_to
    wrong = {
        "is a folder": path.is_dir(),
        "is in a folder that does not exist": not path.parent.is_dir(),
        "is in a folder that cannot be written": not os.access(path.parent, os.W_OK),
    }
    if what := next((what for what, found in wrong.items() if found), ""):
        raise UserError(f"{path} {what}; choose a file with --out")
    try:
        parts_below = inside(os.path.abspath(run.folder)).parts
    except ValueError:  # it is elsewhere
        return path
    if len(parts_below) > 1 or path.suffix != ".md":
        raise UserError(
            f"--out {path}: a file of the run; expected {NAME} or README.md in its folder, or a "
            "file elsewhere"
        )
    return path


def _read(path: pathlib.Path) -> list[Piece]:
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected a card in UTF-8") from None
    return parts.read(content.replace("\r\n", "\n"), path)


def _earlier(run: Run, path: pathlib.Path) -> pathlib.Path | None:
    """Returns the card of the run that the last `--fresh` set aside, FOLDER~N, if it has one."""
    folder = pathlib.Path(os.path.abspath(run.folder))
    if pathlib.Path(os.path.abspath(path)).parent != folder:
        return None
    number = re.compile(rf"{re.escape(folder.name)}~(\d+)")
    kept = {
        int(found[1]): other / path.name
        for other in folder.parent.iterdir()
        if (found := number.fullmatch(other.name)) and (other / path.name).is_file()
    }
    return kept[max(kept)] if kept else None


def _as_bytes(pieces: Sequence[Piece]) -> bytes:
    return "".join(map(str, pieces)).encode("utf-8", "backslashreplace")


def _to_fill(pieces: Sequence[Piece], run: Run) -> Iterator[str]:
    found = {piece.key: piece.content for piece in pieces if isinstance(piece, Part)}
    yield from blanks.missing_in_front(*parts.front_matter(pieces), run.record)
    for blank in blanks.BLANKS:
        content = found.get(("yours", blank.name))
        if content is None:
            yield f"{_TITLES[blank.name]}: the section is missing; kpipe card {run.folder} adds it"
        elif not blanks.is_filled(content):
            yield f"{_TITLES[blank.name]}: to fill in"


def _differences(pieces: Sequence[Piece], now: Sequence[Part]) -> Iterator[str]:
    """Yields the parts of kpipe that are missing, changed by hand, or of other numbers."""
    found = {piece.key: piece for piece in pieces if isinstance(piece, Part)}
    for part in now:
        if part.owner != "kpipe":
            continue
        if part.key not in found:
            yield f"{part.name}: the part is missing"
        elif found[part.key].is_changed:
            yield f"{part.name}: changed by hand, so that it cannot be compared with the run"
        elif said := _first_difference(found[part.key].content, part.content):
            yield f"{part.name}: {said}"


def _numbers(content: str) -> list[str]:
    """Returns numbers and hashes; a newer kpipe may choose other words for the same numbers."""
    return re.findall(r"[0-9a-f]{16,}|\d[\d.,]*(?:e[-+]\d+)?", content)


def _first_difference(card: str, now: str) -> str:
    """Says in which line a card has other numbers than the run; "" if they are the same."""
    if _numbers(card) == _numbers(now):
        return ""
    old, new = ([line for line in content.split("\n") if _numbers(line)] for content in (card, now))
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind != "equal":
            then = _shortened(old[a]) if a < b else "nothing"
            return f"the card says {then}, the run {_shortened(new[c]) if c < d else 'nothing'}"
    return "other numbers than the run"


def _shortened(line: str) -> str:
    line = " ".join(line.split())
    return f"“{line[:SHOWN]}{'…' * (len(line) > SHOWN)}”"


def summary_of_check(missing: Sequence[str]) -> str:
    """Writes the last line of a check."""
    if not missing:
        return "complete"
    things = formatting.counted(len(missing), "thing")
    return f"NOT COMPLETE: {things}; you fill in blanks, kpipe card renews what differs"
