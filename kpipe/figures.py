"""Figures of a finished run: one function a figure, `f(run) -> Figure | None`.

None means that the figure does not apply to this run. A function's name is its file name, and the
first line of its docstring its caption in the report, so a pipeline's own functions fit in:

    plots = (figures.learning_curves, figures.confusion_matrix, my_own_figure)

Only matplotlib's objects are used, never pyplot: nothing is global and no display is needed.
Figures are five inches wide, so that 10 point text can be read on a phone and in a printed column.
"""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

# Okabe and Ito's colours, told apart with every kind of colour blindness.
BLUE, VERMILION, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#767676", "#222222"
WIDTH = 5.0  # inches

MAX_NUMBERED_CLASSES = 15  # a confusion matrix with more of them shows colours only
MAX_ROOMY_CLASSES = 4  # cells that have room for the share beside the count
MAX_MISTAKES = 20
MAX_FILTERS = 64


def learning_curves(run) -> Figure | None:
    """Loss, metrics and a varying learning rate over the epochs, on train and validation."""
    history = {name: np.array(values, float) for name, values in run.history.items()}
    epochs = history.pop("epoch", np.array([]))
    if not epochs.size:
        return None
    learning_rate = history.pop("learning_rate", np.array([]))
    names = dict.fromkeys(
        name.removeprefix("val_") for name in history if name not in ("step", "seconds")
    )
    varies = np.unique(learning_rate[np.isfinite(learning_rate)]).size > 1
    panels = [*names, "learning_rate"] if varies else [*names]
    if not panels:
        return None

    figure = _figure(0.9 + 1.9 * len(panels))
    all_axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    style = {"markersize": 4 if len(epochs) <= 40 else 0, "linewidth": 1.6}
    for axes, name in zip(all_axes, panels, strict=True):
        if name == "learning_rate":
            axes.plot(epochs, learning_rate, color=INK, marker=".", **style)
        if name in history:
            axes.plot(epochs, history[name], color=BLUE, marker="o", label="train", **style)
        if f"val_{name}" in history:
            values = history[f"val_{name}"]
            axes.plot(epochs, values, color=VERMILION, marker="s", label="validation", **style)
        axes.set_ylabel(name.replace("_", " "))
        if name.endswith("accuracy"):
            axes.yaxis.set_major_formatter(_percent(axes.get_ylim()))
        axes.grid(color="#e6e6e6")

    title = f"Training over {len(epochs)} epoch{'s' if len(epochs) > 1 else ''}"
    best = (run.record.get("training") or {}).get("best_epoch")
    if best is not None:
        for axes in all_axes:
            axes.axvline(best, color=GREEN, linestyle="--", label="best epoch", zorder=1)
        monitor = (run.record.get("trainer") or {}).get("monitor") or "validation"
        monitor = monitor.replace("val_", "validation ").replace("_", " ")
        title = f"Best {monitor} at epoch {best} of {epochs[-1]:.0f}"
    all_axes[0].legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, borderaxespad=0.2
    )
    all_axes[-1].set_xlabel("epoch")
    all_axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.align_ylabels()
    _title(figure, title)
    return figure


