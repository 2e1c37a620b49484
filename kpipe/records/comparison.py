"""A comparison of runs: cells that differ in settings, with runs that differ in their seeds."""

import dataclasses
from typing import Any

import numpy as np

from .. import formatting
from ..measures import comparing as measures
from ..measures.intervals import CONFIDENCE
from .folder import Run

OVER_SEEDS, WITHIN_SEEDS, NOT_TESTED = "over seeds", "within seeds", "not tested"


@dataclasses.dataclass(kw_only=True)
class Cell:
    """Runs with the same settings, and different seeds.

    Attributes:
        keys: The settings in which the cells differ, and its values.
        runs: The finished runs by their seeds.
        failed: Why the others failed, in one line each, by their seeds.
    """

    keys: dict[str, Any]
    runs: dict[int, Run] = dataclasses.field(default_factory=dict)
    failed: dict[int, str] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is, such as "optimizer=adam, units=64"."""
        return ", ".join(f"{key}={value}" for key, value in self.keys.items()) or "all runs"

    def values(self, metric: str) -> dict[int, float]:
        """Returns a test metric by seed, without seeds where it is undefined."""
        found = {seed: run.metrics.get(metric, {}).get("value") for seed, run in self.runs.items()}
        return {s: v for s, v in sorted(found.items()) if v is not None and np.isfinite(v)}

    def mean(self, metric: str) -> dict[str, Any]:
        """Returns the mean over seeds with Student's interval; of one run what its test split says.

        A dict of None if there is no value.
        """
        values = self.values(metric)
        if len(values) == 1:
            return dict(self.runs[next(iter(values))].metrics[metric]) | {"n": 1}
        if not values:
            return {"value": None, "low": None, "high": None, "n": 0}
        found = measures.mean_over_seeds(list(values.values()))
        if formatting.is_share(metric):
            found |= {"low": max(0.0, found["low"]), "high": min(1.0, found["high"])}
        return found

    @property
    def parameters(self) -> int | None:
        models = (run.record.model for run in self.runs.values())
        return next((model.parameters for model in models if model), None)

    @property
    def epoch_seconds(self) -> float | None:
        """The median over runs of `epoch_seconds`."""
        every = [s for run in self.runs.values() if (s := epoch_seconds(run)) is not None]
        return float(np.median(every)) if every else None


def epoch_seconds(run: Run) -> float | None:
    """Returns the median duration of an epoch and its validation.

    The first, which compiles, is left out if there are others.
    """
    every = [s for s in run.history.get("seconds", ()) if s]
    return float(np.median(every[1:] or every)) if every else None


@dataclasses.dataclass(kw_only=True)
class Pair:
    """Two cells, the better one first.

    Attributes:
        first: Number of the cell with the better mean.
        second: Number of the other.
        seeds: The seeds that both have.
        metric: What is compared: the metric of the comparison, or what its test examples have.
        rises: Whether more of `metric` is better.
        kind: "over seeds", "within seeds" or "not tested".
        test: The difference and the test that the verdict is based on.
        within: The test on the test examples of each seed.
        corrected: p after Holm's correction; None if it was not tested.
        reason: Why it was not tested.
    """

    first: int
    second: int
    seeds: list[int]
    metric: str
    rises: bool
    kind: str
    test: measures.Paired | None = None
    within: dict[int, measures.Paired] = dataclasses.field(default_factory=dict)
    corrected: float | None = None
    reason: str = ""

    @property
    def differ(self) -> bool:
        """Whether the two can be told apart, at 5 % for all pairs together."""
        return self.corrected is not None and self.corrected < 1 - CONFIDENCE

    @property
    def turned(self) -> bool:
        """Whether the second is better by what is tested: another metric, or common seeds."""
        return self.differ and self.test is not None and (self.test.value > 0) != self.rises


@dataclasses.dataclass(kw_only=True)
class Comparison:
    """A comparison of cells by a test metric.

    Attributes:
        cells: The cells, in the order in which they were given.
        metric: The test metric.
        rises: Whether more of it is better.
        pairs: All pairs of cells with runs, those of the best cell first.
        curve: Column of the histories that is drawn, such as val_accuracy; "" if there is none in
            common.
        curve_rises: Whether more of it is better.
        threshold: Its value whose time is measured; None without a curve.
        asked: Whether the threshold was given, instead of following from the best run.
        notes: What a reader must know, a sentence each.
    """

    cells: list[Cell]
    metric: str
    rises: bool
    pairs: list[Pair] = dataclasses.field(default_factory=list)
    curve: str = ""
    curve_rises: bool = True
    threshold: float | None = None
    asked: bool = False
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def runs(self) -> list[tuple[int, int, Run]]:
        """The number of the cell, the seed, and the run, of all finished runs."""
        return [(i, s, r) for i, c in enumerate(self.cells) for s, r in sorted(c.runs.items())]

    @property
    def failed(self) -> bool:
        """Whether a run failed."""
        return any(cell.failed for cell in self.cells)

    @property
    def ranked(self) -> list[int]:
        """The numbers of the cells with a value, the best first."""
        means = {i: cell.mean(self.metric)["value"] for i, cell in enumerate(self.cells)}
        known = [i for i, value in means.items() if value is not None]
        return sorted(known, key=lambda i: (-means[i] if self.rises else means[i], i))

    def time_to(self, run: Run) -> float | None:
        """Returns the seconds of training until the curve reached the threshold; None if never."""
        values, seconds = run.history.get(self.curve), run.history.get("seconds")
        if self.threshold is None or not values or not seconds or None in seconds:
            return None
        sign = 1 if self.curve_rises else -1
        reached = [
            i for i, v in enumerate(values) if v is not None and sign * v >= sign * self.threshold
        ]
        return float(np.cumsum(seconds)[reached[0]]) if reached else None
