"""Naive-Bayes-weighted n-grams: the linear part of text networks, and a method of its own."""

import warnings
from typing import Any

import keras
import numpy as np
from scipy import special

from ..models.ngrams import HASH, PRINT_RANGE, PRINTS, SMALLEST, WEIGHTS, sum_of_words

SMOOTHING = 1.0  # texts added to each count
LEAST = 2  # training texts in which an n-gram must occur
FILLED = 4  # buckets for each n-gram: of two in one bucket the rarer is left out
# Inverse strengths of the penalty, and factors of the logits, of which the best are chosen by the
# likelihood of texts that were held out.
INVERSE_PENALTIES = (1.0, 10.0, 100.0)
FACTORS = np.geomspace(0.05, 2.0, 25)
HELD_OUT = 10  # one of so many training texts
PIECE = 1000  # texts whose n-grams are found at a time


def log_ratios(counts: Any, is_class: np.ndarray) -> np.ndarray:
    """Computes ln(p / q) of each n-gram: its share in the texts of a class, and in all others.

    Wang and Manning (2012), section 2.1, with binary counts: p = (s + count) / sum(s + count).

    Args:
        counts: Sparse matrix of 0 and 1, (n, n-grams).
        is_class: bool (n,).

    Returns:
        float64 (n-grams,).
    """
    p, q = (
        SMOOTHING + np.asarray(counts[rows].sum(axis=0)).ravel() for rows in (is_class, ~is_class)
    )
    return np.log(p / p.sum()) - np.log(q / q.sum())


