"""Where the time of training goes: data, forward and backward pass, optimizer, everything else."""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..data import Data
from .batches import Schedule, training_batches
from .flops import step_flops
from .plan import fused_steps
from .steps import as_planned, as_written, forget_custom_gradients, make_train_function, unchanged
from .supervision import PLAIN, Supervision

SECONDS = 3.0  # of training that is measured
TRACED_STEPS = 20
ROUNDS = 7
# Of the matrix product that measures the processor's peak; larger ones are not faster.
PEAK_SIZE = 2048


@dataclasses.dataclass(frozen=True)
class Profile:
    """Where the time of a training step goes.

    Attributes:
        plan: Execution plan.
        milliseconds: Of a step: "waiting for data", "forward", "backward", "optimizer and metrics"
            and "between steps"; a model with a training step of its own has "step" in place of the
            three in the middle.
        gflop: Operations of the matrix products of a step, in 1e9, see `flops.step_flops`.
        peak: Of this machine's matrix product, in 1e9 operations per second.
    """

    plan: str
    milliseconds: Mapping[str, float]
    gflop: float
    peak: float

    @property
    def total(self) -> float:
        """Milliseconds of a step."""
        return sum(self.milliseconds.values())

    @property
    def rate(self) -> float:
        """Achieved operations per second, in 1e9."""
        return self.gflop / self.total * 1000

    def table(self) -> str:
        """Writes the profile as lines of text."""
        lines = [f"profile of a training step, plan {self.plan}:"]
        for name, time_ in self.milliseconds.items():
            lines.append(f"  {name:22}{time_:10.3f} ms {time_ / self.total:6.1%}")
        lines.append(f"  {'step':22}{self.total:10.3f} ms")
        if self.gflop:
            lines.append(
                f"  {self.gflop:.3g} GFLOP a step: {self.rate:.3g} GFLOP/s, "
                f"{self.rate / self.peak:.0%} of this machine's {self.peak:.3g} in a matrix product"
            )
        return "\n".join(lines)


def profile(
    model: keras.Model,
    data: Data,
    plan: str,
    batch_size: int,
    *,
    seed: int = 0,
    supervision: Supervision = PLAIN,
    folder: pathlib.Path | None = None,
) -> Profile:
    """Measures where the time of training goes; the model is afterwards as it was before.

    The forward pass, and it with the backward pass, are programs of their own under the same plan;
    the times of the backward pass and of the optimizer are differences.

    Args:
        model: Compiled model.
        data: Data, of which the train split is used.
        plan: Execution plan.
        batch_size: Number of examples per step.
        seed: Random seed of order and augmentation.
        supervision: What the loss learns from, see `training_batches`.
        folder: Log folder of TensorBoard, for a trace of some steps; None for none.

    Example:
        print(profile(model, data, "graph", batch_size=128).table())
    """
    example = tuple(map(tf.constant, data.train.take_pairs(np.arange(1))))
    with unchanged(model, example), supervision.learned_by(model):
        return _profile(model, data, plan, batch_size, seed, supervision, folder)


