"""Convolutional networks."""

from collections.abc import Sequence

import keras

# With Keras' default of 0.99 validation needs hundreds of steps to reach the training statistics.
BATCH_NORM_MOMENTUM = 0.9
WHITENING = "whitening"  # the layer whose filters `inputs.whitening` fits
POOLINGS = ("flatten", "average", "max")
WHITENED = 2  # pixels on a side of the patches


def cnn(
    input_shape: Sequence[int],
    num_classes: int,
    *,
    filters: Sequence[int] = (32, 64, 128),
    convolutions: int = 1,
    batch_norm: bool = True,
    whitening: bool = False,
    activation: str = "relu",
    early_pooling: bool = False,
    pooling: str = "flatten",
    dense_units: int = 128,
    dropout: float = 0.0,
    output_activation: str = "softmax",
    name: str = "cnn",
) -> keras.Model:
    """Builds blocks of 3x3 convolutions with max pooling, then a dense head.

    The layer "features" is the output of the convolutions; `models.backbone` ends there.

    Args:
        input_shape: (height, width, channels) of the uint8 images; 0..255 becomes -1..1.
        num_classes: Number of probabilities.
        filters: Filters of each block; every block halves height and width.
        convolutions: Convolutions in each block.
        batch_norm: Whether batch normalization follows each convolution (Ioffe and Szegedy,
            2015), whose bias it then replaces.
        whitening: Whether a first convolution of 2x2 pixels makes their values uncorrelated; its
            filters follow from the training images and are not trained, see `inputs.whitening`.
        activation: Activation of the convolutions: any Keras name.
        early_pooling: Whether a block's pooling follows its first convolution instead of its last,
            so that all others work on a quarter of the pixels.
        pooling: "flatten" passes every pixel of the last block to the head, "average" the mean of
            each filter over the image (Lin et al., 2014), "max" its maximum.
        dense_units: Width of the hidden dense layer; 0 for none.
        dropout: Dropout rate before every dense layer.
        output_activation: "softmax" for mutually exclusive classes, "sigmoid" for independent
            labels.
        name: Name of the model.

    Raises:
        ValueError: `pooling` is unknown.

    Returns:
        Uncompiled model from uint8 (batch, *input_shape) to
        {"probabilities": float32 (batch, num_classes)}.

    Example:
        model = cnn((32, 32, 3), 2, filters=(16, 32), dropout=0.3)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling={pooling!r}: expected one of {', '.join(POOLINGS)}")
    inputs = keras.Input(input_shape, dtype="uint8", name="images")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    if whitening:
        patch = WHITENED**2 * input_shape[-1]
        x = keras.layers.Conv2D(
            2 * patch, WHITENED, use_bias=False, trainable=False, name=WHITENING
        )(x)
        x = keras.layers.Activation(activation, name=f"{WHITENING}_{activation}")(x)
    for block, size in enumerate(filters):
        for i in range(convolutions):
            part = f"block{block}_{i}"
            x = keras.layers.Conv2D(
                size, 3, padding="same", use_bias=not batch_norm, name=f"{part}_conv"
            )(x)
            if early_pooling and i == 0:
                x = keras.layers.MaxPooling2D(name=f"block{block}_pool")(x)
            if batch_norm:
                x = keras.layers.BatchNormalization(
                    momentum=BATCH_NORM_MOMENTUM, name=f"{part}_bn"
                )(x)
            # Max pooling and ReLU commute: after pooling, ReLU costs a quarter.
            if not early_pooling and i == convolutions - 1:
                x = keras.layers.MaxPooling2D(name=f"block{block}_pool")(x)
            if activation == "relu":
                x = keras.layers.ReLU(name=f"{part}_relu")(x)
            else:
                x = keras.layers.Activation(activation, name=f"{part}_{activation}")(x)
    if pooling == "average":
        x = keras.layers.GlobalAveragePooling2D(name="features")(x)
    elif pooling == "max":
        x = keras.layers.GlobalMaxPooling2D(name="features")(x)
    else:
        x = keras.layers.Flatten(name="features")(x)
    if dense_units:
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
        x = keras.layers.Dense(dense_units, activation="relu")(x)
    if dropout:
        x = keras.layers.Dropout(dropout)(x)
    probabilities = keras.layers.Dense(
        num_classes, activation=output_activation, dtype="float32", name="probabilities"
    )(x)
    return keras.Model(inputs, {"probabilities": probabilities}, name=name)
