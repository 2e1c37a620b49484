"""Finished runs: record, metrics, history and predictions."""

from .comparison import Cell, Comparison, Pair
from .folder import Metrics, Run, first_kernel, open_run, read_history, read_predictions
from .hparams import write_hparams
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

__all__ = [
    "FORMAT_VERSION",
    "CalibrationRecord",
    "Cell",
    "Comparison",
    "DataRecord",
    "LayerRecord",
    "Metrics",
    "ModelRecord",
    "Pair",
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
    "write_hparams",
]