def regression(features: Any, is_class: np.ndarray, inverse_penalty: float) -> tuple[Any, float]:
    """Fits logistic regression of one class against all others.

    Args:
        features: Sparse matrix, (n, n-grams).
        is_class: bool (n,).
        inverse_penalty: scikit-learn's C.

    Returns:
        Weights, float64 (n-grams,), and bias.
    """
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    fitted = LogisticRegression(C=inverse_penalty, dual=True, solver="liblinear", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no convergence: the test split judges
        fitted.fit(features, is_class)
    return fitted.coef_.ravel(), float(fitted.intercept_[0])


def has_ngrams(model: keras.Model) -> bool:
    """Whether a model has the linear part that `fit` sets."""
    return any(layer.name == WEIGHTS for layer in model.layers)


def fit(model: keras.Model, split: Any) -> None:
    """Fits the weights of a model's n-grams to the train split; the same each time.

    Each n-gram is weighted by its naive Bayes log-ratio, the weights of a text are divided by their
    Euclidean norm, and logistic regression of each class against all others follows: Wang and
    Manning (2012), Mesnil et al. (2015). N-grams that fewer than two texts contain, and the rarest
    if there are many, are left out.

    Args:
        model: A model with `models.ngrams.ngram_logits`.
        split: The train split, texts with one class each.
    """
    from scipy import sparse

    tables = {name: model.get_layer(name) for name in (HASH, PRINTS, WEIGHTS)}
    labels = split.labels[split.rows]
    (_, width), (buckets, columns) = (tables[name].weights[0].shape for name in (HASH, WEIGHTS))
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, PRINT_RANGE, tables[HASH].weights[0].shape)
    keys, rows = _occurrences(split, numbers, width // 2, buckets)
    unique, inverse, texts = np.unique(keys, return_inverse=True, return_counts=True)
    chosen = np.flatnonzero(texts >= LEAST)
    chosen = chosen[np.argsort(-texts[chosen], kind="stable")][: buckets // FILLED]
    bucket = unique[chosen] // PRINT_RANGE
    bucket, first = np.unique(bucket, return_index=True)  # the most frequent of each
    chosen = chosen[first]
    if not len(chosen):
        print(f"n-grams: none is in {LEAST} training texts; the network learns without", flush=True)
        return
    column = np.full(len(unique), -1)
    column[chosen] = np.arange(len(chosen))
    kept = column[inverse] >= 0
    ones = np.ones(kept.sum())
    shape = (len(labels), len(chosen))
    counts = sparse.csr_matrix((ones, (rows[kept], column[inverse[kept]])), shape=shape)

    num_classes = columns // 2
    held_out = np.arange(len(labels)) % HELD_OUT == 0
    penalty, factor = _choose(counts, labels, num_classes, held_out)
    linear = _Linear(counts, labels, num_classes, penalty)
    weights = np.zeros((buckets, columns), np.float32)
    weights[bucket, :num_classes] = factor * linear.weights
    weights[bucket, num_classes:] = linear.ratios**2
    prints = np.zeros((buckets, 1), np.float32)
    prints[bucket, 0] = unique[chosen] % PRINT_RANGE
    tables[HASH].set_weights([numbers.astype(np.float32)])
    tables[PRINTS].set_weights([prints])
    tables[WEIGHTS].set_weights([weights])
    print(
        f"n-grams: weights of {len(chosen):,} that at least {LEAST} training texts contain, from "
        f"logistic regression with C={penalty:g}",
        flush=True,
    )


class _Linear:
    """Logistic regression of each class against all others, on n-grams of unit length.

    Attributes:
        ratios: Naive Bayes log-ratios, float64 (n-grams, classes).
        weights: What an n-gram adds to the logits, before these are divided; the same shape.
    """

    def __init__(self, counts: Any, labels: np.ndarray, num_classes: int, inverse_penalty: float):
        self.ratios = np.zeros((counts.shape[1], num_classes))
        self.weights = np.zeros_like(self.ratios)
        for one in range(num_classes):
            is_class = labels == one
            if num_classes == 2 and one == 1:  # the opposite of the other; half of the log-odds
                self.weights[:, 0] /= 2
                self.ratios[:, 1], self.weights[:, 1] = -self.ratios[:, 0], -self.weights[:, 0]
            elif 0 < is_class.sum() < len(labels):
                self.ratios[:, one] = log_ratios(counts, is_class)
                scaled = _scaled(counts, self.ratios[:, one])
                fitted, _ = regression(scaled, is_class, inverse_penalty)
                self.weights[:, one] = fitted * self.ratios[:, one]

    def logits(self, counts: Any) -> np.ndarray:
        """Returns float64 (n, classes)."""
        return (counts @ self.weights) / np.sqrt(np.maximum(counts @ self.ratios**2, SMALLEST))


def _scaled(counts: Any, ratio: np.ndarray) -> Any:
    """Weights n-grams by their log-ratios, and divides those of a text by their norm."""
    norms = np.sqrt(np.maximum(counts @ ratio**2, SMALLEST))
    return counts.multiply(ratio).multiply(1 / norms[:, None]).tocsr()


def _choose(
    counts: Any, labels: np.ndarray, num_classes: int, held_out: np.ndarray
) -> tuple[float, float]:
    """Chooses penalty and factor by the mean log-likelihood of texts that were held out."""
    if len(np.unique(labels[~held_out])) < 2 or not held_out.any():
        return INVERSE_PENALTIES[0], 1.0
    found = []
    for penalty in INVERSE_PENALTIES:
        linear = _Linear(counts[~held_out], labels[~held_out], num_classes, penalty)
        logits = linear.logits(counts[held_out])
        for factor in FACTORS:
            likelihoods = special.log_softmax(factor * logits, axis=1)
            mean = likelihoods[np.arange(len(logits)), labels[held_out]].mean()
            found.append((mean, penalty, factor))
    _, penalty, factor = max(found)
    return penalty, float(factor)


def _occurrences(
    split: Any, numbers: np.ndarray, longest: int, buckets: int
) -> tuple[np.ndarray, np.ndarray]:
    """Finds all n-grams of all texts, once in each.

    Returns:
        bucket * PRINT_RANGE + fingerprint of each, and its text, both int64.
    """
    keys, rows = [], []
    for start in range(0, len(split), PIECE):
        tokens, _ = split.take(np.arange(start, min(start + PIECE, len(split))))
        of_words = numbers[tokens]
        parts = []
        for size in range(1, longest + 1):
            total = np.asarray(sum_of_words(of_words, size), np.int64)
            key = (1 + total[..., 0] % (buckets - 1)) * PRINT_RANGE + total[..., 1] % PRINT_RANGE
            parts.append(np.where(tokens[:, size - 1 :] != 0, key, 0))
        found = np.sort(np.concatenate(parts, axis=1), axis=1)
        is_first = found != np.pad(found[:, :-1], ((0, 0), (1, 0)))
        at, place = np.nonzero(is_first)
        keys.append(found[at, place])
        rows.append(at + start)
    return np.concatenate(keys), np.concatenate(rows)
