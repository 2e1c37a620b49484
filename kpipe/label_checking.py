"""Finds labels that are probably wrong, by networks that were not trained on them."""

import collections
import dataclasses
import datetime
import os
import pathlib
import shutil
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import files, tasks
from .data import Data, Split, divided_anew
from .datasets import Dataset
from .datasets.corrections import Suspect, read_suspects, write_suspects
from .datasets.splits import divide, folds_of
from .errors import RunError, UserError, first_line, resumable
from .experiments.describing import check_same, check_same_bits, new_record
from .experiments.experiment import Experiment
from .experiments.folders import run_folder, starting_over
from .experiments.keys import parse_number
from .experiments.pooling import places, pool_of
from .experiments.running import open_experiment
from .experiments.session import own_session
from .export import read_npz, write_npz
from .figures.points import suspects_in_plane
from .figures.style import to_png
from .inputs import ImageInput, Rows, TableColumns, Tokens
from .measures.confident_learning import LabelNoise, label_noise
from .records import Record, read_record
from .report.labels import SHOWN, sentence, to_picture, write_labels
from .training import check_plan

if TYPE_CHECKING:
    import pandas

FOLDS = 5
TABLE = "suspects.csv"
VALUES = 8  # written of a vector
LONGEST = 5000  # characters of a text; a cell of a spreadsheet has at most 32,767


@dataclasses.dataclass(frozen=True, repr=False)
class LabelCheck:
    """The result of `check_labels`; `repr` describes it in a few lines.

    Attributes:
        folder: Its folder, with suspects.csv, report.html, labels.json and probabilities.npz.
        record: Settings and numbers, see `label_noise` in labels.json.
    """

    folder: pathlib.Path
    record: Record

    def __repr__(self) -> str:
        found = self.record.details["label_noise"]
        pairs = [
            f"{pair['given']} → {pair['suggested']} ({pair['suspects']:,})"
            for pair in found["pairs"][:4]
        ]
        lines = [sentence(found), f"most often: {', '.join(pairs)}"] if pairs else [sentence(found)]
        where = f"look at {self.folder / 'report.html'}, correct {self.folder / TABLE}"
        return "\n".join([*lines, where])

    @property
    def suspects(self) -> "pandas.DataFrame":
        """The labels that are probably wrong, the surest first; corrected ones as corrected."""
        import pandas

        return pandas.DataFrame(read_suspects(self.folder / TABLE), columns=Suspect._fields)


@resumable()
@own_session()
def check_labels(
    name: object,
    *,
    folds: int = FOLDS,
    seed: int = 0,
    data: str = "auto",
    data_dir: str | os.PathLike | None = None,
    out: str | os.PathLike = "saved_models",
    plan: str | None = None,
    fresh: bool = False,
    corrections: str | os.PathLike | None = None,
    **overrides: object,
) -> LabelCheck:
    """Lists the labels of train and val that are probably wrong, on a page and in a CSV file.

    The examples are divided into folds; each is predicted by the pipeline's network, trained on the
    others. Confident learning (Northcutt et al. 2021) compares the probabilities with the labels.
    Test labels are not looked at. A finished check is reported, an interrupted one resumed.

    Args:
        name: A pipeline that learns one class per example, or your own data, see `kpipe.run`.
        folds: Number of folds, and of trainings.
        seed: Random seed of the folds and of everything in `kpipe.run`.
        data: See `kpipe.run`, also for the next.
        data_dir: Folder of the TFDS datasets.
        out: Folder for results; NAME-labels in it is the folder of the check.
        plan: Execution plan of the trainings.
        fresh: Whether to start over; an existing check is renamed and kept.
        corrections: A suspects.csv with correct labels filled in, to check the labels again.
        **overrides: Values of the pipeline's keys.

    Raises:
        UserError: An argument is wrong, or the task is not classification.
        RunError: A training failed.

    Example:
        check = kpipe.check_labels("photos/")
        check.suspects.head(20)
    """
    folds = parse_number("folds", folds, 2, 100, integer=True)
    if plan is not None:
        check_plan(plan, several=True)
    experiment = open_experiment(
        name,
        overrides,
        data=data,
        data_dir=data_dir,
        seed=seed,
        plan=plan,
        corrections=corrections,
    )
    task = tasks.name_of(experiment.task)
    if task != "classification":
        raise UserError(
            f"the task of {experiment.name} is {task}; kpipe check-labels needs classification, "
            "one class per example"
        )
    options = {"folds": folds} if folds != FOLDS else {}
    folder = run_folder(pathlib.Path(out), experiment, "-labels", **options)
    with files.lock(folder, wait=False), starting_over(folder) as set_aside:
        if fresh:
            set_aside()
        return _Check(experiment, folder, folds).run()


