"""EfficientNet-Lite0 (Tan and Le, 2019): no squeeze-and-excitation, and ReLU6 as activation."""

import os
from collections.abc import Iterator

import keras

from .cnn import BATCH_NORM_MOMENTUM
from .keras_files import read_arrays

# Of each stage: expansion, filters, number of blocks, stride of the first block, kernel size.
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
# Weights of a layer in Keras' order, by their names in PyTorch.
_STATISTICS = ("weight", "bias", "running_mean", "running_var")


def efficientnet_lite0(x: keras.KerasTensor) -> keras.KerasTensor:
    """Builds the network without its head.

    Args:
        x: Images, float (batch, height, width, 3), as (pixels - 127) / 128.

    Returns:
        float (batch, height / 32, width / 32, 1280).

    Example:
        x = efficientnet_lite0(keras.Input((64, 64, 3)))
    """
    x = _convolution(x, 32, 3, 2, "stem")
    block = 0
    for expansion, filters, repeats, first_stride, size in STAGES:
        for i in range(repeats):
            x = _block(x, expansion, filters, size, 1 if i else first_stride, f"block{block}")
            block += 1
    return _convolution(x, 1280, 1, 1, "head")


def _block(
    x: keras.KerasTensor, expansion: int, filters: int, size: int, stride: int, name: str
) -> keras.KerasTensor:
    """Builds an inverted residual block (Sandler et al., 2018)."""
    shortcut, channels = x, x.shape[-1]
    if expansion > 1:
        x = _convolution(x, expansion * channels, 1, 1, f"{name}_expand")
    x = keras.layers.DepthwiseConv2D(
        size, strides=stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv"
    )(x)
    x = _normalized(x, f"{name}_depthwise")
    x = _convolution(x, filters, 1, 1, f"{name}_project", activated=False)
    if stride == 1 and channels == filters:
        x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _convolution(
    x: keras.KerasTensor, filters: int, size: int, stride: int, name: str, activated: bool = True
) -> keras.KerasTensor:
    x = keras.layers.Conv2D(
        filters, size, strides=stride, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    return _normalized(x, name, activated)


def _normalized(x: keras.KerasTensor, name: str, activated: bool = True) -> keras.KerasTensor:
    x = keras.layers.BatchNormalization(
        momentum=BATCH_NORM_MOMENTUM, epsilon=1e-3, name=f"{name}_bn"
    )(x)
    return keras.layers.ReLU(max_value=6, name=f"{name}_relu")(x) if activated else x


def load_npz(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Sets the weights from a file with the arrays of the PyTorch checkpoint.

    Args:
        model: A model that contains `efficientnet_lite0`.
        path: A `.npz` file; convolutions are (out, in, height, width).

    Raises:
        ValueError: The file cannot be read, or is that of another network; nothing is changed.

    Example:
        x = keras.Input((224, 224, 3))
        load_npz(keras.Model(x, efficientnet_lite0(x)), "imagenet.npz")
    """
    try:
        arrays = read_arrays(path)
    except Exception as error:  # damaged files raise errors of many types
        reason = " ".join(str(error).split())[:160]
        raise ValueError(f"{path}: cannot be read as .npz ({reason})") from error
    found = []
    for layer in model.layers:
        if not layer.weights:
            continue
        values = []
        for weight, name in zip(layer.weights, _names_of(layer), strict=False):
            array = arrays.get(name)
            if array is not None and array.ndim == 4:
                depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
                array = array.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
            if array is None or array.shape != tuple(weight.shape):
                what = "missing" if array is None else f"{array.shape} in Keras' order"
                raise ValueError(
                    f"{path}: {name} is {what}; expected {tuple(weight.shape)}: a .npz file must "
                    "hold EfficientNet-Lite0 with PyTorch's names, for backbone=efficientnet_lite0"
                )
            values.append(array)
        found.append((layer, values))
    for layer, values in found:
        layer.set_weights(values)


def _names_of(layer: keras.Layer) -> Iterator[str]:
    """Yields the names in PyTorch of a layer's weights."""
    block, _, part = layer.name.rpartition("_")[0].rpartition("_")
    normalizes = layer.name.endswith("_bn")
    if block.startswith("block"):
        place = ("expand", "depthwise", "project").index(part) if normalizes else None
        own = f"_bn{place}" if normalizes else f"_{part}_conv"
        prefix = f"_blocks.{block.removeprefix('block')}.{own}"
    else:
        prefix = f"_bn{('stem', 'head').index(part)}" if normalizes else f"_conv_{part}"
    return (f"{prefix}.{name}" for name in (_STATISTICS if normalizes else ("weight",)))
