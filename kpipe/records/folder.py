"""Reads a finished run from its folder."""

import csv
import dataclasses
import functools
import math
import os
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping

import keras
import numpy as np

from .. import files, formatting
from ..data import Data
from ..errors import UserError, first_line
from ..export import read_npz
from ..models.keras_files import load_model
from ..training import leaf_layers
from . import card
from .record import Record, check_files, read_record

# By name of a metric: "value", "low" and "high" of the 95 % interval, and "n" examples.
Metrics = dict[str, dict[str, float | None]]


@dataclasses.dataclass
class Run:
    """A finished run; `repr` describes it in five lines, a notebook shows it as a card.

    Attributes:
        name: Name of the pipeline.
        folder: Folder of the run.
        record: The content of run.json.
        metrics: The content of metrics.json.
        history: Columns of history.csv, like `keras.callbacks.History.history`.
        initial_kernel: `first_kernel` before training; only while the run is being reported.
        data: The prepared splits; only while the run is being reported.
    """

    name: str
    folder: pathlib.Path
    record: Record
    metrics: Metrics
    history: dict[str, list]
    initial_kernel: np.ndarray | None = None
    data: Data | None = None
    _predictions: dict[str, np.ndarray] | None = None
    _model: keras.Model | None = None

    def __repr__(self) -> str:
        return card.text(self.folder, self.record, self.metrics, self.headline)

    def _repr_html_(self) -> str:
        return card.as_html(self.folder, self.record, self.metrics, self.headline)

    @property
    def label_names(self) -> tuple[str, ...]:
        return self.record.data.label_names

    @functools.cached_property
    def predictions(self) -> dict[str, np.ndarray]:
        """The model's predictions on the test split, the content of predictions.npz."""
        if self._predictions is not None:
            return self._predictions
        path = self.folder / "predictions.npz"
        arrays = read_predictions(path, self.record.weights_sha256)
        if arrays is None:
            raise UserError(f"{path} is missing or damaged; run again with --fresh")
        return arrays

    @functools.cached_property
    def model(self) -> keras.Model:
        """The trained model, with the weights of its best epoch."""
        if self._model:
            return self._model
        path = self.folder / "model.keras"
        check_files(self.folder, self.record, path.name)
        try:
            return load_model(path)
        except Exception as error:  # damaged files raise errors of many types
            raise UserError(
                f"{path}: cannot be loaded ({first_line(error)}); register custom layers with "
                "@keras.saving.register_keras_serializable(), and import them first"
            ) from error

    @property
    def final_kernel(self) -> np.ndarray | None:
        """See `first_kernel`."""
        return first_kernel(self.model)

    @property
    def headline(self) -> str:
        """The run's main metric: that of its target, else that of its task."""
        of_target = self.record.target.metric if self.record.target else None
        return formatting.headline(of_target, self.record.headline, self.metrics)

    def test_inputs(self, positions: np.ndarray) -> np.ndarray:
        """Test inputs at positions of `predictions`; only while the run is being reported."""
        assert self.data is not None
        return self.data.test.take(positions)[0]

    def siblings(self, wanted: Callable[[Record], bool] = lambda _: True) -> "Iterator[Run]":
        """Yields the other finished runs in the same folder; prints a line for unreadable ones.

        Runs that were renamed by `--fresh` are left out.

        Args:
            wanted: Filter on records; no further file is read of the runs that it rejects.

        Example:
            run.siblings(lambda record: run.is_variant(record, {"architecture"}))
        """
        own = pathlib.Path(os.path.abspath(self.folder))  # "." does not tell its parent
        for path in sorted(own.parent.glob("[!.]*/run.json")):
            folder = path.parent
            if folder == own or folder.name.rpartition("~")[2].isdigit():
                continue
            try:
                record = read_record(path)
                if record.status == "finished" and wanted(record):
                    yield _open(folder, record)
            except UserError as error:
                print(f"{folder.name} is not compared: {error}", flush=True)

    def is_variant(self, other: Record, keys: Collection[str]) -> bool:
        """Whether another run differs only in these keys.

        Its pipeline, data, seed and budget must be the same.
        """

        def shared(record: Record) -> tuple:
            overrides = {k: v for k, v in record.overrides.items() if k not in keys}
            same = (record.pipeline, record.seed, record.budget, record.data.fingerprint)
            return *same, overrides

        return shared(self.record) == shared(other)


