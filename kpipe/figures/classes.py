"""Figures of a classifier's predictions; an example has one class."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .. import formatting
from ..records import Run
from . import style
from .style import BLUE, GREY, INK, MAX_NUMBERED_CLASSES, VERMILION, WIDTH

MAX_ROOMY_CLASSES = 4  # up to here, cells of a confusion matrix have room for count and share
MAX_MATRIX_CLASSES = 60  # a matrix grows with the square of the classes
MAX_LISTED_CLASSES = 100  # rows of a chart
KINDS = ("precision", "recall")


def confusion_matrix(run: Run) -> Figure | None:
    """Test examples by true and predicted class; the colour is the share of the true class."""
    if not style.has_classes(run):
        return None
    truth, predicted = run.predictions["label"], run.predictions["probabilities"].argmax(axis=1)
    shown, counts = _count_pairs(truth, predicted, len(run.label_names))
    examples = np.bincount(truth, minlength=len(run.label_names))[shown]
    shares = counts / np.maximum(examples[:, None], 1)
    num_classes = len(shown)
    numbered = num_classes <= MAX_NUMBERED_CLASSES

    names = [style.shorten(run.label_names[i], 18 if numbered else 40) for i in shown]
    width, height = WIDTH, WIDTH + 0.9
    if not numbered:  # sized by names and cells, in inches
        sides = 0.05 * max(map(len, names)) + 0.1 * num_classes
        width, height = max(WIDTH, 0.5 + sides), max(WIDTH + 0.9, 1.5 + sides)
    figure = style.new_figure(height, width)
    axes = figure.subplots()
    # A square root makes rare mistakes visible next to a diagonal close to 100 %.
    look: Any = {"cmap": "Blues", "norm": PowerNorm(0.5, vmin=0, vmax=1)}
    image = axes.imshow(shares, aspect="equal" if numbered else "auto", **look)
    ticks = [0, 0.05, 0.25, 0.5, 1]
    bar = figure.colorbar(image, ax=axes, location="bottom", pad=0.02, aspect=40, ticks=ticks)
    bar.ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    size = 9 if numbered else 6
    upright = sum(map(len, names)) <= 24  # short names fit next to each other
    axes.set_xticks(range(num_classes), names, fontsize=size, rotation=0 if upright else 90)
    turned = upright and num_classes <= MAX_ROOMY_CLASSES  # leaves more width for the cells
    axes.set_yticks(range(num_classes), names, fontsize=size, rotation=90 if turned else 0)
    for label in axes.get_yticklabels():
        label.set_verticalalignment("center")
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if numbered:
        _write_counts(axes, counts, shares)

    mistakes = counts - np.diag(np.diag(counts))
    title = f"{np.sum(predicted == truth):,} of {len(truth):,} test examples are correct"
    if mistakes.any():
        i, j = np.unravel_index(mistakes.argmax(), mistakes.shape)
        title += f"; most often {names[i]} is predicted as {names[j]} ({mistakes[i, j]:,}×)"
    if num_classes < len(run.label_names):
        title += (
            f"; shown: the {num_classes} of {len(run.label_names):,} classes with the most mistakes"
        )
    style.set_title(figure, title)
    return figure


def _count_pairs(
    truth: np.ndarray, predicted: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses the classes to show, and counts how often each of them was predicted as each.

    With very many classes a full matrix would not fit into memory: the most frequently confused
    pair and the classes with the most mistakes are kept, in the order of the classes.
    """
    shown = np.arange(num_classes)
    if num_classes > MAX_MATRIX_CLASSES:
        wrong = np.flatnonzero(predicted != truth)
        mistakes = np.bincount(truth[wrong], minlength=num_classes)
        mistakes += np.bincount(predicted[wrong], minlength=num_classes)
        pairs, times = np.unique(
            np.stack([truth[wrong], predicted[wrong]]), axis=1, return_counts=True
        )
        if times.size:
            mistakes[pairs[:, times.argmax()]] += len(wrong) + 1  # always among the first
        shown = np.sort(np.argsort(-mistakes, kind="stable")[:MAX_MATRIX_CLASSES])
    place = np.full(num_classes, -1)
    place[shown] = np.arange(len(shown))
    row, column = place[truth], place[predicted]
    kept = (row >= 0) & (column >= 0)
    counts = np.zeros((len(shown), len(shown)), int)
    np.add.at(counts, (row[kept], column[kept]), 1)
    return shown, counts


