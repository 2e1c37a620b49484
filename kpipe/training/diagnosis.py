"""Finds the examples that are at fault when a loss is not finite."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from ..data import Split
from .batches import Schedule, lengths_of, positions_at

PARTS = ("input", "target", "weight")  # of a batch
SHOWN = 3  # names in a message


def finite(*arrays: object) -> bool:
    """Whether all numbers of all arrays are neither NaN nor infinite."""
    return all(np.isfinite(array).all() for array in arrays)  # type: ignore[call-overload]


def fault_of_steps(
    model: keras.Model,
    train: Split,
    schedule: Schedule,
    seed: int,
    elements: Sequence[tuple[int, int, Sequence[tf.Tensor]]],
) -> str:
    """Says which examples of training steps are at fault; "" if none is, as with divergence.

    Args:
        model: Compiled model; with weights that are not finite it says nothing about an example.
        train: The train split.
        schedule: Schedule of the training.
        seed: Random seed of the training.
        elements: Elements of `training_batches`, each with its epoch and first step within it.
    """
    lengths = lengths_of(train, schedule)
    for epoch, start, element in elements:
        at = tf.unstack(tf.constant([epoch, start, element[0].shape[0]], tf.int64))
        positions = positions_at(lengths, schedule, seed, *at).numpy()
        batch = [tf.reshape(part, (-1, *part.shape[2:])) for part in element]
        if found := _fault(model, train, positions, batch):
            return found
    return ""


def fault_of_val(model: keras.Model, val: Split, batches: tf.data.Dataset) -> str:
    """Says the same of val, whose batches are those of `shortest_first`."""
    order, begin = val.shortest_first(), 0
    for batch in batches:
        end = begin + len(batch[0])
        if found := _fault(model, val, order[begin:end], batch):
            return found
        begin = end
    return ""


def _fault(
    model: keras.Model, split: Split, positions: np.ndarray, batch: Sequence[tf.Tensor]
) -> str:
    """Says which examples of a batch are at fault: their input, target or weight, or their loss."""
    what, found = "loss", np.zeros(0, int)
    for part, values in zip(PARTS, batch, strict=False):
        rows = values.numpy().reshape(len(positions), -1)
        if not finite(rows):
            what, found = part, np.flatnonzero(~np.isfinite(rows).all(axis=1))
            break
    if not len(found) and finite(*model.get_weights()):
        found = np.array(_search(model, batch, np.arange(len(positions))), int)
    if not len(found):
        return ""
    rows = split.rows[positions[found[:SHOWN]]]
    names = split.names() if split.names else {row: f"example {row}" for row in rows}
    shown = ", ".join(names[row] for row in rows)
    return f"the {what} of {shown}{', ...' * (len(found) > SHOWN)} is not finite"


def _search(model: keras.Model, batch: Sequence[tf.Tensor], at: np.ndarray) -> list[int]:
    """Returns the first examples whose own loss is not finite, by halving."""
    model.reset_metrics()
    logs = model.test_step(tuple(tf.gather(part, at) for part in batch))
    if finite(float(logs.get("loss", 0.0))):
        return []
    if len(at) == 1:
        return [int(at[0])]
    found = _search(model, batch, at[: len(at) // 2])
    if len(found) <= SHOWN:
        found += _search(model, batch, at[len(at) // 2 :])
    return found[: SHOWN + 1]
