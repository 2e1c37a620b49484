"""The environment of a run: versions, machine, threads, Keras' settings, the command line."""

import contextlib
import os
import pathlib
import platform
import shlex
import sys
from importlib import metadata
from typing import Any

if "keras" not in sys.modules:  # kpipe trains with TensorFlow, whatever keras.json says
    os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import tensorflow as tf
from tensorflow.python.framework import config

from . import __version__
from .engines import threads_or, usable_processors
from .errors import UserError


def command() -> str:
    """Returns kpipe's command line of this process, in a form that can be typed again.

    `--fresh` is left out: it would not resume what it began.

    Returns "" if kpipe is used from Python: in a notebook, a script or an interpreter.
    """
    script = pathlib.Path(sys.argv[0] if sys.argv else "")
    if script.name == "run.py" and script.absolute().parent.name == "pipelines":
        program = "kpipe run"
    elif script.stem == "kpipe":
        program = "kpipe"
    else:
        return ""
    words = [word for word in sys.argv[1:] if word != "--fresh"]
    return f"{program} {shlex.join(words)}".rstrip()


def reset_keras() -> None:
    """Resets Keras to its defaults, so that a command computes the same on every machine.

    This overrides ~/.keras/keras.json; a pipeline file can still change these settings, since it
    is imported later.
    """
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")


def check_keras() -> None:
    """Refuses Keras settings that kpipe does not support.

    Raises:
        UserError: The backend is not TensorFlow, or images are channels-first.
    """
    if keras.backend.backend() != "tensorflow":
        raise UserError(
            f"Keras runs on {keras.backend.backend()}; kpipe needs tensorflow: set "
            "KERAS_BACKEND=tensorflow before keras is imported"
        )
    if keras.config.image_data_format() != "channels_last":
        raise UserError(
            "Keras is set to channels_first; kpipe needs channels_last: call "
            'keras.config.set_image_data_format("channels_last")'
        )


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that a result depends on."""
    packages = ("keras", "keras-tuner", "numpy", "scikit-learn", "tensorflow-datasets")
    return {
        "kpipe": __version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        **{name: metadata.version(name) for name in packages},
    }


def fix_threads(shares: int = 1) -> None:
    """Fixes the thread counts, which change the last bits, before TensorFlow runs its first op.

    So it does with this process' share of a GPU's memory, which `kpipe.engines` sets. The counts
    equal the number of processors available to this process, unless the caller has set them,
    by `tf.config.threading` or by $TF_NUM_INTRAOP_THREADS and $TF_NUM_INTEROP_THREADS.

    Args:
        shares: Number of processes that could divide the processors; each gets an equal share, and
            at least one thread.

    Raises:
        UserError: One of these variables is no number of threads.
    """
    if share := os.environ.get("KPIPE_GPU_MEMORY"):  # of a GPU that several jobs use
        limit = tf.config.LogicalDeviceConfiguration(memory_limit=int(share))
        for gpu in tf.config.list_physical_devices("GPU"):
            with contextlib.suppress(RuntimeError):  # it is in use
                tf.config.set_logical_device_configuration(gpu, [limit])
    usable, threading = max(1, usable_processors() // shares), tf.config.threading
    try:
        if not threading.get_intra_op_parallelism_threads():
            threading.set_intra_op_parallelism_threads(threads_or(usable))
        if not threading.get_inter_op_parallelism_threads():
            threading.set_inter_op_parallelism_threads(threads_or(usable, "TF_NUM_INTEROP_THREADS"))
    except RuntimeError:  # TensorFlow has already run ops, as in a notebook: counts stay
        pass


def machine() -> dict[str, Any]:
    """Returns the properties of this machine, and the caller's settings, that can change bits."""
    threading, usable = tf.config.threading, usable_processors()  # which 0 threads stand for
    return {
        "platform": platform.platform(aliased=True, terse=True),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
        # Numbered among those that this process sees: which one of a machine changes no bit.
        "gpus": [
            f"/physical_device:GPU:{i}" for i, _ in enumerate(tf.config.get_visible_devices("GPU"))
        ],
        "intra_op_threads": threading.get_intra_op_parallelism_threads() or usable,
        "inter_op_threads": threading.get_inter_op_parallelism_threads() or usable,
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0",
        "deterministic_ops": config.is_op_determinism_enabled(),
    }
