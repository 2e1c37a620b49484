"""The options of a search, and the metric that ranks its trials."""

import dataclasses
from collections.abc import Mapping, Sequence

import keras_tuner
from keras_tuner.src.engine.objective import create_objective

from ..errors import UserError
from ..experiments.experiment import Experiment
from ..experiments.keys import parse_number
from ..experiments.running import vary
from .refit import HOW

TUNERS = ("random", "bayesian", "hyperband", "grid")


@dataclasses.dataclass
class Options:
    """The options of a search that are not those of a run."""

    tuner: str
    trials: int | None
    over: str | Sequence[str]
    folds: int
    repeats: int
    refit: str | None
    budget: float | None

    def __post_init__(self) -> None:
        if self.tuner not in TUNERS:
            raise UserError(f"--search {self.tuner}: expected {', '.join(TUNERS)}")
        if self.trials is not None:
            self.trials = parse_number("trials", self.trials, 1, 1_000_000, integer=True)
        if self.tuner == "hyperband" and self.trials is not None:
            raise UserError("--trials does not apply to hyperband: epochs=N sets its trials")
        if isinstance(self.over, str):
            self.over = [name.strip() for name in self.over.split(",") if name.strip()]
        self.over = tuple(dict.fromkeys(self.over))
        self.folds = parse_number("folds", self.folds, 1, 1000, integer=True)
        self.repeats = parse_number("repeats", self.repeats, 1, 1000, integer=True)
        if self.budget is not None:
            self.budget = parse_number("budget", self.budget, 0.001, 1e9, integer=False)
        if self.refit is not None and self.refit not in HOW:
            raise UserError(f"--refit {self.refit}: expected {', '.join(HOW)}")
        if self.refit == "best" and self.folds > 1:
            raise UserError(
                "--refit best and --folds contradict each other: a trial has a network for each "
                "fold; use --refit retrain or train+val"
            )

    def check(self, experiment: Experiment, overrides: Mapping[str, object]) -> None:
        """Refuses data and settings that a search does not work with, before any training."""
        dataset, source = experiment.dataset, experiment.source
        if self.folds == 1 and not dataset.val_fraction and "val" not in source.examples:
            raise UserError(
                f"{dataset.name} has no val split, which a search needs to compare its trials; set "
                "the dataset's val_fraction, or use --folds"
            )
        if self.folds > 1 and source.times is not None:
            raise UserError(
                f"--folds: {dataset.name} is divided by time, and folds would train on the future "
                "of what they are compared on; leave it out"
            )
        if self.tuner == "hyperband" and "epochs" in experiment.settings.choices:
            raise UserError(
                "hyperband and several values of epochs exclude each other: it chooses the epochs "
                "of its trials; give the largest number, epochs=N"
            )
        if self.refit == "train+val":  # what it excludes is said now, not after the search
            vary(experiment, {**overrides, "retrain": True}, experiment.seed)
        if self.tuner == "hyperband" and experiment.trainer.fine_tune:
            raise UserError(
                "hyperband and fine_tune=true exclude each other: its trials are continued for "
                "more epochs, and fine-tuning begins after the last; use another tuner"
            )


def objective_of(experiment: Experiment) -> keras_tuner.Objective:
    """Returns the metric that ranks trials: the Trainer's monitor, always on val."""
    monitor = experiment.trainer.monitor
    name = monitor if monitor.startswith("val_") else f"val_{monitor}"
    if experiment.trainer.monitor_mode != "auto":
        return keras_tuner.Objective(name, experiment.trainer.monitor_mode)
    if name == "val_reconstruction":
        return keras_tuner.Objective(name, "min")
    try:
        return create_objective(name)  # knows the direction of Keras' own metrics only
    except ValueError:
        raise UserError(
            f"monitor={monitor}: keras-tuner does not know whether it should rise or fall; set "
            'Trainer(monitor_mode="max") or "min", or the key monitor_mode=max'
        ) from None
