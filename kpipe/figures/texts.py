"""Figures of networks on texts: lengths, comparison with a bag of words, and attention."""

import functools

import numpy as np
from matplotlib import font_manager, ft2font
from matplotlib.figure import Figure

from .. import formatting, models
from ..data import Data, Split
from ..measures.intervals import sign_of
from ..records import Run
from . import style
from .style import BLUE, GREY, INK, VERMILION

SHORT_TEXT = (4, 40)  # tokens; texts that can be drawn whole
BARS = 60


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
    """Test accuracy of the network, of methods on words without one, and of the majority class."""
    names = {
        "accuracy": "this network",
        "ngrams_baseline": "NB-weighted\nn-grams",
        "bag_of_words_baseline": "TF-IDF with\nlogistic regression",
        "majority_baseline": "the most\nfrequent class",
    }
    if "bag_of_words_baseline" not in run.metrics:
        return None
    names = {name: words for name, words in names.items() if name in run.metrics}
    figure = style.new_figure(1 + 0.5 * len(names))
    axes = figure.subplots()
    for row, name in enumerate(names):
        value, low, high = style.bounds(run.metrics[name])
        color = {"accuracy": BLUE, "majority_baseline": GREY}.get(name, VERMILION)
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
    axes.set_ylim(len(names) - 0.6, -0.6)
    axes.margins(x=0.12)
    axes.set_xlabel("test accuracy, whiskers: 95 % interval")
    axes.xaxis.set_major_formatter(style.PercentTicks())
    # The stronger of the two.
    other, metric = "TF-IDF", "above_bag_of_words"
    if "ngrams_baseline" in names:
        values = {name: style.bounds(run.metrics[name])[0] for name in names}
        if values["ngrams_baseline"] >= values["bag_of_words_baseline"]:
            other, metric = "n-grams", "above_ngrams"
    above = run.metrics[metric]
    points, interval = formatting.number(metric, above["value"]), formatting.interval(metric, above)
    titles = {
        1: f"The network is {points.lstrip('+')} points above {other} {interval}",
        0: f"No significant difference between network and {other}: {points} points {interval}",
        -1: f"The network does NOT beat {other}: {points} points {interval}",
    }
    style.set_title(figure, titles[sign_of(above)])
    return figure


def attention_map(run: Run) -> Figure | None:
    """Attention of each head of the last layer to the words of a test text, averaged over words."""
    texts = texts_of(run)
    if texts is None or not style.has_classes(run):
        return None
    try:
        scores = models.attention_scores(run.model)
    except ValueError:  # no transformer
        return None
    chosen = choose_texts(run, texts, 2)
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
        axes.set_title(title_of(run, position), loc="left", fontsize=9)
        bar = figure.colorbar(image, ax=axes, pad=0.01)
        bar.outline.set_visible(False)
        bar.set_label("attention", fontsize=8)
    style.set_title(figure, "Attention that each word receives, averaged over all attending words")
    return figure


def choose_texts(run: Run, texts: Data, count: int) -> np.ndarray:
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


def title_of(run: Run, position: int) -> str:
    truth, probabilities = (run.predictions[k][position] for k in ("label", "probabilities"))
    predicted = probabilities.argmax()
    names = [style.shorten(name, 18) for name in run.label_names]
    # Never rounded up to 100 %.
    confidence = probabilities[predicted]
    share = "> 99.9 %" if confidence > 0.999 else f"{100 * confidence:.1f} %"
    if predicted == truth:
        return f"{names[predicted]} ({share}), correct"
    return f"{names[predicted]} ({share}), wrong: true class {names[truth]}"
