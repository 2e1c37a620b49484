"""Inputs of a model from a user's files, or from arrays and tables in memory."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ..datasets.columns import Column, arguments_of, as_rows
from ..errors import UserError, first_line
from .arrays import check_array
from .tables import as_arguments
from .texts import encode_texts
from .user_files import Examples, of_images, pieces


def read_examples(
    paths: Sequence[pathlib.Path],
    spec: tf.TensorSpec | None,
    texts: Sequence[str] = (),
    *,
    columns: Sequence[Column] = (),
    text_column: str = "",
) -> Examples:
    """Reads a model's inputs from a user's files, all at once; for the arguments see `pieces`.

    Args:
        paths: Images; texts in UTF-8, one per line; or tables.
        spec: Spec of the model's input; None if it has one for each column.
        texts: Additional texts.
        columns: The columns that the model takes.
        text_column: Column of the texts in files that are tables.

    Raises:
        UserError: A file cannot be read, or the model does not take texts; the message names it.
    """
    found = pieces(paths, spec, texts, columns=columns, text_column=text_column)
    read = [piece.examples() for piece in found]
    if len(read) == 1:
        return read[0]
    names = [name for part in read for name in part.names]
    places = [place for part in read for place in part.places]
    if not read:
        return Examples("file", names, _nothing(spec, columns), places)

    values = _joined([part.values for part in read])
    if spec is not None and read[0].explain:
        return of_images(names, values, tuple(spec.shape[1:]))
    return Examples(read[0].kind, names, values, places, read[0].endpoint)


def _joined(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, dict):
        return {key: _joined([part[key] for part in values]) for key in first}
    if isinstance(first, list):
        return [value for part in values for value in part]
    return np.concatenate(values)


def _nothing(spec: tf.TensorSpec | None, columns: Sequence[Column]) -> Any:
    if spec is None:
        return {argument: [] for argument in arguments_of(columns)}
    if spec.dtype == tf.string or spec.dtype == tf.uint8:
        return []
    return np.zeros((0, *spec.shape[1:]), spec.dtype.as_numpy_dtype)


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
        return _joined([as_arguments(columns, as_rows(piece, columns)) for piece in frames])
    except UserError as error:
        raise ValueError(str(error)) from None
