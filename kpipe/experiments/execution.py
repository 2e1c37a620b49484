"""Executes a run: data, training, evaluation, export, proof and report, in this order."""

import dataclasses
import datetime
import os
import pathlib
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras
import numpy as np

from .. import data, files, manifest
from ..errors import RunError, UserError, WriteError, first_line
from ..export import export, next_version, prove, publish, write_golden, write_npz
from ..export.scanning import check_graph
from ..export.versions import SERVING, UNPROVEN
from ..measures.calibration import calibrated_arrays
from ..measures.verdict import count_opening
from ..records import (
    Metrics,
    ProofRecord,
    Record,
    Run,
    TrainingRecord,
    first_kernel,
    open_run,
    read_predictions,
    read_record,
)
from ..training import Devices, History, weights_sha256
from .continuing import Beginning, keep_state
from .describing import check_same, check_same_bits, model_record, new_record, target_record
from .experiment import Experiment
from .folders import CHECKPOINTS
from .profiling import plan_of, profile_run
from .reporting import write_manifest, write_report, write_unreadable
from .space import check_space
from .summary import summary

Result = TypeVar("Result")


class Execution:
    """One run; its methods are the stages, listed in the order in which they are executed."""

    def __init__(
        self,
        experiment: Experiment,
        folder: pathlib.Path,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        set_aside: Callable[[], None] | None = None,
        continued: Beginning | None = None,
        devices: Devices | None = None,
        tell: Callable[[Record | None], None] = lambda record: None,
        profiled: bool = False,
    ):
        self.experiment, self.folder, self.callbacks = experiment, folder, callbacks
        self.set_aside, self.continued = set_aside, continued
        if experiment.shards and not devices:
            devices = Devices(experiment.shards)
        self.devices, self.tell, self.profiled = devices, tell, profiled
        self.task, self.trainer = experiment.task, experiment.trainer
        self.times: dict[str, float] = {}

    def run(self) -> Run:
        self.record = record = self._begin()
        if record.status == "finished":
            if self.profiled:
                raise UserError(f"{self.folder} is trained: --profile needs --fresh or --out DIR")
            self.tell(None)
            self._remove_checkpoints()
            run = open_run(self.folder)
            print(summary(run), flush=True)
            return run
        self.data = self._timed("data", self.experiment.prepare)
        train = self.data.train
        record.data.examples = self.data.examples
        record.data.fingerprint = self.data.fingerprint
        record.data.usage = self.data.input.usage
        record.data.about |= self.data.input.describe(train.column, train.rows)  # type: ignore[arg-type]
        model = self._build()
        initial_kernel = first_kernel(model)
        self.tell(record)
        if self.profiled:
            record.profile = profile_run(self.experiment, model, self.data, record, self.folder)
        model, history = self._train(model)
        self._save(model)
        predictions = self._timed("evaluate", lambda: self._evaluate(model))
        predictions = self._add_baselines(model, predictions)
        metrics = self._attempt("metrics", lambda: self._measure(model, predictions))
        before = len(record.problems)
        self._attempt("export", lambda: self._export(model, predictions))
        if len(record.problems) == before:
            record.proof = self._attempt("proof", self._prove)
        record.times = {**self.times, "train": history.seconds}
        if record.proof and metrics is not None:
            record.status = "finished" if record.proof.passed else "proof failed"
        record.finished = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        run = Run(
            name=record.pipeline,
            folder=self.folder,
            record=record,
            metrics=metrics or {},
            history=history.columns,
            initial_kernel=initial_kernel,
            data=self.data,
            _predictions=predictions,
            _model=model,
        )
        keep_state(self.folder, self.trainer, history)
        if metrics is not None:  # else there is little to report
            self._attempt("report", lambda: write_report(self.experiment, run))
            self._attempt("summary", lambda: print(summary(run), flush=True))
        files.write_json(self.folder / "run.json", record.to_json())
        write_manifest(self.folder, record)
        # The checkpoints of an incomplete run are kept, so that a rerun trains nothing.
        if record.proof and not record.proof.passed:
            raise RunError(
                f"{self.folder}: the export differs from the trained model, see run.json; "
                "the same command exports again"
            )
        if record.problems:
            raise RunError(
                f"{self.folder}: trained and saved, but incomplete; the same command completes "
                f"it, without training: {'; '.join(record.problems)}"
            )
        self._remove_checkpoints()
        return run

    def follow(self, record: Record) -> None:
        """Does the training of the run with that record, in a process that writes nothing."""
        self.record, self.data = record, self.experiment.prepare()
        history = self.trainer.fit(self._new_model(), self.data, **self._fit_options)
        if self.trainer.retrain:
            self._retrain(TrainingRecord(epochs=0, best_epoch=history.best_epoch))

    def _timed(self, name: str, work: Callable[[], Result]) -> Result:
        started, result = time.monotonic(), work()
        self.times[name] = round(time.monotonic() - started, 2)
        return result

    def _attempt(self, stage: str, work: Callable[[], Result]) -> Result | None:
        """Does what a trained network can do without: a failure is said, recorded and left out.

        A full disk ends the run, which is resumed here: what follows would not be written either.
        """
        try:
            with files.writing(self.folder):
                return self._timed(stage, work)
        except WriteError:
            raise
        except Exception as error:
            kind, said = type(error).__name__, first_line(error)
            named = said if isinstance(error, UserError) or said == kind else f"{kind}: {said}"
            self.record.problems.append(f"{stage} failed: {named}")
            print(self.record.problems[-1], flush=True)
            return None

    def _begin(self) -> Record:
        """Returns the record of an existing run with the same settings, or a new record."""
        record = new_record(self.experiment, callbacks=self.callbacks)
        if self.continued:
            self.continued.describe(record, self.experiment)
        path = self.folder / "run.json"
        record.version = next_version(self.folder)
        if self.set_aside:
            return record
        if not path.is_file():
            # Of a run that was set aside, a kill may have left its versions alone.
            if {entry.name for entry in self.folder.glob("*")} - {SERVING}:
                raise UserError(f"{self.folder} exists but is not a run; use --out or --fresh")
            return record
        existing = read_record(path)
        if existing.status == "unfinished" and not (self.folder / "checkpoints").exists():
            return record  # ended before its first checkpoint: nothing to resume or keep
        # A run that was killed between run.json and the manifest is completed again.
        finished = existing.status == "finished" and (self.folder / manifest.NAME).is_file()
        finished &= not existing.problems
        try:
            record.data.fingerprint = self.experiment.fingerprint()
        except UserError:  # the word vectors were deleted; a finished run does not need them
            if not finished:
                raise
        if existing.problems and existing.training_sha256 == record.training_sha256:
            existing.code_sha256 = record.code_sha256  # a figure that failed was mended
        check_same(path, existing, record)
        if finished:
            return existing
        files.remove_leftovers(self.folder)
        if existing.status == "unfinished":
            record.plan = self.experiment.fixed_plan or record.plan
            check_same_bits(path, existing, record)
        record.plan, record.calibration = existing.plan, existing.calibration
        record.version, record.plan_milliseconds = existing.version, existing.plan_milliseconds
        return record

    def _new_model(self, given: data.Data | None = None) -> keras.Model:
        model, start = self.experiment.build_model(given or self.data)
        self.record.data.about |= start
        return model

    def _build(self) -> keras.Model:
        """Builds the model, and checks that it, the data and the Trainer fit together."""
        record, model = self.record, self._new_model()
        self.task.check(model, self.data)
        self.trainer.check(model, len(self.data.train), self.data.train)
        if self.trainer.retrain:  # fails now, not after the first training
            counts = self.data.examples
            self.trainer.check(model, counts["train"] + counts.get("val", 0))
        record.model = model_record(model)
        if hasattr(self.task, "describe"):
            record.details |= self.task.describe(model, **self.experiment.task_options)
        wanted = self.experiment.fixed_plan or record.plan or ("graph" if self.devices else None)
        record.plan, times = plan_of(self.experiment, model, self.data, wanted)
        record.plan_milliseconds |= times
        resumed = self.set_aside is None
        check_space(self.folder, model, self.trainer, self.data.examples, resumed)
        if self.set_aside:
            self.set_aside()
        files.make_folder(self.folder)
        files.write_json(self.folder / "run.json", record.to_json())
        # Of an export that was not equal, or of a run that was not completed.
        for name in (manifest.NAME, "report.html"):
            (self.folder / name).unlink(missing_ok=True)
        if self.continued:
            self.continued.begin(self.folder)
        write_unreadable(self.folder, self.data.look)
        print(
            f"{record.pipeline}: {model.count_params():,} parameters, "
            f"{len(self.data.train):,} training examples, plan {record.plan}, "
            f"into {self.folder}",
            flush=True,
        )
        return model

    def _train(self, model: keras.Model) -> tuple[keras.Model, History]:
        record = self.record
        history = self.trainer.fit(model, self.data, folder=self.folder, **self._fit_options)
        files.write_bytes(self.folder / "history.csv", history.to_csv().encode())
        record.training = TrainingRecord(
            epochs=len(history.rows),
            best_epoch=history.best_epoch,
            steps=history.step,
            waiting_seconds=round(history.waiting_seconds, 3),
            **{n: getattr(history, n) for n in ("stopped_by", "feature_seconds", "frozen_epochs")},
        )
        inferring = self.task.inference(model, self.data)
        if hasattr(self.task, "calibrate"):
            self._attempt("calibrate", lambda: self._calibrate(inferring))
        if self.trainer.retrain:
            model = self._retrain(record.training)
            inferring = self.task.inference(model, self.data)
        train = self._seen.train
        counted = self._attempt("dead units", lambda: model_record(model, train))
        record.model = counted or record.model
        record.weights_sha256 = weights_sha256(model)
        return inferring, history

    def _calibrate(self, model: keras.Model) -> None:
        """Calibrates the network of the best epoch on val, unless a killed run did so before."""
        record, weights = self.record, weights_sha256(model)
        known = record.calibration
        if known and known.weights_sha256 == weights:
            return
        record.calibration = self.task.calibrate(model, self.data)
        if record.calibration:
            record.calibration.weights_sha256 = weights
        files.write_json(self.folder / "run.json", record.to_json())

    @property
    def _fit_options(self) -> dict[str, Any]:
        return {
            "seed": self.experiment.seed,
            "plan": self.record.plan,
            "budget": self.experiment.budget,
            "callbacks": self.callbacks,
            "devices": self.devices,
        }

    def _retrain(self, training: TrainingRecord) -> keras.Model:
        """Retrains the network from scratch, on train and val, up to the best epoch."""
        epochs = training.best_epoch
        print(f"retraining from scratch on train and val for {epochs} epochs", flush=True)
        model = self._new_model(seen := self._seen)
        trainer = dataclasses.replace(self.trainer, epochs=epochs, patience=0)
        folder = None if self.devices and self.devices.rank else self.folder / "retraining"
        history = trainer.fit(model, seen, folder=folder, **self._fit_options)
        training.retrained_epochs = len(history.rows)
        training.retrained_examples = len(seen.train)
        training.retraining_seconds = round(history.seconds, 2)
        return model

    def _save(self, model: keras.Model) -> None:
        temporary = self.folder / ".model.part-0.keras"  # Keras requires the suffix
        try:
            with files.writing(temporary):
                model.save(temporary)
            files.write_bytes(self.folder / "model.keras", temporary.read_bytes())
        finally:
            temporary.unlink(missing_ok=True)

    def _evaluate(self, model: keras.Model) -> dict[str, np.ndarray]:
        """Opens the test split and predicts it, or reads the predictions that exist.

        They contain `opening`, the name of this opening, until all that belongs to them is there.
        """
        record, path = self.record, self.folder / "predictions.npz"
        predictions = read_predictions(path, record.weights_sha256, "the test split is read again")
        if predictions is None:
            predictions = self.task.measure(
                model, self._seen, self.experiment.seed, **self.experiment.task_options
            )
            predictions["weights_sha256"] = np.array(record.weights_sha256)
            predictions["opening"] = np.array(uuid.uuid4().hex)
            write_npz(path, **predictions)
        if "opening" in predictions:
            # A user's data are known by their content: two DataFrames have one name.
            own = self.data.kind == "own"
            name = self.experiment.source.identity if own else self.data.name
            predictions["openings"] = np.array(
                count_opening(
                    record.pipeline,
                    name,
                    self.data.kind,
                    self.folder,
                    str(predictions["opening"]),
                )
            )
        record.data.test_openings = int(predictions["openings"])
        return predictions

    def _add_baselines(
        self, model: keras.Model, predictions: dict[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Adds what is compared with the network, and its calibrated probabilities."""
        if "opening" not in predictions:
            return predictions
        seen = self._seen  # baselines see all examples that the network was trained on
        added = self._attempt("baselines", lambda: self.task.baselines(model, seen)) or {}
        if fitted := self.record.calibration:
            added |= calibrated_arrays(
                predictions["probabilities"], fitted.temperature, fitted.threshold
            )
        names = ["weights_sha256", "openings", *(["opening"] if self.record.problems else [])]
        last = {name: predictions.pop(name) for name in names}
        predictions.pop("opening", None)
        predictions = {**predictions, **added, **last}
        write_npz(self.folder / "predictions.npz", **predictions)
        return predictions

    def _measure(self, model: keras.Model, predictions: dict[str, np.ndarray]) -> Metrics:
        record = self.record
        record.data.duplicates = self._attempt(
            "duplicates", lambda: data.count_shared(self._seen.train, self.data.test)
        )
        # Majority classes are those of the train split alone, even after retraining with val.
        metrics = self.task.metrics(predictions, model, self.data)
        files.write_bytes(self.folder / "metrics.json", manifest.to_text(metrics).encode())
        target = getattr(self.experiment.module, "target", None)
        record.target = target_record(target, metrics, self.data) if target else None
        return metrics

    @property
    def _seen(self) -> data.Data:
        """The data, with all examples that the network was trained on as the train split.

        It may be a copy, so it is made where it is used and not kept.
        """
        return self.data.with_val_in_train() if self.trainer.retrain else self.data

    def _export(self, model: keras.Model, predictions: dict[str, np.ndarray]) -> None:
        record, endpoints = self.record, self.task.endpoints(model, self.data, predictions)
        cases, decided = self.task.golden(model, self.data, predictions)
        place = f"{UNPROVEN}/{record.version}"
        export(self.folder, endpoints, place, record.pipeline, cases)
        write_golden(self.folder, cases, decided)
        try:
            check_graph(self.folder / place)
        except UserError as error:  # an operation of the user's own, which only --trust loads
            print(f"note: {error} (in Python: trust=True)", flush=True)

    def _prove(self) -> ProofRecord:
        print("verifying the export in a process without Keras", flush=True)
        test, home = self.data.test.column.files, files.home()
        self.record.data.test_files = [os.path.relpath(path, home) for path in test]
        proof = ProofRecord(**prove(self.folder, test))
        if proof.passed:
            publish(self.folder, self.record.version)
        return proof

    def _remove_checkpoints(self) -> None:
        for place in CHECKPOINTS:
            shutil.rmtree(self.folder / place, ignore_errors=True)
