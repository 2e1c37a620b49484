"""Training: one exact state, resumable at any step."""

from .loop import History
from .trainer import Trainer, choose_plan, leaf_layers, weights_sha256

__all__ = ["History", "Trainer", "choose_plan", "leaf_layers", "weights_sha256"]
