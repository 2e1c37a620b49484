"""Style of all figures: size, colours, titles, and texts that fit.

Only matplotlib's objects are used, never pyplot: nothing is global and no display is needed.
Figures are five inches wide, so that 10-point text is readable on a phone and in a printed column.
"""

import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter
from matplotlib.transforms import Bbox

from ..records import Run

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


def legend_above(axes: Axes, classes: Sequence[tuple[str, Any]] = (), **options: Any) -> None:
    """Draws a legend between the title and the axes.

    Args:
        axes: The axes.
        classes: Name and color of each class; after them comes what was drawn with a label.
        options: Options of Matplotlib's legend.
    """
    handles, labels = axes.get_legend_handles_labels()
    # Not by label=, since Matplotlib leaves out labels that begin with "_", as classes may.
    markers = [Line2D([], [], color=color, marker="o", linestyle="") for _, color in classes]
    names = [name for name, _ in classes]
    place: Any = {
        "loc": "lower left",
        "bbox_to_anchor": (0, 1),
        "frameon": False,
        "borderaxespad": 0.2,
    }
    axes.legend([*markers, *handles], [*names, *labels], **place, **options)


def list_rows(axes: Axes, names: Sequence[str], size: float) -> None:
    """Labels the rows of a chart, the first on top, with guide lines."""
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", color=GRID)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def truncate(text: str, longest: int) -> str:
    """Shortens text to at most `longest` characters, the last of which is then "…"."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def escape(text: str) -> str:
    """Escapes dollar signs, which would start a formula."""
    return text.replace("$", r"\$")


def shorten(name: str, longest: int) -> str:
    """Truncates and escapes a name."""
    return escape(truncate(name, longest))


def break_lines(text: str, width: int) -> list[str]:
    """Breaks text into lines of at most `width` characters after spaces, commas, hyphens and _."""
    lines = [""]
    for piece in re.findall(r"[^\s,_-]*[\s,_-]*", text):
        if lines[-1] and len(lines[-1] + piece) > width:
            lines.append("")
        lines[-1] += piece
    return [truncate(line.strip(), width) for line in lines]


def class_colors(count: int) -> list[tuple[float, float, float]]:
    """Returns a colour for each class, as RGB."""
    if count <= len(CLASS_COLORS):
        return [to_rgb(color) for color in CLASS_COLORS[:count]]
    if count <= 10:
        return [to_rgb(color) for color in colormaps["tab10"](range(count))]
    return [to_rgb(color) for color in colormaps["turbo"](np.linspace(0.05, 0.95, count))]


def name_apart(
    figure: Figure,
    axes: Axes,
    places: Sequence[np.ndarray],
    names: Sequence[str],
    *,
    offset: tuple[float, float] = (0, 0),
    most: int | None = None,
    **look: Any,
) -> None:
    """Names points in the given order, where a name fits into the axes and overlaps no other.

    Args:
        figure: The figure, on which all else is drawn.
        axes: The axes of the points.
        places: Point of each name.
        names: The names.
        offset: Offset of a name from its point, in units of 1/72 inch.
        most: Maximum number of names.
        **look: Properties of the text.
    """
    figure.draw_without_rendering()  # applies the layout, which sets the positions
    taken: list[Bbox] = []
    for place, name in zip(places, names, strict=True):
        if len(taken) == most:
            break
        text = axes.annotate(name, tuple(place), xytext=offset, textcoords="offset points", **look)
        box = text.get_window_extent()
        inside = axes.bbox.contains(*box.p0) and axes.bbox.contains(*box.p1)
        if inside and not box.count_overlaps(taken):
            taken.append(box)
        else:
            text.remove()


def tile(images: np.ndarray, columns: int, gap: int | None = None) -> np.ndarray:
    """Tiles images of one size row by row on white; gaps are a sixteenth of the width by default.

    Images are uint8, or floats from 0 to 1.
    """
    count, height, width = images.shape[:3]
    gap = max(1, width // 16) if gap is None else gap
    rows = -(-count // columns)
    white = 255 if images.dtype == np.uint8 else 1
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, *images.shape[3:])
    canvas = np.full(shape, white, images.dtype)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        canvas[top : top + height, left : left + width] = image
    return canvas


class PercentTicks(PercentFormatter):
    """Writes the ticks of a share in percent, with as many decimals as all of them need."""

    def __init__(self) -> None:
        super().__init__(1.0, decimals=0, symbol=" %")

    def set_locs(self, locs: Any) -> None:
        super().set_locs(locs)
        percent = 100 * np.asarray(locs, float)
        exact = (n for n in range(4) if np.allclose(percent.round(n), percent, rtol=0, atol=1e-6))
        self.decimals = next(exact, 4)


def percent(probability: float) -> str:
    """Formats a probability in percent, never rounded up to 100 %."""
    return "> 99.99 %" if probability > 0.9999 else f"{100 * probability:.2f} %"


def bounds(metric: Mapping[str, float | None]) -> tuple[float, float, float]:
    """Returns value, low and high of a metric; NaN if undefined."""
    value, low, high = (metric.get(key) for key in ("value", "low", "high"))
    missing = float("nan")
    return (
        missing if value is None else value,
        missing if low is None else low,
        missing if high is None else high,
    )


def known_labels(run: Run) -> list[int]:
    """Returns which of several labels were evaluated, those that vary in train; or else all."""
    names = list(enumerate(run.label_names))
    found = [i for i, name in names if f"accuracy/{name}" in run.metrics]
    return found or [i for i, _ in names]


def is_multilabel(run: Run) -> bool:
    """Whether an example has several labels instead of one class."""
    return run.predictions["label"].ndim == 2


def is_classifier(run: Run) -> bool:
    """Whether the run's network predicts classes or labels."""
    return "probabilities" in run.predictions


def has_classes(run: Run) -> bool:
    """Whether the run's network predicts one class for an example."""
    return is_classifier(run) and not is_multilabel(run)


def has_labels(run: Run) -> bool:
    """Whether the run's examples have named classes or labels, which any task may have."""
    return bool(run.label_names) and run.predictions["label"].dtype.kind in "iu"


def has_images(run: Run) -> bool:
    """Whether inputs are images and available: a run loaded from its folder has none."""
    if run.data is None or len(run.data.input_shape) != 3:
        return False
    return run.data.input_shape[2] in (1, 3)  # other arrays cannot be shown
