"""Calibration of a classifier: fitted to val, part of the export, and what is said of it."""

from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from .. import formatting
from ..data import Data
from ..export import Case, Comparison
from ..measures import calibration
from ..measures.classes import varying
from ..records import CalibrationRecord, Run
from ..report import Section
from . import _cases

ENDPOINT = "calibrate"
# Calibrated probabilities closer than this to the edge of a set can cross it by the last bits.
DECIDED = 2e-5
LISTED = 5  # classes of a set that are named

Outputs = dict[str, tf.Tensor]


def fit(model: keras.Model, data: Data) -> CalibrationRecord | None:
    """Fits a temperature to val alone, and of classes the threshold of prediction sets.

    Of several labels, those that are constant in train are left out: of them nothing was learned.

    Args:
        model: Result of a task's `inference`, trained without val.
        data: The data.

    Returns:
        What is recorded; None if val has too few examples, or the network's outputs are not finite.
    """
    val = data.val
    if val is None or len(val) < calibration.SMALLEST:
        return None
    labels = val.labels[val.rows]
    probabilities = _cases.predict(model, val, "probabilities")
    if not np.isfinite(probabilities).all():
        return None
    if labels.ndim == 2:
        known = varying(data.train.labels[data.train.rows])
        labels, probabilities = labels[:, known], probabilities[:, known]
    temperature, threshold = calibration.fit_temperature(probabilities, labels), None
    if labels.ndim == 1:
        calibrated = calibration.scale(probabilities, temperature)
        threshold = calibration.conformal_threshold(calibrated, labels)
    return CalibrationRecord(temperature=temperature, threshold=threshold, examples=len(val))


def in_graph(arrays: Mapping[str, np.ndarray]) -> Callable[[tf.Tensor], Outputs]:
    """Returns the function from probabilities to the further outputs of an export.

    It is written with TensorFlow alone; `measures.calibration` computes the same with NumPy.

    Args:
        arrays: Content of predictions.npz; without `calibrated` there are no further outputs.
    """
    if "calibrated" not in arrays:
        return lambda probabilities: {}
    epsilon, inverse = calibration.EPSILON, 1 / float(arrays["temperature"])

    def of_labels(probabilities: tf.Tensor) -> Outputs:
        p = tf.clip_by_value(probabilities, 0.0, 1.0)
        odds = tf.math.log(p + epsilon) - tf.math.log(1 - p + epsilon)
        return {"calibrated": tf.sigmoid(odds * inverse)}

    def of_classes(probabilities: tf.Tensor) -> Outputs:
        p = tf.clip_by_value(probabilities, 0.0, 1.0)
        calibrated = tf.nn.softmax(tf.math.log(p + epsilon) * inverse)
        likely = calibrated >= np.float32(1 - arrays["threshold"])
        classes = tf.shape(p)[1]
        best = tf.one_hot(tf.argmax(p, axis=1), classes, on_value=True, off_value=False)
        return {"calibrated": calibrated, "prediction_set": likely | best}

    return of_classes if "prediction_set" in arrays else of_labels


def endpoint(arrays: Mapping[str, np.ndarray]) -> dict:
    """Returns the signature `calibrate`, from probabilities to the same outputs; {} if none."""
    if "calibrated" not in arrays:
        return {}
    width = arrays["calibrated"].shape[1]
    spec = tf.TensorSpec((None, width), tf.float32, name="probabilities")
    return {ENDPOINT: (in_graph(arrays), spec)}


def follows(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[str, str]]:
    """Returns the rule that proves these outputs in all endpoints, see `Case.follows`.

    They are those of `calibrate`, applied to the probabilities that came with them. A comparison
    with recorded values could not be exact: near 0 and 1 the last bit of a probability can change
    a calibrated one visibly.
    """
    return {
        name: (ENDPOINT, "probabilities")
        for name in ("calibrated", "prediction_set")
        if name in arrays
    }


def golden(arrays: Mapping[str, np.ndarray]) -> tuple[list[Case], np.ndarray]:
    """Builds the case of `calibrate` on the recorded probabilities of the test split.

    Returns:
        The cases, and the mask of decided test examples, whose set does not depend on a last bit.
    """
    if "calibrated" not in arrays:
        return [], np.array(True)
    compared, sure = [Comparison("calibrated", "calibrated")], np.array(True)
    if "prediction_set" in arrays:
        edge = np.float32(1 - arrays["threshold"])
        sure = np.abs(arrays["calibrated"] - edge).min(axis=1) > DECIDED
        compared.append(Comparison("prediction_set", "prediction_set", rows=sure))
    return [Case(ENDPOINT, {"probabilities": "probabilities"}, compared)], sure


def answer(outputs: Mapping[str, np.ndarray], i: int, names: tuple[str, ...]) -> dict:
    """Returns JSON values of an example, `calibrated` and `prediction_set`; {} of older exports."""
    return {
        name: dict(zip(names, outputs[name][i].tolist(), strict=True))
        for name in ("calibrated", "prediction_set")
        if name in outputs
    }


def set_in_words(content: Mapping) -> str:
    """Writes a prediction set, the most probable class first: "; 90 % set: cat, dog"."""
    if "prediction_set" not in content:
        return ""
    inside = [name for name, member in content["prediction_set"].items() if member]
    inside.sort(key=lambda name: -content["calibrated"][name])
    more = f" and {len(inside) - LISTED} more" if len(inside) > LISTED else ""
    return f"; {_target()} set: {', '.join(inside[:LISTED])}{more}"


