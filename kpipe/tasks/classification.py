"""Classification: an example has one class.

The model outputs `probabilities`, float32 (n, num_classes), that sum to 1. A single output with
another name or without a name is used as `probabilities`; with `from_logits=True` in the loss its
softmax is used; a single sigmoid output for two classes is the probability of the second class.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from .. import figures, formatting
from ..data import Data, Split
from ..export import Case, Endpoints
from ..export.loading import TASK_FILE
from ..inputs import Tokens
from ..measures import classes
from ..measures.calibration import calibration_metrics
from ..measures.copies import copies_metrics
from ..records import Metrics, Run
from ..report import Section
from . import _calibration, _cases, _contract, _labels, _learned, _simple

HEADLINE = "accuracy"
BASELINES = ("bag_of_words", "ngrams", "simple")  # names of their arrays and metrics
FIGURES = (
    figures.learning_curves,
    figures.confusion_matrix,
    figures.roc_curve,
    figures.per_class,
    figures.worst_mistakes,
    figures.decision_regions,
    figures.compare_bag_of_words,
)
ALWAYS = (
    figures.reliability_diagram,
    figures.explained_mistakes,
    figures.column_importance,
    figures.column_effects,
)
calibrate = _calibration.fit
MISTAKES = 10  # shown with their text
EXCERPT = 500  # characters of a text
# Probabilities closer than this can change places by the last bits.
DECIDED = 2e-5


def metric_names(label_names: Sequence[str]) -> list[str]:
    """Returns the names of all metrics that `metrics` can contain, as choices for a target."""
    names = ["accuracy", "balanced_accuracy", "macro_f1", "majority_baseline", "log_loss"]
    names += ["roc_auc"] if len(label_names) == 2 else []
    for name in BASELINES:
        names += [f"{name}_baseline", f"above_{name}"]
    names += ["above_honest_split", "naive_split_overlap", "ece", "calibrated_ece"]
    names += ["calibrated_log_loss", "set_coverage", "set_size"]
    return names + [f"{kind}/{name}" for kind in ("precision", "recall") for name in label_names]


def check(model: keras.Model, data: Data) -> None:
    """Checks that model and labels fit the task, before training.

    Raises:
        UserError: They do not fit; the message is one line and suggests a fix.
    """
    _labels.check_classes(data)
    _contract.probabilities_of(model, data, exclusive=True)


def inference(model: keras.Model, data: Data) -> keras.Model:
    """Returns the trained model with the single output `probabilities`."""
    transform = _contract.probabilities_of(model, data, exclusive=True)
    return _contract.inference_model(model, data, "probabilities", transform)


def probabilities(model: keras.Model, split: Split) -> np.ndarray:
    """Predicts a split with the result of `inference`: float32 (n, num_classes)."""
    return _cases.predict(model, split, "probabilities")


def measure(model: keras.Model, data: Data, seed: int) -> dict[str, np.ndarray]:
    """Opens the test split and predicts it.

    Args:
        model: Result of `inference`.
        data: The data.
        seed: Random seed of the run; not used.

    Returns:
        `index`, `label` and `probabilities`.
    """
    test = data.test
    return {
        "index": test.rows,
        "label": test.labels[test.rows],
        "probabilities": probabilities(model, test),
    }


def baselines(model: keras.Model, data: Data) -> dict[str, np.ndarray]:
    """Fits a simple method to train, see `_simple.measure`.

    `simple`, or for texts `bag_of_words`, are the classes that it predicts for the test split.
    """
    return _simple.measure(
        data, "bag_of_words" if isinstance(data.test.column, Tokens) else "simple"
    )


def metrics(arrays: dict[str, np.ndarray], model: keras.Model, data: Data) -> Metrics:
    """Computes every metric with its 95 % interval, see `measures.classes`."""
    counts = np.bincount(data.train.labels[data.train.rows], minlength=len(data.label_names))
    answers = arrays["label"], arrays["probabilities"]
    result = classes.classification_metrics(*answers, data.label_names, int(counts.argmax()))
    if classes.is_imbalanced(counts):
        result = {"accuracy": result["accuracy"], **classes.balanced_metrics(*answers), **result}
    for name in BASELINES:
        if name in arrays:
            result |= classes.baseline_metrics(*answers, arrays[name], name)
    return result | copies_metrics(arrays) | calibration_metrics(arrays)


def errors(model: keras.Model, split: Split) -> np.ndarray:
    """Returns 1 for each example of a split that the model gets wrong, else 0: float64 (n,)."""
    predicted = probabilities(model, split).argmax(axis=1)
    return (predicted != split.labels[split.rows]).astype(float)


def endpoints(model: keras.Model, data: Data, arrays: dict[str, np.ndarray]) -> Endpoints:
    """Builds signatures that return `probabilities` and `label`, string (n,).

    Those of a calibrated network also return `calibrated` and `prediction_set`.
    """
    _contract.check_answers(arrays, exclusive=True)
    names = tf.constant(list(data.label_names))  # a lookup table would read a file when loaded
    calibrate = _calibration.in_graph(arrays)

    def serve(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = model(inputs, training=False)["probabilities"]
        label = tf.gather(names, tf.argmax(probabilities, axis=1))
        return {"probabilities": probabilities, "label": label, **calibrate(probabilities)}

    signatures, resources = data.input.endpoints(serve, _cases.input_spec(model, data))
    signatures |= _calibration.endpoint(arrays)
    assets = {"labels.txt": data.label_names, TASK_FILE: ["classification"], **data.input.assets}
    return Endpoints(signatures, [model, *resources], assets)


def golden(
    model: keras.Model, data: Data, arrays: dict[str, np.ndarray]
) -> tuple[list[Case], np.ndarray]:
    """Builds the cases that the export must reproduce, and the mask of decided test examples."""
    names = np.array(data.label_names)

    def decided(probabilities: np.ndarray) -> np.ndarray:
        first, second = np.sort(probabilities, axis=1)[:, -2:].T[::-1]
        return first - second > DECIDED

    cases, sure = _cases.golden_answers(
        model,
        data,
        "probabilities",
        arrays["probabilities"],
        lambda probabilities: names[probabilities.argmax(axis=1)],
        decided,
        _calibration.follows(arrays),
    )
    further, certain = _calibration.golden(arrays)
    return cases + further, sure & certain


def answer(outputs: dict[str, np.ndarray], i: int, names: tuple[str, ...]) -> tuple[str, dict]:
    """Returns the answer to one example, in words and as JSON values.

    Its probability is the calibrated one, if the export has it.
    """
    probabilities, label = outputs["probabilities"][i], str(outputs["label"][i])
    named = dict(zip(names, map(float, probabilities), strict=True))
    sure = float(outputs.get("calibrated", outputs["probabilities"])[i].max())
    content = {"label": label, "probability": sure, "probabilities": named}
    content |= _calibration.answer(outputs, i, names)
    return f"{label} ({100 * sure:.1f} %{_calibration.set_in_words(content)})", content


def facts(run: Run) -> list[tuple[str, str]]:
    """Returns the baselines of the accuracy, and the network's lead."""
    metrics, found = run.metrics, []
    if "majority_baseline" in metrics:
        majority = formatting.number("accuracy", metrics["majority_baseline"].get("value"))
        found.append(("Always predicting the most frequent class", majority))
    return found + _simple.facts(run) + _calibration.facts(run)


