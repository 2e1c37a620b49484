"""Figures of latent codes: how images are distributed, and how much information latents carry.

Continuous latents are named z1, z2 ..., discrete ones c1 (10), with the number of values.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from scipy.optimize import linear_sum_assignment
from scipy.stats import norm

from ..records import Record, Run
from . import style
from .autoencoders import decode
from .style import BLUE, CLASS_COLORS, GREY, INK, MAX_NUMBERED_CLASSES, VERMILION, WIDTH

MAX_WIDTH = 10.0  # inches
MAX_POINTS = 5000
GRID_SIDE = 15  # images; odd, so that the middle one is decoded from zeros
UNUSED = 0.1  # nats: a latent with less counts as unused
LOW, HIGH = 0.05, 0.95  # quantiles between which a continuous latent is varied


class Latent(NamedTuple):
    name: str
    columns: slice  # of a code
    is_discrete: bool


def latents_of(run: Run) -> list[Latent]:
    """Returns the latents in the order of a code; none if there is no prior to sample from."""
    if not has_prior(run.record):
        return []
    structure = run.record.details["latents"]
    first = structure["continuous"]
    found = [Latent(f"z{i + 1}", slice(i, i + 1), False) for i in range(first)]
    for i, size in enumerate(structure["discrete"]):
        found.append(Latent(f"c{i + 1} ({size})", slice(first, first + size), True))
        first += size
    return found


def has_prior(record: Record) -> bool:
    """Whether a run has latents with a prior to sample from."""
    return bool((record.details.get("latents") or {}).get("has_prior"))


def vary(codes: np.ndarray, latent: Latent, places: np.ndarray) -> np.ndarray:
    """Varies one latent of codes: (len(places), n, D); a place is a position in its range, 0..1."""
    if latent.is_discrete:
        size = latent.columns.stop - latent.columns.start
        values = np.eye(size)[np.minimum((places * size).astype(int), size - 1)]
    else:
        values = norm.ppf(LOW + (HIGH - LOW) * places)[:, None]
    varied = np.repeat(codes[None], len(places), axis=0)
    varied[:, :, latent.columns] = values[:, None]
    return varied


def code_scatter(run: Run) -> Figure | None:
    """Codes of test images in the plane, coloured by class."""
    dimensions = (run.record.details.get("latents") or {}).get("continuous", 0)
    if dimensions < 2 or not style.has_labels(run):
        return None
    codes, label = run.predictions["code"][:, :dimensions], run.predictions["label"]
    values, names, by = np.arange(len(run.label_names)), [*run.label_names], "class"
    if label.ndim == 2:
        # The first label that varies: not all of 40 attributes may be known.
        varying = int(np.ptp(label, axis=0).astype(bool).argmax())
        by = names[varying]
        label = label[:, varying]
        values = np.unique(label)
        names = list(map(str, values))
    shown = np.random.default_rng(0).permutation(len(codes))[:MAX_POINTS]
    places, which = codes, "plane of both latents"
    if dimensions > 2:
        from sklearn.decomposition import PCA  # takes a second to import

        projection = PCA(2, random_state=0).fit(codes)
        places = projection.transform(codes)
        total = codes.var(axis=0, ddof=1).sum()  # ddof as in PCA
        share = 100 * projection.explained_variance_.sum() / max(total, 1e-12)
        which = f"plane that keeps {share:.0f} % of the variance of {dimensions} latents"

    colors = np.array(style.class_colors(len(values)))
    figure = style.new_figure(WIDTH + 0.6)
    axes = figure.subplots()
    order = np.searchsorted(values, label)
    axes.scatter(
        places[shown, 0], places[shown, 1], s=6, c=colors[order[shown]], linewidths=0, alpha=0.7
    )
    if len(values) <= MAX_NUMBERED_CLASSES:
        columns = max(1, min(len(names), 54 // (max(map(len, names)) + 4)))
        classes = [(style.shorten(n, 18), color) for n, color in zip(names, colors, strict=True)]
        style.legend_above(
            axes, classes, ncols=columns, fontsize=8, handlelength=1, columnspacing=1
        )
    across, up = ("first", "second") if dimensions > 2 else ("z1", "z2")
    component = " principal component" if dimensions > 2 else ""
    axes.set(xlabel=across + component, ylabel=up + component)
    axes.grid(color=style.GRID)
    axes.set_axisbelow(True)
    axes.margins(0.1)  # room for names
    title = f"{len(shown):,} of {len(codes):,} test codes by {by}, in the {which}"
    style.set_title(figure, title)
    medians = [np.median(places[order == i], axis=0) for i in np.unique(order)]
    look: Any = {"ha": "center", "va": "center", "fontsize": 9, "fontweight": "bold", "color": INK}
    look["path_effects"] = [withStroke(linewidth=2.5, foreground="white")]
    shortened = [style.shorten(names[i], 14) for i in np.unique(order)]
    style.name_apart(figure, axes, medians, shortened, **look)
    return figure


def latent_grid(run: Run) -> Figure | None:
    """Images decoded from the plane of the two latents, at quantiles of the prior."""
    latents = latents_of(run)
    if sum(not latent.is_discrete for latent in latents) != 2:
        return None
    values = norm.ppf(np.linspace(LOW, HIGH, GRID_SIDE))
    codes = np.zeros((GRID_SIDE**2, latents[-1].columns.stop))
    codes[:, 0] = np.tile(values, GRID_SIDE)
    codes[:, 1] = np.repeat(values[::-1], GRID_SIDE)  # the largest on top, as in a plot
    for latent in latents[2:]:
        codes[:, latent.columns.start] = 1
    canvas = style.tile(decode(run, codes), GRID_SIDE)
    figure = style.new_figure(WIDTH + 0.4)
    axes = figure.subplots()
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=1)
    axes.set_anchor("NW")
    ticked = np.linspace(0, GRID_SIDE - 1, 5).round().astype(int)
    names = [f"{round(value, 2) + 0:.2f}" for value in values[ticked]]
    height, width = (np.array(canvas.shape[:2]) + 1) / GRID_SIDE
    axes.set_xticks((ticked + 0.5) * width - 1, names)
    axes.set_yticks((GRID_SIDE - ticked - 0.5) * height - 1, names)
    others = f"\nat value 0 of {', '.join(x.name for x in latents[2:4])}" if latents[2:] else ""
    axes.set(xlabel=f"z1{others}", ylabel="z2")
    axes.spines[:].set_visible(False)
    title = f"Decoded images over the middle {100 * (HIGH - LOW):.0f} % of each latent"
    style.set_title(figure, title)
    return figure


def latent_kl(run: Run) -> Figure | None:
    """KL of each latent over training, and total KL compared with the capacity."""
    history = {name: np.array(values, float) for name, values in run.history.items()}
    kinds = [kind for kind in ("continuous", "discrete") if f"{kind}_kl" in history]
    latents = latents_of(run)
    if not latents or not kinds or not len(history["epoch"]):
        return None
    x, x_name = history["epoch"], "epoch"
    if "step" in history:
        x, x_name = history["step"] / 1000, "thousand steps"
    numbers = {"continuous": 0, "discrete": 0}
    lines = []
    for latent in latents:
        kind = "discrete" if latent.is_discrete else "continuous"
        lines.append(history[f"{kind}_kl/{numbers[kind]}"])
        numbers[kind] += 1
    final = np.array([line[-1] for line in lines])
    largest = np.argsort(-final, kind="stable")[:5]
    look: Any = {"marker": "o" if len(x) <= 40 else "", "markersize": 3}

    figure = style.new_figure(1.1 + 2.6 + 1.6 * len(kinds))
    ratios = [2.2] + [1.3] * len(kinds)
    first, *rest = figure.subplots(1 + len(kinds), sharex=True, height_ratios=ratios)
    for i, line in enumerate(lines):
        if i not in largest:
            first.plot(x, line, color=GREY, linewidth=0.7, alpha=0.6)
    for i, color in zip(largest, CLASS_COLORS, strict=False):
        first.plot(x, lines[i], color=color, linewidth=1.6, label=latents[i].name, **look)
    first.set_ylabel("nats, each latent")
    style.legend_above(first, ncols=5, fontsize=8, handlelength=1.5, columnspacing=1)
    for axes, kind, color in zip(rest, kinds, (BLUE, VERMILION), strict=False):
        axes.plot(x, history[f"{kind}_kl"], color=color, label=f"{kind}, together", **look)
        if f"{kind}_capacity" in history:
            capacity: Any = {"color": INK, "linestyle": "--", "linewidth": 1.2, "label": "capacity"}
            axes.plot(x, history[f"{kind}_capacity"], **capacity)
        axes.set_ylabel("nats")
        style.legend_above(axes, ncols=2, fontsize=8)
    for axes in (first, *rest):
        axes.grid(color=style.GRID)
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    rest[-1].set_xlabel(x_name)
    figure.align_ylabels()
    title = f"{np.sum(final >= UNUSED)} of {len(latents)} latents end above {UNUSED} nats; "
    ends = {name: values[-1] for name, values in history.items()}
    style.set_title(figure, title + ", ".join(used_nats(ends)))
    return figure


def used_nats(ends: Mapping[str, float]) -> list[str]:
    """Writes the KL of continuous and discrete latents, each with its capacity."""
    found = []
    for kind in ("continuous", "discrete"):
        if f"{kind}_kl" in ends:
            capacity = ends.get(f"{kind}_capacity")
            limit = "" if capacity is None else f" of {capacity:.2f}"
            found.append(f"{kind} {ends[f'{kind}_kl']:.2f}{limit} nats")
    if "discrete_information" in ends:
        found[-1] += f", {ends['discrete_information']:.2f} of them information about the image"
    return found


def discrete_code_by_class(run: Run) -> Figure | None:
    """Test images by class and by value of the first discrete latent, as shares of a class."""
    latent = next((latent for latent in latents_of(run) if latent.is_discrete), None)
    if latent is None or not style.has_labels(run) or style.is_multilabel(run):
        return None
    truth = run.predictions["label"]
    value = run.predictions["code"][:, latent.columns].argmax(axis=1)
    size = latent.columns.stop - latent.columns.start
    counts = np.zeros((len(run.label_names), size), int)
    np.add.at(counts, (truth, value), 1)
    # Matches each class with one value, so that most examples agree.
    matched = dict(zip(*linear_sum_assignment(counts, maximize=True), strict=True))
    values = [int(matched[c]) for c in sorted(matched)]
    agree = counts[sorted(matched), values].sum() / counts.sum()
    values += sorted(set(range(size)) - set(values))
    shares = counts[:, values] / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    numbered = max(counts.shape) <= MAX_NUMBERED_CLASSES
    cell = 0.33 if numbered else 0.11  # inches
    width = min(max(WIDTH, 1.5 + cell * size), MAX_WIDTH)
    figure = style.new_figure(1.1 + max(1.2, cell * len(shares)), width)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    text: Any = {"fontsize": 9 if numbered else 6}
    axes.set_xticks(range(size), [str(value) for value in values], **text)
    axes.set_yticks(range(len(shares)), [style.shorten(x, 22) for x in run.label_names], **text)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    note = "numbers: percent of the class" if numbered else "dark: most of the class"
    axes.set(xlabel=f"value of {latent.name}; {note}", ylabel="class")
    if numbered:
        for (i, j), share in np.ndenumerate(shares):
            if share >= 0.005:
                look: Any = {"ha": "center", "va": "center", "fontsize": 8}
                color = "white" if share > 0.6 else INK
                axes.text(j, i, f"{100 * share:.0f}", color=color, **look)
    title = f"Each value of {latent.name} matched with one class, on these same images: "
    style.set_title(figure, title + f"{100 * agree:.1f} % of {len(truth):,} agree")
    return figure
