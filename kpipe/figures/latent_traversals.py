"""Figures of latent traversals: how each latent changes an image."""

import io
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread

from ..records import Metrics, Record, Run
from . import style
from .autoencoders import COLUMNS, decode, draw_blocks, spread, to_gif
from .latents import HIGH, LOW, MAX_WIDTH, UNUSED, has_prior, latents_of, used_nats, vary
from .style import WIDTH

MAX_LATENTS = 64  # rows of traversals
MAX_BYTES = 500_000  # of an animation
# Keys that label networks shown side by side, and all keys in which they may differ.
NAMED = ("capacity", "discrete")
VARIED = (
    *NAMED,
    "continuous",
    "beta",
    "gamma",
    "continuous_capacity",
    "discrete_capacity",
    "capacity_steps",
)


def traversals(run: Run) -> Figure | None:
    """Effect of each latent on the decoded image, the latent with the largest KL on top."""
    latents = latents_of(run)
    if not latents:
        return None
    kl = run.predictions["kl"].mean(axis=0)
    order = np.argsort(-kl, kind="stable")[:MAX_LATENTS]
    typical = np.zeros((1, latents[-1].columns.stop))
    for latent in latents:
        if latent.is_discrete:
            frequent = run.predictions["code"][:, latent.columns].mean(axis=0).argmax()
            typical[0, latent.columns.start + frequent] = 1
    codes = []
    for i in order:
        columns, is_discrete = latents[i].columns, latents[i].is_discrete
        size = columns.stop - columns.start if is_discrete else COLUMNS
        codes.append(vary(typical, latents[i], np.linspace(0, 1, size))[:, 0])
    images = decode(run, np.concatenate(codes))
    strips = np.split(images, np.cumsum([len(strip) for strip in codes])[:-1])
    figure = style.new_figure(WIDTH)
    names = [f"{latents[i].name}  {kl[i]:.2f} nats" for i in order]
    height = draw_blocks(figure, strips, names, MAX_WIDTH)
    parts = []
    if any(not latent.is_discrete for latent in latents):
        parts.append(f"z: from the {100 * LOW:.0f} % to the {100 * HIGH:.0f} % quantile, rest at 0")
    if any(latent.is_discrete for latent in latents):
        parts.append("c: each value, rest at the most frequent one")
    figure.supxlabel("\n".join(parts), fontsize=8)
    largest = order[0]
    title = f"{latents[largest].name} has the largest KL, {kl[largest]:.2f}\N{NO-BREAK SPACE}nats; "
    title += f"{np.sum(kl < UNUSED)} of {len(latents)} latents have less than {UNUSED}"
    if len(order) < len(latents):
        title += f"; the {len(order)} largest are shown"
    title_lines = style.set_title(figure, title)
    figure.set_figheight(0.3 + 0.19 * title_lines + 0.15 * len(parts) + height)
    return figure


def traversal_animation(run: Run) -> bytes | None:
    """Test images while one latent per column moves through its range: an animated GIF."""
    latents = latents_of(run)
    if not latents:
        return None
    kl = run.predictions["kl"].mean(axis=0)
    shown = np.argsort(-kl, kind="stable")[:5]
    codes = run.predictions["code"]
    codes = codes[spread(run, 4, len(codes))]
    size = max(latents[i].columns.stop - latents[i].columns.start for i in shown)
    # Smaller and smaller, until the file is small enough.
    for count, steps, colors in (
        (5, max(24, min(size, 40)), 128),
        (5, 20, 64),
        (4, 16, 32),
        (3, 12, 16),
        (3, 8, 8),
    ):
        there = np.linspace(0, 1, steps)
        varied = np.stack([vary(codes, latents[i], there) for i in shown[:count]], axis=2)
        images = decode(run, varied.reshape(-1, varied.shape[-1]))
        frames = images.reshape(steps, -1, *images.shape[1:])
        names = [f"{latents[i].name}\n{kl[i]:.2f} nats" for i in shown[:count]]
        content = to_gif([style.tile(frame, len(names)) for frame in frames], names, colors)
        if len(content) < MAX_BYTES:
            break
    return content


def compare_traversals(run: Run) -> Figure | None:
    """Traversals of this network next to those of networks with other latents or capacities."""
    own = traversals(run)
    others = [] if own is None else _sheets(run)
    if own is None or not others:
        return None
    this = _Sheet(
        f"{_describe(run.record)}, this run",
        used_nats(_values(run.metrics)),
        imread(io.BytesIO(style.to_png(own))),
    )
    sheets = sorted([this, *others], key=lambda sheet: sheet.name)
    columns = min(len(sheets), 3)
    width = MAX_WIDTH / columns
    heights = [width * sheet.image.shape[0] / sheet.image.shape[1] for sheet in sheets]
    ratios = [max(heights[i : i + columns]) for i in range(0, len(heights), columns)]
    figure = style.new_figure(0.4 + sum(ratios) + 0.55 * len(ratios), MAX_WIDTH)
    all_axes = figure.subplots(len(ratios), columns, height_ratios=ratios, squeeze=False).ravel()
    for axes in all_axes:
        axes.set_axis_off()
        axes.set_anchor("N")
    for axes, sheet in zip(all_axes, sheets, strict=False):
        axes.imshow(sheet.image)
        axes.set_title("\n".join([sheet.name, *sheet.nats]), fontsize=9, loc="left")
    style.set_title(figure, f"Effect of each latent in {len(sheets)} networks, side by side")
    return figure


class _Sheet(NamedTuple):
    name: str
    nats: list[str]
    image: np.ndarray


def _describe(record: Record) -> str:
    """Describes the network's code and capacity: "capacity rising, discrete 10"."""
    values = record.hyperparameters
    return ", ".join(f"{key} {values[key]}" for key in NAMED if key in values)


def _sheets(run: Run) -> list[_Sheet]:
    """Returns the finished runs in the same folder that differ only in latents and capacities."""

    def is_wanted(record: Record) -> bool:
        # Without a prior there are no traversals.
        return run.is_variant(record, VARIED) and has_prior(record)

    found = []
    for other in run.siblings(is_wanted):
        path = other.folder / "figures" / "traversals.png"
        try:
            image = imread(path)
        except (
            OSError,
            ValueError,
            SyntaxError,
        ) as error:  # SyntaxError: Pillow's of a damaged PNG
            reason = type(error).__name__
            print(
                f"{other.folder.name} is not compared: {path} cannot be read ({reason})", flush=True
            )
            continue
        found.append(_Sheet(_describe(other.record), used_nats(_values(other.metrics)), image))
    return found


def _values(metrics: Metrics) -> dict[str, float]:
    values = {name: metric.get("value") for name, metric in metrics.items()}
    return {name: value for name, value in values.items() if value is not None}
