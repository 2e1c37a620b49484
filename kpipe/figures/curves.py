"""Figures of training."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .. import formatting
from ..records import Run
from . import style
from .style import BLUE, GREEN, INK, VERMILION


def learning_curves(run: Run) -> Figure | None:
    """Loss, metrics and (if it varies) learning rate by epoch, on train and validation."""
    history = {name: np.array(values, float) for name, values in run.history.items()}
    epochs = history.pop("epoch", np.array([]))
    if not epochs.size:
        return None
    learning_rate = history.pop("learning_rate", np.array([]))
    names = dict.fromkeys(
        name.removeprefix("val_")
        for name in history
        if name not in ("step", "seconds") and "/" not in name  # the parts of a metric
    )
    varies = np.unique(learning_rate[np.isfinite(learning_rate)]).size > 1
    panels = [*names, "learning_rate"] if varies else [*names]
    if not panels:
        return None

    figure = style.new_figure(0.9 + 1.9 * len(panels))
    all_axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    look: Any = {"markersize": 4 if len(epochs) <= 40 else 0, "linewidth": 1.6}
    for axes, name in zip(all_axes, panels, strict=True):
        if name == "learning_rate":
            axes.plot(epochs, learning_rate, color=INK, marker=".", **look)
        if name in history:
            axes.plot(epochs, history[name], color=BLUE, marker="o", label="train", **look)
        if f"val_{name}" in history:
            values = history[f"val_{name}"]
            axes.plot(epochs, values, color=VERMILION, marker="s", label="validation", **look)
        axes.set_ylabel(formatting.words(name))
        if name.endswith("accuracy"):
            axes.yaxis.set_major_formatter(style.PercentTicks())
        axes.grid(color=style.GRID)

    title = f"Training over {len(epochs)} epoch{'s' if len(epochs) > 1 else ''}"
    if training := run.record.training:
        best = training.best_epoch
        for axes in all_axes:
            axes.axvline(best, color=GREEN, linestyle="--", label="best epoch", zorder=1)
            if training.frozen_epochs:
                begin = training.frozen_epochs + 0.5
                axes.axvline(begin, color=INK, linestyle=":", label="fine-tuning begins", zorder=1)
        monitor = run.record.trainer.get("monitor") or "validation"
        monitor = formatting.words(monitor.replace("val_", "validation "))
        title = f"Best {monitor} at epoch {best} of {epochs[-1]:.0f}"
    style.legend_above(all_axes[0], ncols=2 if training and training.frozen_epochs else 3)
    all_axes[-1].set_xlabel("epoch")
    all_axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    figure.align_ylabels()
    style.set_title(figure, title)
    return figure
