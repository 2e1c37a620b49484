"""Regression: an example has one number as its label.

The model outputs `value`, float32 (n,) or (n, 1); a single output with another name or without a
name is used as `value`. With `Dataset.with_scaled_targets` the model learns scaled values, but
predictions, metrics and the export are in the unit of the labels.
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from .. import figures, formatting
from ..data import Data, Split
from ..errors import UserError
from ..export import Case, Comparison, Endpoints
from ..measures import regression as measures
from ..measures.baselines import baseline_regressions
from ..measures.copies import copies_metrics
from ..records import Metrics, Run
from ..report import Section
from . import _cases, _contract, _labels, _learned, _simple

HEADLINE = "mae"
FIGURES = (figures.learning_curves, figures.predicted_against_true, figures.residuals)
ALWAYS = (
    figures.explained_mistakes,
    figures.column_importance,
    figures.column_effects,
)


def metric_names(label_names: Sequence[str]) -> list[str]:
    """Returns the names of all metrics that `metrics` can contain, as choices for a target."""
    names = ["mae", "rmse", "r2", "explained_variance"]
    names += ["mean_baseline_mae", "linear_regression_mae", "mae_above_linear_regression"]
    names += ["simple_baseline_mae", "mae_above_simple"]
    return [*names, "mae_above_honest_split", "naive_split_overlap"]


def check(model: keras.Model, data: Data) -> None:
    """Checks that model and values fit the task, before training.

    Raises:
        UserError: They do not fit; the message is one line and suggests a fix.
    """
    _labels.check_learns_labels(data)
    for split, labels in _labels.labels_of(data):
        if labels.ndim != 1:
            raise UserError(
                f"{data.name}: labels of {split} have the shape "
                f"{_contract.per_example(labels.shape[1:])} per example; expected one number"
            )
        bad = np.flatnonzero(~np.isfinite(labels))
        if bad.size:
            raise UserError(
                f"{data.name}: example {bad[0]} of {split} has the value {labels[bad[0]]} "
                f"({bad.size} such examples); expected a finite number: remove them"
            )
    outputs = _contract.dry_batch(model, data)
    _, values = _contract.one_output(model, outputs, "value")
    if values.shape[1:] not in ((), (1,)):
        raise UserError(
            f"{model.name} outputs {_contract.per_example(values.shape[1:])} per example; expected "
            "one value: end it with keras.layers.Dense(1)"
        )
    _contract.check_loss(model, data, outputs)


def inference(model: keras.Model, data: Data) -> keras.Model:
    """Returns the trained model with the single output `value`, in the scale of training."""
    return _contract.inference_model(model, data, "value", None)


def measure(model: keras.Model, data: Data, seed: int) -> dict[str, np.ndarray]:
    """Opens the test split and predicts it.

    Args:
        model: Result of `inference`.
        data: The data.
        seed: Random seed of the run; not used.

    Returns:
        `index`, `label` and `value` (n,) in the unit of the labels.
    """
    test = data.test
    values = _cases.predict(model, test, "value").reshape(len(test))
    return {
        "index": test.rows,
        "label": test.labels[test.rows],
        "value": np.asarray(data.targets.unscale(values), np.float32),
    }


def baselines(model: keras.Model, data: Data) -> dict[str, np.ndarray]:
    """Fits simple methods to train.

    Returns:
        Values that they predict for the test split: `mean_baseline` and `linear_regression` if they
        can be fitted, and the arrays of `_simple.measure`.
    """
    fitted = baseline_regressions(data.train, data.test)
    return {
        **{name: predicted.astype(np.float32) for name, predicted in fitted.items()},
        **_simple.measure(data),
    }


def metrics(arrays: dict[str, np.ndarray], model: keras.Model, data: Data) -> Metrics:
    """Computes errors and explained variance, see `measures.regression`."""
    values, predictions = arrays["label"], arrays["value"]
    names = ("mean_baseline", "linear_regression")
    fitted = {name: arrays[name] for name in names if name in arrays}
    if "simple" in arrays:
        fitted["simple_baseline"] = arrays["simple"]
    return (
        measures.regression_metrics(values, predictions)
        | measures.baseline_regression_metrics(values, predictions, fitted)
        | copies_metrics(arrays)
    )


def errors(model: keras.Model, split: Split) -> np.ndarray:
    """Returns the absolute error of each example of a split, in the labels' unit: float64 (n,)."""
    values = split.targets.unscale(_cases.predict(model, split, "value").reshape(len(split)))
    return np.abs(np.asarray(values, float) - split.labels[split.rows])


def endpoints(model: keras.Model, data: Data, arrays: dict[str, np.ndarray]) -> Endpoints:
    """Builds signatures that return `value`, float32 (n,), in the unit of the labels."""

    def serve(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        values = tf.reshape(model(inputs, training=False)["value"], (-1,))
        return {"value": data.targets.unscale(values)}

    signatures, resources = data.input.endpoints(serve, _cases.input_spec(model, data))
    return Endpoints(signatures, [model, *resources], data.input.assets)


def golden(
    model: keras.Model, data: Data, arrays: dict[str, np.ndarray]
) -> tuple[list[Case], None]:
    """Builds the cases that the export must reproduce."""

    def compare(values: np.ndarray) -> list[Comparison]:
        unscaled = data.targets.unscale(values.reshape(-1))
        return [Comparison("value", np.asarray(unscaled, np.float32))]

    on_test = [Comparison("value", "value")]
    return _cases.golden_cases(model, data, "value", compare, on_test), None


def answer(outputs: dict[str, np.ndarray], i: int, names: tuple[str, ...]) -> tuple[str, dict]:
    """Returns the answer to one example, in words and as JSON values."""
    value = float(outputs["value"][i])
    return f"{value:.6g}", {"value": value}


def facts(run: Run) -> list[tuple[str, str]]:
    """Returns the baselines of the error."""
    metrics, found = run.metrics, []
    if "mean_baseline_mae" in metrics:
        mean = formatting.measured("mae", metrics["mean_baseline_mae"])
        found.append(("MAE of always predicting the mean", mean))
    return found + _simple.facts(run)


def alert(run: Run) -> str:
    """Returns a sentence if the network is worse than a simple method, or than the mean; or ""."""
    return _learned.alert(run) or _simple.alert(run)


def sections(run: Run) -> list[Section]:
    """Returns the table of errors of the network and of simple baselines."""
    fitted, note = _simple.table_of_errors(run)
    compared = {"mae": "the network", **fitted, "mean_baseline_mae": "mean of train"}
    rows = [(who, _measured(run, name)) for name, who in compared.items() if name in run.metrics]
    if len(rows) < 2:  # nothing to compare with
        return []
    head = ("", "mean absolute error [95 % interval]")
    metrics = frozenset(compared) | {name for name in run.metrics if name.startswith("mae_above_")}
    return [Section("Comparison with simple baselines", head, rows, note, metrics=metrics)]


def summary(run: Run) -> str:
    """Writes the result in a line, and one for each simple method."""
    metrics = run.metrics
    names = [name for name in ("mae", "rmse", "r2") if name in metrics]
    measured = ", ".join(f"{formatting.words(name)} {_measured(run, name)}" for name in names)
    text = f"test {measured}, n = {metrics['mae']['n']:,}"
    if "mean_baseline_mae" in metrics:
        mean = formatting.number("mae", metrics["mean_baseline_mae"]["value"])
        text += f"; always predicting the mean has MAE {mean}"
    return "\n".join([text, *_simple.lines(run)])


def _measured(run: Run, name: str) -> str:
    return formatting.measured(name, run.metrics[name])
