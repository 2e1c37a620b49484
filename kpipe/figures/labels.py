"""Figures of multilabel networks: each label, and comparison with single-label networks."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .. import formatting
from ..errors import UserError
from ..measures.intervals import paired_difference
from ..records import Record, Run
from . import style
from .style import BLUE, GREY, INK, MAX_NUMBERED_CLASSES


def label_accuracies(run: Run) -> Figure | None:
    """Accuracy of each label on the test split, compared with always predicting its majority."""
    if not (style.is_classifier(run) and style.is_multilabel(run)):
        return None
    entries = {
        name: tuple(
            style.bounds(run.metrics[f"{kind}/{name}"])
            for kind in ("accuracy", "majority_baseline")
        )
        for name in run.label_names
        if f"accuracy/{name}" in run.metrics
    }
    if not entries:
        return None
    names = sorted(entries, key=lambda name: entries[name][1][0] - entries[name][0][0])
    measured = np.array([entries[name] for name in names])  # (labels, kinds, 3)
    value, low, high = measured[:, 0].T
    baseline = measured[:, 1, 0]

    many = len(names) > MAX_NUMBERED_CLASSES
    left_out = len(run.label_names) - len(names)
    figure = style.new_figure(1.7 + len(names) * (0.19 if many else 0.38))
    axes = figure.subplots()
    rows = np.arange(len(names))
    axes.hlines(rows, baseline, value, color=BLUE, linewidth=4 if many else 9, alpha=0.25)
    ticks: Any = {"marker": "|", "markersize": 9 if many else 16, "markeredgewidth": 2}
    axes.plot(baseline, rows, color=GREY, linestyle="", label="majority class", **ticks)
    size: Any = {"markersize": 6, "elinewidth": 1.8}
    if many:
        size = {"markersize": 3, "elinewidth": 1}
    whiskers = np.maximum([value - low, high - value], 0)
    axes.errorbar(value, rows, xerr=whiskers, fmt="o", color=BLUE, label="this model", **size)
    spoken = [style.shorten(name.replace("_", " "), 40 if many else 22) for name in names]
    style.list_rows(axes, spoken, size=6.5 if many else 10)
    note = "accuracy, whiskers: 95 % interval"
    if left_out:
        note += f"\nleft out: {left_out} of {len(run.label_names)} labels, constant in train"
    axes.set_xlabel(note)
    axes.xaxis.set_major_formatter(style.PercentTicks())
    style.legend_above(axes, ncols=2)
    mean, always = (
        formatting.number("accuracy", run.metrics[key]["value"])
        for key in ("accuracy", "majority_baseline")
    )
    title = f"Mean accuracy {mean}; always predicting each label's majority {always}"
    style.set_title(figure, title)
    return figure


def compare_single_task(run: Run) -> Figure | None:
    """Accuracy minus that of networks trained on a single label, on the same test examples."""
    if not (style.is_classifier(run) and style.is_multilabel(run)):
        return None
    rows = list(_single_task_differences(run))
    if not rows:
        return None
    value, low, high = (
        100 * np.array([difference[key] for *_, difference in rows])
        for key in ("value", "low", "high")
    )
    several = len({name for _, name, _ in rows}) > 1
    # Full names: folder names often differ only at their ends.
    texts = [
        style.escape("\n".join(style.break_lines(f"{name}: {folder}" if several else folder, 62)))
        for folder, name, _ in rows
    ]
    lines = 1 + max(text.count("\n") for text in texts)
    figure = style.new_figure(1.6 + (0.46 + 0.15 * lines) * len(rows))
    axes = figure.subplots()
    axes.axvline(0, color=GREY, linestyle="--", zorder=1)
    positions = np.arange(len(rows))
    whiskers = np.maximum([value - low, high - value], 0)
    axes.errorbar(
        value, positions, xerr=whiskers, fmt="o", color=BLUE, markersize=7, elinewidth=2, capsize=4
    )
    for position, text in zip(positions, texts, strict=True):
        box: Any = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        place: Any = {"transform": axes.get_yaxis_transform(), "va": "bottom", "fontsize": 8.5}
        axes.text(0.01, position - 0.2, text, color=INK, bbox=box, **place)
    axes.set_ylim(len(rows) - 0.6, -0.85)
    reach = 1.1 * max(np.abs([low, high]).max(), 0.1)
    axes.set_xlim(-reach, reach)
    axes.set_yticks([])
    axes.set_xlabel(
        "difference in points, whiskers: 95 % interval\n← single label better    joint better →"
    )
    axes.grid(axis="x", color=style.GRID)
    axes.spines[["top", "right", "left"]].set_visible(False)

    name = "single labels" if several else style.shorten(rows[0][1].replace("_", " "), 40)
    title = f"{len(run.label_names)} outputs change the accuracy of {name} by "
    if len(rows) == 1:
        title += f"{value[0]:+.2f} points [{low[0]:.2f}, {high[0]:.2f}]"
    else:
        title += f"{value.min():+.2f} to {value.max():+.2f} points ({len(rows)} runs)"
    style.set_title(figure, title)
    return figure


def _single_task_differences(run: Run) -> Iterator[tuple[str, str, dict]]:
    """Yields folder, label and difference of each finished single-label run in the same folder."""
    for other in run.siblings(lambda record: _single_task(record, run) is not None):
        name = _single_task(other.record, run)
        try:
            difference = name and _difference(run, name, other.predictions)
        except UserError as error:
            print(f"{other.folder.name} is not compared: {error}", flush=True)
            continue
        if name and difference:
            yield other.folder.name, name, difference
        else:
            print(f"{other.folder.name} is not compared: its test examples differ", flush=True)


def _single_task(record: Record, run: Run) -> str | None:
    """Returns the label of a single-label run on the same data, else None."""
    data = record.data
    if data.fingerprint != run.record.data.fingerprint or len(data.label_names) != 2:
        return None
    negative, name = data.label_names
    return name if negative == f"not {name}" and name in run.label_names else None


def _difference(run: Run, name: str, alone: Mapping[str, np.ndarray]) -> dict | None:
    """Returns the run's accuracy on a label minus that of a single-label run's predictions."""
    column = run.label_names.index(name)
    truth = run.predictions["label"][:, column]
    same = (
        np.array_equal(alone.get("index", ()), run.predictions["index"]),
        np.array_equal(alone.get("label", ()), truth),
        "probabilities" in alone,
    )
    if not all(same):
        return None
    together = (run.predictions["probabilities"][:, column] > 0.5) == truth
    return paired_difference(together, alone["probabilities"].argmax(axis=1) == truth)
