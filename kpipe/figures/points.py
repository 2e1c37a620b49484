"""Figures of points in the plane."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..records import Run
from . import style
from .style import INK

MAX_RIGHT_POINTS = 1000  # correct points drawn at most; all mistakes are drawn
MAX_POINTS = 5000  # points drawn around suspects
MAX_NAMED_POINTS = 16  # up to here, points are annotated, such as the rows of a truth table
GRID_SIZE = 400  # cells on a side
LEGEND: Any = {"handlelength": 1, "handletextpad": 0.3, "columnspacing": 1.2}


def decision_regions(run: Run) -> Figure | None:
    """The plane coloured by predicted class, test points by true class; mistakes are circled."""
    if not style.has_classes(run) or run.data is None or tuple(run.data.input_shape) != (2,):
        return None
    truth = run.predictions["label"]
    points = np.asarray(run.test_inputs(np.arange(len(truth))))
    wrong = run.predictions["probabilities"].argmax(axis=1) != truth
    few = len(points) <= MAX_NAMED_POINTS
    low, high = points.min(axis=0), points.max(axis=0)
    margin = (0.3 if few else 0.06) * np.where(high > low, high - low, 1.0)
    low, high = low - margin, high + margin

    colors = style.class_colors(len(run.label_names))
    names = [style.shorten(name, 18) for name in run.label_names]
    columns = max(1, min(len(names) + 1, 45 // (max(map(len, names)) + 4)))
    shape = float(np.clip((high[1] - low[1]) / (high[0] - low[0]), 0.5, 1.1))
    legend_rows = -(-(len(names) + 1) // columns)
    texts = 0.7 if few else 1.2  # inches: title, names of the axes, a note
    figure = style.new_figure(texts + 0.2 * legend_rows + 4.3 * shape)
    axes = figure.subplots()
    _color_regions(axes, run.model, low, high, colors)
    draw = _draw_few if few else _draw_many
    draw(axes, points, truth, wrong, colors, names)
    classes = [*zip(names, colors, strict=True)]
    style.legend_above(axes, classes, ncols=columns, **LEGEND)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    note = ""
    if (right := int(np.sum(~wrong))) > MAX_RIGHT_POINTS:
        note = f"\ndrawn: all mistakes, {MAX_RIGHT_POINTS:,} of {right:,} correct points"
    axes.set(xlabel=f"first input{note}", ylabel="second input")
    style.set_title(figure, _finding(points, wrong, few))
    return figure


def suspects_in_plane(
    points: np.ndarray, labels: np.ndarray, suspects: np.ndarray, names: Sequence[str]
) -> Figure:
    """Points of the plane by given label, with circles around those whose label may be wrong.

    Args:
        points: (n, 2).
        labels: int (n,), given classes.
        suspects: int (m,), positions of the suspects.
        names: Name of each class.
    """
    wrong = np.zeros(len(points), bool)
    wrong[suspects] = True
    colors, shown = style.class_colors(len(names)), [style.shorten(name, 18) for name in names]
    figure = style.new_figure(6.0)
    axes = figure.subplots()
    _draw_many(axes, points, labels, wrong, colors, shown, "suspect", MAX_POINTS)
    style.legend_above(axes, [*zip(shown, colors, strict=True)], ncols=6, **LEGEND)
    axes.set(xlabel="first input", ylabel="second input")
    others = min(MAX_POINTS, len(points) - len(suspects))
    style.set_title(figure, f"All {len(suspects):,} suspects, circled, and {others:,} other points")
    return figure


def _color_regions(
    axes: Axes, model: keras.Model, low: np.ndarray, high: np.ndarray, colors: list
) -> None:
    """Predicts the class on a grid, and draws it in light colours."""
    steps = (np.arange(GRID_SIZE) + 0.5) / GRID_SIZE
    x, y = (low[:, None] + (high - low)[:, None] * steps).astype(np.float32)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    predicted = model.predict(grid, batch_size=8192, verbose=0)["probabilities"].argmax(axis=1)
    light = 0.7 + 0.3 * np.array(colors)
    image = light[predicted].reshape(GRID_SIZE, GRID_SIZE, 3)
    extent = (low[0], high[0], low[1], high[1])
    axes.imshow(image, origin="lower", extent=extent, aspect="auto", interpolation="nearest")


def _draw_many(
    axes: Axes,
    points: np.ndarray,
    truth: np.ndarray,
    wrong: np.ndarray,
    colors: list,
    names: list[str],
    circled: str = "mistake",
    most: int = MAX_RIGHT_POINTS,
) -> None:
    """Draws small points, mistakes last and larger."""
    right, mistakes = np.flatnonzero(~wrong), np.flatnonzero(wrong)
    shown = min(len(right), most)
    right = np.random.default_rng(0).choice(right, shown, replace=False)
    rgb = np.array(colors)
    axes.scatter(points[right, 0], points[right, 1], s=9, c=rgb[truth[right]], linewidths=0)
    # Many mistakes would hide the picture below them.
    size, width = (20, 0.9) if len(mistakes) <= 500 else (9, 0.5)
    look: Any = {"s": size, "c": rgb[truth[mistakes]], "edgecolors": INK, "linewidths": width}
    axes.scatter(points[mistakes, 0], points[mistakes, 1], **look)
    ring: Any = {"color": "none", "markeredgecolor": INK, "markersize": 6}
    axes.plot([], [], "o", label=circled, **ring)


def _draw_few(
    axes: Axes,
    points: np.ndarray,
    truth: np.ndarray,
    wrong: np.ndarray,
    colors: list,
    names: list[str],
) -> None:
    """Draws large points, each annotated with its inputs and its class."""
    for point, label, mistaken in zip(points, truth, wrong, strict=True):
        axes.plot(*point, "o", color=colors[label], markersize=14, markeredgecolor="white")
        if mistaken:
            ring: Any = {"markersize": 25, "markeredgewidth": 2.5, "markeredgecolor": INK}
            axes.plot(*point, "o", color="none", **ring)
        text = f"{' '.join(f'{value:g}' for value in point)} → {names[label]}"
        place: Any = {"xytext": (0, 17), "textcoords": "offset points", "ha": "center"}
        axes.annotate(text, point, fontsize=12, color=INK, **place)


def _finding(points: np.ndarray, wrong: np.ndarray, few: bool) -> str:
    count = int(wrong.sum())
    if not few:
        share = f"{100 * (1 - count / len(points)):.1f} % of {len(points):,} test points correct"
        return f"{share}; the {count:,} mistakes are circled" if count else share
    if not count:
        return f"All {len(points)} samples correct" if len(points) > 1 else "The sample is correct"
    if count > 4:
        return f"{count} of {len(points)} samples remain misclassified"
    names = [f"({', '.join(f'{value:g}' for value in point)})" for point in points[wrong]]
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"The sample{'s' * (count > 1)} {listed} remain{'s' * (count == 1)} misclassified"
