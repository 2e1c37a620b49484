"""Comparison of settings over seeds: trains what is missing, and tells what can be told apart."""

import collections
import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from . import environment, files, formatting, manifest, report
from .engines import Engine, Job, Outcome, open_engine
from .errors import RunError, UserError, WriteError, resumable
from .experiments import catalogue, keys, objects
from .experiments.describing import check_same, new_record
from .experiments.experiment import Experiment
from .experiments.folders import run_folder
from .experiments.running import open_experiment, run, vary
from .experiments.session import own_session
from .records import Cell, Comparison, Run, open_run, read_record
from .records import comparing as records
from .tuning.space import active, make_space, overrides_of

COMPARISON = "comparison.json"


@dataclasses.dataclass(kw_only=True, repr=False)
class Compared(Comparison):
    """A comparison and its folder; `repr` is its table, and what it says."""

    folder: pathlib.Path

    def __repr__(self) -> str:
        head, rows = report.comparison_table(self)
        said = [*report.comparison_lines(self), report.about_data(self.runs[0][2].record)]
        return "\n".join([catalogue.align([head, *rows]), "", *filter(None, said)])


@dataclasses.dataclass
class _Trial:
    """A run of a cell with one seed."""

    cell: Cell
    given: dict[str, Any]
    seed: int
    place: str  # "2 of 6: optimizer=adam, seed 1"
    experiment: Experiment | None = None  # None if its keys do not fit together


@resumable()
@own_session()
def compare(
    name: object,
    *,
    seeds: int = 1,
    seed: int = 0,
    data: str = "auto",
    data_dir: str | os.PathLike | None = None,
    out: str | os.PathLike | None = None,
    plan: str | None = None,
    budget: float | None = None,
    fresh: bool = False,
    to: float | None = None,
    jobs: int | None = None,
    cluster: str | None = None,
    **overrides: object,
) -> Compared:
    """Compares settings of a pipeline over seeds, or finished runs.

    Each combination of the values of keys with several values is a cell, which is run with each
    seed: ordinary runs in their own folders, which are trained only if they are missing. The result
    is a page, `comparison.html`, with `comparison.csv` and `comparison.json`, in a folder of its
    own. A run that fails is listed with the reason, and the others go on.

    Args:
        name: A pipeline, by name, file or itself, or your own data, see `kpipe.run`; or a list of
            finished runs or their folders, which are grouped by what differs except the seed.
        seeds: Number of seeds, from `seed` on. From three on differences are tested over seeds.
        seed: The first seed.
        data: See `kpipe.run`, also for the next one.
        data_dir: Folder of the TFDS datasets.
        out: Folder for results, by default "saved_models"; of a list of runs the folder of the
            comparison, by default a new one in "saved_models".
        plan: Execution plan of every training.
        budget: Seconds of each training.
        fresh: Whether to start over; existing runs are renamed and kept.
        to: Value of the validation curve whose time is measured; by default a little
            below the best.
        jobs: Number of processes of this machine that train at the same time.
        cluster: Address of a Ray cluster that trains: "auto", "HOST:PORT".
        **overrides: Values, or several values, of the pipeline's keys.

    Returns:
        The comparison: cells with their runs, and pairs of cells with tests.

    Raises:
        UserError: An argument is wrong, or runs cannot be compared.
        RunError: All trainings failed.

    Example:
        kpipe.compare("mnist_mlp", loss="likelihood,squared", seeds=3)
    """
    if isinstance(name, (list, tuple)):
        if overrides or (seeds, jobs, cluster) != (1, None, None):
            raise UserError("finished runs are compared as they are: give no keys, seeds or jobs")
        return _compare_runs(name, out, to)
    count = keys.parse_number("seeds", seeds, 1, 100, integer=True)
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
    choices = experiment.settings.choices
    if not choices and count == 1:
        raise UserError(
            "--compare: nothing to compare; give a key several values, such as "
            "learning_rate=1e-3,1e-2, or --seeds 3"
        )
    parallel = jobs is not None or cluster is not None
    if parallel and (objects.is_pipeline(name) or not isinstance(name, (str, os.PathLike))):
        option = "--jobs" if jobs is not None else "--cluster"
        raise UserError(
            f"{option}: a pipeline or data in memory cannot be sent to other processes; leave it "
            "out, or give a file"
        )
    place = pathlib.Path("saved_models" if out is None else out)
    folder = run_folder(place, experiment, suffix="-comparison", seeds=count if count > 1 else None)
    kind = experiment.source.kind
    options: dict[str, Any] = {"data": "auto" if kind == "own" else kind, "data_dir": data_dir}
    options |= {"out": place, "plan": plan, "budget": budget, "fresh": fresh}
    if parallel:  # a worker may be elsewhere
        options |= {"out": place.absolute(), "data_dir": data_dir and os.path.abspath(data_dir)}
        name = _absolute(name)
    cells, trials = _cells(experiment, overrides, count)
    command = environment.command()
    with files.lock(folder, wait=False):
        _begin(folder, experiment, command)
        missing = [t for t in trials if t.experiment and (fresh or not _reuse(t, place))]
        if missing:
            with open_engine(jobs, cluster, shared=place.absolute()) as engine:
                _train(missing, engine, {"name": name, **options}, folder if parallel else None)
        if not any(cell.runs for cell in cells):
            reason = next(iter(cells[0].failed.values()))
            raise RunError(f"none of {formatting.counted(len(trials), 'run')} succeeded: {reason}")
        return _write(cells, folder, to, command)


