"""Figures of networks on texts: lengths, comparison with a bag of words, and explanations."""

import functools
from typing import Any

import keras
import numpy as np
from matplotlib import font_manager, ft2font
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import formatting, models
from ..data import Data, Split
from ..inputs.tokens import UNKNOWN_ID
from ..measures.intervals import sign_of
from ..records import Run
from . import style
from .style import BLUE, GREY, INK, VERMILION

SHORT_TEXT = (4, 40)  # tokens; texts that can be drawn whole
LINE, LONGEST_WORD = 80, 40  # characters
BARS = 60
MONOSPACE = "DejaVu Sans Mono"


def texts_of(run: Run) -> Data | None:
    """Returns the data; None if inputs are not texts or the run was loaded from its folder."""
    return run.data if run.data is not None and run.data.vocabulary else None


def lengths_of(split: Split) -> np.ndarray:
    """Returns the number of tokens of each text before truncation: int (n,)."""
    assert split.column.lengths is not None
    return split.column.lengths[split.rows]


def printable(text: str, family: str = "DejaVu Sans") -> str:
    """Makes text drawable: characters missing in the font become boxes, dollars are escaped."""
    known = _characters(family)
    return style.escape("".join(c if ord(c) in known else "\N{WHITE SQUARE}" for c in text))


@functools.cache
def _characters(family: str) -> frozenset[int]:
    return frozenset(ft2font.FT2Font(font_manager.findfont(family)).get_charmap())


