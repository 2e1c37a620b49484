"""Export: writing a SavedModel, proving that it equals the trained model, and loading it."""

from .golden import TEST, Case, Comparison, read_npz, write_golden, write_npz
from .writing import Endpoints, export, prove

__all__ = [
    "TEST",
    "Case",
    "Comparison",
    "Endpoints",
    "export",
    "prove",
    "read_npz",
    "write_golden",
    "write_npz",
]
