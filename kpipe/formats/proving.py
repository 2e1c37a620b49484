"""Proves that a converted model answers as the trained one did, and measures what it lost."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .. import formatting
from ..disk import without_patterns
from ..errors import RunError
from ..measures.calibration import calibrated_arrays
from ..measures.comparing import PerExample, compare_examples, per_example
from ..measures.intervals import interval_of_mean, proportion
from ..records import Run
from .cases import ORIGINALS, Array, Replay
from .source import Source

# Largest difference of float32 answers, relative to the largest expected value if that exceeds 1.
# Each runtime sums in its own order; measured over all pipelines, see docs/export.md.
TOLERANCE = 1e-4
DIFFERENT = 1.0  # difference of outputs that cannot be compared: missing, another shape, NaN
DERIVED = ("calibrated", "prediction_set")  # outputs that follow from the probabilities
ON_TEST = " on the test split"  # end of a name in `Proof.differences`
SIZES = (1, 64)  # of batches whose time is measured
RUNNING = pathlib.Path(__file__).with_name("running.py")
SECONDS = 7200  # that a replay of the largest test split may take


@dataclasses.dataclass(frozen=True)
class Converted:
    """A converted model.

    Attributes:
        format: Name of the format.
        folder: Where its files are.
        models: Name of the file of each endpoint.
        outputs: Names of the outputs of each endpoint.
    """

    format: str
    folder: pathlib.Path
    models: Mapping[str, str]
    outputs: Mapping[str, Sequence[str]]

    def job(self) -> dict[str, Any]:
        """Returns what a job of running.py says about the model."""
        paths = {endpoint: str(self.folder / name) for endpoint, name in self.models.items()}
        return {"format": self.format, "models": paths, "outputs": self.outputs}


@dataclasses.dataclass(frozen=True)
class Proof:
    """What a converted model answered.

    Attributes:
        differences: The largest difference by "ENDPOINT.OUTPUT", or "ENDPOINT.OUTPUT on the test
            split".
        batches: Sizes of the batches of the golden cases.
        test_examples: Number of test examples that were replayed; None if none were.
        answers: Its answers to the test split by output, in the order of predictions.npz.
    """

    differences: dict[str, float]
    batches: list[int]
    test_examples: int | None
    answers: dict[str, np.ndarray]

    @property
    def worst(self) -> tuple[str, float]:
        """Where the largest difference is, and what it is."""
        return max(self.differences.items(), key=lambda item: item[1])


def prove(source: Source, converted: Converted, replays: Sequence[Replay]) -> Proof:
    """Replays inputs in a process that has the format's runtime and NumPy, and compares.

    Args:
        source: What was converted.
        converted: The converted model.
        replays: Result of `cases.replays`.

    Raises:
        RunError: The process failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        listed = [_listed(place, i, replay) for i, replay in enumerate(replays)]
        answers = place / "answers.npz"
        _call(place, {**converted.job(), "replays": listed, "answers": str(answers)})
        with np.load(answers, allow_pickle=False) as content:
            found = dict(content)
    differences: dict[str, float] = {}
    of_test: dict[str, np.ndarray] = {}
    for i, replay in enumerate(replays):
        for size in replay.sizes or (0,):
            start = f"{i}/{size}/"
            outputs = {k.removeprefix(start): v for k, v in found.items() if k.startswith(start)}
            if replay.order is not None:
                outputs = {name: _reordered(v, replay.order) for name, v in outputs.items()}
                of_test |= outputs
            for name, difference in _differences(source.run, replay, size, outputs):
                key = f"{replay.endpoint}.{name}{ON_TEST * replay.on_test}"
                differences[key] = max(differences.get(key, 0.0), difference)
    sizes = sorted({size for replay in replays for size in replay.sizes})
    on_test = any(replay.on_test for replay in replays)
    count = len(source.run.predictions["index"]) if on_test else None
    return Proof(differences, sizes, count, of_test)


def _reordered(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    restored = np.empty_like(values)
    restored[order] = values
    return restored


def _listed(folder: pathlib.Path, number: int, replay: Replay) -> dict[str, Any]:
    """Writes the arrays of a replay, and returns its entry in the job."""
    given = {a: _placed(folder, f"{number}-{a}", array) for a, array in replay.given.items()}
    originals = {
        output: _placed(folder, f"{number}-original-{output}", array)
        for output, array in replay.originals.items()
    }
    order = _saved(folder / f"{number}-order.npy", replay.order)
    about = {"endpoint": replay.endpoint, "sizes": replay.sizes, "order": order}
    return {**about, "given": given, "originals": originals}


def _placed(folder: pathlib.Path, name: str, array: Array) -> tuple[str, int | None, str | None]:
    path = array.values
    if not isinstance(path, pathlib.Path):
        path = pathlib.Path(str(_saved(folder / f"{name}.npy", path)))
    return str(path), array.column, _saved(folder / f"{name}-rows.npy", array.rows)


def _saved(path: pathlib.Path, values: np.ndarray | None) -> str | None:
    if values is None:
        return None
    np.save(path, values, allow_pickle=False)
    return str(path)


def _call(folder: pathlib.Path, job: Mapping[str, Any]) -> str:
    """Runs running.py in a fresh process; returns what it printed."""
    path = folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    # -P keeps the script's folder, which is inside kpipe, off the import path.
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(RUNNING), str(path)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
    except subprocess.TimeoutExpired:
        raise RunError(f"{job['format']}: a replay took more than {SECONDS:,} seconds") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RunError(f"the converted model cannot be run with {job['format']}: {lines[-1]}")
    return done.stdout


def _differences(
    run: Run, replay: Replay, size: int, outputs: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, float]]:
    """Yields the largest difference of each output from what is expected."""
    for check in replay.checks:
        if check.output not in outputs:
            yield check.output, DIFFERENT
            continue
        stop = size or None
        values = outputs[check.output][..., : check.columns]
        expected = check.expected[:stop][..., : check.columns]
        rows = slice(None) if check.rows is None else check.rows[:stop]
        yield check.output, relative_difference(values, expected, rows)
    for name, values, rows in _derived(run, outputs):
        yield name, relative_difference(outputs[name], values, rows)


