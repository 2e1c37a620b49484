"""Atomic writes: a kill leaves the old content or the new, never a part of either."""

import contextlib
import glob
import hashlib
import os
import pathlib
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from . import manifest
from .disk import lock, writing
from .errors import UserError
from .manifest import sha256

__all__ = [
    "final_name",
    "home",
    "is_intact",
    "link",
    "lock",
    "make_folder",
    "new_array",
    "new_folder",
    "open_or_write",
    "read_json",
    "remove_leftovers",
    "replace_folder",
    "sha256",
    "temporary_name",
    "write_bytes",
    "write_json",
    "write_manifest",
    "writing",
]

Opened = TypeVar("Opened")

_SHOWN = 80  # bytes of a name that its temporary name contains
_TEMPORARY = re.compile(r"\.(.+)\.part-(?:[0-9a-f]{12}|0\.keras)", re.DOTALL)


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes a file under a temporary name, syncs it and renames it into place."""
    temporary = temporary_name(path)
    with writing(path):
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _sync(path.parent)


def write_json(path: pathlib.Path, content: object) -> None:
    """Writes an object as readable JSON; a dict ends with a checksum, see `manifest.seal`."""
    if isinstance(content, dict):
        write_bytes(path, manifest.seal(content))
    else:
        write_bytes(path, manifest.to_text(content).encode())


def read_json(path: pathlib.Path) -> object:
    """Reads a JSON file of a run, without its checksum.

    Raises:
        UserError: The file is missing or damaged; the message names it.
    """
    try:
        return manifest.unseal(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run again with --fresh") from None


def write_manifest(folder: pathlib.Path, paths: Iterable[pathlib.Path], **about: object) -> None:
    """Writes the manifest of a folder, which marks it as complete.

    Args:
        folder: The folder.
        paths: The files that it lists.
        about: What else it contains.
    """
    write_json(folder / manifest.NAME, about | manifest.describe(folder, paths))


@contextlib.contextmanager
def new_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary folder that becomes `path` when the block ends without an error.

    The folder gets a manifest. Files are synced before the rename. An existing folder at `path` is
    replaced: a kill between the two renames leaves none there, and what was replaced is removed
    with other leftovers. Nothing is lost, since only what can be made again is replaced: caches,
    the commit of a step beside that of an earlier one, and parts of a run that is not complete,
    which the same command completes.

    Raises:
        WriteError: The disk is full.

    Example:
        with new_folder(Path("model")) as folder:
            (folder / "weights").write_bytes(content)
    """
    temporary = temporary_name(path)
    make_folder(temporary)
    try:
        with writing(path):
            yield temporary
            described = manifest.describe(temporary, temporary.rglob("*"))
            (temporary / manifest.NAME).write_bytes(manifest.seal(described))
            for entry in sorted(temporary.rglob("*"), reverse=True):
                _sync(entry)
            _sync(temporary)
            replace_folder(path, temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(path: pathlib.Path, other: pathlib.Path) -> None:
    """Renames the folder `other` to `path`; one that exists there is removed afterwards."""
    if not path.exists():
        os.rename(other, path)
        _sync(path.parent)
        return
    replaced = temporary_name(path)
    os.rename(path, replaced)
    try:
        os.rename(other, path)
    except BaseException:
        os.rename(replaced, path)
        raise
    _sync(path.parent)
    shutil.rmtree(replaced)


def link(path: pathlib.Path, other: pathlib.Path) -> None:
    """Links the file `path` as `other`, or copies it where the file system has no links.

    Nothing that kpipe writes is changed in place, so that both stay as they are.
    """
    try:
        os.link(path, other)
    except OSError:
        shutil.copyfile(path, other)


def open_or_write(
    path: pathlib.Path,
    open_it: Callable[[], Opened | None],
    write: Callable[[pathlib.Path], None],
) -> Opened:
    """Opens a folder of the cache; the first process to need it writes it, others wait.

    Args:
        path: The folder.
        open_it: Function that opens the folder; None if it is missing or incomplete.
        write: Function that writes the files into a temporary folder.

    Raises:
        UserError: The written files cannot be opened.
    """
    opened = None if _find_damage(path) else _try(open_it)
    if opened is None:
        make_folder(path.parent)
        with lock(path):
            damage = _find_damage(path)
            opened = None if damage else _try(open_it)  # another process may have written it
            if opened is None:
                if damage and path.exists():
                    print(f"{damage}; it is written again", flush=True)
                remove_leftovers(path.parent, path.name)
                with new_folder(path) as temporary:
                    write(temporary)
                opened = _try(open_it)
    if opened is None:
        raise UserError(
            f"{path}: the arrays just written cannot be read; check that the disk is not full"
        )
    return opened


def is_intact(path: pathlib.Path) -> bool:
    """Whether a folder of the cache is as it was written; compared once per process."""
    return not _find_damage(path)


_intact: dict[pathlib.Path, int] = {}  # by folder: when its manifest was written


def _find_damage(path: pathlib.Path) -> str:
    """Returns what differs from the folder's manifest, or ""."""
    try:
        written = (path / manifest.NAME).stat().st_mtime_ns
        if _intact.get(path) != written:
            manifest.check(path)
            _intact[path] = written
    except OSError:
        return f"{path} has no {manifest.NAME}: an older kpipe wrote it, or it is incomplete"
    except UserError as error:
        return str(error)
    return ""


def _try(open_it: Callable[[], Opened | None]) -> Opened | None:
    """Opens a folder; None if it is of another version, or just being replaced."""
    try:
        return open_it()
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None


def new_array(path: pathlib.Path, **options: Any) -> Any:
    """Creates a .npy file and maps it into memory, to be written.

    Its space is taken at once: writing into a map on a full disk kills the process.

    Args:
        path: The file.
        options: dtype, shape and fortran_order, as of `np.lib.format.open_memmap`.

    Raises:
        OSError: The disk is full.
    """
    import numpy as np

    values = np.lib.format.open_memmap(path, mode="w+", **options)
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return values


def make_folder(path: pathlib.Path) -> None:
    """Creates a folder with its parents.

    Raises:
        UserError: The folder cannot be created or is not writable.
        WriteError: The disk is full.
    """
    try:
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot create the folder {path}: {error.strerror}; choose another folder"
        ) from None
    if not os.access(path, os.W_OK):
        raise UserError(f"the folder {path} is not writable; choose another folder")


