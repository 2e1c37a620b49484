"""Wrong labels by confident learning: Northcutt, Jiang and Chuang 2021, arXiv:1911.00068.

An example counts for the class whose probability exceeds the mean probability of that class among
the examples labelled so (equation 2). The counts by given and counted class, scaled to the number
of labels of each class, estimate the joint distribution of given and true labels (equation 3); what
lies off its diagonal is wrong. Computed by cleanlab.
"""

import dataclasses

import numpy as np

# Which labels are suspects, and their order; compared on one data set, see docs/labels.md.
FILTER = "prune_by_noise_rate"
ORDER = "normalized_margin"


@dataclasses.dataclass(frozen=True)
class LabelNoise:
    """What is known of the wrong labels of a data set.

    Attributes:
        suspects: int64 (m,), positions of the labels that are probably wrong, the surest first.
        suggested: int64 (n,), the most probable class of each example other than the given one.
        joint: float64 (K, K), estimated numbers of examples by given and true class.
    """

    suspects: np.ndarray
    suggested: np.ndarray
    joint: np.ndarray

    @property
    def wrong(self) -> float:
        """Estimated number of wrong labels."""
        return float(self.joint.sum() - np.trace(self.joint))


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
