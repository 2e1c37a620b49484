"""Targets: what a network is to learn of an example, besides its input."""

import dataclasses

import numpy as np
import tensorflow as tf

from ..datasets import Dataset
from .images import add_noise


@dataclasses.dataclass(frozen=True)
class LabelTargets:
    """The labels as they are."""

    def fitted(self, train_labels: np.ndarray) -> "LabelTargets":
        """What is learned from the labels of the train split."""
        return self

    def learned(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The targets of some examples."""
        return labels

    def inputs_and_targets(
        self, inputs: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What the network takes, and what it is to learn, in a tf.data pipeline."""
        return inputs, labels

    def unscale(self, outputs: tf.Tensor | np.ndarray) -> tf.Tensor | np.ndarray:
        """A network's outputs in the unit of the labels."""
        return outputs


@dataclasses.dataclass(frozen=True)
class ScaledTargets(LabelTargets):
    """Labels less their mean, over their deviation; both are of the train split alone.

    Attributes:
        mean: In the unit of the labels.
        deviation: The same; 1 where all labels are equal.
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
    """The inputs themselves; the network takes them with noise.

    Attributes:
        noise: Standard deviation, as a fraction of full white.
    """

    noise: float = 0.0

    def learned(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return inputs

    def inputs_and_targets(
        self, inputs: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return add_noise(inputs, self.noise, seed), inputs


def targets_of(dataset: Dataset) -> LabelTargets:
    """The targets that a dataset names, before anything is known of its labels."""
    if dataset.targets == "inputs":
        return InputTargets(dataset.noise)
    return ScaledTargets() if dataset.targets == "scaled labels" else LabelTargets()
