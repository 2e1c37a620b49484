import contextlib
import dataclasses
from typing import Any


class Fault(Exception): ...


@dataclasses.dataclass(frozen=True)
class Job:
    name: str
    function: Any
    arguments: dict
    log: Any = None


@dataclasses.dataclass(frozen=True)
class Outcome:
    job: Job
    result: Any = None
    error: Any = None
    lost: str = ""


class Engine:
    slots = 1
    threads = 1

    def submit(self, job):
        self.job = job

    def wait(self):
        return Outcome(self.job, self.job.function(**self.job.arguments))


@contextlib.contextmanager
def open_engine(jobs, cluster, *, shared=None, cpus=1, gpus=0):
    yield Engine()
