"""The learning curve of a network: its val error by number of training examples, extrapolated."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

DRAWS = 4000
BLOCK = 4_000_000  # weights of examples that are drawn at a time
PERCENTILES = (2.5, 97.5)


class Point(NamedTuple):
    """The val errors of one training.

    Attributes:
        seed: Seed of the training.
        fraction: Share of the train split that it was trained on.
        examples: Number of these training examples.
        rows: int (n,), numbers of the val examples: an example has the same in all seeds.
        errors: float (n,), error of each val example, at least 0.
    """

    seed: int
    fraction: float
    examples: int
    rows: np.ndarray
    errors: np.ndarray


def learning_curve(points: Sequence[Point], shares: bool) -> dict[str, Any]:
    """Fits a power law to errors, and extrapolates it to twice the largest number of examples.

    The law is error = a n^-b (Frey and Fisher, 1999; Hestness et al., 2017), a line on logarithmic
    scales. It has no plateau: three parameters cannot be told from four sizes.

    Intervals are quantiles of 4,000 draws, which vary two things. The val examples are resampled
    by the Bayesian bootstrap (Rubin, 1981), with the same weights for an example in all trainings;
    half an example that is right and half one that is wrong are added to shares, so that the draws
    of a share are Jeffreys' interval, also where no example is wrong. Trainings of the same size
    differ by chance, in subset, weights and order: this noise is normal on the logarithmic scale,
    with a variance that is estimated by the scatter of the points around the line, beyond that of
    the val examples. It is drawn as well (a scaled inverse chi-squared), so that with few points
    intervals are as wide as Student's. Points are weighted by the inverse of both variances.

    Measured coverage of the interval of `gain`, in %, 200 to 700 simulated series of 4 sizes
    each, b = 0.35, 20 % errors at n, by val examples and relative training noise:

    | simulated                     | one seed | three seeds |
    |-------------------------------|----------|-------------|
    | 200 val examples, noise 0 %   | 99.5     | 98.0        |
    | 200 val examples, noise 10 %  | 98.0     | 96.2        |
    | 1,000 val examples, noise 5 % | 94.0     | 94.6        |

    Args:
        points: Trainings of at least three different sizes.
        shares: Whether errors are shares, from 0 to 1.

    Returns:
        `exponent`, b; `noise`, the relative deviation of trainings of one size; `sizes`, with the
        mean error over the seeds and its interval, of the val examples alone; `points`, the same of
        each training; `curve`, the law from the smallest size to twice the largest; `twice`, the
        law's error there; `gain`, by how much it is lower than the law's at the largest size; and
        `back_test`, the error at the largest size as the smaller ones predict it, with the one that
        was "measured", and whether the prediction "holds". All have "value", "low" and "high"; the
        last two of `back_test` are None if fewer than two degrees of freedom remain, and it is None
        if there are three sizes.

    Raises:
        ValueError: There are fewer than three sizes.
    """
    fractions = sorted({point.fraction for point in points})
    if len(fractions) < 3:
        raise ValueError(f"{len(fractions)} sizes; expected at least 3")
    rng = np.random.default_rng(0)
    means = np.array([point.errors.mean() for point in points])
    drawn = _log_errors(points, shares, rng)
    measured = np.median(drawn, axis=0)
    sizes = np.log([point.examples for point in points])
    largest = np.array([point.fraction == fractions[-1] for point in points])
    limit = 0.0 if shares else 700.0  # logarithm of the largest error, a share's or a float's
    fit = _Line(sizes, measured, drawn, limit, rng)
    end = sizes[largest].mean()
    at = np.append(np.linspace(sizes.min(), end, 16), np.linspace(end, end + np.log(2), 8)[1:])
    lines, line = fit.drawn_at(at), fit.at(at)
    now = 15  # where the largest size is in `at`

    def of_size(fraction: float) -> dict[str, Any]:
        chosen = np.array([point.fraction == fraction for point in points])
        examples = round(np.exp(sizes[chosen]).mean())
        seen = _around(means[chosen].mean(), np.exp(drawn[:, chosen]).mean(axis=1))
        return {"fraction": fraction, "examples": examples, **seen}

    return {
        "exponent": _entry(-fit.coefficients[1], -fit.draws[:, 1]),
        "noise": float(np.sqrt(fit.variance)),
        "sizes": [of_size(fraction) for fraction in fractions],
        "points": [
            {"seed": point.seed, "examples": point.examples, **_around(mean, np.exp(draws))}
            for point, mean, draws in zip(points, means, drawn.T, strict=True)
        ],
        "curve": [
            {"examples": float(np.exp(x)), **_entry(np.exp(y), np.exp(draws))}
            for x, y, draws in zip(at, line, lines.T, strict=True)
        ],
        "twice": {
            "examples": round(2 * np.exp(end)),
            **_entry(np.exp(line[-1]), np.exp(lines[:, -1])),
        },
        "gain": _entry(
            np.exp(line[now]) - np.exp(line[-1]), np.exp(lines[:, now]) - np.exp(lines[:, -1])
        ),
        "back_test": (
            _back_test(sizes, measured, drawn, largest, means, limit, rng)
            if len(fractions) > 3
            else None
        ),
    }


def _back_test(
    sizes: np.ndarray,
    measured: np.ndarray,
    drawn: np.ndarray,
    largest: np.ndarray,
    means: np.ndarray,
    limit: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Predicts the errors at the largest size from the others."""
    fit = _Line(sizes[~largest], measured[~largest], drawn[:, ~largest], limit, rng)
    end = sizes[largest].mean(keepdims=True)
    predicted, seen = float(fit.at(end)[0]), measured[largest]
    result = {"value": float(np.exp(predicted)), "measured": float(means[largest].mean())}
    if fit.freedom < 2:
        return {**result, "low": None, "high": None, "holds": None}
    # The val examples are the same, so that what they have in common does not count.
    common = (drawn - drawn.mean(axis=0))[:, largest].mean(axis=1)
    noise = rng.standard_normal(len(drawn)) * np.sqrt(fit.variances / largest.sum())
    draws = np.exp(np.minimum(fit.drawn_at(end)[:, 0] - common + noise, limit))
    entry = _entry(result["value"], draws)
    found = result["measured"] or np.exp(seen.mean())  # a law never predicts an error of 0
    holds = entry["low"] <= found <= entry["high"]
    return {**result, **entry, "holds": bool(holds)}