def text_lengths(run: Run) -> Figure | None:
    """Training texts by length, and how many tokens are read."""
    texts = texts_of(run)
    if texts is None:
        return None
    lengths, kept = lengths_of(texts.train), texts.sequence_length
    longest = max(kept, int(np.quantile(lengths, 0.995)))
    # Lengths are integers: bars that cover one more integer than others would look too high.
    step = -(-longest // BARS)
    edges = np.arange(0.5, longest + step, step)
    last = int(edges[-2] + 0.5)
    figure = style.new_figure(3.0)
    axes = figure.subplots()
    axes.hist(np.minimum(lengths, longest), bins=list(edges), color=BLUE)
    axes.axvline(
        kept + 0.5, color=VERMILION, linewidth=1.8, label=f"read: the first {kept:,} tokens"
    )
    axes.axvline(np.median(lengths), color=INK, linestyle=":", label="median")
    note = "tokens of a training text"
    if lengths.max() > longest:
        note += f"; the last bar: {last:,} and more"
    axes.set(xlabel=note, ylabel="texts")
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
    style.legend_above(axes, ncols=2)
    cut = np.mean(lengths > kept)
    title = f"{100 * cut:.1f} % of the training texts are truncated"
    style.set_title(figure, title)
    return figure


def compare_bag_of_words(run: Run) -> Figure | None:
    """Test accuracy of the network, TF-IDF with logistic regression, and the majority class."""
    names = {
        "accuracy": "this network",
        "bag_of_words_baseline": "TF-IDF with\nlogistic regression",
        "majority_baseline": "the most\nfrequent class",
    }
    if "bag_of_words_baseline" not in run.metrics:
        return None
    measured = [style.bounds(run.metrics[name]) for name in names]
    figure = style.new_figure(2.5)
    axes = figure.subplots()
    for row, ((value, low, high), color) in enumerate(
        zip(measured, (BLUE, VERMILION, GREY), strict=True)
    ):
        whiskers = [[value - low], [high - value]]
        axes.errorbar(value, row, xerr=whiskers, fmt="o", color=color, elinewidth=2)
        axes.annotate(
            formatting.percent(value, 1),
            (value, row),
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            color=color,
        )
    style.list_rows(axes, list(names.values()), size=10)
    axes.set_ylim(2.4, -0.6)
    axes.margins(x=0.12)
    axes.set_xlabel("test accuracy, whiskers: 95 % interval")
    axes.xaxis.set_major_formatter(style.PercentTicks())
    above = run.metrics["above_bag_of_words"]
    points = formatting.number("above_bag_of_words", above["value"])
    interval = formatting.interval("above_bag_of_words", above)
    titles = {
        1: f"The network is {points.lstrip('+')} points above TF-IDF {interval}",
        0: f"No significant difference between network and TF-IDF: {points} points {interval}",
        -1: f"The network does NOT beat TF-IDF: {points} points {interval}",
    }
    style.set_title(figure, titles[sign_of(above)])
    return figure


def word_importance(run: Run) -> Figure | None:
    """Effect of each word of a test text on the prediction: blue supports it, red opposes it."""
    texts = texts_of(run)
    if texts is None or not style.has_classes(run):
        return None
    chosen = _choose_texts(run, texts, 4)
    if not chosen.size:
        return None
    drawn = []
    padded, _ = texts.test.take(chosen)  # to one length: the model is compiled once
    for position, tokens in zip(chosen, padded, strict=True):
        words = [style.truncate(texts.vocabulary[i], LONGEST_WORD) for i in tokens[tokens > 0]]
        words = [printable(word, MONOSPACE) for word in words]
        drawn.append((_title_of(run, position), _lines(words), word_effects(run.model, tokens)))
    height = sum(1.0 + 0.75 * len(lines) for _, lines, _ in drawn)
    figure = style.new_figure(0.9 + 0.3 * height, 7.5)
    ratios = [1.0 + 0.75 * len(lines) for _, lines, _ in drawn]
    all_axes = figure.subplots(len(drawn), height_ratios=ratios, squeeze=False)[:, 0]
    for axes, (title, lines, effects) in zip(all_axes, drawn, strict=True):
        _draw_words(axes, lines, effects)
        axes.set_title(title, loc="left", fontsize=9, color=INK)
    style.set_title(figure, "Effect of replacing each word by the unknown word")
    return figure


def word_effects(model: keras.Model, tokens: np.ndarray) -> np.ndarray:
    """Computes the drop in the prediction's log-odds without each word (Li et al., 2016).

    Each word in turn is replaced by the unknown word (occlusion).

    Args:
        model: Model from tokens to {"probabilities": ...}.
        tokens: int (length,), padded with 0 on the right.

    Returns:
        float (words,): positive if the word supports the prediction.
    """
    without = np.repeat(tokens[None], np.count_nonzero(tokens) + 1, axis=0)
    np.fill_diagonal(without[1:], UNKNOWN_ID)
    probabilities = np.asarray(model.predict(without, verbose=0)["probabilities"], float)
    answer = np.clip(probabilities[:, probabilities[0].argmax()], 1e-6, 1 - 1e-6)
    log_odds = np.log(answer / (1 - answer))
    return log_odds[0] - log_odds[1:]


def attention_map(run: Run) -> Figure | None:
    """Attention of each head of the last layer to the words of a test text, averaged over words."""
    texts = texts_of(run)
    if texts is None or not style.has_classes(run):
        return None
    try:
        scores = models.attention_scores(run.model)
    except ValueError:  # no transformer
        return None
    chosen = _choose_texts(run, texts, 2)
    if not chosen.size:
        return None
    figure = style.new_figure(0.8 + 2.3 * len(chosen), 7.5)
    all_axes = figure.subplots(len(chosen), squeeze=False)[:, 0]
    for axes, position in zip(all_axes, chosen, strict=True):
        tokens, _ = texts.test.take(np.array([position]))
        received = np.asarray(list(scores(tokens).values())[-1])[0].mean(axis=1)
        image = axes.imshow(received, cmap="Blues", aspect="auto", vmin=0)
        words = [printable(style.truncate(texts.vocabulary[i], 14)) for i in tokens[0]]
        axes.set_xticks(range(len(words)), words, rotation=90, fontsize=7)
        axes.set_yticks(range(len(received)), range(1, len(received) + 1), fontsize=8)
        axes.set_ylabel("head")
        axes.set_title(_title_of(run, position), loc="left", fontsize=9)
        bar = figure.colorbar(image, ax=axes, pad=0.01)
        bar.outline.set_visible(False)
        bar.set_label("attention", fontsize=8)
    style.set_title(figure, "Attention that each word receives, averaged over all attending words")
    return figure


def _choose_texts(run: Run, texts: Data, count: int) -> np.ndarray:
    """Chooses short test texts: the most confident correct ones by class, then mistakes."""
    truth, probabilities = run.predictions["label"], run.predictions["probabilities"]
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    lengths = lengths_of(texts.test)
    low, high = SHORT_TEXT
    short = (lengths >= low) & (lengths <= min(high, texts.sequence_length))
    if not short.any():
        short = lengths <= np.sort(lengths)[min(20, len(lengths) - 1)]
    order = [i for i in np.argsort(-confidence) if short[i]]
    right = [i for i in order if predicted[i] == truth[i]]
    first = [next((i for i in right if truth[i] == c), None) for c in range(len(run.label_names))]
    half = (count + 1) // 2
    chosen = [i for i in first if i is not None][:half]
    chosen += [i for i in order if predicted[i] != truth[i]][: count - len(chosen)]
    return np.array(chosen, int)


def _title_of(run: Run, position: int) -> str:
    truth, probabilities = (run.predictions[k][position] for k in ("label", "probabilities"))
    predicted = probabilities.argmax()
    names = [style.shorten(name, 18) for name in run.label_names]
    # Never rounded up to 100 %.
    confidence = probabilities[predicted]
    share = "> 99.9 %" if confidence > 0.999 else f"{100 * confidence:.1f} %"
    if predicted == truth:
        return f"{names[predicted]} ({share}), correct"
    return f"{names[predicted]} ({share}), wrong: true class {names[truth]}"


def _lines(words: list[str]) -> list[list[str]]:
    lines: list[list[str]] = [[]]
    used = 0
    for word in words:
        if lines[-1] and used + len(word) > LINE:
            lines.append([])
            used = 0
        lines[-1].append(word)
        used += len(word) + 2
    return lines


def _draw_words(axes: Axes, lines: list[list[str]], effects: np.ndarray) -> None:
    """Draws words in monospace on boxes whose colour shows the word's effect."""
    largest = max(np.abs(effects).max(), 1e-9)
    axes.set(xlim=(0, LINE + 16), ylim=(len(lines) - 0.4, -0.6))
    axes.axis("off")
    index = 0
    for row, words in enumerate(lines):
        x = 0.5
        for word in words:
            effect = effects[index] / largest
            box: Any = {
                "boxstyle": "round,pad=0.18",
                "facecolor": BLUE if effect > 0 else VERMILION,
                "alpha": 0.75 * abs(effect),
                "linewidth": 0,
            }
            # The box is drawn separately, so that its transparency does not affect the word.
            look: Any = {"family": MONOSPACE, "fontsize": 9, "va": "center"}
            axes.text(x, row, word, color="none", bbox=box, **look)
            axes.text(x, row, word, color=INK, **look)
            x += len(word) + 1.6
            index += 1
