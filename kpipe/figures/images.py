"""Figures of images: mistakes, augmented examples, learned filters."""

import numpy as np
from matplotlib.figure import Figure

from ..records import Run
from . import style
from .style import WIDTH

MAX_MISTAKES = 20
MAX_FILTERS = 64
NUM_ORIGINALS, NUM_AUGMENTED = 8, 6

# Text for each change of `Augmentation`; {0} is its value, {1} the value in percent.
_CHANGES = {
    "flip": "mirrored",
    "alternating_flip": "mirrored in every other epoch",
    "shift": "shifted ± {0} pixels",
    "rotate": "rotated ± {0:g}°",
    "zoom": "scaled ± {1:g} %",
    "brightness": "brightness ± {1:g} %",
    "contrast": "contrast ± {1:g} %",
    "saturation": "saturation ± {1:g} %",
    "erase": "a square of {1:g} % of the side made grey",
}


def worst_mistakes(run: Run) -> Figure | None:
    """The most confident mistakes on the test split: true → predicted class, its probability."""
    if not (style.has_classes(run) and style.has_images(run)):
        return None
    truth, probabilities = run.predictions["label"], run.predictions["probabilities"]
    predicted, highest = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    if not wrong.size:
        return None
    longest = max(map(len, run.label_names))
    columns, arrow, size, height = 4, " → ", 9.0, 1.6  # height in inches
    if longest > 18:  # each name on two lines of a wider column
        columns, arrow, size, height = 3, "\n→ ", 7.5, 2.25
    elif longest > 7:
        arrow, size, height = "\n→ ", 8, 1.74
    shown = wrong[np.argsort(-highest[wrong], kind="stable")][: MAX_MISTAKES // columns * columns]
    images = _pixels(run.test_inputs(shown))

    names = [
        _in_two_lines(name) if longest > 18 else style.shorten(name, 14) for name in run.label_names
    ]
    rows = -(-len(shown) // columns)
    figure = style.new_figure(0.7 + rows * height)
    figure.set_layout_engine("constrained", h_pad=0.07)  # inches, room below the title
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in all_axes:
        axes.set_axis_off()
    for axes, image, position in zip(all_axes, images, shown, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        pair = names[truth[position]] + arrow + names[predicted[position]]
        axes.set_title(f"{pair}\n{style.percent(highest[position])}", fontsize=size)
    which = f"The {len(shown)} most confident of {wrong.size:,} mistakes"
    if len(shown) == wrong.size:
        which = f"All {wrong.size} mistakes" if wrong.size > 1 else "The only mistake"
    style.set_title(figure, f"{which}: true → predicted")
    return figure


def augmented_examples(run: Run) -> Figure | None:
    """Training images, each next to random augmentations of it."""
    data = run.data
    if data is None or not style.has_images(run) or not data.augmentation.in_training:
        return None
    from ..inputs.augmentation import augment  # imports TensorFlow

    train = data.train
    positions = np.linspace(0, len(train) - 1, min(NUM_ORIGINALS, len(train))).astype(int)
    originals, _ = train.take(positions)
    inputs = [originals] * NUM_AUGMENTED
    if data.augmentation.alternating_flip:
        inputs[1::2] = [originals[:, :, ::-1]] * len(inputs[1::2])
    changed = [
        np.asarray(augment(images, data.augmentation, seed=np.array([0, step])))
        for step, images in enumerate(inputs)
    ]
    gap = max(1, originals.shape[2] // 12)  # pixels
    panels = [
        style.tile(_pixels(images), columns, gap)
        for images, columns in (
            (originals, 1),
            (np.stack(changed, axis=1).reshape(-1, *originals.shape[1:]), NUM_AUGMENTED),
        )
    ]
    widths = [panel.shape[1] for panel in panels]
    figure = style.new_figure(WIDTH)
    all_axes = figure.subplots(1, 2, width_ratios=widths)
    for axes, panel, name in zip(all_axes, panels, ("original", "in training"), strict=True):
        axes.imshow(panel, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(name, fontsize=10, loc="left")
    changes = [
        _CHANGES.get(name, name).format(value, 100 * value)
        for name, value in data.augmentation.in_training.items()
    ]
    lines = style.set_title(figure, f"Training changes images at random: {', '.join(changes)}")
    height = (WIDTH - 0.3) * panels[0].shape[0] / sum(widths)
    figure.set_figheight(0.45 + 0.19 * lines + height)
    return figure


def first_layer_filters(run: Run) -> Figure | None:
    """The first layer's filters, or units, before and after training, each scaled separately."""
    before = run.initial_kernel
    after = None if before is None else run.final_kernel  # loads the model of an opened run
    if before is None or after is None:
        return None
    height, width, _, num_filters = after.shape
    shown = min(num_filters, MAX_FILTERS)
    columns = min(shown, 8 if shown <= 32 else 16)
    mosaics = [_mosaic(kernel[..., :shown], columns) for kernel in (before, after)]
    panel_height = (WIDTH - 0.4) * mosaics[0].shape[0] / mosaics[0].shape[1]
    figure = style.new_figure(0.5 + 2 * (0.3 + panel_height))
    titles = ["before training", "after training"]
    if norm := np.linalg.norm(before):
        change = 100 * np.linalg.norm(after - before) / norm
        titles[1] += f", changed by {change:.0f} % of their norm"
    for axes, mosaic, title in zip(figure.subplots(2), mosaics, titles, strict=True):
        axes.imshow(mosaic)
        axes.set_axis_off()
        axes.set_title(title, fontsize=10, loc="left")
    # A dense unit sees the whole image.
    data = run.data
    whole = data is not None and (height, width) == tuple(data.input_shape[:2])
    count = f"{shown} of {num_filters:,}" if shown < num_filters else f"{num_filters}"
    kind = "units" if whole else "filters"
    style.set_title(figure, f"First layer: {count} {kind} of {height} × {width} pixels")
    return figure


def _pixels(images: np.ndarray) -> np.ndarray:
    """Converts images for matplotlib: grey ones have no channel axis."""
    return images[..., 0] if images.shape[-1] == 1 else images


def _in_two_lines(name: str) -> str:
    first, *rest = style.break_lines(name, 24)
    lines = [first, style.truncate("".join(rest), 26)] if rest else [first]
    return style.escape("\n".join(lines))


def _mosaic(kernel: np.ndarray, columns: int) -> np.ndarray:
    """Tiles filters on white: RGB for three channels, otherwise the mean in grey."""
    filters = np.moveaxis(kernel, -1, 0).astype(float)
    if filters.shape[-1] != 3:
        filters = np.repeat(filters.mean(axis=-1, keepdims=True), 3, axis=-1)
    low = filters.min(axis=(1, 2, 3), keepdims=True)
    span = filters.max(axis=(1, 2, 3), keepdims=True) - low
    # A constant filter is shown in middle grey.
    filters = np.where(span > 0, (filters - low) / np.where(span > 0, span, 1), 0.5)
    zoom = -(-24 // max(filters.shape[1:3]))  # small filters are enlarged to 24 pixels
    filters = filters.repeat(zoom, axis=1).repeat(zoom, axis=2)
    return style.tile(filters, columns, gap=4)
