"""MNIST: 70,000 handwritten digits (LeCun, Cortes, Burges)."""

import functools
import pathlib

from .. import files
from .base import Dataset, Source, from_arrays


def mnist(val_fraction: float = 0.1, image_size: int = 28) -> Dataset:
    """MNIST digits as uint8 (28, 28, 1) images with labels 0 to 9, or resized ones.

    The stand-in is scikit-learn's 1,797 digits of 8x8 pixels, enlarged to 28x28.

    Args:
        val_fraction: Share of the 60,000 training images that becomes val; MNIST has none.
        image_size: Pixels on a side.
    """
    return Dataset(
        name="mnist",
        version="3.0.1",
        input_shape=(image_size, image_size, 1),
        label_names=tuple("0123456789"),
        official_examples={"train": 60_000, "test": 10_000},
        official_download_size=11_594_722,
        host="storage.googleapis.com",
        make_sample=_digits,
        tfds_splits={"train": "train", "test": "test"},
        val_fraction=val_fraction,
    )


def _digits() -> Source:
    return Source(
        kind="sample",
        description="scikit-learn's 1,797 digits of 8x8 pixels, enlarged to 28x28",
        identity=files.sha256(pathlib.Path(__file__)),  # other code, other digits
        examples={"train": 1437, "test": 360},
        official=False,
        read=_read_digits,
    )


def _read_digits(split: str):
    return from_arrays(f"digit {split}", *_digits_splits()[split])


@functools.cache
def _digits_splits():
    import numpy as np
    import tensorflow as tf
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    # 8x8 -> 20x20, centred in 28x28, as MNIST was made; 16 grey levels -> 0..255
    images = tf.image.resize(digits.images[..., None], (20, 20), method="bicubic")
    images = tf.image.pad_to_bounding_box(images, 4, 4, 28, 28)
    images = np.clip(np.rint(images.numpy() * (255 / 16)), 0, 255).astype(np.uint8)
    parts = train_test_split(
        images, digits.target, test_size=360, random_state=0, stratify=digits.target
    )
    return {"train": tuple(parts[0::2]), "test": tuple(parts[1::2])}
