"""Files of numbers, a row per example: CSV, NumPy, and tables whose columns are all numbers."""

import csv
import itertools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import UserError

_TABLES = frozenset((".parquet", ".jsonl", ".ndjson", ".json"))


def row_pieces(path: pathlib.Path, spec: tf.TensorSpec, size: int) -> Iterator[Any]:
    """Yields the rows of a file in pieces, not converted, see `to_array`.

    Args:
        path: A `.npy` file, a table, or a CSV file with one row per example, whose first line may
            be a header.
        spec: Spec of the model's input.
        size: Rows of a piece.

    Raises:
        UserError: The file cannot be read; the message names it.
    """
    shape, expected = tuple(spec.shape[1:]), _expected(spec)
    if path.suffix != ".npy" and len(shape) != 1:
        raise UserError(f"{path}: expected a .npy file with {expected}, not a table")
    try:
        if path.suffix == ".npy":
            values = np.load(path, mmap_mode="r", allow_pickle=False)
            if values.shape[1:] != shape or values.dtype.kind not in "biuf":
                raise UserError(f"{path}: {values.dtype} {values.shape}; expected {expected}")
            yield from (values[start : start + size] for start in range(0, len(values), size))
        elif _TABLES & set(path.suffixes):
            from ..datasets.own import reading  # imports pandas

            for frame in reading.frames(path):
                cells = frame.astype(object).itertuples(name=None)
                yield from _in_pieces(((row[0], list(map(str, row[1:]))) for row in cells), size)
        else:
            with open(path, newline="", encoding="utf-8-sig") as file:
                lines = enumerate(csv.reader(file), start=1)
                rows = (row for row in lines if row[0] > 1 or _is_numeric(row[1]))
                yield from _in_pieces(rows, size)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected {expected}") from None


def to_array(rows: Any, path: pathlib.Path, spec: tf.TensorSpec, first: int = 1) -> np.ndarray:
    """Converts rows of `row_pieces` to a model's inputs.

    Args:
        rows: A part of a piece.
        path: The file, for errors.
        spec: Spec of the model's input.
        first: Number of the first row in the file.

    Raises:
        UserError: A row does not fit the model; the message names it.
    """
    values = rows
    if not isinstance(rows, np.ndarray):
        width = spec.shape[1]
        values = np.array([_numbers(row, line, path, width) for line, row in rows], np.float64)
        values = values.reshape(len(rows), width)
    with np.errstate(invalid="ignore", over="ignore"):  # they are refused here
        converted = values.astype(spec.dtype.as_numpy_dtype)
    wrong = ~np.isfinite(converted) if converted.dtype.kind == "f" else converted != values
    if wrong.any():
        row, *place = np.argwhere(wrong)[0]
        raise UserError(
            f"{path}: row {first + row} contains {values[(row, *place)]}; expected finite numbers "
            f"of {spec.dtype.name}"
        )
    return converted


def _expected(spec: tf.TensorSpec) -> str:
    return f"{' × '.join(map(str, spec.shape[1:])) or '1'} numbers per row"


def _in_pieces(rows: Iterator[tuple[int, list[str]]], size: int) -> Iterator[list]:
    while piece := list(itertools.islice(rows, size)):
        yield piece


def _is_numeric(cells: Sequence[str]) -> bool:
    try:
        return bool([float(cell) for cell in cells])
    except ValueError:
        return False


def _numbers(cells: Sequence[str], line: int, path: pathlib.Path, width: int) -> list[float]:
    try:
        numbers = [float(cell) for cell in cells]
    except ValueError:
        raise UserError(
            f"{path}:{line}: {','.join(cells)!r}; expected numbers separated by commas"
        ) from None
    if len(numbers) != width:
        raise UserError(f"{path}:{line}: {len(numbers)} numbers; expected {width}")
    return numbers
