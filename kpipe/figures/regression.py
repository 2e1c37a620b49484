"""Figures of a regression: predicted against true values, and residuals."""

import math
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import EngFormatter, NullLocator

from ..measures.intervals import interval_of_mean, sign_of
from ..records import Run
from . import style
from .style import BLUE, INK, VERMILION, WIDTH

MAX_POINTS = 5000  # drawn individually; more points are counted in hexagons
CELLS = 40  # hexagons across
GROUP, MAX_GROUPS = 20, 10  # minimum examples per mean of residuals, and maximum number of means
MAX_BINS = 60
MINUS, _SPACE = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
LARGE = 1e5  # from here on an axis counts in thousands, millions, ...
# Starts with a blue that is distinct from white.
COUNTS = ListedColormap(colormaps["Blues"](np.linspace(0.3, 1, 256)))
# The line of exact predictions can be seen on white and on the darkest blue.
EXACT: dict[str, Any] = {
    "color": INK,
    "linestyle": "--",
    "path_effects": [withStroke(linewidth=3, foreground="white")],
    "zorder": 3,
}


def predicted_against_true(run: Run) -> Figure | None:
    """Predicted against true values of the test examples; exact predictions lie on the line."""
    values = _values(run)
    if values is None:
        return None
    true, predicted, undefined = values
    figure = style.new_figure(WIDTH)
    axes = figure.subplots()
    low, high = _limits(np.concatenate([true, predicted]))
    axes.plot([low, high], [low, high], label="exact", **EXACT)
    _draw_points(figure, axes, true, predicted, (low, high, low, high), shape=1.0)
    _set_limits(axes, (low, high), (low, high))
    axes.set_aspect("equal")
    name = _name(run)
    axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}")
    axes.grid(color=style.GRID)
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", frameon=False)
    error, linear, share = (
        run.metrics.get(key) or {"value": None} for key in ("mae", "linear_regression_mae", "r2")
    )
    title = undefined
    if error["value"] is not None:
        title = f"Predictions are off by {interval_of(error)} on average"
        if linear["value"] is not None:
            title += f", linear regression by {number_of(linear['value'])}"
        if share["value"] is not None:
            title += f"; R²{_SPACE}{interval_of(share)}"
    lines = style.set_title(figure, title or f"{len(true):,} test examples")
    figure.set_figheight(WIDTH + 0.19 * lines + (0 if len(true) <= MAX_POINTS else 0.5))
    return figure


def residuals(run: Run) -> Figure | None:
    """Residuals (true minus predicted value) of the test examples, and their distribution."""
    values = _values(run)
    if values is None:
        return None
    true, predicted, undefined = values
    left = true - predicted
    figure = style.new_figure(4.2)
    axes, histogram = figure.subplots(1, 2, sharey=True, width_ratios=[3, 1])
    limits = (*_limits(predicted), *_limits(np.append(left, 0.0)))
    axes.axhline(0, label="exact", **EXACT)
    _draw_points(figure, axes, predicted, left, limits, shape=0.7)
    _draw_means(axes, predicted, left)
    _set_limits(axes, limits[:2], limits[2:])
    name = _name(run)
    axes.set(xlabel=f"predicted {name}", ylabel=f"true {MINUS} predicted")
    style.legend_above(axes, ncols=2, fontsize=9, columnspacing=1)
    edges = np.histogram_bin_edges(left, "auto")
    if len(edges) > MAX_BINS + 1:
        edges = np.linspace(left.min(), left.max(), MAX_BINS + 1)
    histogram.hist(left, bins=edges, orientation="horizontal", color=BLUE, linewidth=0)
    histogram.axhline(0, **EXACT)
    histogram.xaxis.set_major_formatter("{x:,.0f}")
    histogram.set_xlabel("examples")
    histogram.tick_params(axis="y", length=0)
    histogram.spines[["top", "right"]].set_visible(False)
    for each in (axes, histogram):
        each.grid(color=style.GRID)
        each.set_axisbelow(True)
    style.set_title(figure, undefined or _finding(left))
    return figure


def _values(run: Run) -> tuple[np.ndarray, np.ndarray, str] | None:
    """Returns true and predicted values where both are finite, and a sentence about the others."""
    if "value" not in run.predictions:
        return None
    true, predicted = (run.predictions[key].astype(float) for key in ("label", "value"))
    finite = np.isfinite(true) & np.isfinite(predicted)
    if not finite.any():
        return None
    missing = len(true) - int(finite.sum())
    text = (
        f"{missing:,} of {len(true):,} test examples have no finite prediction" if missing else ""
    )
    return true[finite], predicted[finite], text


