"""Hyperparameter search: keras-tuner over a pipeline's own keys, then a run of the best."""

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import keras_tuner
from keras_tuner.engine import hyperparameters as hp_types
from keras_tuner.src import config as keras_tuner_config
from keras_tuner.src import utils as keras_tuner_utils
from keras_tuner.src.engine.objective import create_objective

from . import files, formatting
from .data import prepare
from .datasets import Dataset, Source
from .disk import without_patterns
from .errors import RunError, UserError, WriteError, first_line, resumable
from .experiments import catalogue
from .experiments.describing import check_same, check_same_bits, new_record
from .experiments.experiment import Experiment
from .experiments.folders import run_folder, starting_over
from .experiments.keys import parse_number
from .experiments.running import open_experiment, run
from .experiments.session import own_session
from .records import Run, read_record
from .training import Trainer
from .tuner_files import check_weights, check_whole, note_weights, whole_files

# Without this a failed trial prints its traceback; there is no public switch.
keras_tuner_config.DEBUG = False


def _save_json(path: str, content: object) -> str:
    text = json.dumps(content)
    files.write_bytes(pathlib.Path(path), text.encode())
    return text


# keras-tuner writes in place: a kill or a full disk would leave an empty file, and no search.
keras_tuner_utils.save_json = _save_json

TUNERS = {
    "random": keras_tuner.RandomSearch,
    "bayesian": keras_tuner.BayesianOptimization,
    "hyperband": keras_tuner.Hyperband,
    "grid": keras_tuner.GridSearch,
}


@resumable()
@own_session()
def search(
    name: object,
    *,
    tuner: str = "random",
    trials: int | None = None,
    seed: int = 0,
    data: str = "auto",
    data_dir: str | os.PathLike | None = None,
    out: str | os.PathLike = "saved_models",
    plan: str | None = None,
    budget: float | None = None,
    fresh: bool = False,
    **overrides: object,
) -> Run:
    """Searches a pipeline's keys on val, retrains the best trial and evaluates it once on test.

    The search space is what the pipeline declares; `key=value` fixes a key. `key=a,b,c` restricts a
    key, or a field of the Trainer, to these values; the search is then over the keys with such
    choices only. Trials never see the test split.

    Args:
        name: A pipeline, by name, file or itself, or your own data; see `kpipe.run`.
        tuner: One of `TUNERS`.
        trials: Maximum number of trials, default 10; for Hyperband it follows from the epochs.
        seed: Random seed of every trial and of the tuner.
        data: See `kpipe.run`, also for the next two.
        data_dir: Folder of the TFDS datasets.
        out: Folder for results: the search's folder and that of the best trial's run.
        plan: Execution plan of every trial.
        budget: Seconds of each trial's training.
        fresh: Whether to start over; an existing search is renamed and kept.
        **overrides: Values, or choices of values, of the pipeline's keys.

    Returns:
        The run of the best completed trial. The table of trials is `trials.csv` in the search's
        folder, whose path is printed.

    Raises:
        UserError: An argument is wrong.
        RunError: No trial was completed.

    Example:
        run = kpipe.search("mnist_mlp", tuner="grid", dropout="0.1,0.3")
    """
    if tuner not in TUNERS:
        raise UserError(f"--search {tuner}: expected {', '.join(TUNERS)}")
    if trials is not None:
        trials = parse_number("trials", trials, 1, 1_000_000, integer=True)
    if tuner == "hyperband" and trials is not None:
        raise UserError("--trials does not apply to hyperband: epochs=N sets its trials")
    experiment = open_experiment(
        name,
        overrides,
        data=data,
        data_dir=data_dir,
        seed=seed,
        plan=plan,
        budget=budget,
        several=True,
    )
    experiment.fingerprint()  # fails early on a bad embeddings path
    _check_val(experiment.dataset, experiment.source)
    folder = run_folder(pathlib.Path(out), experiment, search=tuner, trials=trials)
    searching = _Search(experiment, overrides, folder, data_dir)
    with files.lock(folder, wait=False), starting_over(folder) as set_aside:
        if fresh:
            set_aside()
        best = searching.run(tuner, trials)
    print("\ntraining and evaluating the best trial as a separate run:", flush=True)
    return run(
        name,
        seed=seed,
        data="auto" if experiment.source.kind == "own" else experiment.source.kind,
        data_dir=data_dir,
        out=out,
        plan=plan,
        budget=budget,
        fresh=fresh,
        **best,
    )


