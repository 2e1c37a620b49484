"""Figure of a classifier's confidence."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from .. import formatting
from ..measures.calibration import BINS, bins_of, confidence
from ..measures.intervals import proportion
from ..records import Run
from . import style
from .style import BLUE, GREY, VERMILION

FEWEST = 5  # examples of a bin that is drawn


def reliability_diagram(run: Run) -> Figure | None:
    """Confidence and accuracy before and after calibration; below: examples in each bin."""
    if not style.is_classifier(run) or "calibrated" not in run.predictions:
        return None
    several = style.is_multilabel(run)
    figure = style.new_figure(6.2)
    axes, counted = figure.subplots(2, height_ratios=(4, 1.2), sharex=True)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="both equal")
    edges = np.arange(BINS) / BINS
    lowest = 1.0
    for name, label, color, marker, side in (
        ("probabilities", "network", VERMILION, "s", 0),
        ("calibrated", "calibrated", BLUE, "o", 1),
    ):
        sure, happened = confidence(run.predictions[name], run.predictions["label"])
        if several:
            known = style.known_labels(run)
            sure, happened = sure[:, known], happened[:, known]
        bins = bins_of(sure).ravel()
        counts = np.bincount(bins, minlength=BINS)
        drawn = np.flatnonzero(counts >= min(FEWEST, counts.max()))
        n = counts[drawn]
        sums, times = (
            np.bincount(bins, values.ravel(), BINS)[drawn] for values in (sure, happened)
        )
        means, shares = sums / n, times / n
        intervals = [proportion(*of_bin) for of_bin in zip(times, n, strict=True)]
        low, high = (np.array([it[bound] for it in intervals]) for bound in ("low", "high"))
        whiskers = np.maximum([shares - low, high - shares], 0)
        look: Any = {"markersize": 5, "elinewidth": 1.3, "linewidth": 1.3, "color": color}
        axes.errorbar(means, shares, yerr=whiskers, fmt=f"-{marker}", label=label, **look)
        half = 0.5 / BINS
        counted.bar(edges + side * half, counts, half, align="edge", color=color)
        lowest = min(lowest, edges[np.flatnonzero(counts)[0]])
    axes.set_xlim(lowest, 1)
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel("frequency of the label" if several else "accuracy")
    counted.set_ylabel("pairs" if several else "examples")
    counted.set_xlabel("probability of a label" if several else "confidence: largest probability")
    counted.set_yscale("log")  # most examples of a good network are in the last bin
    counted.set_ylim(bottom=0.7)
    percent = PercentFormatter(1.0, decimals=0, symbol=" %")
    for axis in (axes.xaxis, axes.yaxis, counted.xaxis):
        axis.set_major_formatter(percent)
    for part in (axes, counted):
        part.grid(color=style.GRID)
        part.set_axisbelow(True)
    style.legend_above(axes, ncols=3)
    figure.align_ylabels()
    values = [run.metrics[key]["value"] or 0.0 for key in ("ece", "calibrated_ece")]
    before, after = (formatting.percent(value, 1) for value in values)
    temperature = float(run.predictions["temperature"])
    said = f"Calibration error {before} before, {after} after (temperature {temperature:.2f})"
    style.set_title(figure, said)
    return figure
