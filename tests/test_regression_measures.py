"""Measures of a regression against scikit-learn, formulas by hand and simulated test splits."""

import json
import math

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics
from sklearn.linear_model import LinearRegression

from kpipe.data import Split
from kpipe.inputs import Rows
from kpipe.measures import baselines, intervals
from kpipe.measures.regression import baseline_regression_metrics, regression_metrics

NAMES = ("mae", "rmse", "r2", "explained_variance")


def draw(n, seed=0, tails="normal", bias=0.0):
    """Values of variance 2, and predictions with R² = 0.5 if there is no bias."""
    random = np.random.default_rng(seed)
    errors = random.standard_normal(n)
    if tails == "heavy":
        errors = random.standard_t(5, n) / math.sqrt(5 / 3)
    predictions = random.standard_normal(n)
    return predictions + errors, predictions + bias


@pytest.mark.parametrize("n", [2, 45, 500])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shift", "bias"), [(0, 0), (150, 0), (0, 3)])
def test_values_are_those_of_scikit_learn(n, dtype, shift, bias):
    values, predictions = (
        (part + shift).astype(dtype) for part in draw(n, seed=n, tails="heavy", bias=bias)
    )
    measured = regression_metrics(values, predictions)
    assert tuple(measured) == NAMES
    expected = [
        function(values.astype(float), predictions.astype(float))
        for function in (
            sklearn_metrics.mean_absolute_error,
            sklearn_metrics.root_mean_squared_error,
            sklearn_metrics.r2_score,
            sklearn_metrics.explained_variance_score,
        )
    ]
    np.testing.assert_allclose([measured[name]["value"] for name in NAMES], expected, rtol=1e-9)
    for entry in measured.values():
        assert list(entry) == ["value", "low", "high", "n"] and entry["n"] == n
        assert entry["low"] <= entry["value"] <= entry["high"]


def test_intervals_are_those_of_the_formulas_by_hand():
    values, predictions = np.array([1.0, 2.0, 3.0, 6.0]), np.array([1.0, 3.0, 1.0, 6.0])
    measured = regression_metrics(values, predictions)
    # |error| 0 1 2 0: mean 3/4, variance 11/16. error² 0 1 4 0: mean 5/4, variance 43/16.
    half = 1.959963984540054 * math.sqrt(11 / 16 / 4)
    assert measured["mae"]["low"] == 0 > 0.75 - half
    assert measured["mae"]["high"] == pytest.approx(0.75 + half)
    # The deviation of ln(mean of error²) is that of the mean over the mean; a root halves it.
    log_half = 1.959963984540054 * math.sqrt(43 / 16 / 4) / (5 / 4) / 2
    assert measured["rmse"]["value"] == pytest.approx(math.sqrt(5) / 2)
    assert measured["rmse"]["low"] == pytest.approx(math.sqrt(5) / 2 * math.exp(-log_half))
    assert measured["rmse"]["high"] == pytest.approx(math.sqrt(5) / 2 * math.exp(log_half))
    # (value - 3)² 4 1 0 9: mean 7/2. 1 - R² is 5/14, with the deviation of error² - 5/14 of these:
    rest = np.array([0, 1, 4, 0]) - 5 / 14 * np.array([4, 1, 0, 9])
    log_half = 1.959963984540054 * math.sqrt(np.mean(rest**2) / 4) / (5 / 4)
    assert measured["r2"]["value"] == pytest.approx(9 / 14)
    assert measured["r2"]["low"] == pytest.approx(1 - 5 / 14 * math.exp(log_half))
    assert measured["r2"]["high"] == pytest.approx(1 - 5 / 14 * math.exp(-log_half))
    # error 0 1 -2 0, less their mean: 1/16, 25/16, 49/16, 1/16; mean 19/16.
    rest = np.array([1, 25, 49, 1]) / 16 - 19 / 56 * np.array([4, 1, 0, 9])
    log_half = 1.959963984540054 * math.sqrt(np.mean(rest**2) / 4) / (19 / 16)
    assert measured["explained_variance"]["value"] == pytest.approx(37 / 56)
    assert measured["explained_variance"]["low"] == pytest.approx(1 - 19 / 56 * math.exp(log_half))


@pytest.mark.parametrize(
    ("n", "tails", "lowest"),
    [
        (45, "normal", (91.5, 90.1, 90.5, 90.1)),
        (500, "normal", (93.0, 93.0, 92.4, 92.5)),
        (45, "heavy", (90.4, 85.0, 88.7, 88.1)),
        (500, "heavy", (92.7, 90.3, 91.8, 91.6)),
    ],
)
def test_intervals_cover_the_truth_as_often_as_the_docstring_says(n, tails, lowest):
    """Within two points, three deviations of a share among 1,500."""
    # E|error|, of a normal and of Student's t with 5 degrees of freedom, both of variance 1.
    mae = {"normal": math.sqrt(2 / math.pi), "heavy": 4 / (math.sqrt(3) * math.pi)}[tails]
    truth = {"mae": mae, "rmse": 1.0, "r2": 0.5, "explained_variance": 0.5}
    covered = dict.fromkeys(NAMES, 0)
    for seed in range(1500):
        for name, entry in regression_metrics(*draw(n, seed, tails)).items():
            covered[name] += entry["low"] <= truth[name] <= entry["high"]
    for name, least in zip(NAMES, lowest, strict=True):
        assert least < 100 * covered[name] / 1500 < 97, name


