"""The plan "auto": execution plans are timed on the first batches, and the fastest is chosen."""

import contextlib
import hashlib
import pathlib
import platform
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from .. import environment, files, formatting, manifest
from ..data import Data
from ..errors import UserError
from .batches import Schedule, training_batches
from .plan import choose_plan, fused_steps
from .steps import make_train_function, unchanged
from .supervision import PLAIN, Supervision

# Shorter trainings follow the fixed rule: what a faster plan saves is less than finding it costs.
LEAST_SECONDS = 120.0
SHARE = 0.05  # of the training's estimated time
ROUNDS = 5
FUSED = (8, 32)
# A fused plan is compiled, too, which takes about so many times as long as tracing a graph.
COMPILING = 4.0


def plan_for(
    model: keras.Model,
    data: Data,
    plan: str | None,
    batch_size: int,
    epochs: int,
    *,
    seed: int = 0,
    supervision: Supervision = PLAIN,
) -> tuple[str, dict[str, float]]:
    """Returns a training's execution plan, and the milliseconds per step if plans were timed.

    `plan` is one, "auto" for `fastest_plan`, or None for `choose_plan`; all else is as there.
    """
    if plan != "auto":
        return plan or choose_plan(model, len(data.train), batch_size, epochs), {}
    plan, times = fastest_plan(model, data, batch_size, epochs, seed=seed, supervision=supervision)
    if times:
        print(f"ms a step: {formatting.plans(times)}", flush=True)
    return plan, times


def fastest_plan(
    model: keras.Model,
    data: Data,
    batch_size: int,
    epochs: int,
    *,
    seed: int = 0,
    supervision: Supervision = PLAIN,
) -> tuple[str, dict[str, float]]:
    """Returns the fastest execution plan, and the milliseconds per step of all that were timed.

    The plans are timed in turns on the first batches; afterwards the model has the weights, and all
    other state, that it had before. Timing takes at most 5 % of the training's estimated time, and
    trainings of less than two minutes follow the rule of `choose_plan`, unless times are known.
    These are kept in $KPIPE_HOME/plans for models of the same layers and sizes, this processor and
    these versions.

    Args:
        model: Compiled model.
        data: Data, of which the train split is used.
        batch_size: Number of examples per step.
        epochs: Number of epochs of the training.
        seed: Random seed of order and augmentation.
        supervision: What the loss learns from, see `training_batches`.

    Example:
        plan, milliseconds = fastest_plan(model, data, batch_size=128, epochs=30)
    """
    count = len(data.train)
    rule = choose_plan(model, count, batch_size, epochs)
    if rule == "graph":  # nothing else is possible
        return rule, {}
    path = files.home() / "plans" / f"{_key(model, batch_size)}.json"
    milliseconds = _read(path)
    if rule not in milliseconds:
        example = tuple(map(tf.constant, data.train.take_pairs(np.arange(1))))
        with unchanged(model, example), supervision.learned_by(model):
            seconds = _Timing(model, data, batch_size, epochs, seed, supervision).run(rule)
        milliseconds = {plan: round(1000 * seconds[plan], 4) for plan in seconds}
        if rule not in milliseconds:  # there was no time to compare it
            return rule, {}
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(path, {"milliseconds": milliseconds})
    return min(milliseconds, key=lambda plan: milliseconds[plan]), milliseconds


class _Timing:
    def __init__(
        self,
        model: keras.Model,
        data: Data,
        batch_size: int,
        epochs: int,
        seed: int,
        supervision: Supervision,
    ):
        self.model, self.data, self.batch_size = model, data, batch_size
        self.epochs, self.seed, self.supervision = epochs, seed, supervision
        self.steps = len(data.train) // batch_size * epochs

    def run(self, rule: str) -> dict[str, float]:
        """Returns the seconds per step of the plans that there was time for; {} for a short run."""
        began = time.monotonic()
        model, steps = self.model, self.steps
        batch = tuple(part[0] for part in next(iter(self._batches("graph")[0])))
        eager = min(_seconds(lambda: model.train_step(batch)) for _ in range(2))
        if eager * steps < LEAST_SECONDS:  # faster as a graph
            return {}
        first = time.monotonic()
        candidates = {"graph": self._prepare("graph")}
        traced = time.monotonic() - first
        seconds = {"graph": [_seconds(candidates["graph"])]}
        estimate = seconds["graph"][0] * steps
        if estimate < LEAST_SECONDS:
            return {}
        fused = [f"fused:{k}" for k in FUSED if k <= len(self.data.train) // self.batch_size]
        for plan in dict.fromkeys([rule, "kernels", *fused]):
            cost = traced * (1.0 if plan == "kernels" else COMPILING)
            # As much again for the rounds.
            if time.monotonic() - began + 2 * cost < SHARE * estimate:
                try:
                    candidates[plan] = self._prepare(plan)
                except UserError:  # XLA cannot compile it
                    continue
                seconds[plan] = []
        for _ in range(ROUNDS):
            for plan, train in candidates.items():
                if seconds[plan] and time.monotonic() - began > SHARE * estimate:
                    break
                seconds[plan].append(_seconds(train) / fused_steps(plan, model))
        return {plan: statistics.median(times) for plan, times in seconds.items()}

    def _prepare(self, plan: str) -> Callable[[], dict]:
        """Compiles a plan, and returns a function that trains on its first element."""
        batches, schedule = self._batches(plan)
        train = make_train_function(self.model, plan, batches.element_spec, schedule.full_batch)
        element = next(iter(batches))
        train(*element)
        return lambda: train(*element)

    def _batches(self, plan: str) -> tuple[tf.data.Dataset, Schedule]:
        schedule = Schedule(len(self.data.train), self.batch_size, fused_steps(plan, self.model))
        batches = training_batches(
            self.data.train,
            schedule,
            self.data.augmentation,
            self.seed,
            0,
            self.epochs,
            self.supervision,
        )
        return batches, schedule


def _seconds(train: Callable[[], dict]) -> float:
    began = time.perf_counter()
    for value in tf.nest.flatten(train()):
        float(value)  # waits for it
    return time.perf_counter() - began


def _key(model: keras.Model, batch_size: int) -> str:
    layers = [
        [type(layer).__name__, *(list(weight.shape) for weight in layer.weights)]
        for layer in model._flatten_layers()  # private: `layers` has none that lie within layers
    ]
    inputs = [[*part.shape[1:]] for part in getattr(model, "inputs", None) or []]
    about = {
        "layers": layers,
        "inputs": inputs,
        "batch_size": batch_size,
        "optimizer": type(model.optimizer).__name__,
        "policy": model.dtype_policy.name,
        "host": [platform.node(), _processor()],
        "machine": environment.machine(),
        "versions": environment.versions(),
    }
    return hashlib.sha256(manifest.to_text(about).encode()).hexdigest()[:32]


def _processor() -> str:
    """Returns the processor's name where Linux tells it."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _read(path: pathlib.Path) -> dict[str, float]:
    """Reads the times of a file; {} if there is none, or a damaged one, which is written again."""
    try:
        content = files.read_json(path)
    except (OSError, UserError, ValueError):
        return {}
    found = content.get("milliseconds") if isinstance(content, dict) else None
    return found if isinstance(found, dict) else {}
