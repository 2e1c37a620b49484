"""Inputs: the single conversion from files to network inputs, for data, export and prediction."""

import pathlib
from collections.abc import Sequence

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
from .images import ImageInput, call_on_images, read_images
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
                "the dataset for arrays that are taken as they are"
            )
        return ImageInput(dataset.input_shape)
    return ArrayInput(dataset.input_shape, dataset.input_dtype or "float32")


def read_files(paths: Sequence[pathlib.Path], spec: tf.TensorSpec) -> np.ndarray | list:
    """Reads a model's inputs from a user's files.

    Args:
        paths: Paths of the files.
        spec: Spec of the model's input.

    Returns:
        Encoded images, texts, or rows of numbers.

    Raises:
        UserError: A file cannot be read; the message names it.
    """
    if spec.dtype == tf.string:
        return [line.encode("utf-8", "replace") for path in paths for line in read_lines(path)]
    if spec.dtype == tf.uint8 and len(spec.shape) == 4:
        return read_images(paths)
    return np.concatenate([read_table(path, spec) for path in paths])


def name_examples(paths: Sequence[pathlib.Path], spec: tf.TensorSpec) -> list[str]:
    """Names each example of `read_files`: by its text, its file, or its file and row."""
    if spec.dtype == tf.string:
        return [line for path in paths for line in read_lines(path)]
    if spec.dtype == tf.uint8 and len(spec.shape) == 4:
        return [str(path) for path in paths]
    return [f"{path}:{i}" for path in paths for i in range(1, 1 + len(read_table(path, spec)))]


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
    "call_on_images",
    "check",
    "check_labels",
    "load_array",
    "name_examples",
    "of",
    "read_files",
    "targets_of",
]