def roc_curve(run: Run) -> Figure | None:
    """ROC curve: true against false positive rate; the second class is the positive one."""
    truth = run.predictions["label"]
    if not style.has_classes(run):
        return None
    if len(run.label_names) != 2 or np.unique(truth).size != 2:
        return None
    from sklearn.metrics import roc_curve as rates  # takes a second to import

    probability = run.predictions["probabilities"][:, 1]
    false_positives, true_positives, _ = rates(truth, probability)
    negative, positive = (style.shorten(name, 18) for name in run.label_names)
    area, low, high = style.bounds(run.metrics.get("roc_auc") or {})
    label = "this model"
    if np.isfinite(area):
        label += f": AUC {area:.3f}"
    if np.isfinite(low):
        label += f" [{low:.3f}, {high:.3f}]"

    figure = style.new_figure(WIDTH)
    axes = figure.subplots()
    axes.plot(false_positives, true_positives, color=BLUE, linewidth=2, label=label)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="chance: AUC 0.500")
    predicted = run.predictions["probabilities"].argmax(axis=1) == 1
    rate = (predicted[truth == 0].mean(), predicted[truth == 1].mean())
    axes.plot(*rate, "o", color=VERMILION, markersize=8, label="decision at probability 0.5")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_xlabel(f"false positive rate ({negative} predicted as {positive})")
    axes.set_ylabel(f"true positive rate ({positive} predicted as {positive})")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.grid(color=style.GRID)
    axes.legend(loc="lower right")
    mistaken, found = (f"{100 * share:.1f} %" for share in rate)
    title = f"{found} of {positive} detected; {mistaken} of {negative} predicted as {positive}"
    style.set_title(figure, title)
    return figure


def per_class(run: Run) -> Figure | None:
    """Precision and recall of every class on the test split, with their 95 % intervals."""
    measured = np.array(
        [
            [style.bounds(run.metrics.get(f"{kind}/{name}") or {}) for name in run.label_names]
            for kind in KINDS
        ]
    )  # (kinds, classes, 3)
    if not np.isfinite(measured).any():
        return None
    listed = np.arange(measured.shape[1])
    if cut := len(listed) > MAX_LISTED_CLASSES:
        # Undefined values come last.
        weakest = np.where(np.isnan(measured[..., 0]), 2, measured[..., 0]).min(axis=0)
        listed = np.sort(np.argsort(weakest, kind="stable")[:MAX_LISTED_CLASSES])
    many = len(listed) > MAX_NUMBERED_CLASSES
    names = [style.shorten(run.label_names[i], 40 if many else 22) for i in listed]
    figure = style.new_figure(1.5 + len(names) * (0.19 if many else 0.38))
    axes = figure.subplots()
    lowest = []
    for kind, row, color, marker, offset in zip(
        KINDS, measured[:, listed], (BLUE, VERMILION), "os", (-0.14, 0.14), strict=True
    ):
        value, low, high = row.T
        whiskers = np.nan_to_num(np.maximum([value - low, high - value], 0))
        rows = np.arange(len(row)) + offset
        size: Any = {"markersize": 6, "elinewidth": 1.8}
        if many:
            size = {"markersize": 3, "elinewidth": 1}
        axes.errorbar(value, rows, xerr=whiskers, fmt=marker, color=color, label=kind, **size)
        if np.isfinite(value).any():
            worst = int(np.nanargmin(value))
            lowest.append(f"lowest {kind}: {names[worst]} ({formatting.percent(value[worst], 1)})")
    style.list_rows(axes, names, size=6.5 if many else 10)
    axes.set_xlabel("precision and recall, whiskers: 95 % interval")
    axes.xaxis.set_major_formatter(style.PercentTicks())
    style.legend_above(axes, ncols=2)
    if cut:
        lowest.append(f"shown: the {len(listed)} lowest of {len(run.label_names):,} classes")
    title = "; ".join(lowest)
    style.set_title(figure, title[0].upper() + title[1:])
    return figure


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """Writes each count into its cell, and the share too if there is room."""
    roomy = len(counts) <= MAX_ROOMY_CLASSES
    size = 12 if roomy else 8 if len(counts) <= 10 else 6.5
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        text = f"{count:,}\n{100 * share:.1f} %" if roomy else str(count)
        color = "white" if share > 0.3 else INK if count else "#b0b0b0"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=color)
