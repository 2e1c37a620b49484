"""Converts a run of every pipeline to every format, and writes the tables of docs/export.md.

    python benchmarks/formats.py saved_models [--results results.json] [--tables-only]

Of each pipeline the run with the shortest name is taken that is finished; those without one are
listed. Nothing is written into the runs. Results are kept in a JSON file, and what is in it already
is not measured again.
"""

import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from kpipe import formatting
from kpipe.errors import RunError, UserError
from kpipe.experiments import catalogue
from kpipe.formats import FORMATS

INT8 = tuple(format for format in FORMATS if format != "openvino")
VARIANTS = [*((format, None) for format in FORMATS), *((format, "int8") for format in INT8)]


def main() -> None:
    arguments = _parse()
    results = arguments.results
    found: dict[str, Any] = json.loads(results.read_text()) if results.is_file() else {}
    runs = dict(sorted(_runs(arguments.folders)))
    if not arguments.tables_only:
        for name, folder in runs.items():
            if name not in found:
                print(f"{name}: {folder}", flush=True)
                command = [sys.executable, __file__, "--one", str(folder)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                found[name] = json.loads(done.stdout.splitlines()[-1])
                results.write_text(json.dumps(found, indent=1))
    print("\n".join(_tables(found)))
    have = {name.partition(" ")[0] for name in found}
    if missing := [name for name in catalogue.names() if name not in have]:
        print(f"no finished run of: {', '.join(missing)}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=pathlib.Path, help="folders of runs")
    parser.add_argument("--results", type=pathlib.Path, default=pathlib.Path("formats.json"))
    parser.add_argument("--tables-only", action="store_true", help="measure nothing")
    parser.add_argument("--one", type=pathlib.Path, help="convert one run, and print JSON")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(_convert(arguments.one)))
        raise SystemExit
    return arguments


def _runs(folders: Sequence[pathlib.Path]) -> Iterator[tuple[str, pathlib.Path]]:
    """Yields pipeline and folder of the runs, those with the shortest names last."""
    paths = [path.parent for folder in folders for path in folder.glob("*/run.json")]
    for path in sorted(paths, key=lambda path: len(path.name), reverse=True):
        record = json.loads((path / "run.json").read_text())
        if record.get("status") == "finished":
            name = record["pipeline"]
            other = record["hyperparameters"].get("architecture")
            texts = record["data"]["usage"].startswith("--text")
            # Of texts each architecture has a row: loops are what formats differ in.
            yield f"{name} {other}" if texts and other else name, path


def _convert(folder: pathlib.Path) -> dict[str, Any]:
    """Converts a run to each format; returns the records, or errors."""
    import kpipe
    from kpipe import quiet

    quiet.move_logs()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(sys.stderr):
        for format, quantize in VARIANTS:
            name = f"{format}-{quantize}" if quantize else format
            try:
                found[name] = dict(
                    kpipe.convert(folder, format, quantize=quantize, out=out).content
                )
            except (UserError, RunError) as error:
                found[name] = {"error": str(error)}
    record = json.loads((folder / "run.json").read_text())
    return {"data": record["data"]["kind"], **found}


def _tables(found: dict[str, Any]) -> Iterator[str]:
    reasons: dict[str, int] = {}
    head = ["pipeline", "SavedModel", *(FORMATS[format][0] for format in FORMATS)]
    yield from _lines([head, *(_row(name, one, reasons) for name, one in found.items())])
    yield ""
    head = ["pipeline", "metric", *(f"{FORMATS[format][0]} int8" for format in INT8)]
    yield from _lines([head, *(_row_of_int8(name, one, reasons) for name, one in found.items())])
    yield ""
    yield from (f"{number}. {reason}" for reason, number in reasons.items())
    worst = [
        one[format]["proof"]["max_difference"]
        for one in found.values()
        for format in FORMATS
        if "proof" in one[format]
    ]
    yield f"largest difference of a float32 model: {formatting.small(max(worst, default=None))}"


def _lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for i, row in enumerate(rows):
        yield f"| {' | '.join(row)} |"
        if not i:
            yield f"|{'---|' * len(row)}"


def _row(name: str, one: dict[str, Any], reasons: dict[str, int]) -> list[str]:
    sizes = [one[format]["savedmodel_bytes"] for format in FORMATS if "bytes" in one[format]]
    cells = [_cell(one[format], reasons) for format in FORMATS]
    return [_named(name, one), _megabytes(sizes[0]) if sizes else "", *cells]


def _cell(content: dict[str, Any], reasons: dict[str, int]) -> str:
    if "error" in content:
        return _reason(content["error"], reasons)
    times = content["speed"]["milliseconds"].values()
    cells = (f"{after:.2g} ({_ratio(before / after)})" for before, after in times)
    return f"{_megabytes(content['bytes'])}; {', '.join(cells)}"


def _ratio(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _row_of_int8(name: str, one: dict[str, Any], reasons: dict[str, int]) -> list[str]:
    measured = [one[f"{format}-int8"] for format in INT8]
    quality: dict[str, Any] = next((m["quality"] for m in measured if m.get("quality")), {})
    metric = quality.get("metric", "")
    before = formatting.number(metric, quality["before"]["value"]) if quality else ""
    unit = formatting.unit_of(metric)
    cells = [_cell_of_int8(content, reasons) for content in measured]
    said = f"{formatting.words(metric)} {before} {unit}".strip()
    return [_named(name, one), said, *cells]


def _cell_of_int8(content: dict[str, Any], reasons: dict[str, int]) -> str:
    if "error" in content:
        return _reason(content["error"], reasons)
    from kpipe.formats.telling import difference

    lost = difference(content["quality"]).replace(" points", "")
    return f"{_cell(content, reasons)}; {lost}"


def _named(name: str, one: dict[str, Any]) -> str:
    return f"{name} (sample)" if one["data"] == "sample" else name


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2g}" if size < 1e7 else f"{size / 1e6:.0f}"


def _reason(error: str, reasons: dict[str, int]) -> str:
    """Returns the number of a reason, without the run that it is about."""
    text = error.partition(": ")[2] if error.startswith(("/", ".", "saved_models")) else error
    return f"no ({reasons.setdefault(text, len(reasons) + 1)})"


if __name__ == "__main__":
    main()
