"""Figures that compare the finished runs of one pipeline."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import formatting
from ..records import Run
from . import style
from .style import BLUE, CLASS_COLORS, GREY, INK, VERMILION

BEHIND = 0.02  # below the best validation accuracy: the threshold whose time is measured
COLUMNS = (
    "",
    "test accuracy",
    "parameters",
    "epochs",
    "s per epoch",
    "time to {threshold}",
)
# Columns of the history that the figures draw.
DRAWN = ("epoch", "seconds", "accuracy", "val_accuracy", "loss", "val_loss")


def variants(run: Run, key: str) -> dict[Any, Run]:
    """Returns this run and its siblings that differ only in one key, by their value of that key.

    A sibling that lacks values to draw is left out, and a line is printed.
    """
    found = {}
    if key in run.record.hyperparameters:
        found[run.record.hyperparameters[key]] = run
    for other in run.siblings(
        lambda record: key in record.hyperparameters and run.is_variant(record, {key})
    ):
        if missing := _missing(other):
            print(f"{other.folder.name} is not compared: {missing} is missing", flush=True)
        else:
            found.setdefault(other.record.hyperparameters[key], other)
    return found


def _missing(run: Run) -> str:
    """Names a value that is drawn of every run and missing in this one, or returns ""."""
    record = run.record
    for name in DRAWN:
        values = run.history.get(name)
        if not values or not all(isinstance(x, (int, float)) and np.isfinite(x) for x in values):
            return f"{name} in history.csv"
    if not np.isfinite(style.bounds(run.metrics.get("accuracy") or {})).all():
        return "accuracy in metrics.json"
    if not record.model:
        return "model in run.json"
    if not record.training:
        return "training in run.json"
    if record.training.best_epoch not in run.history["epoch"]:
        return "best epoch in history.csv"
    return ""


def architectures(run: Run) -> Figure | None:
    """All architectures with a run in this folder, compared by accuracy, size and time."""
    found = variants(run, "architecture")
    if len(found) < 2:
        return None
    best = max(max(other.history["val_accuracy"]) for other in found.values())
    threshold = best - BEHIND
    figure = style.new_figure(3.9 + 0.33 * (len(found) + 2), 7.5)
    table, axes = figure.subplots(2, height_ratios=(0.33 * (len(found) + 2), 3))
    # Sorted by name, so that an architecture has the same colour in all reports.
    colors = dict(zip(sorted(found), [*CLASS_COLORS, INK, GREY] * len(found), strict=False))
    rows = sorted(found.items(), key=lambda item: -_accuracy(item[1])[0])
    for name, other in rows:
        seconds = np.cumsum(other.history["seconds"])
        axes.plot(
            seconds,
            other.history["val_accuracy"],
            marker="o",
            markersize=4,
            color=colors[name],
            label=formatting.words(name),
        )
    axes.axhline(threshold, color=GREY, linestyle=":", linewidth=1)
    note = f"dotted: {100 * threshold:.1f} %, {100 * BEHIND:g} points below the best"
    axes.set_xlabel(f"seconds of training and validation; {note}")
    axes.set_ylabel("validation accuracy")
    axes.yaxis.set_major_formatter(style.PercentTicks())
    axes.grid(color=style.GRID)
    axes.legend(loc="lower right", fontsize=8)
    _draw_table(table, [_row(name, other, threshold) for name, other in rows], threshold, run)
    name, first = rows[0]
    accuracy = formatting.measured("accuracy", first.metrics["accuracy"])
    title = f"Highest test accuracy of {len(found)}: {formatting.words(name)}, {accuracy}"
    style.set_title(figure, title)
    return figure


def _accuracy(run: Run) -> tuple[float, float, float]:
    return style.bounds(run.metrics["accuracy"])


def _row(name: str, other: Run, threshold: float) -> tuple[str, ...]:
    history, model = other.history, other.record.model
    reached = np.flatnonzero(np.array(history["val_accuracy"]) >= threshold)
    time = f"{np.cumsum(history['seconds'])[reached[0]]:.0f} s" if reached.size else "–"
    return (
        formatting.words(name),
        formatting.measured("accuracy", other.metrics["accuracy"]),
        formatting.count(model.parameters if model else None),
        f"{len(history['seconds'])}",
        f"{np.median(history['seconds']):.1f}",
        time,
    )


def _draw_table(axes: Axes, rows: list[tuple[str, ...]], threshold: float, run: Run) -> None:
    if "bag_of_words_baseline" in run.metrics:
        baseline = formatting.measured("accuracy", run.metrics["bag_of_words_baseline"])
        rows = [*rows, ("TF-IDF, logistic regression", baseline)]
    if "ngrams_baseline" in run.metrics:
        baseline = formatting.measured("accuracy", run.metrics["ngrams_baseline"])
        rows = [*rows, ("NB-weighted n-grams", baseline)]
    head = [column.format(threshold=f"{100 * threshold:.1f} %") for column in COLUMNS]
    places = (0.0, 0.51, 0.65, 0.72, 0.84, 1.0)
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -1.6))
    axes.axis("off")
    for row, cells in enumerate([head, *rows], start=-1):
        for place, cell in zip(places, cells, strict=False):
            look: Any = {"ha": "right" if place else "left", "va": "center", "fontsize": 9}
            axes.text(place, row, cell, color=GREY if row < 0 else INK, **look)
        axes.axhline(row + 0.5, color=style.GRID, linewidth=0.8)


def regularizers(run: Run) -> Figure | None:
    """Accuracy and loss on train and validation, for each regularizer."""
    found = variants(run, "regularizer")
    if len(found) < 2:
        return None
    names = sorted(found, key=lambda name: (name != "none", name))
    figure = style.new_figure(4.6, max(7.5, 1.9 * len(names)))
    rows = figure.subplots(2, len(names), sharex=True, sharey="row")
    gaps = {}
    for column, name in zip(rows.T, names, strict=True):
        other, history = found[name], found[name].history
        best = other.record.training.best_epoch if other.record.training else 0
        at = history["epoch"].index(best)
        for axes, metric in zip(column, ("accuracy", "loss"), strict=True):
            look: Any = {"linewidth": 1.6}
            axes.plot(history["epoch"], history[metric], color=BLUE, label="train", **look)
            axes.plot(
                history["epoch"],
                history[f"val_{metric}"],
                color=VERMILION,
                label="validation",
                **look,
            )
            axes.axvline(best, color=GREY, linestyle=":", linewidth=1)
            axes.grid(color=style.GRID)
        gaps[name] = history["val_loss"][at] - history["loss"][at]
        points = 100 * (history["accuracy"][at] - history["val_accuracy"][at])
        test = formatting.percent(_accuracy(other)[0])
        lines = (formatting.words(name), f"gap {points:.1f} points", f"test {test}")
        column[0].set_title("\n".join(lines), fontsize=9, loc="left")
        column[1].set_title(f"gap {gaps[name]:.2f}", fontsize=9, loc="left")
    rows[0, 0].set_ylabel("accuracy")
    rows[1, 0].set_ylabel("loss")
    rows[0, 0].yaxis.set_major_formatter(style.PercentTicks())
    rows[0, -1].legend(loc="lower right", fontsize=8)
    figure.supxlabel("epoch; dotted: the best epoch, where gaps are measured", fontsize=9)
    widest, narrowest = (choose(gaps, key=lambda name: gaps[name]) for choose in (max, min))
    title = (
        f"Validation loss is {gaps[widest]:.2f} above training loss with {_named(widest)}, "
        f"{gaps[narrowest]:.2f} with {_named(narrowest)}"
    )
    style.set_title(figure, title)
    return figure


def _named(regularizer: str) -> str:
    return "no regularizer" if regularizer == "none" else formatting.words(regularizer)
