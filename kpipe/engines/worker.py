"""A process that performs the jobs of another one, until that ends."""

import os
import signal
import threading
import time
import types
from multiprocessing.connection import Connection

from ..errors import Stopped
from .jobs import perform

GRACE = 30.0  # seconds from SIGTERM to SIGKILL, in which a training saves its state


def serve(connection: Connection, driver: int) -> None:
    """Performs the jobs that arrive, one after another.

    Ctrl-C is the driver's matter. SIGTERM ends a job as it ends a run, with `Stopped`.

    Args:
        connection: Brings packed jobs, takes the answers; the driver closes it to end the process.
        driver: Its process id; the process ends as well when that one has ended, or was killed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    os.set_inheritable(connection.fileno(), False)
    threading.Thread(target=_end_with, args=(driver,), daemon=True).start()
    try:
        while True:
            connection.send_bytes(perform(connection.recv_bytes()))
    except (EOFError, OSError):  # the driver has closed it, or has died
        pass
    finally:
        if os.getppid() != driver:  # which else does it
            os.killpg(0, signal.SIGKILL)  # this process and children that its jobs left


def perform_until_stopped(packed: bytes) -> bytes:
    """Performs a job in a process of Ray, whose SIGTERM ends it as it ends a run."""
    own = signal.signal(signal.SIGTERM, _stop)
    try:
        return perform(packed)
    finally:
        signal.signal(signal.SIGTERM, own)


def _stop(number: int, frame: types.FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)  # a second one ends the process immediately
    raise Stopped("stopped by SIGTERM; the same command resumes an unfinished run")


def _end_with(driver: int) -> None:
    while os.getppid() == driver:
        time.sleep(0.5)
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGTERM)
    time.sleep(GRACE)
    os.killpg(0, signal.SIGKILL)
