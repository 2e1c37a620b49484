"""Export: writing a SavedModel, proving that it equals the trained model, and loading it."""

from .golden import TEST, Case, Comparison, read_npz, write_golden, write_npz
from .versions import keep_versions, next_version, publish, versions_of
from .writing import Endpoints, export, prove

__all__ = [
    "TEST",
    "Case",
    "Comparison",
    "Endpoints",
    "export",
    "keep_versions",
    "next_version",
    "prove",
    "publish",
    "read_npz",
    "versions_of",
    "write_golden",
    "write_npz",
]