def _train(
    missing: Sequence[_Trial], engine: Engine, options: dict[str, Any], logs: pathlib.Path | None
) -> None:
    """Runs what is missing; `logs` is where the output of other processes goes."""
    waiting, running = collections.deque(missing), dict[str, _Trial]()
    while waiting or running:
        while waiting and len(running) < engine.slots:
            trial = waiting.popleft()
            if logs is None:
                print(f"\n{trial.place}", flush=True)
            log = logs and logs / "logs" / f"{trial.place.partition(' ')[0]}.log"
            arguments = {**options, "seed": trial.seed, "given": trial.given}
            running[trial.place] = trial
            engine.submit(Job(trial.place, _run, arguments, log))
        outcome = engine.wait()
        _finish(outcome, running.pop(outcome.job.name))


def _run(name: Any, given: dict[str, Any], **options: Any) -> str:
    """Runs a cell with a seed, in any process; returns its folder."""
    return str(run(name, **options, **given).folder)


def _absolute(name: Any) -> Any:
    """Returns a pipeline's name, or the absolute path of a file or folder."""
    if os.fspath(name) in catalogue.names():
        return name
    path = pathlib.Path(name).expanduser()
    return str(path.absolute()) if path.exists() else name


def _cells(
    experiment: Experiment, overrides: Mapping[str, object], count: int
) -> tuple[list[Cell], list[_Trial]]:
    """Returns the cells, and a trial for each of them with each seed: all with one seed first."""
    choices, distinct = experiment.settings.choices, [dict[str, Any]()]
    ordered = {key: list(dict.fromkeys(choices[key])) for key in overrides if key in choices}
    fixed = {key: value for key, value in overrides.items() if key not in choices}
    if ordered:
        space = make_space(experiment, overrides, ())
        combined = itertools.product(*ordered.values())
        every = [active(space, dict(zip(ordered, values, strict=True))) for values in combined]
        # Without keys that have no effect, such as the momentum of another optimizer.
        distinct = [keys for i, keys in enumerate(every) if keys not in every[:i]]
    cells = [Cell(keys={k: some[k] for k in ordered if k in some}) for some in distinct]
    seeds, experiments, trials = range(experiment.seed, experiment.seed + count), {}, []
    numbered = itertools.product(seeds, enumerate(cells))
    for number, (seed, (i, cell)) in enumerate(numbered, start=1):
        named = f"{cell.name}, " if cell.keys else ""
        place = f"{number} of {len(seeds) * len(cells)}: {named}seed {seed}"
        given = overrides_of(space, fixed, cell.keys) if ordered else fixed
        trials.append(trial := _Trial(cell, given, seed, place))
        try:
            if i not in experiments:
                experiments[i] = vary(experiment, given, seed)
            trial.experiment = dataclasses.replace(experiments[i], seed=seed)
        except UserError as error:
            _note(trial, error)
    return cells, trials


def _begin(folder: pathlib.Path, experiment: Experiment, command: str) -> None:
    """Writes what `kpipe runs` shows of an unfinished comparison."""
    path = folder / COMPARISON
    if path.is_file():
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} exists but is not a comparison; use another --out")
    files.make_folder(folder)
    about = {"command": command, "status": "unfinished", "data": {"kind": experiment.source.kind}}
    files.write_json(path, about)


def _reuse(trial: _Trial, out: pathlib.Path) -> bool:
    """Opens a trial's run if it is finished; one of other code or data fails, as by `kpipe.run`."""
    assert trial.experiment is not None
    path = run_folder(out, trial.experiment) / "run.json"
    if not path.is_file() or not (path.parent / manifest.NAME).is_file():
        return False
    try:
        record, now = read_record(path), new_record(trial.experiment)
        if record.status != "finished" or record.problems:
            return False
        now.data.fingerprint = trial.experiment.fingerprint()
        check_same(path, record, now)
        _note(trial, open_run(path.parent), " (finished before)")
    except UserError as error:
        _note(trial, error)
    return True


