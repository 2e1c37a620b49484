"""Inputs by which int8 chooses its scales: examples of val, never of test."""

from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import UserError
from ..experiments.continuing import arguments_of
from ..experiments.running import open_experiment
from ..inputs import TableColumns
from ..inputs.tables import as_arguments
from .source import ENCODED, Source

EXAMPLES = 256


def examples_of(source: Source) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
    """Draws examples of val, or of train if there is no val, with the run's seed.

    The data are found through run.json, and prepared again if they are not in the cache.

    Returns:
        Inputs by endpoint and argument; and what is recorded: split, number, seed.

    Raises:
        UserError: The data do not exist any more, or are others than those of the run.
    """
    record, folder = source.run.record, source.run.folder
    experiment = open_experiment(plan=record.plan, **arguments_of(record, folder))
    data = experiment.prepare()
    if data.fingerprint != record.data.fingerprint:
        raise UserError(
            f"{folder}: the data that are found now are not those of the run; int8 chooses its "
            "scales by examples of its val split: restore them, or leave out --quantize"
        )
    split = data.val or data.train
    drawn = np.random.default_rng(record.seed).permutation(len(split))[:EXAMPLES]
    rows = split.rows[np.sort(drawn)]
    column, given = split.column, {}
    for endpoint in source.endpoints:
        argument = next(iter(endpoint.specs))
        if endpoint.name == "decode":
            codes = source.model.signatures["encode"](tf.constant(column.take(rows)))["code"]
            given[endpoint.name] = {argument: codes.numpy()}
        elif isinstance(column, TableColumns) and endpoint.name != ENCODED:
            named = as_arguments(data.input.columns, column.table.take(rows))  # type: ignore[union-attr]
            given[endpoint.name] = {name: np.ascontiguousarray(v) for name, v in named.items()}
        else:
            given[endpoint.name] = {argument: np.asarray(column.take(rows))}
    about = {"split": "val" if data.val else "train", "examples": len(rows), "seed": record.seed}
    return given, about
