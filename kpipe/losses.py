"""Reconstruction losses: uint8 images against reconstructions in 0 to 1, one number an image."""

import keras
from keras import ops

_register = keras.saving.register_keras_serializable("kpipe")


@_register
def bernoulli(images, reconstructions):
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
def bernoulli_mean_of_channels(images, reconstructions):
    """The same with the mean over the channels in place of their sum; for grey images no other.

    It is the published JointVAE's mean over all values, times height and width: of a colour image
    a third of its nats.
    """
    return ops.sum(ops.mean(_crossentropy(images, reconstructions), axis=-1), axis=(1, 2))


@_register
def squared_error(images, reconstructions):
    """Mean squared difference over all values of an image, where white is 1.

    Args:
        images: uint8 (batch, height, width, channels).
        reconstructions: float (batch, height, width, channels).

    Returns:
        float (batch,).
    """
    return ops.mean(ops.square(_scaled(images, reconstructions) - reconstructions), axis=(1, 2, 3))


def reconstruction_metric(loss) -> keras.metrics.Metric:
    """The mean of a reconstruction loss, without what layers add to it, as `reconstruction`."""
    metric = keras.metrics.MeanMetricWrapper(loss, name="reconstruction")
    metric._direction = "down"  # as Keras' own errors say that less is better
    return metric


def _crossentropy(images, reconstructions):
    return ops.binary_crossentropy(_scaled(images, reconstructions), reconstructions)


def _scaled(images, reconstructions):
    return ops.cast(images, reconstructions.dtype) / 255
