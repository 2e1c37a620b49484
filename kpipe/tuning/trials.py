"""One training of a trial, in whatever process: plain data in and out, files in a folder."""

import dataclasses
import json
import pathlib
import shutil
import socket
from typing import Any

import numpy as np
import tensorflow as tf

from .. import files, manifest
from ..data import Data, divided_anew
from ..datasets.splits import folds_of
from ..errors import RunError, UserError, WriteError, first_line
from ..experiments.continuing import begin_from
from ..experiments.experiment import Experiment
from ..experiments.pooling import pool_of
from ..experiments.running import open_experiment, vary
from ..experiments.session import own_session
from ..records.study import PartRecord
from ..training import History, choose_plan

RESULT = "result.json"
# What a model, or a training, of certain values may raise; anything else is the pipeline's fault.
_OF_VALUES = (RunError, UserError, ValueError, ArithmeticError, MemoryError, tf.errors.OpError)


@dataclasses.dataclass(frozen=True)
class Part:
    """A training of a trial.

    Attributes:
        opening: The search's experiment, or in another process the arguments that open it.
        fingerprint: Fingerprint of its data.
        overrides: All values of keys that differ from the defaults.
        folder: Where its checkpoints and its result are.
        seed: Its seed.
        repeat: Number of the repeat, from 0.
        fold: Number of the fold that is its val split, from 0.
        folds: Number of folds; 1 for the val split of the data.
        objective: Metric of the trial.
        epochs: Number of epochs, if not that of the Trainer: of Hyperband.
        continues: Folder of the part that it continues: of Hyperband.
        budget: Seconds of training.
        left: Seconds of training from now on, whatever was trained before: of the search's budget.
    """

    opening: Experiment | dict[str, Any]
    fingerprint: str
    overrides: dict[str, Any]
    folder: pathlib.Path
    seed: int
    repeat: int
    fold: int
    folds: int
    objective: str
    epochs: int | None = None
    continues: pathlib.Path | None = None
    budget: float | None = None
    left: float | None = None

    @property
    def result(self) -> dict[str, Any] | None:
        """What `train` returned; None if the part has not ended, or the file is damaged."""
        path = self.folder / RESULT
        if not path.is_file():
            return None
        try:
            return files.read_json(path)  # type: ignore[return-value]
        except UserError as error:
            print(f"{first_line(error)}: the training is repeated", flush=True)
            shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
            return None


_opened: dict[str, Experiment] = {}  # of this process, by the arguments


def train(part: Part) -> dict[str, Any]:
    """Trains a part, from its last checkpoint if there is one.

    Returns:
        "part", the content of a `PartRecord`; or "error", why these values cannot be trained.

    Raises:
        RunError: The data are not those of the search, or the disk is full.
        Exception: What the pipeline raises by any fault other than an unfit value.
    """
    with own_session(), files.writing(part.folder):
        experiment = _open(part)
        files.make_folder(part.folder)
        with files.lock(part.folder):  # that of a search that was killed may still be saving
            result = part.result
            if result is None:
                try:
                    result = {"part": dataclasses.asdict(_train(part, experiment))}
                except WriteError:
                    raise
                except _OF_VALUES as error:
                    result = {"error": first_line(error, 1000)}
                files.write_json(part.folder / RESULT, result)
        return result


def _open(part: Part) -> Experiment:
    """Opens the search's experiment, once in a process, and compares its data."""
    if isinstance(part.opening, Experiment):
        return part.opening
    name = json.dumps(part.opening, default=str)
    if name not in _opened:
        try:
            experiment = open_experiment(**part.opening)
            fingerprint = experiment.fingerprint()
        except UserError as error:
            raise RunError(f"{socket.gethostname()} cannot open the search: {error}") from error
        if fingerprint != part.fingerprint:
            raise RunError(
                f"{socket.gethostname()} has other data than the search (fingerprint "
                f"{fingerprint[:12]}, not {part.fingerprint[:12]}); give all machines the same "
                "--data-dir, and the same KPIPE_HOME if the data were prepared there"
            )
        _opened.clear()
        _opened[name] = experiment
    return _opened[name]


def _train(part: Part, base: Experiment) -> PartRecord:
    experiment = vary(base, part.overrides, part.seed)
    trainer = experiment.trainer
    prepared = experiment.prepare()
    if part.folds > 1:
        prepared = _divide(part, experiment, prepared)
    assert prepared.val is not None
    model, _ = experiment.build_model(prepared)
    experiment.task.check(model, prepared)
    parameters = model.count_params()
    count = len(prepared.train)
    # As the run has it: Hyperband's trials go on under the same plan.
    plan = experiment.plan or choose_plan(model, count, trainer.batch_size, trainer.epochs)
    if part.continues:
        _continue(part)
    limits = [part.budget, part.left and _trained(part.folder) + part.left]
    history = trainer.fit(
        model,
        prepared,
        seed=experiment.seed,
        plan=plan,
        folder=part.folder,
        budget=min((limit for limit in limits if limit is not None), default=None),
        epochs=part.epochs,
    )
    return PartRecord(
        repeat=part.repeat,
        fold=part.fold,
        value=_value(part, history),
        best_epoch=history.best_epoch,
        epochs=len(history.rows),
        seconds=round(history.seconds, 2),
        parameters=parameters,
        stopped_by=history.stopped_by or "",
        examples=len(prepared.val),
        curves={name: values for name, values in history.columns.items() if name != "step"},
    )


def _trained(folder: pathlib.Path) -> float:
    """Returns the seconds of a training that is resumed, which its budget counts too."""
    commits = sorted(folder.glob("**/checkpoints/step-*"))
    try:
        state: Any = files.read_json(commits[-1] / "state.json")
        return float(state["history"]["seconds"] + state["epoch_seconds"])
    except (IndexError, UserError):  # a new one; or damaged, which is said when it is read
        return 0.0


def _value(part: Part, history: History) -> float:
    row = history.rows[history.best_epoch - 1]
    if part.objective not in row:
        raise UserError(f"{part.objective}: no such metric; expected one of {', '.join(row)}")
    value = float(row[part.objective])
    if not np.isfinite(value):
        raise RunError(f"{part.objective} is {value} in the best epoch, {history.best_epoch}")
    return value


def _divide(part: Part, experiment: Experiment, data: Data) -> Data:
    """Returns the data of a fold: it is val, all others but test are train."""
    pool, groups = pool_of(experiment, data)
    labels = pool.labels[pool.rows]
    # Only classes can be stratified.
    classes = labels if labels.ndim == 1 and labels.dtype.kind == "i" else np.zeros(len(pool), int)
    folds = folds_of(classes, part.folds, part.seed, groups)
    rows = {"train": pool.rows[folds != part.fold], "val": pool.rows[folds == part.fold]}
    return divided_anew(data, experiment.dataset, pool, rows, part.folder)


def _continue(part: Part) -> None:
    """Begins with the exact state in which another part ended, if it can go on."""
    assert part.continues
    checkpoints = part.folder / "checkpoints"
    commits = sorted((part.continues / "checkpoints").glob("step-*"))
    if (checkpoints.is_dir() and any(checkpoints.glob("step-*"))) or not commits:
        return
    manifest.check(commits[-1], remedy="the trial cannot be continued")
    begin_from(commits[-1], checkpoints, ended=("epochs",))
