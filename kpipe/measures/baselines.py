"""Baselines that a network has to beat."""

from collections.abc import Sequence

import numpy as np


def bag_of_words(
    train_texts: Sequence[str], train_labels: np.ndarray, test_texts: Sequence[str]
) -> np.ndarray:
    """What scikit-learn's TF-IDF with logistic regression says of the test texts.

    Both as they come (words of two letters on, L2 penalty with C = 1), but for the number of
    iterations. It knows which words a text has, and nothing of their order.

    Args:
        train_texts: The texts that the network was trained on.
        train_labels: int (n,).
        test_texts: (m,).

    Returns:
        The predicted classes, int (m,).

    Example:
        bag_of_words(["good film", "bad film"], np.array([1, 0]), ["a good one"])  # [1]
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second to import
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    classifier = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))
    return classifier.fit(train_texts, train_labels).predict(test_texts)
