"""Networks that remove noise from images."""

from collections.abc import Sequence

import keras


def denoiser(
    input_shape: Sequence[int],
    *,
    filters: int = 64,
    depth: int = 6,
    name: str = "denoiser",
) -> keras.Model:
    """Builds a residual convolutional network that subtracts the noise it finds in an image.

    Zhang et al. (2017), equation 1, with fewer layers and without batch normalization. It has the
    parts of an autoencoder, but its code is as long as the image: the clean image itself.

    Args:
        input_shape: (height, width, channels) of the uint8 images; 0..255 becomes 0..1.
        filters: Filters of each hidden 3x3 convolution.
        depth: Number of convolutions, at least 2.
        name: Name of the model; its parts are "encoder" and "decoder".

    Returns:
        Uncompiled model, see `models.autoencoder`.

    Raises:
        ValueError: `depth` is less than 2.

    Example:
        model = denoiser((32, 32, 1), filters=32, depth=5)
        model.compile("adam", loss=losses.squared_error)
    """
    if depth < 2:
        raise ValueError(f"depth={depth}: expected at least 2 convolutions")
    size = input_shape[0] * input_shape[1] * input_shape[2]
    images = keras.Input(input_shape, dtype="uint8", name="images")
    given = x = keras.layers.Rescaling(1 / 255)(images)
    for _ in range(depth - 1):
        x = keras.layers.Conv2D(
            filters, 3, padding="same", activation="relu", kernel_initializer="he_normal"
        )(x)
    # At the start it finds no noise, and the image is returned as it is.
    noise = keras.layers.Conv2D(
        input_shape[2], 3, padding="same", kernel_initializer="zeros", name="noise"
    )(x)
    clean = keras.layers.Subtract(dtype="float32")([given, noise])
    code = keras.layers.Flatten(dtype="float32", name="code")(clean)
    encoder = keras.Model(images, {"code": code}, name="encoder")
    values = keras.Input((size,), dtype="float32", name="code")
    restored = keras.layers.Reshape(input_shape, dtype="float32", name="reconstruction")(values)
    decoder = keras.Model(values, {"reconstruction": restored}, name="decoder")
    inputs = keras.Input(input_shape, dtype="uint8", name="images")
    return keras.Model(inputs, decoder(encoder(inputs)["code"]), name=name)
