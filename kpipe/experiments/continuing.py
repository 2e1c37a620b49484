"""Continues a finished run, for more epochs, from the exact state in which it ended.

A finished run keeps its last checkpoint in the folder `state`. A run that continues it begins with
a copy of it, as if it had been killed there. Nothing else depends on the number of epochs, unless
a pipeline lets its learning-rate schedule do so, which is refused: thus 30 epochs continued to 60
equal 60 at once, to the bit.
"""

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any, Protocol

import keras
import keras_tuner

from .. import environment, files, manifest
from ..errors import UserError
from ..records import Record, describe_difference, open_run
from ..training import History, Trainer
from . import catalogue
from .describing import NAMED, check_same, check_same_bits, new_record
from .experiment import Experiment

STATE = "state"  # folder of a finished run
ELSE = "a run is continued only under what it was run with"
# What may differ: it says when training ends, and what is written.
_MAY_DIFFER = ("epochs", "sample_epochs", "patience", "checkpoint_seconds", "keep_state")
# How a training ended that can go on: a budget or callback may end it within an epoch.
_COMPLETE = ("epochs", "early stopping")


def keep_state(folder: pathlib.Path, trainer: Trainer, history: History) -> None:
    """Keeps the last checkpoint of a training in the run's folder, without copying it."""
    commits = sorted((folder / "checkpoints").glob("step-*"))
    if not (trainer.keep_state and commits and history.stopped_by in _COMPLETE):
        return
    with files.new_folder(folder / STATE) as temporary:
        for path in commits[-1].iterdir():
            if path.name != manifest.NAME:
                files.link(path, temporary / path.name)


def arguments_of(record: Record, folder: pathlib.Path, name: object = None) -> dict[str, Any]:
    """Returns the arguments with which `open_experiment` opens a run's experiment again.

    `name` is what was in memory, if the run was of that.

    Raises:
        UserError: It was a DataFrame or an object in memory, or its file does not exist any more.
    """
    bundled = record.pipeline in catalogue.names()
    if name is None:
        name = record.origin.get("name", record.pipeline if bundled else None)
    if name is None:
        raise UserError(
            f"{folder}: run.json does not contain what was run, which was in memory, or written by "
            "an older kpipe; in Python give it to kpipe.run again"
        )
    if isinstance(name, str) and os.path.isabs(name) and not os.path.exists(name):
        raise UserError(f"{folder}: the run was of {name}, which does not exist any more")
    kind = record.data.kind
    overrides = {k: "none" if v is None else v for k, v in record.overrides.items()}
    return {
        "name": name,
        # The number of epochs may have been limited by the sample, or not.
        "overrides": {**overrides, "epochs": record.trainer["epochs"]},
        "data": kind if kind in ("real", "sample") else "auto",
        "data_dir": record.origin.get("data_dir"),
        "corrections": record.origin.get("corrections"),
        "seed": record.seed,
        "dtype_policy": record.dtype_policy,
        "shards": record.shards,
    }


class Beginning(Protocol):
    """What a run begins with instead of with nothing."""

    def describe(self, record: Record, experiment: Experiment) -> None:
        """Says in the run's record what that is."""

    def begin(self, folder: pathlib.Path) -> None:
        """Writes it into the run's folder, unless it has a checkpoint already."""


def begin_from(
    commit: pathlib.Path, checkpoints: pathlib.Path, ended: Sequence[str] = _COMPLETE
) -> None:
    """Writes a commit as the first one of another training, which goes on from it.

    Args:
        commit: Folder of the commit.
        checkpoints: Folder of the checkpoints of the other training.
        ended: How a training ended that goes on; any other training has ended for good.
    """
    state: Any = files.read_json(commit / "state.json")
    if state["history"]["stopped_by"] in ended:
        state["history"]["stopped_by"] = state["stopping"] = None
        state["callbacks"]["EarlyStopping"]["stopped_epoch"] = 0
    files.make_folder(checkpoints)
    with files.new_folder(checkpoints / f"step-{state['history']['step']:012d}") as temporary:
        for path in commit.iterdir():
            if path.name not in (manifest.NAME, "state.json"):
                shutil.copyfile(path, temporary / path.name)
        (temporary / "state.json").write_text(json.dumps(state), encoding="utf-8")


