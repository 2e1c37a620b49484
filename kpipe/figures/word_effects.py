"""Figures of the words that an answer to a text hangs on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..explaining import Explanation, Network, explain_words
from ..records import Run
from . import style
from .mistakes import Mistake, network_of
from .mistakes import title_of as mistakes_title
from .style import BLUE, INK, VERMILION
from .texts import choose_texts, printable, texts_of, title_of

WIDE = 7.5  # inches
LINE, LONGEST_WORD = 80, 40  # characters
EXCERPT = 60  # words of a longer text that are drawn
MONOSPACE = "DejaVu Sans Mono"


def word_importance(run: Run) -> Figure | None:
    """Effect of each word of a test text on the prediction: blue supports it, red opposes it."""
    texts = texts_of(run)
    if texts is None or not style.has_classes(run):
        return None
    chosen = choose_texts(run, texts, 4)
    if not chosen.size:
        return None
    columns = run.predictions["probabilities"].argmax(axis=1)
    network = network_of(run)
    shown = [
        (title_of(run, position), explain_text(run, network, position, int(columns[position])))
        for position in chosen.tolist()
    ]
    figure = draw_texts(shown)
    style.set_title(figure, "Effect of replacing each word by the unknown word")
    return figure


def explain_text(run: Run, network: Network, position: int, column: int) -> Explanation:
    """Computes the effect of each word of a test text, see `explaining.words.erase`."""
    texts = texts_of(run)
    assert texts is not None
    tokens, _ = texts.test.take(np.array([position]))
    read = tokens[0][tokens[0] > 0]
    words = [texts.vocabulary[i] for i in read]
    (found,) = explain_words(network, read, words, column, "", ("erasure",))
    return found


def of_mistakes(run: Run, network: Network, mistakes: Sequence[Mistake]) -> Figure:
    """Draws the words of texts whose answers are wrong."""
    shown = [
        (each.title.replace("\n", ", "), explain_text(run, network, each.position, each.column))
        for each in mistakes
    ]
    figure = draw_texts(shown)
    style.set_title(figure, f"{mistakes_title(run, len(shown))}; the effect of each word")
    return figure


def draw_texts(shown: Sequence[tuple[str, Explanation]]) -> Figure:
    """Draws texts, with the words in the colour of their effect.

    Args:
        shown: Title and explanation of each.
    """
    drawn = []
    for title, explanation in shown:
        part = _excerpt(explanation.effects)
        words = [style.truncate(word, LONGEST_WORD) for word in explanation.names[part]]
        words = [printable(word, MONOSPACE) for word in words]
        # What is left out is drawn without an effect.
        before, after = part.start > 0, part.stop < len(explanation.names)
        effects = explanation.effects[part]
        words = ["…"] * before + words + ["…"] * after
        effects = np.concatenate([[0.0] * before, effects, [0.0] * after])
        drawn.append((title, in_lines(words), effects))
    ratios = [1.0 + 0.75 * len(lines) for _, lines, _ in drawn]
    figure = style.new_figure(0.9 + 0.3 * sum(ratios), WIDE)
    all_axes = figure.subplots(len(drawn), height_ratios=ratios, squeeze=False)[:, 0]
    for axes, (title, lines, effects) in zip(all_axes, drawn, strict=True):
        draw_words(axes, lines, effects)
        axes.set_title(title, loc="left", fontsize=9, color=INK)
    return figure


def _excerpt(effects: np.ndarray) -> slice:
    """Chooses the words of a long text that are drawn: those with the largest effects together."""
    if len(effects) <= EXCERPT:
        return slice(0, len(effects))
    sums = np.convolve(np.abs(effects), np.ones(EXCERPT), mode="valid")
    start = int(sums.argmax())
    return slice(start, start + EXCERPT)


def in_lines(words: Sequence[str]) -> list[list[str]]:
    """Breaks a text into lines of words."""
    lines: list[list[str]] = [[]]
    used = 0
    for word in words:
        if lines[-1] and used + len(word) > LINE:
            lines.append([])
            used = 0
        lines[-1].append(word)
        used += len(word) + 2
    return lines


def draw_words(axes: Axes, lines: list[list[str]], effects: np.ndarray) -> None:
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