class _Check:
    """One check; its methods are listed in the order in which they are executed."""

    def __init__(self, experiment: Experiment, folder: pathlib.Path, folds: int):
        self.experiment, self.folder, self.folds = experiment, folder, folds

    def run(self) -> LabelCheck:
        record = self._begin()
        if record.status != "finished":
            self._check(record)
        result = LabelCheck(self.folder, record)
        print(result, flush=True)
        return result

    def _begin(self) -> Record:
        """Returns the record of a finished check with the same settings, or a new record."""
        record, path = new_record(self.experiment, "check_labels"), self.folder / "labels.json"
        record.data.fingerprint = self.experiment.fingerprint()
        if path.is_file():
            existing = read_record(path)
            check_same(path, existing, record)
            # A person may have written into its table: nothing is written again.
            if existing.status == "finished":
                return existing
            check_same_bits(path, existing, record)
        elif self.folder.is_dir() and any(self.folder.iterdir()):
            raise UserError(
                f"{self.folder} exists but is not a check of labels; use --out or --fresh"
            )
        files.make_folder(self.folder)
        files.write_json(path, record.to_json())
        return record

    def _check(self, record: Record) -> None:
        started, experiment = time.monotonic(), self.experiment
        data = experiment.prepare()
        pool, groups = pool_of(experiment, data)
        labels, names = pool.labels[pool.rows], []
        for split, rows in places(experiment, data, pool).items():
            of_split = experiment.source.names_of(split)
            names += [of_split[row] for row in rows]
        folds = folds_of(labels, self.folds, experiment.seed, groups)
        probabilities = np.zeros((len(labels), len(data.label_names)), np.float32)
        for fold in range(self.folds):
            probabilities[folds == fold] = self._predict(data, pool, folds, fold, groups)
        noise = label_noise(labels, probabilities)
        suspects = _suspects(data, experiment.dataset, pool, names, noise, probabilities)
        record.data.examples = {k: n for k, n in data.examples.items() if k != "test"}
        record.details["label_noise"] = _facts(data, labels, probabilities, noise, self.folds)
        write_npz(
            self.folder / "probabilities.npz",
            probabilities=probabilities,
            label=labels,
            fold=folds,
            example=np.array(names),
        )
        if not (self.folder / TABLE).exists():  # a page failed, and a person has written into it
            write_suspects(self.folder / TABLE, suspects)
        try:
            _report(record, self.folder, pool, noise, suspects)
        except Exception as error:
            raise RunError(
                f"{self.folder}: {TABLE} is written, the page is not "
                f"({type(error).__name__}: {first_line(error)}); the same command completes it, "
                "without training"
            ) from error
        record.times = {"all": round(time.monotonic() - started, 2)}
        record.finished = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        record.status = "finished"
        files.write_json(self.folder / "labels.json", record.to_json())
        for path in self.folder.glob("fold-*.npz"):
            path.unlink()

    def _predict(
        self, data: Data, pool: Split, folds: np.ndarray, fold: int, groups: np.ndarray | None
    ) -> np.ndarray:
        """Predicts a fold by the network trained on the others; a finished one is read."""
        experiment, folder = self.experiment, self.folder / f"fold-{fold + 1}"
        done = folder.with_suffix(".npz")
        if stored := read_npz(done, "the fold is trained again"):
            return stored["probabilities"]
        held_out, rest = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        rows = _divide(data, pool, rest, groups, experiment)
        print(
            f"\nfold {fold + 1} of {self.folds}: {len(rows['train']):,} examples train the network "
            f"that predicts {len(held_out):,}",
            flush=True,
        )
        files.make_folder(folder)
        rows["held out"] = pool.rows[held_out]
        prepared = divided_anew(data, experiment.dataset, pool, rows, folder)
        model, _ = experiment.build_model(prepared)
        experiment.task.check(model, prepared)
        trainer = dataclasses.replace(experiment.trainer, retrain=False)
        trainer.fit(model, prepared, seed=experiment.seed, plan=experiment.plan, folder=folder)
        model = experiment.task.inference(model, prepared)
        probabilities = experiment.task.probabilities(model, prepared.splits["held out"])
        write_npz(done, probabilities=probabilities)
        shutil.rmtree(folder)
        return probabilities


