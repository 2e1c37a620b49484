"""The surroundings of a run: versions, machine, threads, the command line."""

import os
import pathlib
import platform
import sys
from importlib import metadata
from typing import Any

import tensorflow as tf

from . import __version__


def command() -> str:
    """Returns the command line of this process, with the script's name instead of its path."""
    if "ipykernel" in sys.modules or not sys.argv or sys.argv[0] in ("", "-c"):
        return "kpipe.run(...)"
    script = pathlib.Path(sys.argv[0])
    program = "python pipelines/run.py" if script.name == "run.py" else script.name
    return " ".join([program, *sys.argv[1:]])


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that decide about a result."""
    packages = ("keras", "keras-tuner", "numpy", "scikit-learn", "tensorflow-datasets")
    return {
        "kpipe": __version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        **{name: metadata.version(name) for name in packages},
    }


def fix_threads() -> None:
    """Fixes the thread counts, which change the last bits, before TensorFlow's first work.

    They are the processors that this process may use, unless $TF_NUM_INTRAOP_THREADS and
    $TF_NUM_INTEROP_THREADS say otherwise.
    """
    if hasattr(os, "sched_getaffinity"):
        usable = len(os.sched_getaffinity(0))
    else:
        usable = os.cpu_count() or 1
    threading = tf.config.threading
    try:
        threading.set_intra_op_parallelism_threads(
            int(os.environ.get("TF_NUM_INTRAOP_THREADS", usable))
        )
        threading.set_inter_op_parallelism_threads(
            int(os.environ.get("TF_NUM_INTEROP_THREADS", usable))
        )
    except RuntimeError:  # TensorFlow is already at work, as in a notebook: recorded as it is
        pass


def machine() -> dict[str, Any]:
    """Returns the properties and settings of this machine that can change bits or times."""
    return {
        "platform": platform.platform(aliased=True, terse=True),
        "processor": platform.machine(),
        "cpus": os.cpu_count(),
        "gpus": [device.name for device in tf.config.list_physical_devices("GPU")],
        "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
        "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0",
    }
