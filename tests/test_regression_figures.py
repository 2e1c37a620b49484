"""Figures of a regression, on runs made up here."""

from types import SimpleNamespace

import matplotlib.figure
import numpy as np
import pytest

from kpipe import figures
from kpipe.figures.regression import MAX_POINTS
from kpipe.measures.regression import baseline_regression_metrics, regression_metrics

BOTH = (figures.predicted_against_true, figures.residuals)


def make_run(true, predicted, name="disease progression", **baselines) -> SimpleNamespace:
    true, predicted = np.asarray(true, np.float32), np.asarray(predicted, np.float32)
    metrics = regression_metrics(true, predicted)
    metrics |= baseline_regression_metrics(true, predicted, baselines)
    return SimpleNamespace(
        record={},
        history={},
        label_names=(name,),
        metrics=metrics,
        predictions={"index": np.arange(len(true)), "label": true, "value": predicted},
    )


def draw(n, bias=0.0, scale=1.0, name="disease progression"):
    """A run whose predictions are too high by `bias`."""
    random = np.random.default_rng(n)
    predicted = random.normal(152, 40, n)
    true = predicted + random.normal(0, 50, n)
    linear = scale * (predicted + 5)
    return make_run(scale * true, scale * (predicted + bias), name, linear_regression=linear)


def title(figure: matplotlib.figure.Figure) -> str:
    return " ".join(figure.get_suptitle().split())


def dashed(axes):
    """The line of exact predictions."""
    (line,) = [line for line in axes.lines if line.get_label() == "exact"]
    return line.get_xydata()


@pytest.mark.parametrize("n", [10, 45, 400, MAX_POINTS])
def test_every_test_example_is_a_point_at_its_true_and_predicted_value(n):
    run = draw(n)
    true, predicted = run.predictions["label"], run.predictions["value"]
    axes = figures.predicted_against_true(run).axes[0]
    drawn = axes.collections[0].get_offsets()
    np.testing.assert_allclose(drawn, np.column_stack([true, predicted]), rtol=1e-6)
    assert axes.get_aspect() == 1 and axes.get_xlim() == axes.get_ylim()
    low, high = axes.get_xlim()
    np.testing.assert_array_equal(dashed(axes), [[low, low], [high, high]])
    assert low < min(true.min(), predicted.min()) and high > max(true.max(), predicted.max())


@pytest.mark.parametrize("n", [10, 45, 400, MAX_POINTS])
def test_residuals_are_true_minus_predicted_beside_their_histogram(n):
    run = draw(n, bias=20)
    true, predicted = (run.predictions[key].astype(float) for key in ("label", "value"))
    axes, histogram = figures.residuals(run).axes
    drawn = axes.collections[0].get_offsets()
    np.testing.assert_allclose(drawn, np.column_stack([predicted, true - predicted]), atol=1e-4)
    np.testing.assert_array_equal(dashed(axes)[:, 1], [0, 0])
    bars = histogram.patches
    assert sum(bar.get_width() for bar in bars) == n
    for bar in bars:
        low, high = bar.get_y(), bar.get_y() + bar.get_height()
        inside = ((true - predicted >= low - 1e-9) & (true - predicted <= high + 1e-9)).sum()
        assert abs(inside - bar.get_width()) <= 1  # one on an edge may be in both


@pytest.mark.parametrize("draw_figure", BOTH)
@pytest.mark.parametrize("n", [MAX_POINTS + 1, 100_000])
def test_many_examples_are_counted_in_hexagons_and_none_is_lost(draw_figure, n):
    run = draw(n)
    run.predictions["label"][0] = 5000  # far from all others
    axes = draw_figure(run).axes[0]
    counts = axes.collections[0].get_array()
    assert counts.sum() == n and counts.min() == 1
    assert max(axes.get_xlim()[1], axes.get_ylim()[1]) > 4700


def test_group_means_are_those_of_equally_many_examples_by_prediction():
    predicted = np.arange(400.0)[::-1]
    true = predicted + np.where(predicted < 200, 10, -30)
    axes = figures.residuals(make_run(true, predicted)).axes[0]
    (means,) = axes.containers
    places = means.lines[0].get_xydata()
    np.testing.assert_allclose(places[:, 0], np.arange(19.5, 400, 40))
    np.testing.assert_allclose(places[:, 1], [10] * 5 + [-30] * 5)
    assert not figures.residuals(draw(39)).axes[0].containers


