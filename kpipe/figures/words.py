"""Figures of a learned embedding: nearest words, analogies, projection to the plane."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from ..data import Data
from ..records import Run
from . import style
from .style import GREY, INK
from .texts import printable, texts_of

NEAREST = 5
SEEN = 5000  # most frequent words, among which neighbours are searched
ANALOGY_WORDS = 10_000
PROBES = (
    "good bad great terrible love hate happy sad funny boring king woman war money game president "
    "computer music school sleep rain oil team software minister actor father police"
).split()
# (a, b, c, d): a is to b as c is to d.
ANALOGIES = (
    ("man", "king", "woman", "queen"),
    ("man", "actor", "woman", "actress"),
    ("he", "his", "she", "her"),
    ("father", "mother", "son", "daughter"),
    ("good", "better", "bad", "worse"),
    ("good", "best", "bad", "worst"),
    ("france", "paris", "italy", "rome"),
    ("walk", "walking", "run", "running"),
    ("big", "bigger", "small", "smaller"),
    ("happy", "sad", "love", "hate"),
    ("day", "days", "week", "weeks"),
    ("one", "two", "three", "four"),
)
MAPPED, NAMED = 300, 40
EXAMPLES_MAPPED = 5000


def embedding_of(model: keras.Model, vocabulary: Sequence[str]) -> np.ndarray:
    """Returns the vectors of all words, scaled to length 1: float (vocabulary, dim)."""
    vectors = model.get_layer("embedding").get_weights()[0][: len(vocabulary)]
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def nearest_words(run: Run) -> Figure | None:
    """Words and their nearest neighbours in the learned embedding, with cosine similarities."""
    texts = texts_of(run)
    if texts is None:
        return None
    vocabulary = texts.vocabulary
    ids = {word: i for i, word in enumerate(vocabulary[:SEEN]) if i >= 2}
    probes = [word for word in PROBES if word in ids][:8]
    if len(probes) < 4:
        probes = [word for word in ids if len(word) > 3][:8]
    if not probes:
        return None
    vectors, found = embedding_of(run.model, vocabulary[:SEEN]), []
    figure = style.new_figure(0.7 + 0.42 * len(probes), 7.5)
    axes = figure.subplots()
    axes.set(xlim=(0, NEAREST + 1), ylim=(len(probes) - 0.4, -0.6))
    axes.axis("off")
    for row, probe in enumerate(probes):
        cosines = vectors @ vectors[ids[probe]]
        cosines[[0, 1, ids[probe]]] = -np.inf
        axes.text(0, row, _word(probe), fontweight="bold", va="center", color=INK)
        nearest = np.argsort(-cosines)[:NEAREST]
        found.append(f"{_word(probe)}: {_word(vocabulary[nearest[0]])}")
        for column, i in enumerate(nearest, start=1):
            axes.text(column, row - 0.16, _word(vocabulary[i]), va="center", fontsize=9)
            look: Any = {"va": "center", "fontsize": 7, "color": GREY}
            axes.text(column, row + 0.22, f"{cosines[i]:.2f}", **look)
        axes.axhline(row + 0.5, color=style.GRID, linewidth=0.8)
    style.set_title(figure, f"Nearest to {', to '.join(found[:3])}")
    return figure


def rank_analogy(
    vectors: np.ndarray, vocabulary: Sequence[str], words: Sequence[str]
) -> tuple[int, int, list[str]]:
    """Ranks d as the answer to "a is to b as c is to ?"; rank 1 is the best candidate.

    Candidates are ranked by their cosine similarity to b - a + c (Mikolov et al., 2013); a, b, c,
    padding and the unknown word are excluded.

    Args:
        vectors: float (n, dim), of length 1.
        vocabulary: The word of each vector.
        words: a, b, c and d, all of them in the vocabulary.

    Returns:
        Rank, number of candidates, and up to three nearest words.

    Example:
        rank_analogy(vectors, vocabulary, ("man", "king", "woman", "queen"))
    """
    index = {word: i for i, word in enumerate(vocabulary)}
    a, b, c, d = (index[word] for word in words)
    cosines = vectors @ (vectors[b] - vectors[a] + vectors[c])
    cosines[[0, 1, a, b, c]] = -np.inf
    candidates = int(np.isfinite(cosines).sum())
    order = np.argsort(-cosines)[:candidates]
    rank = int(np.flatnonzero(order == d)[0]) + 1
    return rank, candidates, [vocabulary[i] for i in order[:3]]


def analogies(run: Run) -> Figure | None:
    """Analogies such as king - man + woman: rank of the expected word, and the nearest words."""
    texts = texts_of(run)
    if texts is None:
        return None
    vocabulary = texts.vocabulary[:ANALOGY_WORDS]
    known = set(vocabulary)
    asked = [words for words in ANALOGIES if known.issuperset(words)]
    if not asked:
        return None
    vectors = embedding_of(run.model, vocabulary)
    answers = [rank_analogy(vectors, vocabulary, words) for words in asked]
    figure = style.new_figure(1.0 + 0.36 * len(asked), 7.5)
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(len(asked) - 0.4, -1.4))
    axes.axis("off")
    columns = (0, 3.9, 5.6, 6.9)
    for x, head in zip(columns, ("question", "expected", "rank", "nearest"), strict=True):
        axes.text(x, -1, head, color=GREY, va="center", fontsize=9)
    for row, ((a, b, c, expected), (rank, _, nearest)) in enumerate(
        zip(asked, answers, strict=True)
    ):
        question = printable(f"{b} - {a} + {c}")
        cells = (question, printable(expected), f"{rank:,}", ", ".join(map(_word, nearest)))
        for x, cell in zip(columns, cells, strict=True):
            weight = "bold" if rank == 1 and x == columns[2] else "normal"
            axes.text(x, row, cell, va="center", fontsize=9, fontweight=weight)
        axes.axhline(row + 0.5, color=style.GRID, linewidth=0.8)
    first, candidates = sum(rank == 1 for rank, _, _ in answers), answers[0][1]
    title = f"{first} of {len(asked)} analogies rank the expected word first"
    if asked[0] == ANALOGIES[0]:
        title += f"; king - man + woman: queen ranks {answers[0][0]:,} of {candidates:,}"
    style.set_title(figure, title)
    return figure


def embedding_map(run: Run) -> Figure | None:
    """The words that separate the classes best, projected to the plane by PCA."""
    texts = texts_of(run)
    if texts is None or not style.has_classes(run):
        return None
    from sklearn.decomposition import PCA  # takes a second to import

    frequent = np.arange(2, min(SEEN, len(texts.vocabulary)))
    if len(frequent) < 3:
        return None
    odds = class_log_odds(texts, len(run.label_names))
    strength = odds[frequent].max(axis=1)
    chosen = frequent[np.argsort(-strength)[:MAPPED]]
    vectors = embedding_of(run.model, texts.vocabulary)
    projection = PCA(2, random_state=0).fit(vectors[frequent])
    places = projection.transform(vectors[chosen])
    speaks_for = odds[chosen].argmax(axis=1)
    figure = style.new_figure(6.2, 7.5)
    axes = figure.subplots()
    colors = style.class_colors(len(run.label_names))
    for c, color in enumerate(colors):
        axes.plot(*places[speaks_for == c].T, "o", color=color, markersize=3.5, alpha=0.7)
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.spines[["top", "right"]].set_visible(False)
    indicated = [f"indicates {style.shorten(name, 18)}" for name in run.label_names]
    classes = [*zip(indicated, colors, strict=True)]
    style.legend_above(axes, classes, ncols=min(3, len(classes)), fontsize=8)
    share = projection.explained_variance_ratio_.sum()
    title = f"The plane keeps {100 * share:.0f} % of the variance of the {len(frequent):,} words"
    style.set_title(figure, title)
    names = [_word(texts.vocabulary[i]) for i in chosen]
    style.name_apart(figure, axes, places, names, offset=(3, 3), most=NAMED, fontsize=7.5)
    return figure


def class_log_odds(texts: Data, num_classes: int) -> np.ndarray:
    """Computes how strongly each word indicates each class in train: smoothed log odds, z-scored.

    Monroe, Colaresi and Quinn, 2008, eq. 16 and 22, with a flat prior.

    Returns:
        float (vocabulary, classes), z-scores.
    """
    train = texts.train
    # Spread over train, which may be sorted by class.
    positions = np.linspace(0, len(train) - 1, min(EXAMPLES_MAPPED, len(train))).astype(int)
    tokens, labels = train.take(positions)
    counts = np.zeros((len(texts.vocabulary), num_classes))
    np.add.at(counts, (tokens, labels[:, None]), tokens > 0)
    inside, outside = counts + 0.5, counts.sum(axis=1, keepdims=True) - counts + 0.5
    total_in, total_out = inside.sum(axis=0), outside.sum(axis=0)
    log_odds = np.log(inside / (total_in - inside)) - np.log(outside / (total_out - outside))
    return log_odds / np.sqrt(1 / inside + 1 / outside)


def _word(word: str) -> str:
    return printable(style.truncate(word, 14))