def _finish(outcome: Outcome, trial: _Trial) -> None:
    """Notes how a trial ended.

    Raises:
        WriteError: The disk is full: the same command goes on.
    """
    if isinstance(outcome.error, WriteError):
        raise outcome.error
    if outcome.error or outcome.lost:
        log = f"; see {outcome.job.log}" if outcome.job.log else ""
        known = isinstance(outcome.error, (UserError, RunError))
        _note(trial, RunError(f"{outcome.error or outcome.lost}{'' if known else log}"))
        return
    try:
        _note(trial, open_run(outcome.result))
    except UserError as error:  # a worker's file that is not here
        _note(trial, error)


def _note(trial: _Trial, found: Run | Exception, about: str = "") -> None:
    """Adds a run, or why there is none, to its cell, and says it in a line."""
    if isinstance(found, Exception):
        trial.cell.failed[trial.seed] = str(found)
        print(f"{trial.place}: failed: {found}", flush=True)
        return
    trial.cell.runs[trial.seed] = found
    metric = found.headline
    value = formatting.number(metric, found.metrics.get(metric, {}).get("value"))
    name = "" if formatting.is_share(metric) else f"{formatting.words(metric)} "
    print(f"{trial.place}: {name}{value}{about}", flush=True)


def _compare_runs(
    given: Sequence[Any], out: str | os.PathLike | None, to: float | None
) -> Compared:
    """Compares finished runs as they are."""
    runs = [found if isinstance(found, Run) else open_run(found) for found in given]
    if len(runs) < 2:
        raise UserError(f"{formatting.counted(len(runs), 'run')} given; expected two or more")
    cells = records.group(runs)
    folder = _folder_of(runs, out)
    with files.lock(folder, wait=False):
        return _write(cells, folder, to, environment.command())


def _folder_of(runs: Sequence[Run], out: str | os.PathLike | None) -> pathlib.Path:
    """Returns the folder of a comparison of these runs; one of others is not overwritten.

    Raises:
        UserError: `out` is something else.
    """
    ours = {os.path.abspath(run.folder) for run in runs}
    if out is not None:
        folder = pathlib.Path(out).expanduser()
        if not _is_free(folder, ours):
            raise UserError(
                f"{folder} exists and is not a comparison of these runs; use another --out"
            )
        return folder
    first = pathlib.Path("saved_models") / "comparison"
    numbered: Iterator[pathlib.Path] = (
        first.with_name(f"comparison-{n}") for n in itertools.count(2)
    )
    return next(path for path in itertools.chain([first], numbered) if _is_free(path, ours))


def _is_free(folder: pathlib.Path, runs: set[str]) -> bool:
    """Whether there is nothing, or a comparison of the same runs."""
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    try:
        content: Any = files.read_json(folder / COMPARISON)
        return {os.path.abspath(folder / entry["folder"]) for entry in content["runs"]} == runs
    except (UserError, KeyError, TypeError):
        return not any(folder.iterdir())


def _write(cells: list[Cell], folder: pathlib.Path, to: float | None, command: str) -> Compared:
    """Compares cells, and writes the page and the tables."""
    found = records.compare(cells, to)
    compared = Compared(**vars(found), folder=folder)
    files.make_folder(folder)
    csv = formatting.to_csv(report.comparison_rows(compared, folder))
    files.write_bytes(folder / "comparison.csv", csv.encode())
    page = report.write_comparison(compared, folder, command)
    files.write_json(folder / COMPARISON, _to_json(compared, command))
    print(f"\n{compared}\nreport: {page}", flush=True)
    return compared


def _to_json(compared: Compared, command: str) -> dict[str, Any]:
    first = compared.runs[0][2].record
    return {
        "command": command,
        "status": "incomplete" if compared.failed else "finished",
        "data": {"name": first.data.name, "kind": first.data.kind},
        "metric": compared.metric,
        "curve": {"metric": compared.curve, "value": compared.threshold},
        "cells": [
            {
                "name": cell.name,
                "keys": cell.keys,
                **cell.mean(compared.metric),
                "parameters": cell.parameters,
                "seconds_per_epoch": cell.epoch_seconds,
                "failed": {str(seed): error for seed, error in cell.failed.items()},
            }
            for cell in compared.cells
        ],
        "runs": [
            {
                "cell": compared.cells[i].name,
                "seed": seed,
                "folder": os.path.relpath(run.folder, compared.folder),
                "value": run.metrics[compared.metric]["value"],
                "seconds_to_value": compared.time_to(run),
            }
            for i, seed, run in compared.runs
        ],
        "pairs": [
            {
                "first": compared.cells[pair.first].name,
                "second": compared.cells[pair.second].name,
                "seeds": pair.seeds,
                "metric": pair.metric,
                "kind": pair.kind,
                "test": pair.test._asdict() if pair.test else None,
                "within": {str(seed): test._asdict() for seed, test in pair.within.items()},
                "corrected": pair.corrected,
                "differ": pair.differ,
                "sentence": report.sentence(compared, pair),
            }
            for pair in compared.pairs
        ],
        "notes": compared.notes,
    }
