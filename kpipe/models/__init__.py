"""Functional model builders: Keras layers in, an uncompiled keras.Model out."""

from .cnn import cnn
from .embeddings import load_embeddings
from .mlp import mlp
from .resnet import resnet18
from .text import attention_scores, bag_of_embeddings, recurrent, transformer
from .transfer import backbone, load_backbone

__all__ = [
    "attention_scores",
    "backbone",
    "bag_of_embeddings",
    "cnn",
    "load_backbone",
    "load_embeddings",
    "mlp",
    "recurrent",
    "resnet18",
    "transformer",
]