def remove_leftovers(folder: pathlib.Path, name: str = "*") -> None:
    """Removes temporary files and folders that a killed writer left in `folder`.

    Args:
        folder: Where to look; no running process may write there.
        name: Final name of the file or folder; "*" for any.
    """
    start = "*" if name == "*" else glob.escape(_shown(name))
    for entry in folder.glob(f".{start}.part-*"):
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def home() -> pathlib.Path:
    """Returns the folder of prepared data and counts: $KPIPE_HOME, by default ~/.kpipe.

    Raises:
        UserError: $KPIPE_HOME is not set and this user has no home folder.
    """
    try:
        return pathlib.Path(os.environ.get("KPIPE_HOME", "~/.kpipe")).expanduser()
    except RuntimeError:  # no HOME and an unknown user id, as in a container
        raise UserError("no home folder for this user: set KPIPE_HOME to a writable one") from None


def temporary_name(path: pathlib.Path) -> pathlib.Path:
    """Returns a new name, beside `path`, for what becomes `path` or is removed."""
    return path.with_name(f".{_shown(path.name)}.part-{uuid.uuid4().hex[:12]}")


def final_name(name: str) -> str | None:
    """Returns what a temporary name stands for; None for any other name."""
    found = _TEMPORARY.fullmatch(name)
    return found and found[1]


def _shown(name: str) -> str:
    """Returns a name, or what stands for a long one: two of them must not have the same."""
    content = os.fsencode(name)
    return name if len(content) <= _SHOWN else hashlib.sha256(content).hexdigest()[:32]


def _sync(path: pathlib.Path) -> None:
    """Flushes a file, or a folder's entries where the system supports it, to disk."""
    if os.name == "nt" and path.is_dir():  # Windows cannot open a folder
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
