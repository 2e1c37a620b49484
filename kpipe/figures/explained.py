"""Figures of what single answers hang on: places of an image, or words of a text."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..explaining import Explanation, Network, explain_image, image_methods, said
from ..records import Run
from . import style, word_effects
from .mistakes import Mistake, network_of, title_of, worst
from .style import BLUE, INK, VERMILION
from .texts import texts_of

WIDE = 7.5  # inches
PANELS = 6  # side by side
ROWS = 2  # of mistakes in images
TEXTS = 3
BARS = 15
POINTS = 48  # of integrated gradients; to the eye, more are the same
SHARE = 0.995  # of the pixels whose effect is drawn without being cut off

HEADS = {
    "grad_cam": "Grad-CAM",
    "integrated_gradients": "integrated gradients",
    "erasure": "without the word",
}


def explained_mistakes(run: Run) -> Figure | None:
    """What the most confident mistakes hang on: blue speaks for the answer, red against it."""
    if texts_of(run):
        texts = worst(run, TEXTS)
        return word_effects.of_mistakes(run, network_of(run), texts) if texts else None
    if not style.has_images(run) or not worst(run, 1):
        return None
    network = network_of(run)
    methods = image_methods(network)
    if not methods:  # an operation of the user's own without a gradient
        return None
    return _of_images(run, network, worst(run, ROWS * (PANELS // (1 + len(methods)))), methods)


def _of_images(
    run: Run, network: Network, mistakes: Sequence[Mistake], methods: Sequence[str]
) -> Figure:
    images = run.test_inputs(np.array([mistake.position for mistake in mistakes]))
    shown = [
        (
            mistake.title,
            image,
            explain_image(network, image[None], mistake.column, mistake.target, methods, POINTS),
        )
        for mistake, image in zip(mistakes, images, strict=True)
    ]
    figure = draw_images(shown)
    style.set_title(figure, title_of(run, len(shown)))
    figure.set_figheight(figure.get_figheight() + 0.35)
    return figure


def draw_images(shown: Sequence[tuple[str, np.ndarray, Sequence[Explanation]]]) -> Figure:
    """Draws images, each beside its explanations.

    Args:
        shown: Title, uint8 (height, width, channels) and explanations of each.
    """
    panels = 1 + len(shown[0][2])
    groups = max(1, min(len(shown), PANELS // panels))
    rows = -(-len(shown) // groups)
    height, width = shown[0][1].shape[:2]
    across = groups * panels + 0.25 * (groups - 1)
    inches = WIDE / (PANELS + 0.25) if groups > 1 else WIDE / max(4, panels)
    size = min(inches * height / width, 3.0)
    figure = style.new_figure(0.4 + rows * (size + 0.4), max(4.0, across * inches))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.04, wspace=0, hspace=0)
    widths = ([1.0] * panels + [0.25]) * groups
    grid = figure.subplots(rows, len(widths[:-1]), width_ratios=widths[:-1], squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for i, (title, image, explanations) in enumerate(shown):
        row, first = i // groups, i % groups * (panels + 1)
        axes = grid[row, first]
        draw_image(axes, image)
        axes.set_title("\n" * title.count("\n") + " ", fontsize=8.5)  # room for it
        look: dict = {"transform": axes.transAxes, "fontsize": 8.5, "va": "bottom"}
        axes.text(0, 1.04, title, **look).set_in_layout(False)  # it is wider than its image
        for axes, explanation in zip(grid[row, first + 1 :], explanations, strict=False):
            draw_heat(axes, image, explanation)
            if i + groups >= len(shown):
                name = HEADS[explanation.method].replace(" ", "\n")
                axes.text(0.5, -0.05, name, transform=axes.transAxes, ha="center", va="top", size=8)
    return figure


def draw_image(axes: Axes, image: np.ndarray) -> None:
    """Draws an image, grey if it has one channel."""
    pixels = image[..., 0] if image.shape[-1] == 1 else image
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")


def draw_heat(axes: Axes, image: np.ndarray, explanation: Explanation) -> None:
    """Draws effects over a pale image: Grad-CAM bright, others blue where they speak for it."""
    grey = image.astype(float).mean(axis=-1) / 255
    heat = explanation.effects
    if explanation.method == "grad_cam":
        colors = colormaps["inferno"](heat)[..., :3]
        strength = np.full(heat.shape, 0.6)
        below = grey
    else:
        largest = np.quantile(np.abs(heat), SHARE) or np.abs(heat).max() or 1.0
        strength = np.clip(np.abs(heat) / largest, 0, 1)
        colors = np.where(heat[..., None] > 0, to_rgb(BLUE), to_rgb(VERMILION))
        below = 0.85 + 0.15 * grey
    mixed = below[..., None] * (1 - strength[..., None]) + colors * strength[..., None]
    axes.imshow(mixed, interpolation="nearest")


def draw_rows(shown: Sequence[tuple[str, Explanation]]) -> Figure:
    """Draws the effect of each column of a row, or of each number of an array.

    Args:
        shown: Title and explanation of each.
    """
    chosen = [explanation.strongest(BARS) or [0] for _, explanation in shown]
    ratios = [1.0 + len(columns) for columns in chosen]
    figure = style.new_figure(0.6 * len(shown) + 0.27 * sum(ratios))
    all_axes = figure.subplots(len(shown), height_ratios=ratios, squeeze=False)[:, 0]
    for axes, (title, explanation), columns in zip(all_axes, shown, chosen, strict=True):
        effects = explanation.effects[columns]
        names = [f"{explanation.names[i]} = {said(explanation.values[i])}" for i in columns]
        colors = [BLUE if effect > 0 else VERMILION for effect in effects]
        axes.barh(range(len(columns)), effects, color=colors, height=0.6)
        axes.axvline(0, color=INK, linewidth=1)
        style.list_rows(axes, [style.shorten(name, 40) for name in names], size=9)
        axes.set_axisbelow(True)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        unit = "in the unit of the value" if explanation.unit == "value" else explanation.unit
        axes.set_xlabel(f"effect, {unit}", fontsize=9)
        axes.set_title(title, loc="left", fontsize=10)
    return figure
