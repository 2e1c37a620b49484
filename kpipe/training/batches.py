"""Training batches keyed by index.

The order of an epoch is a pure function of (seed, epoch), as is which images an alternating flip
mirrors; all other augmentation of a step is one of (seed, step): a run can start immediately at any
step, and batches never depend on earlier ones.
"""

import dataclasses

import numpy as np
import tensorflow as tf

from ..data import Split
from ..datasets import Augmentation
from ..inputs.augmentation import mirror
from .supervision import PLAIN, Supervision

# Number of batches among which texts of similar length are grouped: with 32, padding is 2 to 4 % of
# the tokens of IMDB reviews, AG News and tweets.
POOL = 32
# Part of the seed of alternating flips; those of steps are 0 or more, and inverted -1 or less.
FLIP_STREAM = 2**30
# Bytes of val that are kept in memory.
KEPT = 2**26


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The examples of each step: an epoch contains each once, and its last batch may be short.

    Full batches can be stacked, `stack` steps per element; remaining batches are not stacked.

    Attributes:
        num_examples: Number of examples in the train split.
        batch_size: Number of examples per step.
        stack: Number of steps per element of `training_batches`.
    """

    num_examples: int
    batch_size: int
    stack: int = 1

    @property
    def full_batch(self) -> int:
        """Number of examples of every batch but the last of an epoch."""
        return min(self.batch_size, self.num_examples)

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.num_examples // self.batch_size)

    def elements(self) -> np.ndarray:
        """Returns first step and number of steps of every element of an epoch: int64 (m, 2)."""
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
    supervision: Supervision = PLAIN,
) -> tf.data.Dataset:
    """Returns the training data from global step `step` to the end of `epochs` epochs.

    Args:
        split: The examples.
        schedule: The examples of each step.
        augmentation: Random changes of the inputs.
        seed: Random seed of order and augmentation.
        step: The first step, counted over all epochs.
        epochs: Number of epochs of the whole run.
        supervision: Weights, mixing and smoothing of the examples.

    Returns:
        A dataset of (inputs, targets) or (inputs, targets, weights) with a leading axis of steps,
        such as uint8 (steps, batch, height, width, channels) and int32 (steps, batch).
    """
    elements = tf.constant(schedule.elements())
    per_epoch = len(elements)
    epoch, within = divmod(step, schedule.steps_per_epoch)
    first = epoch * per_epoch + int(np.searchsorted(elements[:, 0], within))

    lengths = lengths_of(split, schedule)
    # Every image has its epochs, the even or the odd ones, in which it is mirrored.
    in_even = None
    if augmentation.alternating_flip:
        count = (schedule.num_examples,)
        in_even = tf.random.stateless_uniform(count, [seed, FLIP_STREAM], 0, 2, tf.int64) == 0

    def read(index: tf.Tensor) -> tuple[tf.Tensor, ...]:
        epoch, start = index // per_epoch, elements[index % per_epoch, 0]
        steps = elements[index % per_epoch, 1]
        positions = positions_at(lengths, schedule, seed, epoch, start, steps)
        # A fused plan compiles for every shape: there all texts are padded to one length.
        inputs, labels = split.gather(positions, trim=schedule.stack == 1)
        global_step = epoch * schedule.steps_per_epoch + start
        key = tf.stack([tf.cast(seed, tf.int64), global_step])
        if in_even is not None:
            inputs = mirror(inputs, tf.gather(in_even, positions) == (epoch % 2 == 0))
        inputs = split.input.augment(inputs, augmentation, seed=key)
        # A random stream other than that of the augmentation, which splits its seed.
        pair = split.targets.inputs_and_targets(inputs, labels, tf.bitwise.invert(key))
        shape = tf.stack([steps, tf.size(positions, tf.int64) // steps])
        inputs, targets = (
            tf.reshape(part, tf.concat([shape, tf.shape(part, tf.int64)[1:]], 0)) for part in pair
        )
        return supervision.of_batch(inputs, targets, tf.stack([-2 - key[0], key[1]]))

    indices = tf.data.Dataset.range(first, epochs * per_epoch)
    # There is nothing to tune, and the end of training would wait for tuning to end, 0.3 to 1.5 s.
    options = tf.data.Options()
    options.autotune.enabled = False
    # There is nothing to convert either, which takes half a second.
    read = tf.autograph.experimental.do_not_convert(read)
    return indices.map(read, num_parallel_calls=2).prefetch(2).with_options(options)


def validation_batches(val: Split, batch_size: int) -> tf.data.Dataset:
    """All examples of val once, in an order of little padding, as (inputs, targets) batches.

    They are kept in memory if they are small: every epoch of a small network reads them.
    """
    val = val.at(val.shortest_first())
    batches = val.batches(batch_size)
    longest = val.take_pairs(np.arange(len(val) - 1, len(val)))
    is_small = len(val) * sum(part.nbytes for part in longest) <= KEPT
    return batches.cache() if is_small else batches


def lengths_of(split: Split, schedule: Schedule) -> tf.Tensor | None:
    """Returns the lengths of texts that are batched by length: int (num_examples,); or None."""
    if split.column.lengths is None or schedule.stack > 1:
        return None
    return tf.constant(split.column.lengths[split.rows])


def positions_at(
    lengths: tf.Tensor | None,
    schedule: Schedule,
    seed: int,
    epoch: tf.Tensor,
    start: tf.Tensor,
    steps: tf.Tensor,
) -> tf.Tensor:
    """Returns the positions, in the train split, of the examples of an element.

    Args:
        lengths: See `lengths_of`.
        schedule: Schedule of the epoch.
        seed: Random seed of the run.
        epoch: Number of the epoch, from 0; int64 like the next two.
        start: First step within the epoch.
        steps: Number of steps.
    """
    if lengths is not None:
        return pooled_positions(lengths, schedule, seed, epoch, start)
    begin = start * schedule.batch_size
    end = tf.minimum(begin + steps * schedule.batch_size, schedule.num_examples)
    return shuffled(begin, end, schedule.num_examples, seed, epoch)


def shuffled(
    begin: tf.Tensor, end: tf.Tensor, count: int, seed: int, epoch: tf.Tensor
) -> tf.Tensor:
    """Returns the positions `begin` to `end` - 1 in the order of an epoch."""
    return tf.random.experimental.index_shuffle(
        tf.range(begin, end), seed=[seed, epoch], max_index=count - 1
    )


def pooled_positions(
    lengths: tf.Tensor, schedule: Schedule, seed: int, epoch: tf.Tensor, step: tf.Tensor
) -> tf.Tensor:
    """Returns the positions of a batch of texts of similar length.

    An epoch's order is divided into pools of `POOL` batches; a pool is sorted by length and divided
    into batches, which are shuffled: still a pure function of (seed, epoch, step), unlike tf.data's
    bucket_by_sequence_length, which depends on all earlier elements.

    Args:
        lengths: int (num_examples,).
        schedule: Schedule of the epoch.
        seed: Random seed of the run.
        epoch: Number of the epoch, from 0.
        step: Step within the epoch.
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
