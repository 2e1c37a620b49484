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
    class_weight: Mapping[int, float] | str | None,
    sample_weight: Weigh | None,
    train: Split | None,
) -> None:
    """Refuses weights that cannot be applied.

    Args:
        class_weight: Weight of each class, or "balanced".
        sample_weight: Function that returns weights of examples.
        train: The training examples, or None if not known yet.

    Raises:
        UserError: Both are given, a weight is invalid, or they do not fit the examples.
    """
    if class_weight is not None and sample_weight is not None:
        raise UserError("class_weight and sample_weight exclude each other; use only one of them")
    if not isinstance(class_weight, Mapping) and class_weight not in (None, "balanced"):
        raise UserError(
            f"class_weight={class_weight!r}: expected balanced, none, or weights by class such as "
            "{0: 1.0, 1: 5.0}"
        )
    for name, weight in class_weight.items() if isinstance(class_weight, Mapping) else ():
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


def _check_classes(class_weight: Mapping[int, float] | str, train: Split) -> None:
    targets = train.take_pairs(np.arange(1))[1]
    if targets.ndim != 1 or targets.dtype.kind not in "iu":
        shape = ", ".join(["n", *map(str, targets.shape[1:])]) + "," * (targets.ndim == 1)
        raise UserError(
            f"class_weight with targets {targets.dtype} ({shape}); expected one class per example, "
            "int (n,): use class_weight=none, or sample_weight in Python"
        )
    if isinstance(class_weight, str):
        return
    classes = np.unique(train.labels[train.rows])
    unknown = sorted(class_weight.keys() - set(classes.tolist()))
    if unknown:
        raise UserError(
            f"class_weight contains class {unknown[0]}, which no training example has; expected "
            f"classes among {', '.join(map(str, classes))}"
        )


def chosen(
    class_weight: Mapping[int, float] | str | None, sample_weight: Weigh | None, train: Split
) -> Weigh | None:
    """Returns the function of examples' weights that a Trainer's settings ask for, or None.

    Args:
        class_weight: See `Trainer`, also for the next.
        sample_weight: Function from inputs and targets to weights.
        train: The training examples, whose labels a balance follows.
    """
    if sample_weight is not None:
        return tf.autograph.experimental.do_not_convert(sample_weight)
    if isinstance(class_weight, str):
        class_weight = balanced(train.labels[train.rows])
    return by_class(class_weight) if class_weight else None


def balanced(labels: np.ndarray) -> dict[int, float]:
    """Returns weights with which every class has the same total, as in scikit-learn.

    The weight of a class with m of n examples is n / (k m), for k classes that have examples.

    Example:
        balanced(np.array([0, 0, 0, 1]))  # {0: 0.667, 1: 2.0}
    """
    classes, counts = np.unique(labels, return_counts=True)
    weights = len(labels) / (len(classes) * counts)
    return dict(zip(classes.tolist(), weights.tolist(), strict=True))


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
