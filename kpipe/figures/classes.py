"""Figures of the answers of a classifier: an example has one class."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from . import style
from .style import BLUE, GREY, INK, MAX_NUMBERED_CLASSES, VERMILION, WIDTH

MAX_ROOMY_CLASSES = 4  # cells of a confusion matrix that have room for the share beside the count


def confusion_matrix(run) -> Figure | None:
    """Test examples by true and predicted class; the colour is the share of the true class."""
    if not style.is_classifier(run) or style.is_multilabel(run):
        return None
    truth, predicted = run.predictions["label"], run.predictions["probabilities"].argmax(axis=1)
    num_classes = len(run.label_names)
    counts = np.zeros((num_classes, num_classes), int)
    np.add.at(counts, (truth, predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    numbered = num_classes <= MAX_NUMBERED_CLASSES

    names = [style.shorten(name, 18 if numbered else 40) for name in run.label_names]
    width, height = WIDTH, WIDTH + 0.9
    if not numbered:  # names and cells decide, in inches
        sides = 0.05 * max(map(len, names)) + 0.1 * num_classes
        width, height = max(WIDTH, 0.5 + sides), max(WIDTH + 0.9, 1.5 + sides)
    figure = style.new_figure(height, width)
    axes = figure.subplots()
    # A square root makes rare mistakes visible beside a diagonal close to 100 %.
    look = {"cmap": "Blues", "norm": PowerNorm(0.5, vmin=0, vmax=1)}
    image = axes.imshow(shares, aspect="equal" if numbered else "auto", **look)
    ticks = [0, 0.05, 0.25, 0.5, 1]
    bar = figure.colorbar(image, ax=axes, location="bottom", pad=0.02, aspect=40, ticks=ticks)
    bar.ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    size = 9 if numbered else 6
    upright = sum(map(len, names)) <= 24  # short names fit beside one another
    axes.set_xticks(range(num_classes), names, fontsize=size, rotation=0 if upright else 90)
    turned = upright and num_classes <= MAX_ROOMY_CLASSES  # leaves more width to the cells
    axes.set_yticks(range(num_classes), names, fontsize=size, rotation=90 if turned else 0)
    for label in axes.get_yticklabels():
        label.set_verticalalignment("center")
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if numbered:
        _write_counts(axes, counts, shares)

    mistakes = counts - np.diag(np.diag(counts))
    title = f"{np.trace(counts):,} of {counts.sum():,} test examples are right"
    if mistakes.any():
        i, j = np.unravel_index(mistakes.argmax(), mistakes.shape)
        title += f"; most often {names[i]} is taken for {names[j]} ({mistakes[i, j]:,}×)"
    style.set_title(figure, title)
    return figure


def roc_curve(run) -> Figure | None:
    """True against false positives over all thresholds; the second class is the positive one."""
    truth = run.predictions["label"]
    if not style.is_classifier(run) or style.is_multilabel(run):
        return None
    if len(run.label_names) != 2 or np.unique(truth).size != 2:
        return None
    from sklearn.metrics import roc_curve as rates  # takes a second to import

    probability = run.predictions["probabilities"][:, 1]
    false_positives, true_positives, _ = rates(truth, probability)
    negative, positive = (style.shorten(name, 18) for name in run.label_names)
    area = run.metrics.get("roc_auc") or {}
    label = "this model"
    if area.get("value") is not None:
        label += f": AUC {area['value']:.3f}"
    if area.get("low") is not None:
        label += f" [{area['low']:.3f}, {area['high']:.3f}]"

    figure = style.new_figure(WIDTH)
    axes = figure.subplots()
    axes.plot(false_positives, true_positives, color=BLUE, linewidth=2, label=label)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="chance: AUC 0.500")
    said = run.predictions["probabilities"].argmax(axis=1) == 1
    rate = (said[truth == 0].mean(), said[truth == 1].mean())
    axes.plot(*rate, "o", color=VERMILION, markersize=8, label="decision at probability 0.5")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_xlabel(f"false positive rate ({negative} taken for {positive})")
    axes.set_ylabel(f"true positive rate ({positive} found)")
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))
    axes.grid(color=style.GRID)
    axes.legend(loc="lower right")
    mistaken, found = (f"{100 * share:.1f} %" for share in rate)
    title = f"{found} of {positive} found; {mistaken} of {negative} taken for {positive}"
    style.set_title(figure, title)
    return figure


def per_class(run) -> Figure | None:
    """Precision and recall of every class on the test split, with their 95 % intervals."""
    series = {
        kind: [run.metrics.get(f"{kind}/{name}") or {} for name in run.label_names]
        for kind in ("precision", "recall")
    }
    if not any(entry.get("value") is not None for row in series.values() for entry in row):
        return None
    many = len(run.label_names) > MAX_NUMBERED_CLASSES
    names = [style.shorten(name, 40 if many else 22) for name in run.label_names]
    figure = style.new_figure(1.5 + len(names) * (0.19 if many else 0.38))
    axes = figure.subplots()
    lowest = []
    for (kind, row), color, marker, offset in zip(
        series.items(), (BLUE, VERMILION), "os", (-0.14, 0.14), strict=True
    ):
        value, low, high = (
            np.array([entry.get(key) for entry in row], float) for key in ("value", "low", "high")
        )
        whiskers = np.nan_to_num(np.maximum([value - low, high - value], 0))
        rows = np.arange(len(row)) + offset
        size = {"markersize": 3, "elinewidth": 1} if many else {"markersize": 6, "elinewidth": 1.8}
        axes.errorbar(value, rows, xerr=whiskers, fmt=marker, color=color, label=kind, **size)
        if np.isfinite(value).any():
            worst = int(np.nanargmin(value))
            lowest.append(f"lowest {kind}: {names[worst]} ({value[worst]:.1%})")
    style.list_rows(axes, names, size=6.5 if many else 10)
    axes.set_xlabel("precision and recall, whiskers: 95 % interval")
    axes.xaxis.set_major_formatter(style.percent_formatter(axes.get_xlim()))
    style.legend_above(axes, ncols=2)
    title = "; ".join(lowest).replace("%", " %")
    style.set_title(figure, title[0].upper() + title[1:])
    return figure


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """Writes each count into its cell, and the share as well where there is room."""
    roomy = len(counts) <= MAX_ROOMY_CLASSES
    size = 12 if roomy else 8 if len(counts) <= 10 else 6.5
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        text = f"{count:,}\n{100 * share:.1f} %" if roomy else str(count)
        color = "white" if share > 0.3 else INK if count else "#b0b0b0"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=color)
