"""Jobs in this process, one after another."""

from ..errors import RunError, UserError
from .jobs import Job, Outcome
from .processors import threads_or, usable_processors


class Local:
    """Calls each job when its outcome is awaited; an unexpected exception keeps its traceback."""

    slots = 1

    def __init__(self) -> None:
        self.threads = threads_or(usable_processors())
        self._job: Job | None = None

    def submit(self, job: Job) -> None:
        """Remembers a job."""
        assert self._job is None, "there is one slot"
        self._job = job

    def wait(self) -> Outcome:
        """Calls the job."""
        job, self._job = self._job, None
        assert job is not None, "no job was submitted"
        try:
            return Outcome(job, job.function(**job.arguments))
        except (UserError, RunError) as error:
            return Outcome(job, error=error)

    def close(self) -> None:
        """Has nothing to end."""
