"""How much each searched key of a search matters for its objective."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

FEWEST = 10  # trials, with fewer of which nothing is fitted
TREES = 100
REPEATS = 10  # permutations of each key


class Importance(NamedTuple):
    """Importance of searched keys.

    Attributes:
        keys: Each key's importance, the greatest first, and its standard deviation over repeats: by
            how much the forest's `r2` falls when the key's values are permuted among the trials.
        r2: Share of the variance of the trials' ranks that the forest explains of trials that a
            tree has not seen (out of bag); None with too few trials.
    """

    keys: dict[str, tuple[float, float]]
    r2: float | None

    @property
    def is_known(self) -> bool:
        """Whether the forest explains anything, so that it can tell which keys matter."""
        return self.r2 is not None and self.r2 > 0


def importance(
    trials: Sequence[Mapping[str, Any]], scales: Mapping[str, str], objective: Sequence[float]
) -> Importance:
    """Measures how much each key matters: permutation importance of a random forest.

    The forest predicts the rank of a trial's objective, so that a few trials that diverged do not
    outweigh all others. Each key is one input: a number, its logarithm, or the number of a choice.
    A key that is not active in a trial has the median of the others there: that it is not active is
    the importance of the key that it depends on. Every score is out of bag (Breiman, 2001): a trial
    is predicted by those trees alone that were not trained on it, so that the importance of noise
    is about 0.

    Args:
        trials: Values of the active keys of each trial.
        scales: The searched keys, and "linear", "log" or "choice".
        objective: The objective of each trial, all finite.
    """
    if len(trials) < FEWEST:
        return Importance({}, None)
    from scipy.stats import rankdata
    from sklearn.ensemble import RandomForestRegressor  # takes a second to import
    from sklearn.inspection import permutation_importance
    from sklearn.metrics import r2_score

    x = np.stack([_encode([t.get(key) for t in trials], scales[key]) for key in scales], axis=1)
    y = rankdata(objective)
    if np.ptp(y) == 0:
        return Importance(dict.fromkeys(scales, (0.0, 0.0)), 0.0)
    forest = RandomForestRegressor(TREES, random_state=0).fit(x, y)
    unseen = np.ones((len(y), TREES), bool)
    for tree, seen in enumerate(forest.estimators_samples_):
        unseen[seen, tree] = False
    kept = unseen.any(axis=1)

    def score(_: object, inputs: np.ndarray, ranks: np.ndarray) -> float:
        inputs = np.ascontiguousarray(inputs, np.float32)
        predicted = np.stack([tree.tree_.predict(inputs)[:, 0] for tree in forest], axis=1)
        means = np.average(predicted[kept], axis=1, weights=unseen[kept])
        return r2_score(ranks[kept], means)

    found = permutation_importance(forest, x, y, scoring=score, n_repeats=REPEATS, random_state=0)
    values = zip(found.importances_mean, found.importances_std, strict=True)
    keys = {key: (float(m), float(s)) for key, (m, s) in zip(scales, values, strict=True)}
    return Importance(
        dict(sorted(keys.items(), key=lambda item: -item[1][0])), float(score(forest, x, y))
    )


def _encode(values: Sequence[Any], scale: str) -> np.ndarray:
    """Returns a column for the forest; None is the lower median of the others."""
    given = [value for value in values if value is not None]
    if not given:
        return np.zeros(len(values))
    is_numeric = all(isinstance(value, (int, float)) for value in given)
    if scale == "choice" or not is_numeric:
        place: dict[Any, float] = {value: i for i, value in enumerate(in_order(given))}
    elif scale == "log" and min(given) > 0:
        place = {value: math.log(value) for value in given}
    else:
        place = {value: value for value in given}
    ordered = sorted(place[value] for value in given)
    place[None] = ordered[(len(ordered) - 1) // 2]
    return np.array([place[value] for value in values], float)


def in_order(choices: Sequence[Any]) -> list[Any]:
    """Returns the different values, numbers by size, then texts by the alphabet."""

    def place(value: Any) -> tuple[bool, float, str]:
        is_number = isinstance(value, (int, float))
        return not is_number, value if is_number else 0, str(value)

    return sorted(dict.fromkeys(choices), key=place)
