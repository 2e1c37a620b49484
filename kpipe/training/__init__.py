"""Training: the Trainer's settings, the loop and its exact state."""

from .batches import Schedule, training_batches
from .history import History
from .loop import Loop
from .progress import Progress
from .steps import make_train_function
from .trainer import Trainer, choose_plan, leaf_layers, weights_sha256

__all__ = [
    "History",
    "Loop",
    "Progress",
    "Schedule",
    "Trainer",
    "choose_plan",
    "leaf_layers",
    "make_train_function",
    "training_batches",
    "weights_sha256",
]
