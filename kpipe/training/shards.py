"""Data-parallel training steps: gradients of the shards of a batch, added up in a fixed order.

Every process has all weights, and the whole batch. It computes its own shards, each by a program
that neither knows nor changes anything else; then all processes apply the same sum by the same
program. What a step needs of a shard:

- its gradients, of its part of the mean loss;
- its outputs: metrics see those of the whole batch, as in an undivided step, whatever they compute;
- the states of layers: random seeds, which differ for each shard; moving statistics, which become
  their mean over the shards, weighted by examples; counters, which agree;
- what metrics in layers have counted.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR

from ..errors import UserError
from .devices import Devices
from .divisible import ELSE, check_random, inner_metrics, stateless_loss
from .steps import as_written, forget_custom_gradients, run_program

# Two shards have different random seeds: the next one's is larger by this odd number, modulo 2^32.
SHIFT = 0x9E3779B9
DISAGREE = "the shards count differently, which cannot be combined:"
# What float32, in which processes tell one another everything, contains without a loss.
FLOATS = (tf.float32, tf.float16, tf.bfloat16)
STATES = (*FLOATS, tf.int32, tf.uint32, tf.int64, tf.uint64)  # integers bit by bit


def sizes_of(examples: int, shards: int) -> list[int]:
    """Returns the number of examples of each shard, the larger ones first; 0 if there are too few.

    Example:
        sizes_of(7, 3)  # [3, 2, 2]
    """
    size, larger = divmod(examples, shards)
    return [size + (shard < larger) for shard in range(shards)]


def make_sharded_train_function(
    model: keras.Model, devices: Devices, spec: Sequence[tf.TensorSpec], batch_size: int
) -> Callable[..., dict]:
    """Makes the function that runs a step, divided into shards, on all devices.

    Args:
        model: Compiled model with built variables, for which `check` passes.
        devices: Shards and processes.
        spec: `element_spec` of the batches.
        batch_size: Number of examples of a full batch.

    Returns:
        Function of (inputs, targets) or (inputs, targets, weights), each with a leading axis of
        length 1; it returns the logs.
    """
    return _Step(model, devices, spec, batch_size).run


class _Step:
    def __init__(
        self,
        model: keras.Model,
        devices: Devices,
        spec: Sequence[tf.TensorSpec],
        batch_size: int,
    ):
        self.model, self.devices, self.spec = model, devices, spec
        self.full = sizes_of(batch_size, devices.shards)[0]
        self.trainable = model.trainable_variables
        self.seeds = [v for v in model.non_trainable_variables if _is_seed(v)]
        self.counted = [v for metric in inner_metrics(model) for v in metric.variables]
        self.changed: list[Any] = []  # variables that layers change, in the order of a row
        self.updated: list[bool] = []  # whether a trainable variable has a gradient
        self.outputs: Any = None  # structure of the model's outputs
        self.shard_programs: dict[bool, Callable[..., Any]] = {}
        self.apply_programs: dict[int, Callable[..., dict]] = {}

    def run(self, *batch: tf.Tensor) -> dict:
        whole = [part[0] for part in batch]
        examples, shards = int(whole[0].shape[0]), self.devices.shards
        sizes = sizes_of(examples, shards)
        # Also where all own shards are empty: the layout of a row is known after it.
        self._shard_program(sizes[0])
        computed = [self._compute(shard, sizes, whole) for shard in self.devices.own]
        gradient = self.devices.add_up([gradient for gradient, _, _ in computed])
        length = int(computed[0][1].shape[0])
        rows = self.devices.exchange(
            [tf.concat([row, *(tf.reshape(o, [-1]) for o in out)], 0) for _, row, out in computed]
        )
        outputs, begin = [], length
        for part in computed[0][2]:
            count = tf.size(part)
            shape = tf.concat([[shards], tf.shape(part)], 0)
            outputs.append(tf.reshape(rows[:, begin : begin + count], shape))
            begin += count
        if examples not in self.apply_programs:
            self.apply_programs[examples] = self._apply_program(sizes, length)
        return run_program(
            self.apply_programs[examples], [gradient, rows[:, :length], *outputs, *whole]
        )

    def _compute(
        self, shard: int, sizes: Sequence[int], whole: Sequence[tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """Returns gradient, row and padded outputs of a shard; zeros if it is empty."""
        size, begin = sizes[shard], sum(sizes[:shard])
        if not size:
            program = self._shard_program(sizes[0])
            x = [part[: sizes[0]] for part in whole]
            gradient, row, *outputs = run_program(program, [tf.constant(0), tf.constant(0.0), *x])
            return tf.zeros_like(gradient), tf.zeros_like(row), [tf.zeros_like(o) for o in outputs]
        part = [p[begin : begin + size] for p in whole]
        fraction = tf.constant(size / sum(sizes), tf.float32)
        offset = tf.constant(np.uint32(shard * SHIFT % 2**32).astype(np.int32))
        gradient, row, *outputs = run_program(self._shard_program(size), [offset, fraction, *part])
        missing = sizes[0] - size
        if missing:
            outputs = [
                tf.pad(out, [[0, missing], *[[0, 0]] * (out.shape.rank - 1)]) for out in outputs
            ]
        return gradient, row, outputs

    def _shard_program(self, size: int) -> Callable[..., Any]:
        """Returns the program of shards with `size` examples.

        Those of a full batch have one of their own, and all others share one, as in `steps`.
        """
        is_full = size == self.full
        if is_full not in self.shard_programs:
            shapes = [(size if is_full else None, *part.shape[2:]) for part in self.spec]
            specs = [
                tf.TensorSpec((), tf.int32),
                tf.TensorSpec((), tf.float32),
                *(tf.TensorSpec(s, p.dtype) for s, p in zip(shapes, self.spec, strict=True)),
            ]
            shard = tf.autograph.experimental.do_not_convert(self._shard)
            function = tf.function(shard, jit_compile=self.model.jit_compile)
            program = function.get_concrete_function(*specs)
            check_random(self.model, program.graph.as_graph_def())
            self.shard_programs[is_full] = program
        return self.shard_programs[is_full]

    def _shard(self, offset: tf.Tensor, fraction: tf.Tensor, *batch: tf.Tensor) -> list[tf.Tensor]:
        model = self.model
        mapping = [(v, tf.zeros_like(v.value)) for v in self.counted]
        mapping += [(v, _shifted(v.value, offset)) for v in self.seeds]
        random = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
        with tf.GradientTape() as tape:
            outputs, loss, new = stateless_loss(model, *batch, training=True, mapping=mapping)
            scaled = model.optimizer.scale_loss(loss * tf.cast(fraction, loss.dtype))
        gradients = tape.gradient(scaled, self.trainable)

        others = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
        if others is not random or (others is not None and new(others.state) is not None):
            raise UserError(
                f"{model.name} draws random numbers without a seed generator of its own layers, "
                f"which no shard can repeat; {ELSE}"
            )
        if any(new(v) is not None for v in self.trainable):
            raise UserError(f"{model.name} sets weights during the forward pass; {ELSE}")
        flat = tf.nest.flatten(outputs)
        if any(getattr(out, "_keras_mask", None) is not None for out in flat):
            raise UserError(f"{model.name} has outputs with a mask; {ELSE}")
        candidates = [*model.non_trainable_variables, *self.counted]
        self.changed = [v for v in candidates if new(v) is not None]
        self.updated = [gradient is not None for gradient in gradients]
        self.outputs = outputs
        wrong = [f"{v.path} of type {v.dtype}" for v in self.changed if v.dtype not in STATES]
        wrong += [f"outputs of type {out.dtype.name}" for out in flat if out.dtype not in FLOATS]
        if wrong:
            raise UserError(f"{model.name} has {wrong[0]}, expected float32; {ELSE}")
        states = [_shifted(new(v), -offset) if _is_seed(v) else new(v) for v in self.changed]
        dense = [tf.convert_to_tensor(g) for g in gradients if g is not None]
        gradient = tf.concat([tf.reshape(tf.cast(g, tf.float32), [-1]) for g in dense], 0)
        row = tf.concat([_to_row(part) for part in (loss, *states)], 0)
        forget_custom_gradients()
        outs = [tf.cast(out, tf.float32) for out in flat]
        return [gradient, row, *outs]

    def _apply_program(self, sizes: Sequence[int], length: int) -> Callable[..., dict]:
        examples, structure = sum(sizes), self.outputs
        flat = tf.nest.flatten(structure)

        @as_written
        def apply(gradient: tf.Tensor, rows: tf.Tensor, *given: tf.Tensor) -> dict:
            parts, whole = given[: len(flat)], given[len(flat) :]
            joined = [
                tf.cast(tf.concat([part[i, :n] for i, n in enumerate(sizes) if n], 0), out.dtype)
                for part, out in zip(parts, flat, strict=True)
            ]
            return self._apply(
                gradient, rows, tf.nest.pack_sequence_as(structure, joined), whole, sizes
            )

        specs = [
            tf.TensorSpec([None], tf.float32),
            tf.TensorSpec([len(sizes), length], tf.float32),
            *(tf.TensorSpec([len(sizes), sizes[0], *out.shape[1:]], tf.float32) for out in flat),
            *(tf.TensorSpec([examples, *part.shape[2:]], part.dtype) for part in self.spec),
        ]
        function = tf.function(apply, jit_compile=self.model.jit_compile)
        return function.get_concrete_function(*specs)

    def _apply(
        self,
        gradient: tf.Tensor,
        rows: tf.Tensor,
        outputs: Any,
        batch: Sequence[tf.Tensor],
        sizes: Sequence[int],
    ) -> dict:
        model, examples = self.model, sum(sizes)
        filled = [(i, size / examples) for i, size in enumerate(sizes) if size]
        loss = _mean([rows[i, 0] for i, _ in filled], [share for _, share in filled])
        begin = 1
        counted = {id(v) for v in self.counted}
        for variable in self.changed:
            end = begin + _length(variable)
            values = [_from_row(rows[i, begin:end], variable) for i, _ in filled]
            begin = end
            agree = tf.reduce_all([tf.equal(value, values[0]) for value in values], 0)
            if id(variable) in counted and not variable.path.endswith("capacity"):
                for value in values:
                    variable.assign_add(value)
            elif values[0].dtype.is_integer:
                same = tf.debugging.Assert(tf.reduce_all(agree), [DISAGREE, variable.path])
                with tf.control_dependencies([same]):
                    variable.assign(values[0])
            else:
                mean = _mean(values, [share for _, share in filled])
                variable.assign(tf.where(agree, values[0], mean))
        assert model._loss_tracker is not None
        model._loss_tracker.update_state(loss, sample_weight=examples)
        gradients, begin = [], 0
        for variable, updated in zip(self.trainable, self.updated, strict=True):
            end = begin + (int(np.prod(variable.shape)) if updated else 0)
            part = tf.reshape(gradient[begin:end], variable.shape) if updated else None
            gradients.append(part)
            begin = end
        model.optimizer.apply_gradients(zip(gradients, self.trainable, strict=True))
        x, y, *weights = batch
        logs = model.compute_metrics(x, y, outputs, sample_weight=weights[0] if weights else None)
        forget_custom_gradients()
        return logs


def _mean(values: Sequence[tf.Tensor], shares: Sequence[float]) -> tf.Tensor:
    total = values[0] * tf.cast(shares[0], values[0].dtype)
    for value, share in zip(values[1:], shares[1:], strict=True):
        total = total + value * tf.cast(share, value.dtype)
    return total


def _is_seed(variable: Any) -> bool:
    return variable.path.endswith("seed_generator_state")


def _shifted(state: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Returns the state of a seed generator, (2,), whose seed is larger by `offset`."""
    seed = tf.bitcast(state[0], tf.int32) + offset
    return tf.stack([tf.bitcast(seed, state.dtype), state[1]])


def _length(variable: Any) -> int:
    """Number of float32 that contain a variable; 4 bytes each."""
    size = tf.as_dtype(variable.dtype).size if _is_integer(variable) else 4
    return int(np.prod(variable.shape)) * max(1, size // 4)


def _is_integer(variable: Any) -> bool:
    return bool(tf.as_dtype(variable.dtype).is_integer)


def _to_row(value: Any) -> tf.Tensor:
    """Returns a value as float32: bits of integers as they are, since no number is computed."""
    value = tf.convert_to_tensor(value)
    value = tf.bitcast(value, tf.float32) if value.dtype.is_integer else tf.cast(value, tf.float32)
    return tf.reshape(value, [-1])


def _from_row(row: tf.Tensor, variable: Any) -> tf.Tensor:
    dtype = tf.as_dtype(variable.dtype)
    if not dtype.is_integer:
        return tf.reshape(tf.cast(row, dtype), variable.shape)
    shape = list(variable.shape) + [dtype.size // 4] * (dtype.size > 4)
    return tf.bitcast(tf.reshape(row, shape), dtype)
