"""Whether two trained networks differ: on the same test examples, and over seeds."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from .intervals import CONFIDENCE

FEWEST = 3  # seeds of a test over seeds


class Paired(NamedTuple):
    """A difference, the first minus the second, with its 95 % interval, and a test of it.

    Attributes:
        value: The difference.
        low: Lower end of its interval; None if it is undefined.
        high: Upper end.
        p: How likely a difference as large is if there is none; None if it cannot be tested.
        n: Number of examples, or of seeds.
        name: The test.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    n: int
    name: str


def mean_over_seeds(values: Sequence[float]) -> dict:
    """Returns a mean with Student's interval; one value has none.

    Example:
        mean_over_seeds([1.0, 2.0, 3.0])  # value 2.0, low -0.484, high 4.484
    """
    array = np.asarray(values, float)
    mean, n = float(array.mean()), len(array)
    half = _half(array)
    low, high = (None, None) if half is None else (mean - half, mean + half)
    return {"value": mean, "low": low, "high": high, "n": n}


def mcnemar(first: np.ndarray, second: np.ndarray) -> Paired:
    """Compares right and wrong answers to the same examples by McNemar's exact test.

    Only examples count that exactly one of the two answers correctly: without a difference it is
    either of them with probability 1/2. The interval is that of Clopper and Pearson for this
    probability, given the number of such examples: it excludes 0 exactly if p < 0.05.

    Args:
        first: bool (n,), whether the first network is right.
        second: bool (n,), the same of the second.

    Example:
        mcnemar(np.array([1, 1, 1, 1, 1, 1, 0]) == 1, np.zeros(7) == 1).p  # 0.03125
    """
    n, name = len(first), "McNemar's exact test"
    ours, theirs = int((first & ~second).sum()), int((second & ~first).sum())
    differ = ours + theirs
    if not differ:
        return Paired(0.0, 0.0, 0.0, 1.0, n, name)
    found = stats.binomtest(ours, differ, 0.5)
    bounds = found.proportion_ci(CONFIDENCE, method="exact")
    low, high = ((2 * float(bound) - 1) * differ / n for bound in (bounds.low, bounds.high))
    return Paired((ours - theirs) / n, low, high, float(found.pvalue), n, name)


def paired_examples(first: np.ndarray, second: np.ndarray) -> Paired:
    """Compares a quantity of the same examples, such as an error, by a paired t-test.

    Args:
        first: float (n,), of the first network.
        second: float (n,), of the second.
    """
    return _paired(first, second, "paired t-test over the examples")


def paired_seeds(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Compares a metric of the same seeds by a paired t-test; with fewer than three p is None.

    If the difference is the same with every seed, Student's t is undefined, and the sign test takes
    its place: p is 2 / 2**n, and there is no interval.

    Args:
        first: The metric with each seed.
        second: The same of the second, in the same order.

    Example:
        paired_seeds([0.93, 0.95, 0.97], [0.92, 0.93, 0.94]).p  # 0.074
    """
    test = _paired(first, second, "paired t-test over the seeds")
    return test if test.n >= FEWEST else test._replace(p=None)


def _paired(
    first: Sequence[float] | np.ndarray, second: Sequence | np.ndarray, name: str
) -> Paired:
    ours, theirs = np.asarray(first, float), np.asarray(second, float)
    with np.errstate(invalid="ignore"):  # inf - inf has no test
        difference = ours - theirs
    n, mean = len(difference), float(difference.mean())
    half = _half(difference) if np.isfinite(mean) else None
    if half is None:
        return Paired(mean, None, None, None, n, name)
    if half == 0:
        if mean == 0:
            return Paired(0.0, 0.0, 0.0, 1.0, n, name)
        return Paired(mean, None, None, 2 / 2**n, n, "sign test")  # its spread is unknown
    p = float(stats.ttest_1samp(difference, 0.0).pvalue)
    return Paired(mean, mean - half, mean + half, p, n, name)


def _half(values: np.ndarray) -> float | None:
    """Half of Student's interval of a mean: None for one value, 0 if all are equal but for bits."""
    if len(values) < 2:
        return None
    if np.ptp(values) <= 1e-12 * np.abs(values).max():
        return 0.0
    quantile = stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1)
    return float(quantile * values.std(ddof=1) / np.sqrt(len(values)))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Corrects p-values of several tests after Holm (1979), in their order; None stays None.

    The probability that any of them is below 0.05 by chance is then below 0.05.

    Example:
        holm([0.01, 0.04, 0.03])  # [0.03, 0.06, 0.06]
    """
    corrected: list[float | None] = [None] * len(p_values)
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        corrected[i] = largest
    return corrected


class PerExample(NamedTuple):
    """What each test example contributes to a metric.

    Attributes:
        metric: The metric whose mean it is.
        values: bool or float (n,).
    """

    metric: str
    values: np.ndarray


def per_example(
    metric: str, arrays: Mapping[str, np.ndarray], label_names: Sequence[str] = ()
) -> PerExample | None:
    """Returns what each test example contributes to a metric, or to the nearest one that has parts.

    - classes: whether the answer is right; of several labels, the share that is right, or for
      `accuracy/LABEL` whether that one is.
    - values: the absolute error.
    - images: the array of that name, such as `psnr`; of a variational autoencoder also `bound`.

    Args:
        metric: The metric, such as "accuracy".
        arrays: The content of predictions.npz.
        label_names: Names of the labels.
    """
    if "value" in arrays:
        errors = np.abs(arrays["value"].astype(float) - arrays["label"])
        return PerExample("mae", errors)
    if "probabilities" in arrays and "psnr" not in arrays:
        probabilities, labels = arrays["probabilities"], arrays["label"]
        if labels.ndim == 1:
            return PerExample("accuracy", probabilities.argmax(axis=1) == labels)
        right = (probabilities > 0.5) == (labels > 0)
        name = metric.partition("accuracy/")[2]
        if name in label_names:
            return PerExample(metric, right[:, list(label_names).index(name)])
        return PerExample("accuracy", right.mean(axis=1))
    names = {"unsupervised_accuracy": "right"}
    for name in (metric, "psnr"):
        values = arrays.get(names.get(name, name))
        if values is not None and values.ndim == 1 and values.dtype.kind in "bf":
            return PerExample(name, values)
    return None


def compare_examples(first: PerExample, second: PerExample) -> Paired:
    """Compares two networks on the same examples: by McNemar's test if answers are right or not."""
    if first.values.dtype == bool:
        return mcnemar(first.values, second.values)
    return paired_examples(first.values, second.values)
