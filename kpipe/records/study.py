"""The record of a hyperparameter search: its space, its trials, and what was made of the best."""

import dataclasses
from typing import Any

COMPLETED, FAILED, RUNNING = "completed", "failed", "running"


@dataclasses.dataclass(kw_only=True)
class PartRecord:
    """One training of a trial: a repeat, which has a seed of its own, and a fold.

    Attributes:
        repeat: Its number, from 0; the seed is that of the search plus this.
        fold: Number of the fold that is its val split, from 0; 0 without folds.
        value: The objective at the best epoch.
        best_epoch: The best epoch, from 1.
        epochs: Number of epochs.
        seconds: Duration of training and validation.
        parameters: Number of the model's parameters.
        stopped_by: Why training ended, as in `training.History`.
        examples: Number of val examples.
        curves: Columns of its history: epoch, seconds, loss, val_loss, ...
    """

    repeat: int
    fold: int
    value: float
    best_epoch: int
    epochs: int
    seconds: float
    parameters: int
    stopped_by: str
    examples: int
    curves: dict[str, list[float]]


@dataclasses.dataclass(kw_only=True)
class TrialRecord:
    """A trial: values of the searched keys, and the objective that they reached.

    Attributes:
        trial: Its number, from 1.
        status: "completed", "failed" or "running".
        values: The searched keys that are active in it, and their values.
        value: The objective: the mean over all parts.
        low: Lower end of its 95 % interval; None if there is none.
        high: Upper end.
        parts: Its trainings, in the order of repeats and folds.
        ended: Seconds of search, over all sessions, until its end.
        error: Why it failed, in one line.
    """

    trial: int
    status: str = RUNNING
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    value: float | None = None
    low: float | None = None
    high: float | None = None
    parts: list[PartRecord] = dataclasses.field(default_factory=list)
    ended: float | None = None
    error: str = ""

    @property
    def seconds(self) -> float:
        """Duration of its trainings."""
        return sum(part.seconds for part in self.parts)


@dataclasses.dataclass(kw_only=True)
class Study:
    """A search.

    Attributes:
        tuner: "random", "bayesian", "hyperband" or "grid".
        objective: The metric that ranks trials, such as "val_accuracy".
        direction: "min" or "max".
        space: The searched keys, and their ranges in words.
        scales: The searched keys, and "linear", "log" or "choice".
        size: Number of different trials; None if it is infinite.
        trials: The trials, in the order of their numbers.
        seed: Seed of the search, and of the first repeat of each trial.
        jobs: Number of trainings at a time.
        folds: Number of folds of each trial; 1 for the val split alone.
        repeats: Number of seeds of each trial.
        best: Number of the best completed trial; None if there is none.
        refit: What was made of the best: "how" it was trained, its "folder", and the objective of
            that "run" and of the "trial"; {} before.
    """

    tuner: str
    objective: str
    direction: str
    space: dict[str, str]
    scales: dict[str, str]
    size: int | None
    trials: list[TrialRecord] = dataclasses.field(default_factory=list)
    seed: int = 0
    jobs: int = 1
    folds: int = 1
    repeats: int = 1
    best: int | None = None
    refit: dict[str, Any] = dataclasses.field(default_factory=dict)

    def width(self, jobs: int) -> int:
        """Returns how many trials are under way at a time, if the tuner depends on results."""
        return max(1, -(-jobs // (self.folds * self.repeats)))

    @property
    def ranked(self) -> list[TrialRecord]:
        """The completed trials, the best first."""
        sign = 1 if self.direction == "min" else -1
        done = [trial for trial in self.trials if trial.value is not None]
        return sorted(done, key=lambda trial: (sign * (trial.value or 0.0), trial.trial))
