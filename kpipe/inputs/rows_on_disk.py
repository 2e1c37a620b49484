"""Rows of memory-mapped arrays, at the disk's speed where memory cannot hold the array.

A row of a memory map that is not in memory is read page by page, with much around it that is not
asked for, one row after the other. Where the array fits into memory this happens once; where it
does not, threads that read whole rows are many times as fast, and return the same bits.
"""

import concurrent.futures
import functools
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

THREADS = 16
# Rows that a thread reads in a go: fewer cost more than they save.
ROWS = 8
BLOCK = 2**25  # bytes that are read at once of an array that is read as a whole


def take_rows(values: Any, rows: np.ndarray) -> np.ndarray:
    """Returns rows of an array, `values[rows]`.

    Args:
        values: An array, or `Joined` ones.
        rows: int (m,).
    """
    if isinstance(values, Joined) or not _is_larger_than_memory(values):
        return np.asarray(values[rows])
    return read_rows(values, rows)


def read_rows(values: Any, rows: np.ndarray) -> np.ndarray:
    """Reads rows of a memory-mapped array from its file, in threads."""
    rows = np.where(rows < 0, rows + len(values), rows)
    if len(rows) and (rows.min() < 0 or rows.max() >= len(values)):
        raise IndexError(f"row {rows.max()} of {len(values)}")
    taken = np.empty((len(rows), *values.shape[1:]), values.dtype)
    size = values.dtype.itemsize * int(np.prod(values.shape[1:], dtype=np.int64))
    if not size:
        return taken
    content: Any = memoryview(taken.reshape(-1).view(np.uint8))  # type: ignore[arg-type]
    path = str(values.filename)
    found = os.stat(path)
    file = _opened(path, found.st_ino, found.st_mtime_ns)

    def read(first: int) -> None:
        for i in range(first, min(first + ROWS, len(rows))):
            at, place = values.offset + int(rows[i]) * size, content[i * size : (i + 1) * size]
            done = 0
            while done < size:
                count = os.preadv(file, [place[done:]], at + done)
                if not count:
                    raise OSError(f"{path} ends before row {rows[i]}")
                done += count

    list(_threads().map(read, range(0, len(rows), ROWS)))
    return taken


class Joined:
    """Some rows of one array, then some of another, read when they are asked for.

    Attributes:
        parts: Array and rows of each.
    """

    def __init__(self, *parts: tuple[np.ndarray, np.ndarray]):
        self.parts = parts
        self.first = len(parts[0][1])
        self.shape = (sum(len(rows) for _, rows in parts), *parts[0][0].shape[1:])
        self.dtype = np.result_type(*(values.dtype for values, _ in parts))
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, tuple):  # some columns: others are not held in memory
            columns = [values[(slice(None), *index[1:])][rows] for values, rows in self.parts]
            return np.concatenate(columns)[index[0]]
        at = np.arange(len(self))[index]
        wanted = np.atleast_1d(at)
        taken = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        for (values, rows), own, start in (
            (self.parts[0], wanted < self.first, 0),
            (self.parts[1], wanted >= self.first, self.first),
        ):
            if own.any():
                taken[own] = take_rows(values, rows[wanted[own] - start])
        return taken if np.ndim(at) else taken[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


def blocks(values: Any, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yields some rows of an array, in their order, a block at a time."""
    size = max(1, values.dtype.itemsize * int(np.prod(values.shape[1:], dtype=np.int64)))
    step = max(1, BLOCK // size)
    for start in range(0, len(rows), step):
        yield take_rows(values, rows[start : start + step])


def available_memory() -> int:
    """Returns the bytes that can be used: free memory, within the limits of group and process."""
    import resource  # not on Windows, where rows are always read through the map

    # They do not hold for the page cache, but who sets one wants a process that takes no more.
    kinds = (resource.RLIMIT_DATA, resource.RLIMIT_AS)
    limits = [soft for soft, _ in map(resource.getrlimit, kinds) if soft != resource.RLIM_INFINITY]
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemAvailable"):
            limits.append(int(line.split()[1]) * 1024)
    for line in _lines("/proc/self/cgroup"):  # "0::/PATH", or "9:memory:/PATH" of version 1
        _, controllers, path = line.split(":", 2)
        root, name = pathlib.Path("/sys/fs/cgroup"), "memory.max"
        if controllers:
            root, name = root / "memory", "memory.limit_in_bytes"
        if controllers in ("", "memory"):
            # What a group uses otherwise is mostly the cache itself.
            groups = [root / path[1:], *(root / path[1:]).parents]
            groups = [group for group in groups if group.is_relative_to(root)]
            found = [value for group in groups for value in _lines(str(group / name))]
            limits += [int(value) for value in found if value != "max"]
    return min(limits, default=2**63)


def _lines(path: str) -> list[str]:
    try:
        return pathlib.Path(path).read_text().splitlines()
    except OSError:
        return []


def _is_larger_than_memory(values: Any) -> bool:
    if not isinstance(values, np.memmap) or not hasattr(os, "preadv"):
        return False
    plain = values.flags.c_contiguous and values.filename is not None
    return plain and _is_large(str(values.filename), values.nbytes)


@functools.lru_cache
def _is_large(path: str, size: int) -> bool:
    # Decided once for each array: a run reads it in one way.
    return size > available_memory()


@functools.lru_cache(maxsize=64)
def _opened(path: str, number: int, changed: int) -> int:
    # A file that is replaced is another one.
    file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
    return file


@functools.lru_cache(maxsize=1)
def _threads() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(THREADS, "rows")
