"""Fully connected networks."""

from collections.abc import Sequence
from typing import Any

import keras

from .cnn import BATCH_NORM_MOMENTUM


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
    input_dropout: float = 0.0,
    max_norm: float = 0.0,
    batch_norm: bool = False,
    normalize: tuple[Sequence[float], Sequence[float]] | None = None,
    output: str = "probabilities",
    name: str = "mlp",
) -> keras.Model:
    """Builds a multilayer perceptron; without hidden layers it is softmax or linear regression.

    Args:
        input_shape: (height, width, channels) of uint8 images, whose 0..255 becomes 0..1; or
            (size,) of float32 vectors, which are used unchanged.
        num_classes: Number of probabilities, or of values.
        units: Width of every hidden layer; empty for softmax or linear regression.
        activation: Activation of the hidden layers: any Keras name.
        initializer: Initializer of all kernels: any Keras name. Biases start at 0.
        l1: Weight of the L1 penalty on kernels.
        l2: Weight of the L2 penalty on kernels.
        dropout: Dropout rate after each hidden layer.
        input_dropout: Dropout rate of the inputs (Srivastava et al., 2014).
        max_norm: Largest Euclidean norm of the weights into a hidden unit, to which an update's
            result is scaled down (Srebro et al., 2005); 0 for none.
        batch_norm: Whether batch normalization precedes each activation (Ioffe and Szegedy, 2015).
        normalize: Means and standard deviations of a vector's inputs in the train split: constants
            of the model's first layer, so that the model takes vectors in their own units.
        output: "probabilities", the softmax of the last layer, or "value", its linear output.
        name: Name of the model.

    Returns:
        Uncompiled model from (batch, *input_shape) to
        {"probabilities": float32 (batch, num_classes)} or {"value": float32 (batch, num_classes)}.
        A single value is (batch, 1), not (batch,): Keras' losses and metrics average over the last
        axis, which would be the batch. Keras can compare it with targets (batch,); a custom loss
        must reshape these, since their difference from (batch, 1) is (batch, batch).

    Raises:
        ValueError: `output` is unknown, or `normalize` is given for images.

    Example:
        model = mlp((28, 28, 1), 10, units=(128,), activation="sigmoid")
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model = mlp((10,), 1, units=(32,), output="value")
        model.compile("adam", "mean_squared_error", metrics=["mae"])
    """
    outputs = {"probabilities": "softmax", "value": "linear"}
    if output not in outputs:
        raise ValueError(f"output={output!r}: expected 'probabilities' or 'value'")
    if max_norm < 0:
        raise ValueError(f"max_norm={max_norm}: expected more than 0, or 0 for no limit")
    if normalize and len(input_shape) != 1:
        raise ValueError(f"normalize= with images of shape {input_shape}; expected vectors (size,)")

    def dense(size: int, activation: str, **options: Any) -> keras.layers.Dense:
        # One regularizer per layer: Keras leaves out penalties that are 0.
        regularizer = keras.regularizers.L1L2(l1=l1, l2=l2) if l1 or l2 else None
        return keras.layers.Dense(
            size,
            activation=activation,
            kernel_initializer=initializer,
            kernel_regularizer=regularizer,
            **options,
        )

    # Of the weights into a unit, the first axis of a kernel.
    constraint = keras.constraints.MaxNorm(max_norm, axis=0) if max_norm else None

    if len(input_shape) == 1:
        inputs = x = keras.Input(input_shape, dtype="float32", name="features")
        if normalize:
            means, deviations = normalize
            variances = [deviation**2 for deviation in deviations]
            # float32: half precision would round inputs far from 0.
            x = keras.layers.Normalization(mean=means, variance=variances, dtype="float32")(x)
    else:
        inputs = keras.Input(input_shape, dtype="uint8", name="images")
        x = keras.layers.Rescaling(1 / 255)(inputs)
        x = keras.layers.Flatten()(x)
    if input_dropout:
        x = keras.layers.Dropout(input_dropout)(x)
    for size in units:
        x = dense(
            size,
            "linear" if batch_norm else activation,
            use_bias=not batch_norm,
            kernel_constraint=constraint,
        )(x)
        if batch_norm:
            x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
            x = keras.layers.Activation(activation)(x)
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    x = dense(num_classes, outputs[output], dtype="float32", name=output)(x)
    return keras.Model(inputs, {output: x}, name=name)
