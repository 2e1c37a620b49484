"""Finds what is safe to free: what can be made again, and what killed processes left behind."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator

from . import files, manifest
from .errors import UserError, WriteError
from .experiments.folders import CHECKPOINTS

_DIGEST = "[0-9a-f]{16}"
# Folders of $KPIPE_HOME, which may contain a user's own files as well. For each: what kpipe writes
# there, the names it gives, and what is in a folder of it; "" if it writes files.
CACHES = {
    "data": ("prepared data", rf".+-(real|sample|own)-{_DIGEST}(-[a-z]+-{_DIGEST})?", "*.npy"),
    "features": ("features of a frozen backbone", "[0-9a-f]{32}", "features.npy"),
    "looks": ("looks at own data", rf"(images|rows|profile)-{_DIGEST}", "*.json"),
    "help": ("keys of own pipelines", rf".+-{_DIGEST}\.json", ""),
    "logs": ("TensorFlow's log", r"tensorflow(\.old)?\.log", ""),
}
LEFT = "left by a killed process"
# Folder of a dataset that TFDS prepares, see its `incomplete_dir`.
UNFINISHED = re.compile(r"incomplete\.[A-Z0-9]{6}_\d+\.\d+\.\d+")
RECENT = 600.0  # seconds since the last change of what may still be written
FRESH = 1.0  # seconds for which a list of opened files is used


@dataclasses.dataclass(frozen=True)
class Item:
    """A file or folder that can be freed.

    Attributes:
        path: The file or folder.
        what: What it is, for people.
        owner: What a process locks while it writes there.
        size: The bytes that it frees.
        needed: Whether it must remain, although no process uses it; asked again under the lock.
    """

    path: pathlib.Path
    what: str
    owner: pathlib.Path
    size: int
    needed: Callable[[], bool]


def find(out: pathlib.Path, data_dir: pathlib.Path) -> tuple[list[Item], list[Item]]:
    """Lists what can be freed, and what cannot since a living process writes or reads it.

    A writer is known by its lock; a reader by its open files, where the system lists them (Linux).
    Links are left alone: what they lead to is locked under another name.

    Args:
        out: Folder of runs, of which no result is listed.
        data_dir: Folder of the TFDS datasets, of which only unfinished ones are listed.
    """
    opened = _opened()
    free: list[Item] = []
    kept: list[Item] = []
    for item in (*_in_home(files.home()), *_in_runs(out), *_in_tfds(data_dir)):
        if not (item.path.is_symlink() or item.owner.is_symlink()):
            (kept if _is_used(item, opened) or is_locked(item.owner) else free).append(item)
    return free, kept


def remove(items: Iterable[Item]) -> list[Item]:
    """Removes items, and returns them without those that a process began to use in the meantime.

    Each is renamed first, so that no process opens a part of it.
    """
    removed = []
    opened, listed = _opened(), time.monotonic()
    for item in items:
        if time.monotonic() - listed > FRESH:
            opened, listed = _opened(), time.monotonic()
        with (
            contextlib.suppress(UserError, WriteError, OSError),
            files.lock(item.owner, wait=False),
        ):
            if not _is_used(item, opened):
                hidden = files.temporary_name(item.path)
                os.rename(item.path, hidden)
                shutil.rmtree(hidden) if hidden.is_dir() else hidden.unlink()
                removed.append(item)
    return removed


def _in_home(home: pathlib.Path) -> Iterator[Item]:
    for name, (what, names, content) in CACHES.items():
        for path in _entries(home / name):
            if final := files.final_name(path.name):
                yield _abandoned(path, LEFT, path.with_name(final))
            elif re.fullmatch(names, path.name, re.DOTALL) and (
                any(path.glob(content)) if content else path.is_file()
            ):
                yield _item(path, what, path)


def _in_runs(out: pathlib.Path) -> Iterator[Item]:
    for folder in _entries(out):
        if folder.name.startswith(".") or not os.path.isfile(folder / "run.json"):
            continue
        for path in sorted(_temporary(folder)):
            yield _abandoned(path, LEFT, folder)
        for path in [folder / place for place in CHECKPOINTS]:
            if path.is_dir() and not _is_incomplete(folder):
                of_run = functools.partial(_is_incomplete, folder)
                yield _item(path, "checkpoints of a finished run", folder, of_run)


def _temporary(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields temporary files and folders, except in folders that have a lock of their own."""
    for here, folders, names in os.walk(folder):
        yield from (pathlib.Path(here, n) for n in (*folders, *names) if files.final_name(n))
        folders[:] = [n for n in folders if not files.final_name(n) and f".{n}.lock" not in names]


