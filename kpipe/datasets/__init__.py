"""The catalogue: where raw examples come from. Nothing is read before it is asked for."""

from .base import Augmentation, Dataset, Source
from .celeb_a import celeba
from .mnist import mnist

__all__ = ["Augmentation", "Dataset", "Source", "celeba", "mnist"]