def open_run(folder: str | os.PathLike) -> Run:
    """Opens a finished run from its folder.

    Args:
        folder: The folder, such as "saved_models/mnist_mlp".

    Raises:
        UserError: It is not a run or not finished, or a file is missing, damaged or changed; the
            message names it.

    Example:
        run = kpipe.open_run("saved_models/mnist_mlp")
    """
    folder = pathlib.Path(folder).expanduser()
    path = folder / "run.json"
    if not path.is_file() and not (folder / "metrics.json").is_file():
        what = "not the folder of a run" if folder.is_dir() else "no such folder"
        raise UserError(f"{folder}: {what}; expected one with run.json, such as saved_models/NAME")
    record = read_record(path)
    if record.status == "unfinished":
        raise UserError(f"{folder}: the run is not finished; it is resumed by: {record.command}")
    run = _open(folder, record, "predictions.npz")
    _ = run.predictions  # fails now, not when a figure needs them
    return run


def _open(folder: pathlib.Path, record: Record, *needed: str) -> Run:
    check_files(folder, record, "run.json", "metrics.json", "history.csv", *needed)
    return Run(
        name=record.pipeline,
        folder=folder,
        record=record,
        metrics=read_metrics(folder / "metrics.json"),
        history=read_history(folder / "history.csv"),
    )


def read_metrics(path: pathlib.Path) -> Metrics:
    """Reads a metrics.json.

    Raises:
        UserError: The file is missing or damaged; the message names it.
    """
    content = files.read_json(path)
    if isinstance(content, Mapping) and all(map(_is_metric, content.values())):
        return {name: dict(entry) for name, entry in content.items()}
    raise UserError(f"{path}: not the metrics of a run; run again with --fresh")


def _is_metric(entry: object) -> bool:
    """Whether an entry has a value, and contains only numbers and None."""
    if not isinstance(entry, Mapping) or "value" not in entry:
        return False
    return all(number is None or type(number) in (int, float) for number in entry.values())


def read_history(path: pathlib.Path) -> dict[str, list]:
    """Reads the columns of a history.csv; an empty cell is None.

    Raises:
        UserError: The file is missing or damaged; the message names it.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        columns = zip(*rows, strict=True) if rows else [()] * len(head)
        return {
            name: [_number(cell) if cell else None for cell in cells]
            for name, cells in zip(head, columns, strict=True)
        }
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}); run again with --fresh") from None


def _number(cell: str) -> int | float:
    """Reads a number as `History.to_csv` writes it; it can be nan or inf."""
    try:
        return int(cell)
    except ValueError:
        return float(cell)


def read_predictions(
    path: pathlib.Path, weights: str | None, then: str = ""
) -> dict[str, np.ndarray] | None:
    """Reads predictions made with these weights, so that a resumed run does not open test again.

    Returns None if they are missing, damaged or from other weights; for `then` see `read_npz`.
    """
    arrays = read_npz(path, then)
    return arrays if arrays and str(arrays.get("weights_sha256")) == weights else None


def first_kernel(model: keras.Model) -> np.ndarray | None:
    """Returns the first layer's kernel, (height, width, channels, filters), or None.

    It is the kernel of the first convolution, or of a dense layer on all pixels.
    """
    inputs = getattr(model, "inputs", None)
    if not inputs:  # a subclassed model
        return None
    shape = inputs[0].shape[1:]
    for layer in leaf_layers(model):
        if isinstance(layer, keras.layers.Conv2D):
            return np.array(layer.kernel)
        if isinstance(layer, keras.layers.Dense):
            on_pixels = len(shape) == 3 and layer.kernel.shape[0] == math.prod(shape)
            return np.array(layer.kernel).reshape(*shape, -1) if on_pixels else None
    return None