def test_the_title_has_error_and_r2_with_their_intervals_beside_linear_regression():
    run = draw(45)
    run.metrics["mae"] = {"value": 44.1234, "low": 38.2, "high": 50.05, "n": 45}
    run.metrics["r2"] = {"value": 0.45, "low": -0.3, "high": 0.5678, "n": 45}
    run.metrics["linear_regression_mae"]["value"] = 43.94
    assert title(figures.predicted_against_true(run)) == (
        "Predictions are off by 44.12 [38.20, 50.05] on average, linear regression by 43.9; "
        "R² 0.450 [−0.300, 0.568]"
    )
    del run.metrics["linear_regression_mae"]
    run.metrics["r2"] = {"value": None, "low": None, "high": None, "n": 45}
    found = title(figures.predicted_against_true(run))
    assert found == "Predictions are off by 44.12 [38.20, 50.05] on average"


@pytest.mark.parametrize(
    ("bias", "expected"),
    [
        (30, "Predictions are too high by 3"),
        (-30, "Predictions are too low by 2"),
        (0, "No visible bias: residuals average"),
    ],
)
def test_the_title_of_residuals_says_whether_there_is_a_bias(bias, expected):
    run = draw(400, bias)
    found = title(figures.residuals(run))
    assert found.startswith(expected)
    residual = run.predictions["label"].astype(float) - run.predictions["value"]
    assert f"half lie within ±{np.median(np.abs(residual)):.3g}" in found
    half = 1.959963984540054 * residual.std() / 20
    ends = sorted(np.abs([residual.mean() - half, residual.mean() + half]))
    if bias:
        assert f"[{ends[0]:.2f}, {ends[1]:.2f}] on average" in found


@pytest.mark.parametrize("draw_figure", BOTH)
def test_without_predicted_values_there_is_no_figure(draw_figure):
    run = draw(45)
    run.predictions["probabilities"] = run.predictions.pop("value")
    assert draw_figure(run) is None
    run = make_run(np.arange(5), np.full(5, np.nan))
    assert draw_figure(run) is None


@pytest.mark.parametrize("draw_figure", BOTH)
def test_what_is_not_finite_is_left_out_and_counted(draw_figure):
    predicted = np.arange(1000.0)
    predicted[:2] = np.nan, np.inf
    figure = draw_figure(make_run(np.arange(1000.0) + 1, predicted))
    assert title(figure) == "2 of 1,000 test examples have no finite prediction"
    assert len(figure.axes[0].collections[0].get_offsets()) == 998


@pytest.mark.parametrize("draw_figure", BOTH)
@pytest.mark.parametrize(
    "values", [([3], [4]), ([0], [0]), ([7, 7, 7], [7, 7, 7]), ([0.1] * 50, [0.2] * 50)]
)
def test_degenerate_values_are_drawn_without_a_warning(draw_figure, values):
    figure = draw_figure(make_run(*values))
    figure.draw_without_rendering()
    assert title(figure) and "nan" not in title(figure)
    low, high = figure.axes[0].get_ylim()
    assert low < high


@pytest.mark.parametrize("draw_figure", BOTH)
@pytest.mark.parametrize("n", [10, 45, 400, 20_000])
@pytest.mark.parametrize(("scale", "name"), [(1, "age"), (1e-5, "$x"), (3e4, "price " * 12)])
def test_no_text_is_cut_off(draw_figure, n, scale, name):
    figure = draw_figure(draw(n, scale=scale, name=name))
    figure.draw_without_rendering()
    drawn, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height


@pytest.mark.parametrize("draw_figure", BOTH)
def test_large_numbers_are_written_beside_their_ticks(draw_figure):
    figure = draw_figure(draw(45, scale=3e4))
    figure.draw_without_rendering()
    axes = figure.axes[0]
    for axis in (axes.xaxis, axes.yaxis):
        assert not axis.get_offset_text().get_text()
        assert any(
            label.get_text().endswith("\N{NO-BREAK SPACE}M") for label in axis.get_ticklabels()
        )
