"""Calibration of probabilities: temperature, calibration error, and prediction sets.

Arrays of a classifier have one class per example: labels are int (n,). Those of a multilabel
network have several: labels are int (n, num_labels), 0 or 1.
"""

import math

import numpy as np
from scipy import optimize, special, stats

from .intervals import CONFIDENCE, interval_of_mean, proportion

BINS = 15  # of equal width, as Guo et al. (2017) have
COVERAGE = 0.9  # of prediction sets
SMALLEST = 9  # examples without which no set has that coverage: ceil((n + 1) 0.9) <= n
FEW = 100  # examples below which temperature and sets are uncertain
TEMPERATURES = (0.1, 100.0)  # that are tried
# Added to probabilities before their logarithm; scikit-learn adds the same.
EPSILON = 1e-12
RESAMPLES = 500  # of the bootstrap


def log_odds(probabilities: np.ndarray, several: bool) -> np.ndarray:
    """Returns what a temperature divides, float64: log p, or of several labels log(p / (1 - p)).

    Args:
        probabilities: float (n, k), of classes, or of labels.
        several: Whether an example has several labels.
    """
    p = np.clip(np.asarray(probabilities, np.float64), 0.0, 1.0)
    logarithm = np.log(p + EPSILON)
    return logarithm - np.log(1 - p + EPSILON) if several else logarithm


