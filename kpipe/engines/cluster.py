"""Jobs as tasks of a Ray cluster: https://docs.ray.io.

Ray decides on which machine a job runs, and ends the processes of a driver that has died. Whether a
job whose process or machine died is run again is decided here, as for processes of this machine.
"""

import contextlib
import dataclasses
import logging
import os
import pathlib
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import Interrupted, Stopped, UserError, first_line
from . import processors
from .jobs import ATTEMPTS, Fault, Job, Outcome, pack, unpack
from .worker import GRACE

_ANSWERS = 5.0  # seconds within which an address answers
_CHECKED = 120.0  # and within which each machine says what it has: it starts a process for that

# Variables of the driver that its jobs get as well: folders, and settings that change bits.
_HANDED_ON = ("KPIPE_", "TFDS_", "TF_")

_DEATHS = {
    "NodeDiedError": "its machine died",
    "OutOfMemoryError": "its process was killed by Ray: its machine was out of memory",
    "WorkerCrashedError": "its process died (often: out of memory)",
}


@dataclasses.dataclass
class _Run:
    job: Job
    packed: bytes
    deaths: int = 0


class Cluster:
    """Runs each job as a task of Ray.

    Args:
        address: HOST:PORT, ray://HOST:PORT, or "auto" on a machine of the cluster.
        slots: Number of jobs at a time; None for as many as the machines have room for.
        cpus: Processors of a job, and its threads.
        gpus: GPUs of a job.
        shared: Folder that all machines must see.

    Attributes:
        ray: The module, connected.
        path: Folders of this process's modules, which its workers look in as well.
        settings: Variables of the environment of its workers.

    Raises:
        UserError: Ray is missing, the cluster cannot be reached, has no room for a job, or one of
            its machines has other packages or does not see the folder.
    """

    def __init__(
        self,
        address: str,
        slots: int | None,
        *,
        cpus: int,
        gpus: float,
        shared: pathlib.Path | None,
    ):
        self._stack = contextlib.ExitStack()
        self._running: dict[Any, _Run] = {}
        self.threads = processors.threads_or(cpus)
        with contextlib.ExitStack() as stack:
            self.ray = stack.enter_context(_connected(address))
            token = stack.enter_context(_token_in(shared)) if shared else None
            perform_there, versions = _code()
            self.path = [folder for folder in sys.path if folder]  # a checkout may be on NFS
            self.settings = _settings(cpus, gpus)
            self._arguments = (self.path, self.settings, versions(), token)
            self._task = self.ray.remote(max_retries=0)(perform_there)
            self._needs = {"num_cpus": cpus, "num_gpus": gpus}
            nodes = [node for node in self.ray.nodes() if node["Alive"]]
            room = {node["NodeID"]: _room(node["Resources"], cpus, gpus) for node in nodes}
            self.slots = slots or sum(room.values())
            if not self.slots:
                raise UserError(
                    f"cluster {address}: none of its {len(nodes)} machines has {cpus} processors "
                    f"and {gpus:g} GPUs for a job; let a job need less, or add machines"
                )
            self._check([node for node, places in room.items() if places])
            self._stack = stack.pop_all()

    def submit(self, job: Job) -> None:
        """Hands a job to Ray.

        Raises:
            UserError: Its arguments cannot be pickled.
        """
        self._begin(_Run(job, pack(job)))

    def wait(self) -> Outcome:
        """Returns the outcome of the next job that ends.

        Raises:
            UserError: A machine that joined the cluster later differs from this one.
        """
        errors = self.ray.exceptions
        while True:
            assert self._running, "no job was submitted"
            (ready, *_), _ = self.ray.wait(list(self._running), num_returns=1)
            run = self._running.pop(ready)
            try:
                refusal, answer = self.ray.get(ready)
                if refusal:
                    raise UserError(refusal)
                return unpack(run.job, answer)
            except errors.RayTaskError as error:  # before the job began
                return Outcome(run.job, error=Fault(first_line(error.cause), str(error)))
            except (errors.RayError, Stopped, Interrupted) as error:
                reason = _DEATHS.get(
                    type(error).__name__, f"its process ended: {first_line(error)}"
                )
            run.deaths += 1
            if run.deaths == ATTEMPTS:
                return Outcome(run.job, lost=f"{reason}, {ATTEMPTS} times")
            print(f"{run.job.name}: {reason}; it is run again", flush=True)
            self._begin(run)

    def close(self) -> None:
        """Ends all jobs, which may first save their state, and disconnects."""
        try:
            for ready in self._running:
                self.ray.cancel(ready)
            if self._running:
                self.ray.wait(list(self._running), num_returns=len(self._running), timeout=GRACE)
        finally:
            self._stack.close()

    def _begin(self, run: _Run) -> None:
        task = self._task.options(name=run.job.name, **self._needs)
        self._running[task.remote(run.packed, *self._arguments)] = run

    def _check(self, nodes: list[str]) -> None:
        """Asks each machine whether jobs can run there."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
        asked = [
            self._task.options(num_cpus=0, scheduling_strategy=node).remote(None, *self._arguments)
            for node in there
        ]
        try:
            answers = self.ray.get(asked, timeout=_CHECKED)
        except self.ray.exceptions.RayError as error:
            raise UserError(
                f"a machine of the cluster runs no task: {first_line(error)}; see `ray status`"
            ) from None
        for refusal, _ in answers:
            if refusal:
                raise UserError(refusal)


def _code() -> tuple[Callable[..., tuple[str, bytes]], Callable[[], dict[str, str]]]:
    """Returns functions that Ray sends as code, since they find out whether kpipe is there."""

    def versions() -> dict[str, str]:
        import importlib
        from importlib import metadata

        found = {}
        for name in ("kpipe", "tensorflow", "keras", "numpy"):
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                found[name] = "missing"
        try:
            found["kpipe"] = importlib.import_module("kpipe").__version__
        except ImportError:
            found["kpipe"] = "missing"
        return found

    def perform_there(
        packed: bytes | None,
        path: list[str],
        settings: dict[str, str],
        expected: dict[str, str],
        token: pathlib.Path | None,
    ) -> tuple[str, bytes]:
        import importlib
        import os
        import sys

        import ray

        sys.path += [folder for folder in path if folder not in sys.path]
        machine = f"the machine {ray.util.get_node_ip_address()} of the cluster"
        for name, found in versions().items():
            if found != expected[name]:
                return (
                    f"{machine} has {name} {found}, and this one {expected[name]}; install the "
                    "same versions on all",
                    b"",
                )
        if token is not None and not token.exists():
            return (
                f"{machine} does not see the folder {token.parent}; choose one that all machines "
                "share under the same path, such as one on NFS, with --out DIR",
                b"",
            )
        if packed is None:
            return "", b""
        os.environ.update(settings)  # before TensorFlow is imported: a process has only such jobs
        worker = importlib.import_module("kpipe.engines.worker")
        return "", worker.perform_until_stopped(packed)

    return perform_there, versions


def _settings(cpus: int, gpus: float) -> dict[str, str]:
    handed_on = {key: text for key, text in os.environ.items() if key.startswith(_HANDED_ON)}
    handed_on |= processors.thread_settings(processors.threads_or(cpus))
    if not gpus:  # Ray would show all of the machine's
        handed_on["CUDA_VISIBLE_DEVICES"] = "-1"
    elif gpus < 1:
        handed_on["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    return handed_on


def _room(resources: dict[str, float], cpus: int, gpus: float) -> int:
    """Returns how many jobs fit on a machine."""
    places = resources.get("CPU", 0) // cpus
    return int(min(places, resources.get("GPU", 0) // gpus) if gpus else places)


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Yields Ray, connected to a cluster; a connection that the user has made already remains."""
    try:
        import ray
    except ImportError:
        raise UserError(
            f"cluster {address}: Ray is missing; pip install 'kpipe[cluster]'"
        ) from None
    if ray.is_initialized():
        yield ray
        return
    _check_address(address)
    ray._private.worker._worker_logs_enabled = False  # of dead processes; we say that ourselves
    main = threading.current_thread() is threading.main_thread()
    stop = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (Exception, SystemExit) as error:  # SystemExit: what answers is not Ray
        raise UserError(
            f"cluster {address}: {' '.join(str(error).split())}; `ray status` on one of its "
            "machines says whether it runs"
        ) from None
    finally:
        if main:  # Ray installs its own
            signal.signal(signal.SIGTERM, stop or signal.SIG_DFL)
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Refuses an address where nobody listens: Ray would try for two minutes."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f'cluster {address!r}; expected HOST:PORT, ray://HOST:PORT or "auto"')
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWERS).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"cluster {address}: nobody answers ({first_line(error)}); begin one with "
            "`ray start --head`, which says its address"
        ) from None


@contextlib.contextmanager
def _token_in(shared: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a file of the shared folder by which machines recognize it."""
    token = shared.absolute() / f".cluster-{uuid.uuid4().hex[:12]}"
    token.touch()
    try:
        yield token
    finally:
        token.unlink(missing_ok=True)
