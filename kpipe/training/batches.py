"""Training batches keyed by index.

The order of an epoch is a pure function of (seed, epoch), the augmentation of a step one of
(seed, step): a run can start at any step at once, and what comes never depends on what came.
"""

import dataclasses
import math

import numpy as np
import tensorflow as tf

from ..data import Split
from ..datasets import Augmentation
from ..inputs.texts import UNKNOWN_ID
from .weighting import Weigh

# Batches among which texts of like length are put together: with 32 of them the padding is 2 to 4 %
# of the tokens of IMDB's reviews, AG's news and the tweets.
POOL = 32


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
    split: Split,
    schedule: Schedule,
    augmentation: Augmentation,
    seed: int,
    step: int,
    epochs: int,
    weigh: Weigh | None = None,
) -> tf.data.Dataset:
    """The training data from global step `step` on, until `epochs` epochs are full.

    Args:
        split: The examples.
        schedule: Which of them each step takes.
        augmentation: Changes of the inputs.
        seed: Of order and changes.
        step: The first one, counted over all epochs.
        epochs: Of the whole run.
        weigh: Weights of examples from their inputs and targets as the network sees them.

    Returns:
        A dataset of (inputs, targets) or (inputs, targets, weights) with a leading axis of steps,
        such as uint8 (steps, batch, height, width, channels) and int32 (steps, batch).
    """
    elements = tf.constant(schedule.elements())
    per_epoch, num_examples = len(elements), schedule.num_examples
    epoch, within = divmod(step, schedule.steps_per_epoch)
    first = epoch * per_epoch + int(np.searchsorted(elements[:, 0], within))

    lengths = None  # of texts, where batches are made of texts of like length
    if split.lengths is not None and schedule.stack == 1:
        lengths = tf.constant(split.lengths[split.rows])

    def read(index: tf.Tensor) -> tuple[tf.Tensor, ...]:
        epoch, start = index // per_epoch, elements[index % per_epoch, 0]
        steps = elements[index % per_epoch, 1]
        begin = start * schedule.batch_size
        end = tf.minimum(begin + steps * schedule.batch_size, num_examples)
        if lengths is not None:
            positions = pooled_positions(lengths, schedule, seed, epoch, start)
        else:
            positions = shuffled(begin, end, num_examples, seed, epoch)
        # A fused plan compiles anew for every shape: there all texts are padded alike.
        inputs, labels = split.gather(positions, trim=schedule.stack == 1)
        global_step = epoch * schedule.steps_per_epoch + start
        change = augment if split.texts is None else drop_words
        key = tf.stack([tf.cast(seed, tf.int64), global_step])
        inputs = change(inputs, augmentation, seed=key)
        # Another stream than that of the changes, which splits its seed.
        batch = split.pair(inputs, labels, tf.bitwise.invert(key))
        if weigh:
            batch = (*batch, tf.cast(weigh(*batch), tf.float32))
        shape = tf.stack([steps, tf.size(positions, tf.int64) // steps])
        return tuple(
            tf.reshape(part, tf.concat([shape, tf.shape(part, tf.int64)[1:]], 0)) for part in batch
        )

    indices = tf.data.Dataset.range(first, epochs * per_epoch)
    return indices.map(read, num_parallel_calls=2).prefetch(2)


def shuffled(
    begin: tf.Tensor, end: tf.Tensor, count: int, seed: int, epoch: tf.Tensor
) -> tf.Tensor:
    """The positions that stand at `begin` to `end` - 1 of an epoch's order."""
    return tf.random.experimental.index_shuffle(
        tf.range(begin, end), seed=[seed, epoch], max_index=count - 1
    )


def pooled_positions(
    lengths: tf.Tensor, schedule: Schedule, seed: int, epoch: tf.Tensor, step: tf.Tensor
) -> tf.Tensor:
    """The positions of a batch of texts of like length.

    An epoch's order is cut into pools of `POOL` batches; a pool is sorted by length and cut into
    batches, which come in a random order: still a pure function of (seed, epoch, step). tf.data's
    own bucket_by_sequence_length depends on all that came before.

    Args:
        lengths: int (num_examples,).
        schedule: Of the epoch.
        seed: Of the run.
        epoch: From 0.
        step: Within the epoch.
    """
    pool, within = step // POOL, step % POOL
    first = pool * POOL * schedule.batch_size
    last = tf.minimum(first + POOL * schedule.batch_size, schedule.num_examples)
    positions = shuffled(first, last, schedule.num_examples, seed, epoch)
    positions = tf.gather(positions, tf.argsort(tf.gather(lengths, positions), stable=True))
    num_batches = -(-(last - first) // schedule.batch_size)
    pools = -(-schedule.steps_per_epoch // POOL)
    chosen = tf.random.experimental.index_shuffle(
        within, seed=[-1 - seed, epoch * pools + pool], max_index=num_batches - 1
    )
    begin = chosen * schedule.batch_size
    return positions[begin : begin + schedule.batch_size]


def augment(images: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor) -> tf.Tensor:
    """Changes every image at random, see `Augmentation`; the same seed gives the same images.

    Args:
        images: uint8 (batch, height, width, channels).
        augmentation: What to change.
        seed: int64 (2,).
    """
    if augmentation == Augmentation():
        return images
    shape = (tf.shape(images)[0], 1, 1, 1)
    seeds = iter(tf.unstack(tf.random.split(tf.cast(seed, tf.int32), 8), num=8))

    def uniform(low: float, high: float) -> tf.Tensor:
        """One number an image."""
        return tf.random.stateless_uniform(shape, next(seeds), low, high)

    if augmentation.flip:
        images = tf.where(uniform(0.0, 1.0) < 0.5, images[:, :, ::-1], images)
    if augmentation.shift:
        images = _shift(images, augmentation.shift, next(seeds))
    pixels = tf.cast(images, tf.float32)
    if augmentation.rotate or augmentation.zoom:
        angle = math.radians(augmentation.rotate)
        scale = uniform(1 - augmentation.zoom, 1 + augmentation.zoom)
        pixels = _turn(pixels, uniform(-angle, angle), scale)
    if augmentation.contrast:
        mean = tf.reduce_mean(pixels, axis=(1, 2, 3), keepdims=True)
        pixels = mean + (pixels - mean) * uniform(
            1 - augmentation.contrast, 1 + augmentation.contrast
        )
    if augmentation.saturation:
        grey = tf.reduce_mean(pixels, axis=3, keepdims=True)
        limits = 1 - augmentation.saturation, 1 + augmentation.saturation
        pixels = grey + (pixels - grey) * uniform(*limits)
    if augmentation.brightness:
        limit = 255 * augmentation.brightness
        pixels += uniform(-limit, limit)
    if augmentation.erase:
        pixels = _erase(pixels, augmentation.erase, next(seeds))
    return tf.cast(tf.clip_by_value(tf.round(pixels), 0, 255), tf.uint8)


def drop_words(tokens: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor) -> tf.Tensor:
    """Makes words unknown at random, so that none is relied on alone; padding stays.

    Args:
        tokens: int32 (batch, length).
        augmentation: Its `drop_words`.
        seed: int64 (2,).
    """
    if not augmentation.drop_words:
        return tokens
    drawn = tf.random.stateless_uniform(tf.shape(tokens), seed)
    dropped = tf.logical_and(drawn < augmentation.drop_words, tokens != 0)
    return tf.where(dropped, UNKNOWN_ID, tokens)


def _turn(images: tf.Tensor, angle: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Turns every image by its angle (radians) and enlarges it by its scale, about its centre."""
    height, width = images.shape[1], images.shape[2]
    angle, scale = tf.reshape(angle, (-1,)), tf.reshape(scale, (-1,))
    # From a pixel of the result to one of the image: x' = a x - b y + c, y' = b x + a y + d.
    a, b = tf.cos(angle) / scale, tf.sin(angle) / scale
    x, y, zero = (width - 1) / 2, (height - 1) / 2, tf.zeros_like(angle)
    rows = [a, -b, x - a * x + b * y, b, a, y - b * x - a * y, zero, zero]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack(rows, axis=1),
        output_shape=(height, width),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def _erase(images: tf.Tensor, fraction: float, seed: tf.Tensor) -> tf.Tensor:
    """Sets a square of every image, some of it perhaps outside, to middle grey."""
    batch, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    centre = tf.random.stateless_uniform((batch, 2), seed)
    half = fraction / 2

    def inside(position: tf.Tensor, size: int) -> tf.Tensor:
        places = (tf.range(size, dtype=tf.float32) + 0.5) / size
        return tf.abs(places - position[:, None]) < half

    rows, columns = inside(centre[:, 0], height), inside(centre[:, 1], width)
    erased = tf.logical_and(rows[:, :, None, None], columns[:, None, :, None])
    return tf.where(erased, 127.0, images)


def _shift(images: tf.Tensor, pixels: int, seed: tf.Tensor) -> tf.Tensor:
    """Moves every image by up to `pixels` in both directions; edges are reflected."""
    batch, height, width = (tf.shape(images)[axis] for axis in range(3))
    padded = tf.pad(images, [(0, 0), (pixels, pixels), (pixels, pixels), (0, 0)], mode="REFLECT")
    offsets = tf.random.stateless_uniform((batch, 2), seed, 0, 2 * pixels + 1, dtype=tf.int32)
    rows = offsets[:, :1] + tf.range(height)
    columns = offsets[:, 1:] + tf.range(width)
    shifted = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.gather(shifted, columns, axis=2, batch_dims=1)