def scale(probabilities: np.ndarray, temperature: float, several: bool = False) -> np.ndarray:
    """Calibrates probabilities by a temperature (Guo et al. 2017, eq. 9).

    They are softmax(log(p) / T), of several labels sigmoid(log(p / (1 - p)) / T). Their order, so
    the most probable class, stays the same.

    Args:
        probabilities: float (n, k), of classes, or of labels.
        temperature: Above 1 it makes a network less confident, below 1 more.
        several: Whether an example has several labels.

    Returns:
        float32 (n, k).

    Example:
        scale(np.array([[0.8, 0.2]]), 2.0)  # [[0.667, 0.333]]
    """
    scaled = log_odds(probabilities, several) / temperature
    calibrated = special.expit(scaled) if several else special.softmax(scaled, axis=1)
    return calibrated.astype(np.float32)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Finds the temperature with the smallest negative log likelihood, a convex problem in 1 / T.

    If every example is predicted correctly, the likelihood grows as long as T falls, so that it
    says nothing about T: the temperature is 1.

    Args:
        probabilities: float (n, k), of examples that the network was not trained on.
        labels: int (n,), or (n, k) of several labels.

    Returns:
        The temperature, from 0.1 to 100.

    Example:
        p = np.array([[0.9, 0.1]] * 4)
        fit_temperature(p, np.array([0, 0, 0, 1]))  # 2.0
    """
    several = labels.ndim == 2
    odds = log_odds(probabilities, several)
    if several:
        right = (odds > 0) == (labels == 1)
        signs = 1.0 - 2.0 * labels
    else:
        right = odds.argmax(axis=1) == labels
        chosen = odds[np.arange(len(labels)), labels]
    if right.all():
        return 1.0

    def loss(log_temperature: float) -> float:
        inverse = math.exp(-log_temperature)
        if several:
            return float(np.mean(np.logaddexp(0.0, signs * odds * inverse)))
        return float(np.mean(special.logsumexp(odds * inverse, axis=1) - chosen * inverse))

    low, high = map(math.log, TEMPERATURES)
    found = optimize.minimize_scalar(
        loss, bounds=(low, high), method="bounded", options={"xatol": 1e-7}
    )
    return round(math.exp(found.x), 6)


def conformal_threshold(calibrated: np.ndarray, labels: np.ndarray) -> float:
    """Finds the threshold of split-conformal prediction sets (LAC; Sadinle, Lei, Wasserman 2019).

    A class is in the set if 1 - p is at most the threshold: the ceil((n + 1) 0.9)-th smallest
    1 - p of a true class. On exchangeable examples such sets contain the true class with a
    probability of at least 90 %, on average over all sets of n examples.

    Args:
        calibrated: float32 (n, num_classes), of examples that the network was not trained on.
        labels: int (n,).

    Returns:
        The threshold; 1, with which every class is in the set, for fewer than 9 examples.

    Example:
        p = np.linspace(0.1, 1.0, 10)
        conformal_threshold(np.stack([p, 1 - p], axis=1), np.zeros(10, int))  # 0.9
    """
    n = len(labels)
    rank = math.ceil(round((n + 1) * COVERAGE, 6))
    scores = 1 - calibrated[np.arange(n), labels].astype(np.float64)
    return 1.0 if rank > n else float(np.sort(scores)[rank - 1])


def prediction_sets(calibrated: np.ndarray, threshold: float, likeliest: np.ndarray) -> np.ndarray:
    """Returns the classes in each prediction set, bool (n, num_classes).

    The most probable class is always one of them: the sets of a network that is right in more than
    90 % of the cases would otherwise be empty for some examples, and are not meant to be.

    Args:
        calibrated: float32 (n, num_classes).
        threshold: Result of `conformal_threshold`.
        likeliest: int (n,), the most probable class.

    Example:
        p = np.array([[0.6, 0.3, 0.1]])
        prediction_sets(p, 0.75, p.argmax(axis=1))  # [[True, True, False]]
    """
    likely = calibrated >= np.float32(1 - threshold)
    likely[np.arange(len(calibrated)), likeliest] = True
    return likely


def falls_short(coverage: float, n: int, num_val: int) -> bool:
    """Whether the coverage of sets is too far below 90 % to be chance.

    Chance is that of the n test examples and of the val examples that gave the threshold, whose
    variance is that of a beta distribution (Angelopoulos and Bates 2021, section 3.2).

    Args:
        coverage: Share of the test examples whose set contains the true class.
        n: Number of test examples.
        num_val: Number of val examples.

    Example:
        falls_short(0.85, 4837, 1451)  # True
    """
    variance = COVERAGE * (1 - COVERAGE) * (1 / n + 1 / (num_val + 2))
    chance = float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) * math.sqrt(variance)
    return coverage < COVERAGE - chance


def calibrated_arrays(
    probabilities: np.ndarray, temperature: float, threshold: float | None
) -> dict[str, np.ndarray]:
    """Returns the arrays that predictions.npz has of a calibrated network.

    Args:
        probabilities: float32 (n, k).
        temperature: Result of `fit_temperature`.
        threshold: Result of `conformal_threshold`; None for several labels, which have no sets.

    Returns:
        `calibrated`, float32 (n, k), and `temperature`; of classes also `prediction_set`, bool
        (n, k), and `threshold`.
    """
    calibrated = scale(probabilities, temperature, several=threshold is None)
    arrays = {"calibrated": calibrated, "temperature": np.array(temperature)}
    if threshold is not None:
        arrays["prediction_set"] = prediction_sets(
            calibrated, threshold, probabilities.argmax(axis=1)
        )
        arrays["threshold"] = np.array(threshold)
    return arrays


def confidence(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns what the calibration error compares, two arrays (n, m), the second of 0 and 1.

    Of classes it is the largest probability, and whether that class is the true one (m = 1); of
    several labels every probability, and the label (m = k).
    """
    if labels.ndim == 2:
        return np.asarray(probabilities, np.float64), labels.astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    return probabilities.max(axis=1, keepdims=True).astype(np.float64), right[:, None] * 1.0


def bins_of(confidences: np.ndarray) -> np.ndarray:
    """Returns the bin of each confidence, 0 to 14; the upper edge of a bin belongs to it."""
    return np.clip(np.ceil(confidences * BINS).astype(int) - 1, 0, BINS - 1)


