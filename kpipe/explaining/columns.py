"""The columns that a network's answers hang on, over many rows."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ..measures.intervals import interval_of_mean
from .rows import Field, Rows, Score, in_batches

MOST = 2**17  # rows evaluated for all columns together
ROWS, REPEATS = 1000, 5  # of the rows, and of their permutations
FEWEST_ROWS = 20  # rows, with fewer of which there is no interval to speak of
MAX_COLUMNS = 1000
POINTS = 12  # values of a column that an effect is computed at
CURVES = 200  # rows whose answers are averaged at each of them
QUANTILES = 0.05, 0.95  # between which values of a number are


class Effect(NamedTuple):
    """How the answers change with a column.

    Attributes:
        values: float64 (points,) of a number, ascending; otherwise object (points,), UTF-8.
        scores: float64 (points, rows, k): answers of some rows with that value in the column. Their
            mean over the rows is the partial dependence (Friedman, 2001), each row's the individual
            conditional expectation (Goldstein et al., 2015).
    """

    values: np.ndarray
    scores: np.ndarray


def some_rows(count: int, columns: int, most: int = ROWS) -> np.ndarray:
    """Chooses rows for `importances`, spread over all: fewer if there are many columns."""
    most = min(count, most, max(FEWEST_ROWS, MOST // (REPEATS * max(1, columns))))
    return np.unique(np.linspace(0, count - 1, most).astype(int))


def importances(
    score: Score, rows: Rows, error: Callable[[np.ndarray], np.ndarray], seed: int = 0
) -> dict[str, dict]:
    """Measures how much worse answers are if a column is permuted among rows (Breiman, 2001).

    The interval is that of the mean over rows of the difference of errors, each of which is a mean
    over `REPEATS` permutations. Columns that say the same replace one another: each of them looks
    less important than they are together.

    Args:
        score: Function from rows to scores.
        rows: Rows that the network was not trained on.
        error: Function from scores (n, k) to the error of each row (n,).
        seed: Random seed of the permutations.

    Returns:
        "value", "low", "high" and "n" by column, the most important first.

    Example:
        rows, labels = {"a": np.array([1.0, 2, 3]), "b": np.zeros(3)}, np.array([2.0, 4, 6])
        score = lambda rows: 2 * rows["a"][:, None]
        importances(score, rows, lambda scores: np.abs(scores[:, 0] - labels))["b"]["value"]  # 0.0
    """
    random, found = np.random.default_rng(seed), {}
    count = len(next(iter(rows.values())))
    before = error(in_batches(score, rows)).astype(float)
    for name, values in rows.items():
        orders = [random.permutation(count) for _ in range(REPEATS)]
        repeated = {other: np.tile(some, REPEATS) for other, some in rows.items()}
        repeated[name] = np.concatenate([values[order] for order in orders])
        scores = in_batches(score, repeated).reshape(REPEATS, count, -1)
        after = np.mean([error(some) for some in scores], axis=0)
        found[name] = interval_of_mean(after - before)
    return dict(sorted(found.items(), key=lambda item: -item[1]["value"]))


def effect(score: Score, rows: Rows, name: str, field: Field) -> Effect:
    """Computes the answers with each of several values in a column of all rows.

    Args:
        score: Function from rows to scores.
        rows: The rows, whose other columns stay as they are.
        name: The column.
        field: Its kind.
    """
    values = _points(rows[name], field)
    count = len(rows[name])
    repeated = {other: np.tile(some, len(values)) for other, some in rows.items()}
    repeated[name] = np.repeat(values, count).astype(rows[name].dtype)
    scores = in_batches(score, repeated).astype(float)
    return Effect(values, scores.reshape(len(values), count, -1))


def _points(values: np.ndarray, field: Field) -> np.ndarray:
    """Returns values of a column: quantiles of numbers and dates, the most frequent categories."""
    if field.is_number:
        known = values[~np.isnan(values)].astype(float)
        if not known.size:
            return np.zeros(1)
        distinct = np.unique(known)
        if len(distinct) <= POINTS:
            return distinct
        return np.unique(np.quantile(known, np.linspace(*QUANTILES, POINTS)))
    found, counts = np.unique([bytes(value) for value in values], return_counts=True)
    if field.kind == "date":  # ISO 8601, in the order of time
        known = found[found != b""] if (found != b"").any() else found
        return known[np.linspace(0, len(known) - 1, min(POINTS, len(known))).astype(int)]
    return found[np.argsort(-counts, kind="stable")][:POINTS].astype(object)


def as_rows(values: np.ndarray, fields: Mapping[str, Field]) -> Rows:
    """Returns the numbers of arrays (n, ...) by name."""
    return dict(zip(fields, values.reshape(len(values), -1).T, strict=True))
