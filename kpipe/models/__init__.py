"""Functional model builders: Keras layers in, an uncompiled keras.Model out."""

from .cnn import cnn
from .mlp import mlp
from .resnet import resnet18
from .transfer import backbone, load_backbone

__all__ = ["backbone", "cnn", "load_backbone", "mlp", "resnet18"]
