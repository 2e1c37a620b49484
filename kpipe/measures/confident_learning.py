"""Wrong labels by confident learning: Northcutt, Jiang and Chuang 2021, arXiv:1911.00068.

An example counts for the class whose probability exceeds the mean probability of that class among
the examples labelled so, if there is one (equation 1). The counts by given and counted class,
scaled to the number of labels of each class, estimate the joint distribution of given and true
labels (equation 3). What lies off the diagonal, and is predicted as another class than the given
one, is the number of wrong labels; as many examples with the smallest probability of their label
are the suspects. Of the seven rules of cleanlab, which computes this, it found the most on one data
set, with the fewest false ones: see docs/labels.md.
"""

import dataclasses

import numpy as np

FILTER, ORDER = "low_self_confidence", "self_confidence"


@dataclasses.dataclass(frozen=True)
class LabelNoise:
    """What is known of the wrong labels of a data set.

    Attributes:
        suspects: int64 (m,), positions of the labels that are probably wrong, the surest first; m
            is the estimated number of wrong labels.
        suggested: int64 (n,), the most probable class of each example other than the given one.
        joint: float64 (K, K), estimated numbers of examples by given and true class.
    """

    suspects: np.ndarray
    suggested: np.ndarray
    joint: np.ndarray


def label_noise(labels: np.ndarray, probabilities: np.ndarray) -> LabelNoise:
    """Finds labels that are probably wrong.

    Args:
        labels: int (n,), given classes.
        probabilities: (n, K), each predicted by a model that was not trained on the example.

    Example:
        label_noise(np.array([0, 0, 0, 1, 1, 1]), np.eye(2)[[0, 0, 1, 1, 1, 1]]).suspects  # [2]
    """
    from cleanlab.count import estimate_joint  # half a second
    from cleanlab.filter import find_label_issues

    n, num_classes = probabilities.shape
    suggested = probabilities.astype(np.float64)
    suggested[np.arange(n), labels] = -1
    # The only example of a class was predicted by a network that did not know the class.
    present = np.flatnonzero(np.bincount(labels, minlength=num_classes) > 1)
    rows = np.flatnonzero(np.isin(labels, present))
    joint = np.diag(np.bincount(labels, minlength=num_classes).astype(np.float64))
    if len(present) < 2:
        return LabelNoise(np.empty(0, np.int64), suggested.argmax(axis=1), joint)
    known = np.searchsorted(present, labels[rows])
    shares = probabilities[np.ix_(rows, present)].astype(np.float64) + 1e-12
    shares /= shares.sum(axis=1, keepdims=True)
    suspects = find_label_issues(
        known, shares, filter_by=FILTER, return_indices_ranked_by=ORDER, n_jobs=1
    )
    joint[np.ix_(present, present)] = len(rows) * estimate_joint(known, shares)
    return LabelNoise(rows[suspects], suggested.argmax(axis=1), joint)
