"""Multilabel classification: an example has several labels, each 0 or 1.

The model outputs `probabilities`, float32 (n, num_labels), which are independent: they need not sum
to 1.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from .. import figures, formatting
from ..data import Data, Split
from ..export import Case, Endpoints
from ..export.loading import TASK_FILE
from ..measures import classes
from ..measures.calibration import calibration_metrics
from ..measures.copies import copies_metrics
from ..records import Metrics, Run
from ..report import Section
from . import _calibration, _cases, _contract, _labels, _learned, _simple

HEADLINE = "accuracy"
FIGURES = (figures.learning_curves, figures.label_accuracies, figures.compare_single_task)
ALWAYS = (
    figures.reliability_diagram,
    figures.explained_mistakes,
    figures.column_importance,
    figures.column_effects,
)
calibrate = _calibration.fit
THRESHOLD = 0.5
DECIDED = 1e-5  # a probability closer to the threshold can cross it by the last bits


def metric_names(label_names: Sequence[str]) -> list[str]:
    """Returns the names of all metrics that `metrics` can contain, as choices for a target."""
    kinds = ("accuracy", "majority_baseline", "roc_auc")
    names = [*kinds[:2], "simple_baseline", "above_simple"]
    names += ["above_honest_split", "naive_split_overlap"]
    names += ["ece", "calibrated_ece", "calibrated_log_loss"]
    return names + [f"{kind}/{name}" for kind in kinds for name in label_names]


def check(model: keras.Model, data: Data) -> None:
    """Checks that model and labels fit the task, before training.

    Raises:
        UserError: They do not fit; the message is one line and suggests a fix.
    """
    _labels.check_several(data)
    _contract.probabilities_of(model, data, exclusive=False)


def inference(model: keras.Model, data: Data) -> keras.Model:
    """Returns the trained model with the single output `probabilities`."""
    transform = _contract.probabilities_of(model, data, exclusive=False)
    return _contract.inference_model(model, data, "probabilities", transform)


def measure(model: keras.Model, data: Data, seed: int) -> dict[str, np.ndarray]:
    """Opens the test split; returns `index`, `label` (n, num_labels), `probabilities`."""
    test = data.test
    return {
        "index": test.rows,
        "label": test.labels[test.rows],
        "probabilities": _cases.predict(model, test, "probabilities"),
    }


def baselines(model: keras.Model, data: Data) -> dict[str, np.ndarray]:
    """Fits a simple method to train, see `_simple.measure`."""
    return _simple.measure(data)


def metrics(arrays: dict[str, np.ndarray], model: keras.Model, data: Data) -> Metrics:
    """Computes the accuracy of each label and their mean, see `measures.classes`.

    Labels that are constant in train are left out of all of them.
    """
    train_labels = data.train.labels[data.train.rows]
    answers = arrays["label"], arrays["probabilities"]
    measured = classes.multilabel_metrics(
        *answers, data.label_names, train_labels, arrays.get("simple")
    )
    known = classes.varying(train_labels)
    return measured | copies_metrics(arrays, train_labels) | calibration_metrics(arrays, known)


def errors(model: keras.Model, split: Split) -> np.ndarray:
    """Returns the share of wrong labels of each example of a split: float64 (n,)."""
    likely = _cases.predict(model, split, "probabilities") > THRESHOLD
    return (likely != split.labels[split.rows]).mean(axis=1)


def endpoints(model: keras.Model, data: Data, arrays: dict[str, np.ndarray]) -> Endpoints:
    """Builds signatures that return `probabilities` and `label`, string (n,): "Male, Young".

    Those of a calibrated network also return `calibrated`.
    """
    _contract.check_answers(arrays, exclusive=False)
    names = tf.constant(list(data.label_names))
    calibrate = _calibration.in_graph(arrays)

    def serve(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = model(inputs, training=False)["probabilities"]
        every = tf.broadcast_to(names, tf.shape(probabilities))
        likely = tf.ragged.boolean_mask(every, probabilities > THRESHOLD)
        label = tf.strings.reduce_join(likely, axis=1, separator=", ")
        return {"probabilities": probabilities, "label": label, **calibrate(probabilities)}

    signatures, resources = data.input.endpoints(serve, _cases.input_spec(model, data))
    signatures |= _calibration.endpoint(arrays)
    assets = {"labels.txt": data.label_names, TASK_FILE: ["multilabel"], **data.input.assets}
    return Endpoints(signatures, [model, *resources], assets)


def golden(
    model: keras.Model, data: Data, arrays: dict[str, np.ndarray]
) -> tuple[list[Case], np.ndarray]:
    """Builds the cases that the export must reproduce, and the mask of decided test examples."""

    def join(probabilities: np.ndarray) -> np.ndarray:
        rows = (zip(data.label_names, row > THRESHOLD, strict=True) for row in probabilities)
        return np.array([", ".join(name for name, likely in row if likely) for row in rows], str)

    def decided(probabilities: np.ndarray) -> np.ndarray:
        return np.all(np.abs(probabilities - THRESHOLD) > DECIDED, axis=1)

    recorded, follows = arrays["probabilities"], _calibration.follows(arrays)
    cases, sure = _cases.golden_answers(
        model, data, "probabilities", recorded, join, decided, follows
    )
    further, certain = _calibration.golden(arrays)
    return cases + further, sure & certain


def answer(outputs: dict[str, np.ndarray], i: int, names: tuple[str, ...]) -> tuple[str, dict]:
    """Returns the answer to one example, in words and as JSON values.

    Its probabilities in words are the calibrated ones, if the export has them.
    """
    probabilities, label = outputs["probabilities"][i], str(outputs["label"][i])
    named = dict(zip(names, map(float, probabilities), strict=True))
    further = _calibration.answer(outputs, i, names)
    shown = further.get("calibrated", named)
    likely = ", ".join(
        f"{name} ({100 * shown[name]:.1f} %)" for name, p in named.items() if p > THRESHOLD
    )
    content = {"label": label, "probability": max(shown.values()), "probabilities": named}
    content |= further
    return likely or "none of the labels", content


def facts(run: Run) -> list[tuple[str, str]]:
    """Returns the labels that the accuracy is the mean of, and its baseline."""
    found = []
    if known := _known(run):
        found.append(("Accuracy averaged over", _count_of(known, run)))
    if "majority_baseline" in run.metrics:
        majority = formatting.number("accuracy", run.metrics["majority_baseline"].get("value"))
        found.append(("Always predicting each label's majority", majority))
    return found + _simple.facts(run) + _calibration.facts(run)


def alert(run: Run) -> str:
    """Returns a sentence if the network is worse than a simple method, or than constants; or ""."""
    return _learned.alert(run) or _simple.alert(run)


def sections(run: Run) -> list[Section]:
    """Returns the tables of calibration and of the labels."""
    known = _known(run)
    rows, shown = [], set[str]()
    for name in known:
        keys = [f"{kind}/{name}" for kind in ("accuracy", "majority_baseline", "roc_auc")]
        accuracy, majority, area = (run.metrics.get(key) or {} for key in keys)
        rows.append(
            (
                name,
                formatting.measured("accuracy", accuracy),
                formatting.number("accuracy", majority.get("value")),
                formatting.measured("roc_auc", area),
            )
        )
        shown.update(keys)
    head = ("label", "accuracy [95 % interval]", "majority class", "ROC AUC [95 % interval]")
    left_out = len(run.label_names) - len(known)
    note = (
        f"{left_out} of {len(run.label_names)} labels are constant in the training examples, so "
        "that nothing can be learned about them: they are left out."
    )
    labels = Section("Labels", head, rows, note if left_out else "", metrics=frozenset(shown))
    return [_calibration.section(run), labels]


def summary(run: Run) -> str:
    """Writes the result in one to three lines."""
    accuracy, majority = (run.metrics[key] for key in ("accuracy", "majority_baseline"))
    text = (
        f"test accuracy {formatting.measured('accuracy', accuracy)}, the mean over "
        f"{_count_of(_known(run), run)}, n = {accuracy['n']:,}; each label's majority class "
        f"{formatting.number('accuracy', majority['value'])}"
    )
    return "\n".join([text, *_simple.lines(run), *_calibration.lines(run)])


def _known(run: Run) -> list[str]:
    """Returns the labels that were evaluated."""
    return [name for name in run.label_names if f"accuracy/{name}" in run.metrics]


def _count_of(known: list[str], run: Run) -> str:
    if len(known) == len(run.label_names):
        return f"the {len(known)} labels"
    return f"the {len(known)} of {len(run.label_names)} labels that vary in train"
