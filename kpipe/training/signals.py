"""Signals during training: the state is saved before they end it."""

import contextlib
import signal
import threading
import types
from collections.abc import Iterator

from ..errors import Interrupted, Stopped
from ..quiet import in_kernel


class Flag:
    """Whether a signal has come, and which: true from then on."""

    number: int | None = None

    def __bool__(self) -> bool:
        return self.number is not None

    def error(self, step: int) -> Interrupted | Stopped:
        """Returns the error with which it ends a training whose state is saved at a step."""
        assert self.number is not None
        kind = Interrupted if self.number == signal.SIGINT else Stopped
        name = signal.Signals(self.number).name
        return kind(f"stopped by {name} at step {step}; the same command resumes there")


@contextlib.contextmanager
def flagged(flag: Flag) -> Iterator[None]:
    """Notes the first Ctrl-C or SIGTERM in `flag`, so that no step is interrupted.

    A second one ends the process immediately; in a notebook Ctrl-C only ends the cell.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(number: int, frame: types.FrameType | None) -> None:
        flag.number = number
        for other, handler in previous.items():
            signal.signal(other, handler if in_kernel() else signal.SIG_DFL)

    numbers = (signal.SIGINT, signal.SIGTERM)
    # None is a handler that was not installed from Python.
    previous = {number: signal.getsignal(number) or signal.SIG_DFL for number in numbers}
    for number in numbers:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
