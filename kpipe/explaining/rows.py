"""The columns that an answer to a row of a table hangs on, or the numbers of an array."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from ..datasets.columns import Column, arguments_of

NEAREST = 2.0**-25  # half of the distance of float32 below 1
MOST_ROWS = 2**14  # evaluated for one explanation
FEWEST = 8  # rows that replace a value
MAX_NUMBERS = MOST_ROWS // FEWEST  # of an array that is explained number by number
BATCH = 2048  # rows

Rows = Mapping[str, np.ndarray]  # one array (n,) for each column, in their order
# Function from rows to scores, float (n, k).
Score = Callable[[Rows], np.ndarray]


class Field(NamedTuple):
    """A column of a table, or a number of an array.

    Attributes:
        name: Its name.
        kind: One of `columns.KINDS`.
    """

    name: str
    kind: str = "number"

    @property
    def is_number(self) -> bool:
        """Whether its values are float32."""
        return self.kind in ("number", "boolean")


def fields_of(columns: Sequence[Column]) -> dict[str, Field]:
    """Returns the columns of a table by argument."""
    return {
        argument: Field(column.name, column.kind)
        for argument, column in zip(arguments_of(columns), columns, strict=True)
    }


def fields_of_array(shape: Sequence[int]) -> dict[str, Field]:
    """Names the numbers of an array: "1", "2", ... of a vector, otherwise by their indices."""
    if len(shape) == 1:
        names = [str(i + 1) for i in range(shape[0])]
    else:
        names = [", ".join(str(i + 1) for i in index) for index in np.ndindex(*shape)]
    return {name: Field(name) for name in names}


def log_odds(scores: Any, column: int) -> np.ndarray:
    """Computes ln(p / (1 - p)), finite for 0 and 1.

    Of classes, whose probabilities sum to 1, 1 - p is the sum of the others: a float32 near 1 is
    too coarse.

    Args:
        scores: Probabilities, float (n, k).
        column: Which of them.

    Returns:
        float64 (n,).
    """
    p = np.asarray(scores, np.float64)
    others = 1 - p[:, column]
    if p.shape[1] > 1 and np.allclose(p.sum(axis=1), 1, atol=1e-3):
        others = np.delete(p, column, axis=1).sum(axis=1)
    return np.log(_positive(p[:, column])) - np.log(_positive(others))


def _positive(values: np.ndarray) -> np.ndarray:
    """Replaces 0 by the smallest other value, or by what float32 cannot tell from 0 beside 1."""
    return np.maximum(values, values[values > 0].min(initial=NEAREST))


def missing(fields: Mapping[str, Field]) -> dict[str, np.ndarray]:
    """Returns one row without values."""
    return {
        argument: np.array([math.nan], np.float32) if field.is_number else np.array([b""], object)
        for argument, field in fields.items()
    }


def count_of(rows: Rows) -> int:
    """Returns the number of rows."""
    return len(next(iter(rows.values())))


def some_for(background: Rows) -> Rows:
    """Returns the first rows: as many as can replace each value of one with many columns."""
    count = max(FEWEST, MOST_ROWS // len(background))
    return {argument: values[:count] for argument, values in background.items()}


class Replaced(NamedTuple):
    """Answers without a value.

    Attributes:
        score: The score of the row.
        without: float64 (columns,), the mean score with each value replaced.
        effects: float64 (columns,), `score` minus `without`; of probabilities of their log-odds.
    """

    score: float
    without: np.ndarray
    effects: np.ndarray


def replace_each(score_and_odds: Score, row: Rows, background: Rows, is_value: bool) -> Replaced:
    """Computes the score of a row, and its mean with each value replaced by those of other rows.

    Robnik-Sikonja and Kononenko, 2008: what the answer would be if a column were not known.

    Args:
        score_and_odds: Function from rows to scores and their log-odds, float64 (n, 2).
        row: One row.
        background: The other rows.
        is_value: Whether scores are values instead of probabilities.
    """
    count = count_of(background)
    changed = {
        argument: np.concatenate([values, np.repeat(values, count * len(row))])
        for argument, values in row.items()
    }
    for i, argument in enumerate(row):
        start = 1 + i * count
        changed[argument][start : start + count] = background[argument]
    scores, odds = in_batches(score_and_odds, changed).T
    without = scores[1:].reshape(len(row), count).mean(axis=1)
    if is_value:
        return Replaced(float(scores[0]), without, scores[0] - without)
    replaced = odds[1:].reshape(len(row), count)
    # Those of the mean probability.
    yes, no = (special.logsumexp(special.log_expit(o), axis=1) for o in (replaced, -replaced))
    effects = odds[0] - (yes - no)
    effects[(replaced == odds[0]).all(axis=1)] = 0  # not the rounding of their sums
    return Replaced(float(scores[0]), without, effects)


def in_batches(score: Score, rows: Rows) -> np.ndarray:
    """Scores many rows, in batches."""
    count = count_of(rows)
    parts = [
        score({name: values[start : start + BATCH] for name, values in rows.items()})
        for start in range(0, count, BATCH)
    ]
    return np.concatenate(parts)


def shown(field: Field, value: Any) -> Any:
    """Returns a value as JSON, None if it is missing."""
    if not field.is_number:
        return bytes(value).decode(errors="replace") or None
    if math.isnan(value):
        return None
    return bool(value) if field.kind == "boolean" else float(f"{value:.7g}")


def as_values(field: Field, values: Any) -> np.ndarray:
    """Returns the values of a column as an array: float32, or objects."""
    return np.asarray(values, np.float32 if field.is_number else object)
