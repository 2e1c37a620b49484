"""Style of all figures: size, colours, titles, and texts that fit.

Only matplotlib's objects are used, never pyplot: nothing is global and no display is needed.
Figures are five inches wide, so that 10-point text is readable on a phone and in a printed column.
"""

import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..runs import Run

# Okabe and Ito's colours, which are distinct with every kind of colour blindness.
BLUE, VERMILION, GREEN, GREY, INK = "#0072B2", "#D55E00", "#009E73", "#767676", "#222222"
CLASS_COLORS = (BLUE, VERMILION, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
GRID = "#e6e6e6"
WIDTH = 5.0  # inches
DPI = 160  # a figure of five inches becomes 800 pixels wide

MAX_NUMBERED_CLASSES = 15  # with more classes the text is small, and a matrix shows colours only


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """Creates an empty figure, with sizes in inches, whose layout keeps all text inside."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def to_png(figure: Figure) -> bytes:
    """Returns the figure as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()


def set_title(figure: Figure, text: str) -> int:
    """Sets the title, wrapped to the figure's width; returns the number of lines."""
    text = text.replace(" %", "\N{NO-BREAK SPACE}%")
    lines = textwrap.wrap(text, int(9.2 * figure.get_figwidth()), break_on_hyphens=False)
    look: Any = {"horizontalalignment": "left", "fontsize": 11, "fontweight": "bold"}
    figure.suptitle("\n".join(lines).replace("\N{NO-BREAK SPACE}", " "), x=0.02, **look)
    return len(lines)


def legend_above(axes: Axes, **options: Any) -> None:
    """Draws a legend between the title and the axes."""
    place: Any = {
        "loc": "lower left",
        "bbox_to_anchor": (0, 1),
        "frameon": False,
        "borderaxespad": 0.2,
    }
    axes.legend(**place, **options)


def list_rows(axes: Axes, names: Sequence[str], size: float) -> None:
    """Labels the rows of a chart, the first on top, with guide lines."""
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", color=GRID)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def shorten(name: str, longest: int) -> str:
    """Shortens a class name, and escapes dollar signs, which would start a formula."""
    name = name if len(name) <= longest else name[: longest - 1] + "…"
    return name.replace("$", r"\$")


def break_lines(text: str, width: int) -> list[str]:
    """Breaks text into lines of at most `width` characters after spaces, commas, hyphens and _."""
    lines = [""]
    for piece in re.findall(r"[^\s,_-]*[\s,_-]*", text):
        if lines[-1] and len(lines[-1] + piece) > width:
            lines.append("")
        lines[-1] += piece
    return [shorten(line.strip(), width) for line in lines]


def percent_formatter(limits: Sequence[float]) -> PercentFormatter:
    """Returns a percent formatter, with one decimal if ticks are closer than one percent."""
    return PercentFormatter(1.0, decimals=1 if limits[1] - limits[0] < 0.06 else 0, symbol=" %")


def bounds(metric: Mapping[str, float | None]) -> tuple[float, float, float]:
    """Returns value, low and high of a metric; NaN if undefined."""
    value, low, high = (metric.get(key) for key in ("value", "low", "high"))
    missing = float("nan")
    return (
        missing if value is None else value,
        missing if low is None else low,
        missing if high is None else high,
    )


def is_multilabel(run: Run) -> bool:
    """Whether an example has several labels instead of one class."""
    return run.predictions["label"].ndim == 2


def is_classifier(run: Run) -> bool:
    """Whether the run's network predicts classes or labels."""
    return "probabilities" in run.predictions


def has_images(run: Run) -> bool:
    """Whether inputs are images and available: a run loaded from its folder has none."""
    if run.data is None or len(run.data.input_shape) != 3:
        return False
    return run.data.input_shape[2] in (1, 3)  # other arrays cannot be shown
