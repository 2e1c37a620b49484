"""Atomic writes: a kill leaves the old content or the new, never a part of either."""

import contextlib
import glob
import hashlib
import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import filelock

from .errors import UserError

Opened = TypeVar("Opened")

_SHOWN = 80  # characters of a name that its temporary name contains


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes a file under a temporary name, syncs it and renames it into place."""
    temporary = _temporary_name(path)
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
    """Writes an object as readable JSON; NaN is refused, since JSON does not have it."""
    write_bytes(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def read_json(path: pathlib.Path) -> object:
    """Reads a JSON file of a run.

    Raises:
        UserError: The file is missing or damaged; the message names it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error}); run again with --fresh") from None


@contextlib.contextmanager
def new_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary folder that becomes `path` when the block ends without an error.

    An existing folder at `path` is replaced. Files are synced before the rename.

    Example:
        with new_folder(Path("model")) as folder:
            (folder / "weights").write_bytes(content)
    """
    temporary = _temporary_name(path)
    make_folder(temporary)
    try:
        yield temporary
        for entry in sorted(temporary.rglob("*"), reverse=True):
            _sync(entry)
        _sync(temporary)
        if path.exists():
            replaced = _temporary_name(path)
            os.rename(path, replaced)
            os.rename(temporary, path)
            shutil.rmtree(replaced)
        else:
            os.rename(temporary, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
    opened = open_it()
    if opened is None:
        make_folder(path.parent)
        with lock(path):
            opened = open_it()  # another process may have written it
            if opened is None:
                remove_leftovers(path.parent, path.name)
                with new_folder(path) as temporary:
                    write(temporary)
                opened = open_it()
    if opened is None:
        raise UserError(
            f"{path}: the arrays just written cannot be read; check that the disk is not full"
        )
    return opened


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
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot create the folder {path}: {error.strerror}; choose another folder"
        ) from None
    if not os.access(path, os.W_OK):
        raise UserError(f"the folder {path} is not writable; choose another folder")


@contextlib.contextmanager
def lock(path: pathlib.Path, wait: bool = True) -> Iterator[None]:
    """Locks `path` for this process; a kill releases the lock.

    Args:
        path: The file or folder.
        wait: Whether to wait for a process that has locked it.

    Raises:
        UserError: Another process has locked it, and `wait` is false.
    """
    held = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        held.acquire(timeout=-1 if wait else 0)
    except filelock.Timeout:
        raise UserError(
            f"{path}: in use by another process; wait for it, or use --out DIR"
        ) from None
    try:
        yield
    finally:
        held.release()


def remove_leftovers(folder: pathlib.Path, name: str = "*") -> None:
    """Removes temporary files and folders that a killed writer left in `folder`.

    Args:
        folder: Where to look; no running process may write there.
        name: Final name of the file or folder; "*" for any.
    """
    start = "*" if name == "*" else glob.escape(name[:_SHOWN])
    for entry in folder.glob(f".{start}.part-*"):
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def sha256(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def home() -> pathlib.Path:
    """Returns the folder of prepared data and counts: $KPIPE_HOME, by default ~/.kpipe.

    Raises:
        UserError: $KPIPE_HOME is not set and this user has no home folder.
    """
    try:
        return pathlib.Path(os.environ.get("KPIPE_HOME", "~/.kpipe")).expanduser()
    except RuntimeError:  # no HOME and an unknown user id, as in a container
        raise UserError("no home folder for this user: set KPIPE_HOME to a writable one") from None


def _temporary_name(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(f".{path.name[:_SHOWN]}.part-{uuid.uuid4().hex[:12]}")


def _sync(path: pathlib.Path) -> None:
    """Flushes a file, or a folder's entries where the system supports it, to disk."""
    if os.name == "nt" and path.is_dir():  # Windows cannot open a folder
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
