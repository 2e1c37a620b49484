"""Files of numbers, a row per example: CSV and NumPy, and tables whose columns are all numbers."""

import csv
import itertools
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ..datasets.own.dialect import DAMAGED, kind_of, open_file
from ..errors import UserError, first_line

# Files that are read as other tables are; one of CSV needs no names of columns.
NUMBER_TABLES = frozenset((".parquet", ".jsonl", ".ndjson", ".json"))


def row_pieces(path: pathlib.Path, spec: tf.TensorSpec, size: int) -> Iterator[Any]:
    """Yields the rows of a file in pieces, not converted, see `to_array`.

    Args:
        path: A `.npy` file, or a CSV or TSV file with one row per example; its first line is a
            header if no cell in it is a number.
        spec: Spec of the model's input.
        size: Rows of a piece.

    Raises:
        UserError: The file cannot be read; the message names it.
    """
    shape, expected = tuple(spec.shape[1:]), _expected(spec)
    kind = kind_of(path.name)
    if kind == ".npy":
        values = _open_array(path, expected)
        if values.shape[1:] != shape or not values.ndim or values.dtype.kind not in "biuf":
            raise UserError(f"{path}: {values.dtype} {values.shape}; expected {expected}")
        yield from (values[start : start + size] for start in range(0, len(values), size))
        return
    if len(shape) != 1:
        raise UserError(f"{path}: expected a .npy file with {expected}, not a table")
    try:
        with open_file(path, "utf-8-sig") as file:
            rows = csv.reader(file, delimiter="\t" if kind == ".tsv" else ",")
            first = [row for row in itertools.islice(rows, 1) if any(map(_is_number, row))]
            yield from _in_pieces(itertools.chain(first, rows), size)
    except (*DAMAGED, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected {expected}") from None


def _open_array(path: pathlib.Path, expected: str) -> np.ndarray:
    """Maps a .npy file into memory, and nothing else that NumPy can load."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # a damaged header raises errors of many types
        reason = first_line(error)
    raise UserError(f"{path}: cannot be read ({reason}); expected {expected}")


def to_array(rows: Any, spec: tf.TensorSpec, places: Sequence[tuple[str, int]]) -> np.ndarray:
    """Converts rows to a model's inputs.

    Args:
        rows: A part of a piece of `row_pieces`, or a DataFrame.
        spec: Spec of the model's input.
        places: File and number of each row, for errors.

    Raises:
        UserError: A row does not fit the model; the message names it.
    """
    values = rows
    if not isinstance(rows, np.ndarray):
        width = spec.shape[1]
        if hasattr(rows, "itertuples"):
            rows = rows.astype(object).itertuples(index=False, name=None)
        numbers = [_numbers(row, place, width) for row, place in zip(rows, places, strict=True)]
        values = np.array(numbers, np.float64).reshape(len(numbers), width)
    with np.errstate(invalid="ignore", over="ignore"):  # they are refused here
        converted = values.astype(spec.dtype.as_numpy_dtype)
    wrong = ~np.isfinite(converted) if converted.dtype.kind == "f" else converted != values
    if wrong.any():
        row, *place = np.argwhere(wrong)[0]
        raise UserError(
            f"{_named(places[row])}: {values[(row, *place)]}; expected finite numbers of "
            f"{spec.dtype.name}"
        )
    return converted


def _expected(spec: tf.TensorSpec) -> str:
    return f"{' × '.join(map(str, spec.shape[1:])) or '1'} numbers per row"


def _named(place: tuple[str, int]) -> str:
    return f"{place[0]}: row {place[1]}"


def _in_pieces(rows: Iterator[list[str]], size: int) -> Iterator[list[list[str]]]:
    """Collects rows into pieces; what stands before an error is one too."""
    while True:
        piece: list[list[str]] = []
        try:
            piece.extend(itertools.islice(rows, size))
        except (*DAMAGED, csv.Error):
            if piece:
                yield piece
            raise
        if not piece:
            return
        yield piece


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(cells: Sequence[Any], place: tuple[str, int], width: int) -> list[float]:
    try:
        numbers = [float(cell) for cell in cells]
    except (TypeError, ValueError):
        said = ",".join(map(str, cells))
        raise UserError(f"{_named(place)}: {said!r}; expected numbers") from None
    if len(numbers) != width:
        raise UserError(f"{_named(place)}: {len(numbers)} numbers; expected {width}")
    return numbers
