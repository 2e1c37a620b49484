"""Figures of a comparison of runs: the metric of every seed, and curves of any length."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from .. import formatting
from ..records import Comparison
from . import style
from .style import GREY, INK

COLORED = 7  # cells; with more the best have colours
NAMED = 46  # characters of a line of the legend
BESIDE = 20  # characters of names that fit side by side
LINE = 24  # characters of a line beside a row


def metric_by_cell(comparison: Comparison) -> Figure | None:
    """The test metric with every seed, and its mean with a 95 % interval."""
    ranked = comparison.ranked
    if not ranked:
        return None
    metric, colors = comparison.metric, _colors(comparison)
    cells, _ = _names(comparison)
    names = [_lines(cells[i], LINE) for i in ranked]
    figure = style.new_figure(1.4 + max(0.38, 0.17 * max(map(len, names))) * len(ranked))
    axes = figure.subplots()
    for row, i in enumerate(ranked):
        cell = comparison.cells[i]
        values, (mean, low, high) = cell.values(metric), style.bounds(cell.mean(metric))
        if np.isfinite([low, high]).all():
            axes.plot([low, high], [row, row], color=colors[i], linewidth=2, solid_capstyle="butt")
        axes.plot(mean, row, "|", color=INK, markersize=13, markeredgewidth=2, zorder=3)
        look: Any = {"color": colors[i], "markersize": 5, "markeredgecolor": "white"}
        axes.plot(list(values.values()), [row] * len(values), "o", zorder=2, alpha=0.85, **look)
    style.list_rows(axes, list(map("\n".join, names)), 9 if len(ranked) <= 20 else 7)
    share = formatting.is_share(metric)
    if share:
        axes.xaxis.set_major_formatter(style.PercentTicks())
    axes.xaxis.set_major_locator(MaxNLocator(5))
    seeds = max(len(comparison.cells[i].runs) for i in ranked)
    of = "mean over seeds" if seeds > 1 else "test examples"
    axes.set_xlabel(f"test {formatting.with_unit(metric)}\nlines: 95 %, {of}", fontsize=9)
    best = comparison.cells[ranked[0]]
    value = formatting.number(metric, best.mean(metric)["value"])
    name = style.shorten(best.name, 50)
    style.set_title(
        figure, f"Best mean: {name}, {value}" if len(ranked) > 1 else f"{name}: {value}"
    )
    return figure


def curves_by_epoch(comparison: Comparison) -> Figure | None:
    """Curves by epoch, a thin line for each seed."""
    return _curves(comparison, "epoch")


def curves_by_seconds(comparison: Comparison) -> Figure | None:
    """The same curves by seconds of training and validation; dotted: the value timed above."""
    return _curves(comparison, "seconds")


def _curves(comparison: Comparison, by: str) -> Figure | None:
    name = comparison.curve
    if not name:
        return None
    colors = _colors(comparison)
    lines: dict[str, Line2D] = {}  # by label, the best last
    names, key = _names(comparison)
    columns = 2 if max(map(len, names)) <= BESIDE else 1
    broken = ["\n".join(_lines(name, NAMED)) for name in names]
    shown = sum(label.count("\n") + 1 for label, c in zip(broken, colors, strict=True) if c != GREY)
    rows = -(-(shown + (GREY in colors)) // columns) + (key is not None)
    figure = style.new_figure(3.3 + 0.18 * rows)
    axes = figure.subplots()
    order = {i: rank for rank, i in enumerate(comparison.ranked)}
    for i, _, run in sorted(comparison.runs, key=lambda item: -order.get(item[0], len(order))):
        values = np.array([np.nan if v is None else v for v in run.history[name]], float)
        x = _places(run.history, by, len(values))
        if x is None:
            continue
        grey = colors[i] == GREY
        label = "others" if grey else broken[i]
        marker: Any = {"marker": "o", "markersize": 3} if len(values) == 1 else {}
        (line,) = axes.plot(
            x,
            values,
            color=colors[i],
            linewidth=0.8 if grey else 1.1,
            alpha=0.5 if grey else 0.85,
            zorder=1 if grey else 2,
            **marker,
        )
        lines.setdefault(label, line)
    if not lines:
        return None
    _finish(axes, comparison, by)
    if len(comparison.cells) > 1:  # the best first, as in the table
        axes.legend(
            [*lines.values()][::-1],
            [*lines][::-1],
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=columns,
            title=key and style.escape(key),
            title_fontsize=8,
            alignment="left",
            fontsize=8,
            frameon=False,
            borderaxespad=0.2,
        )
    what = formatting.words(name.replace("val_", "validation "))
    by_what = "epoch" if by == "epoch" else "time"
    style.set_title(figure, f"{what[0].upper()}{what[1:]} by {by_what}")
    return figure


def _places(history: dict[str, list], by: str, count: int) -> np.ndarray | None:
    values = history.get(by)
    if not values or any(value is None for value in values):
        return None if by == "seconds" else np.arange(1.0, count + 1)
    return np.cumsum(values) if by == "seconds" else np.array(values, float)


def _finish(axes: Axes, comparison: Comparison, by: str) -> None:
    name = comparison.curve
    axes.set_ylabel(formatting.words(name.replace("val_", "validation ")))
    if formatting.is_share(name):
        axes.yaxis.set_major_formatter(style.PercentTicks())
    if by == "epoch":
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    else:
        axes.set_xlabel("seconds of training and validation")
        axes.set_xlim(left=0)
        if comparison.threshold is not None:
            axes.axhline(comparison.threshold, color=GREY, linestyle=":", linewidth=1.2)
    axes.grid(color=style.GRID)


def _names(comparison: Comparison) -> tuple[list[str], str | None]:
    """Returns the cells' names; if all differ in one key only, their values, and the key."""
    keys = {key for cell in comparison.cells for key in cell.keys}
    if len(keys) == 1 and all(cell.keys for cell in comparison.cells):
        (key,) = keys
        values = [str(cell.keys[key]) for cell in comparison.cells]
        if all(values):  # an empty text would be no label
            return values, key
    return [cell.name for cell in comparison.cells], None


def _lines(name: str, width: int) -> list[str]:
    """Breaks a cell's name between its keys, and a long key where a word of it ends."""
    lines: list[str] = []
    for key in name.split(", "):
        if lines and len(f"{lines[-1]}, {key}") <= width:
            lines[-1] += f", {key}"
        else:
            lines.append(key)
    lines = [f"{line}," for line in lines[:-1]] + lines[-1:]
    return [style.escape(part) for line in lines for part in style.break_lines(line, width + 1)]


def _colors(comparison: Comparison) -> list[Any]:
    """Returns a colour for each cell; of many cells only the best have one."""
    count = len(comparison.cells)
    if count <= COLORED:
        return style.class_colors(count)
    best = dict(zip(comparison.ranked[:COLORED], style.class_colors(COLORED), strict=False))
    return [best.get(i, GREY) for i in range(count)]
