"""Losses: those of a task, and reconstruction losses of images: one number per image.

Reconstruction losses compare uint8 images with reconstructions in 0 to 1.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from .layers import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]
_register: Callable[[Loss], Loss] = keras.saving.register_keras_serializable("kpipe")

_OF_TASK = {
    "classification": ("sparse_categorical_crossentropy", "accuracy"),
    "multilabel": ("binary_crossentropy", "binary_accuracy"),
    "regression": ("mean_squared_error", "mae"),
}


def for_task(task: str) -> dict[str, Any]:
    """Returns the usual loss and metric of a task, as arguments of `Model.compile`.

    Args:
        task: "classification", "multilabel" or "regression".

    Raises:
        ValueError: The task is unknown, or has several usual losses.

    Example:
        model.compile("adam", **losses.for_task("classification"))
        losses.for_task("regression")["loss"]  # "mean_squared_error"
    """
    if task not in _OF_TASK:
        raise ValueError(f"task={task!r}: expected one of {', '.join(_OF_TASK)}")
    loss, metric = _OF_TASK[task]
    return {"loss": loss, "metrics": [metric]}


@_register
def bernoulli(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Negative log likelihood of an image in nats: binary cross-entropy, summed over all values.

    A grey value counts as the probability of white: Kingma and Welling (2014), appendix C.1.

    Args:
        images: uint8 (batch, height, width, channels).
        reconstructions: float (batch, height, width, channels), 0 to 1.

    Returns:
        float (batch,).

    Example:
        model.compile("adam", loss=losses.bernoulli)
    """
    return ops.sum(_crossentropy(images, reconstructions), axis=(1, 2, 3))


@_register
def bernoulli_mean_of_channels(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Binary cross-entropy of an image, averaged over the channels instead of summed.

    It equals the published JointVAE's mean over all values times height and width: a third of
    `bernoulli` for a colour image, and equal to it for a grey one.

    Args:
        images: uint8 (batch, height, width, channels).
        reconstructions: float (batch, height, width, channels), 0 to 1.

    Returns:
        float (batch,).

    Example:
        model.compile("adam", loss=losses.bernoulli_mean_of_channels)
    """
    return bernoulli(images, reconstructions) / reconstructions.shape[-1]


@_register
def squared_error(images: Tensor, reconstructions: Tensor) -> Tensor:
    """Mean squared difference over all values of an image, where white is 1.

    Args:
        images: uint8 (batch, height, width, channels).
        reconstructions: float (batch, height, width, channels).

    Returns:
        float (batch,).

    Example:
        squared_error(np.full((1, 2, 2, 1), 255, "uint8"), np.full((1, 2, 2, 1), 0.5))  # [0.25]
    """
    return ops.mean(ops.square(_scaled(images, reconstructions) - reconstructions), axis=(1, 2, 3))


def reconstruction_metric(loss: Loss) -> keras.metrics.Metric:
    """Returns the metric `reconstruction`: the mean of a loss, without terms added by layers.

    Args:
        loss: A loss of this module.

    Example:
        model.compile("adam", loss=bernoulli, metrics=[reconstruction_metric(bernoulli)])
    """
    metric = keras.metrics.MeanMetricWrapper(loss, name="reconstruction")
    metric._direction = "down"  # less is better; Keras' own error metrics declare it like this
    return metric


def _crossentropy(images: Tensor, reconstructions: Tensor) -> Tensor:
    return ops.binary_crossentropy(_scaled(images, reconstructions), reconstructions)


def _scaled(images: Tensor, reconstructions: Tensor) -> Tensor:
    return ops.cast(images, reconstructions.dtype) / 255
