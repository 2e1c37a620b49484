"""History of a training, one row per epoch."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import UserError


@dataclasses.dataclass
class History:
    """The history of a training.

    Attributes:
        rows: One dict per epoch: epoch (from 1), step, seconds, learning_rate, and every metric;
            for a `MultiOptimizer` learning_rate_NAME of each optimizer.
        step: Number of batches trained on.
        seconds: Duration of training and validation, over all resumed parts.
        waiting_seconds: The part of it in which a step waited for its batch.
        stopped_by: "epochs", "early stopping", "budget", or "callback" if a callback set
            `stop_training`.
        best_epoch: The epoch whose weights the model has.
        resumed_at: Step of the checkpoint that this process resumed from, or 0.
        feature_seconds: Duration of computing the features of a frozen backbone, which is part of
            `seconds`; None if they were not cached.
        frozen_epochs: Epochs before fine-tuning; None without it.
    """

    rows: list[dict] = dataclasses.field(default_factory=list)
    step: int = 0
    seconds: float = 0.0
    waiting_seconds: float = 0.0
    stopped_by: str | None = None
    best_epoch: int = 0
    resumed_at: int = 0
    feature_seconds: float | None = None
    frozen_epochs: int | None = None

    @property
    def columns(self) -> dict[str, list]:
        """The rows by column, like `keras.callbacks.History.history`."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return {name: [row.get(name) for row in self.rows] for name in names}

    def to_csv(self) -> str:
        columns = self.columns
        lines = [",".join(columns)]
        for values in zip(*columns.values(), strict=True):
            lines.append(",".join("" if value is None else repr(value) for value in values))
        return "\n".join(lines) + "\n"


def numbers(logs: Mapping) -> dict[str, float]:
    """Converts logs to plain numbers.

    Raises:
        UserError: A metric is an array, which a history cannot contain.
    """
    for name, value in logs.items():
        if np.size(value) != 1:
            raise UserError(
                f"metric {name} is an array of shape {tuple(np.shape(value))}; expected one "
                "number: set the metric's average=..., such as F1Score(average='macro')"
            )
    return {name: float(value) for name, value in logs.items()}


def metrics_of(row: Mapping) -> dict[str, float]:
    """Extracts the logs of an epoch from its row of the history."""
    own = ("epoch", "step", "seconds")
    return {k: v for k, v in row.items() if k not in own and not k.startswith("learning_rate")}


def times_faster(epoch_seconds: Sequence[float], feature_seconds: float) -> tuple[float, float]:
    """Compares an epoch on cached features with one through the backbone.

    An epoch through the backbone is what the features took, which is one pass, and the head's part.

    Args:
        epoch_seconds: Duration of each epoch on features; the first, which compiles, counts only
            if there is no other.
        feature_seconds: Duration of the computation of the features.

    Returns:
        Seconds of an epoch on features (median), and the ratio.

    Example:
        times_faster([2.0, 0.5, 0.5], 9.5)  # (0.5, 20.0)
    """
    epoch = float(np.median(epoch_seconds[1:] or epoch_seconds))
    return epoch, (feature_seconds + epoch) / max(epoch, 1e-9)
