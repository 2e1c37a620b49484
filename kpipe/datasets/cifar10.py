"""CIFAR-10: 60,000 colour images of 32x32 pixels in ten classes (Krizhevsky, 2009)."""

import pathlib
from typing import TYPE_CHECKING

from .. import files
from .base import Dataset, Source, from_arrays
from .samples import shapes

if TYPE_CHECKING:
    import tensorflow as tf

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
        make_sample=_drawn_shapes,
        tfds_splits={"train": "train", "test": "test"},
        val_fraction=val_fraction,
    )


def _drawn_shapes() -> Source:
    return Source(
        kind="sample",
        description="4,000 shapes drawn by kpipe, no photographs",
        identity=files.sha256(pathlib.Path(shapes.__file__)),  # other code, other shapes
        examples=SAMPLE_EXAMPLES,
        official=False,
        read=_read_drawn_shapes,
    )


def _read_drawn_shapes(split: str) -> "tf.data.Dataset":
    images, labels = shapes.paint(SAMPLE_EXAMPLES[split], seed=list(SAMPLE_EXAMPLES).index(split))
    return from_arrays(f"drawn shape {split}", images, labels)
