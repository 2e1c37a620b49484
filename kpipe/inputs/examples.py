"""Inputs of a model from a user's files, or from arrays and tables in memory."""

import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ..datasets.columns import Column, TableRows, as_rows
from ..errors import UserError, first_line
from .arrays import check_array, read_table
from .images import read_images, unreadable
from .tables import as_arguments
from .texts import encode_texts, read_lines

# A file of texts with one of these endings is a table with a column of texts.
TABLE_ENDINGS = frozenset((".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json"))

Values = np.ndarray | list[bytes] | dict[str, Any]


class Examples(NamedTuple):
    """Inputs of a model from a user's files.

    Attributes:
        kind: "text" or "file".
        names: Text, path, or path and row of each example.
        values: Encoded images, texts, or rows of numbers; of a table, the columns by argument.
        places: Path of each example's file, and its row from 1 if it is one of several; ("", 0) of
            a text that is in no file.
        endpoint: Signature that accepts them.
        explain: Function from a range of examples to an error that names those the endpoint cannot
            process.
    """

    kind: str
    names: list[str]
    values: Values
    places: list[tuple[str, int]]
    endpoint: str = "serving_default"
    explain: Callable[[int, int], UserError] | None = None


def read_examples(
    paths: Sequence[pathlib.Path],
    spec: tf.TensorSpec | None,
    texts: Sequence[str] = (),
    *,
    columns: Sequence[Column] = (),
    text_column: str = "",
) -> Examples:
    """Reads a model's inputs from a user's files.

    Args:
        paths: Images; texts in UTF-8, one per line; or tables.
        spec: Spec of the model's input; None if it has one for each column.
        texts: Additional texts.
        columns: The columns that the model takes.
        text_column: Column of the texts in files that are tables.

    Raises:
        UserError: A file cannot be read, or the model does not take texts; the message names it.
    """
    if spec is not None and spec.dtype == tf.string:
        tables = [_lines_of(path, text_column) for path in paths]
        lines = [*texts, *(line for table in tables for line in table)]
        places = [*(("", 0) for _ in texts), *_places(paths, map(len, tables))]
        return Examples("text", lines, encode_texts(lines), places)
    if texts:
        takes = spec.name if spec is not None else "the columns of a table"
        raise UserError(f"the model takes {takes}, not texts; give files")
    if spec is None:
        pieces = [_rows_of(path, columns) for path in paths]
        places = _places(paths, (len(rows.numbers) for rows in pieces))
        values = as_arguments(columns, _joined(pieces))
        return Examples("file", [f"{path}:{row}" for path, row in places], values, places)
    if spec.dtype == tf.uint8 and len(spec.shape) == 4:
        contents, shape = read_images(paths), tuple(spec.shape[1:])

        def explain(start: int, stop: int) -> UserError:
            return unreadable(paths[start:stop], contents[start:stop], shape)

        names = list(map(str, paths))
        return Examples(
            "file", names, contents, [(name, 0) for name in names], "serving_bytes", explain
        )
    arrays = [read_table(path, spec) for path in paths]
    places = _places(paths, map(len, arrays))
    empty = np.zeros((0, *spec.shape[1:]), spec.dtype.as_numpy_dtype)
    names = [f"{path}:{row}" for path, row in places]
    return Examples("file", names, np.concatenate([empty, *arrays]), places)


def _places(paths: Sequence[pathlib.Path], counts: Iterable[int]) -> list[tuple[str, int]]:
    return [
        (str(path), row)
        for path, count in zip(paths, counts, strict=True)
        for row in range(1, 1 + count)
    ]


def _lines_of(path: pathlib.Path, text_column: str) -> list[str]:
    """Reads the lines of a text file, or a table's column of texts."""
    if not text_column or not TABLE_ENDINGS & set(path.suffixes):
        return read_lines(path)
    from ..datasets.own import reading  # imports pandas

    return [
        text if isinstance(text, str) else "" if text != text or text is None else str(text)
        for frame in reading.frames(path, columns=[text_column])
        for text in frame[text_column]
    ]


def _rows_of(path: pathlib.Path, columns: Sequence[Column]) -> TableRows:
    from ..datasets.own import reading  # imports pandas

    frames = reading.frames(path, columns=[column.name for column in columns])
    return _joined([as_rows(frame, columns, str(path)) for frame in frames])


def _joined(pieces: Sequence[TableRows]) -> TableRows:
    words = zip(*(piece.words for piece in pieces), strict=True)
    return TableRows(
        np.concatenate([piece.numbers for piece in pieces]),
        [[word for part in parts for word in part] for parts in words],
    )


def check(examples: np.ndarray | Sequence[str], spec: tf.TensorSpec) -> np.ndarray | list[bytes]:
    """Returns inputs as an array, or texts as UTF-8, without any conversion of dtype or shape.

    Raises:
        ValueError: Dtype or shape differ from `spec`.
    """
    if spec.dtype == tf.string:
        return encode_texts(examples)
    return check_array(examples, spec)


def check_rows(rows: Any, columns: Sequence[Column]) -> dict[str, Any]:
    """Returns the columns of a table in memory by argument.

    Args:
        rows: A DataFrame, or a dict of columns; others than those of the model are ignored.
        columns: The columns that the model takes.

    Raises:
        ValueError: A column is missing, or contains what it cannot; the message names it.
    """
    import pandas as pd

    from ..datasets.own import reading

    names = [column.name for column in columns]
    if not isinstance(rows, (pd.DataFrame, Mapping)):
        listed = ", ".join(map(repr, names[:4])) + (", ..." if len(names) > 4 else "")
        raise ValueError(
            f"rows is a {type(rows).__name__}; expected a DataFrame, or a dict of the columns "
            f"{listed}"
        )
    try:
        frame = pd.DataFrame(rows)
    except ValueError as error:
        raise ValueError(f"rows: {first_line(error)}; expected columns of one length") from None
    try:
        frames = reading.frames(frame, columns=names) if len(frame) else [frame]
        return as_arguments(columns, _joined([as_rows(piece, columns) for piece in frames]))
    except UserError as error:
        raise ValueError(str(error)) from None