def confusion_matrix(run) -> Figure | None:
    """Test examples by true and predicted class; the colour is the share of the true class."""
    truth, predicted = run.predictions["label"], run.predictions["probabilities"].argmax(axis=1)
    num_classes = len(run.label_names)
    counts = np.zeros((num_classes, num_classes), int)
    np.add.at(counts, (truth, predicted), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    numbered = num_classes <= MAX_NUMBERED_CLASSES

    width = WIDTH if numbered else max(WIDTH, 2.2 + 0.1 * num_classes)
    figure = _figure(width + 0.9, width)
    axes = figure.subplots()
    # A square root makes rare mistakes visible beside a diagonal close to 100 %.
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
    ticks = [0, 0.01, 0.05, 0.25, 0.5, 1]
    bar = figure.colorbar(image, ax=axes, location="bottom", pad=0.02, aspect=40, ticks=ticks)
    bar.ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    names = [_name(name, 18) for name in run.label_names]
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
    _title(figure, title)
    return figure


def roc_curve(run) -> Figure | None:
    """True against false positives over all thresholds; the second class is the positive one."""
    truth = run.predictions["label"]
    if len(run.label_names) != 2 or np.unique(truth).size != 2:
        return None
    from sklearn.metrics import roc_curve as rates  # takes a second to import

    probability = run.predictions["probabilities"][:, 1]
    false_positives, true_positives, _ = rates(truth, probability)
    negative, positive = (_name(name, 18) for name in run.label_names)
    area = run.metrics.get("roc_auc") or {}
    label = "this model"
    if area.get("value") is not None:
        label += f": AUC {area['value']:.3f}"
    if area.get("low") is not None:
        label += f" [{area['low']:.3f}, {area['high']:.3f}]"

    figure = _figure(WIDTH)
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
    axes.grid(color="#e6e6e6")
    axes.legend(loc="lower right")
    mistaken, found = (f"{100 * share:.1f} %" for share in rate)
    _title(figure, f"{found} of {positive} found; {mistaken} of {negative} taken for {positive}")
    return figure


def worst_mistakes(run) -> Figure | None:
    """The surest mistakes on the test split: true → predicted class and its probability."""
    truth, probabilities = run.predictions["label"], run.predictions["probabilities"]
    predicted, highest = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    if not wrong.size:
        return None
    shown = wrong[np.argsort(-highest[wrong], kind="stable")][:MAX_MISTAKES]
    images = np.asarray(run.test_inputs(shown))
    if images.ndim == 4 and images.shape[-1] == 1:
        images = images[..., 0]

    columns = 4
    rows = -(-len(shown) // columns)
    names = [_name(name, 14) for name in run.label_names]
    arrow, size, height = " → ", 9, 1.6  # height in inches
    if max(map(len, names)) > 7:
        arrow, size, height = "\n→ ", 8, 1.74
    figure = _figure(0.7 + rows * height)
    figure.get_layout_engine().set(h_pad=0.07)  # inches, room below the title
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in all_axes:
        axes.set_axis_off()
    for axes, image, position in zip(all_axes, images, shown, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        pair = names[truth[position]] + arrow + names[predicted[position]]
        axes.set_title(f"{pair}\n{_probability(highest[position])}", fontsize=size)
    which = f"{len(shown)} surest of {wrong.size:,} mistakes"
    if len(shown) == wrong.size:
        which = f"All {wrong.size} mistakes" if wrong.size > 1 else "The only mistake"
    _title(figure, f"{which}: true → predicted")
    return figure


def first_layer_filters(run) -> Figure | None:
    """The first convolution's filters before and after training, each scaled on its own."""
    before, after = run.initial_kernel, run.final_kernel
    if before is None or after is None:
        return None
    height, width, _, num_filters = after.shape
    shown = min(num_filters, MAX_FILTERS)
    columns = min(shown, 8 if shown <= 32 else 16)
    mosaics = [_mosaic(kernel[..., :shown], columns) for kernel in (before, after)]
    panel_height = (WIDTH - 0.4) * mosaics[0].shape[0] / mosaics[0].shape[1]
    figure = _figure(0.5 + 2 * (0.3 + panel_height))
    titles = ["before training", "after training"]
    if norm := np.linalg.norm(before):
        change = 100 * np.linalg.norm(after - before) / norm
        titles[1] += f", changed by {change:.0f} % of their norm"
    for axes, mosaic, title in zip(figure.subplots(2), mosaics, titles, strict=True):
        axes.imshow(mosaic, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(title, fontsize=10, loc="left")
    count = f"{shown} of {num_filters}" if shown < num_filters else f"{num_filters}"
    _title(figure, f"First layer: {count} filters of {height} × {width} pixels")
    return figure


def per_class(run) -> Figure | None:
    """Precision and recall of every class on the test split, with their 95 % intervals."""
    series = {
        kind: [run.metrics.get(f"{kind}/{name}") or {} for name in run.label_names]
        for kind in ("precision", "recall")
    }
    if not any(entry.get("value") is not None for row in series.values() for entry in row):
        return None
    names = [_name(name, 22) for name in run.label_names]
    many = len(names) > MAX_NUMBERED_CLASSES
    figure = _figure(1.5 + len(names) * (0.19 if many else 0.38))
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
    axes.set_yticks(range(len(names)), names, fontsize=6.5 if many else 10)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("precision and recall, whiskers: 95 % interval")
    axes.xaxis.set_major_formatter(_percent(axes.get_xlim()))
    axes.grid(axis="x", color="#e6e6e6")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0.2)
    title = "; ".join(lowest).replace("%", " %")
    _title(figure, title[0].upper() + title[1:])
    return figure


def _figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure, in inches, whose layout keeps every text inside."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _title(figure: Figure, text: str) -> None:
    lines = textwrap.fill(text, int(9.2 * figure.get_figwidth()))
    figure.suptitle(lines, x=0.02, horizontalalignment="left", fontsize=11, fontweight="bold")


def _name(name: str, longest: int) -> str:
    """A class name that fits; a dollar sign would start a formula."""
    name = name if len(name) <= longest else name[: longest - 1] + "…"
    return name.replace("$", r"\$")


def _percent(limits: Sequence[float]) -> PercentFormatter:
    """Percent on an axis, with a decimal where its ticks are closer than one percent."""
    return PercentFormatter(1.0, decimals=1 if limits[1] - limits[0] < 0.06 else 0, symbol=" %")


def _probability(value: float) -> str:
    """Percent that never rounds up to certainty."""
    return "> 99.99 %" if value > 0.9999 else f"{100 * value:.2f} %"


def _write_counts(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    """Writes each count into its cell, and the share as well where there is room."""
    roomy = len(counts) <= MAX_ROOMY_CLASSES
    size = 12 if roomy else 8 if len(counts) <= 10 else 6.5
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        text = f"{count:,}\n{100 * share:.1f} %" if roomy else str(count)
        color = "white" if share > 0.3 else INK if count else "#b0b0b0"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=color)


def _mosaic(kernel: np.ndarray, columns: int, zoom: int = 8, gap: int = 4) -> np.ndarray:
    """Filters side by side on white: RGB for three channels, else grey from their mean."""
    filters = np.moveaxis(kernel, -1, 0).astype(float)
    if filters.shape[-1] != 3:
        filters = np.repeat(filters.mean(axis=-1, keepdims=True), 3, axis=-1)
    low = filters.min(axis=(1, 2, 3), keepdims=True)
    span = filters.max(axis=(1, 2, 3), keepdims=True) - low
    # A constant filter has no span; it is shown in middle grey.
    filters = np.where(span > 0, (filters - low) / np.where(span > 0, span, 1), 0.5)
    filters = filters.repeat(zoom, axis=1).repeat(zoom, axis=2)
    count, height, width, _ = filters.shape
    rows = -(-count // columns)
    mosaic = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3))
    for i, picture in enumerate(filters):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        mosaic[top : top + height, left : left + width] = picture
    return mosaic
