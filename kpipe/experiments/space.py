"""The space that a run needs on the disk, known before its first step."""

import math
import pathlib
from collections.abc import Iterable, Mapping

import keras
import tensorflow as tf

from .. import disk
from ..training import Trainer
from ..training.checkpoint import KEPT

REPORT = 5_000_000  # bytes of figures, of the page that contains them, and of an export's graph


def check_space(
    folder: pathlib.Path,
    model: keras.Model,
    trainer: Trainer,
    examples: Mapping[str, int],
    resumed: bool,
) -> None:
    """Refuses to train if the disk has no room for what the run will write.

    Args:
        folder: The run's folder.
        model: The model to be trained.
        trainer: Its Trainer.
        examples: Number of examples of each split.
        resumed: Whether what the folder contains is of this run: it counts as written.

    Raises:
        WriteError: There is not enough room.
    """
    written = 0
    if resumed:
        written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    disk.require(folder, space(model, trainer, examples) - written, "the run")


def space(model: keras.Model, trainer: Trainer, examples: Mapping[str, int]) -> int:
    """Returns the most bytes that a run's folder takes at a time.

    That is when the model is saved: the commits are still there, and the file is written twice.
    """
    weights = _bytes(model.variables)
    saved = weights + _slots(model.optimizer) * _bytes(model.trainable_variables)
    commits = KEPT * (saved + weights)  # a commit also contains the best weights
    phases = 1 + trainer.retrain + trainer.fine_tune
    outputs = getattr(model, "outputs", None) or ()  # a subclassed model has none
    values = sum(math.prod(size or 1 for size in output.shape[1:]) for output in outputs)
    predictions = 3 * 4 * examples["test"] * values  # those of simple methods as well
    return phases * commits + 2 * saved + predictions + REPORT


def _slots(optimizer: keras.optimizers.Optimizer) -> int:
    """Returns how many variables an optimizer keeps of each weight; most keep two moments."""
    of_sgd = isinstance(optimizer, keras.optimizers.SGD)
    slots = bool(optimizer.momentum) if of_sgd else 2
    return slots + bool(optimizer.use_ema) + bool(optimizer.gradient_accumulation_steps)


def _bytes(variables: Iterable[keras.Variable]) -> int:
    return sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in variables)
