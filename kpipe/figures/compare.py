"""Figures that compare standing runs of one pipeline."""

import json
import pathlib
import types
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import style
from .labels import BROKEN
from .style import BLUE, CLASS_COLORS, GREY, INK, VERMILION

BEHIND = 0.02  # of the best validation accuracy: what an architecture is timed to reach
COLUMNS = (
    "",
    "test accuracy",
    "parameters",
    "epochs",
    "s an epoch",
    "time to {threshold}",
)
# What figures draw of a run.
DRAWN = ("epoch", "seconds", "accuracy", "val_accuracy", "loss", "val_loss")


def runs_beside(run, key: str) -> Mapping[str, types.SimpleNamespace]:
    """This run and those beside it that differ in one key alone, by their value of it.

    They are finished runs of the same pipeline, on the same data, from the same seed.
    """
    found = {}
    if key in run.record["hyperparameters"]:
        found[run.record["hyperparameters"][key]] = types.SimpleNamespace(
            record=run.record, metrics=run.metrics, history=run.history
        )
    for path in sorted(run.folder.parent.glob("[!.]*/run.json")):
        if path.parent == run.folder or path.parent.name.rpartition("~")[2].isdigit():
            continue  # itself, or set aside by --fresh
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if not _is_comparable(run.record, record, key):
                continue
            other = _read(path.parent, record)
        except BROKEN as error:
            reason = type(error).__name__
            print(f"{path.parent.name} is not compared: it cannot be read ({reason})", flush=True)
            continue
        found.setdefault(other.record["hyperparameters"][key], other)
    return found


def _read(folder: pathlib.Path, record: Mapping) -> types.SimpleNamespace:
    """A run's metrics and history, with all that figures draw of them; BROKEN if it is not."""
    head, *lines = (folder / "history.csv").read_text().splitlines()
    columns = zip(*(line.split(",") for line in lines), strict=True)
    history = {
        name: [json.loads(value) if value else None for value in values]
        for name, values in zip(head.split(","), columns, strict=True)
    }
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    drawn = [metrics["accuracy"][name] for name in ("value", "low", "high")]
    drawn += [record["model"]["parameters"], *(v for name in DRAWN for v in history[name])]
    if not np.isfinite(drawn).all() or record["training"]["best_epoch"] not in history["epoch"]:
        raise ValueError(f"{folder}: a value is missing")
    return types.SimpleNamespace(record=record, metrics=metrics, history=history)


def _is_comparable(record: Mapping, other: Mapping, key: str) -> bool:
    def without_key(overrides):
        return {name: value for name, value in overrides.items() if name != key}

    return (
        other["status"] == "finished"
        and other["pipeline"] == record["pipeline"]
        and other["seed"] == record["seed"]
        and other.get("budget") == record.get("budget")
        and other["data"]["fingerprint"] == record["data"]["fingerprint"]
        and without_key(other["overrides"]) == without_key(record["overrides"])
        and key in other["hyperparameters"]
    )


def architectures(run) -> Figure | None:
    """The architectures that were run into this folder: accuracy, size and time."""
    found = runs_beside(run, "architecture")
    if len(found) < 2:
        return None
    best = max(max(other.history["val_accuracy"]) for other in found.values())
    threshold = best - BEHIND
    figure = style.new_figure(3.9 + 0.33 * (len(found) + 2), 7.5)
    table, axes = figure.subplots(2, height_ratios=(0.33 * (len(found) + 2), 3))
    # By name, so that an architecture has one colour in the reports of all of them.
    colors = dict(zip(sorted(found), [*CLASS_COLORS, INK, GREY] * len(found), strict=False))
    rows = sorted(found.items(), key=lambda item: -item[1].metrics["accuracy"]["value"])
    for name, other in rows:
        seconds = np.cumsum(other.history["seconds"])
        axes.plot(
            seconds,
            other.history["val_accuracy"],
            marker="o",
            markersize=4,
            color=colors[name],
            label=name.replace("_", " "),
        )
    axes.axhline(threshold, color=GREY, linestyle=":", linewidth=1)
    note = f"dotted: {100 * threshold:.1f} %, {100 * BEHIND:g} points below the best"
    axes.set_xlabel(f"seconds of training and validation; {note}")
    axes.set_ylabel("validation accuracy")
    axes.yaxis.set_major_formatter(style.percent_formatter(axes.get_ylim()))
    axes.grid(color=style.GRID)
    axes.legend(loc="lower right", fontsize=8)
    _draw_table(table, [_row(name, other, threshold) for name, other in rows], threshold, run)
    first = rows[0]
    value, low, high = (100 * first[1].metrics["accuracy"][k] for k in ("value", "low", "high"))
    title = f"Highest test accuracy of {len(found)}: {first[0].replace('_', ' ')}, "
    title += f"{value:.2f} % [{low:.2f},\N{NO-BREAK SPACE}{high:.2f}]"
    style.set_title(figure, title)
    return figure