def facts(run: Run) -> list[tuple[str, str]]:
    """Returns how far confidence is from accuracy, or why the run is not calibrated."""
    metrics = run.metrics
    if "calibrated_ece" not in metrics:
        return [("Confidence", _why_not(run))]
    found = [("Confidence", _errors(run))]
    if "set_coverage" in metrics:
        found.append((f"{_target()} prediction sets", _sets(run)))
    return found


def lines(run: Run) -> list[str]:
    """Returns the line of the summary; none if the run is not calibrated."""
    if "calibrated_ece" not in run.metrics:
        return []
    sets = f"; {_target()} sets {_sets(run)}" if "set_coverage" in run.metrics else ""
    doubts = "; ".join(filter(None, (_few(run), _differs(run))))
    return [f"confidence: {_errors(run)}{sets}{f' ({doubts})' if doubts else ''}"]


def section(run: Run) -> Section:
    """Returns the table of calibration, without rows if the run is not calibrated."""
    metrics, fitted = run.metrics, run.record.calibration
    head = ("Calibration on the test split", "network", "calibrated")
    if "calibrated_ece" not in metrics or fitted is None:
        return Section("Calibration", head, [])

    def cells(*names: str) -> tuple[str, ...]:
        return tuple(
            formatting.measured(name, metrics[name]) if name in metrics else formatting.MISSING
            for name in names
        )

    rows = [
        ("expected calibration error (ECE)", *cells("ece", "calibrated_ece")),
        ("log loss (nats)", *cells("log_loss", "calibrated_log_loss")),
    ]
    several = "set_coverage" not in metrics
    if not several:
        rows.append((f"coverage of the {_target()} sets", "", *cells("set_coverage")))
        rows.append(("classes in a set, on average", "", *cells("set_size")))
    shown = {"ece", "calibrated_ece", "calibrated_log_loss", "set_coverage", "set_size"}
    return Section("Calibration", head, rows, _note(run, fitted), metrics=frozenset(shown))


def _note(run: Run, fitted: CalibrationRecord) -> str:
    before, after = (run.metrics[name]["value"] or 0.0 for name in ("ece", "calibrated_ece"))
    several = fitted.threshold is None
    compared = "frequency of a label" if several else "accuracy"
    said = f"On average the network's confidence is {_points(before)} away from the {compared}, "
    said += f"the calibrated one {_points(after)}. "
    said += f"The temperature, {fitted.temperature:.3g}, "
    if not several:
        said += f"and the threshold of the sets, 1 - p <= {fitted.threshold:.4g}, "
    kind = "were" if not several else "was"
    said += f"{kind} fitted to the {formatting.counted(fitted.examples, 'val example')} alone"
    if run.record.training and run.record.training.retrained_epochs is not None:
        said += ", with the network as it was before it was trained again on train and val"
    said += ". Val also chose the best epoch"
    if not several:
        said += "; sets have their coverage on examples like those of val, not on others"
    doubts = (f" {doubt[0].upper()}{doubt[1:]}." for doubt in (_few(run), _differs(run)) if doubt)
    return said + "." + "".join(doubts)


def _why_not(run: Run) -> str:
    if run.record.format_version < 3:
        return "not calibrated"
    count = run.record.data.examples.get("val", 0)
    if not count:
        return "not calibrated: no val split"
    if count < calibration.SMALLEST:
        examples = formatting.counted(count, "val example")
        return f"not calibrated: {examples}; expected at least {calibration.SMALLEST}"
    return "not calibrated: outputs that are not finite"


def _few(run: Run) -> str:
    """Returns a warning if val is small, with the standard deviation of the sets' coverage."""
    fitted = run.record.calibration
    if fitted is None or fitted.examples >= calibration.FEW:
        return ""
    said = f"only {formatting.counted(fitted.examples, 'val example')}: "
    if fitted.threshold is None:
        return said + "the temperature is uncertain"
    share = calibration.COVERAGE
    spread = (share * (1 - share) / (fitted.examples + 2)) ** 0.5
    return said + f"the coverage of sets varies by {_points(spread)} from one val split to another"


def _differs(run: Run) -> str:
    """Returns a warning if what was fitted to val does not hold on test."""
    metrics, fitted = run.metrics, run.record.calibration
    before, after = metrics["ece"]["value"] or 0.0, metrics["calibrated_ece"]["low"] or 0.0
    failed = ["the temperature does not reduce the error"] if after > before else []
    if fitted is not None and "set_coverage" in metrics:
        covered, n = metrics["set_coverage"]["value"] or 0.0, metrics["set_coverage"]["n"] or 1
        if calibration.falls_short(covered, int(n), fitted.examples):
            failed.append(f"sets contain the true class in less than {_target()}")
    return f"test differs from val: {' and '.join(failed)}" if failed else ""


def _errors(run: Run) -> str:
    before, after = (run.metrics[name]["value"] or 0.0 for name in ("ece", "calibrated_ece"))
    shares = " -> ".join(formatting.percent(share, 1) for share in (before, after))
    temperature = float(run.predictions["temperature"])
    return f"calibration error {shares} with temperature {temperature:.2f}"


def _sets(run: Run) -> str:
    coverage, size = run.metrics["set_coverage"], run.metrics["set_size"]["value"] or 0.0
    value, low, high = (100 * (coverage[key] or 0.0) for key in ("value", "low", "high"))
    classes = f"{size:.2f} classes on average"
    return f"contain the true class in {value:.1f} [{low:.1f}, {high:.1f}] %, {classes}"


def _target() -> str:
    return f"{100 * calibration.COVERAGE:.0f} %"


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"
