"""Inputs: one way from a file to what a network takes, for data, export and prediction."""

from ..datasets import Dataset
from .arrays import ArrayInput, Given, Rows, Serve, load_array
from .images import ImageInput
from .texts import TextInput, Tokens

Input = ArrayInput | TextInput  # an ImageInput is an ArrayInput
Column = Rows | Tokens


def of(dataset: Dataset) -> Input:
    """The input of a dataset: texts, images, or arrays of numbers."""
    if dataset.vectorization:
        return TextInput(dataset.vectorization)
    if len(dataset.input_shape) == 3 and not dataset.input_dtype:
        return ImageInput(dataset.input_shape)
    return ArrayInput(dataset.input_shape, dataset.input_dtype or "float32")


__all__ = [
    "ArrayInput",
    "Column",
    "Given",
    "ImageInput",
    "Input",
    "Rows",
    "Serve",
    "TextInput",
    "Tokens",
    "load_array",
    "of",
]
