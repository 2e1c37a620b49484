"""Unsupervised accuracy: a categorical code as a classifier."""

import numpy as np

from .codes import contingency


def cluster_hits(
    clusters: np.ndarray,
    labels: np.ndarray,
    *,
    fit_clusters: np.ndarray | None = None,
    fit_labels: np.ndarray | None = None,
) -> np.ndarray:
    """Whether each example has the class that its categorical latents are assigned to.

    The mean is the unsupervised accuracy of JointVAE (Dupont 2018, section 4): a value is assigned
    to the most frequent class among the fit examples that have it; several latents count as one
    latent whose values are their tuples. A value that no fit example has is always wrong.

    Args:
        clusters: int (n,) or (n, l), values of the categorical latents.
        labels: int (n,), the true classes.
        fit_clusters: int (m,) or (m, l), values of other examples, which define the assignment;
            by default the examples define their own, which is too optimistic.
        fit_labels: int (m,), the true classes of the fit examples.

    Returns:
        bool (n,).

    Example:
        cluster_hits(np.array([5, 5, 5, 2]), np.array([0, 0, 1, 1]))  # True, True, False, True
    """
    if fit_clusters is None or fit_labels is None:
        fit_clusters, fit_labels = clusters, labels
    rows = [np.reshape(values, (len(values), -1)) for values in (fit_clusters, clusters)]
    values = np.unique(np.concatenate(rows), axis=0, return_inverse=True)[1].reshape(-1)
    fit_values, values = values[: len(rows[0])], values[len(rows[0]) :]
    seen, fit_values = np.unique(fit_values, return_inverse=True)
    classes, fit_labels = np.unique(fit_labels, return_inverse=True)
    counts = contingency(fit_values, fit_labels)
    names = classes[counts.argmax(axis=1)]
    right = (values[:, np.newaxis] == seen) & (labels[:, np.newaxis] == names)
    return right.any(axis=1)
