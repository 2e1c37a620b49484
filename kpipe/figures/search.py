"""Figures of a hyperparameter search: `f(study, importance) -> Figure | None`.

None means that there is nothing to draw, such as no completed trial.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from .. import formatting
from ..measures.importance import Importance
from ..records.study import FAILED, PartRecord, Study, TrialRecord
from . import style
from .style import BLUE, CLASS_COLORS, GREY, INK, VERMILION
from .trials import (
    LONGEST,
    Place,
    limits_of,
    measured,
    named,
    number,
    scatter,
    set_limits,
    shown,
    value_of,
    whiskers,
)

WIDE = 7.5  # inches
MOST_AXES = 8  # keys as parallel coordinates
MOST_PANELS = 15  # keys against the objective
NARROW = 6  # keys up to which a figure has the width of all others, to be read on a phone
BEST = 5  # trials whose curves have colours
MOST_NAMES = 8  # of choices below an axis
WHISKERS = 60  # trials, above which intervals would hide the points
_LIGHT_TO_DARK = LinearSegmentedColormap.from_list("objective", ["#d3dde6", "#6ea6d0", "#08306b"])


def best_so_far(study: Study, importance: Importance | None = None) -> Figure | None:
    """Objective of each trial over the time of the search, and the best so far."""
    trials = measured(study)
    if not trials:
        return None
    ended = [trial for trial in study.trials if trial.ended is not None]
    timed = all(trial.ended is not None for trial in trials)
    longest = max((trial.ended or 0.0 for trial in ended), default=0.0)
    unit, seconds = next(
        (unit for unit in (("hours", 3600), ("minutes", 60)) if longest > 2 * unit[1]),
        ("seconds", 1),
    )

    def x_of(trial: TrialRecord) -> float:
        return (trial.ended or 0.0) / seconds if timed else trial.trial

    trials.sort(key=x_of)
    figure = style.new_figure(3.6)
    axes = figure.subplots()
    x = np.array([x_of(trial) for trial in trials])
    y = np.array([value_of(trial) for trial in trials])
    low, high = limits_of(study, y)
    drawn = y.clip(low, high)
    if len(trials) <= WHISKERS:
        axes.errorbar(
            x, drawn, yerr=whiskers(trials, low, high), fmt="none", ecolor=BLUE, alpha=0.45
        )
    small = len(trials) > WHISKERS
    dots: Any = {"color": BLUE, "s": 9 if small else 22, "linewidths": 0, "zorder": 3}
    axes.scatter(x, drawn, alpha=0.55 if small else 1, label="trial", **dots)
    best = (np.maximum if study.direction == "max" else np.minimum).accumulate(y)
    end = max([*x, *(x_of(trial) for trial in ended if timed)])
    axes.step([*x, end], [*best, best[-1]], where="post", color=VERMILION, label="best so far")
    set_limits(axes, study, low, high, (y != drawn).sum())
    failed = [trial for trial in study.trials if trial.status == FAILED]
    if failed and (not timed or all(trial.ended is not None for trial in failed)):
        at, foot = [x_of(trial) for trial in failed], axes.get_xaxis_transform()
        look: Any = {"marker": "x", "s": 22, "color": INK, "clip_on": False, "transform": foot}
        worst = 0.03 if study.direction == "max" else 0.97
        axes.scatter(at, [worst] * len(at), label="failed", **look)
    axes.set_xlabel(f"{unit} of search" if timed else "trial")
    if timed:
        axes.set_xlim(0, 1.02 * end)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=style.GRID)
    style.legend_above(axes, ncols=3, fontsize=9)
    first = measured(study)[0]
    said = number(study, first.value)
    of = f"the best of {len(trials)}" if len(trials) > 1 else "the only one"
    style.set_title(figure, f"Trial {first.trial} is {of}: {named(study)} {said}")
    return figure


def hyperparameters(study: Study, importance: Importance | None = None) -> Figure | None:
    """Each searched key against the objective; marked: the best trial."""
    trials = measured(study)
    keys = _varied(study, trials, importance)
    if not keys:
        return None
    left_out, keys = keys[MOST_PANELS:], keys[:MOST_PANELS]
    columns = min(2 if len(keys) <= NARROW else 3, len(keys))
    rows = -(-len(keys) // columns)
    height = 2.35 if any(study.scales[key] == "choice" for key in keys) else 2.0
    figure = style.new_figure(0.6 + height * rows, WIDE if columns > 2 else style.WIDTH)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    y = np.array([value_of(trial) for trial in trials])
    low, high = limits_of(study, y)
    for axes, key in zip(panels.flat, keys, strict=False):
        _panel(axes, study, trials, key, (low, high))
        title = style.escape(style.truncate(formatting.words(key), 26))
        if importance and importance.is_known:
            value, spread = importance.keys[key]
            title += f"\nimportance {max(0.0, value):.2f} ± {spread:.2f}"
        axes.set_title(title, fontsize=9, loc="left")
    set_limits(panels[0, 0], study, low, high, 0)
    for axes in panels.flat[len(keys) :]:
        axes.axis("off")
    for axes in panels[:, 0]:
        axes.set_ylabel(style.escape(named(study)), fontsize=9)
    off = int((y != y.clip(low, high)).sum())
    notes = [f"{formatting.counted(off, 'trial')} beyond the edge, drawn at it"] * bool(off)
    notes += [f"left out: {len(left_out)} keys of less importance"] * bool(left_out)
    if notes:
        figure.supxlabel("; ".join(notes), fontsize=9)
    style.set_title(figure, _what_matters(importance, keys, len(trials)))
    return figure


def _what_matters(importance: Importance | None, keys: Sequence[str], trials: int) -> str:
    if importance and importance.is_known and len(keys) > 1 and trials >= 5 * len(keys):
        (first, spread), (second, _) = (importance.keys[key] for key in keys[:2])
        if first - spread > second:
            return style.escape(f"What matters most: {formatting.words(keys[0])}")
    return "The searched keys and the objective"


def _panel(
    axes: Axes, study: Study, trials: Sequence[TrialRecord], key: str, limits: tuple[float, float]
) -> None:
    """Draws one key against the objective."""
    active = [trial for trial in trials if key in trial.values]
    place = Place(study, key, active)
    x = np.array([place(trial.values[key]) for trial in active])
    y = np.array([value_of(trial) for trial in active]).clip(*limits)
    if place.choices:
        for i in range(len(place.choices) if len(place.choices) <= 2 * MOST_NAMES else 0):
            of_choice = y[x == i]
            axes.hlines(np.median(of_choice), i - 0.35, i + 0.35, color=GREY, linewidth=1.5)
        x = x + 0.5 * (scatter(len(x)) - 0.5)
    if len(active) <= WHISKERS:
        look: Any = {"fmt": "none", "ecolor": BLUE, "alpha": 0.4, "elinewidth": 0.8}
        axes.errorbar(x, y, yerr=whiskers(active, *limits), **look)
    many = len(active) > WHISKERS
    axes.scatter(x, y, s=8 if many else 18, color=BLUE, alpha=0.5 if many else 0.9, linewidths=0)
    for i, trial in enumerate(active):
        if trial is trials[0]:
            axes.scatter(x[i], y[i], s=42, color=VERMILION, edgecolors="white", zorder=4)
    if place.choices:
        axes.set_xlim(-0.6, len(place.choices) - 0.4)
        step = -(-len(place.choices) // MOST_NAMES)
        names = [shown(choice, LONGEST) for choice in place.choices]
        turned = sum(map(len, names[::step])) > 18
        look = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if turned else {}
        axes.set_xticks(range(0, len(names), step), names[::step], fontsize=8, **look)
    else:
        if study.scales[key] == "log" and min(x) > 0:
            _log_axis(axes, x)
        axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", labelsize=8)
    axes.grid(color=style.GRID)


def _log_axis(axes: Axes, x: np.ndarray) -> None:
    """Sets a logarithmic scale with ticks at powers of ten, or at numbers if there are too few."""
    axes.set_xscale("log")
    if max(x) / min(x) < 30:
        ticks = np.unique([float(f"{tick:.1g}") for tick in np.geomspace(min(x), max(x), 4)])
        axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
        axes.xaxis.set_minor_locator(NullLocator())


def parallel_coordinates(study: Study, importance: Importance | None = None) -> Figure | None:
    """Each trial as a line through its values; the darker, the better; marked: the best."""
    trials = measured(study)[::-1]  # the best is drawn last
    keys = _varied(study, trials, importance)
    if len(keys) < 2 or len(trials) < 2:
        return None
    left_out, keys = keys[MOST_AXES:], keys[:MOST_AXES]
    figure = style.new_figure(4.4, WIDE if len(keys) > NARROW - 2 else style.WIDTH)
    axes = figure.subplots()
    axes.axis("off")
    y = np.array([value_of(trial) for trial in trials])
    low, high = limits_of(study, y)
    paths = np.empty((len(trials), len(keys) + 1))
    inactive = False
    for i, key in enumerate(keys):
        active = [trial for trial in trials if key in trial.values]
        place = Place(study, key, active)
        scale = place.to_unit
        spread = 0.55 / len(place.choices) if place.choices else 0.0
        moved = spread * (scatter(len(trials)) - 0.5)
        paths[:, i] = [scale(t.values[key]) if key in t.values else -0.14 for t in trials] + moved
        if len(active) < len(trials):
            inactive = True
            paths[:, i] = np.where(paths[:, i] < -0.1, -0.14, paths[:, i])
        _draw_axis(axes, i, place.ticks(), formatting.words(key))
    paths[:, -1] = (y.clip(low, high) - low) / (high - low)
    ticks = [t for t in MaxNLocator(5).tick_values(low, high) if low <= t <= high]
    of_objective = [((t - low) / (high - low), number(study, t, short=True)) for t in ticks]
    _draw_axis(axes, len(keys), of_objective, named(study))
    ranks = np.arange(len(trials)) / max(1, len(trials) - 1)
    lines = [np.column_stack([np.arange(len(keys) + 1), path]) for path in paths]
    width, faint = (0.8, 0.55) if len(trials) > WHISKERS else (1.3, 0.85)
    colors = _LIGHT_TO_DARK(ranks)
    axes.add_collection(
        LineCollection(lines[:-1], colors=colors[:-1], linewidths=width, alpha=faint)
    )
    axes.plot(*lines[-1].T, color=VERMILION, linewidth=2.2, zorder=5)
    axes.set_xlim(-0.25, len(keys) + 0.25)
    axes.set_ylim(-0.2 if inactive else -0.06, 1.2)
    notes = ["bottom: not active"] * inactive
    notes += [f"left out: {len(left_out)} keys of less importance"] * bool(left_out)
    if notes:
        figure.supxlabel("; ".join(notes), fontsize=9)
    style.set_title(figure, f"{formatting.counted(len(trials), 'trial')}; the best in red")
    return figure


def _draw_axis(axes: Axes, x: int, ticks: Sequence[tuple[float, str]], name: str) -> None:
    """Draws a vertical axis of parallel coordinates, with its name above it."""
    axes.plot([x, x], [0, 1], color=INK, linewidth=0.9, zorder=3)
    lines = style.break_lines(name, 11)[:2]
    axes.text(
        x, 1.06, style.escape("\n".join(lines)), ha="center", va="bottom", fontsize=8.5, color=INK
    )
    paper: Any = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.6}
    for at, label in ticks:
        axes.plot([x - 0.03, x], [at, at], color=INK, linewidth=0.9, zorder=3)
        axes.text(
            x - 0.05,
            at,
            label,
            ha="right",
            va="center",
            fontsize=7,
            color=INK,
            zorder=6,
            bbox=paper,
        )


def trial_curves(study: Study, importance: Importance | None = None) -> Figure | None:
    """The objective by epoch: the best trials in colours, all others in grey; dots: best epochs."""
    trials = [trial for trial in measured(study) if _curves(study, trial)]
    if not trials:
        return None
    figure = style.new_figure(3.9)
    axes = figure.subplots()
    rest = [curve for trial in trials[BEST:] for _, curve in _curves(study, trial)]
    axes.add_collection(
        LineCollection(
            rest, colors=GREY, linewidths=0.7, alpha=0.35 if len(rest) <= WHISKERS else 0.15
        )
    )
    everything = [*rest]
    colors = (VERMILION, BLUE, *CLASS_COLORS[2:])
    for color, trial in reversed([*zip(colors, trials[:BEST], strict=False)]):
        label: str | None = f"trial {trial.trial}: {number(study, trial.value)}"
        for part, curve in _curves(study, trial):
            everything.append(curve)
            marker = "o" if len(curve) == 1 else ""
            axes.plot(*curve.T, color=color, linewidth=1.6, label=label, marker=marker)
            at = curve[curve[:, 0] == part.best_epoch]
            axes.plot(*at.T, color=color, marker="o", markersize=5, linestyle="")
            label = None
    ends = np.array([curve[-1, 0] for curve in everything])
    values = np.concatenate([curve[:, 1] for curve in everything])
    low, high = limits_of(study, values[np.isfinite(values)])
    set_limits(axes, study, low, high, 0)
    if ends.max() > 10 * np.median(ends):  # a few trials are far longer
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,g}"))
        axes.set_xlim(0.9, 1.1 * ends.max())
    else:
        axes.set_xlim(0.5, ends.max() + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.grid(color=style.GRID)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="best", fontsize=8)
    best = f"the best {BEST} of " * (len(trials) > BEST)
    style.set_title(
        figure, f"Validation by epoch: {best}{formatting.counted(len(trials), 'trial')}"
    )
    return figure


def _curves(study: Study, trial: TrialRecord) -> list[tuple[PartRecord, np.ndarray]]:
    """Returns (epoch, objective) of each part of a trial that has them."""
    found = []
    for part in trial.parts:
        values = part.curves.get(study.objective) or []
        epochs = part.curves.get("epoch") or range(1, len(values) + 1)
        curve = np.array([*zip(epochs, values, strict=False)], float)
        if np.isfinite(curve).all(axis=-1).any():
            found.append((part, curve))
    return found


def _varied(
    study: Study, trials: Sequence[TrialRecord], importance: Importance | None
) -> list[str]:
    """Returns the keys with several values, the most important first if that is known."""
    known = importance and importance.is_known
    order = importance.keys if importance and known else study.scales
    given = {key: {repr(t.values[key]) for t in trials if key in t.values} for key in order}
    fewest = 2 if len(trials) > 1 and len(order) > 1 else 1
    return [key for key in order if len(given[key]) >= fewest]
