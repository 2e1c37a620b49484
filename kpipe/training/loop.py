"""The training loop: Keras' callbacks and train step, resumable at any step, bit by bit."""

import contextlib
import dataclasses
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from .. import files
from ..errors import RunError, UserError
from .batches import Schedule, training_batches
from .checkpoint import Checkpoints
from .progress import Progress

# What a resumed callback must know, and forgets in on_train_begin.
CALLBACK_STATE = {
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
}


@dataclasses.dataclass
class History:
    """What happened in training.

    Attributes:
        rows: One dict an epoch: epoch (from 1), step, seconds, learning_rate, and every metric.
        step: Updates of the optimizer's clock: batches seen.
        seconds: Training and validation, over all resumed parts.
        stopped_by: "epochs", "early stopping" or "budget".
        best_epoch: The epoch whose weights the model has.
        resumed_at: Step of the checkpoint that this process began with, or 0.
    """

    rows: list[dict] = dataclasses.field(default_factory=list)
    step: int = 0
    seconds: float = 0.0
    stopped_by: str | None = None
    best_epoch: int = 0
    resumed_at: int = 0

    @property
    def columns(self) -> dict[str, list]:
        """The rows by column, like `keras.callbacks.History.history`."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return {name: [row.get(name) for row in self.rows] for name in names}

    def to_csv(self) -> str:
        columns = self.columns
        lines = [",".join(columns)]
        for values in zip(*columns.values(), strict=True):
            lines.append(",".join("" if value is None else repr(value) for value in values))
        return "\n".join(lines) + "\n"


def make_train_function(model: keras.Model, stack: int) -> Callable:
    """Runs the steps of one stacked element; the fused plan makes them one XLA program."""

    @tf.function(reduce_retracing=True)
    def one_step(images, labels):
        return model.train_step((images[0], labels[0]))

    # Unrolled: inside an XLA loop the CPU's large matrix products are several times slower.
    @tf.function(jit_compile=True)
    def fused_steps(images, labels):
        for i in range(stack):
            logs = model.train_step((images[i], labels[i]))
        return logs

    def train(images, labels):
        fused = stack > 1 and images.shape[0] == stack
        return (fused_steps if fused else one_step)(images, labels)

    return train


class Loop:
    """One training, from a step to its end.

    It is `Model.fit` in small, with the same callbacks and the same `train_step`, but for one
    thing that `fit` cannot do: begin in the middle of an epoch.
    """

    def __init__(self, trainer, model, data, seed, plan, folder, budget, callbacks):
        self.trainer, self.model, self.data = trainer, model, data
        self.seed, self.folder, self.budget = seed, folder, budget
        stack = int(plan.removeprefix("fused:")) if plan.startswith("fused:") else 1
        self.schedule = Schedule(len(data.train), trainer.batch_size, stack)
        self.train_function = make_train_function(model, stack)
        val = data.val and data.val.at(data.val.shortest_first())
        self.val_batches = val and val.batches(max(256, trainer.batch_size))
        # Without val no epoch is better than another, and the last one's weights stay.
        self.early_stopping = keras.callbacks.EarlyStopping(
            trainer.monitor if data.val else "loss",
            patience=trainer.patience or sys.maxsize,
            restore_best_weights=bool(data.val),
        )
        self.history = History()
        self.callbacks = keras.callbacks.CallbackList(
            [*self._own_callbacks(), *callbacks], model=model
        )
        self._build()
        self.best = [tf.Variable(w) for w in model.get_weights()]
        self.checkpoints = folder and Checkpoints(
            folder / "checkpoints",
            {
                "variables": [v.value for v in model.variables + model.optimizer.variables],
                "metrics": [v.value for v in model.metrics_variables],
                "best": self.best,
            },
        )
        self.epoch_seconds = 0.0
        self.over_budget = False
        self.signal = None

    def _own_callbacks(self) -> list[keras.callbacks.Callback]:
        trainer = self.trainer
        callbacks = [keras.callbacks.TerminateOnNaN(raise_error=True), self.early_stopping]
        if trainer.reduce_lr_patience:
            callbacks.append(
                keras.callbacks.ReduceLROnPlateau(
                    trainer.monitor, factor=0.2, patience=trainer.reduce_lr_patience
                )
            )
        if self.folder:
            callbacks.append(keras.callbacks.TensorBoard(self.folder / "logs", write_graph=False))
        return callbacks

    def _build(self) -> None:
        """Creates every variable now: a compiled program cannot, and a checkpoint names them."""
        self.model.optimizer.build(self.model.trainable_variables)
        self.model.test_on_batch(*self.data.train.take_pairs(np.arange(1)))
        metrics = self.model.get_metrics_result()
        self.model.reset_metrics()
        # Keras can tell of its own metrics, and of the loss, whether they are to fall.
        names = [name for name in metrics if "_kl" not in name and "_capacity" not in name]
        known = [*names, *(f"val_{name}" for name in names)]
        if self.data.val and self.trainer.monitor not in known:
            raise UserError(
                f"monitor={self.trainer.monitor}: no such metric; expected {', '.join(known)}"
            )

    def run(self, initial_epoch: int, epochs: int) -> History:
        self.callbacks.on_train_begin()
        self.model.stop_training = False
        self.history.step = initial_epoch * self.schedule.steps_per_epoch
        self._restore()  # after on_train_begin, where callbacks forget
        history = self.history
        history.resumed_at = history.step
        if history.stopped_by is None:
            batches = training_batches(
                self.data.train,
                self.schedule,
                self.data.augmentation,
                self.seed,
                history.step,
                epochs,
            )
            self.committed = time.monotonic()
            with _signals_flagged(self) if self.checkpoints else contextlib.nullcontext():
                self._run_epochs(iter(batches), initial_epoch, epochs)
        self.callbacks.on_train_end()  # early stopping restores the best weights
        history.best_epoch = (
            self.early_stopping.best_epoch + 1 if self.data.val else len(history.rows)
        )
        return history

    def _run_epochs(self, batches: Iterator, initial_epoch: int, epochs: int) -> None:
        history, model, per_epoch = self.history, self.model, self.schedule.steps_per_epoch
        progress = Progress(epochs, per_epoch, history.step)
        # By rows, not by step: an epoch is over when it is validated.
        for epoch in range(initial_epoch + len(history.rows), epochs):
            if history.step == epoch * per_epoch:
                model.reset_metrics()
                self.epoch_seconds = 0.0
            self.callbacks.on_epoch_begin(epoch)
            progress.begin(epoch)
            started = time.monotonic() - self.epoch_seconds
            while history.step < (epoch + 1) * per_epoch and not model.stop_training:
                logs = self._step(epoch, batches)
                self.epoch_seconds = time.monotonic() - started
                progress.step(history.step - epoch * per_epoch, logs)
                self._commit_if_due()
            logs = {k: float(v) for k, v in model.get_metrics_result().items()}
            if self.val_batches:
                validated = model.evaluate(self.val_batches, verbose=0, return_dict=True)
                logs |= {f"val_{name}": float(value) for name, value in validated.items()}
            learning_rate = float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))
            self.epoch_seconds = time.monotonic() - started
            history.seconds += self.epoch_seconds
            self.callbacks.on_epoch_end(epoch, logs)
            row = {"epoch": epoch + 1, "step": history.step, "seconds": self.epoch_seconds}
            history.rows.append({**row, "learning_rate": learning_rate, **logs})
            self.epoch_seconds = 0.0
            progress.end(history.rows[-1])
            if model.stop_training:
                history.stopped_by = "budget" if self.over_budget else "early stopping"
                break
            self._commit_if_due()
        history.stopped_by = history.stopped_by or "epochs"
        self._commit()

    def _step(self, epoch: int, batches: Iterator) -> dict:
        history = self.history
        within = history.step - epoch * self.schedule.steps_per_epoch
        self.callbacks.on_train_batch_begin(within)
        images, labels = next(batches)
        logs = self.train_function(images, labels)
        history.step += len(images)
        try:
            self.callbacks.on_train_batch_end(within + len(images) - 1, logs)
        except RuntimeError as error:
            if "NaN or Inf" not in str(error):
                raise
            raise self._not_finite() from None
        if self.budget and history.seconds + self.epoch_seconds > self.budget:
            self.over_budget = self.model.stop_training = True
        return logs

    def _not_finite(self) -> RunError:
        history = self.history
        kept = self.folder and f"; the last good state is kept in {self.folder / 'checkpoints'}"
        return RunError(
            f"the loss became NaN or infinite in epoch {len(history.rows) + 1}, at step "
            f"{history.step}: try a smaller learning_rate{kept or ''}"
        )

    # --- the exact state ----------------------------------------------------------------------

    def _commit_if_due(self) -> None:
        """A commit changes no bit of the run, so that the clock may say when."""
        if not self.checkpoints:
            return
        if self.signal:
            self._commit()
            name = signal.Signals(self.signal).name
            raise RunError(
                f"stopped by {name} at step {self.history.step}; the same command resumes there"
            )
        if time.monotonic() - self.committed >= self.trainer.checkpoint_seconds:
            self._commit()

    def _commit(self) -> None:
        if not self.checkpoints:
            return
        if not all(np.isfinite(v).all() for v in self.model.get_weights()):
            raise self._not_finite()
        if self.early_stopping.best_weights is not None:
            for variable, value in zip(self.best, self.early_stopping.best_weights, strict=True):
                variable.assign(value)
        state = {
            "history": dataclasses.asdict(self.history),
            "epoch_seconds": self.epoch_seconds,
            "has_best": self.early_stopping.best_weights is not None,
            "callbacks": {
                type(callback).__name__: {name: getattr(callback, name) for name in names}
                for callback, names in self._stateful_callbacks()
            },
        }
        self.checkpoints.save(self.history.step, state)
        if self.history.rows:
            files.write_bytes(self.folder / "history.csv", self.history.to_csv().encode())
        self.committed = time.monotonic()

    def _restore(self) -> None:
        state = self.checkpoints and self.checkpoints.restore()
        if not state:
            return
        self.history = History(**state["history"])
        self.epoch_seconds = state["epoch_seconds"]
        if state["has_best"]:
            self.early_stopping.best_weights = [v.numpy() for v in self.best]
        for callback, names in self._stateful_callbacks():
            for name in names:
                setattr(callback, name, state["callbacks"][type(callback).__name__][name])

    def _stateful_callbacks(self):
        return [
            (callback, CALLBACK_STATE[type(callback)])
            for callback in self.callbacks.callbacks
            if type(callback) in CALLBACK_STATE
        ]


@contextlib.contextmanager
def _signals_flagged(loop: Loop) -> Iterator[None]:
    """Turns the first Ctrl-C or SIGTERM into `loop.signal`, so that no step is cut in two."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def flag(number, frame):
        loop.signal = number
        signal.signal(number, previous[number])  # a second one ends at once

    previous = {n: signal.signal(n, flag) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
