"""Figure of a learning curve: the error by number of training examples."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from .. import files, formatting
from ..records import Run
from . import style
from .style import BLUE, CLASS_COLORS, GREY, INK

APART = 0.06  # of a size, between the points of neighbouring seeds


def more_data(run: Run) -> Figure | None:
    """Validation error by number of training examples, and what twice the data would bring."""
    path = run.folder / "learning_curve.json"
    if not path.is_file():
        return None
    found = files.read_json(path)
    assert isinstance(found, dict)
    metric, seeds = found["metric"], found["seeds"]
    figure = style.new_figure(3.9)
    axes = figure.subplots()
    x, value, low, high = (
        np.array([at[key] for at in found["curve"]]) for key in ("examples", "value", "low", "high")
    )
    now = found["sizes"][-1]["examples"]
    known, beyond = x <= now * 1.001, x >= now * 0.999
    axes.fill_between(x, low, high, color=BLUE, alpha=0.13, linewidth=0)
    axes.plot(x[known], value[known], color=BLUE, linewidth=1.8, label="power law")
    axes.plot(
        x[beyond], value[beyond], color=BLUE, linewidth=1.8, linestyle="--", label="extrapolated"
    )
    for i, seed in enumerate(seeds):
        points = [point for point in found["points"] if point["seed"] == seed]
        center, *bounds = (
            np.array([point[key] for point in points]) for key in ("value", "low", "high")
        )
        shift = 1 + APART * (i - (len(seeds) - 1) / 2)
        color = INK if len(seeds) == 1 else (INK, *CLASS_COLORS[1:], GREY)[min(i, 7)]
        axes.errorbar(
            np.array([point["examples"] for point in points]) * shift,
            center,
            yerr=np.maximum(0, [center - bounds[0], bounds[1] - center]),
            fmt="o",
            markersize=4,
            color=color,
            elinewidth=1,
            capsize=2,
            label=f"seed {seed}",
        )
    axes.set_xscale("log")
    ticks = [size["examples"] for size in found["sizes"]] + [found["twice"]["examples"]]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{tick:,.0f}"))
    axes.tick_params(axis="x", labelsize=9)
    share = formatting.is_share(metric)
    seen = [point[key] for point in found["points"] for key in ("low", "high")] + [*value]
    room = 0.08 * (max(seen) - min(seen) or 1)  # a wide band must not flatten the points
    axes.set_ylim(max(0, min(seen) - 2 * room), max(seen) + room)
    if share:
        axes.yaxis.set_major_formatter(style.PercentTicks())
    axes.set_ylabel("validation error" if share else f"validation {formatting.words(metric)}")
    axes.set_xlabel("training examples")
    axes.grid(color=style.GRID)
    style.legend_above(axes, ncols=3, fontsize=9)
    gain = found["gain"]
    change = {"value": -gain["value"], "low": -gain["high"], "high": -gain["low"]}
    said = formatting.measured(f"{metric}_above_", change)
    name = "error" if share else formatting.words(metric)
    title = f"Twice the data: {name} {said}{' points' * share}"
    test = found["back_test"]
    if test and test["holds"] is False:
        title = "The errors do not follow the law, so that it cannot say what more data would bring"
    style.set_title(figure, title)
    return figure
