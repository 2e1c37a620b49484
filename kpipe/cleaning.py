"""Finds what is safe to free: what can be made again, and what killed processes left behind."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import stat
import time
from collections.abc import Iterator

from . import files, manifest
from .errors import UserError
from .experiments.folders import CHECKPOINTS

# Folders of $KPIPE_HOME with one entry for each prepared dataset, set of features, ...
CACHES = {
    "data": "prepared data",
    "features": "features of a frozen backbone",
    "looks": "looks at own data",
    "help": "keys of own pipelines",
    "logs": "TensorFlow's log",
}
RECENT = 600.0  # seconds since the last change of what may still be written


@dataclasses.dataclass(frozen=True)
class Item:
    """A file or folder that can be freed.

    Attributes:
        path: The file or folder.
        what: What it is, for people.
        owner: What a process locks while it writes there.
        size: Its bytes on disk.
        abandoned: Whether a writer left it unfinished. The writer may be alive and have no lock
            that its name tells, so that it must not have changed for a while.
    """

    path: pathlib.Path
    what: str
    owner: pathlib.Path
    size: int
    abandoned: bool = False


def find(out: pathlib.Path, data_dir: pathlib.Path) -> tuple[list[Item], list[Item]]:
    """Lists what can be freed, and what cannot since a living process writes or reads it.

    A writer is known by its lock; a reader by its open files, where the system lists them (Linux).

    Args:
        out: Folder of runs, of which no result is listed.
        data_dir: Folder of the TFDS datasets, of which only unfinished ones are listed.
    """
    opened = _opened()
    free: list[Item] = []
    kept: list[Item] = []
    for item in (*_in_home(files.home()), *_in_runs(out), *_in_tfds(data_dir)):
        (kept if _is_used(item, opened) else free).append(item)
    return free, kept


def remove(item: Item) -> bool:
    """Removes an item, unless a process began to use it in the meantime; returns whether it did.

    It is renamed first, so that no process opens a part of it.
    """
    with contextlib.suppress(UserError, OSError), _locked(item.owner):
        if _is_used(item, _opened(), locked=True):
            return False
        hidden = item.path.with_name(f".{item.path.name.lstrip('.')[:60]}.part-cleaned")
        os.rename(item.path, hidden)
        shutil.rmtree(hidden) if hidden.is_dir() else hidden.unlink()
        return True
    return False


def _in_home(home: pathlib.Path) -> Iterator[Item]:
    for name, what in CACHES.items():
        for path in _entries(home / name):
            if ".part-" in path.name and path.name.startswith("."):
                owner = path.with_name(path.name[1:].partition(".part-")[0])
                yield _item(path, "left by a killed process", owner, abandoned=True)
            elif not path.name.startswith("."):  # locks
                yield _item(path, what, path)


def _in_runs(out: pathlib.Path) -> Iterator[Item]:
    for folder in _entries(out):
        if not (folder / "run.json").is_file() or folder.name.startswith("."):
            continue
        for path in sorted(folder.rglob(".*.part-*")):
            yield _item(path, "left by a killed process", folder, abandoned=True)
        for path in [folder / place for place in CHECKPOINTS]:
            if path.is_dir() and _is_complete(folder):
                yield _item(path, "checkpoints of a finished run", folder)


def _is_complete(folder: pathlib.Path) -> bool:
    """Whether nothing of a run is left to do; checkpoints complete it without training."""
    try:
        content = files.read_json(folder / "run.json")
    except UserError:
        return False
    if not isinstance(content, dict) or content.get("status") != "finished":
        return False
    return not content.get("problems") and (folder / manifest.NAME).is_file()


def _in_tfds(data_dir: pathlib.Path) -> Iterator[Item]:
    """Yields folders of datasets whose preparation was killed: NAME/[CONFIG/]incomplete.X_1.0.0."""
    for depth in ("*", "*/*"):
        for path in sorted(data_dir.glob(f"{depth}/*incomplete*")):
            if path.is_dir() and "incomplete" in path.name.split("."):
                yield _item(path, "unfinished dataset of TFDS", path, abandoned=True)


def _entries(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _item(path: pathlib.Path, what: str, owner: pathlib.Path, abandoned: bool = False) -> Item:
    sizes = [status.st_size for status in _statuses(path) if not stat.S_ISDIR(status.st_mode)]
    return Item(path, what, owner, sum(sizes), abandoned)


def _statuses(path: pathlib.Path) -> Iterator[os.stat_result]:
    """Yields sizes and times of a file or folder and all that is in it; no link is followed."""
    for entry in (path, *path.rglob("*")) if path.is_dir() else (path,):
        with contextlib.suppress(OSError):  # removed in the meantime
            yield entry.lstat()


def _is_used(item: Item, opened: set[str], locked: bool = False) -> bool:
    """Whether a process writes or reads an item; `locked` if this process holds its lock."""
    real = os.path.realpath(item.path)
    if any(path == real or path.startswith(real + os.sep) for path in opened):
        return True
    if item.abandoned:
        changed = max((status.st_mtime for status in _statuses(item.path)), default=0.0)
        if time.time() - changed < RECENT:
            return True
    return not locked and is_locked(item.owner)


def is_locked(owner: pathlib.Path) -> bool:
    """Whether a process writes to a folder that `files.lock` locks."""
    if not owner.with_name(f".{owner.name}.lock").exists():
        return False
    try:
        with files.lock(owner, wait=False):
            return False
    except (UserError, OSError):  # held, or not to be opened
        return True


@contextlib.contextmanager
def _locked(owner: pathlib.Path) -> Iterator[None]:
    """Locks what a process would lock to write; TFDS has no locks."""
    if "incomplete" in owner.name:
        yield
        return
    with files.lock(owner, wait=False):
        yield


def _opened() -> set[str]:
    """Returns the files that processes have open or mapped into memory, where /proc exists."""
    found: set[str] = set()
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended, or belongs to another user
            found.update(os.readlink(link) for link in (process / "fd").iterdir())
        with contextlib.suppress(OSError):
            for line in (process / "maps").read_text(errors="replace").splitlines():
                path = line.partition("/")[2]
                if path:
                    found.add(f"/{path}")
    return found
