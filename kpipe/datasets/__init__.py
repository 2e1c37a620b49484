"""The catalogue: where raw examples come from. Nothing is read before it is asked for."""

from .base import Augmentation, Dataset, Source
from .celeb_a import celeba
from .cifar10 import cifar10
from .grocery_store import grocery_store
from .mnist import mnist
from .points import gmm, one_example, peaks, swiss_roll, truth_table

__all__ = [
    "Augmentation",
    "Dataset",
    "Source",
    "celeba",
    "cifar10",
    "gmm",
    "grocery_store",
    "mnist",
    "one_example",
    "peaks",
    "swiss_roll",
    "truth_table",
]
