"""Regression: an example has a number.

The model gives `value`, float32 (n,) or (n, 1); one output of any other name, or of none, is taken
for it. With `Dataset.with_scaled_targets` it learns scaled values: predictions, metrics and the
export are in the unit of the labels all the same.
"""

import keras
import numpy as np
import tensorflow as tf

from .. import figures, formatting
from ..data import Data
from ..errors import UserError
from ..export import TEST, Case, Comparison, Endpoints
from ..measures import baselines
from ..measures import regression as measures
from ..measures.intervals import sign_of
from ..report import Section
from ..runs import Metrics, Run
from . import _contract

HEADLINE = "mae"
FIGURES = (figures.learning_curves,)


def check(model: keras.Model, data: Data) -> None:
    """Model and values agree, before any work.

    Raises:
        UserError: They do not; one line says what to do.
    """
    for split, labels in _contract.labels_of(data):
        if labels.ndim != 1:
            raise UserError(
                f"{data.name}: labels of {split} have {labels.shape[1:]} values an example; "
                "expected one number"
            )
        bad = np.flatnonzero(~np.isfinite(labels))
        if bad.size:
            raise UserError(
                f"{data.name}: example {bad[0]} of {split} has the value {labels[bad[0]]} "
                f"({bad.size} such examples); expected a number: leave them out"
            )
    _, values = _contract.one_output(model, _contract.dry_batch(model, data), "value")
    if values.shape[1:] not in ((), (1,)):
        raise UserError(
            f"{model.name} gives {values.shape[1:]} an example; expected one value: end it with "
            "keras.layers.Dense(1)"
        )


def inference(model: keras.Model, data: Data) -> keras.Model:
    """The trained model with the one output `value`, in the scale that it was trained in."""
    return _contract.inference_model(model, data, "value", None)


def measure(model: keras.Model, data: Data, seed: int) -> dict[str, np.ndarray]:
    """Opens the test split.

    Args:
        model: See `inference`.
        data: Its train split is what the baselines are fitted to.
        seed: Of the run; nothing is drawn.

    Returns:
        `index`, `label`, `value` (n,) in the unit of the labels, and as far as they can be fitted
        the baselines `mean_baseline` and `linear_regression`.
    """
    train, test = data.train, data.test
    values = _contract.predict(model, test, "value").reshape(len(test))
    fitted = baselines.baseline_regressions(
        train.take(np.arange(len(train)))[0],
        train.labels[train.rows],
        test.take(np.arange(len(test)))[0],
    )
    return {
        "index": test.rows,
        "label": test.labels[test.rows],
        "value": np.asarray(data.targets.unscale(values), np.float32),
        **{name: predicted.astype(np.float32) for name, predicted in fitted.items()},
    }


def metrics(arrays: dict[str, np.ndarray], model: keras.Model, data: Data) -> Metrics:
    """Errors and explained variance, see `measures.regression`."""
    values, predictions = arrays["label"], arrays["value"]
    names = ("mean_baseline", "linear_regression")
    fitted = {name: arrays[name] for name in names if name in arrays}
    return measures.regression_metrics(values, predictions) | measures.baseline_regression_metrics(
        values, predictions, fitted
    )


def endpoints(model: keras.Model, data: Data) -> Endpoints:
    """Signatures that give `value`, float32 (n,), in the unit of the labels."""

    def serve(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        values = tf.reshape(model(inputs, training=False)["value"], (-1,))
        return {"value": data.targets.unscale(values)}

    signatures, resources = data.input.endpoints(serve, _contract.input_spec(model, data))
    return Endpoints(signatures, [model, *resources], data.input.assets)


def golden(
    model: keras.Model, data: Data, arrays: dict[str, np.ndarray]
) -> tuple[list[Case], None]:
    """Cases that the export must reproduce."""
    split, rows = _contract.golden_rows(data)
    spec = _contract.input_spec(model, data)
    cases = []
    for given in data.input.golden(split.column, rows, spec.name):  # type: ignore[arg-type]
        values = model.predict(given.inputs, verbose=0)["value"].reshape(-1)
        expected = np.asarray(data.targets.unscale(values), np.float32)
        cases.append(
            Case(
                given.endpoint,
                {given.argument: given.values},
                [Comparison("value", expected)],
                batches=given.batches,
                about=given.about,
            )
        )
    argument = _contract.argument_of(data, spec)
    cases.append(Case("serving_default", {argument: TEST}, [Comparison("value", "value")]))
    return cases, None


def answer(outputs: dict[str, np.ndarray], i: int, names: tuple[str, ...]) -> tuple[str, dict]:
    """The answer to one example, in words and as JSON values."""
    value = float(outputs["value"][i])
    return f"{value:.6g}", {"value": value}


def facts(run: Run) -> list[tuple[str, str]]:
    """What the error is compared with."""
    metrics, found = run.metrics, []
    if "mean_baseline_mae" in metrics:
        mean = formatting.measured("mae", metrics["mean_baseline_mae"])
        found.append(("MAE of always saying the mean", mean))
    if "linear_regression_mae" in metrics:
        linear = formatting.measured("mae", metrics["linear_regression_mae"])
        found.append(("MAE of linear regression", linear))
        found.append(("The network against it", _against_linear(run)))
    return found


def sections(run: Run) -> list[Section]:
    """The network beside what it is compared with."""
    shown = {
        "mae": "the network",
        "linear_regression_mae": "linear regression",
        "mean_baseline_mae": "always the mean of train",
    }
    rows = [
        (who, formatting.measured("mae", run.metrics[name]))
        for name, who in shown.items()
        if name in run.metrics
    ]
    head = ("", "mean absolute error [95 % interval]")
    if len(rows) < 2:  # nothing to compare with
        return []
    metrics = frozenset(shown) | {"above_linear_regression"}
    note = ""
    if "above_linear_regression" in run.metrics:
        note = f"The network {_against_linear(run)}, on the same examples."
    return [Section("Against simple baselines", head, rows, note, metrics=metrics)]


def summary(run: Run) -> str:
    """The result in a line or two."""
    metrics = run.metrics

    def say(name: str) -> str:
        return formatting.measured(name, metrics[name])

    names = [name for name in ("mae", "rmse", "r2") if name in metrics]
    measured = ", ".join(f"{formatting.words(name)} {say(name)}" for name in names)
    text = f"test {measured}, n = {metrics['mae']['n']:,}"
    if "mean_baseline_mae" in metrics:
        mean = formatting.number("mae", metrics["mean_baseline_mae"]["value"])
        text += f"; the mean alone has MAE {mean}"
    if "linear_regression_mae" in metrics:
        text += f"\nlinear regression has MAE {say('linear_regression_mae')}: the network "
        text += _against_linear(run)
    return text


def _against_linear(run: Run) -> str:
    """The paired difference of absolute errors; the smaller error is better."""
    difference = run.metrics["above_linear_regression"]
    verdict = {-1: "beats it", 0: "cannot be told apart from it", 1: "does not beat it"}
    shown = formatting.measured("above_linear_regression", difference)
    return f"{verdict[sign_of(difference)]}: its absolute error differs by {shown}"
