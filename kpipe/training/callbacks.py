"""Keras callbacks in a resumable training: which are accepted, and which state is restored.

A resumed training restores the state named in `STATE`. All other state, such as counters of a
custom callback or the rows of a `CSVLogger`, starts from scratch; changes that callbacks made to
the model or its optimizer, such as a `LearningRateScheduler`'s rate, are restored with these.
"""

import functools
from collections.abc import Callable, Iterator, Sequence

import keras

from ..errors import UserError

# Attributes to restore in a resumed training; on_train_begin resets most of them.
STATE = {
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: ("best",),
}


def check(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Refuses callbacks that duplicate what the Trainer does.

    Raises:
        UserError: A callback duplicates the Trainer's work.
    """
    for callback in callbacks:
        name = type(callback).__name__
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            raise UserError(
                f"callbacks: {name} resumes interrupted training, and so does the Trainer; "
                "remove it and pass a folder to Trainer.fit"
            )
        if isinstance(callback, keras.callbacks.SwapEMAWeights):
            raise UserError(
                f"callbacks: {name} validates the averaged weights, and so does the Trainer; "
                "remove it"
            )
        if isinstance(callback, keras.callbacks.EarlyStopping) and callback.restore_best_weights:
            raise UserError(
                f"callbacks: {name}(restore_best_weights=True) and the Trainer both restore the "
                "best weights; remove restore_best_weights, or use Trainer(monitor=..., "
                "patience=...)"
            )


def comparison(monitor: str, mode: str, model: keras.Model) -> Callable | None:
    """Returns the function that says whether a value of a metric is better than another one.

    Args:
        monitor: The metric.
        mode: "min", "max", or "auto" for the direction that Keras knows for its own metrics.
        model: Compiled model with this metric.

    Returns:
        A function such as `np.less`; None if Keras does not know the direction.
    """
    probe = keras.callbacks.EarlyStopping(monitor, mode=mode)
    probe.set_model(model)
    probe.on_train_begin()
    try:
        probe.on_epoch_end(0, {monitor: 0.0})
    except ValueError:
        return None
    return probe.monitor_op


def ignore_nan(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Keeps callbacks from taking NaN as an improvement, or as the best value of a metric.

    To Keras the first value is the best whatever it is, and then no other is better than NaN.
    """
    for callback in callbacks:
        improves = getattr(callback, "_is_improvement", None)  # private in Keras 3
        if improves is not None:
            vars(callback)["_is_improvement"] = functools.partial(_is_improvement, improves)


def _is_improvement(improves: Callable, value: float, reference: float | None) -> bool:
    return value == value and (
        reference is None or reference != reference or bool(improves(value, reference))
    )


def state(callbacks: Sequence[keras.callbacks.Callback]) -> dict[str, dict]:
    """Returns the state of the callbacks to restore in a resumed training, as JSON values."""
    return {
        key: {name: getattr(callback, name) for name in names}
        for key, callback, names in _stateful(callbacks)
    }


def restore(callbacks: Sequence[keras.callbacks.Callback], saved: dict[str, dict]) -> None:
    """Restores the saved state of callbacks; a callback without saved state keeps its own."""
    for key, callback, names in _stateful(callbacks):
        for name in names:
            setattr(callback, name, saved.get(key, {}).get(name, getattr(callback, name)))


def _stateful(
    callbacks: Sequence[keras.callbacks.Callback],
) -> Iterator[tuple[str, keras.callbacks.Callback, tuple[str, ...]]]:
    """Yields key ("EarlyStopping", then "EarlyStopping_1"), callback and names of its state."""
    seen: dict[str, int] = {}
    for callback in callbacks:
        for kind, names in STATE.items():
            if isinstance(callback, kind):
                count = seen.get(kind.__name__, 0)
                seen[kind.__name__] = count + 1
                yield f"{kind.__name__}_{count}" if count else kind.__name__, callback, names