def _row(name: str, other, threshold: float) -> tuple[str, ...]:
    metric, history = other.metrics["accuracy"], other.history
    value, low, high = (100 * metric[k] for k in ("value", "low", "high"))
    reached = np.flatnonzero(np.array(history["val_accuracy"]) >= threshold)
    time = f"{np.cumsum(history['seconds'])[reached[0]]:.0f} s" if reached.size else "–"
    return (
        name.replace("_", " "),
        f"{value:.2f} % [{low:.2f}, {high:.2f}]",
        f"{other.record['model']['parameters']:,}",
        f"{len(history['seconds'])}",
        f"{np.median(history['seconds']):.1f}",
        time,
    )


def _draw_table(axes: Axes, rows: list[tuple[str, ...]], threshold: float, run) -> None:
    if "bag_of_words_baseline" in run.metrics:
        metric = run.metrics["bag_of_words_baseline"]
        value, low, high = (100 * metric[k] for k in ("value", "low", "high"))
        rows = [*rows, ("TF-IDF, logistic regression", f"{value:.2f} % [{low:.2f}, {high:.2f}]")]
    head = [column.format(threshold=f"{100 * threshold:.1f} %") for column in COLUMNS]
    places = (0.0, 0.51, 0.65, 0.72, 0.84, 1.0)
    axes.set(xlim=(0, 1), ylim=(len(rows) - 0.4, -1.6))
    axes.axis("off")
    for row, cells in enumerate([head, *rows], start=-1):
        for place, cell in zip(places, cells, strict=False):
            look = {"ha": "right" if place else "left", "va": "center", "fontsize": 9}
            axes.text(place, row, cell, color=GREY if row < 0 else INK, **look)
        axes.axhline(row + 0.5, color=style.GRID, linewidth=0.8)


def regularizers(run) -> Figure | None:
    """Accuracy and loss on train and validation, with and without each regularizer."""
    found = runs_beside(run, "regularizer")
    if len(found) < 2:
        return None
    names = sorted(found, key=lambda name: (name != "none", name))
    figure = style.new_figure(4.6, max(7.5, 1.9 * len(names)))
    rows = figure.subplots(2, len(names), sharex=True, sharey="row")
    gaps = {}
    for column, name in zip(rows.T, names, strict=True):
        other, history = found[name], found[name].history
        at = other.record["training"]["best_epoch"] - 1  # the best epoch
        for axes, metric in zip(column, ("accuracy", "loss"), strict=True):
            look = {"linewidth": 1.6}
            axes.plot(history["epoch"], history[metric], color=BLUE, label="train", **look)
            axes.plot(
                history["epoch"],
                history[f"val_{metric}"],
                color=VERMILION,
                label="validation",
                **look,
            )
            axes.axvline(at + 1, color=GREY, linestyle=":", linewidth=1)
            axes.grid(color=style.GRID)
        gaps[name] = history["val_loss"][at] - history["loss"][at]
        points = 100 * (history["accuracy"][at] - history["val_accuracy"][at])
        test = 100 * other.metrics["accuracy"]["value"]
        lines = (name.replace("_", " "), f"gap {points:.1f} points", f"test {test:.2f} %")
        column[0].set_title("\n".join(lines), fontsize=9, loc="left")
        column[1].set_title(f"gap {gaps[name]:.2f}", fontsize=9, loc="left")
    rows[0, 0].set_ylabel("accuracy")
    rows[1, 0].set_ylabel("loss")
    rows[0, 0].yaxis.set_major_formatter(style.percent_formatter(rows[0, 0].get_ylim()))
    rows[0, -1].legend(loc="lower right", fontsize=8)
    figure.supxlabel("epoch; dotted: the best one, at which the gaps are measured", fontsize=9)
    widest, narrowest = max(gaps, key=gaps.get), min(gaps, key=gaps.get)
    title = (
        f"Validation loss is {gaps[widest]:.2f} above the training's with {_named(widest)}, "
        f"{gaps[narrowest]:.2f} with {_named(narrowest)}"
    )
    style.set_title(figure, title)
    return figure


def _named(regularizer: str) -> str:
    return "no regularizer" if regularizer == "none" else regularizer.replace("_", " ")
