"""Floating-point operations of a training step, counted from its layers."""

import math
from typing import Any

import keras
from keras import layers

from .plan import leaf_layers


def step_flops(model: keras.Model, batch_size: int, length: int = 1) -> float:
    """Returns the floating-point operations of the matrix products of a training step.

    A multiplication and an addition are two. Products of dense, convolutional, recurrent and
    attention layers count: forwards, then for the gradients of weights and of inputs as much again
    each, which the first layer with weights does not need for its inputs. What else a step does
    takes time, but few operations.

    Args:
        model: Functional model with built layers.
        batch_size: Number of examples of the batch.
        length: Of a dimension without a fixed size, such as the number of words of a text.

    Example:
        step_flops(models.mlp((784,), 10, units=(900,)), batch_size=128)
    """
    forwards = [
        count for layer in leaf_layers(model) if (count := _forward(layer, length)) is not None
    ]
    if not forwards:
        return 0.0
    return batch_size * (3.0 * sum(forwards) - forwards[0])


def _forward(layer: keras.Layer, length: int) -> float | None:
    """Returns the operations of a layer for one example; None without products."""
    while isinstance(layer, layers.TimeDistributed):
        layer = layer.layer
    if isinstance(layer, layers.Bidirectional):
        inner = (layer.forward_layer, layer.backward_layer)
        return sum(_recurrent(part, _steps(layer, length)) for part in inner)
    if isinstance(layer, layers.RNN):
        return _recurrent(layer, _steps(layer, length))
    if isinstance(layer, layers.MultiHeadAttention):
        steps = _sizes(layer.output, length)[0]
        dense = (layer.query_dense, layer.key_dense, layer.value_dense, layer.output_dense)
        weights = sum(math.prod(part.kernel.shape) for part in dense)
        scores = layer.num_heads * (layer.key_dim + (layer.value_dim or layer.key_dim))
        return 2.0 * steps * (weights + steps * scores)
    weights = sum(
        math.prod(weight.shape)
        for weight in layer.trainable_weights
        if weight.name.endswith("kernel") and len(weight.shape) > 1
    )
    if not weights:
        return None
    # A transposed convolution spreads each input, all others gather for each output.
    transposed = type(layer).__name__.endswith("Transpose")
    sizes = _sizes(layer.input if transposed else layer.output, length)
    return 2.0 * weights * math.prod(sizes[:-1])


def _steps(layer: keras.Layer, length: int) -> int:
    return _sizes(layer.input, length)[0]


def _recurrent(layer: keras.Layer, steps: int) -> float:
    return 2.0 * steps * sum(math.prod(w.shape) for w in layer.weights if "kernel" in w.name)


def _sizes(tensor: Any, length: int) -> list[int]:
    """Returns the sizes of one example; of the first of several tensors."""
    return [size or length for size in keras.tree.flatten(tensor)[0].shape[1:]]
