"""The figure of a gradient check."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..gradients import GradientCheck, VariableCheck
from . import style
from .style import BLUE, GREY, INK, VERMILION

SMALLEST = 1e-16  # errors of 0 are drawn here; of the order of rounding
LONGEST_NAME = 40


def gradient_check(check: GradientCheck, name: str) -> Figure:
    """Draws the error of every compared entry, and the Taylor test of all variables together.

    Args:
        check: Result of the gradient check.
        name: Name of the model or pipeline.
    """
    variables = check.variables
    figure = style.new_figure(3.4 + 0.19 * len(variables), width=6.0)
    heights = (1.2 + 0.19 * len(variables), 2.6)
    entries, taylor = figure.subplots(2, height_ratios=heights)
    _draw_entries(entries, check)
    _draw_taylor(taylor, check.taylor)
    failed = [variable for variable in variables if variable.verdict == check.verdict]
    if not check.passed:
        others = f" and {len(failed) - 1} more" * (len(failed) > 1)
        which = f"{style.shorten(failed[0].name, 30)}{others}"
        title = f"{name}: the gradient of {which} is {check.verdict.lower()}"
    else:
        largest = max(variable.error for variable in variables)
        title = f"{name}: gradients agree with differences to {largest:.0e}"
    style.set_title(figure, title)
    return figure


def _draw_entries(axes: Axes, check: GradientCheck) -> None:
    names = [_name(variable) for variable in check.variables]
    style.list_rows(axes, names, size=7.5)
    for row, variable in enumerate(check.variables):
        look: Any = {"color": BLUE if variable.passed else VERMILION, "alpha": 0.6, "linewidth": 0}
        errors = np.clip(variable.errors, SMALLEST, 1e3)
        axes.plot(errors, np.full(errors.shape, row), marker="o", markersize=3.5, **look)
    axes.axvline(check.tolerance, color=INK, linestyle="--", linewidth=1)
    axes.text(
        check.tolerance, -0.7, f" {check.tolerance:g} passes", fontsize=8, va="bottom", ha="center"
    )
    axes.set_xscale("log")
    axes.set_xlabel("relative error against differences (0 drawn at 1e-16)")


def _name(variable: VariableCheck) -> str:
    """Shortens a long path to its end, which is more informative than its start."""
    name = style.escape(style.truncate(variable.name[::-1], LONGEST_NAME)[::-1])
    return name if variable.passed else f"{variable.verdict}  {name}"


def _draw_taylor(axes: Axes, table: np.ndarray) -> None:
    steps, first, second = table.T
    for values, color, slope, label in (
        (first, BLUE, 1, "change of the loss"),
        (second, VERMILION, 2, "remainder after the gradient term"),
    ):
        shown = values > 0  # not NaN either
        if not shown.any():
            continue
        axes.plot(steps[shown], values[shown], color=color, marker=".", linewidth=1.4, label=label)
        # A guide with the expected slope, through a small step well above rounding.
        start = min(np.argmax(values > 1e3 * SMALLEST) + 2, len(steps) - 1)
        guide = values[start] * (steps / steps[start]) ** slope
        seen = (guide > max(values[shown].min() / 10, SMALLEST)) & (guide < 10 * first.max())
        look: Any = {"color": GREY, "linestyle": ":" if slope == 1 else "--", "linewidth": 1.2}
        axes.plot(steps[seen], guide[seen], label=f"slope {slope}", **look)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("step along a random direction, as a share of the variables' size")
    axes.set_ylabel("difference")
    axes.grid(color=style.GRID)
    if axes.lines:
        style.legend_above(axes, ncols=2, fontsize=8)
    else:
        center: Any = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, "no finite change of the loss", **center)