def _check_val(dataset: Dataset, source: Source) -> None:
    """Refuses data without a val split, on which trials are compared."""
    if not dataset.val_fraction and "val" not in source.examples:
        raise UserError(
            f"{dataset.name} has no val split, which a search needs to compare its trials; "
            "set the dataset's val_fraction"
        )


class _Search(keras_tuner.HyperModel):
    """Builds and trains a trial like a run, with the Trainer's callbacks, but without test."""

    def __init__(
        self,
        experiment: Experiment,
        overrides: Mapping[str, object],
        folder: pathlib.Path,
        data_dir: str | os.PathLike | None = None,
    ):
        super().__init__()
        self.experiment, self.settings = experiment, experiment.settings
        self.module, self.overrides, self.folder = experiment.module, overrides, folder
        self.data_dir, self.table = data_dir, folder / "trials.csv"
        self.objective, self.is_sample = self._objective(), experiment.source.kind == "sample"
        self.tuner: Any = None  # created when the search begins

    def run(self, kind: str, trials: int | None) -> dict:
        """Searches; returns the best completed trial's values that differ from the defaults."""
        self._begin()
        if kind == "grid" and (self.folder / "tuner").is_dir():
            # keras-tuner 1.4.8 cannot resume a grid: github.com/keras-team/keras-tuner/issues/1055
            print("a grid search cannot be resumed; starting over")
            shutil.rmtree(self.folder / "tuner")
        try:
            with whole_files(), without_patterns(self.folder) as folder:
                self.tuner = self._make_tuner(kind, trials, folder)
                self.tuner.save()  # without this file a search killed early would start over
                self.tuner.search(verbose=0)
        except keras_tuner.errors.FatalError as error:
            raise error.__cause__ or error from None
        except RuntimeError as error:  # keras-tuner gives up after three failures in a row
            if "consecutive failures" not in str(error):
                raise
            print(f"search stopped: three trials in a row failed; see {self.table}", flush=True)
        rows = self._table()
        files.write_bytes(self.table, formatting.to_csv(rows).encode())
        print(f"{_to_text(rows)}\ntrials: {self.table}", flush=True)
        if not rows or rows[0]["status"] != "COMPLETED":
            raise RunError(f"no trial was completed; see {self.table}")
        return self._best_overrides(rows[0])

    def _begin(self) -> None:
        """Writes search.json, a run's record, or compares an existing one with this search."""
        path, record = self.folder / "search.json", new_record(self.experiment, "search")
        record.data.fingerprint = self.experiment.fingerprint()
        if path.is_file() and any(self.folder.glob("tuner/trial_*")):
            check_same(path, existing := read_record(path), record)
            if not self.table.is_file():  # else the search has ended
                check_same_bits(path, existing, record)
            return
        files.make_folder(self.folder)
        files.write_json(path, record.to_json())

    def _make_tuner(self, kind: str, trials: int | None, folder: pathlib.Path) -> keras_tuner.Tuner:
        limit = {"max_trials": trials or 10}
        if kind == "hyperband":
            limit = {"max_epochs": self.settings.trainer.epochs}
        resumes = (self.folder / "tuner").is_dir()
        try:
            if resumes:
                check_whole(self.folder / "tuner")
            return TUNERS[kind](
                self,
                objective=self.objective,
                seed=self.experiment.seed + 1,  # to keras-tuner 0 means none
                hyperparameters=self._space(),
                directory=folder,
                project_name="tuner",
                overwrite=False,  # an unfinished search is resumed
                # Keys outside the space keep their defaults, which may depend on chosen values.
                tune_new_entries=not self.settings.choices,
                **limit,
            )
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            if not resumes:  # else damaged files of an older kpipe
                raise
            raise UserError(
                f"{self.folder}: the search cannot be resumed ({first_line(error)}); --fresh "
                "starts over and keeps it"
            ) from error

    def _objective(self) -> keras_tuner.Objective:
        """Returns the metric that ranks trials: the Trainer's monitor, always on val."""
        monitor = self.settings.trainer.monitor
        name = monitor if monitor.startswith("val_") else f"val_{monitor}"
        if self.settings.trainer.monitor_mode != "auto":
            return keras_tuner.Objective(name, self.settings.trainer.monitor_mode)
        if name == "val_reconstruction":
            return keras_tuner.Objective(name, "min")
        try:
            return create_objective(name)  # knows the direction of Keras' own metrics only
        except ValueError:
            raise UserError(
                f"monitor={monitor}: keras-tuner does not know whether it should rise or fall; set "
                'Trainer(monitor_mode="max") or "min", or the key monitor_mode=max'
            ) from None

    def _space(self) -> keras_tuner.HyperParameters:
        """Builds the space: the keys with given choices, or all keys; overrides are fixed."""
        choices, values = self.settings.choices, self.settings.hp.values
        # On sample data trials use the same defaults as the run of the best one will.
        shorter = getattr(self.module, "sample", {}) if self.is_sample else {}
        fixed = {name for name in shorter if name in values} | self.overrides.keys()
        # A conditional key needs the key that it depends on in the space.
        for parameter in reversed(self.settings.hp.space):
            if choices and parameter.name in fixed | choices.keys():
                fixed |= {parent.name for parent in parameter.conditions} - choices.keys()
        space = []
        for parameter in self.settings.hp.space:
            name, conditions = parameter.name, parameter.conditions
            if name in choices:
                parameter = hp_types.Choice(name, choices[name], conditions=conditions)
            elif name in fixed:
                parameter = hp_types.Fixed(name, values[name], conditions=conditions)
            elif choices:
                continue
            space.append(parameter)
        hp = keras_tuner.HyperParameters()
        hp.merge(space)
        for name in choices.keys() - hp.values.keys():  # fields of the Trainer
            hp.Choice(name, choices[name])
        return hp

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model | None:
        if self.settings.choices:
            if not self.tuner:  # keras-tuner looks for conditional keys, but the space is complete
                return None
            # A grid search passes the defaults of the previous trial on to the next one.
            space = {parameter.name for parameter in self._space().space}
            kept = [name for name in hp.values if name in space or name.startswith("tuner/")]
            # One that is trained again after a kill has declared the other keys already.
            declared = {p.name: p.default for p in hp.space if p.name not in space}
            hp.values = declared | {name: hp.values[name] for name in kept}
        self.module.load_data(hp)  # declares its keys, which are part of the space
        model, _ = self.experiment.build_model(hp=hp)
        return model

    def fit(
        self,
        hp: keras_tuner.HyperParameters,
        model: keras.Model,
        *,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        epochs: int | None = None,
        initial_epoch: int = 0,
        **_: object,
    ) -> dict:
        shown = ", ".join(
            f"{key}={formatting.short(value)}" for key, value in self._searched(hp).items()
        )
        print(f"\ntrial {len(self.tuner.oracle.trials)}: {shown}", flush=True)
        experiment = self.experiment
        try:
            dataset = self.module.load_data(hp)
            # A key can choose the source, so that each trial finds its own.
            source = dataset.find(experiment.source.kind, self.data_dir)
            _check_val(dataset, source)
            prepared = prepare(dataset, source, experiment.seed)
            if not initial_epoch:
                prepared.input.initialize(model)
            else:  # Hyperband has loaded the weights of an earlier trial
                check_weights(self.folder / "tuner" / f"trial_{hp.values.get('tuner/trial_id')}")
            experiment.task.check(model, prepared)
            with files.writing(self.folder / "tuner"):  # keras-tuner's callbacks save weights
                history = self._trainer(hp).fit(
                    model,
                    prepared,
                    seed=experiment.seed,
                    plan=experiment.plan,
                    budget=experiment.budget,
                    callbacks=callbacks,
                    epochs=epochs,
                    initial_epoch=initial_epoch,
                )
        except WriteError as error:  # no trial's fault: the same command resumes the search
            raise keras_tuner.errors.FatalError(str(error)) from error
        except (RunError, UserError) as error:  # this trial has failed; the search continues
            print(f"failed: {error}", flush=True)
            raise keras_tuner.errors.FailedTrialError(str(error)) from error
        note_weights(callbacks)
        best = history.rows[history.best_epoch - 1 - initial_epoch]
        result = {name: best[name] for name in best if name not in ("step", "learning_rate")}
        return {**result, "epoch": history.best_epoch, "seconds": history.seconds}

    def _trainer(self, hp: keras_tuner.HyperParameters) -> Trainer:
        """Builds the trial's Trainer, with the fields that were overridden or chosen."""
        fields = {field.name for field in dataclasses.fields(Trainer)}
        given = {key: getattr(self.settings.trainer, key) for key in fields & self.overrides.keys()}
        chosen = {key: hp.values[key] for key in self.settings.choices if key in fields}
        trainer = self.module.build_trainer(hp)
        if self.is_sample:
            trainer = trainer.on_sample()
        return dataclasses.replace(trainer, **(given | chosen | self._plateau(hp)))

    def _plateau(self, hp: keras_tuner.HyperParameters) -> dict:
        """Turns the pipeline's reduce-on-plateau off if the tuner chose a schedule."""
        scheduled = hp.values.get("schedule", "constant") != "constant"
        if scheduled and "reduce_lr_patience" not in self.overrides:
            return {"reduce_lr_patience": 0}
        return {}

    def _searched(self, hp: keras_tuner.HyperParameters) -> dict:
        """Returns the values that were chosen for this trial."""
        named = self.settings.choices
        return {
            p.name: hp.values[p.name]
            for p in hp.space
            if (not named or p.name in named)
            and hp.is_active(p)
            and not isinstance(p, hp_types.Fixed)
        }

    def _best_overrides(self, row: dict) -> dict:
        """Returns the overrides with which a run repeats a trial."""
        hp = self.tuner.oracle.trials[row["trial"]].hyperparameters
        fixed = {k: v for k, v in self.overrides.items() if k not in self.settings.choices}
        return fixed | self._searched(hp) | self._plateau(hp)

    def _table(self) -> list[dict]:
        """Returns one row per trial, the best completed trial first."""
        oracle = self.tuner.oracle
        rows = []
        for trial in oracle.trials.values():
            completed = trial.status == "COMPLETED"
            metric = trial.metrics.get_best_value
            rows.append(
                {
                    "trial": trial.trial_id,
                    "status": trial.status,
                    oracle.objective.name: trial.score if completed else None,
                    "best_epoch": int(metric("epoch")) if completed else None,
                    "seconds": round(metric("seconds"), 1) if completed else None,
                    **self._searched(trial.hyperparameters),
                    "error": (trial.message or "").strip().split("\n")[-1],
                }
            )
        sign = 1 if oracle.objective.direction == "min" else -1

        def rank(row: dict) -> tuple:
            score = row[oracle.objective.name]
            return (score is None, 0 if score is None else sign * score, row["trial"])

        return sorted(rows, key=rank)


def _to_text(rows: list[dict]) -> str:
    """Formats the table for a terminal, without errors and without keys that never varied."""
    names = list(dict.fromkeys(name for row in rows for name in row if name != "error"))
    varied = [n for n in names if len({str(row.get(n)) for row in rows}) > 1 or n == "trial"]
    cells = [tuple(formatting.short(row.get(name)) for name in varied) for row in rows]
    return "\n" + catalogue.align([tuple(varied), *cells])
