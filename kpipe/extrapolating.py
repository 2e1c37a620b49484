"""Learning curve: a pipeline trained on parts of its data, and what twice the data would bring."""

import csv
import dataclasses
import io
import os
import pathlib
import shutil
from typing import Any

import keras
import numpy as np

from . import files, formatting, report
from .data import Data
from .errors import UserError, resumable
from .experiments import catalogue
from .experiments.describing import check_same, check_same_bits, new_record
from .experiments.execution import Execution
from .experiments.experiment import Experiment
from .experiments.folders import run_folder, starting_over
from .experiments.keys import parse_number
from .experiments.reporting import report_again
from .experiments.running import open_experiment
from .experiments.session import own_session
from .export import read_npz, write_npz
from .measures import learning_curve as measures
from .measures.learning_curve import Point
from .records import Run, read_record
from .training import check_plan

FRACTIONS = (0.1, 0.25, 0.5, 1.0)
_BOUNDS = ("value", "low", "high")


class LearningCurve(dict[str, Any]):
    """The content of learning_curve.json; `repr` is its table, and what it says."""

    def __repr__(self) -> str:
        head, rows = report.learning_curve_table(self)
        return "\n".join([catalogue.align([head, *rows]), "", *report.learning_curve_lines(self)])


@resumable()
@own_session()
def learning_curve(
    name: object,
    *,
    seeds: int = 1,
    seed: int = 0,
    data: str = "auto",
    data_dir: str | os.PathLike | None = None,
    out: str | os.PathLike = "saved_models",
    plan: str | None = None,
    budget: float | None = None,
    fresh: bool = False,
    **overrides: object,
) -> LearningCurve:
    """Runs a pipeline, trains it on parts of its train split, and extrapolates its val error.

    The parts are 10, 25, 50 and 100 % of the train split, the smaller within the larger. All have
    as many steps and validations: an epoch repeats a part until it is as long as the whole. Val is
    the same for all parts of a seed, and test is opened by the run only. The result becomes a
    section and a figure of the run's report. An interrupted curve is resumed.

    Args:
        name: See `kpipe.run`, also for all arguments that are not named here.
        seeds: Number of seeds, from `seed` on, each of which trains all parts.
        seed: Seed of the run, and the first one of the curve.
        data: "real", "sample" or "auto".
        data_dir: Folder of the TFDS datasets.
        out: Folder for results.
        plan: Execution plan of every training.
        budget: Seconds of each training.
        fresh: Whether to start over; an existing run and its curve are renamed and kept.
        **overrides: Values of the pipeline's keys.

    Returns:
        The content of `learning_curve.json`, see `measures.learning_curve`; with "metric", "seeds",
        "val_examples" and "left_out", lines about sizes that could not be trained.

    Raises:
        UserError: An argument is wrong, or the data have no val split or are too few.
        RunError: A training failed.
    """
    count = parse_number("seeds", seeds, 1, 100, integer=True)
    if plan is not None:
        check_plan(plan, several=True)
    experiment = open_experiment(
        name, overrides, data=data, data_dir=data_dir, seed=seed, plan=plan, budget=budget
    )
    _check(experiment)
    trials = [dataclasses.replace(experiment, seed=experiment.seed + i) for i in range(count)]
    fractions, left_out = _fractions(trials)
    folder = run_folder(pathlib.Path(out), experiment, suffix="-learning-curve")
    of_run = run_folder(pathlib.Path(out), experiment)
    with (
        files.lock(folder, wait=False),
        files.lock(of_run, wait=False),
        starting_over(folder) as set_aside,
        starting_over(of_run) as set_run_aside,
    ):
        if fresh:
            set_aside()
        _begin(folder, experiment)
        run = Execution(experiment, of_run, set_aside=set_run_aside if fresh else None).run()
        points: list[Point] = []
        for trial in trials:
            for fraction in fractions:
                place = f"{len(points) + 1} of {len(trials) * len(fractions)}"
                points.append(_point(trial, fraction, folder, run, place))
        curve = LearningCurve(
            metric=experiment.task.HEADLINE,
            seeds=[trial.seed for trial in trials],
            val_examples=len(points[0].rows),
            left_out=left_out,
            **measures.learning_curve(points, formatting.is_share(experiment.task.HEADLINE)),
        )
        files.write_json(of_run / report.LEARNING_CURVE, curve)
        files.write_bytes(of_run / "learning_curve.csv", _to_csv(curve).encode())
        report_again(experiment, run)
    print(f"\n{curve}\nreport: {of_run / 'report.html'}", flush=True)
    return curve


def _check(experiment: Experiment) -> None:
    """Refuses what has no error to compare, before any training."""
    dataset = experiment.dataset
    if not hasattr(experiment.task, "errors"):
        raise UserError(
            f"{experiment.name} learns no labels; a learning curve is for classification, "
            "multilabel and regression"
        )
    if not dataset.val_fraction and "val" not in experiment.source.examples:
        raise UserError(
            f"{dataset.name} has no val split, on which a learning curve is measured; set the "
            "dataset's val_fraction"
        )


