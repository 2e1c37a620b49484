"""`kpipe clean`: frees what can be made again or was left behind."""

import pathlib
import sys
from collections.abc import Sequence

from .. import cleaning, files
from ..datasets.prepared import default_data_dir
from .parsing import Parser

CLEAN = (
    "List what is safe to free, and free it after a question: prepared data and features, which "
    "are made again when they are needed; TensorFlow's log; what killed processes left behind. "
    "Results of runs are never touched, nor what a process uses."
)


def main(arguments: list[str]) -> int:
    """Runs the command; returns the exit code."""
    parser = Parser("kpipe clean", "", CLEAN)
    add = parser.add_argument
    add(
        "--out",
        default="saved_models",
        metavar="DIR",
        help="folder of runs, of which only checkpoints of finished ones and temporary files are "
        "freed (default saved_models)",
    )
    add("--data-dir", metavar="DIR", help="folder of real data (default ~/tensorflow_datasets)")
    add("--yes", action="store_true", help="do not ask")
    add("-h", "--help", action="help", help="show this help")
    given = parser.parse(arguments)
    data_dir = pathlib.Path(given.data_dir).expanduser() if given.data_dir else default_data_dir()
    free, used = cleaning.find(pathlib.Path(given.out).expanduser(), data_dir)
    for item in used:
        print(f"kept, since a process uses it or did so just now: {item.path}")
    if not free:
        print(f"nothing to free in {files.home()}, {given.out} and {data_dir}")
        return 0
    for item in free:
        print(f"{_size(item.size):>9}  {item.what}: {item.path}")
    print(f"{_size(sum(item.size for item in free)):>9}  in all")
    if not given.yes and not _agrees():
        return 0
    removed = cleaning.remove(free)
    print(f"freed {_size(sum(item.size for item in removed))}")
    _say_left(free, removed)
    return 0


def _agrees() -> bool:
    if not sys.stdin.isatty():
        print("nothing was freed: there is no terminal to ask; kpipe clean --yes frees it")
        return False
    try:
        return input("free all of it? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _say_left(free: Sequence[cleaning.Item], removed: Sequence[cleaning.Item]) -> None:
    for item in free:
        if item not in removed:
            print(f"kept, since it is used or cannot be removed: {item.path}")


def _size(count: int) -> str:
    """Writes a number of bytes: "1.2 GB"."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"
