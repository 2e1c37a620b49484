"""CIFAR-10: 60,000 colour images of 32x32 pixels in ten classes (Krizhevsky, 2009)."""

import functools

from .base import Dataset, generated
from .samples import shapes

SAMPLE_EXAMPLES = {"train": 3000, "test": 1000}


def cifar10(val_fraction: float = 0.1, grey: bool = False) -> Dataset:
    """CIFAR-10 as uint8 (32, 32, 3) images with labels 0 to 9, or as grey (32, 32, 1) images.

    The sample is 4,000 drawn shapes in the same ten classes.

    Args:
        val_fraction: Share of the 50,000 training images that becomes val; CIFAR-10 has none.
        grey: Whether images are converted to grey.

    Example:
        datasets.cifar10(grey=True).input_shape  # (32, 32, 1)
    """
    return Dataset(
        name="cifar10",
        version="3.0.2",
        input_shape=(32, 32, 1 if grey else 3),
        label_names=shapes.CLASSES,
        official_examples={"train": 50_000, "test": 10_000},
        official_download_size=170_052_171,
        host="www.cs.toronto.edu",
        make_sample=functools.partial(
            generated, shapes.paint, SAMPLE_EXAMPLES, "shapes", "drawn by kpipe, no photographs"
        ),
        tfds_splits={"train": "train", "test": "test"},
        val_fraction=val_fraction,
    )
