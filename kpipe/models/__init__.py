"""Functional model builders: Keras layers in, an uncompiled keras.Model out."""

from .cnn import cnn
from .mlp import mlp

__all__ = ["cnn", "mlp"]
