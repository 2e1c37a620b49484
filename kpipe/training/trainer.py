"""The Trainer: how a model is trained, and which execution plan it takes."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence

import keras
import numpy as np

from .. import optimizers
from ..data import Data
from ..errors import UserError
from .loop import History, Loop

# Layers whose work on a CPU is matrix products and elementwise maps: there several steps in one
# XLA program are faster than the ordinary graph. Convolutions are slower in XLA's CPU code.
FUSIBLE_LAYERS = frozenset(
    "InputLayer Rescaling Flatten Reshape Dense Activation ReLU LeakyReLU Dropout "
    "BatchNormalization GaussianNoise Sampling KLRegularization".split()
)
FUSED_STEPS = 8
# Compiling a fused program takes seconds; a shorter run does not earn them back.
FUSED_MIN_STEPS = 4000


def _limited(default, low, high=None, choices=None):
    """A field with the values that the command line accepts for it."""
    metadata = {"low": low, "high": high, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trainer:
    """How a compiled model is trained. Settings here, data in `fit`.

    Attributes:
        epochs: At most so many passes over the train split.
        sample_epochs: At most so many where the data are a sample and `epochs` was not given: what
            shows that everything works should take less than a minute; 0: no limit.
        batch_size: Examples a step.
        monitor: Metric that names the best epoch and stops early: val_loss, val_accuracy, ...
        patience: Epochs without a better `monitor` before training stops; 0: never.
        reduce_lr_patience: Epochs without a better `monitor` before the learning rate falls to a
            fifth; 0: never. Not together with a schedule.
        retrain: Whether, once the best epoch is known, the network is trained anew on train and val
            together, for as many epochs as that took. `pipeline.run` does it.
        checkpoint_seconds: Longest work that a kill can lose.

    Example:
        history = Trainer(epochs=5).fit(model, data)
    """

    epochs: int = _limited(20, 1, 1_000_000)
    sample_epochs: int = _limited(0, 0, 1_000_000)
    batch_size: int = _limited(128, 1, 1_000_000)
    monitor: str = _limited("val_loss", None)
    patience: int = _limited(5, 0, 1_000_000)
    reduce_lr_patience: int = _limited(0, 0, 1_000_000)
    retrain: bool = _limited(False, None)
    checkpoint_seconds: float = _limited(20.0, 0.0, 86_400.0)

    def on_sample(self) -> "Trainer":
        """The same with no more than `sample_epochs` epochs."""
        return dataclasses.replace(self, epochs=min(self.epochs, self.sample_epochs or self.epochs))

    def check(self, model: keras.Model, num_examples: int) -> None:
        """Refuses contradictory settings before any work.

        Raises:
            UserError: The settings cannot be used together.
        """
        if self.reduce_lr_patience and optimizers.has_schedule(model.optimizer):
            raise UserError(
                f"reduce_lr_patience={self.reduce_lr_patience} and a learning-rate schedule "
                "contradict each other: keep reduce_lr_patience with schedule=constant, "
                "or the schedule with reduce_lr_patience=0"
            )
        if self.retrain and self.reduce_lr_patience:
            raise UserError(
                f"retrain=true and reduce_lr_patience={self.reduce_lr_patience} contradict each "
                "other: retraining has no validation loss to follow; use a schedule"
            )
        if model.optimizer.gradient_accumulation_steps and num_examples % self.batch_size:
            # Keras averages the batches of an update equally, whatever their size.
            near = _nearest_divisors(num_examples, self.batch_size)
            raise UserError(
                f"batch_size={self.batch_size} does not divide the {num_examples:,} training "
                "examples, as gradient_accumulation_steps needs it to; "
                f"the nearest that do: {', '.join(map(str, near))}"
            )

    def fit(
        self,
        model: keras.Model,
        data: Data,
        *,
        seed: int = 0,
        plan: str | None = None,
        folder: pathlib.Path | None = None,
        budget: float | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        epochs: int | None = None,
        initial_epoch: int = 0,
    ) -> History:
        """Trains the model; afterwards it has the weights of its best epoch.

        Args:
            model: Compiled.
            data: Its train and val splits are used.
            seed: Of the order of the examples and of their augmentation.
            plan: "graph" or "fused:K"; by default `choose_plan`.
            folder: Of the run: checkpoints, history.csv and logs; None keeps nothing.
            budget: Seconds after which training stops, validated once more.
            callbacks: More Keras callbacks.
            epochs: In place of `self.epochs`.
            initial_epoch: The first epoch, counted from 0.

        Raises:
            RunError: The loss is no longer finite, or the run was interrupted.
            UserError: The settings cannot be used together.
        """
        self.check(model, len(data.train))
        epochs = epochs or self.epochs
        plan = plan or choose_plan(model, len(data.train), self.batch_size, epochs)
        return Loop(self, model, data, seed, plan, folder, budget, callbacks).run(
            initial_epoch, epochs
        )


def choose_plan(model: keras.Model, num_examples: int, batch_size: int, epochs: int) -> str:
    """The execution plan: a fixed rule of layer types and number of steps, never a timing."""
    fusible = all(type(layer).__name__ in FUSIBLE_LAYERS for layer in leaf_layers(model))
    steps = num_examples // batch_size * epochs
    return f"fused:{FUSED_STEPS}" if fusible and steps >= FUSED_MIN_STEPS else "graph"


def leaf_layers(model: keras.Model) -> list[keras.Layer]:
    """The layers of a model, and in place of a model among them that one's, without its inputs."""
    leaves = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            inner = leaf_layers(layer)
            leaves += [leaf for leaf in inner if not isinstance(leaf, keras.layers.InputLayer)]
        else:
            leaves.append(layer)
    return leaves


def weights_sha256(model: keras.Model) -> str:
    """SHA-256 over the bytes of all weights, in the model's order."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _nearest_divisors(number: int, near: int) -> list[int]:
    """The largest divisor of `number` below `near`, and the smallest above it."""
    below = next(d for d in range(near, 0, -1) if number % d == 0)
    above = next(d for d in range(near, number + 1) if number % d == 0)
    return [below, above]
