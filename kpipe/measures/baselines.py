"""Baselines of a regression: the mean, and linear least squares."""

import math

import numpy as np

from ..data import Split
from ..errors import first_line

REGRESSION_VALUES = 50_000_000  # train input values: 400 MB of float64, and the same again to fit


def baseline_regressions(train: Split, test: Split) -> dict[str, np.ndarray]:
    """Predicts test examples by the mean of train, and by linear least squares.

    `mean_baseline` is scikit-learn's DummyRegressor; `linear_regression` its LinearRegression on
    flattened inputs, each standardized by the train split. Neither has settings. A baseline that
    cannot be fitted is left out, and the reason is printed.

    Args:
        train: Examples with one value as label, n of them; inputs are float vectors or uint8
            images. For signed integers, such as token ids of texts, which have no linear meaning,
            the linear regression is left out.
        test: Examples to predict, m of them.

    Returns:
        Predicted values of each baseline, float64 (m,).

    Example:
        baseline_regressions(data.train, data.test)["linear_regression"]
    """
    from sklearn.dummy import DummyRegressor  # takes a second to import

    values = np.asarray(train.labels[train.rows], np.float64)
    if not len(values) or not np.isfinite(values).all():
        return _left_out("baselines", "train has no values, or one that is not finite")
    mean = DummyRegressor().fit(np.zeros((len(train), 1)), values)
    predicted = {"mean_baseline": mean.predict(np.zeros((len(test), 1)))}
    return predicted | _linear_regression(train, values, test)


def _linear_regression(train: Split, values: np.ndarray, test: Split) -> dict[str, np.ndarray]:
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    inputs = train.inputs
    if inputs.dtype.kind not in "fub":
        return _left_out("linear regression", f"inputs are {inputs.dtype}, not floats or images")
    count = len(train) * math.prod(inputs.shape[1:])
    if count > REGRESSION_VALUES:
        return _left_out("linear regression", f"{count:,} input values of train are too many")
    model = make_pipeline(StandardScaler(copy=False), LinearRegression(copy_X=False))
    try:
        train_x, test_x = (
            split.take(np.arange(len(split)))[0].reshape(len(split), -1).astype(np.float64)
            for split in (train, test)
        )
        with np.errstate(over="ignore", invalid="ignore"):  # the result is checked below
            predicted = model.fit(train_x, values).predict(test_x)
    except ValueError as error:  # not finite, no convergence, no inputs
        return _left_out("linear regression", first_line(error))
    if not np.isfinite(predicted).all():
        return _left_out("linear regression", "a prediction is not finite")
    return {"linear_regression": predicted}


def _left_out(what: str, reason: str) -> dict[str, np.ndarray]:
    print(f"not compared with {what}: {reason}", flush=True)
    return {}
