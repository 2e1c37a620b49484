"""Columns that give the target away: a network that reads them learns nothing else."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_MAX_VALUES = 10_000  # different values of a column that may determine the target
_ALMOST_ONE = 0.9999  # correlation of a column that is the target in another unit


class Determined:
    """Whether each value of a column has one target, in different rows; from pieces of a table."""

    def __init__(self) -> None:
        self.values: pd.DataFrame | None = None
        self.possible = True

    def add(self, values: "np.ndarray", targets: "np.ndarray", rows: "np.ndarray") -> None:
        """Adds a piece.

        Args:
            values: uint64 (n,) hashes of the column's values, without missing ones.
            targets: uint64 (n,) hashes of the targets.
            rows: uint64 (n,) hashes of all inputs: copies of a row say nothing new.
        """
        import pandas as pd

        if not self.possible or not len(values):
            return
        piece = pd.DataFrame(
            {"value": values, "low": targets, "high": targets, "first": rows, "last": rows}
        )
        both = [piece] if self.values is None else [self.values, piece]
        self.values = (
            pd.concat(both)
            .groupby("value", as_index=False)
            .agg({"low": "min", "high": "max", "first": "min", "last": "max"})
        )
        self.possible = (
            bool((self.values["low"] == self.values["high"]).all())
            and len(self.values) <= _MAX_VALUES
        )

    @property
    def found(self) -> bool:
        """Whether at least half of the values are in several rows, and have several targets."""
        if not self.possible or self.values is None:
            return False
        several = self.values[self.values["first"] != self.values["last"]]
        return 2 * len(several) >= len(self.values) and several["low"].nunique() > 1


class Correlation:
    """Pearson's correlation of a column and the target, from pieces of a table."""

    def __init__(self) -> None:
        import numpy as np

        self.shift: np.ndarray | None = None
        self.count, self.sums, self.products = 0, np.zeros(2), np.zeros((2, 2))

    def add(self, values: "np.ndarray", targets: "np.ndarray") -> None:
        """Adds a piece of float64 (n,) without missing values."""
        import numpy as np

        if not len(values):
            return
        pairs = np.stack([values, targets])
        if self.shift is None:  # sums of squares of large numbers with small differences
            self.shift = pairs.mean(axis=1, keepdims=True)
        pairs = pairs - self.shift
        self.count += pairs.shape[1]
        self.sums += pairs.sum(axis=1)
        self.products += pairs @ pairs.T

    @property
    def found(self) -> bool:
        """Whether the column is the target, but for its unit."""
        import numpy as np

        if self.count < 3:
            return False
        covariance = self.products - np.outer(self.sums, self.sums) / self.count
        deviations = covariance[0, 0] * covariance[1, 1]
        return bool(deviations > 0 and covariance[0, 1] ** 2 > _ALMOST_ONE**2 * deviations)
