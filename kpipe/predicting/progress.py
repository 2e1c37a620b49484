"""Progress of many predictions: a line that is renewed on a terminal, or one now and then."""

import sys
import time

from ..formatting import duration


class Progress:
    """Prints to standard error how many inputs are answered, and how long the rest takes.

    Args:
        total: Number of all inputs; None if it is not known.
        shown: False where answers themselves appear on the terminal.
    """

    AFTER = 3.0  # seconds before the first line
    EVERY = 30.0  # seconds between two lines of a log

    def __init__(self, total: int | None, shown: bool):
        self.total, self.shown = total, shown
        self.is_terminal = sys.stderr.isatty()
        self.done = 0
        self.started = time.monotonic()
        self.printed = self.started - self.EVERY + self.AFTER
        self.width = 0

    def add(self, count: int) -> None:
        """Counts answers, and says so if enough time has passed."""
        self.done += count
        now = time.monotonic()
        if self.shown and now - self.printed > (0.2 if self.is_terminal else self.EVERY):
            if self.is_terminal and now - self.started < self.AFTER / 3:
                return
            self.printed = now
            self._print(now - self.started)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *error: object) -> None:
        """Removes the line of a terminal, also before an error is said."""
        if self.width:
            print("\r" + " " * self.width, end="\r", file=sys.stderr, flush=True)

    def _print(self, seconds: float) -> None:
        rate = self.done / max(seconds, 1e-9)
        of = f" of {self.total:,}" if self.total else ""
        text = f"{self.done:,}{of}  {rate:,.0f} a second"
        if self.total:
            text += f"  {duration(max(0, self.total - self.done) / rate)} left"
        if self.is_terminal:
            line, self.width = text.ljust(self.width), max(self.width, len(text))
            print(f"\r{line}", end="", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)
