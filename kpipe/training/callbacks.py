"""Keras' callbacks in a training that can be resumed: which are taken, and what is kept of them.

A resumed training restores the state named in `STATE`. The state of other callbacks, such as
counts in a callback of one's own or the rows of a `CSVLogger`, begins anew; what they changed in
the model or its optimizer, such as a `LearningRateScheduler`'s rate, is restored with those.
"""

from collections.abc import Iterator, Sequence

import keras

from ..errors import UserError

# What a callback must know in a resumed training; most of it is forgotten in on_train_begin.
STATE = {
    keras.callbacks.EarlyStopping: ("wait", "best", "best_epoch", "stopped_epoch"),
    keras.callbacks.ReduceLROnPlateau: ("wait", "best", "cooldown_counter"),
    keras.callbacks.ModelCheckpoint: ("best",),
}


def check(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Refuses callbacks that contradict what the Trainer does by itself.

    Raises:
        UserError: One of them does.
    """
    for callback in callbacks:
        name = type(callback).__name__
        if isinstance(callback, keras.callbacks.BackupAndRestore):
            raise UserError(
                f"callbacks: {name} restores a training, and so does the Trainer; leave it out and "
                "give Trainer.fit a folder"
            )
        if isinstance(callback, keras.callbacks.SwapEMAWeights):
            raise UserError(
                f"callbacks: {name} validates the averaged weights, and so does the Trainer; "
                "leave it out"
            )
        if isinstance(callback, keras.callbacks.EarlyStopping) and callback.restore_best_weights:
            raise UserError(
                f"callbacks: {name}(restore_best_weights=True) and the Trainer both restore the "
                "best weights; leave restore_best_weights out, or say Trainer(monitor=..., "
                "patience=...)"
            )


def direction_is_known(monitor: str, model: keras.Model) -> bool:
    """Whether Keras knows if a metric is to rise or to fall; it does of its own ones."""
    probe = keras.callbacks.EarlyStopping(monitor)
    probe.set_model(model)
    probe.on_train_begin()
    try:
        probe.on_epoch_end(0, {monitor: 0.0})
    except ValueError:
        return False
    return True


def state(callbacks: Sequence[keras.callbacks.Callback]) -> dict[str, dict]:
    """What a resumed training needs of the callbacks, as plain JSON values."""
    return {
        key: {name: getattr(callback, name) for name in names}
        for key, callback, names in _stateful(callbacks)
    }


def restore(callbacks: Sequence[keras.callbacks.Callback], saved: dict[str, dict]) -> None:
    """Gives callbacks their saved state; one that was not there before keeps its own."""
    for key, callback, names in _stateful(callbacks):
        for name in names:
            setattr(callback, name, saved.get(key, {}).get(name, getattr(callback, name)))


def _stateful(
    callbacks: Sequence[keras.callbacks.Callback],
) -> Iterator[tuple[str, keras.callbacks.Callback, tuple[str, ...]]]:
    """Key, callback and the names of its state: "EarlyStopping", a second one "EarlyStopping_1"."""
    seen: dict[str, int] = {}
    for callback in callbacks:
        for kind, names in STATE.items():
            if isinstance(callback, kind):
                count = seen.get(kind.__name__, 0)
                seen[kind.__name__] = count + 1
                yield f"{kind.__name__}_{count}" if count else kind.__name__, callback, names
