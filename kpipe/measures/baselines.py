"""Baselines that a network is compared with."""

from collections.abc import Sequence

import numpy as np

REGRESSION_VALUES = 50_000_000  # train input values: 400 MB of float64, and the same again to fit


def bag_of_words(
    train_texts: Sequence[str], train_labels: np.ndarray, test_texts: Sequence[str]
) -> np.ndarray | None:
    """Classifies test texts by scikit-learn's TF-IDF with logistic regression.

    Both have default settings (words of two letters or more, L2 penalty with C = 1), except the
    number of iterations. The classifier sees which words a text contains, not their order. If it
    cannot be fitted, the reason is printed.

    Args:
        train_texts: The texts that the network was trained on, (n,).
        train_labels: int (n,).
        test_texts: The texts to classify, (m,).

    Returns:
        The predicted classes, int (m,); None if all texts have one class, or none has a word.

    Example:
        bag_of_words(["good film", "bad film"], np.array([1, 0]), ["a good one"])  # [1]
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second to import
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    classifier = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    try:
        return classifier.fit(train_texts, train_labels).predict(test_texts)
    except ValueError as error:
        _left_out("TF-IDF", str(error).partition("\n")[0])
        return None


def baseline_regressions(
    train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray
) -> dict[str, np.ndarray]:
    """Predicts test examples by the mean of train, and by linear least squares.

    `mean_baseline` is scikit-learn's DummyRegressor; `linear_regression` its LinearRegression on
    flattened inputs, each standardized by the train split. Neither has settings. A baseline that
    cannot be fitted is left out, and the reason is printed.

    Args:
        train_x: float (n, ...) vectors or uint8 (n, height, width, channels) images. For signed
            integers, such as token ids of texts, which have no linear meaning, the linear
            regression is left out.
        train_y: float (n,), the true values.
        test_x: (m, ...), like `train_x`.

    Returns:
        Predicted values of each baseline, float64 (m,).

    Example:
        train_x, train_y = np.array([[1.0], [2.0]]), np.array([3.0, 5.0])
        baseline_regressions(train_x, train_y, np.array([[4.0]]))["linear_regression"]  # [9.0]
    """
    from sklearn.dummy import DummyRegressor  # takes a second to import

    train_y = np.asarray(train_y, np.float64)
    if not len(train_y) or not np.isfinite(train_y).all():
        return _left_out("baselines", "train has no values, or one that is not finite")
    mean = DummyRegressor().fit(np.zeros((len(train_y), 1)), train_y)
    predicted = {"mean_baseline": mean.predict(np.zeros((len(test_x), 1)))}
    return predicted | _linear_regression(train_x, train_y, test_x)


def _linear_regression(
    train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray
) -> dict[str, np.ndarray]:
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if train_x.dtype.kind not in "fub" or test_x.dtype.kind not in "fub":
        return _left_out("linear regression", f"inputs are {train_x.dtype}, not floats or images")
    if train_x.size > REGRESSION_VALUES:
        return _left_out(
            "linear regression", f"{train_x.size:,} input values of train are too many"
        )
    model = make_pipeline(StandardScaler(copy=False), LinearRegression(copy_X=False))
    try:
        train, test = (x.reshape(len(x), -1).astype(np.float64) for x in (train_x, test_x))
        with np.errstate(over="ignore", invalid="ignore"):  # the result is checked below
            predicted = model.fit(train, train_y).predict(test)
    except (ValueError, MemoryError) as error:  # not finite, no convergence, no inputs
        return _left_out("linear regression", str(error).partition("\n")[0])
    if not np.isfinite(predicted).all():
        return _left_out("linear regression", "a prediction is not finite")
    return {"linear_regression": predicted}


def _left_out(what: str, reason: str) -> dict[str, np.ndarray]:
    print(f"not compared with {what}: {reason}", flush=True)
    return {}
