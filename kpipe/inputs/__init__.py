"""Inputs: the single conversion from files to network inputs, for data, export and prediction."""

from ..datasets import Dataset
from ..errors import UserError
from . import ngrams
from .arrays import (
    ArrayInput,
    Given,
    Rows,
    Serve,
    load_array,
)
from .examples import check, check_rows, read_examples
from .images import ImageInput
from .refusals import check_labels
from .tables import TableColumns, TableInput
from .targets import InputTargets, LabelTargets, ScaledTargets, targets_of
from .texts import TextInput, Tokens
from .tokens import standardize
from .user_files import Bad, Examples, Piece, pieces

Input = ArrayInput | TextInput | TableInput  # an ImageInput is an ArrayInput
Column = Rows | Tokens | TableColumns


def of(dataset: Dataset) -> Input:
    """Returns the kind of a dataset's inputs: tables, texts, images, or arrays of numbers."""
    if dataset.columns:
        return TableInput(dataset.columns)
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


__all__ = [
    "ArrayInput",
    "Bad",
    "Column",
    "Examples",
    "Given",
    "ImageInput",
    "Input",
    "InputTargets",
    "LabelTargets",
    "Piece",
    "Rows",
    "ScaledTargets",
    "Serve",
    "TableColumns",
    "TableInput",
    "TextInput",
    "Tokens",
    "check",
    "check_labels",
    "check_rows",
    "load_array",
    "ngrams",
    "of",
    "pieces",
    "read_examples",
    "standardize",
    "targets_of",
]
