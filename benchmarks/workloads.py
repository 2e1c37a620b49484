"""The networks that the benchmark trains, on random inputs: speed does not depend on them."""

import dataclasses
import json
import os
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kpipe import losses, models

VOCABULARY, LENGTH = 20_000, 200
# Epsilon of Keras' optimizers; PyTorch's is another.
EPSILON = 1e-7


@dataclasses.dataclass(frozen=True)
class Workload:
    """A network and its training.

    Attributes:
        about: What it is.
        build: Builds the compiled Keras model.
        inputs: Draws inputs from a random state, and a number of examples.
        num_classes: Number of classes; 0 for the images themselves as targets.
        batch_size: Number of examples per step.
        examples: Number of examples of an epoch.
        random: Whether a step draws random numbers, as a variational autoencoder does.
    """

    about: str
    build: Callable[[], keras.Model]
    inputs: Callable[[np.random.RandomState, int], np.ndarray]
    num_classes: int
    batch_size: int
    examples: int
    random: bool = False

    def data(self, examples: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Returns inputs, and labels int32 (n,) or the images."""
        random = np.random.RandomState(0)
        inputs = self.inputs(random, examples or self.examples)
        if not self.num_classes:
            return inputs, inputs
        return inputs, random.randint(0, self.num_classes, len(inputs)).astype(np.int32)

    def model(self) -> keras.Model:
        """Builds the model with the weights that all contestants begin with."""
        keras.utils.set_random_seed(0)
        return self.build()


def _classifier(model: keras.Model, optimizer: Any) -> keras.Model:
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def mnist(width: float = 1.0) -> keras.Model:
    """Builds the network of mnist_mlp, with so many times its hidden units."""
    units = (round(900 * width), round(450 * width))
    return _classifier(models.mlp((28, 28, 1), 10, units=units), "adam")


def _autoencoder() -> keras.Model:
    model = models.autoencoder(
        (32, 32, 1), 64, units=(512, 384, 256, 128), decoder_units=(256, 384, 512)
    )
    model.compile("adam", losses.squared_error)
    return model


def _joint_vae() -> keras.Model:
    loss = losses.bernoulli_mean_of_channels
    model = models.joint_vae(
        (64, 64, 3),
        32,
        discrete=(10,),
        weight=100.0,
        continuous_capacity=(30.0, 100_000),
        discrete_capacity=(10.0, 100_000),
    )
    metric = losses.reconstruction_metric(loss)
    model.compile(keras.optimizers.Adam(5e-4), loss, metrics=[metric])
    return model


def _deep_cnn(batch_norm: bool) -> keras.Model:
    filters, pooling = (32, 64, 128, 256), "average" if batch_norm else "flatten"
    model = models.cnn(
        (32, 32, 3),
        10,
        filters=filters,
        convolutions=2,
        batch_norm=batch_norm,
        pooling=pooling,
        dense_units=0,
    )
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=0.05)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return _classifier(model, optimizer)


def _varied(workload: Workload) -> Workload:
    """Returns the workload with another number of examples or batch size, for `--growth`."""
    varied = json.loads(os.environ.get("KPIPE_BENCHMARK", "{}"))
    return dataclasses.replace(
        workload,
        build=lambda: mnist(varied.get("width", 1.0)),
        examples=varied.get("examples", workload.examples),
        batch_size=varied.get("batch", workload.batch_size),
    )


def _images(*shape: int) -> Callable[[np.random.RandomState, int], np.ndarray]:
    return lambda random, n: random.randint(0, 256, (n, *shape), dtype=np.uint8)


def _texts(random: np.random.RandomState, examples: int) -> np.ndarray:
    return random.randint(2, VOCABULARY, (examples, LENGTH)).astype(np.int32)


WORKLOADS = {
    "gmm": Workload(
        "5-10-7-5, tanh, SGD, batch 64",
        lambda: _classifier(
            models.mlp((5,), 5, units=(10, 7), activation="tanh"), keras.optimizers.SGD(0.1)
        ),
        lambda random, n: random.randn(n, 5).astype(np.float32),
        num_classes=5,
        batch_size=64,
        examples=22_464,
    ),
    "mnist": Workload(
        "784-900-450-10, Adam, batch 128",
        mnist,
        _images(28, 28, 1),
        num_classes=10,
        batch_size=128,
        examples=12_800,
    ),
    "cnn": Workload(
        "CIFAR deep CNN, 8 convolutions, AdamW, batch 128",
        lambda: _deep_cnn(batch_norm=False),
        _images(32, 32, 3),
        num_classes=10,
        batch_size=128,
        examples=640,
    ),
    "cnn_normalized": Workload(
        "the same with batch normalization, the default of cifar10_cnn",
        lambda: _deep_cnn(batch_norm=True),
        _images(32, 32, 3),
        num_classes=10,
        batch_size=128,
        examples=640,
    ),
    "lstm": Workload(
        "LSTM 64, length 200, Adam, batch 64",
        lambda: _classifier(
            models.recurrent(2, vocabulary_size=VOCABULARY, embedding_dim=64, units=(64,)), "adam"
        ),
        _texts,
        num_classes=2,
        batch_size=64,
        examples=1_024,
    ),
    "transformer": Workload(
        "transformer, one block of 4 heads, width 64, length 200, Adam, batch 64",
        lambda: _classifier(
            models.transformer(2, vocabulary_size=VOCABULARY, max_length=LENGTH, dropout=0.0),
            "adam",
        ),
        _texts,
        num_classes=2,
        batch_size=64,
        examples=640,
    ),
    "autoencoder": Workload(
        "deep autoencoder, 1024-512-384-256-128-64 and back, Adam, batch 128",
        _autoencoder,
        _images(32, 32, 1),
        num_classes=0,
        batch_size=128,
        examples=6_400,
    ),
    "joint_vae": Workload(
        "JointVAE, 64 x 64 x 3, Adam, batch 64",
        _joint_vae,
        _images(64, 64, 3),
        num_classes=0,
        batch_size=64,
        examples=640,
        random=True,
    ),
}
WORKLOADS["mnist"] = _varied(WORKLOADS["mnist"])
