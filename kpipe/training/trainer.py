"""The Trainer: settings of training."""

import dataclasses
import numbers
import os
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from .. import formatting, optimizers
from ..data import Data, Split
from ..errors import UserError
from . import callbacks as hooks
from . import divisible, features, weighting
from .batches import Schedule
from .devices import Devices
from .history import History, times_faster
from .loop import Loop
from .optimizing import parts
from .supervision import Supervision, supervise
from .timing import plan_for
from .weighting import Weigh

# A field that a pipeline can set, but not the command line.
IN_PYTHON = {"settable": False}


def _limited(
    default: Any,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """Defines a field with the values that it accepts."""
    metadata = {"low": low, "high": high, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trainer:
    """How a compiled model is trained: settings here, data in `fit`.

    Attributes:
        epochs: Maximum number of passes over the train split.
        sample_epochs: Maximum number of epochs on sample data if `epochs` is not given, so that a
            test of everything takes less than a minute; 0 for no limit.
        batch_size: Number of examples per step.
        monitor: Metric that determines the best epoch and early stopping: val_loss, val_accuracy...
        monitor_mode: "min" or "max" for a `monitor` of which Keras does not know the direction,
            such as a custom metric; "auto" for others.
        patience: Epochs without improvement of `monitor` before training stops; 0 for never.
        reduce_lr_patience: Epochs without improvement of `monitor` before the learning rate is
            reduced to a fifth; 0 for never. It excludes a learning-rate schedule.
        retrain: Whether, after the best epoch is determined, the network is trained again from
            scratch on train and val together, for that number of epochs. `kpipe.run` does this;
            `fit` does not.
        cache_features: Whether the features of a frozen backbone (`models.backbone`) are computed
            once, without augmentation, and the head is trained on them: the same network, in a
            fraction of the time.
        fine_tune: Whether a frozen backbone is trained as well, after the head: all its weights
            except those of batch normalization, with augmentation. The best epoch of both is kept.
        fine_tune_epochs: Maximum number of epochs of fine-tuning.
        fine_tune_rate: Learning rate with which fine-tuning begins; it falls to 0 by a cosine, or
            is constant with `reduce_lr_patience`. The optimizer's other settings stay.
        checkpoint_seconds: Maximum seconds of work that a kill can lose; up to 60 if saving takes
            long. 0 saves after every step.
        keep_state: Whether a finished run keeps its last checkpoint, so that it can be continued.
            With Adam that is four times the size of the weights.
        class_weight: Weights of training examples in the loss by class, as in `Model.fit`; 1 for
            other classes. "balanced" gives every class the same total weight, see
            `weighting.balanced`; None or "none" gives every example the weight 1. Labels must be
            one class per example.
        mixup: alpha of mixing training examples (Zhang et al., 2018): each becomes a weighted mean
            of two, input and target, with a ratio from Beta(alpha, alpha); 0 for none. For images
            and vectors.
        label_smoothing: Share of a training label that all classes divide (Szegedy et al., 2016);
            validation has the labels themselves.
        sample_weight: Function from a training batch's (augmented) inputs and targets, as tensors,
            to one weight per example, float (batch,), for the loss and `weighted_metrics`. It runs
            inside a tf.data pipeline.

    Raises:
        UserError: A value has the wrong type or range.

    Example:
        history = Trainer(epochs=5).fit(model, data)
    """

    epochs: int = _limited(20, 1, 1_000_000)
    sample_epochs: int = _limited(0, 0, 1_000_000)
    batch_size: int = _limited(128, 1, 1_000_000)
    monitor: str = _limited("val_loss")
    monitor_mode: str = _limited("auto", choices=("auto", "min", "max"))
    patience: int = _limited(5, 0, 1_000_000)
    reduce_lr_patience: int = _limited(0, 0, 1_000_000)
    retrain: bool = _limited(False)
    cache_features: bool = _limited(False)
    fine_tune: bool = _limited(False)
    fine_tune_epochs: int = _limited(10, 1, 1_000_000)
    fine_tune_rate: float = _limited(1e-4, 0.0, 1.0)
    checkpoint_seconds: float = _limited(20.0, 0.0, 86_400.0)
    keep_state: bool = _limited(True)
    class_weight: Mapping[int, float] | str | None = _limited(None, choices=("none", "balanced"))
    mixup: float = _limited(0.0, 0.0, 100.0)
    label_smoothing: float = _limited(0.0, 0.0, 0.9)
    sample_weight: Weigh | None = dataclasses.field(default=None, metadata=IN_PYTHON)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.metadata.get("settable", True) and field.name != "class_weight":
                value = _checked(field, getattr(self, field.name))
                object.__setattr__(self, field.name, value)
        if self.class_weight == "none":
            object.__setattr__(self, "class_weight", None)

    def on_sample(self) -> "Trainer":
        """Returns the same Trainer with at most `sample_epochs` epochs."""
        return dataclasses.replace(self, epochs=min(self.epochs, self.sample_epochs or self.epochs))

    def settings(self) -> dict[str, Any]:
        """Returns the fields as JSON values; rarely used ones only if they are set."""
        values = dataclasses.asdict(self)
        rare: dict[str, Any] = {"monitor_mode": "auto", "class_weight": None}
        rare |= {"sample_weight": None, "cache_features": False, "fine_tune": False}
        rare |= {"keep_state": True, "mixup": 0.0, "label_smoothing": 0.0}
        if not self.fine_tune:
            rare |= {k: values[k] for k in ("fine_tune_epochs", "fine_tune_rate")}
        values = {k: v for k, v in values.items() if k not in rare or v != rare[k]}
        if isinstance(self.class_weight, Mapping):
            values["class_weight"] = {str(int(k)): float(v) for k, v in self.class_weight.items()}
        if self.sample_weight is not None:
            values["sample_weight"] = getattr(self.sample_weight, "__qualname__", "function")
        return values

    def check(self, model: keras.Model, num_examples: int, train: Split | None = None) -> None:
        """Refuses contradictory settings before training.

        Args:
            model: Model built by a pipeline.
            num_examples: Number of training examples.
            train: The training examples, if available: weights are compared with their labels.

        Raises:
            UserError: The settings cannot be used together.
        """
        if not model.compiled or model.optimizer is None:
            raise UserError(
                f"{model.name} is not compiled; end build_model with "
                "model.compile(optimizer, loss, metrics=...)"
            )
        scheduled = any(map(optimizers.has_schedule, parts(model.optimizer)))
        if self.reduce_lr_patience and scheduled:
            raise UserError(
                f"reduce_lr_patience={self.reduce_lr_patience} and a learning-rate schedule "
                "contradict each other; use schedule=constant without warmup_steps, or "
                "reduce_lr_patience=0"
            )
        if self.retrain and self.reduce_lr_patience:
            raise UserError(
                f"retrain=true and reduce_lr_patience={self.reduce_lr_patience} contradict each "
                "other, since retraining has no validation loss; use a schedule"
            )
        accumulates = any(part.gradient_accumulation_steps for part in parts(model.optimizer))
        if accumulates and num_examples % self.batch_size:
            # Keras averages the batches of an update equally, whatever their size.
            near = divisible.nearest_divisors(num_examples, self.batch_size)
            raise UserError(
                f"batch_size={self.batch_size} does not divide the {num_examples:,} training "
                "examples, which gradient_accumulation_steps requires; "
                f"the nearest that do: {', '.join(map(str, near))}"
            )
        weighting.check(self.class_weight, self.sample_weight, train)
        self._check_backbone(model)
        if train is not None:
            self.supervision(model, train)

    def supervision(self, model: keras.Model, train: Split) -> Supervision:
        """Returns what the loss learns from: weights, mixing and smoothing of the examples.

        Args:
            model: Compiled model.
            train: The training examples.

        Raises:
            UserError: They do not fit the examples, or the model's loss.
        """
        weigh = weighting.chosen(self.class_weight, self.sample_weight, train)
        return supervise(model, train, weigh, self.mixup, self.label_smoothing)

    def _check_backbone(self, model: keras.Model) -> None:
        if self.cache_features:
            features.frozen_backbone(model, "cache_features=true")
            if self.sample_weight is not None:
                raise UserError(
                    "cache_features=true and sample_weight exclude each other, since it would get "
                    "features instead of inputs; use cache_features=false"
                )
        if self.fine_tune:
            features.frozen_backbone(model, "fine_tune=true")
            if self.retrain:
                raise UserError(
                    "fine_tune=true and retrain=true exclude each other, since fine-tuning is "
                    "compared on val; use retrain=false"
                )
            if len(parts(model.optimizer)) > 1:
                raise UserError(
                    "fine_tune=true and a MultiOptimizer exclude each other: it has no single "
                    "learning rate; use one optimizer"
                )

    def fit(
        self,
        model: keras.Model,
        data: Data,
        *,
        seed: int = 0,
        plan: str | None = None,
        folder: str | os.PathLike | None = None,
        budget: float | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        epochs: int | None = None,
        initial_epoch: int = 0,
        devices: Devices | None = None,
    ) -> History:
        """Trains the model; afterwards it has the weights of its best epoch.

        With the same batches the result equals that of `Model.fit` bit by bit, where rounding does
        not depend on whether TensorFlow knows the batch size when it traces, with two differences.
        With an optimizer that averages weights (`use_ema=True`), validation, `on_test_*`,
        `on_epoch_end` and the best weights use the averages, while training continues with its own
        weights; without val the averages of the last step remain, as after `fit`. And training can
        be resumed, except for the internal state of callbacks other than `EarlyStopping`,
        `ReduceLROnPlateau` and the best value of a `ModelCheckpoint`.

        Args:
            model: Compiled model.
            data: Data, of which the train and val splits are used.
            seed: Random seed of the example order and of augmentation.
            plan: "graph", "kernels" or "fused:K"; "auto" times them, see `timing`; by
                default that of `choose_plan`.
            folder: Folder for checkpoints, history.csv and logs; None to write nothing.
            budget: Seconds after which training stops, after a last validation.
            callbacks: Additional Keras callbacks, except `BackupAndRestore`, `SwapEMAWeights` and
                an `EarlyStopping` that restores weights, because the Trainer does their work.
            epochs: Number of epochs, overrides `self.epochs`.
            initial_epoch: The first epoch, counted from 0.
            devices: The shards of every batch, and the processes that compute them; None for one
                undivided step. Only process 0 gets a folder.

        Raises:
            RunError: The loss is not finite any more; the message names the examples at fault.
            Interrupted, Stopped: Ctrl-C or SIGTERM; with a folder all work is saved.
            UserError: The settings cannot be used together.
        """
        self.check(model, len(data.train), data.train)
        hooks.check(callbacks)
        folder = pathlib.Path(folder) if folder else None
        epochs = epochs or self.epochs
        if devices:
            divisible.check(model, devices.shards, self.batch_size, plan or "graph")
            plan = "graph"
        learned = self.supervision(model, data.train)
        plan, _ = plan_for(
            model, data, plan, self.batch_size, epochs, seed=seed, supervision=learned
        )

        def loop(part: keras.Model, data: Data, folder: pathlib.Path | None) -> Loop:
            return Loop(
                part,
                data,
                batch_size=self.batch_size,
                plan=plan,
                seed=seed,
                supervision=learned,
                # Without val there is no best epoch, and the weights of the last one remain.
                early_stopping=keras.callbacks.EarlyStopping(
                    self.monitor if data.val else "loss",
                    patience=self.patience or sys.maxsize,
                    mode=self.monitor_mode if data.val else "auto",
                    restore_best_weights=bool(data.val),
                ),
                callbacks=[*self._own_callbacks(folder), *callbacks],
                folder=folder,
                checkpoint_seconds=self.checkpoint_seconds,
                budget=budget,
                watched=model,
                devices=devices,
            )

        if self.cache_features:
            cached = features.cached(model, data)
            first, seconds = loop(cached.head, cached.data, folder), cached.seconds
            first.history.seconds = seconds
            history = first.run(initial_epoch, epochs)
            history.feature_seconds = seconds
            epoch, times = times_faster([row["seconds"] for row in history.rows], seconds)
            took = formatting.duration(seconds)
            print(
                f"features in {took}, an epoch of the head in {epoch:.2g} s: about {times:,.0f} "
                "times faster than through the backbone",
                flush=True,
            )
        else:
            history = loop(model, data, folder).run(initial_epoch, epochs)
        if not self.fine_tune or history.stopped_by == "budget":
            return history
        return self._fine_tune(model, data, history, initial_epoch, folder, loop)

    def _fine_tune(
        self,
        model: keras.Model,
        data: Data,
        frozen: History,
        initial_epoch: int,
        folder: pathlib.Path | None,
        loop: Callable[[keras.Model, Data, pathlib.Path | None], Loop],
    ) -> History:
        """Trains the backbone as well; the model gets the weights of the best epoch of all."""
        before, begin = model.get_weights(), initial_epoch + len(frozen.rows)
        end = begin + self.fine_tune_epochs
        steps = Schedule(len(data.train), self.batch_size).steps_per_epoch
        decay_steps = 0 if self.reduce_lr_patience else self.fine_tune_epochs * steps
        features.unfreeze(model, self.fine_tune_rate, decay_steps)
        print(
            f"fine-tuning from epoch {begin + 1}, with the weights of epoch {frozen.best_epoch}: "
            f"{sum(w.shape.num_elements() or 1 for w in model.trainable_weights):,} weights",
            flush=True,
        )
        tuning = loop(model, data, folder / "fine_tuning" if folder else None)
        tuning.history.seconds = frozen.seconds
        tuning.history.waiting_seconds = frozen.waiting_seconds
        history = tuning.run(begin, end)
        if data.val:
            monitor = tuning.early_stopping.monitor
            best = frozen.rows[frozen.best_epoch - initial_epoch - 1][monitor]
            tuned = history.rows[history.best_epoch - begin - 1][monitor]
            better = hooks.comparison(monitor, self.monitor_mode, model)
            if not (better and better(tuned, best)):
                print(
                    f"fine-tuning was not better than the frozen backbone ({monitor} {tuned:.4g}, "
                    f"before {best:.4g}): the frozen one is kept",
                    flush=True,
                )
                model.set_weights(before)
                history.best_epoch = frozen.best_epoch
        history.rows = frozen.rows + history.rows
        history.feature_seconds, history.frozen_epochs = frozen.feature_seconds, len(frozen.rows)
        return history

    def _own_callbacks(self, folder: pathlib.Path | None) -> list[keras.callbacks.Callback]:
        callbacks: list[keras.callbacks.Callback] = []
        if self.reduce_lr_patience:
            callbacks.append(
                keras.callbacks.ReduceLROnPlateau(
                    self.monitor,
                    factor=0.2,
                    patience=self.reduce_lr_patience,
                    mode=self.monitor_mode,
                )
            )
        if folder:
            callbacks.append(keras.callbacks.TensorBoard(folder / "logs", write_graph=False))
        return callbacks


# Type of a field: types of its values, which include NumPy's, and their name.
_KINDS: dict[type, tuple[type, str]] = {
    int: (numbers.Integral, "an integer"),
    float: (numbers.Real, "a number"),
    bool: (bool, "True or False"),
    str: (str, "a text"),
}


def _checked(field: dataclasses.Field, value: Any) -> Any:
    """Returns a field's value as its Python type; UserError if it has another type or range."""
    plain: type = type(field.default)
    kind, expected = _KINDS[plain]
    low, high, choices = (field.metadata[key] for key in ("low", "high", "choices"))
    fits = isinstance(value, kind) and isinstance(value, bool) == (plain is bool)
    if choices:
        expected = f"one of {', '.join(choices)}"
        fits = value in choices
    elif low is not None:
        expected += f" from {low:,.10g} to {high:,.10g}"
        fits = fits and low <= value <= high
    if not fits:
        raise UserError(f"Trainer({field.name}={value!r}): expected {expected}")
    return plain(value)
