"""Finished runs: record, metrics, history and predictions.

`kpipe.runs()` is a public function and `kpipe.runs` this package: the package can be called.
"""

import os
import sys
import types
from typing import TYPE_CHECKING

from .folder import Metrics, Run, first_kernel, open_run, read_history, read_predictions
from .listing import runs
from .record import (
    FORMAT_VERSION,
    CalibrationRecord,
    DataRecord,
    LayerRecord,
    ModelRecord,
    ProofRecord,
    Record,
    TargetRecord,
    TrainingRecord,
    describe_difference,
    read_record,
)

if TYPE_CHECKING:
    import pandas

__all__ = [
    "FORMAT_VERSION",
    "CalibrationRecord",
    "DataRecord",
    "LayerRecord",
    "Metrics",
    "ModelRecord",
    "ProofRecord",
    "Record",
    "Run",
    "TargetRecord",
    "TrainingRecord",
    "describe_difference",
    "first_kernel",
    "open_run",
    "read_history",
    "read_predictions",
    "read_record",
    "runs",
]


class _Callable(types.ModuleType):
    def __call__(self, out: str | os.PathLike = "saved_models") -> "pandas.DataFrame":
        """See `listing.runs`."""
        return runs(out)


sys.modules[__name__].__class__ = _Callable
