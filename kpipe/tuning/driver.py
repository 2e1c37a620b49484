"""The driver of a search: an oracle chooses trials, an engine trains them, a folder remembers."""

import dataclasses
import pathlib
import shutil
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats

from .. import files, formatting
from ..engines import Engine, Fault, Job
from ..errors import RunError, UserError
from ..measures import intervals
from ..records.study import COMPLETED, FAILED, PartRecord, Study, TrialRecord
from . import oracles
from .trials import RESULT, Part, train

KEPT = 3  # trials whose checkpoints are kept
ALIKE = 3  # trials that fail for the same reason before any other succeeds: the pipeline's fault
TRIAL = "trial.json"


@dataclasses.dataclass(eq=False)
class Trial:
    """A trial under way.

    Attributes:
        chosen: The oracle's trial.
        record: Its record.
        folder: Its folder.
        parts: Its trainings.
        results: What has ended, by repeat and fold.
        failed: Why one of them failed.
    """

    chosen: Any
    record: TrialRecord
    folder: pathlib.Path
    parts: list[Part]
    results: dict[tuple[int, int], PartRecord] = dataclasses.field(default_factory=dict)
    failed: str = ""


class Driver:
    """A search from its first trial to its last.

    Trials of random search and of a grid begin as soon as there is a place. Those of the others
    depend on results: an oracle is told these in the order in which trials began, and there are
    never more trials that it was not told of than `width`. So the same seed and the same number of
    jobs give the same trials, whichever of them is faster.

    Args:
        study: The record, which grows.
        oracle: The oracle.
        engine: Where parts are trained.
        folder: The search's folder.
        template: A part with everything that all of them share.
        active_of: Selects, of the oracle's values, those of the keys that a trial has.
        overrides_of: Makes all overrides of a trial from the values of its keys.
        limit: Largest number of trials; None for no limit.
        budget: Seconds after which no trial begins.
        on_begin: Called before the first training of this session.
        on_change: Called when a trial has ended.
    """

    def __init__(
        self,
        study: Study,
        oracle: Any,
        engine: Engine,
        folder: pathlib.Path,
        template: Part,
        active_of: Callable[[dict[str, Any]], dict[str, Any]],
        overrides_of: Callable[[dict[str, Any]], dict[str, Any]],
        limit: int | None,
        budget: float | None,
        on_begin: Callable[[], None],
        on_change: Callable[[], None],
    ):
        self.study, self.oracle, self.engine = study, oracle, engine
        self.folder, self.template = folder, template
        self.active_of, self.overrides_of = active_of, overrides_of
        self.budget, self.on_begin, self.on_change = budget, on_begin, on_change
        self.adaptive = study.tuner in oracles.ADAPTIVE
        self.width = study.width(study.jobs)
        self.open: list[Trial] = []  # begun, and the oracle was not told of their end
        self.queue: list[tuple[Trial, Part]] = []
        self.running: dict[str, tuple[Trial, Part]] = {}
        self.exhausted = self.begun = False
        self.pruned: set[int] = set()
        self.begun_before = len([*folder.glob(f"*/{TRIAL}")])
        self.limit = None if limit is None else max(limit, self.begun_before)
        self.before = read_trials(folder)
        oracle.known = {f"{number - 1:04d}": c["values"] for number, c in self.before.items()}
        self.ended_before = {n: c["ended"] for n, c in self.before.items() if "ended" in c}
        if known := len(self.before):
            print(
                f"resuming: {known - len(self.ended_before)} of "
                f"{formatting.counted(known, 'trial')} had not ended",
                flush=True,
            )
        self.clock = folder / "clock.json"
        self.spent = self._read_clock() - time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds of search, over all sessions."""
        return self.spent + time.monotonic()

    def run(self) -> None:
        """Searches until the limit, the budget or the end of the space.

        Raises:
            RunError: The pipeline is at fault, not the values of a trial.
            WriteError: The disk is full.
        """
        while True:
            self._begin_trials()
            if self._end_one():
                continue  # one at a time: its end may let another begin
            while self.queue and len(self.running) < self.engine.slots:
                self._submit(*self.queue.pop(0))
            if not self.running:
                self._prune()  # nothing is continued any more
                return
            self._collect()

    # --- trials ---------------------------------------------------------------------------------

    def _begin_trials(self) -> None:
        """Asks the oracle for trials while there is a place."""
        while not self.exhausted and self._has_place(number := len(self.study.trials) + 1):
            if self.limit is not None and number > self.limit:
                return
            is_new = number > self.begun_before
            if is_new and self.budget and self.seconds >= self.budget:
                print(f"the budget of {formatting.duration(self.budget)} is spent", flush=True)
                self.exhausted = True
                return
            chosen = self.oracle.create_trial(str(number))
            if chosen.status == oracles.IDLE and self.open:
                return
            if chosen.status != oracles.RUNNING:
                self.exhausted = True
                return
            self._begin(number, chosen)

    def _has_place(self, number: int) -> bool:
        if self.adaptive:
            return len(self.open) < self.width
        if number in self.ended_before:  # the tables have it at once, whatever trains before it
            return True
        return len(self.queue) + len(self.running) < self.engine.slots

    def _begin(self, number: int, chosen: Any) -> None:
        values = chosen.hyperparameters.values
        folder = self.folder / f"{number:04d}"
        known = self.oracle.known.get(chosen.trial_id)
        if known is not None and known != values:
            different = {k for k in {*known, *values} if known.get(k) != values.get(k)}
            key = min(different)
            raise UserError(
                f"{folder}: the search cannot be resumed, its trial {number} would have another "
                f"{key}: {values.get(key)}, not {known.get(key)}; --fresh starts over and keeps it"
            )
        used = self.before.get(number, {}).get("used")  # known without building a model
        own = self.active_of(values) if used is None else {name: values[name] for name in used}
        record = TrialRecord(trial=number, values=own)
        trial = Trial(chosen, record, folder, self._parts(folder, record.values, values))
        self.study.trials.append(record)
        self.open.append(trial)
        files.make_folder(folder)
        if known is None:
            self._write_trial(trial)
        for part in trial.parts:
            result = part.result
            if result is None:
                self.queue.append((trial, part))
            else:
                self._note(trial, part, result)

    def _parts(
        self, folder: pathlib.Path, values: dict[str, Any], chosen: dict[str, Any]
    ) -> list[Part]:
        template, parts = self.template, []
        parent = chosen.get("tuner/trial_id")
        for repeat in range(self.study.repeats):
            for fold in range(self.study.folds):
                seed = template.seed + repeat
                name = f"seed={seed}" + (f",fold={fold + 1}" if self.study.folds > 1 else "")
                continued = None if parent is None else self.folder / f"{int(parent) + 1:04d}"
                parts.append(
                    dataclasses.replace(
                        template,
                        overrides=self.overrides_of(values),
                        folder=folder / name,
                        seed=seed,
                        repeat=repeat,
                        fold=fold,
                        epochs=chosen.get("tuner/epochs"),
                        continues=continued and continued / name,
                    )
                )
        return parts

    def _submit(self, trial: Trial, part: Part) -> None:
        number, first = trial.record.trial, part is trial.parts[0]
        if not self.begun:
            self.on_begin()
            self.begun = True
        if self.budget:
            part = dataclasses.replace(part, left=max(1.0, self.budget - self.seconds))
        name = f"trial {number}"
        if len(trial.parts) > 1:
            name += f", {part.folder.name}"
        if self.engine.slots == 1 and first:
            print(f"\ntrial {self._of(number)}: {_shown(trial.record.values)}", flush=True)
        self.running[name] = trial, part
        self._write_clock()
        self.engine.submit(Job(name, train, {"part": part}, trial.folder / "log.txt"))

    def _collect(self) -> None:
        outcome = self.engine.wait()
        trial, part = self.running.pop(outcome.job.name)
        if outcome.error is not None:
            if isinstance(outcome.error, Fault):
                raise RunError(
                    f"{outcome.job.name}: the pipeline failed: {outcome.error}; see "
                    f"{outcome.job.log}"
                )
            raise outcome.error
        result = outcome.result
        if outcome.lost:  # noted, so that a resumed search does not lose its processes again
            result = {"error": outcome.lost}
            files.make_folder(part.folder)
            files.write_json(part.folder / RESULT, result)
        self._note(trial, part, result)
        if trial.failed:  # its other parts need not begin
            self.queue = [entry for entry in self.queue if entry[0] is not trial]

    def _note(self, trial: Trial, part: Part, result: dict[str, Any]) -> None:
        if "error" in result:
            trial.failed = trial.failed or str(result["error"])
        else:
            trial.results[part.repeat, part.fold] = PartRecord(**result["part"])

    def _end_one(self) -> bool:
        """Ends a trial whose parts have ended: the oldest, if the oracle depends on results."""
        training = [trial for trial, _ in self.running.values()]
        for trial in self.open[:1] if self.adaptive else self.open:
            complete = len(trial.results) == len(trial.parts)
            if complete or (trial.failed and trial not in training):
                self.open.remove(trial)
                self._end(trial)
                return True
        return False

    def _end(self, trial: Trial) -> None:
        record = trial.record
        record.parts = [trial.results[key] for key in sorted(trial.results)]
        record.status, record.error = (FAILED if trial.failed else COMPLETED), trial.failed
        if not trial.failed:
            estimate(record, self.study.objective)
        oracles.tell(self.oracle, trial.chosen, record.value)
        before = self.ended_before.get(record.trial)
        record.ended = round(self.seconds, 2) if before is None else before
        if before is None:
            self._write_trial(trial)
            self._write_clock()
            print(self._line(record), flush=True)
        ranked = self.study.ranked
        self.study.best = ranked[0].trial if ranked else None
        self._prune()
        self.on_change()
        self._check_faults()

    def _line(self, record: TrialRecord) -> str:
        """Describes a trial that has ended, in one line."""
        begin, ranked = f"trial {self._of(record.trial)}", self.study.ranked
        if record.status == FAILED:
            return f"{begin} failed: {record.error}"
        best = "  (best so far)" if ranked[0] is record else ""
        measured = formatting.measured(self.study.objective.removeprefix("val_"), vars(record))
        epochs = ", ".join(str(part.best_epoch) for part in record.parts)
        return (
            f"{begin}: {self.study.objective} {measured}, best epoch {epochs}, "
            f"{formatting.duration(record.seconds)}  {_shown(record.values)}{best}"
        )

    def _of(self, number: int) -> str:
        size = self.study.size
        most = min((n for n in (self.limit, size) if n is not None), default=None)
        return str(number) if most is None else f"{number} of {most}"

    def _check_faults(self) -> None:
        """Ends a search whose first trials all fail alike: that is no fault of their values."""
        ended = [trial for trial in self.study.trials if trial.status != "running"]
        reasons = {trial.error for trial in ended}
        if len(ended) >= ALIKE and len(reasons) == 1 and "" not in reasons:
            raise RunError(
                f"search stopped: the first {len(ended)} trials failed for the same reason: "
                f"{reasons.pop()}; once that is mended, --fresh starts over"
            )

    # --- the folder -----------------------------------------------------------------------------

    def _write_trial(self, trial: Trial) -> None:
        """Writes what the oracle chose, the keys that the trial has, and when it ended."""
        content = {
            "values": dict(trial.chosen.hyperparameters.values),
            "used": [*trial.record.values],
        }
        ended = {} if trial.record.ended is None else {"ended": trial.record.ended}
        files.write_json(trial.folder / TRIAL, content | ended)

    def _write_clock(self) -> None:
        files.write_json(self.clock, {"seconds": round(self.seconds, 2)})

    def _read_clock(self) -> float:
        try:
            content: Any = files.read_json(self.clock)
            return float(content["seconds"])
        except UserError:
            return max(self.ended_before.values(), default=0.0)

    def _prune(self) -> None:
        """Removes checkpoints: those of the best trials remain, and those that may be continued."""
        kept = {trial.trial for trial in self.study.ranked[:KEPT]}
        for trial in self.open:  # it may not have begun to continue another one
            others = (int(part.continues.parent.name) for part in trial.parts if part.continues)
            kept |= {trial.record.trial, *others}
        kept |= {int(name) + 1 for name in getattr(self.oracle, "needed", ())}
        for number in {trial.trial for trial in self.study.trials} - kept - self.pruned:
            self.pruned.add(number)
            for path in (self.folder / f"{number:04d}").glob("*/**/checkpoints"):
                shutil.rmtree(path, ignore_errors=True)


def read_trials(folder: pathlib.Path) -> dict[int, dict[str, Any]]:
    """Reads the trials of earlier sessions, by their numbers; see `Driver._write_trial`.

    A damaged file is left out: the oracle chooses the same values again.
    """
    found: dict[int, Any] = {}
    for path in sorted(folder.glob(f"*/{TRIAL}")):
        try:
            found[int(path.parent.name)] = files.read_json(path)
        except UserError as error:
            print(f"{str(error).partition('; run again')[0]}: it is written again", flush=True)
    return found


def estimate(record: TrialRecord, objective: str) -> None:
    """Sets the mean of a trial's parts, with its 95 % interval.

    Of several parts that is Student's interval of their mean; of one part, if it is a share of
    examples, Wilson's, by the number of its val examples.
    """
    values = np.array([part.value for part in record.parts])
    record.value = float(values.mean())
    if len(values) > 1:
        half = stats.t.ppf(0.5 + intervals.CONFIDENCE / 2, len(values) - 1)
        half = float(half * values.std(ddof=1) / np.sqrt(len(values)))
        record.low, record.high = record.value - half, record.value + half
    elif objective.endswith("accuracy") and 0 <= record.value <= 1:  # not in percent
        n = record.parts[0].examples
        found = intervals.proportion(round(record.value * n), n)
        record.low, record.high = found["low"], found["high"]


def _shown(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={formatting.short(value)}" for key, value in values.items())