def test_explained_variance_forgives_a_constant_error_and_r2_does_not():
    values, predictions = draw(400)
    biased = regression_metrics(values, predictions + 2)
    exact = regression_metrics(values, predictions)
    for key in ("value", "low", "high"):
        explained = biased["explained_variance"][key]
        assert explained == pytest.approx(exact["explained_variance"][key])
    assert biased["r2"]["high"] < 0 < exact["r2"]["low"]


def test_exact_predictions_leave_no_doubt():
    values, _ = draw(30)
    measured = regression_metrics(values, values.copy())
    for name, value in zip(NAMES, (0.0, 0.0, 1.0, 1.0), strict=True):
        assert measured[name] == {"value": value, "low": value, "high": value, "n": 30}


def test_an_error_is_never_below_zero_nor_a_share_above_one():
    values, predictions = np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.5])
    measured = regression_metrics(values, predictions)
    assert measured["mae"]["low"] == 0 < measured["rmse"]["low"]
    baseline = baseline_regression_metrics(values, values, {"mean_baseline": predictions})
    assert baseline["mean_baseline_mae"] == measured["mae"]
    assert measured["r2"]["high"] < 1 and measured["explained_variance"]["high"] < 1


UNDEFINED = {"value": None, "low": None, "high": None}


def test_one_example_has_an_error_and_no_interval():
    measured = regression_metrics(np.array([3.0]), np.array([5.0]))
    for name in ("mae", "rmse"):
        assert measured[name] == {"value": 2.0, "low": None, "high": None, "n": 1}
    for name in ("r2", "explained_variance"):
        assert measured[name] == UNDEFINED | {"n": 1}


@pytest.mark.parametrize("value", [0.0, 0.1, 1e30])
def test_equal_values_have_errors_and_no_share_that_is_explained(value):
    # The mean of ten times 0.1 is not 0.1 in floating point.
    values = np.full(10, value, np.float32)
    measured = regression_metrics(values, np.arange(10, dtype=np.float32))
    assert measured["mae"]["value"] > 0 < measured["rmse"]["low"]
    for name in ("r2", "explained_variance"):
        assert measured[name] == UNDEFINED | {"n": 10}


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", [0, 1, slice(None)])
def test_what_is_not_finite_is_undefined(wrong, where):
    pair = np.array(draw(20))
    pair[where, 3] = wrong
    assert regression_metrics(*pair) == dict.fromkeys(NAMES, UNDEFINED | {"n": 20})


def test_no_example_is_undefined():
    measured = regression_metrics(np.zeros(0), np.zeros(0))
    assert measured == dict.fromkeys(NAMES, UNDEFINED | {"n": 0})


@pytest.mark.parametrize("n", [0, 1, 2, 45])
def test_metrics_can_be_written_as_strict_json(n):
    values, predictions = (part.astype(np.float32) for part in draw(n))
    measured = regression_metrics(values, predictions)
    measured |= baseline_regression_metrics(values, predictions, {"linear_regression": values + 1})
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured


@pytest.mark.parametrize("shapes", [((3,), (3, 1)), ((3, 1), (3, 1)), ((3,), (4,))])
def test_shapes_that_would_be_broadcast_are_refused(shapes):
    with pytest.raises(ValueError, match=r"values of shape .* and predictions of shape"):
        regression_metrics(*map(np.ones, shapes))


# --- baselines -------------------------------------------------------------------------------


def make_data(n=60, width=3, seed=0):
    random = np.random.default_rng(seed)
    inputs = random.normal(5, 2, (n, width)).astype(np.float32)
    values = inputs @ np.arange(1, width + 1) + random.standard_normal(n)
    return inputs[:40], values[:40].astype(np.float32), inputs[40:], values[40:]


def predict(train_x, train_y, test_x):
    """The predictions of all baselines from arrays."""
    train = Split(Rows(train_x), train_y, np.arange(len(train_x)))
    test = Split(Rows(test_x), np.zeros(len(test_x)), np.arange(len(test_x)))
    return baselines.baseline_regressions(train, test)


def test_baselines_are_the_mean_and_least_squares_of_train():
    train_x, train_y, test_x, _ = make_data()
    predicted = predict(train_x, train_y, test_x)
    assert list(predicted) == ["mean_baseline", "linear_regression"]
    np.testing.assert_allclose(predicted["mean_baseline"], np.full(20, train_y.mean()), rtol=1e-6)
    with_ones = [np.column_stack([x, np.ones(len(x))]) for x in (train_x, test_x)]
    weights = np.linalg.lstsq(with_ones[0], train_y, rcond=None)[0]
    np.testing.assert_allclose(predicted["linear_regression"], with_ones[1] @ weights, rtol=1e-5)


