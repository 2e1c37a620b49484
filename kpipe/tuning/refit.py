"""The best trial as an ordinary run."""

import dataclasses
import pathlib
import shutil
from typing import Any

from .. import files, manifest
from ..experiments.experiment import Experiment
from ..records import Record, Run
from ..records.study import Study, TrialRecord

# How the run gets its weights: those of the trial; trained again on train; then on train and val.
HOW = ("best", "retrain", "train+val")


@dataclasses.dataclass(frozen=True)
class Refit:
    """A trial that becomes a run.

    Attributes:
        how: One of `HOW`.
        about: What the run's record says about the search.
        trained: Folder of the trial's training, whose weights are taken if `how` is "best".
        machine: What the trial was trained with, such as threads.
    """

    how: str
    about: dict[str, Any]
    trained: pathlib.Path
    machine: dict[str, Any]

    def describe(self, record: Record, experiment: Experiment) -> None:
        """Says in the run's record which trial of which search it is."""
        record.search = self.about
        if self.how == "best":
            record.machine = record.machine | self.machine

    def begin(self, folder: pathlib.Path) -> None:
        """Copies the trial's last commits into the run, which then has nothing to train."""
        if self.how != "best":
            return
        for commits in sorted(self.trained.rglob("checkpoints")):
            copied = folder / commits.relative_to(self.trained)
            if copied.is_dir() and any(copied.glob("step-*")):
                continue
            last = max(commits.glob("step-*"))
            manifest.check(last, remedy="use --refit retrain")
            files.make_folder(copied)
            with files.new_folder(copied / last.name) as temporary:
                for path in last.iterdir():
                    if path.name != manifest.NAME:
                        shutil.copyfile(path, temporary / path.name)


def about(study: Study, trial: TrialRecord, folder: pathlib.Path, how: str) -> dict[str, Any]:
    """Describes a trial for the record of its run."""
    return {
        "folder": str(folder),
        "tuner": study.tuner,
        "trial": trial.trial,
        "trials": len(study.trials),
        "objective": study.objective,
        "value": trial.value,
        "low": trial.low,
        "high": trial.high,
        "trainings": len(trial.parts),
        "how": how,
    }


def result(run: Run, refit: Refit) -> dict[str, Any]:
    """Returns the field `refit` of a study: the run, and its objective beside that of the trial."""
    training, values = run.record.training, run.history.get(refit.about["objective"])
    value = values[run.history["epoch"].index(training.best_epoch)] if values and training else None
    # An existing run of the same settings is what it was: of another search, or of none.
    retrained = "train+val" if run.record.trainer["retrain"] else "retrain"
    how = (run.record.search or {}).get("how", retrained)
    about = {"how": how, "folder": str(run.folder)}
    return {**about, "run": value, "trial": refit.about["value"]}
