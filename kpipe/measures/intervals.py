"""Estimates with 95 % intervals: proportions and their means, means, ratios, differences."""

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


def proportion(successes: int, n: int) -> dict:
    """Returns a proportion with its Wilson interval.

    Example:
        proportion(9, 10)  # value 0.9, low 0.596, high 0.982
    """
    if n == 0:
        return {"value": None, "low": None, "high": None, "n": 0}
    interval = stats.binomtest(int(successes), int(n)).proportion_ci(CONFIDENCE, method="wilson")
    return {
        "value": float(successes / n),
        "low": float(interval.low),
        "high": float(interval.high),
        "n": int(n),
    }


def mean_of_shares(value: float, smoothed: float, variance: float, n: int) -> dict:
    """Returns a mean of shares with the Wilson interval of trials that have its variance.

    Unlike a normal interval it stays between 0 and 1, and has a width if every share is 0 or 1.

    Args:
        value: The mean.
        smoothed: The same mean of shares smoothed by Laplace's rule, (k + 1) / (m + 2).
        variance: Variance of the mean, computed from the smoothed shares.
        n: Number of examples.

    Example:
        mean_of_shares(0.9, 0.9, 0.9 * 0.1 / 100, 100)["value"]  # 0.9
    """
    square = stats.norm.ppf(0.5 + CONFIDENCE / 2) ** 2
    trials = smoothed * (1 - smoothed) / variance
    center = (value + square / (2 * trials)) / (1 + square / trials)
    spread = square * (value * (1 - value) / trials + square / (4 * trials**2))
    half = np.sqrt(spread) / (1 + square / trials)
    return {
        "value": float(value),
        "low": float(max(0.0, min(value, center - half))),
        "high": float(min(1.0, max(value, center + half))),
        "n": int(n),
    }


def interval_of_mean(values: np.ndarray) -> dict:
    """Returns a mean with its normal interval.

    Args:
        values: (n,), values of independent examples.
    """
    half = stats.norm.ppf(0.5 + CONFIDENCE / 2) * values.std() / np.sqrt(len(values))
    mean = values.mean()
    return {
        "value": float(mean),
        "low": float(mean - half),
        "high": float(mean + half),
        "n": len(values),
    }


def ratio_of_means(first: np.ndarray, second: np.ndarray) -> dict:
    """Returns the ratio of two means on the same examples.

    The interval is normal, by the delta method: variation common to both cancels out.

    Args:
        first: (n,), the numerator.
        second: (n,), the denominator, whose mean is not 0.

    Example:
        ratio_of_means(np.array([2.0, 4.0]), np.array([1.0, 2.0]))  # value 2, low 2, high 2
    """
    first, second = first.astype(float), second.astype(float)
    ratio = first.mean() / second.mean()
    # The mean of these values is 0; their spread is that of the ratio.
    spread = interval_of_mean((first - ratio * second) / second.mean())
    return {
        "value": float(ratio),
        "low": float(ratio + spread["low"]),
        "high": float(ratio + spread["high"]),
        "n": len(first),
    }


def paired_difference(first: np.ndarray, second: np.ndarray) -> dict:
    """Returns the accuracy of the first model minus that of the second on the same examples.

    It has the normal interval of the mean difference: correct predictions of two models on one
    example depend on each other, which two separate intervals would ignore.

    Args:
        first: bool (n,), whether the predictions of the first model are correct.
        second: bool (n,), the same for the second model.

    Example:
        paired_difference(np.array([1, 1, 0, 1]), np.array([1, 0, 0, 1]))["value"]  # 0.25
    """
    return interval_of_mean(first.astype(float) - second.astype(float))


def sign_of(difference: dict) -> int:
    """Returns 1 if an interval is above 0, -1 if below, 0 if it contains 0 or does not exist.

    Args:
        difference: Result of `paired_difference`.
    """
    low, high = difference["low"], difference["high"]
    return 0 if low is None or high is None else int(low > 0) - int(high < 0)