def _divide(
    data: Data, pool: Split, rest: np.ndarray, groups: np.ndarray | None, experiment: Experiment
) -> dict[str, np.ndarray]:
    """Takes val from the examples that are not held out: rows of the pool by split.

    The share is that of the dataset, or of its val split if it is given; without val there is none.
    """
    if data.val is None:
        return {"train": pool.rows[rest]}
    labels = pool.labels[pool.rows[rest]]
    fraction = experiment.dataset.val_fraction or len(data.val) / len(pool)
    # A class of which one example remains cannot be in both parts: it goes with the largest class.
    counts = np.bincount(labels)
    stratified = np.where(counts[labels] < 2, counts.argmax(), labels)
    of_rest = None if groups is None else groups[rest]
    train, val = divide(stratified, fraction, experiment.seed, of_rest)
    return {"train": pool.rows[rest[train]], "val": pool.rows[rest[val]]}


def _suspects(
    data: Data,
    dataset: Dataset,
    pool: Split,
    names: Sequence[str],
    noise: LabelNoise,
    probabilities: np.ndarray,
) -> list[Suspect]:
    """Describes the suspects, the surest first."""
    labels, suggested = pool.labels[pool.rows], noise.suggested
    contents = _contents(dataset, pool, pool.rows[noise.suspects])
    return [
        Suspect(
            example=names[i],
            given_label=data.label_names[labels[i]],
            suggested_label=data.label_names[suggested[i]],
            given_probability=float(probabilities[i, labels[i]]),
            suggested_probability=float(probabilities[i, suggested[i]]),
            content=content,
        )
        for i, content in zip(noise.suspects, contents, strict=True)
    ]


def _contents(dataset: Dataset, pool: Split, rows: np.ndarray) -> list[str]:
    """Writes examples for people: a text, the values of a row, or "" for an image."""
    column = pool.column
    if isinstance(pool.input, ImageInput):
        return [""] * len(rows)
    if isinstance(column, Tokens):
        return [text[:LONGEST] for text in column.strings(rows)]
    if isinstance(column, TableColumns):
        taken = column.table.take(rows)
        numbers = iter(taken.numbers.T)
        words = iter(taken.words)
        cells = [
            [f"{c.name}={value:.6g}" for value in next(numbers)]
            if c.is_number
            else [f"{c.name}={bytes(value).decode(errors='replace')}" for value in next(words)]
            for c in dataset.columns
        ]
        return ["; ".join(row) for row in zip(*cells, strict=True)]
    values = column.take(rows).reshape(len(rows), -1)
    more = " ..." * (values.shape[1] > VALUES)
    return [" ".join(f"{value:.6g}" for value in row[:VALUES]) + more for row in values]


def _facts(
    data: Data, labels: np.ndarray, probabilities: np.ndarray, noise: LabelNoise, folds: int
) -> dict[str, Any]:
    """Returns the numbers of labels.json."""
    names, suspects = data.label_names, noise.suspects
    counts = np.bincount(labels, minlength=len(names))
    pairs = collections.Counter(zip(labels[suspects], noise.suggested[suspects], strict=True))
    return {
        "examples": len(labels),
        "folds": folds,
        "suspects": len(suspects),
        "agreement": float((probabilities.argmax(axis=1) == labels).mean()),
        "pairs": [
            {"given": names[given], "suggested": names[suggested], "suspects": count}
            for (given, suggested), count in pairs.most_common()
        ],
        "joint": noise.joint.round(1).tolist(),
        "unchecked": [name for name, count in zip(names, counts, strict=True) if count == 1],
    }


def _report(
    record: Record, folder: pathlib.Path, pool: Split, noise: LabelNoise, suspects: list[Suspect]
) -> None:
    """Writes the page: pictures of images, a drawing of points, and the strongest suspects."""
    pictures, drawing = None, None
    rows = pool.rows[noise.suspects[:SHOWN]]
    if isinstance(pool.input, ImageInput):
        pictures = list(map(to_picture, pool.column.take(rows)))
    elif pool.column.row_shape == (2,) and isinstance(pool.column, Rows):
        drawing = to_png(
            suspects_in_plane(
                pool.column.take(pool.rows),
                pool.labels[pool.rows],
                noise.suspects,
                record.data.label_names,
            )
        )
    write_labels(folder / "report.html", record, suspects, pictures, drawing)
