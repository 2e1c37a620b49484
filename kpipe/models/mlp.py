"""Fully connected networks."""

from collections.abc import Sequence
from typing import Any

import keras


def mlp(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    units: Sequence[int] = (900, 450),
    activation: str = "relu",
    initializer: str = "glorot_uniform",
    l1: float = 0.0,
    l2: float = 0.0,
    dropout: float = 0.0,
    name: str = "mlp",
) -> keras.Model:
    """A multilayer perceptron; without hidden layers it is softmax regression.

    Args:
        input_shape: (height, width, channels) of uint8 images, whose 0..255 becomes 0..1; or
            (size,) of float32 vectors, which are taken as they are.
        num_classes: Number of probabilities.
        units: Width of every hidden layer; empty for softmax regression.
        activation: Activation of the hidden layers: any Keras name.
        initializer: Initializer of all kernels: any Keras name. Biases start at 0.
        l1: Sum of absolute kernel values, times this, is added to the loss.
        l2: Sum of squared kernel values, times this, is added to the loss.
        dropout: Share of each hidden layer's outputs that is dropped in training.
        name: Name of the model.

    Returns:
        Uncompiled model from (batch, *input_shape) to
        {"probabilities": float32 (batch, num_classes)}.

    Example:
        model = mlp((28, 28, 1), 10, units=(128,), activation="sigmoid")
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    """

    def dense(size: int, activation: str, **options: Any) -> keras.layers.Dense:
        # One regularizer a layer: Keras leaves out penalties that are 0.
        regularizer = keras.regularizers.L1L2(l1=l1, l2=l2) if l1 or l2 else None
        return keras.layers.Dense(
            size,
            activation=activation,
            kernel_initializer=initializer,
            kernel_regularizer=regularizer,
            **options,
        )

    if len(input_shape) == 1:
        inputs = x = keras.Input(input_shape, dtype="float32", name="features")
    else:
        inputs = keras.Input(input_shape, dtype="uint8", name="images")
        x = keras.layers.Rescaling(1 / 255)(inputs)
        x = keras.layers.Flatten()(x)
    for size in units:
        x = dense(size, activation)(x)
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    probabilities = dense(num_classes, "softmax", dtype="float32", name="probabilities")(x)
    return keras.Model(inputs, {"probabilities": probabilities}, name=name)
