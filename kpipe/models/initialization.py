"""Initial weights of a whole model."""

import math

import keras

INITIALIZATIONS = ("keras", "torch")


def initialize(model: keras.Model, initialization: str) -> keras.Model:
    """Draws the weights of dense layers and convolutions as another library would.

    PyTorch draws kernels and biases from U(-b, b) with b = 1 / sqrt(inputs of a unit), a third of
    the variance of LeCun et al. (1998) with biases that are not 0. Keras' Glorot and Bengio (2010)
    has b = sqrt(6 / (inputs + outputs)) and biases of 0. Other weights remain unchanged.

    Args:
        model: A model with built weights; models within it are included.
        initialization: "keras" leaves the weights as they are; "torch" draws them as PyTorch does,
            seeded by `keras.utils.set_random_seed`.

    Returns:
        The same model.

    Raises:
        ValueError: The name is unknown.

    Example:
        model = models.initialize(models.mlp((784,), 10, units=(100,)), "torch")
        bool(abs(model.layers[1].get_weights()[1]).max() < 1 / 28)  # True
    """
    if initialization not in INITIALIZATIONS:
        known = ", ".join(INITIALIZATIONS)
        raise ValueError(f"initialization={initialization!r}: expected one of {known}")
    if initialization == "torch":
        for layer in model._flatten_layers(include_self=False):
            if isinstance(layer, (keras.layers.Dense, *_CONVOLUTIONS)):
                bound = 1 / math.sqrt(_inputs_of_a_unit(layer))
                for weight in layer.weights:
                    weight.assign(keras.initializers.RandomUniform(-bound, bound)(weight.shape))
    return model


_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
)


def _inputs_of_a_unit(layer: keras.layers.Layer) -> int:
    """Returns PyTorch's fan-in, which it takes from the second axis of its kernels.

    That of a transposed convolution is its number of outputs, and of a depthwise one 1.
    """
    *field, second, _ = layer.kernel.shape
    if isinstance(layer, (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)):
        return math.prod(field)
    return math.prod(field) * second
