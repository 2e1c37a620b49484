"""The words that an answer to a text hangs on."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ..inputs.tokens import UNKNOWN_ID, standardize
from .attribution import integrated_gradients
from .explanation import ERASURE, INTEGRATED, LOG_ODDS, PROBABILITY, TEXT, VALUE, Explanation
from .network import Network

UNKNOWN_WORDS = "each word as the unknown word"
ALL_UNKNOWN = "all words as the unknown word"


def split(text: bytes) -> list[str]:
    """Returns the words of a text as the network reads them, in lower case."""
    words = tf.strings.split(standardize(tf.constant([text])))[0].numpy()
    return [word.decode(errors="replace") for word in words]


def length_read(network: Network, tokens: np.ndarray) -> int:
    """Returns how many of the tokens the network reads, which truncates longer texts.

    Args:
        network: From token ids to scores.
        tokens: int32 (length,).
    """
    values = network.values_at(tokens[None], network.first_floats) if network.first_floats else []
    # Of embeddings, and of masks over tokens.
    lengths = [some.shape[1] for some in values if some.ndim == 3 and some.shape[1] <= len(tokens)]
    return max(lengths, default=len(tokens))


def explain_words(
    network: Network,
    tokens: np.ndarray,
    words: Sequence[str],
    column: int,
    target: str,
    methods: Sequence[str],
) -> list[Explanation]:
    """Explains the answer to a text.

    Args:
        network: From token ids to scores.
        tokens: int32 (length,), without padding.
        words: The word of each.
        column: Which value of the output.
        target: Its name.
        methods: "erasure" or "integrated_gradients".
    """
    found = []
    is_value = network.output == "value"
    for method in methods:
        rest: dict[str, Any]
        if method == ERASURE:
            scores, odds = erase(network, tokens, column).T
            score, effects = float(scores[0]), odds[0] - odds[1:]
            rest = {"without": tuple(scores[1:].tolist()), "baseline": UNKNOWN_WORDS}
            rest["unit"] = VALUE if is_value else LOG_ODDS
        else:
            unknown = np.full_like(tokens, UNKNOWN_ID)
            result = integrated_gradients(network, tokens[None], unknown[None], column, 1)
            effects, score = result.effects, result.score
            rest = {"baseline_score": result.baseline_score, "baseline": ALL_UNKNOWN}
            rest["error"] = result.error
            rest["unit"] = VALUE if is_value else PROBABILITY
        found.append(
            Explanation(
                kind=TEXT,
                method=ERASURE if method == ERASURE else INTEGRATED,
                target=target,
                score=score,
                effects=effects,
                names=tuple(words),
                **rest,
            )
        )
    return found


def erase(network: Network, tokens: np.ndarray, column: int) -> np.ndarray:
    """Computes the answer, and what it is with each word in turn as the unknown word.

    Li et al., 2016, "Understanding neural networks through representation erasure".

    Args:
        network: From token ids to scores.
        tokens: int32 (length,), without padding.
        column: Which value of the output.

    Returns:
        float64 (1 + length, 2): score and log-odds, of a value twice the value.
    """
    changed = np.repeat(tokens[None], len(tokens) + 1, axis=0)
    np.fill_diagonal(changed[1:], UNKNOWN_ID)
    return network.score_and_odds(changed, column)
