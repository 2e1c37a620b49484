"""The speed of a run: its execution plan, and where the time of its training steps goes."""

import pathlib
from typing import Any

import keras

from ..data import Data
from ..records import Record
from ..training.profiling import profile
from ..training.timing import plan_for
from .experiment import Experiment


def plan_of(
    experiment: Experiment, model: keras.Model, data: Data, plan: str | None
) -> tuple[str, dict[str, float]]:
    """Returns a run's execution plan, and the milliseconds per step if plans were timed.

    Args:
        experiment: The experiment, whose plan it is if `plan` is None.
        model: Its model, which is not changed.
        data: Its data.
        plan: A plan that is fixed already, or None.
    """
    trainer = experiment.trainer
    return plan_for(
        model,
        data,
        plan or experiment.plan,
        trainer.batch_size,
        trainer.epochs,
        seed=experiment.seed,
        supervision=trainer.supervision(model, data.train),
    )


def profile_run(
    experiment: Experiment, model: keras.Model, data: Data, record: Record, folder: pathlib.Path
) -> dict[str, Any]:
    """Measures, prints and returns the profile of a run, as its record contains it.

    Args:
        experiment: The experiment.
        model: Its model, which is not changed.
        data: Its data.
        record: Its record, with the execution plan.
        folder: Folder of the run; the trace is in its `logs`.
    """
    trainer = experiment.trainer
    found = profile(
        model,
        data,
        record.plan or "graph",
        trainer.batch_size,
        seed=experiment.seed,
        supervision=trainer.supervision(model, data.train),
        folder=folder / "logs",
    )
    print(found.table(), flush=True)
    print(f"trace: tensorboard --logdir {folder / 'logs'}", flush=True)
    return {
        "milliseconds": dict(found.milliseconds),
        "gflop": found.gflop,
        "peak": round(found.peak, 1),
    }
