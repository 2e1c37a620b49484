"""Hyperparameter search: keras-tuner over a pipeline's own keys, then a run of the best."""

import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras_tuner

from . import files, formatting, report
from .engines import Engine, open_engine, thread_settings
from .errors import RunError, UserError, resumable
from .experiments import keys
from .experiments.describing import arguments, check_same, check_same_bits, new_record
from .experiments.execution import Execution
from .experiments.experiment import Experiment
from .experiments.folders import run_folder, starting_over
from .experiments.running import open_experiment, vary
from .experiments.session import own_session
from .records import Record, Run, read_record
from .records.hparams import write_hparams
from .records.study import Study, TrialRecord
from .tuning import tables
from .tuning.driver import Driver
from .tuning.options import TUNERS, Options, objective_of
from .tuning.oracles import ADAPTIVE, make_oracle
from .tuning.refit import Refit, about, result
from .tuning.space import active, make_space, overrides_of, ranges, scales, size
from .tuning.trials import Part

__all__ = ["TUNERS", "search"]

TRIALS = 10  # unless a grid has its own number, and Hyperband its epochs
PAGE_SECONDS = 20.0  # at least, between two pages of a search that goes on
PAGE_COST = 20  # times what a page took


@resumable()
@own_session()
def search(
    name: object,
    *,
    tuner: str = "random",
    trials: int | None = None,
    over: str | Sequence[str] = (),
    folds: int = 1,
    repeats: int = 1,
    refit: str | None = None,
    jobs: int | None = None,
    cluster: str | None = None,
    trial_budget: float | None = None,
    budget: float | None = None,
    seed: int = 0,
    data: str = "auto",
    data_dir: str | os.PathLike | None = None,
    out: str | os.PathLike = "saved_models",
    plan: str | None = None,
    fresh: bool = False,
    **overrides: object,
) -> Run:
    """Searches a pipeline's keys on val, then makes an ordinary run of the best trial.

    The search space is what the pipeline declares; `key=value` fixes a key. `key=a,b,c` restricts a
    key, or a field of the Trainer, to these values, and `over` names keys to search over their
    declared ranges: the search is then over these keys only. Trials never see the test split. The
    same call resumes a search that was interrupted, each training from its last checkpoint.

    Args:
        name: A pipeline, by name, file or itself, or your own data; see `kpipe.run`.
        tuner: One of `TUNERS`.
        trials: Largest number of trials, default 10; that of a grid is all of them, and that of
            Hyperband follows from the epochs. It can be raised to resume a finished search.
        over: Names of keys, or text with commas between them.
        folds: Number of folds of train and val; each trial is trained once for each, with that fold
            as its val split. 1 for the val split of the data.
        repeats: Number of seeds with which each trial is trained, from `seed` on.
        refit: "best", the run has the weights of the trial; "retrain", it is trained again from
            scratch; "train+val", then once more on train and val, up to the best epoch. By default
            one of the last two, by the pipeline's `retrain`.
        jobs: Number of processes that train at a time, each with its share of the processors and
            GPUs; by default trials are trained in this process, one after the other.
        cluster: Address of a Ray cluster that trains instead: "auto", "HOST:PORT" or "ray://...".
        trial_budget: Seconds of each training, of trials and of the run.
        budget: Seconds after which no trial begins and the last ones end.
        seed: Random seed of every trial and of the tuner.
        data: See `kpipe.run`, also for the next two.
        data_dir: Folder of the TFDS datasets.
        out: Folder for results: the search's folder and that of the best trial's run.
        plan: Execution plan of every training.
        fresh: Whether to start over; an existing search is renamed and kept.
        **overrides: Values, or choices of values, of the pipeline's keys.

    Returns:
        The run of the best completed trial. The search's folder, whose path is printed, contains
        the trials as `trials.csv`, their epochs as `curves.csv`, and `search.html`.

    Raises:
        UserError: An argument is wrong.
        RunError: No trial was completed, or the pipeline is at fault.

    Example:
        run = kpipe.search("mnist_mlp", tuner="grid", dropout="0.1,0.3")
    """
    given = Options(tuner, trials, over, folds, repeats, refit, budget)
    experiment = open_experiment(
        name,
        overrides,
        data=data,
        data_dir=data_dir,
        seed=seed,
        plan=plan,
        budget=trial_budget,
        several=True,
    )
    experiment.fingerprint()  # fails early on a bad embeddings path
    given.check(experiment, overrides)
    space = make_space(experiment, overrides, given.over)
    folder = run_folder(
        pathlib.Path(out),
        experiment,
        search=tuner,
        over=",".join(given.over),
        folds=given.folds if given.folds > 1 else None,
        repeats=given.repeats if given.repeats > 1 else None,
    )
    searching = _Search(experiment, overrides, given, space, folder)
    opening = None if jobs is None and cluster is None else arguments(experiment, overrides)
    with files.lock(folder, wait=False), starting_over(folder) as set_aside:
        if fresh:
            set_aside()
        files.make_folder(folder)
        with open_engine(jobs, cluster, shared=folder) as engine:
            searching.run(engine, opening)
        best = searching.best()
        print("\ntraining and evaluating the best trial as a separate run:", flush=True)
        return searching.refit(best, pathlib.Path(out), fresh)


