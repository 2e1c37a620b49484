"""What a model may answer: finite numbers, and probabilities that are some."""

from collections.abc import Mapping

import numpy as np

# Allowed deviation of probabilities from 0 to 1 and of their sum from 1; larger than float16
# rounding.
TOLERANCE = 1e-2
PROBABILITIES = ("probabilities", "calibrated")


def find_wrong(outputs: Mapping[str, np.ndarray], exclusive: bool) -> tuple[int, str] | None:
    """Finds the first row of a model's outputs that is no answer.

    Args:
        outputs: Arrays with one row per example, by name.
        exclusive: Whether a row of probabilities sums to 1: an example has one class.

    Returns:
        The row and what is wrong with it; None if all are right.

    Example:
        find_wrong({"probabilities": np.array([[0.5, 0.5], [0.5, 0.7]])}, True)[0]  # 1
    """
    for name, values in outputs.items():
        if values.dtype.kind != "f" or not values.size:
            continue
        rows = values.reshape(len(values), -1)
        finite = np.isfinite(rows).all(axis=1)
        if not finite.all():
            return int(finite.argmin()), f"the model's {name} contains NaN or infinity"
        if name not in PROBABILITIES:
            continue
        outside = (rows < -TOLERANCE) | (rows > 1 + TOLERANCE)
        if outside.any():
            row, column = np.argwhere(outside)[0]
            return int(row), f"the model's {name} contains {rows[row, column]:.3g}; expected 0 to 1"
        sums = rows.sum(axis=1, dtype=np.float64)
        wrong = np.abs(sums - 1) > TOLERANCE
        if exclusive and wrong.any():
            row = int(wrong.argmax())
            return row, f"the model's {name} sum to {sums[row]:.3g}; expected 1"
    return None
