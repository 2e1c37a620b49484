"""Training: one exact state, resumable at any step."""

from .trainer import Trainer, choose_plan, leaf_layers, weights_sha256

__all__ = ["Trainer", "choose_plan", "leaf_layers", "weights_sha256"]
