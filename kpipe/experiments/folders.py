"""The folder of a run: its name, its lock, and renaming of existing folders."""

import contextlib
import hashlib
import pathlib
import urllib.parse
from collections.abc import Iterator, Mapping

import filelock

from .. import files
from ..errors import UserError


def run_folder(
    out: pathlib.Path,
    name: str,
    kind: str,
    seed: int,
    overrides: Mapping[str, object],
    options: Mapping[str, object],
) -> pathlib.Path:
    """Returns the folder named after the settings: name[-sample][,key=value ...][,seed=N]."""
    parts = [name + ("-sample" if kind == "sample" else "")]
    named = {**overrides, **{k: v for k, v in options.items() if v}}
    for key, value in sorted(named.items()):
        parts.append(f"{key}={urllib.parse.quote(str(value), safe=':+')}")
    if seed:
        parts.append(f"seed={seed}")
    joined = ",".join(parts)
    if len(joined) > 120:
        joined = f"{joined[:103]}-{hashlib.sha256(joined.encode()).hexdigest()[:16]}"
    files.make_folder(out)
    return out / joined


@contextlib.contextmanager
def exclusive(folder: pathlib.Path) -> Iterator[None]:
    """Locks a run's folder for this process; a kill releases the lock.

    Raises:
        UserError: Another process has locked it.
    """
    lock = filelock.FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(
            f"{folder}: in use by another process; wait for it, or use --out DIR"
        ) from None
    try:
        yield
    finally:
        lock.release()


def set_aside(folder: pathlib.Path) -> None:
    """Renames an existing folder, so that nothing is lost."""
    if folder.exists():
        number = 1
        while (kept := folder.with_name(f"{folder.name}~{number}")).exists():
            number += 1
        folder.rename(kept)
        print(f"the existing run is kept as {kept}", flush=True)