def _profile(
    model: keras.Model,
    data: Data,
    plan: str,
    batch_size: int,
    seed: int,
    supervision: Supervision,
    folder: pathlib.Path | None,
) -> Profile:
    stack = fused_steps(plan, model)
    schedule = Schedule(len(data.train), batch_size, stack)
    # More epochs than can be trained on in the time.
    batches = training_batches(
        data.train, schedule, data.augmentation, seed, 0, 1_000_000, supervision
    )
    train = make_train_function(model, plan, batches.element_spec, schedule.full_batch)
    iterator = iter(batches)
    element = next(iterator)
    train(*element)
    waiting = busy = steps = 0.0
    began = now = time.perf_counter()
    while now - began < SECONDS:
        batch = next(iterator)
        read = time.perf_counter()
        train(*batch)
        busy += time.perf_counter() - read
        waiting += read - now
        steps += batch[0].shape[0]
        now = time.perf_counter()
    if folder:
        tf.profiler.experimental.start(str(folder))
        try:
            for _ in range(max(1, TRACED_STEPS // stack)):
                train(*next(iterator))
        finally:
            tf.profiler.experimental.stop()
    found = {"waiting for data": waiting / steps}
    if type(model).train_step is keras.Model.train_step:
        forward, both, whole = _shortest({"step": train, **_parts(model, plan, element)}, element)
        both = min(both, whole)
        parts = {"forward": forward, "backward": both - forward}
        parts["optimizer and metrics"] = whole - both
        # Batches of texts have several lengths: these are the parts of the mean one.
        found |= {name: busy / steps * seconds / whole for name, seconds in parts.items()}
    else:
        found["step"] = busy / steps
    found["between steps"] = (now - began - waiting - busy) / steps
    length = int(element[0].shape[2] if len(element[0].shape) > 2 else 1)
    try:
        gflop = step_flops(model, batch_size, length) / 1e9
    except AttributeError:  # a subclassed model has no outputs of layers
        gflop = 0.0
    milliseconds = {name: round(1000 * time_, 4) for name, time_ in found.items()}
    return Profile(plan, milliseconds, gflop, matrix_peak())


def _shortest(
    programs: Mapping[str, Callable[..., Any]], element: tuple[tf.Tensor, ...]
) -> tuple[float, float, float]:
    """Times programs in turns; returns the shortest times of forward, both passes and step."""
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(ROUNDS):
        for name, program in programs.items():
            started = time.perf_counter()
            tf.nest.map_structure(lambda part: part.numpy(), program(*element))
            seconds[name].append(time.perf_counter() - started)
    forward, both, step = (min(seconds[name]) for name in ("forward", "both", "step"))
    return forward, max(forward, both), step


def _parts(
    model: keras.Model, plan: str, element: tuple[tf.Tensor, ...]
) -> dict[str, Callable[..., Any]]:
    """Compiles the forward pass, and it with the backward pass, as the plan compiles a step."""
    stack = element[0].shape[0]

    def forward(*batch: tf.Tensor) -> list[tf.Tensor]:
        inputs, targets, *rest = batch
        outputs = model(inputs, training=True)
        options = {"sample_weight": rest[0]} if rest else {}
        return [model.compute_loss(inputs, targets, outputs, training=True, **options)]

    def both(*batch: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            (loss,) = forward(*batch)
        weights = [weight.value for weight in model.trainable_weights]
        found = [g for g in tape.gradient(loss, weights) if g is not None]
        return [loss, *map(tf.convert_to_tensor, found)]

    def compiled(part: Callable[..., list[tf.Tensor]]) -> Callable[..., Any]:
        @as_written
        def steps(*batch: tf.Tensor) -> list[tf.Tensor]:
            results = part(*(values[0] for values in batch))
            if stack > 1:
                _, results = tf.while_loop(
                    lambda i, _: i < stack,
                    as_written(lambda i, _: (i + 1, part(*(values[i] for values in batch)))),
                    (1, results),
                    maximum_iterations=stack - 1,
                )
            forget_custom_gradients()
            return results

        program = tf.function(steps, jit_compile=stack > 1 or model.jit_compile)
        with as_planned(model, plan):
            return program.get_concrete_function(*element)

    programs = {"forward": compiled(forward), "both": compiled(both)}
    for program in programs.values():
        program(*element)
    return programs


def matrix_peak() -> float:
    """Measures this machine's matrix product of float32 numbers, in 1e9 operations per second."""
    left = tf.random.stateless_normal((PEAK_SIZE, PEAK_SIZE), (0, 1))
    tf.matmul(left, left)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        tf.matmul(left, left).numpy()
        seconds.append(time.perf_counter() - started)
    return 2 * PEAK_SIZE**3 / min(seconds) / 1e9
