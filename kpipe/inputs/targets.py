"""Learning targets of a network: labels, scaled labels, or the inputs themselves."""

import dataclasses

import numpy as np
import tensorflow as tf

from ..datasets import Dataset
from .images import add_noise


@dataclasses.dataclass(frozen=True)
class LabelTargets:
    """Targets that are the unchanged labels."""

    def fitted(self, train_labels: np.ndarray) -> "LabelTargets":
        """Returns the targets fitted to the labels of the train split."""
        return self

    def learned(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Returns the targets of some examples."""
        return labels

    def inputs_and_targets(
        self, inputs: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns network inputs and targets of a batch, in a tf.data pipeline."""
        return inputs, labels

    def unscale(self, outputs: tf.Tensor | np.ndarray) -> tf.Tensor | np.ndarray:
        """Converts a network's outputs to the unit of the labels."""
        return outputs


@dataclasses.dataclass(frozen=True)
class ScaledTargets(LabelTargets):
    """Targets that are labels standardized by mean and deviation of the train split only.

    Attributes:
        mean: Mean, in the unit of the labels.
        deviation: Standard deviation, in the same unit; 1 if all labels are equal.
    """

    mean: float = 0.0
    deviation: float = 1.0

    def fitted(self, train_labels: np.ndarray) -> "ScaledTargets":
        labels = train_labels.astype(np.float64)
        return ScaledTargets(float(labels.mean()), float(labels.std()) or 1.0)

    def learned(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        scaled = (labels - np.float32(self.mean)) / np.float32(self.deviation)
        return scaled.astype(np.float32)

    def inputs_and_targets(
        self, inputs: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return inputs, (tf.cast(labels, tf.float32) - self.mean) / self.deviation

    def unscale(self, outputs: tf.Tensor | np.ndarray) -> tf.Tensor | np.ndarray:
        return outputs * self.deviation + self.mean


@dataclasses.dataclass(frozen=True)
class InputTargets(LabelTargets):
    """Targets that are the inputs themselves; the network's input is a noisy copy.

    Attributes:
        noise: Standard deviation of the noise, as a fraction of full white, or two, see
            `images.add_noise`.
    """

    noise: float | tuple[float, float] = 0.0

    def learned(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return inputs

    def inputs_and_targets(
        self, inputs: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return add_noise(inputs, self.noise, seed), inputs


def targets_of(dataset: Dataset) -> LabelTargets:
    """Returns the kind of a dataset's targets, not fitted yet."""
    if dataset.targets == "inputs":
        return InputTargets(dataset.noise)
    return ScaledTargets() if dataset.targets == "scaled labels" else LabelTargets()
