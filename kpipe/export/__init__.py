"""SavedModel out, the proof that it equals the trained model, and SavedModel in."""

from .golden import TEST, Case, Comparison, write_golden, write_npz
from .writing import Endpoints, export, prove

__all__ = [
    "TEST",
    "Case",
    "Comparison",
    "Endpoints",
    "export",
    "prove",
    "write_golden",
    "write_npz",
]
