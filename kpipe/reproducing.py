"""Trains a finished run again, from its run.json alone, and compares the results."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras

from . import files, formatting
from .diffing import different, find_causes, predictions_of
from .errors import UserError, resumable
from .experiments.continuing import arguments_of
from .experiments.describing import callback_names
from .experiments.execution import Execution
from .experiments.folders import starting_over
from .experiments.running import open_experiment
from .experiments.session import own_session
from .records import Record, Run, open_run


@dataclasses.dataclass
class Reproduction:
    """The result of `reproduce`.

    Attributes:
        run: The new run.
        compared: What was compared, and is equal.
        differences: What differs in the results; none if the run was reproduced.
        causes: What differs in versions, machine, code and data.
    """

    run: Run
    compared: list[str]
    differences: list[str]
    causes: list[str]

    @property
    def passed(self) -> bool:
        return not self.differences

    def __repr__(self) -> str:
        if self.passed:
            said = f"reproduced: {', '.join(self.compared)} equal to the bit"
        else:
            said = f"NOT reproduced: {'; '.join(self.differences)}"
        causes = self.causes or ([] if self.passed else ["versions, machine, code and data agree"])
        return "\n".join([said, *(f"note: {cause}" for cause in causes)])


class _StopAt(keras.callbacks.Callback):
    """Ends training after a step, where a budget ended that of the run."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step, self.epoch = step, 0

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        assert self.params
        if self.epoch * self.params["steps"] + batch + 1 >= self.step:
            self.model.stop_training = True


@resumable()
@own_session()
def reproduce(
    folder: str | os.PathLike,
    *,
    name: Any = None,
    out: str | os.PathLike | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Reproduction:
    """Trains a finished run again, and compares weights, history, metrics and predictions.

    Pipeline, keys, seed, plan and data are those of its run.json. The new run is a folder of its
    own, and its test split is opened and counted as that of any run.

    Args:
        folder: The folder of the run.
        name: What was run, if it was in memory, such as a DataFrame; see `kpipe.run`.
        out: Folder for the new run; by default the one that contains the run.
        callbacks: The additional callbacks of the run, of which run.json has only the types.

    Raises:
        UserError: It is not a finished run, or what was run or its data do not exist any more, or
            it had other callbacks.
        RunError: The new run failed.

    Example:
        assert kpipe.reproduce("saved_models/mnist_mlp").passed
    """
    before = open_run(folder)
    record, training = before.record, before.record.training
    if record.continued_from:
        raise UserError(
            f"{before.folder} continues another run; reproduce that one, and continue the new one"
        )
    then, now = record.callbacks or [], callback_names(callbacks)
    if then != now:
        raise UserError(
            f"{before.folder} was trained with the callbacks {', '.join(then) or 'none'}, not "
            f"{', '.join(now) or 'none'}: run.json has only their types; give the same to "
            "kpipe.reproduce(folder, callbacks=[...]) in Python"
        )
    if training and training.stopped_by == "budget":
        if record.trainer.get("retrain") or record.trainer.get("fine_tune"):
            raise UserError(
                f"{before.folder}: its budget ended it, by the clock, in one of several phases; "
                "such a run cannot be reproduced"
            )
        print(
            f"the run's budget ended it, by the clock, after {training.steps:,} steps: the new "
            "one is ended after the same number",
            flush=True,
        )
        callbacks = [*callbacks, _StopAt(training.steps)]
    experiment = open_experiment(plan=record.plan, **arguments_of(record, before.folder, name))
    trained = before.folder.resolve()  # as given, such as ".", it may not tell its name
    where = trained.parent if out is None else pathlib.Path(out)
    files.make_folder(where)
    again = where / f"{trained.name},reproduced"
    with files.lock(again, wait=False), starting_over(again) as set_aside:
        finished = (again / "manifest.json").exists()
        run = Execution(experiment, again, callbacks, set_aside if finished else None).run()
    result = _compared(before, run)
    print(result, flush=True)
    return result


def _compared(before: Run, after: Run) -> Reproduction:
    compared, differences = [], []

    def compare(what: str, different: list[str]) -> None:
        if different:
            differences.append(f"{what} differ: {', '.join(different)}")
        else:
            compared.append(what)

    weights = [run.record.weights_sha256 for run in (before, after)]
    compare("weights", [] if weights[0] == weights[1] else [f"{w}"[:12] for w in weights])
    history = [{k: v for k, v in run.history.items() if k != "seconds"} for run in (before, after)]
    compare(f"{len(before.history.get('epoch', []))} epochs of history", different(*history))
    compare(
        formatting.counted(len(before.metrics), "metric"), different(before.metrics, after.metrics)
    )
    compare("predictions", different(*map(predictions_of, (before, after))))
    return Reproduction(after, compared, differences, _causes(before.record, after.record))


def _causes(then: Record, now: Record) -> list[str]:
    """Says what differs in code, data, versions and machine."""
    causes = [cause for cause in find_causes(then, now) if cause.name != "budget"]
    return [cause.text(", now ") for cause in causes]
