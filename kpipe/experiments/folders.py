"""A run: its folder, what a finished one holds, and its result in words."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import pathlib
import urllib.parse
import zipfile
from collections.abc import Iterator, Mapping

import filelock
import keras
import numpy as np

from .. import files
from ..data import Data
from ..errors import UserError
from ..experiments import catalogue
from ..measures.evaluation import sign_of
from ..training.trainer import leaf_layers
from .keys import Settings


@dataclasses.dataclass
class Run:
    """A finished run.

    Attributes:
        name: The pipeline's.
        folder: Where everything lies.
        record: The content of run.json.
        metrics: The content of metrics.json.
        history: Columns of history.csv, like `keras.callbacks.History.history`.
        predictions: On the test split: `index`, `label`, `probabilities`.
        initial_kernel: `first_kernel` before training; while the run is being reported.
        data: The prepared splits; while the run is being reported.
    """

    name: str
    folder: pathlib.Path
    record: dict
    metrics: dict
    history: dict[str, list]
    predictions: dict[str, np.ndarray]
    initial_kernel: np.ndarray | None = None
    data: Data | None = None
    _model: keras.Model | None = None

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(self.record["data"]["label_names"])

    @functools.cached_property
    def model(self) -> keras.Model:
        """The trained model, with the weights of its best epoch."""
        return self._model or keras.models.load_model(self.folder / "model.keras", compile=False)

    @property
    def final_kernel(self) -> np.ndarray | None:
        """See `first_kernel`."""
        return first_kernel(self.model)

    def test_inputs(self, positions: np.ndarray) -> np.ndarray:
        """Test inputs at positions of `predictions`; only while the run is being reported."""
        return self.data.test.take(positions)[0]


def run_folder(
    out: pathlib.Path, name: str, kind: str, settings: Settings, seed: int, options: Mapping
) -> pathlib.Path:
    """The folder whose name says what was run: name[-sample][,key=value ...][,seed=N]."""
    parts = [name + ("-sample" if kind == "sample" else "")]
    named = {**settings.overrides, **{k: v for k, v in options.items() if v}}
    for key, value in sorted(named.items()):
        parts.append(f"{key}={urllib.parse.quote(str(value), safe=':+')}")
    if seed:
        parts.append(f"seed={seed}")
    joined = ",".join(parts)
    if len(joined) > 120:
        joined = f"{joined[:103]}-{hashlib.sha256(joined.encode()).hexdigest()[:16]}"
    files.make_folder(out)
    return out / joined


@contextlib.contextmanager
def exclusive(folder: pathlib.Path) -> Iterator[None]:
    """Holds a run's folder for this process; a killed process leaves it free.

    Raises:
        UserError: Another process holds it.
    """
    lock = filelock.FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(
            f"{folder}: another process is at work in it; wait for it, or use --out"
        ) from None
    try:
        yield
    finally:
        lock.release()


def set_aside(folder: pathlib.Path) -> None:
    """Renames a standing folder, so that nothing is lost."""
    if folder.exists():
        number = 1
        while (kept := folder.with_name(f"{folder.name}~{number}")).exists():
            number += 1
        folder.rename(kept)
        print(f"the run that stood there is kept as {kept}", flush=True)


def open_run(folder: pathlib.Path) -> Run:
    """A finished run from its folder.

    Raises:
        UserError: A file of it is missing or damaged; it is named.
    """
    record = read_json(folder / "run.json")
    history = {}
    for line in (folder / "history.csv").read_text().splitlines():
        values = line.split(",")
        if not history:
            history = {name: [] for name in values}
            continue
        for name, value in zip(history, values, strict=True):
            history[name].append(json.loads(value) if value else None)
    predictions = standing_predictions(folder / "predictions.npz", record["weights_sha256"])
    if predictions is None:
        raise UserError(f"{folder / 'predictions.npz'} is missing or damaged; use --fresh")
    return Run(
        name=record["pipeline"],
        folder=folder,
        record=record,
        metrics=read_json(folder / "metrics.json"),
        history=history,
        predictions=predictions,
    )


def read_json(path: pathlib.Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); use --fresh") from None


def standing_predictions(path: pathlib.Path, weights: str) -> dict | None:
    """Predictions of these very weights, so that a resumed run does not open test again."""
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = dict(content)
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    return arrays if str(arrays.get("weights_sha256")) == weights else None


def summary(run: Run) -> str:
    """The result in a few lines."""
    record, proof = run.record, run.record["proof"]
    where = f"{record['pipeline']} on {record['data']['kind']} data"
    if "latents" in record:
        lines = _reconstruction(run, where)
        agreement = f"{proof['test_examples']:,} test images on all endpoints"
    else:
        lines = _classification(run, where)
        correct, expected = proof["test_correct"], proof["expected_correct"]
        agreement = f"{correct:,} of {expected:,} correct test answers"
    if record["target"]:
        target = record["target"]
        described = catalogue.describe_target(target)
        lines.append(f"target {described} ({target['source']}): {target['verdict']}")
    openings, shared = record["data"]["test_openings"], record["data"]["duplicates"]
    lines.append(
        f"test split opened {openings} time{'s' * (openings != 1)} by this pipeline on this "
        f"machine; {shared} of its examples stand in train as well"
    )
    lines.append(
        f"export {'proven' if proof['passed'] else 'NOT PROVEN'}: largest difference "
        f"{proof['max_difference']:.1e}, {agreement}"
    )
    lines.append(f"report: {run.folder / 'report.html'}")
    return "\n".join(lines)


def _classification(run: Run, where: str) -> list[str]:
    accuracy, baseline = run.metrics["accuracy"], run.metrics["majority_baseline"]
    lines = [
        f"{where}: test accuracy {_percent(accuracy)}, n = {accuracy['n']:,}; the majority class "
        f"alone {100 * baseline['value']:.2f} %"
    ]
    if "bag_of_words_baseline" in run.metrics:
        lines.append(_against_bag_of_words(run.metrics))
    return lines


def _reconstruction(run: Run, where: str) -> list[str]:
    metrics = run.metrics
    lines = [
        f"{where}: test images given back with squared error {_number(metrics['squared_error'])}, "
        f"PSNR {_number(metrics['psnr'])} dB, SSIM {_number(metrics['ssim'])}, "
        f"n = {metrics['psnr']['n']:,}"
    ]
    if "svd_squared_error" in metrics:
        lines.append(
            f"truncated SVD with as many components: squared error "
            f"{_number(metrics['svd_squared_error'])}, PSNR {_number(metrics['svd_psnr'])} dB; on "
            f"train the network's error is {_number(metrics['train_error_over_svd'])} times the "
            "SVD's"
        )
    if "bound" in metrics:
        text = f"-ln p(image) is at most {_number(metrics['bound'])} nats"
        if "negative_log_likelihood" in metrics:
            estimate = _number(metrics["negative_log_likelihood"])
            drawn = run.record["likelihood_samples"]
            text += f", and about {estimate} by importance sampling with {drawn} codes an image"
        lines.append(text)
    for part in ("continuous", "discrete"):
        if f"{part}_kl" in metrics:
            text = f"KL of the {part} latents {_number(metrics[f'{part}_kl'])} nats"
            if f"{part}_capacity" in metrics:
                text += f", capacity {metrics[f'{part}_capacity']['value']:.4g}"
            if part == "discrete":
                told = _number(metrics["discrete_information"])
                most = "at most " if len(run.record["latents"]["discrete"]) > 1 else ""
                text += f"; {most}{told} of them tell images apart"
            lines.append(text)
    if "unsupervised_accuracy" in metrics:
        accuracy = _percent(metrics["unsupervised_accuracy"])
        lines.append(f"classes found without labels: accuracy {accuracy}")
    if "mig" in metrics:
        names = {"mig": "MIG", "sap": "SAP", "factor_vae_score": "FactorVAE score"}
        lines.append(", ".join(f"{name} {_number(metrics[key])}" for key, name in names.items()))
    return lines


def _number(metric: dict) -> str:
    value, low, high = (metric[key] for key in ("value", "low", "high"))
    return f"{value:.4g}" if low is None else f"{value:.4g} [{low:.4g}, {high:.4g}]"


def _against_bag_of_words(metrics: dict) -> str:
    above = metrics["above_bag_of_words"]
    value, low, high = (100 * above[key] for key in ("value", "low", "high"))
    verdict = {1: "beaten", 0: "not told apart from it", -1: "NOT beaten"}[sign_of(above)]
    return (
        f"TF-IDF with logistic regression {_percent(metrics['bag_of_words_baseline'])}: {verdict}, "
        f"the network stands {value:+.2f} points from it [{low:+.2f}, {high:+.2f}]"
    )


def _percent(metric: dict) -> str:
    value, low, high = (100 * metric[key] for key in ("value", "low", "high"))
    return f"{value:.2f} % [{low:.2f}, {high:.2f}]"


def first_kernel(model: keras.Model) -> np.ndarray | None:
    """What the first layer sees in an image, as (height, width, channels, filters), or None.

    The kernel of the first convolution, or of a dense layer on all pixels.
    """
    shape = model.inputs[0].shape[1:]
    for layer in leaf_layers(model):
        if isinstance(layer, keras.layers.Conv2D):
            return np.array(layer.kernel)
        if isinstance(layer, keras.layers.Dense):
            on_pixels = len(shape) == 3 and layer.kernel.shape[0] == math.prod(shape)
            return np.array(layer.kernel).reshape(*shape, -1) if on_pixels else None
    return None
