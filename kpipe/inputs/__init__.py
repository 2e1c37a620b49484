"""Inputs: the single conversion from files to network inputs, for data, export and prediction."""

import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ..datasets import Dataset
from ..errors import UserError
from .arrays import (
    ArrayInput,
    Given,
    Rows,
    Serve,
    check_array,
    check_labels,
    load_array,
    read_table,
)
from .images import ImageInput, read_images, unreadable
from .targets import InputTargets, LabelTargets, ScaledTargets, targets_of
from .texts import TextInput, Tokens, encode_texts, read_lines

Input = ArrayInput | TextInput  # an ImageInput is an ArrayInput
Column = Rows | Tokens


def of(dataset: Dataset) -> Input:
    """Returns the kind of a dataset's inputs: texts, images, or arrays of numbers."""
    if dataset.vectorization:
        return TextInput(dataset.vectorization)
    if len(dataset.input_shape) == 3 and not dataset.input_dtype:
        if (channels := dataset.input_shape[2]) not in (1, 3):
            raise UserError(
                f"{dataset.name}: images of {channels} channels, input_shape="
                f'{dataset.input_shape}; expected 1 (grey) or 3 (RGB), or input_dtype="uint8" in '
                "the dataset to use them as unchanged arrays"
            )
        return ImageInput(dataset.input_shape)
    return ArrayInput(dataset.input_shape, dataset.input_dtype or "float32")


class Examples(NamedTuple):
    """Inputs of a model from a user's files.

    Attributes:
        kind: "text" or "file".
        names: Text, path, or path and row of each example.
        values: Encoded images, texts, or rows of numbers.
        endpoint: Signature that accepts them.
        explain: Function from a range of examples to an error that names those the endpoint cannot
            process.
    """

    kind: str
    names: list[str]
    values: np.ndarray | list[bytes]
    endpoint: str = "serving_default"
    explain: Callable[[int, int], UserError] | None = None


def read_examples(
    paths: Sequence[pathlib.Path], spec: tf.TensorSpec, texts: Sequence[str] = ()
) -> Examples:
    """Reads a model's inputs from a user's files.

    Args:
        paths: Images; texts in UTF-8, one per line; or tables of numbers.
        spec: Spec of the model's input.
        texts: Additional texts.

    Raises:
        UserError: A file cannot be read, or the model does not take texts; the message names it.
    """
    if spec.dtype == tf.string:
        lines = [*texts, *(line for path in paths for line in read_lines(path))]
        return Examples("text", lines, encode_texts(lines))
    if texts:
        raise UserError(f"the model takes {spec.name}, not texts; give files")
    if spec.dtype == tf.uint8 and len(spec.shape) == 4:
        contents, shape = read_images(paths), tuple(spec.shape[1:])

        def explain(start: int, stop: int) -> UserError:
            return unreadable(paths[start:stop], contents[start:stop], shape)

        return Examples("file", list(map(str, paths)), contents, "serving_bytes", explain)
    tables = [read_table(path, spec) for path in paths]
    names = [
        f"{path}:{row}"
        for path, table in zip(paths, tables, strict=True)
        for row in range(1, 1 + len(table))
    ]
    empty = np.zeros((0, *spec.shape[1:]), spec.dtype.as_numpy_dtype)
    return Examples("file", names, np.concatenate([empty, *tables]))


def check(examples: np.ndarray | Sequence[str], spec: tf.TensorSpec) -> np.ndarray | list[bytes]:
    """Returns inputs as an array, or texts as UTF-8, without any conversion of dtype or shape.

    Raises:
        ValueError: Dtype or shape differ from `spec`.
    """
    if spec.dtype == tf.string:
        return encode_texts(examples)
    return check_array(examples, spec)


__all__ = [
    "ArrayInput",
    "Column",
    "Examples",
    "Given",
    "ImageInput",
    "Input",
    "InputTargets",
    "LabelTargets",
    "Rows",
    "ScaledTargets",
    "Serve",
    "TextInput",
    "Tokens",
    "check",
    "check_labels",
    "load_array",
    "of",
    "read_examples",
    "targets_of",
]
