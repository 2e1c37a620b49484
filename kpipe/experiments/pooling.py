"""All examples but those of test, to be divided into folds."""

import numpy as np

from ..data import Data, Split
from ..datasets.own.division import joined
from .experiment import Experiment


def pool_of(experiment: Experiment, data: Data) -> tuple[Split, np.ndarray | None]:
    """Returns train and val as one split, and what of it belongs together.

    Args:
        experiment: The experiment.
        data: Its prepared data.

    Returns:
        The split, and a number for each example: equal for copies, and for what the source keeps
        together, such as the examples of a patient; None if each example stands alone.
    """
    source, pool = experiment.source, data.with_val_in_train().train
    groups = [
        source.groups(split)[rows]
        for split, rows in places(experiment, data, pool).items()
        if source.groups is not None
    ]
    keys = [pool.column.digests(pool.rows), *([np.concatenate(groups)] if groups else [])]
    together = joined(*keys)
    return pool, together if together.max() + 1 < len(together) else None


def places(experiment: Experiment, data: Data, pool: Split) -> dict[str, np.ndarray]:
    """Returns the rows of a pool in the splits of its source; val is usually a part of train."""
    if data.val is not None and "val" in experiment.source.examples:
        return {"train": data.train.rows, "val": data.val.rows}
    return {"train": pool.rows}
