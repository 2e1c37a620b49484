"""Baselines that a network is compared with."""

from collections.abc import Sequence

import numpy as np


def bag_of_words(
    train_texts: Sequence[str], train_labels: np.ndarray, test_texts: Sequence[str]
) -> np.ndarray:
    """Classifies the test texts by scikit-learn's TF-IDF with logistic regression.

    Both with their default settings (words of two letters or more, L2 penalty with C = 1), but for
    the number of iterations. The classifier sees which words a text has, not their order.

    Args:
        train_texts: The texts that the network was trained on, (n,).
        train_labels: int (n,).
        test_texts: The texts to classify, (m,).

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
