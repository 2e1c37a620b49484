"""Engines: where jobs run. In this process, in several of this machine, or on a Ray cluster.

They know nothing of experiments, and import no TensorFlow: a process does that in its first job,
when its environment is set.
"""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Protocol

from ..errors import UserError
from .jobs import ATTEMPTS, Fault, Job, Outcome
from .processors import thread_settings, threads_or, usable_processors

__all__ = [
    "ATTEMPTS",
    "Engine",
    "Fault",
    "Job",
    "Outcome",
    "open_engine",
    "thread_settings",
    "threads_or",
    "usable_processors",
]


class Engine(Protocol):
    """Runs jobs: `submit` at most `slots` of them, then `wait` for each that ends."""

    slots: int
    threads: int  # of each job; they change the last bits of its result

    def submit(self, job: Job) -> None:
        """Begins a job."""

    def wait(self) -> Outcome:
        """Returns the outcome of the next job that ends."""

    def close(self) -> None:
        """Ends all jobs and processes."""


@contextlib.contextmanager
def open_engine(
    jobs: int | None = None,
    cluster: str | None = None,
    *,
    cpus: int = 1,
    gpus: float = 0,
    shared: pathlib.Path | None = None,
) -> Iterator[Engine]:
    """Yields an engine; when the block ends, for whatever reason, its processes end as well.

    Args:
        jobs: Number of processes of this machine, or of jobs at a time on the cluster; None to
            call the jobs in this process, or to run as many as the cluster has room for.
        cluster: Address of a Ray cluster: HOST:PORT, ray://HOST:PORT, or "auto" on one of its
            machines.
        cpus: Processors of a job on the cluster, and its threads.
        gpus: GPUs of a job on the cluster; 0.5 for two jobs on one.
        shared: Folder that all machines of the cluster must see under the same path.

    Raises:
        UserError: An argument is wrong, or the cluster cannot be used.

    Example:
        with open_engine(jobs=2) as engine:
            engine.submit(Job("first", dict, {"seed": 0}))
            outcome = engine.wait()
        outcome.result  # {"seed": 0}
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"jobs={jobs}; expected a number of processes, 1 or more")
    engine: Engine
    if cluster is not None:
        from .cluster import Cluster

        engine = Cluster(cluster, jobs, cpus=cpus, gpus=gpus, shared=shared)
    elif jobs is not None:
        from .processes import Processes

        engine = Processes(jobs)
    else:
        from .local import Local

        engine = Local()
    try:
        yield engine
    finally:
        engine.close()
