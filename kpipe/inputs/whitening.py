"""Whitening: a first convolution whose filters follow from the training images."""

from typing import Any

import keras
import numpy as np

LAYER = "whitening"  # the name of the convolution, as `models.cnn` builds it
IMAGES = 5000  # from which the filters are computed
PIECE = 100  # images whose patches are in memory at a time
# Added to the variances, in units of pixels from -1 to 1: directions with less hold JPEG's noise.
SMALLEST = 2e-3


def is_unfitted(model: keras.Model) -> bool:
    """Whether a model has such a convolution with other filters, as it is built.

    Filters of another network, which come with its backbone, stay as they are.
    """
    for layer in model.layers:
        if layer.name == LAYER and isinstance(layer, keras.layers.Conv2D):
            filters = layer.get_weights()[0]
            half = filters.shape[-1] // 2
            return not np.array_equal(filters[..., :half], -filters[..., half:])
    return False


def fit(model: keras.Model, split: Any) -> None:
    """Sets the filters of a convolution so that its outputs on patches are uncorrelated.

    They are the eigenvectors of the covariance of patches, each divided by the root of its
    variance, and the same with the other sign (Coates and Ng, 2011; as the first layer of Page's
    and Jordan's fast networks for CIFAR-10, "airbench", 2024). The same each time.

    Args:
        model: A model with a convolution "whitening", with twice as many filters as a patch has
            values.
        split: The train split, images in uint8; pixels become -1 to 1 before the layer.
    """
    layer = model.get_layer(LAYER)
    height, width, channels, _ = layer.kernel.shape
    positions = np.linspace(0, len(split) - 1, min(IMAGES, len(split))).astype(int)
    size = height * width * channels
    covariance, count = np.zeros((size, size)), 0
    for start in range(0, len(positions), PIECE):
        images = split.take(positions[start : start + PIECE])[0] / np.float32(127.5) - 1
        patches = np.lib.stride_tricks.sliding_window_view(images, (height, width), axis=(1, 2))
        flat = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, size)
        # Not centred: a patch of one colour is a direction like any other.
        covariance += flat.T @ flat
        count += len(flat)
    variances, vectors = np.linalg.eigh(covariance / count)
    # The sign of an eigenvector is arbitrary; its largest value is made positive.
    largest = np.abs(vectors).argmax(axis=0)
    vectors = vectors * np.sign(vectors[largest, np.arange(len(variances))])
    filters = (vectors / np.sqrt(variances + SMALLEST))[:, ::-1]
    kernel = np.concatenate([filters, -filters], axis=1)
    shape = (height, width, channels, kernel.shape[1])
    layer.set_weights([kernel.reshape(shape).astype(np.float32), *layer.get_weights()[1:]])
