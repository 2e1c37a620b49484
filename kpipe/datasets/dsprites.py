"""dSprites: 737,280 images of a white sprite, one for each combination of five factors."""

import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .. import files
from .base import Dataset, Source
from .samples import sprites

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

SAMPLE_EXAMPLES = {"train": 50_000, "val": 5_000, "test": 15_000}
_CHUNK = 1024  # images in memory at once while the sample is read


def dsprites(sample_examples: Mapping[str, int] = SAMPLE_EXAMPLES) -> Dataset:
    """Sprites of dSprites (Matthey et al., 2017) as uint8 (64, 64, 1) images of 0 and 255.

    The labels are the indices of the factors' values, int (5,) as in `sprites.FACTORS`: shape (3),
    scale (6), orientation (40), x (32) and y (32). TFDS has one split, in random order; as in VTAB
    (Zhai et al., 2019) the first 80 % are train and the next 10 % val. The sample contains some of
    the same combinations, drawn by `sprites`. In it, orientations 0 and 39 show the same image,
    which may therefore occur in two splits.

    Args:
        sample_examples: Number of images in each split of the sample.

    Raises:
        ValueError: More images are requested than there are combinations.

    Example:
        drawn = {"train": 800, "val": 100, "test": 100}
        datasets.dsprites(sample_examples=drawn).find("sample").examples  # equals drawn
    """
    total, drawn = math.prod(sprites.SIZES), sum(sample_examples.values())
    if drawn > total:
        raise ValueError(
            f"{drawn:,} sprites requested; expected at most {total:,}, all combinations"
        )
    return Dataset(
        name="dsprites",
        version="2.0.0",
        input_shape=(64, 64, 1),
        label_names=sprites.FACTORS,
        official_examples={"train": 589_824, "val": 73_728, "test": 73_728},
        official_download_size=28_024_106,
        host="github.com",
        make_sample=lambda: _drawn_sprites(sample_examples),
        tfds_splits={
            "train": "train[:589824]",
            "val": "train[589824:663552]",
            "test": "train[663552:]",
        },
        input=_whiten,
        label=_stack_factors,
        kinds_with_factors=("real", "sample"),
    )


def _whiten(example: Mapping[str, "tf.Tensor"]) -> "tf.Tensor":
    """Decodes the image with 255 for white, which TFDS stores as 1."""
    import tensorflow as tf

    return 255 * tf.cast(tf.io.decode_png(example["image"], channels=1) > 0, tf.uint8)


def _stack_factors(example: Mapping[str, "tf.Tensor"]) -> "tf.Tensor":
    import tensorflow as tf

    names = ("shape", "scale", "orientation", "x_position", "y_position")
    return tf.stack([example[f"label_{name}"] for name in names])


def _drawn_sprites(examples: Mapping[str, int]) -> Source:
    count = sum(examples.values())
    return Source(
        kind="sample",
        description=f"{count:,} sprites drawn by kpipe after dSprites",
        # The examples change with the code and with their number.
        identity=f"{files.sha256(pathlib.Path(sprites.__file__))} {list(examples.values())}",
        examples=examples,
        official=False,
        read=lambda split: _read_drawn_sprites(sprites.choose(examples)[split]),
    )


def _read_drawn_sprites(indices: "np.ndarray") -> "tf.data.Dataset":
    import tensorflow as tf

    def chunks() -> Iterator[dict[str, Any]]:
        for start in range(0, len(indices), _CHUNK):
            chunk = indices[start : start + _CHUNK]
            factors = sprites.factors_of(chunk)
            names = [f"drawn sprite {index}" for index in chunk]
            yield {"name": names, "input": sprites.paint(factors), "label": factors}

    return tf.data.Dataset.from_generator(
        chunks,
        output_signature={
            "name": tf.TensorSpec((None,), tf.string),
            "input": tf.TensorSpec((None, 64, 64, 1), tf.uint8),
            "label": tf.TensorSpec((None, 5), tf.int64),
        },
    ).unbatch()
