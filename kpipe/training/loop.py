"""The training loop: Keras' callbacks and train step, bit-identically resumable at any step."""

import contextlib
import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from .. import files
from ..data import Data
from ..errors import RunError, UserError, first_line
from . import callbacks as hooks
from .batches import Schedule, training_batches, validation_batches
from .checkpoint import Checkpoints
from .devices import Devices
from .diagnosis import fault_of_steps, fault_of_val, finite
from .divisible import check_mean
from .history import History, metrics_of, numbers
from .optimizing import final_weights, learning_rates
from .plan import fused_steps
from .progress import Progress
from .shards import make_sharded_train_function
from .signals import Flag, flagged
from .steps import create_variables, make_test_function, make_train_function
from .supervision import Supervision

# A commit is due no earlier than so many times its own duration, so that saving costs less than
# 2 % of the time, but at the latest after so many seconds, with the default `checkpoint_seconds`.
COST, LONGEST = 100, 50.0


class _Halt(Exception):
    """Ends a validation between two batches."""


class Loop:
    """One training, from a step to its end.

    It is a small `Model.fit`, with the same callbacks and the same `train_step`, and two
    differences: it can begin in the middle of an epoch, and with an optimizer that averages weights
    (`use_ema=True`) it validates, and chooses the best epoch, with the averages.

    Args:
        model: Compiled model.
        data: Data, of which the train and val splits are used.
        batch_size: Number of examples per step.
        plan: Execution plan, see `plan`.
        seed: Random seed of order and augmentation.
        supervision: What the loss learns from, see `training_batches`.
        early_stopping: Callback that determines the best epoch, whose weights are kept.
        callbacks: All other callbacks, in their order.
        folder: Folder of checkpoints and history.csv, or None.
        checkpoint_seconds: Seconds between commits; more, up to `LONGEST`, if one takes long.
        budget: Seconds of training, or None.
        watched: The model that `callbacks` see; by default `model`, which may be a part of it.
        devices: Shards and processes, or None; only process 0 has a folder.
    """

    def __init__(
        self,
        model: keras.Model,
        data: Data,
        *,
        batch_size: int,
        plan: str,
        seed: int,
        supervision: Supervision,
        early_stopping: keras.callbacks.EarlyStopping,
        callbacks: Sequence[keras.callbacks.Callback],
        folder: pathlib.Path | None,
        checkpoint_seconds: float,
        budget: float | None,
        watched: keras.Model | None = None,
        devices: Devices | None = None,
    ):
        self.model, self.data, self.seed, self.supervision = model, data, seed, supervision
        self.watched = watched or model
        self.folder, self.budget, self.devices = folder, budget, devices
        self.plan, self.checkpoint_seconds = plan, checkpoint_seconds
        self.schedule = Schedule(len(data.train), batch_size, fused_steps(plan, model))
        self.val_batches: tf.data.Dataset | None = None
        if data.val:
            self.val_batches = validation_batches(data.val, max(256, batch_size))
        self.early_stopping = early_stopping
        self.history = History()
        self._build()
        self.callbacks = keras.callbacks.CallbackList(
            [keras.callbacks.TerminateOnNaN(raise_error=True), early_stopping, *callbacks],
            model=self.watched,
        )
        early_stopping.set_model(model)
        hooks.ignore_nan(self.callbacks.callbacks)
        self.train_function: Callable[..., dict] | None = None
        self.test_function: Callable[[Iterator], dict] | None = None
        self.best: list[tf.Variable] = []
        if folder or devices:
            self.best = [tf.Variable(weight) for weight in model.get_weights()]
        self.checkpoints = self._open_checkpoints(folder) if folder else None
        self.epoch_seconds = 0.0
        self.commit_seconds = 0.0  # duration of the last commit
        self.logs: Mapping = {}  # of the last step
        self.batches: list[tuple] = []  # of the last step: epoch, first step within it, batch
        self.stopping: str | None = None  # why the epoch ends before its last step
        self.signal = Flag()

    def _build(self) -> None:
        """Creates all variables: compiled programs cannot create them, and checkpoints need them.

        One example is validated, which also checks that model, loss and data fit together.
        """
        model = self.model
        batch = tuple(map(tf.constant, self.data.train.take_pairs(np.arange(1))))
        try:
            logs = create_variables(model, batch)
        except (ValueError, TypeError, tf.errors.OpError) as error:
            raise UserError(
                f"{model.name} cannot be evaluated on an example of {self.data.name}: "
                f"{first_line(error)}"
            ) from error
        if self.devices:
            check_mean(model, self.data.train, self.supervision.weigh)
        names = list(numbers(model.get_metrics_result()))
        model.reset_metrics()
        if self.data.val:
            self._check_monitor([*names, *(f"val_{name}" for name in numbers(logs))])

    def _check_monitor(self, names: Sequence[str]) -> None:
        monitor, mode = self.early_stopping.monitor, self.early_stopping.mode
        if monitor not in names:
            known = [name for name in names if hooks.comparison(name, mode, self.model)]
            raise UserError(f"monitor={monitor}: no such metric; expected {', '.join(known)}")
        if not hooks.comparison(monitor, mode, self.model):
            raise UserError(
                f"monitor={monitor}: Keras does not know whether it should rise or fall; set "
                'Trainer(monitor_mode="max") or "min", or the key monitor_mode=max'
            )

    def _open_checkpoints(self, folder: pathlib.Path) -> Checkpoints:
        model = self.model
        others = [n for n, v in vars(model).items() if isinstance(v, keras.optimizers.Optimizer)]
        if others != ["optimizer"]:
            raise UserError(
                f"{model.name} has several optimizers ({', '.join(sorted(others))}); a resumable "
                "run supports only the one given to compile; to train this model, call Trainer.fit "
                "without a folder"
            )
        return Checkpoints(folder / "checkpoints", self._state())

    def _state(self) -> dict[str, list[tf.Variable]]:
        model = self.model
        return {
            "variables": [v.value for v in model.variables + model.optimizer.variables],
            "metrics": [v.value for v in model.metrics_variables],
            "best": self.best,
        }

    def run(self, initial_epoch: int, epochs: int) -> History:
        """Trains up to `epochs`, from `initial_epoch` (counted from 0) or from a checkpoint."""
        model, per_epoch = self.model, self.schedule.steps_per_epoch
        self.callbacks.set_params({"verbose": 0, "epochs": epochs, "steps": per_epoch})
        model.stop_training = self.watched.stop_training = False
        self.callbacks.on_train_begin()
        self.history.step = start = initial_epoch * per_epoch
        self._restore()  # after on_train_begin, which resets callbacks
        epoch = initial_epoch + len(self.history.rows)
        if self.history.step > epoch * per_epoch:
            # Within an epoch: on_epoch_begin runs, then the checkpoint overrides its effects.
            self.callbacks.on_epoch_begin(epoch)
            self._restore()
        history = self.history
        history.resumed_at = history.step if history.step != start else 0
        if history.stopped_by is None:
            batches = training_batches(
                self.data.train,
                self.schedule,
                self.data.augmentation,
                self.seed,
                history.step,
                epochs,
                self.supervision,
            )
            devices, shape = self.devices, (batches.element_spec, self.schedule.full_batch)
            self.train_function = (
                make_sharded_train_function(model, devices, *shape)
                if devices
                else make_train_function(model, self.plan, *shape)
            )
            self.committed = time.monotonic()
            flag = devices.begin() if devices else self.signal
            watch = flagged(flag) if self.checkpoints or devices else contextlib.nullcontext()
            with watch, self.supervision.learned_by(model):
                self._run_epochs(iter(batches), epoch, epochs, start)
            self.signal.number = flag.number
            if self.signal:  # since the last commit
                raise self.signal.error(history.step)
        model.optimizer.finalize_variable_values(model.trainable_variables)
        # The early stopping callback restores the best weights.
        self.callbacks.on_train_end(metrics_of(history.rows[-1]) if history.rows else None)
        history.best_epoch = (
            self.early_stopping.best_epoch + 1 if self.data.val else len(history.rows)
        )
        return history

    def _run_epochs(self, batches: Iterator, first: int, epochs: int, start: int) -> None:
        history, model, per_epoch = self.history, self.model, self.schedule.steps_per_epoch
        progress = Progress(epochs, per_epoch, history.step, start)
        val_share = len(self.data.val or ()) / len(self.data.train)
        # Epochs are counted by rows, not by steps: an epoch ends with its validation.
        for epoch in range(first, epochs):
            if history.step == epoch * per_epoch:
                model.reset_metrics()
                self.epoch_seconds = 0.0
                self.callbacks.on_epoch_begin(epoch)
            progress.begin(epoch)
            started = time.monotonic() - self.epoch_seconds
            while history.step < (epoch + 1) * per_epoch and not self.stopping:
                self._step(epoch, batches)
                self.epoch_seconds = time.monotonic() - started
                progress.step(history.step - epoch * per_epoch, self.logs)
                ends = self.stopping or history.step == (epoch + 1) * per_epoch
                self._commit_if_due(val_share * self.epoch_seconds if ends else 0.0)
            results = model.get_metrics_result()
            own = self.logs and self.logs.keys() != results.keys()  # of a custom train_step
            logs = numbers(self.logs if own else results)
            try:
                with final_weights(model):
                    logs |= self._validate()
                    rates = learning_rates(model.optimizer)
                    self.epoch_seconds = time.monotonic() - started
                    self.callbacks.on_epoch_end(epoch, logs)
            except _Halt:
                self._commit_if_due()  # commits, and raises
            history.seconds += self.epoch_seconds
            row = {"epoch": epoch + 1, "step": history.step, "seconds": self.epoch_seconds}
            history.rows.append({**row, **rates, **logs})
            self.epoch_seconds = 0.0
            progress.end(history.rows[-1])
            if model.stop_training or self.watched.stop_training:
                history.stopped_by = self.stopping or self._stopped_by(epoch)
                break
            self._commit_if_due()
        history.stopped_by = history.stopped_by or "epochs"
        self._commit()

    def _stopped_by(self, epoch: int) -> str:
        early = any(
            isinstance(callback, keras.callbacks.EarlyStopping)
            and callback.stopped_epoch == epoch > 0
            for callback in self.callbacks.callbacks
        )
        return "early stopping" if early else "callback"

    def _step(self, epoch: int, batches: Iterator) -> None:
        """Trains on one element of the batches, or on `steps_per_execution` elements."""
        assert self.train_function is not None
        history, per_epoch = self.history, self.schedule.steps_per_epoch
        within = history.step - epoch * per_epoch
        executions = self.model.steps_per_execution
        self.callbacks.on_train_batch_begin(within)
        self.batches = []
        for _ in range(min(executions, per_epoch - within)):
            asked = time.monotonic()
            batch = next(batches)
            history.waiting_seconds += time.monotonic() - asked
            self.batches.append((epoch, history.step - epoch * per_epoch, batch))
            self.logs = self.train_function(*batch)
            history.step += batch[0].shape[0]
        last = max(history.step - epoch * per_epoch, within + executions) - 1
        try:
            self.callbacks.on_train_batch_end(last, self.logs)
        except RuntimeError as error:
            if "NaN or Inf" not in str(error):
                raise
            raise self._not_finite("the loss") from None
        if self.watched.stop_training:
            self.stopping = "callback"
        over = bool(self.budget and history.seconds + self.epoch_seconds > self.budget)
        if self.devices:  # a clock and a signal are of one process: all know of them a step later
            self.signal.number = self.devices.agreed_signal or None
            self.devices.stop, over = over, self.devices.agreed_stop
        if over and not self.stopping:
            self.stopping, self.model.stop_training = "budget", True

    def _validate(self) -> dict[str, float]:
        """Runs `Model.evaluate` with the callbacks' on_test hooks, as in `fit`.

        A signal ends it between two batches; then everything is as before.
        """
        model, before = self.model, self.model.test_function
        logs: dict[str, float] = {}
        if self.val_batches is not None:
            if self.test_function is None:
                self.test_function = make_test_function(model, self.val_batches.element_spec)
            changed = [*model.non_trainable_variables, *model.metrics_variables]
            kept = [tf.identity(variable.value) for variable in changed]
            model.test_function = self._test
            try:
                results = model.evaluate(
                    self.val_batches, verbose=0, callbacks=self.callbacks, return_dict=True
                )
            finally:
                model.test_function = before
            if self.signal:
                for variable, value in zip(changed, kept, strict=True):
                    variable.assign(value)
                raise _Halt
            logs = {f"val_{name}": value for name, value in numbers(results).items()}
        if not finite(*model.get_weights()):
            raise self._not_finite("a weight")
        if not finite(logs.get("val_loss", 0.0)):
            raise self._not_finite("val_loss")
        return logs

    def _test(self, batches: Iterator) -> dict:
        assert self.test_function is not None
        if self.signal:
            self.model.stop_evaluating = True
        return self.test_function(batches)

    def _not_finite(self, what: str) -> RunError:
        """Describes the end of a training, with the examples at fault."""
        history, checkpoints = self.history, self.checkpoints
        kept = checkpoints is not None and any(checkpoints.folder.glob("step-*"))
        good = self.early_stopping.best_weights or [v.numpy() for v in self.best]
        if good and not finite(*self.model.get_weights()):
            self.model.set_weights(good)
        found = (
            fault_of_val(self.model, self.data.val, self.val_batches)
            if what == "val_loss" and self.data.val and self.val_batches
            else fault_of_steps(self.model, self.data.train, self.schedule, self.seed, self.batches)
        )
        advice = found or "try a smaller learning_rate"
        if kept and checkpoints is not None:
            advice += f"; the last good state is kept in {checkpoints.folder}"
        return RunError(
            f"{what} became NaN or infinite in epoch {len(history.rows) + 1}, at step "
            f"{history.step}; {advice}"
        )

    # --- the exact state ----------------------------------------------------------------------

    def _commit_if_due(self, ahead: float = 0.0) -> None:
        """Commits by the clock, which is safe because a commit changes no bit of the run.

        Args:
            ahead: Seconds until the next call.
        """
        if self.signal:
            self._commit()
            raise self.signal.error(self.history.step)
        if not self.checkpoints:
            return
        waited = time.monotonic() - self.committed + ahead
        cost = min(LONGEST, COST * self.commit_seconds) if self.checkpoint_seconds else 0.0
        if waited >= max(self.checkpoint_seconds, cost):
            self._commit()

    def _commit(self) -> None:
        if not self.checkpoints or not self.folder:
            return
        if not finite(*self.model.get_weights()):
            raise self._not_finite("a weight")
        started = time.monotonic()
        if self.early_stopping.best_weights is not None:
            for variable, value in zip(self.best, self.early_stopping.best_weights, strict=True):
                variable.assign(value)
        state = {
            "history": dataclasses.asdict(self.history),
            "epoch_seconds": self.epoch_seconds,
            "has_best": self.early_stopping.best_weights is not None,
            "callbacks": hooks.state(self.callbacks.callbacks),
            "logs": numbers(self.logs),
            "stopping": self.stopping,
        }
        if self.history.rows:  # before the checkpoint: what ends in between is trained again
            files.write_bytes(self.folder / "history.csv", self.history.to_csv().encode())
        self.checkpoints.save(self.history.step, state)
        self.committed = time.monotonic()
        self.commit_seconds = self.committed - started

    def _restore(self) -> None:
        state = self.checkpoints and self.checkpoints.restore()
        if self.devices:
            state = self.devices.share(state, self._state())
        if not state:
            return
        self.history = History(**state["history"])
        self.epoch_seconds = state["epoch_seconds"]
        if state["has_best"]:
            self.early_stopping.best_weights = [v.numpy() for v in self.best]
        hooks.restore(self.callbacks.callbacks, state["callbacks"])
        self.logs, self.stopping = state.get("logs", {}), state.get("stopping")
        self.model.stop_training = bool(self.stopping)
