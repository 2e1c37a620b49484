"""The profile of a run: where the time of its training steps goes."""

import pathlib
from typing import Any

import keras

from ..data import Data
from ..records import Record
from ..training.profiling import profile
from .experiment import Experiment


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
        weigh=trainer.weigh(data.train),
        folder=folder / "logs",
    )
    print(found.table(), flush=True)
    print(f"trace: tensorboard --logdir {folder / 'logs'}", flush=True)
    return {
        "milliseconds": dict(found.milliseconds),
        "gflop": found.gflop,
        "peak": round(found.peak, 1),
    }