def alert(run: Run) -> str:
    """Returns a sentence if the network is worse than a simple method, or than one class; or ""."""
    return _learned.alert(run) or _simple.alert(run)


def sections(run: Run) -> list[Section]:
    """Returns tables of calibration, the classes and, for texts, the most confident mistakes."""
    return [_calibration.section(run), _classes(run), _mistakes(run)]


def summary(run: Run) -> str:
    """Writes the result in one to four lines."""
    metrics = run.metrics
    accuracy, majority = metrics["accuracy"], metrics["majority_baseline"]["value"]
    lines = [
        f"test accuracy {formatting.measured('accuracy', accuracy)}, n = {accuracy['n']:,}; "
        f"majority class {formatting.number('accuracy', majority)}"
    ]
    if "macro_f1" in metrics:  # imbalanced classes
        both = (
            f"{formatting.words(name)} {formatting.measured(name, metrics[name])}"
            for name in ("balanced_accuracy", "macro_f1")
        )
        lines.append(", ".join(both))
    return "\n".join(lines + _simple.lines(run) + _calibration.lines(run))


def _classes(run: Run) -> Section:
    rows, shown = [], set[str]()
    for name in run.label_names:
        keys = (f"precision/{name}", f"recall/{name}")
        precision, recall = (run.metrics.get(key) or {} for key in keys)
        if precision or recall:
            cells = (formatting.measured("recall", entry) for entry in (precision, recall))
            rows.append((name, formatting.value(recall.get("n")), *cells))
            shown.update(keys)
    head = ("class", "test examples", "precision", "recall")
    return Section("Classes", head, rows, metrics=frozenset(shown))


def _mistakes(run: Run) -> Section:
    head = ("most confident mistakes", "true", "predicted", "probability")
    rows = []
    if run.data is not None and isinstance(column := run.data.test.column, Tokens):
        truth, probabilities = run.predictions["label"], run.predictions["probabilities"]
        said, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
        wrong = [i for i in np.argsort(-sure, kind="stable") if said[i] != truth[i]][:MISTAKES]
        for i, text in zip(
            wrong, column.strings(run.data.test.rows[np.array(wrong, int)]), strict=True
        ):
            names = (run.label_names[truth[i]], run.label_names[said[i]])
            rows.append((_excerpt(text), *names, formatting.percent(sure[i])))
    return Section("Mistakes", head, rows, look="texts")


def _excerpt(text: str) -> str:
    """Returns a short text unchanged, of a long one its beginning and its end."""
    text = " ".join(text.split())
    if len(text) <= EXCERPT:
        return text or "(empty)"
    return f"{text[: EXCERPT // 2]} … {text[-EXCERPT // 2 :]}"
