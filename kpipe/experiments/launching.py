"""Starts the processes of a data-parallel run, one a device, and ends them together.

The process that was started by the user is that of the first device; it starts those of the other
devices of its machine. On several machines the same command is started on each of them. Process 0
of all does what a run does; the others only train with it, and learn from it what to train.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.eager import context

from .. import environment, files
from ..errors import UserError
from ..quiet import in_kernel
from ..records import Record
from ..training import Devices

PORT = 2222  # the first one of a host that is given without
GRACE = 15.0  # seconds after which a process that waits for a lost one is ended
_FOLLOW = "from kpipe.experiments.following import follow; follow()"


@contextlib.contextmanager
def connected(
    devices: int | str | None,
    shards: int | None,
    hosts: Sequence[str] = (),
    host_index: int = 0,
) -> Iterator[Devices | None]:
    """Yields the devices of a run, with their processes started and connected; None for one step.

    Args:
        devices: Number of processes on this machine, or "all" for one a GPU; None for one.
        shards: Number of shards of a batch; by default as many as devices of all hosts.
        hosts: HOST or HOST:PORT of every machine; none for this one.
        host_index: Position of this machine among them.

    Raises:
        UserError: An argument is wrong.
        RunError: A process has ended.
    """
    count = _count(devices)
    if hosts and not 0 <= host_index < len(hosts):
        raise UserError(f"host index {host_index}: expected 0 to {len(hosts) - 1} of {len(hosts)}")
    processes = count * max(1, len(hosts))
    shards = processes if shards is None else shards
    if shards == processes == 1:
        yield None
        return
    addresses = _addresses(count, hosts) if processes > 1 else []
    first = host_index * count
    group = Devices(shards, first, addresses)
    environment.fix_threads(max(1, shards // max(1, len(hosts))))
    with contextlib.ExitStack() as stack:
        for local in range(1, count):
            stack.enter_context(_process(group, first + local, local, len(hosts)))
        use_device(0, count)
        if hosts:
            print(f"connecting {', '.join(hosts)} as host {host_index}", flush=True)
        with _ended_by_signals():
            group.connect()
        yield group
        group.leave()


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Lets Ctrl-C end this process while it waits for others, outside of Python.

    Both handlers are there again afterwards: TensorFlow replaces that of SIGTERM.
    """
    if in_kernel() or threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _count(devices: int | str | None) -> int:
    if devices == "all":
        gpus = len(tf.config.list_physical_devices("GPU"))
        if not gpus:
            raise UserError(
                "--devices all: this machine has no GPU; give the number of processes that divide "
                "its processors among themselves, such as --devices 2"
            )
        return gpus
    text = str(1 if devices is None else devices)
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"--devices {devices}: expected all, or a number from 1")
    return int(text)


def _addresses(count: int, hosts: Sequence[str]) -> list[str]:
    if not hosts:
        with contextlib.ExitStack() as stack:  # all are open at once, so that they differ
            sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
            for each in sockets:
                each.bind(("127.0.0.1", 0))
            return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    addresses = []
    for given in hosts:
        host, _, port = given.partition(":")
        if not host or not (port or str(PORT)).isdecimal():
            raise UserError(f"--hosts {','.join(hosts)}: expected HOST or HOST:PORT, not {given!r}")
        addresses += [f"{host}:{int(port or PORT) + local}" for local in range(count)]
    if len(set(addresses)) < len(addresses):
        raise UserError(f"--hosts {','.join(hosts)}: expected a different address for each")
    return addresses


def use_device(local: int, count: int) -> None:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus and count > len(gpus):
        raise UserError(f"--devices {count}: this machine has {len(gpus)} GPUs")
    if gpus:
        tf.config.set_visible_devices([gpus[local]], "GPU")


@contextlib.contextmanager
def _process(group: Devices, rank: int, local: int, hosts: int) -> Iterator[None]:
    """Runs the process of another device; it ends with the block, or with this process."""
    path = files.home() / "logs" / f"device-{rank}.log"
    files.make_folder(path.parent)
    config = keras.config
    about = {
        "devices": {"shards": group.shards, "rank": rank, "addresses": list(group.addresses)},
        "local": local,
        "count": len(group.addresses) // max(1, hosts),
        "threads": max(1, group.shards // max(1, hosts)),
        "formats": [config.floatx(), config.epsilon(), config.image_data_format()],
    }
    root = str(pathlib.Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    with open(path, "w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", _FOLLOW],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C reaches it through process 0, at the same step
        )
    assert process.stdin
    process.stdin.write(json.dumps(about) + "\n")
    process.stdin.flush()  # left open: its end is the end of this process
    ending = threading.Event()

    def watch() -> None:
        code = process.wait()
        if code == 0 or ending.is_set():
            return
        why = f"signal {-code}" if code < 0 else f"exit code {code}, see {path}"
        group.lost = f"the process of device {rank} ended ({why})"
        with contextlib.suppress(Exception):  # not yet connected
            context.context().abort_collective_ops(14, group.lost)
        if not ending.wait(GRACE):  # this process still waits for it
            print(f"error: {group.ended()}", file=sys.stderr, flush=True)
            os._exit(1)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
        if process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
    finally:
        ending.set()
        process.kill()
        process.wait()
        process.stdin.close()


def tell(devices: Devices | None, given: dict[str, Any] | None, record: Record | None) -> None:
    """Tells the other processes what process 0 trains; None if there is nothing to train."""
    if devices and devices.processes > 1:
        state = given and record and {"given": given, "record": record.to_json()}
        devices.share(json.loads(json.dumps(state, default=str)))
