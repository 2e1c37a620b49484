"""`kpipe runs`: lists all runs in a folder."""

import datetime
import pathlib
import textwrap
from collections.abc import Iterator
from typing import Any

from .. import cleaning, files, formatting
from ..errors import UserError
from .parsing import Parser, width

RUNS = (
    "List what is in the folder of runs, the newest first: finished and unfinished runs, searches, "
    "comparisons, learning curves and checks of labels, and what cannot be read."
)
# Files that are a record, and of what.
RECORDS = {
    "run.json": "run",
    "search.json": "search",
    "curve.json": "learning curve",
    "labels.json": "check of labels",
    "comparison.json": "comparison",
}


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = Parser("kpipe runs", "", RUNS)
    parser.add_argument(
        "--out",
        default="saved_models",
        metavar="DIR",
        help="folder of runs (default saved_models)",
    )
    parser.add_argument("-h", "--help", action="help", help="show this help")
    given = parser.parse(arguments)
    out = pathlib.Path(given.out).expanduser()
    if not out.is_dir():
        raise UserError(f"{out}: no such folder; expected the folder of runs, the --out of a run")
    found = sorted(_found(out), key=lambda path: _changed(path), reverse=True)
    for path in found:
        print(path.parent.name)
        print(textwrap.fill(_state(path), width(), initial_indent="  ", subsequent_indent="  "))
    if not found:
        print(f"no runs in {out}")
    return 0


def _found(out: pathlib.Path) -> Iterator[pathlib.Path]:
    for folder in out.iterdir():
        if folder.name.startswith(".") or not folder.is_dir():
            continue
        records = [folder / name for name in RECORDS if (folder / name).is_file()]
        if records:
            yield records[0]
        elif (folder / "manifest.json").is_file():
            yield folder / "run.json"  # which is missing


def _changed(path: pathlib.Path) -> float:
    """When a run was finished, or last saved."""
    times = [p.stat().st_mtime for p in (path, path.with_name("history.csv")) if p.is_file()]
    return max(times, default=0.0)


def _state(path: pathlib.Path) -> str:
    """Describes a run, or what else there is, in a sentence."""
    kind = RECORDS[path.name]
    try:
        content: Any = files.read_json(path)
        if not isinstance(content, dict):
            raise UserError(f"{path}: not a record")
        when = datetime.datetime.fromtimestamp(_changed(path)).strftime("%Y-%m-%d %H:%M")
        status, command = str(content["status"]), str(content["command"])
        data = str(content["data"]["kind"])
        if kind == "search":
            done = path.with_name("trials.csv").is_file()
            return f"{kind}, {when}" + ("" if done else f", unfinished; resume: {command}")
        if kind == "comparison" and status != "finished":
            return f"{kind}, {when}, {status}; go on: {command}"
        if status == "unfinished" and kind == "learning curve":
            return f"{kind}, {when}"
        if status != "unfinished":
            said = f"{_kind(kind)}{status} {when}{_result(path, content)} ({data} data)"
            if problems := content.get("problems"):
                said += f"; incomplete: {'; '.join(problems)}; complete: {command}"
            return said
        if cleaning.is_locked(path.parent):
            return f"{_kind(kind)}running, {_progress(path, content)} ({data} data)"
        progress = _progress(path, content)
        return f"{_kind(kind)}unfinished, {progress}, last saved {when}; resume: {command}"
    except (UserError, KeyError, TypeError, ValueError, OSError) as error:
        return f"damaged: {error}"


def _kind(kind: str) -> str:
    return "" if kind == "run" else f"{kind}, "


def _progress(path: pathlib.Path, content: dict) -> str:
    history = path.with_name("history.csv")
    lines = history.read_bytes().count(b"\n") if history.is_file() else 1
    done = max(0, lines - 1)
    return f"{done} of {content['trainer']['epochs']} epochs"


def _result(path: pathlib.Path, content: dict) -> str:
    """Writes the main metric, as `kpipe run --list` does."""
    metrics: Any = path.with_name("metrics.json")
    if path.name != "run.json":
        return ""
    metrics = files.read_json(metrics)
    of_target = (content.get("target") or {}).get("metric")
    metric = formatting.headline(of_target, content.get("headline", ""), metrics)
    return f", {formatting.with_unit(metric)} {formatting.measured(metric, metrics[metric])}"