def test_images_are_flattened_and_a_constant_pixel_does_no_harm():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (50, 3, 2, 1), dtype=np.uint8)
    images[:, 0, 0] = 7
    values = images.reshape(50, -1) @ np.arange(6.0)
    given = images.copy()
    predicted = predict(images[:40], values[:40], images[40:])
    np.testing.assert_allclose(predicted["linear_regression"], values[40:])
    np.testing.assert_array_equal(images, given)


def test_inputs_are_left_as_they_are():
    train_x, train_y, test_x, _ = (part.astype(np.float64) for part in make_data())
    given = train_x.copy(), test_x.copy()
    predict(train_x, train_y, test_x)
    np.testing.assert_array_equal(train_x, given[0])
    np.testing.assert_array_equal(test_x, given[1])


def spoilt(name):
    """Data of which a linear regression cannot be fitted."""
    train_x, train_y, test_x, _ = make_data()
    train_x, test_x = train_x.copy(), test_x.copy()
    if name == "missing":
        train_x[3, 1] = np.nan
    if name == "infinite at test":
        test_x[0, 0] = np.inf
    if name == "token ids":
        train_x, test_x = train_x.astype(np.int32), test_x.astype(np.int32)
    if name == "texts":
        train_x, test_x = train_x.astype(str), test_x.astype(str)
    if name == "empty":
        train_x, test_x = train_x[:, :0], test_x[:, :0]
    if name == "huge":
        train_x = train_x.astype(np.float64)
        train_x[0, 0] = 1e308
    if name == "huge at test":
        test_x = test_x.astype(np.float64)
        test_x[0, 2] = 1.7e308  # times its weight of 3: infinite
    return train_x, train_y, test_x


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "contains NaN"),
        ("infinite at test", "contains infinity"),
        ("token ids", "inputs are int32, not floats or images"),
        ("texts", "not floats or images"),
        ("empty", "0 feature"),
        ("huge", ""),
        ("huge at test", "a prediction is not finite"),
    ],
)
def test_a_regression_that_cannot_be_fitted_is_left_out_with_its_reason(name, reason, capsys):
    predicted = predict(*spoilt(name))
    assert list(predicted) == ["mean_baseline"]
    printed = capsys.readouterr().out
    assert printed.startswith("not compared with linear regression: ") and reason in printed
    assert printed.count("\n") == 1


def test_a_regression_of_too_many_values_is_left_out(monkeypatch, capsys):
    def must_not(*_, **__):
        raise AssertionError("too late")

    monkeypatch.setattr(baselines, "REGRESSION_VALUES", 100)
    monkeypatch.setattr(Rows, "take", must_not)
    assert list(predict(*make_data()[:3])) == ["mean_baseline"]
    assert "120 input values of train are too many" in capsys.readouterr().out


def test_without_true_values_there_is_no_baseline(capsys):
    train_x, train_y, test_x, _ = make_data()
    assert predict(train_x, train_y * np.nan, test_x) == {}
    assert predict(train_x[:0], train_y[:0], test_x) == {}
    assert capsys.readouterr().out.count("not compared with baselines: train has no values") == 2


def test_the_difference_to_linear_regression_is_paired():
    random = np.random.default_rng(0)
    values = random.normal(0, 5, 200)
    linear = values + random.normal(0, 3, 200)
    network = values + 0.9 * (linear - values)  # always 10 % closer
    measured = baseline_regression_metrics(
        values, network, {"mean_baseline": np.zeros(200), "linear_regression": linear}
    )
    assert list(measured) == [
        *("mean_baseline_mae", "linear_regression_mae", "mae_above_linear_regression"),
    ]
    for name, predicted in (("mean_baseline", np.zeros(200)), ("linear_regression", linear)):
        expected = regression_metrics(values, predicted)["mae"]
        assert measured[f"{name}_mae"] == expected
    above = measured["mae_above_linear_regression"]
    assert above["value"] == pytest.approx(-0.1 * np.abs(linear - values).mean())
    assert intervals.sign_of(above) == -1
    # Two intervals of their own overlap: they do not see that both err on the same examples.
    network_mae = regression_metrics(values, network)["mae"]
    assert network_mae["high"] > measured["linear_regression_mae"]["low"]


def test_no_baseline_has_no_metric_and_one_example_no_difference():
    values = np.array([1.0])
    assert baseline_regression_metrics(values, values, {}) == {}
    measured = baseline_regression_metrics(values, values, {"linear_regression": values + 2})
    assert measured["mae_above_linear_regression"]["value"] == -2
    assert measured["mae_above_linear_regression"]["low"] is None


def test_an_extrapolation_of_linear_regression_is_that_of_scikit_learn():
    train_x, train_y, test_x, _ = make_data(width=45)  # more columns than rows
    predicted = predict(train_x, train_y, test_x)["linear_regression"]
    center, scale = train_x.astype(float).mean(0), train_x.astype(float).std(0)
    model = LinearRegression().fit((train_x - center) / scale, train_y)
    np.testing.assert_allclose(predicted, model.predict((test_x - center) / scale), rtol=1e-3)
