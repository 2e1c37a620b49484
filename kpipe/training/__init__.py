"""Training: the Trainer's settings, the loop and its exact state."""

from .batches import Schedule, training_batches
from .checkpoint import weights_sha256
from .devices import Devices
from .history import History, times_faster
from .loop import Loop
from .plan import check_plan, choose_plan, leaf_layers
from .progress import Progress
from .steps import make_train_function
from .trainer import Trainer

__all__ = [
    "Devices",
    "History",
    "Loop",
    "Progress",
    "Schedule",
    "Trainer",
    "check_plan",
    "choose_plan",
    "leaf_layers",
    "make_train_function",
    "times_faster",
    "training_batches",
    "weights_sha256",
]
