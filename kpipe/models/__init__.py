"""Model builders: functions that take plain arguments and return an uncompiled keras.Model."""

from .autoencoder import autoencoder
from .cnn import cnn
from .denoiser import denoiser
from .embeddings import load_embeddings
from .initialization import initialize
from .mlp import mlp
from .pretrained import pretrained
from .resnet import resnet18
from .tabular import tabular
from .text import attention_scores, bag_of_embeddings, recurrent, transformer
from .transfer import backbone, load_backbone
from .vae import Latents, discrete_sizes, joint_vae, latents, vae

__all__ = [
    "Latents",
    "attention_scores",
    "autoencoder",
    "backbone",
    "bag_of_embeddings",
    "cnn",
    "denoiser",
    "discrete_sizes",
    "initialize",
    "joint_vae",
    "latents",
    "load_backbone",
    "load_embeddings",
    "mlp",
    "pretrained",
    "recurrent",
    "resnet18",
    "tabular",
    "transformer",
    "vae",
]