def calibration_metrics(
    arrays: dict[str, np.ndarray], known: np.ndarray | None = None
) -> dict[str, dict]:
    """Computes the metrics of calibration, with 95 % intervals; {} if it was not calibrated.

    `ece` and `calibrated_ece` are the expected calibration error (Guo et al. 2017, eq. 3) before
    and after: the mean distance of confidence from accuracy in 15 bins of equal width. Of several
    labels it is the distance of the probability from the frequency, over all pairs of example and
    label. Its interval is that of the basic bootstrap of examples. The estimate is too high if
    there are few examples, since chance differences in a bin count as well: a perfectly calibrated
    network has about 6 % with 200 examples, 3 % with 1,000 and 1 % with 10,000. The interval
    corrects part of it. In simulations it contained the true error in 87 to 92 % of the cases
    where that was 3 % or more, in 55 to 90 % where it was smaller.

    `set_coverage` is the share of examples whose set contains the true class, with Wilson's
    interval, `set_size` the mean number of classes in a set. `calibrated_log_loss` is in nats.

    Args:
        arrays: Content of predictions.npz.
        known: int (m,), which of several labels are measured; by default all.
    """
    if "calibrated" not in arrays:
        return {}
    names = ("label", "probabilities", "calibrated")
    labels, probabilities, calibrated = (
        arrays[name] if known is None else arrays[name][:, known] for name in names
    )
    before, after = _calibration_errors(labels, probabilities, calibrated)
    result = {"ece": before, "calibrated_ece": after}
    if "prediction_set" in arrays:
        sets, rows = arrays["prediction_set"], np.arange(len(labels))
        chosen = calibrated[rows, labels].astype(np.float64)
        loss = -np.log(np.clip(chosen, np.finfo(np.float32).eps, 1.0))
        result["calibrated_log_loss"] = interval_of_mean(loss)
        result["set_coverage"] = proportion(int(sets[rows, labels].sum()), len(labels))
        result["set_size"] = interval_of_mean(sets.sum(axis=1).astype(float))
    else:
        chosen = np.where(labels == 1, calibrated, 1 - calibrated.astype(np.float64))
        loss = -np.log(np.clip(chosen, np.finfo(np.float32).eps, 1.0))
        result["calibrated_log_loss"] = interval_of_mean(loss.mean(axis=1))
    return result


def _calibration_errors(labels: np.ndarray, *answers: np.ndarray) -> list[dict]:
    """Computes the error of several arrays of probabilities, all on the same resamples."""
    n = len(labels)
    columns = []
    for probabilities in answers:
        sure, happened = confidence(probabilities, labels)
        # Differences of each example, summed by bin: (n, BINS).
        places = np.arange(n)[:, None] * BINS + bins_of(sure)
        sums = np.bincount(places.ravel(), (happened - sure).ravel(), n * BINS)
        columns.append(sums.reshape(n, BINS) / sure.shape[1])
    differences = np.concatenate(columns, axis=1)

    def errors(weights: np.ndarray) -> np.ndarray:
        """Returns (m, arrays) for m resamples, given how often each example is in it (m, n)."""
        sums = (weights @ differences).reshape(len(weights), -1, BINS)
        return np.abs(sums).sum(axis=2) / n

    random = np.random.default_rng(0)

    def resample(count: int) -> np.ndarray:
        # Each row counts its own n examples.
        drawn = random.integers(0, n, (count, n)) + n * np.arange(count)[:, None]
        return np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n).astype(float)

    (values,) = errors(np.ones((1, n)))
    together = max(1, min(RESAMPLES, 1_000_000 // n))  # at most 8 MB of counts for any usual n
    parts = [min(together, RESAMPLES - done) for done in range(0, RESAMPLES, together)]
    resampled = np.concatenate([errors(resample(count)) for count in parts])
    tails = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
    lower, upper = np.quantile(resampled, tails, axis=0)
    return [
        {
            "value": float(value),
            "low": float(max(0.0, min(value, 2 * value - high))),
            "high": float(min(1.0, max(value, 2 * value - low))),
            "n": n,
        }
        for value, low, high in zip(values, lower, upper, strict=True)
    ]
