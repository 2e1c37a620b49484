"""Jobs on a Ray cluster."""

import pathlib

from ..errors import UserError
from .jobs import Job, Outcome


class Cluster:
    """Runs each job as a task of Ray."""

    def __init__(self, address: str, *, cpus: int, gpus: float, shared: pathlib.Path | None):
        self.slots, self.threads = 1, cpus
        raise UserError(f"{address}: not yet")

    def submit(self, job: Job) -> None:
        """Begins a task."""

    def wait(self) -> Outcome:
        """Returns the outcome of the next task that ends."""
        raise NotImplementedError

    def close(self) -> None:
        """Disconnects."""