def _derived(
    run: Run, outputs: Mapping[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray, np.ndarray | slice]]:
    """Yields what follows from the probabilities that came with it, and rows that are decided."""
    if not {"probabilities", "calibrated"} <= outputs.keys():
        return
    fitted = (run.predictions.get(name) for name in ("temperature", "threshold"))
    temperature, threshold = (None if value is None else float(value) for value in fitted)
    if temperature is None:
        return
    p = outputs["probabilities"]
    expected = calibrated_arrays(p, temperature, threshold)
    yield "calibrated", expected["calibrated"], slice(None)
    if "prediction_set" in outputs and threshold is not None:
        second, first = np.sort(p, axis=1)[:, -2:].T
        edge = np.abs(expected["calibrated"] - np.float32(1 - threshold)).min(axis=1)
        sure = (edge > TOLERANCE) & (first - second > TOLERANCE)
        yield "prediction_set", expected["prediction_set"], sure


def relative_difference(values: np.ndarray, expected: np.ndarray, rows: Any) -> float:
    """Returns the largest difference, relative to the largest expected value if that exceeds 1.

    Args:
        values: (n, ...).
        expected: (n, ...).
        rows: bool (n,), the rows that are compared; `slice(None)` for all.

    Example:
        relative_difference(np.array([1.0, 2.5]), np.array([1.0, 2.0]), slice(None))  # 0.25
    """
    if values.shape != expected.shape or (values.dtype == bool) != (expected.dtype == bool):
        return DIFFERENT
    if values.dtype == bool:
        return DIFFERENT * bool(np.any((values != expected)[rows]))
    if not (np.isfinite(values).all() and np.isfinite(expected).all()):  # max hides a NaN
        return DIFFERENT
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    values, expected = values.astype(np.float64), expected.astype(np.float64)
    return float(np.max(np.abs(values - expected)[rows], initial=0.0)) / scale


def compare(run: Run, answers: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Measures on the test split what the conversion changed.

    Args:
        run: The run, with the recorded answers of the trained model.
        answers: Those of the converted model, `Proof.answers`.

    Returns:
        `metric`, its `before` and `after` with 95 % intervals, their `difference` with the interval
        of a paired test (after minus before), and `changed`, the share of changed answers, None if
        an answer is a number or an image. {} if the task has no such metric.
    """
    recorded = run.predictions
    error, image = ORIGINALS
    if image in answers:  # the squared errors, see running.py
        before, after = {"psnr": _psnr(recorded[error])}, {"psnr": _psnr(answers[image])}
    else:
        names = [name for name in ("probabilities", "value") if name in answers]
        after = {"label": recorded["label"], **{name: answers[name] for name in names}}
        before = {name: recorded[name] for name in after}
    pair = [per_example(run.headline, arrays, run.label_names) for arrays in (before, after)]
    old, new = pair
    if old is None or new is None:
        return {}
    test = compare_examples(new, old)
    return {
        "metric": new.metric,
        "before": _measured(old),
        "after": _measured(new),
        "difference": {"value": test.value, "low": test.low, "high": test.high, "n": test.n},
        "changed": _changed(before, after),
    }


def _measured(found: PerExample) -> dict[str, float | None]:
    values = found.values
    if values.dtype == bool:
        return proportion(int(values.sum()), len(values))
    return interval_of_mean(values)


def _psnr(squared_error: np.ndarray) -> np.ndarray:
    """Converts mean squared errors to dB; 8 bits cannot represent more than 100."""
    errors = np.maximum(np.asarray(squared_error, np.float64), 1e-10)
    return -10 * np.log10(errors)


def _changed(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> float | None:
    if "probabilities" not in after:
        return None
    p, q = before["probabilities"], after["probabilities"]
    if before["label"].ndim == 1:
        return float(np.mean(p.argmax(axis=1) != q.argmax(axis=1)))
    return float(np.mean(((p > 0.5) != (q > 0.5)).any(axis=1)))


def time_both(source: Source, converted: Converted, replays: Sequence[Replay]) -> dict[str, Any]:
    """Times the first endpoint beside the SavedModel's, in turns in one process of its own.

    Returns:
        `endpoint`, `threads`, and `milliseconds` an example by size of the batch: of the
        SavedModel, of the converted model.
    """
    name = "reconstruct" if "reconstruct" in converted.models else source.endpoints[0].name
    replay = next(r for r in replays if r.endpoint == name and not r.on_test)
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        given = _listed(place, 0, replay)["given"]
        about = {"endpoint": name, "given": given, "sizes": SIZES}
        with without_patterns(source.model.folder) as readable:
            job = {**converted.job(), **about, "saved_model": str(readable)}
            milliseconds = json.loads(_call(place, job).splitlines()[-1])
    return {"endpoint": name, "threads": 1, "milliseconds": milliseconds}


def explain(proof: Proof) -> str:
    """Writes the largest difference, and where it is."""
    where, difference = proof.worst
    return f"{where} differs by {formatting.small(difference)}"