def _is_incomplete(folder: pathlib.Path) -> bool:
    """Whether something of a run is left to do; checkpoints complete it without training."""
    try:
        content = files.read_json(folder / "run.json")
    except UserError:
        return True
    if not isinstance(content, dict) or content.get("status") != "finished":
        return True
    return bool(content.get("problems")) or not (folder / manifest.NAME).is_file()


def _in_tfds(data_dir: pathlib.Path) -> Iterator[Item]:
    """Yields folders of datasets whose preparation was killed: NAME/[CONFIG/]incomplete.X_1.0.0.

    An empty one frees nothing, and TFDS makes it before a download that may take hours.
    """
    for depth in ("*", "*/*"):
        for path in sorted(data_dir.glob(f"{depth}/incomplete.*")):
            if UNFINISHED.fullmatch(path.name):
                dataset = data_dir / path.relative_to(data_dir).parts[0]
                item = _abandoned(path, "unfinished dataset of TFDS", dataset)
                if path.is_dir() and item.size:
                    yield item


def _entries(folder: pathlib.Path) -> list[pathlib.Path]:
    with contextlib.suppress(OSError):  # missing, or of another user
        return sorted(folder.iterdir())
    return []


def _item(
    path: pathlib.Path,
    what: str,
    owner: pathlib.Path,
    needed: Callable[[], bool] = lambda: False,
) -> Item:
    sizes = [
        status.st_size
        for status in _statuses(path)
        if not stat.S_ISDIR(status.st_mode) and status.st_nlink == 1  # else it is in state/ as well
    ]
    return Item(path, what, owner, sum(sizes), needed)


def _abandoned(path: pathlib.Path, what: str, owner: pathlib.Path) -> Item:
    """Returns what a writer left unfinished, unless it is alive and has another lock, or none."""
    return _item(path, what, owner, functools.partial(_is_recent, path))


def _is_recent(path: pathlib.Path) -> bool:
    changed = max((status.st_mtime for status in _statuses(path)), default=0.0)
    return time.time() - changed < RECENT


def _statuses(path: pathlib.Path) -> Iterator[os.stat_result]:
    """Yields sizes and times of a file or folder and all that is in it; no link is followed."""
    inside = (
        os.path.join(here, name)
        for here, folders, names in os.walk(path)
        for name in (*folders, *names)
    )
    for entry in (os.fspath(path), *inside):
        with contextlib.suppress(OSError):  # removed in the meantime
            yield os.lstat(entry)


def _is_used(item: Item, opened: set[str]) -> bool:
    """Whether an item is needed, or a process has a file of it open."""
    return os.path.realpath(item.path) in opened or item.needed()


def is_locked(owner: pathlib.Path) -> bool:
    """Whether a process writes to a folder that `files.lock` locks."""
    if not owner.with_name(f".{owner.name}.lock").exists():
        return False
    try:
        with files.lock(owner, wait=False):
            return False
    except (UserError, OSError):  # held, or not to be opened
        return True


def _opened() -> set[str]:
    """Returns the files that processes have open or mapped into memory, and all their folders.

    Where there is no /proc, it is empty.
    """
    found: set[str] = set()
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended, or belongs to another user
            for link in (process / "fd").iterdir():
                with contextlib.suppress(FileNotFoundError):  # closed in the meantime
                    found.add(os.readlink(link))
        with contextlib.suppress(OSError):
            for line in (process / "maps").read_bytes().split(b"\n"):
                _, slash, path = line.partition(b"/")
                found.add(os.fsdecode(slash + path.replace(rb"\012", b"\n")))
    return found.union(*(map(str, pathlib.PurePath(path).parents) for path in found))
