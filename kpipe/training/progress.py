"""Progress of training: a bar with the time left, or lines with an epoch each."""

import math
import sys
import time
from collections.abc import Mapping

import keras

from ..formatting import duration


class Progress:
    """Prints the progress of training: Keras' bar on a terminal, otherwise one line per epoch.

    Of more than `LINES` epochs those are left out that end soon after a printed one, so that a
    training of a few seconds does not fill the cell of a notebook or a log.

    Args:
        epochs: Number of epochs of the whole run.
        steps_per_epoch: Number of steps of one epoch.
        step: The global step to begin with.
        start: The global step to begin with unless the run is resumed.
    """

    # Seconds to wait for the estimate, which begins after the first steps, which compile.
    ESTIMATE_AFTER = 3.0
    LINES = 30
    SECONDS = 2.0  # between two lines

    def __init__(self, epochs: int, steps_per_epoch: int, step: int, start: int = 0):
        self.epochs, self.steps_per_epoch = epochs, steps_per_epoch
        self.terminal = sys.stdout.isatty()
        self.bar: keras.utils.Progbar | None = None
        self.first_step = step
        self.steps = 0  # in this process
        self.clock: tuple[float, int] | None = None  # (time, steps) after compilation
        self.estimated = False
        self.printed = -math.inf  # when the last line was
        if step != start:
            epoch, within = divmod(step, steps_per_epoch)
            print(f"resuming at epoch {epoch + 1}, step {within:,} of {steps_per_epoch:,}")

    def begin(self, epoch: int) -> None:
        if self.terminal:
            print(f"epoch {epoch + 1}/{self.epochs}")
            self.bar = keras.utils.Progbar(self.steps_per_epoch)
        self.epoch_start = epoch * self.steps_per_epoch

    def step(self, within: int, logs: Mapping) -> None:
        """Shows that `within` steps of the epoch are done."""
        self.steps = self.epoch_start + within - self.first_step
        if self.bar:
            # The last update would end the bar: validation does it.
            values = [(name, float(value)) for name, value in logs.items() if "/" not in name]
            self.bar.stateful_metrics.update(name for name, _ in values)
            self.bar.update(within, values, finalize=False)
        if not self.estimated:
            self._estimate()

    def _estimate(self) -> None:
        now = time.monotonic()
        if self.clock is None:
            self.clock = (now, self.steps)
        elif now - self.clock[0] > self.ESTIMATE_AFTER:
            per_step = (now - self.clock[0]) / max(1, self.steps - self.clock[1])
            left = self.epochs * self.steps_per_epoch - self.first_step - self.steps
            newline = "\n" if self.bar else ""
            print(
                f"{newline}{1000 * per_step:.1f} ms per step: all {self.epochs} epochs need about "
                f"{duration(left * per_step)} more; early stopping may end training sooner",
                flush=True,
            )
            self.estimated = True

    def end(self, row: Mapping) -> None:
        """Shows a finished epoch: its row of the history, without parts of metrics."""
        metrics = {
            k: v for k, v in row.items() if k not in ("epoch", "step", "seconds") and "/" not in k
        }
        if self.bar:
            self.bar.stateful_metrics.update(metrics)
            self.bar.update(self.steps_per_epoch, list(metrics.items()), finalize=True)
            return
        now = time.monotonic()
        whole = self.epochs <= self.LINES or row["epoch"] == self.epochs
        if whole or now - self.printed >= self.SECONDS:
            self.printed = now
            shown = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            width = len(str(self.epochs))
            print(
                f"epoch {row['epoch']:{width}}/{self.epochs}  {duration(row['seconds'])}  {shown}",
                flush=True,
            )