def _threads_of(engine: Engine) -> dict[str, int]:
    """Returns the threads of an engine's processes, as the record of a machine names them."""
    settings = thread_settings(engine.threads)
    names = ("intra_op_threads", "inter_op_threads")
    values = (settings[f"TF_NUM_{kind}_THREADS"] for kind in ("INTRAOP", "INTEROP"))
    return dict(zip(names, map(int, values), strict=True))


class _Search:
    """A search: its study, its folder, and the run of its best trial."""

    def __init__(
        self,
        experiment: Experiment,
        overrides: Mapping[str, object],
        given: Options,
        space: keras_tuner.HyperParameters,
        folder: pathlib.Path,
    ):
        self.experiment, self.given, self.space, self.folder = experiment, given, space, folder
        choices = experiment.settings.choices
        self.fixed = {key: value for key, value in overrides.items() if key not in choices}
        self.objective = objective_of(experiment)
        self.study = Study(
            tuner=given.tuner,
            objective=self.objective.name,
            direction=self.objective.direction,
            space=ranges(space),
            scales=scales(space),
            size=size(space),
            seed=experiment.seed,
            folds=given.folds,
            repeats=given.repeats,
        )
        self.next_page = time.monotonic() + PAGE_SECONDS
        self.machine: dict[str, Any] = {}

    def run(self, engine: Engine, opening: dict[str, Any] | None) -> None:
        """Searches, or completes a search; the study then has all trials."""
        experiment, given, study = self.experiment, self.given, self.study
        study.jobs = engine.slots
        # With the threads of this process, unless others train.
        self.machine = _threads_of(engine) if opening else {}
        self.record = self._begin()
        trials = given.trials
        if given.tuner in ("random", "bayesian"):
            trials = trials or TRIALS
        oracle = make_oracle(
            given.tuner,
            self.space,
            self.objective,
            experiment.seed,
            max_epochs=experiment.trainer.epochs,
            trials=trials,
        )
        said = "any number of" if study.size is None else f"{study.size:,} different"
        print(f"searching {', '.join(study.space)}: {said} trials", flush=True)
        template = Part(
            opening=experiment if opening is None else opening,
            fingerprint=experiment.fingerprint(),
            overrides={},
            folder=self.folder,
            seed=experiment.seed,
            repeat=0,
            fold=0,
            folds=given.folds,
            objective=study.objective,
            budget=experiment.budget,
        )
        try:
            Driver(
                study,
                oracle,
                engine,
                self.folder.absolute() / "trials",  # a machine of a cluster has its own folder
                template,
                self._active,
                self._overrides,
                trials,
                given.budget,
                on_begin=self._check_bits,
                on_change=self._write_page,
            ).run()
        finally:
            if study.trials:
                self._write()
                write_hparams(self.folder, study)

    def _begin(self) -> Record:
        """Writes search.json, a run's record, or compares an existing one with this search."""
        path = self.folder / "search.json"
        given, trial_budget = self.given, self.experiment.budget
        options = vars(given) | {"over": ",".join(given.over), "trial_budget": trial_budget}
        options |= {k: n for k in ("folds", "repeats") if (n := options.pop(k)) > 1}
        record = new_record(self.experiment, "search", **options)
        self.now = record
        record.data.fingerprint = self.experiment.fingerprint()
        record.machine |= self.machine
        record.details = {"objective": self.study.objective, "space": self.study.space}
        if self.given.tuner in ADAPTIVE:  # the trials depend on it
            record.details["jobs"] = self.study.jobs
        if not any(self.folder.glob("trials/*/")):
            if any(self.folder.glob("tuner/trial_*")):
                raise UserError(
                    f"{self.folder} contains a search by an older kpipe, which cannot be resumed; "
                    "--fresh starts over and keeps it"
                )
            copy = self.folder / "trials" / path.name  # a search must not depend on one file
            files.make_folder(copy.parent)
            for place in (copy, path):
                files.write_json(place, record.to_json())
            return record
        existing = self._read_record(path)
        self._check_same_space(existing)
        check_same(path, existing, record)
        existing.command = record.command  # its budget, and number of trials, may be larger
        return existing

    def _check_bits(self) -> None:
        """Refuses to train other trials under other versions or threads than the earlier ones."""
        check_same_bits(self.folder / "search.json", self.record, self.now)

    def _read_record(self, path: pathlib.Path) -> Record:
        """Reads search.json or, if it is damaged, its copy; writes the damaged one again."""
        copy = self.folder / "trials" / path.name
        for place, other in ((path, copy), (copy, path)):
            try:
                existing = read_record(place)
            except UserError as error:
                problem = error
                print(f"{str(error).partition('; run again')[0]}: {other} is used", flush=True)
                continue
            files.write_json(other, existing.to_json())
            return existing
        raise problem

    def _check_same_space(self, existing: Record) -> None:
        then: dict[str, str] = existing.details.get("space", {})
        now = self.study.space
        for key in [*then, *(key for key in now if key not in then)]:
            if then.get(key) != now.get(key):
                was, is_now = then.get(key, "not searched"), now.get(key, "not searched")
                raise UserError(
                    f"{self.folder} contains a search over another space: {key} was {was}, now "
                    f"{is_now}; --fresh starts over and keeps it, --out DIR uses another folder"
                )
        jobs = existing.details.get("jobs", self.study.jobs)
        if self.study.width(jobs) != self.study.width(self.study.jobs):
            raise UserError(
                f"{self.folder} was begun with {formatting.counted(jobs, 'job')}, on which the "
                f"trials of {self.given.tuner} depend, not {self.study.jobs}; use --jobs {jobs}, "
                "or start over with --fresh, which keeps it"
            )

    def _active(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the values of the searched keys that a trial has.

        A pipeline may declare some for certain values only, by `if` instead of a conditional scope.
        """
        found = active(self.space, values)
        try:
            known = keys.known(self.experiment.module, self._overrides(found))
        except Exception:  # the trial fails by it in its own place
            return found
        return {name: value for name, value in found.items() if name in known}

    def _overrides(self, values: Mapping[str, object]) -> dict[str, Any]:
        """Returns all overrides of a trial with these values of the searched keys."""
        return overrides_of(self.space, self.fixed, values)

    def _write_page(self) -> None:
        """Writes tables and page, unless that was just done: a trial may take a second."""
        if time.monotonic() > self.next_page:
            self._write()

    def _write(self) -> None:
        """Writes the tables and the page."""
        began = time.monotonic()
        rows = {"trials.csv": tables.trials, "curves.csv": tables.curves}
        for name, rows_of in rows.items():
            files.write_bytes(self.folder / name, formatting.to_csv(rows_of(self.study)).encode())
        report.write_search(self.study, self.record, self.folder)
        now = time.monotonic()
        self.next_page = now + PAGE_COST * max(now - began, PAGE_SECONDS / PAGE_COST)

    def best(self) -> TrialRecord:
        """Prints the table; returns the best completed trial.

        Raises:
            RunError: There is none.
        """
        print(
            f"{tables.to_text(self.study)}\ntrials: {self.folder / 'trials.csv'}\n"
            f"page: {self.folder / 'search.html'}",
            flush=True,
        )
        ranked = self.study.ranked
        if not ranked:
            raise RunError(f"no trial was completed; see {self.folder / 'trials.csv'}")
        return ranked[0]

    def refit(self, trial: TrialRecord, out: pathlib.Path, fresh: bool) -> Run:
        """Makes an ordinary run of a trial."""
        overrides = self._overrides(trial.values)
        if self.given.refit is not None:
            overrides["retrain"] = self.given.refit == "train+val"
        if self.given.refit == "best" and self.given.tuner == "hyperband":
            overrides["epochs"] = self._epochs_of(trial)
        experiment = vary(self.experiment, overrides, self.experiment.seed)
        how = self.given.refit or ("train+val" if experiment.trainer.retrain else "retrain")
        chosen = Refit(
            how,
            about(self.study, trial, self.folder, how),
            self.folder / "trials" / f"{trial.trial:04d}" / f"seed={experiment.seed}",
            self.machine,
        )
        folder = run_folder(out, experiment)
        with files.lock(folder, wait=False), starting_over(folder) as set_aside:
            run = Execution(experiment, folder, (), set_aside if fresh else None, chosen).run()
        self.study.refit = result(run, chosen)
        self._write()
        return run

    def _epochs_of(self, trial: TrialRecord) -> int:
        content: Any = files.read_json(self.folder / "trials" / f"{trial.trial:04d}" / "trial.json")
        return int(content["values"]["tuner/epochs"])
