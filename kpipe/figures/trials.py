"""What figures of a search share: the places of values on axes, and values in words."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from .. import formatting
from ..measures.importance import in_order
from ..records.study import Study, TrialRecord
from . import style

FAR = 4  # a value is far off if it is this many times as far from the best as 3 of 4 trials
FEW = 6  # different numbers that are drawn like choices, so that their points do not overlap
LONGEST = 13  # characters of a choice on an axis


class Place:
    """Where the values of a key are on an axis.

    Args:
        study: The search.
        key: The key.
        active: The trials in which it is active.
    """

    def __init__(self, study: Study, key: str, active: Sequence[TrialRecord]):
        values = [trial.values[key] for trial in active]
        named = study.scales[key] == "choice" or not all(
            isinstance(value, (int, float)) for value in values
        )
        # Such as the number of layers.
        named |= len(set(values)) <= FEW and len(values) > 3 * len(set(values))
        self.choices = in_order(values) if named else []
        self.log = not named and study.scales[key] == "log" and min(values) > 0
        self.ends = (0.0, 1.0) if named else (float(min(values)), float(max(values)))

    def __call__(self, value: Any) -> float:
        return float(self.choices.index(value) if self.choices else value)

    def to_unit(self, value: Any) -> float:
        """Returns the place of a value from 0 to 1."""
        if self.choices:
            return (self.choices.index(value) + 0.5) / len(self.choices)
        write: Callable[[float], float] = math.log if self.log else float
        low, high = map(write, self.ends)
        return (write(value) - low) / (high - low) if high > low else 0.5

    def ticks(self) -> list[tuple[float, str]]:
        """Returns places and labels of ticks."""
        if self.choices:
            values = self.choices[:: -(-len(self.choices) // 12)]
            return [(self.to_unit(v), shown(v, LONGEST)) for v in values]
        low, high = self.ends
        places = np.geomspace(low, high, 5) if self.log else np.linspace(low, high, 5)
        if self.log and high > 500 * low:
            powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
            places = np.array([float(f"1e{power}") for power in powers])
        rounded = {float(f"{place:.2g}"): None for place in places}
        if all(place == round(place) for place in self.ends):  # integers
            rounded = {float(round(place)): None for place in rounded}
        inside = [place for place in rounded if low <= place <= high] or [low]
        return [
            (self.to_unit(place), f"{place:,g}" if place < 1e6 else f"{place:g}")
            for place in inside
        ]


def measured(study: Study) -> list[TrialRecord]:
    """Returns the trials whose objective is a finite number, the best first."""
    sign = 1 if study.direction == "min" else -1
    finite = [trial for trial in study.trials if math.isfinite(value_of(trial))]
    return sorted(finite, key=lambda trial: (sign * value_of(trial), trial.trial))


def named(study: Study) -> str:
    """Writes the name of the objective: "val accuracy"."""
    return formatting.words(study.objective)


def number(study: Study, value: float | None, short: bool = False) -> str:
    """Writes a value of the objective, with the digits of its metric.

    Args:
        study: The search.
        value: The value.
        short: Whether it is the label of an axis.
    """
    metric = study.objective.removeprefix("val_")
    if short and value is not None:
        return f"{100 * value:.4g} %" if formatting.is_share(metric) else f"{value:.4g}"
    return formatting.number(metric, value)


def shown(value: Any, longest: int | None = None) -> str:
    """Writes a value of a key as it is typed.

    Args:
        value: The value.
        longest: Of text on a figure: characters, above which the middle is left out.
    """
    typed = "none" if value is None else formatting.short(value)
    typed = typed.lower() if isinstance(value, bool) else typed
    if longest is None:
        return typed
    if len(typed) > longest:
        typed = f"{typed[: longest // 2 - 1]}…{typed[-(longest - longest // 2) :]}"
    return style.escape(typed)


def value_of(trial: TrialRecord) -> float:
    """Returns the objective; NaN if there is none."""
    return math.nan if trial.value is None else trial.value


def whiskers(trials: Sequence[TrialRecord], low: float, high: float) -> np.ndarray:
    """Returns the lengths of the intervals below and above each value: (2, n).

    Trials outside of `low` and `high`, the ends of the axis, have none.
    """
    bounds = np.array(
        [style.bounds({"value": t.value, "low": t.low, "high": t.high}) for t in trials]
    )
    lengths = np.array([bounds[:, 0] - bounds[:, 1], bounds[:, 2] - bounds[:, 0]])
    lengths[:, (bounds[:, 0] < low) | (bounds[:, 0] > high)] = 0
    return np.nan_to_num(lengths).clip(min=0)


def scatter(count: int) -> np.ndarray:
    """Returns numbers from 0 to 1 that move equal values apart, the same at each call."""
    return (np.arange(count) * 0.618034) % 1


def limits_of(study: Study, values: np.ndarray) -> tuple[float, float]:
    """Returns the ends of the objective's axis: values far off are left outside."""
    sign = 1 if study.direction == "max" else -1
    distance = (sign * values).max() - sign * values  # from the best, at least 0
    within = FAR * np.quantile(distance, 0.75)
    near = values[distance <= within]
    low, high = float(near.min()), float(near.max())
    return (low, high) if high > low else (low - 0.01 * abs(low or 1), high + 0.01 * abs(high or 1))


def set_limits(axes: Axes, study: Study, low: float, high: float, outside: int) -> None:
    """Sets the objective's axis, with room around the ends."""
    room = 0.08 * (high - low)
    axes.set_ylim(low - room, high + room)
    if formatting.is_share(study.objective.removeprefix("val_")):
        axes.yaxis.set_major_formatter(FuncFormatter(lambda tick, _: f"{100 * tick:.5g} %"))
    name = style.escape(named(study))
    axes.set_ylabel(f"{name}\n({outside} beyond the edge)" if outside else name)
