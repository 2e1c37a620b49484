"""The caller's session: a run computes in one of its own, and leaves the caller's as it was."""

import contextlib
import copy
import random
import threading
from collections.abc import Iterator

import keras
import numpy as np
from keras.src.backend.common import global_state
from tensorflow.python.eager import context

from ..errors import UserError

_RUNNING = threading.RLock()  # the thread that runs may run again, as a search does


@contextlib.contextmanager
def own_session() -> Iterator[None]:
    """Lends the block Keras' session and all random states; the caller's are restored at the end.

    Restored are the states of Python's `random`, NumPy's and TensorFlow's global generators, and
    Keras' seed, names, dtype policy, float type and image format. Seeds and sessions belong to the
    process, so only one thread at a time may be in such a block.

    Raises:
        UserError: Another thread is.
    """
    if not _RUNNING.acquire(blocking=False):
        raise UserError(
            "another run is in progress in this process, in another thread; wait for it, or start "
            "another process"
        )
    states = random.getstate(), np.random.get_state()
    eager = vars(context.context())  # has no generator before a seed is set
    seeds = {name: copy.copy(eager[name]) for name in ("_seed", "_rng") if name in eager}
    trackers = global_state.GLOBAL_STATE_TRACKER, global_state.GLOBAL_SETTINGS_TRACKER
    config = keras.config
    formats = config.floatx(), config.epsilon(), config.image_data_format()
    # `clear_session` replaces the trackers, but names and policies are written into them.
    global_state.GLOBAL_STATE_TRACKER, global_state.GLOBAL_SETTINGS_TRACKER = map(_copy, trackers)
    try:
        yield
    finally:
        global_state.GLOBAL_STATE_TRACKER, global_state.GLOBAL_SETTINGS_TRACKER = trackers
        config.set_floatx(formats[0])
        config.set_epsilon(formats[1])
        config.set_image_data_format(formats[2])
        random.setstate(states[0])
        np.random.set_state(states[1])
        eager |= seeds
        _RUNNING.release()


def _copy(tracker: threading.local) -> threading.local:
    copied = threading.local()
    for name, value in vars(tracker).items():  # counts of names are a dict, scopes are lists
        vars(copied)[name] = copy.copy(value) if isinstance(value, (dict, list)) else value
    return copied
