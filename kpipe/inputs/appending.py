"""Arrays that are written in pieces, because they may be larger than memory."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import IO

import numpy as np


class Appended:
    """The rows of `appended`.

    Attributes:
        length: Number of rows.
    """

    def __init__(self, file: IO[bytes], dtype: str, row_shape: tuple[int, ...]):
        self._file, self._dtype, self._row_shape = file, np.dtype(dtype), row_shape
        self.length = 0

    def append(self, rows: np.ndarray) -> None:
        """Writes rows below those before."""
        self._file.write(np.ascontiguousarray(rows, self._dtype).tobytes())
        self.length += len(rows)

    def write_header(self) -> None:
        """Writes what NumPy reads first; it has the same size for any length."""
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.length, *self._row_shape),
        }
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(self._file, header)


@contextlib.contextmanager
def appended(path: pathlib.Path, dtype: str, row_shape: tuple[int, ...] = ()) -> Iterator[Appended]:
    """Writes an array whose length is known at the end; the same bytes as those of `np.save`.

    Args:
        path: The .npy file.
        dtype: Type of the array.
        row_shape: Shape of one of its rows.

    Example:
        with appended(pathlib.Path("numbers.npy"), "int64") as array:
            array.append(np.arange(3))
    """
    with open(path, "wb") as file:
        array = Appended(file, dtype, row_shape)
        array.write_header()
        yield array
        array.write_header()
