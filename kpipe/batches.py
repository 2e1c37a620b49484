"""Training batches keyed by index.

The order of an epoch is a pure function of (seed, epoch), the augmentation of a step one of
(seed, step): a run can start at any step at once, and what comes never depends on what came.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from .data import Split
from .datasets import Augmentation


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Which examples each step takes: an epoch is all of them once, the last batch may be short.

    Full batches can come stacked, `stack` steps at a time; what is left over comes singly.

    Attributes:
        num_examples: Examples of the train split.
        batch_size: Examples a step.
        stack: Steps that one element of `training_batches` holds.
    """

    num_examples: int
    batch_size: int
    stack: int = 1

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.num_examples // self.batch_size)

    def elements(self) -> np.ndarray:
        """int64 (m, 2): first step and number of steps of every element of an epoch."""
        stacked = self.num_examples // self.batch_size // self.stack * self.stack
        starts = [*range(0, stacked, self.stack), *range(stacked, self.steps_per_epoch)]
        return np.array([(s, self.stack if s < stacked else 1) for s in starts], dtype=np.int64)


def training_batches(
    split: Split, schedule: Schedule, augmentation: Augmentation, seed: int, step: int, epochs: int
) -> tf.data.Dataset:
    """The training data from global step `step` on, until `epochs` epochs are full.

    Returns:
        A dataset of (images, labels) with a leading axis of steps: uint8
        (steps, batch, height, width, channels) and int32 (steps, batch).
    """
    elements = tf.constant(schedule.elements())
    per_epoch, num_examples = len(elements), schedule.num_examples
    epoch, within = divmod(step, schedule.steps_per_epoch)
    first = epoch * per_epoch + int(np.searchsorted(elements[:, 0], within))

    def read(index):
        epoch, start = index // per_epoch, elements[index % per_epoch, 0]
        steps = elements[index % per_epoch, 1]
        begin = start * schedule.batch_size
        end = tf.minimum(begin + steps * schedule.batch_size, num_examples)
        positions = tf.random.experimental.index_shuffle(
            tf.range(begin, end), seed=[seed, epoch], max_index=num_examples - 1
        )
        images, labels = split.gather(positions)
        global_step = epoch * schedule.steps_per_epoch + start
        images = augment(
            images, augmentation, seed=tf.stack([tf.cast(seed, tf.int64), global_step])
        )
        shape = tf.stack([steps, (end - begin) // steps])
        return (
            tf.reshape(images, tf.concat([shape, tf.shape(images, tf.int64)[1:]], 0)),
            tf.reshape(labels, shape),
        )

    indices = tf.data.Dataset.range(first, epochs * per_epoch)
    return indices.map(read, num_parallel_calls=2).prefetch(2)


def augment(images: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor) -> tf.Tensor:
    """Changes every image at random, see `Augmentation`; the same seed gives the same images.

    Args:
        images: uint8 (batch, height, width, channels).
        augmentation: What to change.
        seed: int64 (2,).
    """
    batch = tf.shape(images)[0]
    flip_seed, shift_seed, brightness_seed = tf.unstack(
        tf.random.split(tf.cast(seed, tf.int32), 3), num=3
    )
    if augmentation.flip:
        chosen = tf.random.stateless_uniform((batch, 1, 1, 1), flip_seed) < 0.5
        images = tf.where(chosen, images[:, :, ::-1], images)
    if augmentation.shift:
        images = _shift(images, augmentation.shift, shift_seed)
    if augmentation.brightness:
        limit = 255 * augmentation.brightness
        change = tf.random.stateless_uniform((batch, 1, 1, 1), brightness_seed, -limit, limit)
        images = tf.clip_by_value(tf.round(tf.cast(images, tf.float32) + change), 0, 255)
    return tf.cast(images, tf.uint8)


def _shift(images: tf.Tensor, pixels: int, seed: tf.Tensor) -> tf.Tensor:
    """Moves every image by up to `pixels` in both directions; edges are reflected."""
    batch, height, width = (tf.shape(images)[axis] for axis in range(3))
    padded = tf.pad(images, [(0, 0), (pixels, pixels), (pixels, pixels), (0, 0)], mode="REFLECT")
    offsets = tf.random.stateless_uniform((batch, 2), seed, 0, 2 * pixels + 1, dtype=tf.int32)
    rows = offsets[:, :1] + tf.range(height)
    columns = offsets[:, 1:] + tf.range(width)
    shifted = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.gather(shifted, columns, axis=2, batch_dims=1)
