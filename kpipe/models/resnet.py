"""Residual networks."""

from collections.abc import Sequence

import keras

from .cnn import BATCH_NORM_MOMENTUM

# Mean and standard deviation of ImageNet's colours in 0..1, as expected by published weights.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
BLOCKS = (2, 2, 2, 2)  # of each stack: ResNet18


def resnet18(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    filters: int = 64,
    stem: str = "small",
    upsample: int = 1,
    dropout: float = 0.0,
    name: str = "resnet18",
) -> keras.Model:
    """Builds ResNet18 (He et al., 2016, table 1): four stacks of two residual blocks, dense layer.

    Layers have the names of Keras Hub's `ResNetBackbone`; `models.backbone` ends at "features".

    Args:
        input_shape: (height, width, 3) of the uint8 images.
        num_classes: Number of probabilities.
        filters: Filters of the first stack; every further stack doubles them. 64 in the paper.
        stem: "small", one 3x3 convolution, for images of about 32 pixels (section 4.2); or
            "imagenet", a 7x7 convolution and max pooling, which together keep every fourth pixel.
        upsample: Factor by which the images are enlarged first.
        dropout: Dropout rate of the features before the dense layer.
        name: Name of the model.

    Returns:
        Uncompiled model from uint8 (batch, *input_shape) to
        {"probabilities": float32 (batch, num_classes)}.

    Raises:
        ValueError: `stem` is neither "small" nor "imagenet".

    Example:
        model = resnet18((32, 32, 3), 10, filters=16)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    """
    if stem not in ("small", "imagenet"):
        raise ValueError(f"stem={stem!r}: expected 'small' or 'imagenet'")
    inputs = keras.Input(input_shape, dtype="uint8", name="images")
    x = keras.layers.Rescaling(
        [1 / (255 * deviation) for deviation in IMAGENET_DEVIATION],
        offset=[-m / d for m, d in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)],
    )(inputs)
    if upsample > 1:
        x = keras.layers.UpSampling2D(upsample, interpolation="bilinear")(x)
    if stem == "small":
        x = _convolution(x, filters, 3, 1, "conv1")
        x = keras.layers.ReLU(name="conv1_relu")(x)
    else:
        x = _convolution(x, filters, 7, 2, "conv1")
        x = keras.layers.ReLU(name="conv1_relu")(x)
        x = keras.layers.ZeroPadding2D(1, name="pool1_pad")(x)  # 0 is the minimum after ReLU
        x = keras.layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stack, num_blocks in enumerate(BLOCKS):
        for block in range(num_blocks):
            stride = 2 if stack and not block else 1
            x = _block(x, filters * 2**stack, stride, f"stack{stack}_block{block}")
    x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    probabilities = keras.layers.Dense(
        num_classes, activation="softmax", dtype="float32", name="probabilities"
    )(x)
    return keras.Model(inputs, {"probabilities": probabilities}, name=name)


def _block(x: keras.KerasTensor, filters: int, stride: int, name: str) -> keras.KerasTensor:
    """Builds relu(x + f(x)); if the shape changes, a 1x1 convolution projects x (option B)."""
    shortcut = x
    if stride > 1 or x.shape[-1] != filters:
        # Equivalent to a strided convolution, whose gradient in TensorFlow 2.21 with oneDNN writes
        # beyond its memory if a batch has few images ("free(): invalid next size").
        shortcut = keras.layers.AveragePooling2D(1, stride, name=f"{name}_0_pool")(shortcut)
        shortcut = _convolution(shortcut, filters, 1, 1, f"{name}_0")
    x = _convolution(x, filters, 3, stride, f"{name}_1")
    x = keras.layers.ReLU(name=f"{name}_1_relu")(x)
    x = _convolution(x, filters, 3, 1, f"{name}_2")
    x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return keras.layers.ReLU(name=f"{name}_out")(x)


def _convolution(
    x: keras.KerasTensor, filters: int, size: int, stride: int, name: str
) -> keras.KerasTensor:
    """Builds a convolution without bias, then batch normalization."""
    padding = "same"
    if stride > 1 and size > 1:
        # "same" would pad one side only; the published weights expect both.
        x = keras.layers.ZeroPadding2D((size - 1) // 2, name=f"{name}_pad")(x)
        padding = "valid"
    x = keras.layers.Conv2D(
        filters,
        size,
        strides=stride,
        padding=padding,
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return keras.layers.BatchNormalization(
        momentum=BATCH_NORM_MOMENTUM, epsilon=1e-5, name=f"{name}_bn"
    )(x)