@dataclasses.dataclass(frozen=True)
class Continuation:
    """A finished run that is continued.

    Attributes:
        folder: Its folder.
        record: Its record.
    """

    folder: pathlib.Path
    record: Record

    @property
    def about(self) -> dict[str, Any]:
        assert self.record.training
        return {"epochs": self.epochs, "weights_sha256": self.record.weights_sha256}

    @property
    def epochs(self) -> int:
        """The number of epochs that the run has, without those of fine-tuning."""
        training = self.record.training
        assert training
        return training.frozen_epochs or training.epochs

    def describe(self, record: Record, experiment: Experiment) -> None:
        """Says in the record of the new run what it continues."""
        record.continued_from, record.plan = self.about, self.record.plan
        call = f"kpipe.run(continue_from={str(self.folder)!r}, epochs={experiment.trainer.epochs})"
        record.command = environment.command() or call

    def check(
        self, experiment: Experiment, callbacks: Sequence[keras.callbacks.Callback] = ()
    ) -> None:
        """Checks that training can go on exactly where the run ended.

        Raises:
            UserError: It cannot; the message says why.
        """
        then, path, trainer = self.record, self.folder / "run.json", experiment.trainer
        now = new_record(experiment, callbacks=callbacks)
        now.data.fingerprint = experiment.fingerprint()
        now.continued_from = then.continued_from
        for name in ("hyperparameters", "trainer"):
            old, new = getattr(then, name), getattr(now, name)
            fixed = {key: value for key, value in new.items() if key not in _MAY_DIFFER}
            kept = {key: value for key, value in old.items() if key in _MAY_DIFFER}
            setattr(now, name, fixed | kept)
            if getattr(now, name) != old:
                raise UserError(
                    f"{self.folder} cannot be continued with different {NAMED.get(name, name)}: "
                    f"{describe_difference(then, now, name)}; only epochs and patience may differ"
                )
        check_same(path, then, now, ELSE)
        check_same_bits(path, then, now, ELSE)
        if trainer.epochs <= self.epochs:
            raise UserError(
                f"{self.folder} already has {self.epochs} epochs; expected epochs=N, the number "
                "of all epochs, larger than that"
            )
        before, patience = then.trainer["patience"], trainer.patience
        assert then.training
        early = then.training.stopped_by == "early stopping"
        if patience and (not before or patience < before or (early and patience == before)):
            ended = f"was ended by early stopping after {self.epochs} epochs" if early else "ran on"
            raise UserError(
                f"{self.folder} {ended} with patience={before}: expected patience=0 or a "
                f"{'larger' if early else 'no smaller'} one, not patience={patience}"
            )
        if "epochs" in experiment.hyperparameters:
            self._check_schedule(experiment)

    def _check_schedule(self, experiment: Experiment) -> None:
        """Refuses an optimizer that depends on the number of epochs, such as by its schedule."""
        hp = keras_tuner.HyperParameters.from_config(experiment.settings.hp.get_config())
        hp.values["epochs"] = self.record.trainer["epochs"]
        models = [experiment.build_model(hp=values)[0] for values in (None, hp)]
        new, old = (keras.optimizers.serialize(model.optimizer) for model in models)
        if new != old:
            raise UserError(
                f"{self.folder} cannot be continued: the optimizer of {experiment.name} depends on "
                "the number of epochs, so that more epochs are another training from the first "
                "step on; run it anew"
            )

    def begin(self, folder: pathlib.Path) -> None:
        """Writes the run's state as the first checkpoint of another folder, unless it has one."""
        checkpoints = folder / "checkpoints"
        if checkpoints.is_dir() and any(checkpoints.glob("step-*")):
            return
        begin_from(self.folder / STATE, checkpoints)
        print(f"continuing {self.folder}, which has {self.epochs} epochs", flush=True)


def open_continuation(folder: str | os.PathLike) -> Continuation:
    """Opens a finished run that is to be continued.

    Raises:
        UserError: It is not finished, or has no state.
    """
    run = open_run(folder)
    training = run.record.training
    if training is None or training.stopped_by not in _COMPLETE:
        how = training and training.stopped_by
        raise UserError(
            f"{run.folder} was ended by its {how}, perhaps within an epoch; only a run that ended "
            "after all its epochs or by early stopping can be continued"
        )
    if not (run.folder / STATE / "state.json").is_file():
        raise UserError(
            f"{run.folder} has no {STATE}/ to continue from: it was run with keep_state=false, or "
            "by an older kpipe; run it anew with more epochs"
        )
    manifest.check(run.folder, STATE, remedy="the run cannot be continued")
    return Continuation(run.folder, run.record)
