"""Figures of an autoencoder: reconstructions and denoising."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..records import Run
from . import style
from .style import BLUE, GREEN, INK, VERMILION, WIDTH

COLUMNS = 10
NAME_WIDTH = 1.2  # inches, of the names to the left of rows of images
SIDE = (WIDTH - NAME_WIDTH) / COLUMNS  # inches, of an image in such a row
MIN_SIDE = 0.28  # inches: blocks of rows become longer rather than images smaller
MAX_LINES = 20  # rows of images in a block, if there is room for another block next to it
NOISE_SEED = (0, 0)
FRAME_MILLISECONDS = 80  # twelve frames a second; a GIF counts in hundredths of a second
CELL = 64  # pixels of an animated image
_SPACE = "\N{NO-BREAK SPACE}"


def reconstructions(run: Run) -> Figure | None:
    """Test images and their reconstructions."""
    if "latents" not in run.record.details or not style.has_images(run):
        return None
    svd = run.predictions.get("svd_shown")
    positions = spread(run, COLUMNS, len(run.predictions["code"] if svd is None else svd))
    images = run.test_inputs(positions) / 255
    ratio = images.shape[1] / images.shape[2]
    rows = [images, decode(run, run.predictions["code"][positions])]
    psnr, ssim = (run.metrics[key]["value"] for key in ("psnr", "ssim"))
    names = ["original", f"reconstruction\n{psnr:.2f} dB, {ssim:.3f}"]
    title = f"Reconstructions reach {psnr:.2f}{_SPACE}dB PSNR and {ssim:.3f} SSIM"
    if svd is not None:
        rows.append(np.clip(svd[positions], 0, 1))
        of_svd = run.metrics["svd_psnr"]["value"]
        names.append(f"truncated SVD\n{of_svd:.2f} dB")
        title += f"; the truncated SVD {of_svd:.2f}{_SPACE}dB"
    figure = style.new_figure(WIDTH)
    axes = figure.subplots()
    draw_rows(axes, np.concatenate(rows), len(positions), names)
    axes.set_xlabel("means over the test split: PSNR in dB, SSIM", fontsize=8)
    lines = style.set_title(figure, title)
    figure.set_figheight(0.5 + 0.19 * lines + len(names) * SIDE * ratio)
    return figure


def denoising(run: Run) -> Figure | None:
    """Noisy test images and their reconstructions, at each level of noise."""
    levels = sorted(
        (name.partition("/")[2] for name in run.metrics if name.startswith("psnr_noisy/")),
        key=float,
    )
    if not levels or "latents" not in run.record.details or not style.has_images(run):
        return None
    from ..inputs.images import add_noise  # imports TensorFlow

    images = run.test_inputs(spread(run, COLUMNS, len(run.predictions["code"])))
    encoder = run.model.get_layer("encoder")
    figure = style.new_figure(WIDTH)
    row_height = SIDE * images.shape[1] / images.shape[2]
    ratios = [2 * row_height] * len(levels) + [1.7]
    *sheets, curve = figure.subplots(len(levels) + 1, height_ratios=ratios)
    for axes, level in zip(sheets, levels, strict=True):
        noisy = np.asarray(add_noise(images, float(level), NOISE_SEED))
        denoised = decode(run, encoder.predict(noisy, verbose=0)["code"])
        names = [
            f"{what}\n{_value(run, 'psnr', kind, level):.2f} dB, "
            f"{_value(run, 'ssim', kind, level):.3f}"
            for what, kind in ((f"noise {level}", "noisy"), ("denoised", "denoised"))
        ]
        draw_rows(axes, np.concatenate([noisy / 255, denoised]), len(images), names)
    x = np.array(levels, float)
    before, after = (
        np.array([_value(run, "psnr", kind, level) for level in levels])
        for kind in ("noisy", "denoised")
    )
    curve.plot(x, before, color=VERMILION, marker="s", label="noisy, in")
    curve.plot(x, after, color=BLUE, marker="o", label="denoised, out")
    if f"psnr_filtered/{levels[0]}" in run.metrics:
        filtered = [_value(run, "psnr", "filtered", level) for level in levels]
        curve.plot(x, filtered, color=GREEN, marker="^", label="Wiener filter")
    crossing, finding = _crossing(x, after - before)
    if crossing is not None:
        curve.axvline(crossing, color=INK, linestyle=":", label=f"crossing at {crossing:.2f}")
    style.legend_above(curve, ncols=3, fontsize=8)
    curve.set_xlabel(
        "standard deviation of the noise, as a share of white\n"
        "next to the images: means over the test split of PSNR in dB, SSIM",
        fontsize=8,
    )
    curve.set_ylabel("PSNR in dB")
    curve.set_xticks(x, levels)
    curve.grid(color=style.GRID)
    lines = style.set_title(figure, finding)
    figure.set_figheight(1.1 + 0.19 * lines + sum(ratios) + 0.1 * len(levels))
    return figure


def _value(run: Run, metric: str, kind: str, level: str) -> float:
    return style.bounds(run.metrics[f"{metric}_{kind}/{level}"])[0]


def _crossing(levels: np.ndarray, gain: np.ndarray) -> tuple[float | None, str]:
    """Interpolates the noise level above which `gain` stays positive; returns it and a sentence."""
    helps = gain > 0
    if helps.all():
        return None, f"Denoising raises PSNR at every noise level, from {levels[0]:g} on"
    if not helps.any():
        return None, f"Denoising raises PSNR at no noise level up to {levels[-1]:g}"
    last = np.flatnonzero(~helps)[-1]  # the last level at which it does not help
    if last == len(levels) - 1:
        which = ", ".join(f"{level:g}" for level in levels[helps])
        return None, f"Denoising raises PSNR only at a noise level of {which}"
    step = gain[last] / (gain[last] - gain[last + 1])
    crossing = float(levels[last] + step * (levels[last + 1] - levels[last]))
    return crossing, f"Denoising raises PSNR from a noise level of about {crossing:.2f} on"


def decode(run: Run, codes: np.ndarray) -> np.ndarray:
    """Decodes codes to images, clipped to 0..1."""
    decoder = run.model.get_layer("decoder")
    images = decoder.predict(codes.astype(np.float32), verbose=0)["reconstruction"]
    return np.clip(images, 0, 1)


def spread(run: Run, count: int, among: int) -> np.ndarray:
    """Chooses `count` of the first `among` test examples, spread over the classes and sorted."""
    label = run.predictions["label"][:among]
    if label.ndim > 1:
        return np.linspace(0, among - 1, min(count, among)).astype(int)
    classes = np.unique(label)
    classes = classes[np.linspace(0, len(classes) - 1, min(count, len(classes))).astype(int)]
    found = [np.flatnonzero(label == c) for c in classes]
    # The first of each class, then the second of each, until there are enough.
    taken = sorted((rank, c) for c, of_class in enumerate(found) for rank in range(len(of_class)))
    return np.array([found[c][rank] for c, rank in sorted((c, r) for r, c in taken[:count])])


def draw_rows(axes: Axes, images: np.ndarray, columns: int, names: Sequence[str]) -> None:
    """Draws images in rows of `columns`, with the name of each row to its left."""
    canvas = style.tile(images, columns)
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=1)
    axes.set_anchor("NW")  # if centred, names could be outside the space that the layout reserves
    height = (canvas.shape[0] + 1) / len(names)
    axes.set_yticks((np.arange(len(names)) + 0.5) * height - 1, names, fontsize=8)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def draw_blocks(
    figure: Figure, strips: Sequence[np.ndarray], names: Sequence[str], widest: float
) -> float:
    """Draws named strips of images below each other, in several blocks if there are many.

    Args:
        figure: An empty figure; its width is set.
        strips: Images of each row; more than COLUMNS need several lines.
        names: Name of each row.
        widest: Maximum width of the figure in inches.

    Returns:
        The height of the blocks in inches.
    """
    widths = np.array([min(len(strip), COLUMNS) for strip in strips])
    lines = np.array([-(-len(strip) // COLUMNS) for strip in strips])
    if lines.sum() > MAX_LINES:  # the widest first, otherwise short strips would leave holes
        order = np.argsort(-widths, kind="stable")
        strips, names = [strips[i] for i in order.tolist()], [names[i] for i in order.tolist()]
        widths, lines = widths[order], lines[order]
    for count in range(1, len(strips) + 1):
        block_of = (np.cumsum(lines) - lines) * count // lines.sum()
        tried = [np.flatnonzero(block_of == block) for block in np.unique(block_of)]
        columns = [widths[block].max() for block in tried]
        room = (widest - len(tried) * NAME_WIDTH) / sum(columns)
        if count == 1 or room >= MIN_SIDE:
            blocks, block_columns, side = tried, columns, min(SIDE, room)
        if room < MIN_SIDE or lines.sum() <= count * MAX_LINES:
            break
    all_axes = figure.subplots(1, len(blocks), width_ratios=block_columns, squeeze=False)[0]
    height = max(lines[block].sum() for block in blocks)
    for axes, block, columns in zip(all_axes, blocks, block_columns, strict=True):
        sheet = np.ones((height, columns, *strips[0].shape[1:]), np.float32)
        shown, line = [""] * height, 0
        for i in block.tolist():
            shown[line] = names[i]
            for start in range(0, len(strips[i]), COLUMNS):
                part = strips[i][start : start + COLUMNS]
                sheet[line, : len(part)] = part
                line += 1
        draw_rows(axes, sheet.reshape(-1, *sheet.shape[2:]), columns, shown)
    figure.set_figwidth(max(WIDTH, len(blocks) * NAME_WIDTH + side * sum(block_columns)))
    return height * side * strips[0].shape[1] / strips[0].shape[2]


def to_gif(frames: list[np.ndarray], names: list[str], colors: int) -> bytes:
    """Encodes frames, forwards then backwards, with one palette and names above the columns."""
    from PIL import Image, ImageDraw

    height, width = frames[0].shape[:2]
    side = width / len(names)
    size = (round(width * CELL / side), round(height * CELL / side))
    header = 28  # pixels, of two lines
    film = Image.new("RGB", (size[0], (header + size[1]) * len(frames)), "white")
    draw = ImageDraw.Draw(film)
    for i, frame in enumerate(frames):
        pixels = np.broadcast_to((255 * frame).round().astype(np.uint8), (height, width, 3))
        top = i * (header + size[1])
        film.paste(Image.fromarray(pixels).resize(size, Image.Resampling.BOX), (0, top + header))
        for column, name in enumerate(names):
            draw.text((column * CELL + 1, top + 1), name, INK)
    # A palette from every sixteenth pixel is fast to compute and nearly as good as from all.
    few = film.resize((film.width // 4, film.height // 4), Image.Resampling.NEAREST)
    film = film.quantize(palette=few.quantize(colors), dither=Image.Dither.NONE)
    heights = range(0, film.height, header + size[1])
    cut = [film.crop((0, top, size[0], top + header + size[1])) for top in heights]
    buffer = io.BytesIO()
    look: Any = {"duration": FRAME_MILLISECONDS, "loop": 0, "optimize": False}
    cut[0].save(buffer, "GIF", save_all=True, append_images=[*cut[1:], *cut[-2:0:-1]], **look)
    return buffer.getvalue()
