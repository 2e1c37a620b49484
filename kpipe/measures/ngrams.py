"""Logistic regression on naive-Bayes-weighted n-grams: the strong simple method on texts."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ..data import Split
from ..inputs import Tokens, ngrams, standardize
from .simple import Simple, at, choose

NAME = "naive-Bayes-weighted n-grams"
LONGEST = 3  # words of an n-gram
# Inverse strength of the penalty. Of 0.1 and 1 neither was better on val, of IMDB and AG News.
INVERSE_PENALTY = 0.1
TEXT_BYTES = 60_000_000  # of the training texts: a minute on one core
PIECE = 1000  # texts standardized at a time


def naive_bayes_ngrams(train: Sequence[Split], test: Sequence[Split]) -> Simple | None:
    """Predicts the classes of test texts by logistic regression on weighted n-grams.

    Wang and Manning (2012), with logistic regression as in Mesnil et al. (2015): each sequence of
    one to three words that a text contains counts as the naive Bayes log-ratio of its class to all
    others, one classifier for each class. It is the strongest method without a network on reviews
    and news. Words are those of the network's vocabulary before it is cut.

    Args:
        train: The training examples, texts with one class each, in one or several parts.
        test: The texts to predict, m in all.

    Returns:
        Name and predictions, int (m,); None if inputs are not texts, or there is only one class.

    Example:
        simple = naive_bayes_ngrams([data.train], [data.test])
    """
    labels = np.concatenate([part.labels[part.rows] for part in train])
    column = train[0].column
    if not isinstance(column, Tokens) or labels.dtype.kind not in "iu" or labels.ndim != 1:
        return None
    if len(np.unique(labels)) < 2:
        return None
    chosen = choose(labels, max(40, TEXT_BYTES * len(column) // max(1, column.texts.size())))
    some = f" ({len(chosen):,} training examples)" if len(chosen) < len(labels) else ""
    print(f"fitting {NAME}{some} as a baseline", flush=True)
    try:
        model = NaiveBayesNgrams().fit(_texts(at(train, chosen)), labels[chosen])
    except ValueError as error:  # no word, or none occurs twice
        print(f"not compared with {NAME}: {error}", flush=True)
        return None
    return Simple(NAME + some, model.predict(_texts(test)).astype(labels.dtype))


class NaiveBayesNgrams:
    """Logistic regression on n-grams, each weighted by its naive Bayes log-ratio.

    Attributes:
        classes: The classes, int (k,).

    Example:
        NaiveBayesNgrams().fit(["good film", "good", "bad", "bad film"], [1, 1, 0, 0])
    """

    def fit(self, texts: Iterator[str] | Sequence[str], labels: Any) -> "NaiveBayesNgrams":
        """Fits the method.

        Args:
            texts: Texts with spaces between words, n of them.
            labels: Class of each, int (n,).

        Raises:
            ValueError: There are no n-grams.
        """
        from sklearn.feature_extraction.text import CountVectorizer  # takes a second to import

        labels = np.asarray(labels)
        self.vectorizer = CountVectorizer(
            analyzer=ngrams_of, binary=True, min_df=ngrams.LEAST, dtype=np.float32
        )
        counts = self.vectorizer.fit_transform(texts)
        self.classes = np.unique(labels)
        of_pairs = self.classes[1:] if len(self.classes) == 2 else self.classes
        weights, biases = [], []
        for one in of_pairs:
            ratio = ngrams.log_ratios(counts, labels == one)
            weighted = counts.multiply(ratio).tocsr()
            fitted, bias = ngrams.regression(weighted, labels == one, INVERSE_PENALTY)
            weights.append(fitted * ratio)
            biases.append(bias)
        self.weights, self.biases = np.stack(weights, axis=1), np.array(biases)
        return self

    def predict(self, texts: Iterator[str] | Sequence[str]) -> np.ndarray:
        """Predicts the class of each text, int (m,).

        Args:
            texts: Texts with spaces between words.
        """
        scores = self.vectorizer.transform(texts) @ self.weights + self.biases
        if len(self.classes) == 2:
            return self.classes[(scores[:, 0] > 0).astype(int)]
        return self.classes[scores.argmax(axis=1)]


def ngrams_of(text: str) -> list[str]:
    """Lists all sequences of one to three words.

    Example:
        ngrams_of("not very good")  # ["not", "very", "good", "not very", "very good", ...]
    """
    words = text.split()
    return [
        " ".join(words[i : i + size])
        for size in range(1, LONGEST + 1)
        for i in range(len(words) - size + 1)
    ]


def _texts(parts: Sequence[Split]) -> Iterator[str]:
    """Yields the texts as the network's words, separated by spaces."""
    for part in parts:
        for start in range(0, len(part), PIECE):
            rows = part.rows[start : start + PIECE]
            texts = standardize(tf.constant(part.column.texts.take(rows)))  # type: ignore[union-attr]
            yield from (text.decode() for text in texts.numpy())