def _fractions(trials: list[Experiment]) -> tuple[list[float], list[str]]:
    """Returns the shares that can be trained with all seeds, and a line for each other one.

    Raises:
        UserError: Fewer than three are left.
    """
    reasons: dict[float, str] = {}
    for trial in trials:
        train = trial.prepare().train
        whole = _kinds_of(train.labels[train.rows])
        for fraction in FRACTIONS[:-1]:
            part = train.part(fraction, trial.seed)
            kinds = _kinds_of(part.labels[part.rows])
            if kinds < whole:
                reasons[fraction] = (
                    f"{100 * fraction:g} % ({formatting.counted(len(part), 'training example')}) "
                    f"is left out: its labels have {kinds} of {whole} values."
                )
    kept = [fraction for fraction in FRACTIONS if fraction not in reasons]
    if len(kept) < 3:
        name = trials[0].dataset.name
        raise UserError(
            f"{name}: {len(train):,} training examples are too few for a learning curve, which "
            f"needs three sizes: {' '.join(reasons.values())}"
        )
    return kept, [reasons[fraction] for fraction in sorted(reasons)]


def _kinds_of(labels: np.ndarray) -> int:
    """Counts the classes; of other labels returns 2 if they vary, else 1."""
    if labels.ndim == 1 and labels.dtype.kind == "i":
        return len(np.unique(labels))
    return 1 + bool((labels != labels[:1]).any())


def _begin(folder: pathlib.Path, experiment: Experiment) -> None:
    """Writes curve.json, a run's record, or compares an existing one with this curve."""
    path, record = folder / "curve.json", new_record(experiment, "learning_curve")
    record.data.fingerprint = experiment.fingerprint()
    if path.is_file():
        return check_same(path, read_record(path), record)
    files.make_folder(folder)
    files.write_json(path, record.to_json())


def _point(trial: Experiment, fraction: float, folder: pathlib.Path, run: Run, place: str) -> Point:
    """Trains on a share of the train split, or reads the val errors of an earlier training."""
    # The run itself is the first seed's training on all examples, unless it has seen val as well.
    is_run = fraction == 1 and trial.seed == run.record.seed and not trial.trainer.retrain
    weights = str(run.record.weights_sha256) if is_run else ""
    name = f"seed={trial.seed},share={100 * fraction:g}%"
    path = folder / f"{name}.npz"
    point = _read(path, trial.seed, fraction, weights)
    if point is None:
        curve = folder / "curve.json"
        check_same_bits(curve, read_record(curve), new_record(trial))
        prepared = trial.prepare(fraction)
        assert prepared.val is not None
        count = len(prepared.train)
        print(
            f"\nlearning curve: {place}, {formatting.counted(count, 'training example')}, "
            f"seed {trial.seed}{' (the run)' * is_run}",
            flush=True,
        )
        model = run.model if is_run else _train(trial, prepared, folder / name, run.record.plan)
        errors = trial.task.errors(model, prepared.val)
        found = {"examples": np.array(count), "rows": prepared.val.rows, "errors": errors}
        write_npz(path, weights=np.array(weights), **found)
        point = Point(trial.seed, fraction, count, prepared.val.rows, errors)
    shutil.rmtree(folder / name / "checkpoints", ignore_errors=True)
    return point


def _read(path: pathlib.Path, seed: int, fraction: float, weights: str) -> Point | None:
    """Reads a finished point; None if it is missing, damaged or of another run's weights."""
    arrays = read_npz(path, "its network is trained again")
    if arrays is None or str(arrays["weights"]) != weights:
        return None
    return Point(seed, fraction, int(arrays["examples"]), arrays["rows"], arrays["errors"])


def _train(
    trial: Experiment, prepared: Data, folder: pathlib.Path, plan: str | None
) -> keras.Model:
    """Trains on a part as long as on the whole: with as many steps, and as many validations."""
    model, _ = trial.build_model(prepared)
    trial.task.check(model, prepared)
    trial.trainer.fit(
        model,
        repeated(prepared, len(trial.prepare().train)),
        seed=trial.seed,
        plan=plan,
        folder=folder,
        budget=trial.budget,
    )
    return trial.task.inference(model, prepared)


def repeated(data: Data, length: int) -> Data:
    """Repeats the training examples evenly, until there are that many; val and test remain."""
    train = data.train
    train = train.at(np.arange(length) * len(train) // length)
    return dataclasses.replace(data, splits={**data.splits, "train": train})


def _to_csv(curve: dict[str, Any]) -> str:
    """Writes one row per training: seed, number of examples, val metric with its interval."""
    buffer = io.StringIO()
    metric = curve["metric"]
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["seed", "examples", f"val_{metric}", "low", "high"])
    for point in curve["points"]:
        shown = report.as_metric(metric, point)
        writer.writerow([point["seed"], point["examples"], *map(shown.get, _BOUNDS)])
    return buffer.getvalue()