class _Line:
    """A weighted least-squares line through logarithms, with draws of its coefficients.

    Args:
        x: (m,), logarithm of the number of examples.
        y: (m,), logarithm of the error.
        drawn: (draws, m), draws of `y` that differ by the val examples.
        limit: Largest value of the line.
        rng: Random generator of the training noise.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        drawn: np.ndarray,
        limit: float,
        rng: np.random.Generator,
    ):
        self.limit = limit
        design = np.stack([np.ones_like(x), x], axis=1)
        self.freedom = len(x) - 2
        rest = np.eye(len(x)) - design @ np.linalg.pinv(design)
        scatter = np.square(rest @ y).sum()
        # Of the scatter, what the val examples explain.
        explained = np.square((drawn - drawn.mean(axis=0)) @ rest).sum(axis=1).mean()
        self.variance = max(0.0, (scatter - explained) / self.freedom)
        chances = rng.chisquare(self.freedom, len(drawn))
        self.variances = np.maximum(0, scatter / chances - explained / self.freedom)
        weights = 1 / np.maximum(drawn.var(axis=0) + self.variance, 1e-12)
        solve = np.linalg.solve(design.T @ (weights[:, None] * design), design.T * weights)
        noise = rng.standard_normal(drawn.shape) * np.sqrt(self.variances)[:, None]
        self.coefficients = solve @ y
        self.draws = (drawn + noise) @ solve.T

    def at(self, x: np.ndarray) -> np.ndarray:
        return np.minimum(self.coefficients[0] + self.coefficients[1] * x, self.limit)

    def drawn_at(self, x: np.ndarray) -> np.ndarray:
        return np.minimum(self.draws[:, :1] + self.draws[:, 1:] * x, self.limit)


def _log_errors(points: Sequence[Point], shares: bool, rng: np.random.Generator) -> np.ndarray:
    """Draws the logarithm of each point's mean error, with the val examples: (draws, m)."""
    everything = np.unique(np.concatenate([point.rows for point in points]))
    places = [np.searchsorted(everything, point.rows) for point in points]
    drawn = np.empty((DRAWS, len(points)))
    step = max(1, BLOCK // len(everything))
    for start in range(0, DRAWS, step):
        count = min(step, DRAWS - start)
        weights = rng.standard_exponential((count, len(everything)), np.float32)
        for i, (point, place) in enumerate(zip(points, places, strict=True)):
            taken = weights if len(place) == len(everything) else weights[:, place]
            wrong, right = rng.gamma(0.5, size=(2, count)) if shares else np.zeros((2, count))
            total = taken.sum(axis=1) + wrong + right
            drawn[start : start + count, i] = (taken @ point.errors + wrong) / total
    return np.log(np.maximum(drawn, np.finfo(float).tiny))


def _entry(value: float, draws: np.ndarray) -> dict[str, float]:
    low, high = np.percentile(draws, PERCENTILES)
    return {"value": float(value), "low": float(low), "high": float(high)}


def _around(value: float, draws: np.ndarray) -> dict[str, float]:
    """Like `_entry`, with an interval that contains the value: also if no example is wrong."""
    entry = _entry(value, draws)
    return entry | {"low": min(entry["low"], value), "high": max(entry["high"], value)}
