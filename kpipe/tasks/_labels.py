"""Checks of a task's labels, in all splits."""

import collections

import numpy as np

from ..data import Data
from ..errors import UserError
from ..inputs import InputTargets
from ._contract import list_names, per_example


def check_learns_labels(data: Data) -> None:
    """Checks that the dataset's targets are labels, not its inputs.

    Raises:
        UserError: The targets are the inputs.
    """
    if isinstance(data.targets, InputTargets):
        raise UserError(
            f"{data.name} has its inputs as targets, but the task learns labels; remove "
            'as_autoencoder_data() from load_data, or set task = "reconstruction"'
        )


def check_classes(data: Data) -> None:
    """Checks that labels are classes, integers from 0 to the number of names - 1, in all splits.

    Raises:
        UserError: They are not; the message names the split and suggests a fix.
    """
    check_learns_labels(data)
    names = data.label_names
    if len(names) < 2:
        raise UserError(
            f"{data.name} has the label names ({list_names(names)}); expected one for each class, "
            "at least 2: set label_names"
        )
    _check_distinct(data)
    for split, labels in labels_of(data):
        if labels.ndim != 1:
            raise UserError(
                f"{data.name}: labels of {split} have the shape {per_example(labels.shape[1:])} "
                "per example; expected one integer: use labels.argmax(axis=1) if they are one-hot, "
                'or task = "multilabel" if an example can have several labels'
            )
        if labels.dtype.kind != "i":
            raise UserError(
                f"{data.name}: labels of {split} are {labels.dtype}; expected integers from 0 to "
                f'{len(names) - 1}; use task = "regression" for numbers'
            )
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= len(names):
            fix = "numpy.unique(labels, return_inverse=True)[1] renumbers them"
            if low < 0:  # -1 often marks examples without a label
                fix = "remove the examples that have no label"
            wrong = (labels < 0) | (labels >= len(names))
            raise UserError(
                f"{data.name}: labels of {split} range from {low} to {high}; expected 0 to "
                f"{len(names) - 1}, unlike example {int(wrong.argmax())} and {wrong.sum() - 1:,} "
                f"others, for {len(names)} label names ({list_names(names)}): {fix}"
            )


def check_several(data: Data) -> None:
    """Checks that labels are 0 or 1, one for each name, in all splits, and that some vary in train.

    Raises:
        UserError: They are not; the message names the split and suggests a fix.
    """
    check_learns_labels(data)
    _check_distinct(data)
    names = data.label_names
    for split, labels in labels_of(data):
        if labels.ndim != 2 or labels.shape[1] != len(names):
            raise UserError(
                f"{data.name}: labels of {split} have the shape {per_example(labels.shape[1:])} "
                f"per example; expected {len(names)} values of 0 or 1, one for each label name; "
                'use task = "classification" for one class per example'
            )
        if labels.dtype.kind != "i" or not np.isin(labels, (0, 1)).all():
            wrong = ~np.isin(labels, (0, 1)).all(axis=1)
            raise UserError(
                f"{data.name}: labels of {split} range from {labels.min()} to {labels.max()}; "
                f"expected 0 or 1 for each label name, as integers, unlike example "
                f"{int(wrong.argmax())} of {split}"
            )
    train = data.train.labels[data.train.rows]
    if (train == train[:1]).all():
        raise UserError(
            f"{data.name}: all labels are constant in train; expected at least one that varies: "
            "remove such labels, or add examples"
        )


def _check_distinct(data: Data) -> None:
    """Checks that no two labels have the same name, by which metrics are reported."""
    for name, count in collections.Counter(data.label_names).items():
        if count > 1:
            raise UserError(
                f"{data.name} has {count} label names {name!r}; expected a different one for each: "
                "change label_names"
            )


def labels_of(data: Data) -> list[tuple[str, np.ndarray]]:
    """Returns name and labels of each split."""
    return [(name, split.labels[split.rows]) for name, split in data.splits.items()]
