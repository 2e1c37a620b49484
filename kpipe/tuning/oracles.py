"""keras-tuner's oracles, as pure functions of the seed and of the results so far.

A search that is resumed asks a new oracle for the same trials again and gives it their results, so
that its state is that of a search which was never interrupted. keras-tuner's own files are not
used: it writes them in place, a grid cannot be read from them (keras-tuner issue 1055), they do not
contain the random state of Bayesian optimization, and the names of trials depend on their limit.
"""

import itertools
import random
import warnings
from collections.abc import Mapping
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner import oracles
from keras_tuner.src.engine import metrics_tracking
from sklearn.exceptions import ConvergenceWarning

from ..errors import UserError
from .space import LARGEST_GRID, combinations, searched, size

STOPPED, IDLE, RUNNING = "STOPPED", "IDLE", "RUNNING"
DRAWS = 100  # of 20 values, in a space without an end whose choices are few
ADAPTIVE = ("bayesian", "hyperband")  # whose trials depend on the results of earlier ones


class _Oracle(keras_tuner.Oracle):
    """What all oracles here have: no files, and exact knowledge of a finite space."""

    known: Mapping[str, dict[str, Any]] = {}  # of a resumed search: values by trial

    def save(self, fname: object = None) -> None:
        """Writes nothing: the state follows from the trials."""

    def _save_trial(self, trial: Any) -> None:
        """Writes nothing."""

    def _random_values(self) -> dict[str, Any] | None:
        """Draws values that were not tried; None only if there are none."""
        values = super()._random_values()
        if values is not None:
            return values
        # keras-tuner gives up after 20 draws of values that were tried.
        if size(self.hyperparameters) is None:
            draws = (super(_Oracle, self)._random_values() for _ in range(DRAWS))
            return next((values for values in draws if values is not None), None)
        left = [
            one
            for one in combinations(self.hyperparameters, exact=True)
            if not self._duplicate(one)
        ]
        return random.Random(self.seed + len(self.trials)).choice(left) if left else None


class RandomSearch(_Oracle, oracles.RandomSearchOracle):
    """Random search."""


class Bayesian(_Oracle, oracles.BayesianOptimizationOracle):
    """Bayesian optimization, whose draws depend on the seed and the number of trials alone."""

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        completed = {i: t for i, t in self.trials.items() if t.status == "COMPLETED"}
        if trial_id in self.known and len(completed) >= self.num_initial_points:
            return {"status": RUNNING, "values": self.known[trial_id]}  # the fit takes seconds
        self._random_state = np.random.RandomState(self.seed + len(self.trials))
        self.gpr = self._make_gpr()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            if self.ongoing_trials and len(completed) >= self.num_initial_points:
                everything, self.trials = self.trials, completed  # foretell those that are running
                self.gpr.fit(*map(np.nan_to_num, self._vectorize_trials()))
                self.trials = everything
            response = super().populate_space(trial_id)
        if response["values"] and self._duplicate(response["values"]):  # would repeat a trial
            state, self._seed_state = self._seed_state, (self.seed + len(self.trials)) * 1_000_003
            values, self._seed_state = self._random_values(), state
            response = {"status": RUNNING if values else STOPPED, "values": values}
        return response

    def _vector_to_values(self, vector: np.ndarray) -> dict[str, Any]:
        """Decodes a point of the unit cube; at its faces keras-tuner leaves a range by rounding.

        Of 2 to 512 on a log scale it has 513, and the best point often lies at a face.
        """
        values: dict[str, Any] = super()._vector_to_values(vector)
        for parameter in self.hyperparameters.space:
            name = parameter.name
            if name in values and hasattr(parameter, "max_value"):
                values[name] = min(max(values[name], parameter.min_value), parameter.max_value)
        return values


class Hyperband(_Oracle, oracles.HyperbandOracle):
    """Hyperband."""

    ended = False

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        response = super().populate_space(trial_id)
        self.ended = response["status"] == STOPPED
        return response

    @property
    def needed(self) -> set[str]:
        """Trials that may still be continued by others."""
        waiting: set[str] = set()
        for bracket in [] if self.ended else self._brackets:
            for past, following in itertools.pairwise(bracket["rounds"]):
                selected = {entry["past_id"] for entry in following}
                waiting |= {entry["id"] for entry in past} - selected
        return waiting


class Grid(_Oracle):
    """All combinations, the last key varying fastest."""

    def __init__(self, **options: Any):
        super().__init__(**options)
        self._rest = combinations(self.hyperparameters)

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        values = next(self._rest, None)
        return {"status": STOPPED if values is None else RUNNING, "values": values}


def make_oracle(
    kind: str,
    space: keras_tuner.HyperParameters,
    objective: keras_tuner.Objective,
    seed: int,
    *,
    max_epochs: int,
    trials: int | None,
) -> _Oracle:
    """Makes the oracle of a search.

    Args:
        kind: "random", "bayesian", "hyperband" or "grid".
        space: The space, complete.
        objective: Metric and direction.
        seed: Seed of the search.
        max_epochs: For Hyperband: number of epochs of the longest trials.
        trials: Largest number of trials.

    Raises:
        UserError: A grid has too many combinations.
    """
    options: dict[str, Any] = {
        "objective": objective,
        "hyperparameters": space,
        "seed": seed + 1,  # to keras-tuner 0 means none
        "tune_new_entries": False,
        "max_consecutive_failed_trials": 1_000_000,  # the driver decides
    }
    oracle = _make(kind, options, max_epochs, trials)
    oracle.verbose = 0  # the driver prints
    return oracle


def _make(kind: str, options: dict[str, Any], max_epochs: int, trials: int | None) -> _Oracle:
    space = options["hyperparameters"]
    if kind == "hyperband":
        return Hyperband(max_epochs=max_epochs, **options)
    # Without a limit here the names of trials do not depend on it: the driver has the limit.
    options["max_trials"] = None
    if kind == "random":
        return RandomSearch(**options)
    if kind == "bayesian":
        # keras-tuner's default, three per key, leaves nothing to choose of ten trials.
        return Bayesian(num_initial_points=max(3, len(searched(space)) + 1), **options)
    if trials is None:
        counted = sum(1 for _ in itertools.islice(combinations(space), LARGEST_GRID + 1))
        if counted > LARGEST_GRID:
            raise UserError(
                f"the grid has more than {LARGEST_GRID:,} combinations; narrow it with --over or "
                "key=a,b, or limit it with --trials"
            )
    return Grid(**options)


def tell(oracle: _Oracle, trial: Any, value: float | None) -> None:
    """Gives an oracle the result of a trial; None if it failed."""
    trial.status = "FAILED" if value is None else "COMPLETED"
    if value is not None:
        history = metrics_tracking.MetricHistory(oracle.objective.direction)
        history.update(value, step=0)
        trial.metrics.metrics[oracle.objective.name] = history
    oracle.end_trial(trial)
