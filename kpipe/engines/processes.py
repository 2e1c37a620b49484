"""Jobs in several processes of this machine, which live as long as the engine.

A process is started by `subprocess`, not by `multiprocessing`: its environment is set before any
import, and it does not import the user's script, which may lack `if __name__ == "__main__"` or may
not be a file, as in a notebook. It is the leader of a session: Ctrl-C reaches the driver alone, and
a kill reaches the process' own children.
"""

import contextlib
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping

from ..errors import UserError
from . import processors
from .jobs import ATTEMPTS, Job, Outcome, pack, unpack
from .worker import GRACE

_PATIENCE = 0.5  # seconds between looks at processes that may have died without a word

# The driver's path of modules is used before anything of kpipe is imported.
_START = """
import sys
from multiprocessing.connection import Connection
connection = Connection(int(sys.argv[1]))
driver, sys.path[:], sys.argv[:] = connection.recv()
from kpipe.engines.worker import serve
serve(connection, driver)
"""


class Processes:
    """Runs each job in a process that has no other; a job whose process died is run again.

    Args:
        slots: Number of processes. Processors and GPUs are divided between them.
    """

    def __init__(self, slots: int):
        if os.name == "nt":
            raise UserError("jobs: several processes need Linux, macOS or WSL; leave jobs out")
        self.slots = slots
        self.threads = processors.threads_or(max(1, processors.usable_processors() // slots))
        threads = processors.thread_settings(self.threads)
        self._workers = [_Worker(threads | gpu) for gpu in processors.gpu_settings(slots)]

    def submit(self, job: Job) -> None:
        """Hands a job to an idle process.

        Raises:
            UserError: Its arguments cannot be pickled.
        """
        next(worker for worker in self._workers if worker.job is None).begin(job)

    def wait(self) -> Outcome:
        """Returns the outcome of the next job that ends.

        Raises:
            Stopped, Interrupted: A signal ended a job, which can be resumed.
        """
        while True:
            busy = [worker for worker in self._workers if worker.job is not None]
            assert busy, "no job was submitted"
            multiprocessing.connection.wait([w.connection for w in busy], timeout=_PATIENCE)
            for worker in busy:
                if outcome := worker.outcome():
                    return outcome

    def close(self) -> None:
        """Ends all processes: those with a job by SIGTERM, and SIGKILL if that is not obeyed."""
        try:
            for worker in self._workers:
                worker.stop()
            deadline = time.monotonic() + GRACE
            for worker in self._workers:
                worker.join(deadline)
        finally:
            for worker in self._workers:
                worker.kill()


class _Worker:
    """A process and its job; the process is started with the first job, and after a death."""

    connection: multiprocessing.connection.Connection

    def __init__(self, settings: Mapping[str, str]):
        self.job: Job | None = None
        self._settings = settings
        self._process: subprocess.Popen | None = None
        self._packed = b""
        self._deaths = 0

    def begin(self, job: Job) -> None:
        self._packed, self._deaths = pack(job), 0
        self.job = job
        self._send()

    def outcome(self) -> Outcome | None:
        """Returns what came of the job; None if it goes on, or is run again."""
        assert self.job is not None and self._process is not None
        ended = self._process.poll() is not None
        try:
            if self.connection.poll():
                answer = self.connection.recv_bytes()
            elif ended:
                raise EOFError
            else:
                return None
        except (EOFError, OSError):
            return self._bury()
        job, self.job = self.job, None
        return unpack(job, answer)

    def _bury(self) -> Outcome | None:
        """Runs a job again whose process has died; returns the outcome if that was the last one."""
        assert self.job is not None and self._process is not None
        self.join(time.monotonic() + 5)
        self.kill()
        self._deaths += 1
        reason = f"its process {_death(self._process.returncode)}"
        if self._deaths < ATTEMPTS:
            print(f"{self.job.name}: {reason}; it is run again", flush=True)
            self._send()
            return None
        job, self.job = self.job, None
        return Outcome(job, lost=f"{reason}, {ATTEMPTS} times")

    def _send(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self._start()
        with contextlib.suppress(OSError):  # it has just died: `outcome` notices
            self.connection.send_bytes(self._packed)

    def _start(self) -> None:
        self.kill()
        self.connection, far = multiprocessing.connection.Pipe()
        with far:
            self._process = subprocess.Popen(
                [sys.executable, *"-u -P -X faulthandler -c".split(), _START, str(far.fileno())],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self._settings},
                pass_fds=[far.fileno()],
                start_new_session=True,
            )
        with contextlib.suppress(OSError):
            self.connection.send((os.getpid(), sys.path, sys.argv))

    def stop(self) -> None:
        if self._process is not None:
            if self.job is not None:
                self._process.terminate()
            self.connection.close()

    def join(self, deadline: float) -> None:
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, deadline - time.monotonic()))

    def kill(self) -> None:
        """Kills what is left of the process, and its children."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _death(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    return f"was killed by {name}" + (" (often: out of memory)" if name == "SIGKILL" else "")