def _name(run: Run) -> str:
    return style.shorten(run.label_names[0], 30) if run.label_names else "value"


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Returns the range of the values, with a margin."""
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
    return low - margin, high + margin


def _set_limits(axes: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    axes.set(xlim=x, ylim=y)
    for axis, limits in ((axes.xaxis, x), (axes.yaxis, y)):
        if max(map(abs, limits)) >= LARGE:  # otherwise 1e7 would be written apart from the ticks
            axis.set_major_formatter(EngFormatter(sep=_SPACE))


def _draw_points(
    figure: Figure,
    axes: Axes,
    x: np.ndarray,
    y: np.ndarray,
    extent: tuple[float, float, float, float],
    shape: float,
) -> None:
    """Draws every example as a point, or with too many of them their number in each hexagon.

    Args:
        figure: Figure of the axes.
        axes: Axes to draw in.
        x: (n,).
        y: (n,).
        extent: Left, right, lower and upper limit.
        shape: Ratio of the axes' height to their width.
    """
    if len(x) <= MAX_POINTS:
        # Many points are drawn small and transparent.
        size, alpha = (24, 0.8) if len(x) <= 100 else (14, 0.6) if len(x) <= 1000 else (7, 0.4)
        axes.scatter(x, y, s=size, color=BLUE, alpha=alpha, linewidths=0)
        return
    grid = (CELLS, round(CELLS * shape / math.sqrt(3)))  # regular hexagons
    look: dict[str, Any] = {"bins": "log", "cmap": COUNTS, "linewidths": 0.2}
    cells = axes.hexbin(x, y, gridsize=grid, extent=extent, mincnt=1, **look)
    bar = figure.colorbar(cells, ax=axes, location="bottom", pad=0.02, aspect=40, format="{x:,.0f}")
    bar.ax.xaxis.set_minor_locator(NullLocator())
    bar.set_label("test examples in a cell")
    bar.outline.set_visible(False)


def _draw_means(axes: Axes, predicted: np.ndarray, left: np.ndarray) -> None:
    """Draws mean residuals of equally large groups, by prediction, with their intervals."""
    groups = min(MAX_GROUPS, len(left) // GROUP)
    if groups < 2:
        return
    parts = np.array_split(np.argsort(predicted, kind="stable"), groups)
    x = [predicted[part].mean() for part in parts]
    means = [interval_of_mean(left[part]) for part in parts]
    value, low, high = (np.array([mean[key] for mean in means]) for key in ("value", "low", "high"))
    look: dict[str, Any] = {
        "fmt": "s",
        "color": VERMILION,
        "markersize": 4,
        "elinewidth": 1.5,
        "zorder": 4,
    }
    label = "group means, 95 % interval"
    axes.errorbar(x, value, yerr=[value - low, high - value], label=label, **look)


def _finding(left: np.ndarray) -> str:
    """Writes whether predictions are too high or too low on average, and their typical error."""
    half = f"half lie within ±{number_of(float(np.median(np.abs(left))))}"
    mean = interval_of_mean(left)
    if len(left) < 2:
        return f"The residual is {number_of(mean['value'], signed=True)}"
    direction = {1: "low", -1: "high", 0: ""}[sign_of(mean)]
    if not direction:
        return f"No visible bias: residuals average {interval_of(mean, signed=True)}, {half}"
    value, *ends = (abs(mean[key]) for key in ("value", "low", "high"))
    size = {"value": value, "low": min(ends), "high": max(ends)}
    return f"Predictions are too {direction} by {interval_of(size)} on average; {half}"


def interval_of(entry: dict, signed: bool = False) -> str:
    """Formats a value and its interval with equal decimals: three digits of half the interval."""
    value, low, high = (entry[key] for key in ("value", "low", "high"))
    if low is None or high <= low:
        return number_of(value, signed)
    decimals = 2 - math.floor(math.log10((high - low) / 2))
    if not -3 <= decimals <= 6:
        value, low, high = (number_of(x, signed) for x in (value, low, high))
    else:
        form = f"{'+' if signed else ''},.{max(0, decimals)}f"
        value, low, high = (f"{x:{form}}".replace("-", MINUS) for x in (value, low, high))
    return f"{value}{_SPACE}[{low},{_SPACE}{high}]"


def number_of(value: float, signed: bool = False) -> str:
    """Formats three significant digits, or all digits before the point."""
    form = ",.0f" if 1000 <= abs(value) < 1e7 else ".3g"
    return f"{value:{'+' if signed else ''}{form}}".replace("-", MINUS)
