"""A process of a data-parallel run that trains with process 0, and writes nothing."""

import json
import os
import pathlib
import signal
import sys
import threading

import keras

from .. import environment
from ..errors import resumable
from ..records import Record
from ..training import Devices
from .describing import check_same, check_same_bits, new_record
from .execution import Execution
from .launching import use_device
from .running import open_experiment
from .session import own_session


def follow() -> None:
    """Is a process that `launching` has started."""
    about = json.loads(sys.stdin.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def end_with_parent() -> None:
        sys.stdin.read()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
    floatx, epsilon, image_format = about["formats"]
    keras.config.set_floatx(floatx)
    keras.config.set_epsilon(epsilon)
    keras.config.set_image_data_format(image_format)
    environment.fix_threads(about["threads"])
    use_device(about["local"], about["count"])
    devices = Devices(**about["devices"])
    devices.connect()
    train_along(devices)
    devices.leave()
    os._exit(0)  # threads of TensorFlow may wait for other processes


@resumable()
@own_session()
def train_along(devices: Devices) -> None:
    """Trains what process 0 trains, and ends.

    Raises:
        UserError: Code, data, versions or machine differ from those of process 0.
    """
    told = devices.share(None)  # as soon as it has prepared the data and built the model
    if told is None:
        return
    then = Record.from_json(told["record"])
    experiment = open_experiment(**told["given"])
    now, path = new_record(experiment), pathlib.Path(f"device 0 ({devices.addresses[0]})/run.json")
    now.continued_from, now.plan = then.continued_from, then.plan
    now.data.fingerprint = experiment.fingerprint()
    hint = "every process needs the same"
    check_same(path, then, now, hint)
    check_same_bits(path, then, now, hint)
    Execution(experiment, path.parent, devices=devices).follow(then)
