"""A disk that may be full, and that other processes write to."""

import contextlib
import errno
import inspect
import json
import os
import pathlib
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import filelock

from .errors import UserError, WriteError

PATIENCE = 3.0  # seconds after which a waiting process says for whom it waits

# A newer filelock would use a marker file, which a kill leaves behind, where there is no flock.
_STRICT: dict[str, Any] = {"fallback_to_soft": False}
if "fallback_to_soft" not in inspect.signature(filelock.FileLock).parameters:
    _STRICT = {}

# Messages of a full disk, of a quota, of a limit to a file's size; the last one is NumPy's.
_FULL = re.compile(
    r"No space left on device|Dis[ck] quota exceeded|File too large|\d+ requested and \d+ written"
)


# How an error ends; what cannot be resumed says otherwise.
RESUMES = "the same command resumes"


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
    """Turns the errors of a full disk, by whatever library they are raised, into one line.

    Args:
        path: What is written in the block: a file, or a folder with all that is below it.

    Raises:
        WriteError: The disk is full.
    """
    try:
        yield
    except WriteError:  # names the path more exactly
        raise
    except Exception as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise WriteError(
            f"{path}: cannot be written, {megabytes(free(path))} are free there ({reason}); make "
            f"room, and {RESUMES}"
        ) from None


def _reason(error: BaseException | None) -> str | None:
    """Returns the message of a full disk, also if it led to another error; None for others."""
    while error is not None:
        if found := _FULL.search(str(error)):
            return found.group()
        error = error.__cause__ or error.__context__
    return None


def free(path: pathlib.Path) -> int:
    """Returns the bytes that are free where `path` is, or is to be created."""
    existing = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    return shutil.disk_usage(existing).free


def require(path: pathlib.Path, needed: int, purpose: str) -> None:
    """Checks that there is room before work begins.

    Args:
        path: A file or folder to be written.
        needed: Its estimated size in bytes.
        purpose: What the room is for.

    Raises:
        WriteError: There is not enough room.
    """
    if needed > (available := free(path)):
        raise WriteError(
            f"{path}: {purpose} needs about {megabytes(needed)}, and {megabytes(available)} are "
            f"free there; make room, and {RESUMES}"
        )


def megabytes(size: float) -> str:
    """Writes a number of bytes.

    Example:
        megabytes(12_345_678)  # "12.3 MB"
    """
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


@contextlib.contextmanager
def lock(path: pathlib.Path, wait: bool = True) -> Iterator[None]:
    """Locks `path` for this process, which writes it; a kill releases the lock.

    The lock is the system's (flock), on a file beside `path`; another file says who holds it.

    Args:
        path: The file or folder.
        wait: Whether to wait for a process that has locked it.

    Raises:
        UserError: Another process has locked it, and `wait` is false; or the file system has no
            locks.
        WriteError: The disk is full.
    """
    held, note = filelock.FileLock(_beside(path, ".lock"), **_STRICT), _beside(path, ".holder")
    with writing(path):
        try:
            held.acquire(timeout=PATIENCE if wait else 0)
        except filelock.Timeout:
            if not wait:
                raise UserError(
                    f"{path}: in use by {_holder(note)}; wait for it, or use --out DIR"
                ) from None
            print(f"waiting for {_holder(note)}, which writes {path}", flush=True)
            held.acquire()
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.ENOSYS:
                raise
            raise UserError(
                f"{path}: this file system has no locks (flock); use a folder on another one"
            ) from None
        try:
            about = {"pid": os.getpid(), "host": socket.gethostname(), "command": _command()}
            with contextlib.suppress(OSError):  # a full disk: the lock holds without it
                note.write_text(json.dumps(about), encoding="utf-8")
            yield
        finally:
            with contextlib.suppress(OSError):
                note.unlink()
            held.release()


def refuse_same_command(out: pathlib.Path) -> None:
    """Refuses a command line that another process executes, before TensorFlow is imported.

    Args:
        out: Folder of the results.

    Raises:
        UserError: A process with the same arguments has locked a folder there.
    """
    for note in out.glob(".*.holder"):
        if _read(note).get("command") == _command():
            with lock(note.with_name(note.name[1:].removesuffix(".holder")), wait=False):
                pass  # its process was killed


@contextlib.contextmanager
def without_patterns(path: pathlib.Path) -> Iterator[pathlib.Path]:
    r"""Yields a path of the same folder that TensorFlow does not read as a pattern, such as a[b].

    TensorFlow looks for the files of a checkpoint with a pattern, even if they are named. A link
    is the only remedy: its patterns have no escapes in all places.
    """
    if not set(str(path.absolute())) & set("[\\"):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        link = pathlib.Path(folder, "link")
        link.symlink_to(path.absolute(), target_is_directory=True)
        yield link


def _beside(path: pathlib.Path, suffix: str) -> pathlib.Path:
    return path.with_name(f".{path.name}{suffix}")


def _command() -> list[str]:
    """Returns the arguments in a form that order, folder, --out and --fresh do not change."""
    parts: list[str] = []
    for word in sys.argv[1:]:
        if parts and parts[-1].startswith("--") and "=" not in parts[-1] and word[:1] != "-":
            parts[-1] += f"={word}"  # an option and its value
        else:
            parts.append(os.path.abspath(word) if os.path.exists(word) else word)
    return sorted(part for part in parts if not part.startswith("--out=") and part != "--fresh")


def _holder(note: pathlib.Path) -> str:
    about = _read(note)
    if not about:
        return "another process"
    return f"process {about.get('pid')} on {about.get('host')}"


def _read(note: pathlib.Path) -> dict:
    try:
        about = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}
