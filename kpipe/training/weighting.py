"""Weights of training examples in the loss, by class or by a custom function."""

import math
import numbers
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from ..data import Split
from ..errors import UserError

# Function from the inputs and targets of a batch to weights, float (batch,).
Weigh = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def check(
    class_weight: Mapping[int, float] | None, sample_weight: Weigh | None, train: Split | None
) -> None:
    """Refuses weights that cannot be applied.

    Args:
        class_weight: Weight of each class.
        sample_weight: Function that returns weights of examples.
        train: The training examples, or None if not known yet.

    Raises:
        UserError: Both are given, a weight is invalid, or they do not fit the examples.
    """
    if class_weight is not None and sample_weight is not None:
        raise UserError("class_weight and sample_weight exclude each other; use only one of them")
    for name, weight in (class_weight or {}).items():
        is_class = isinstance(name, numbers.Integral) and name >= 0
        if not is_class or not isinstance(weight, numbers.Real) or not 0 <= weight < math.inf:
            raise UserError(
                f"class_weight={{{name!r}: {weight!r}}}: expected classes, integers from 0, and "
                "weights of 0 or more"
            )
    if train is not None and class_weight is not None:
        _check_classes(class_weight, train)
    if train is not None and sample_weight is not None:
        inputs, targets = train.take_pairs(np.arange(min(2, len(train))))
        shape = tuple(sample_weight(tf.constant(inputs), tf.constant(targets)).shape)
        if shape != (len(inputs),):
            raise UserError(
                f"sample_weight returns shape {shape} for {len(inputs)} examples; expected "
                f"({len(inputs)},), one weight per example"
            )


def _check_classes(class_weight: Mapping[int, float], train: Split) -> None:
    targets = train.take_pairs(np.arange(1))[1]
    if targets.ndim != 1 or targets.dtype.kind not in "iu":
        shape = ", ".join(["n", *map(str, targets.shape[1:])])
        raise UserError(
            f"class_weight with targets {targets.dtype} ({shape}); expected one class per example, "
            "int (n,): use sample_weight"
        )
    classes = np.unique(train.labels[train.rows])
    unknown = sorted(class_weight.keys() - set(classes.tolist()))
    if unknown:
        raise UserError(
            f"class_weight contains class {unknown[0]}, which no training example has; expected "
            f"classes among {', '.join(map(str, classes))}"
        )


def by_class(class_weight: Mapping[int, float]) -> Weigh:
    """Returns the function that weighs examples by their class; other classes have weight 1.

    Example:
        by_class({2: 5.0})(images, tf.constant([0, 2]))  # [1, 5]
    """
    table = np.ones(max(class_weight) + 1, np.float32)
    table[list(class_weight)] = list(class_weight.values())

    def weigh(inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        known = tf.gather(table, tf.minimum(targets, len(table) - 1))
        return tf.where(targets < len(table), known, 1.0)

    return weigh
