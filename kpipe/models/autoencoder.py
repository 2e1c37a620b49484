"""Autoencoders: an encoder from images to codes, and a decoder from codes to images."""

from collections.abc import Sequence

import keras

KERNEL = 4  # pixels; with stride 2 every pixel is covered by the same number of positions


def autoencoder(
    input_shape: Sequence[int],
    latent_dim: int,
    *,
    units: Sequence[int] = (),
    decoder_units: Sequence[int] | None = None,
    filters: Sequence[int] = (),
    activation: str = "leaky_relu",
    code_activation: str = "linear",
    output_activation: str = "sigmoid",
    use_bias: bool = True,
    name: str = "autoencoder",
) -> keras.Model:
    """Builds an autoencoder, dense or convolutional.

    Without hidden layers, biases and activations it spans the space of the truncated singular value
    decomposition (Baldi and Hornik, 1989).

    Args:
        input_shape: (height, width, channels) of the uint8 images; 0..255 becomes 0..1.
        latent_dim: Length of the code.
        units: Widths of the encoder's dense layers before the code.
        decoder_units: Widths of the decoder's dense layers; by default the encoder's, mirrored.
        filters: Filters of 4x4 convolutions with stride 2, the first layers of the encoder and,
            transposed, the last of the decoder; each must halve height and width exactly.
        activation: Activation of the hidden layers: any Keras name. "leaky_relu" has Keras' slope
            0.2.
        code_activation: Activation of the code.
        output_activation: Activation of the reconstruction.
        use_bias: Whether layers have biases.
        name: Name of the model; its parts are "encoder" and "decoder".

    Raises:
        ValueError: Height or width cannot be halved that often.

    Returns:
        Uncompiled model from uint8 (batch, *input_shape) to {"reconstruction": float32 (batch,
        *input_shape)}. Its layer "encoder" is a model to {"code": float32 (batch, latent_dim)}, its
        layer "decoder" a model from such a code.

    Example:
        model = autoencoder((28, 28, 1), 64, units=(256, 128))
        model.compile("adam", loss=losses.squared_error)
        model.get_layer("encoder").predict(images)["code"]
    """
    images = keras.Input(input_shape, dtype="uint8", name="images")
    features = encode(images, units, filters, activation, use_bias)
    code = keras.layers.Dense(
        latent_dim, activation=code_activation, use_bias=use_bias, dtype="float32", name="code"
    )(features)
    encoder = keras.Model(images, {"code": code}, name="encoder")
    decoder = build_decoder(
        latent_dim,
        input_shape,
        units=tuple(reversed(units)) if decoder_units is None else decoder_units,
        filters=filters,
        decoder_filters=tuple(reversed(filters[:-1])),
        activation=activation,
        output_activation=output_activation,
        use_bias=use_bias,
    )
    inputs = keras.Input(input_shape, dtype="uint8", name="images")
    return keras.Model(inputs, decoder(encoder(inputs)["code"]), name=name)


def encode(
    images: keras.KerasTensor,
    units: Sequence[int],
    filters: Sequence[int],
    activation: str,
    use_bias: bool = True,
) -> keras.KerasTensor:
    """Computes the features before the code from uint8 images: convolutions, then dense layers."""
    x = keras.layers.Rescaling(1 / 255)(images)
    for size in filters:
        x = keras.layers.Conv2D(
            size, KERNEL, strides=2, padding="same", activation=activation, use_bias=use_bias
        )(x)
    x = keras.layers.Flatten()(x)
    for size in units:
        x = keras.layers.Dense(size, activation=activation, use_bias=use_bias)(x)
    return x


def build_decoder(
    code_size: int,
    output_shape: Sequence[int],
    *,
    units: Sequence[int],
    filters: Sequence[int],
    decoder_filters: Sequence[int],
    activation: str,
    output_activation: str = "sigmoid",
    use_bias: bool = True,
) -> keras.Model:
    """Builds the model from a code to {"reconstruction": ...}: dense, then transposed convolutions.

    Args:
        code_size: Length of the code.
        output_shape: (height, width, channels).
        units: Widths of the dense layers.
        filters: Filters of the encoder; the last are those of the smallest image. Empty for a dense
            decoder.
        decoder_filters: Filters of all transposed convolutions but the last.
        activation: Activation of the hidden layers.
        output_activation: Activation of the reconstruction.
        use_bias: Whether layers have biases.

    Raises:
        ValueError: Height or width cannot be halved that often.
    """
    height, width, channels = output_shape
    shrink = 2 ** len(filters)
    if height % shrink or width % shrink:
        raise ValueError(
            f"{height}x{width} pixels cannot be halved {len(filters)} times, once for each of "
            f"filters={tuple(filters)}; expected multiples of {shrink}, or fewer filters"
        )
    options = {"activation": activation, "use_bias": use_bias}
    last = {"activation": output_activation, "use_bias": use_bias, "dtype": "float32"}
    x = code = keras.Input((code_size,), dtype="float32", name="code")
    for size in units:
        x = keras.layers.Dense(size, **options)(x)
    if filters:
        smallest = (height // shrink, width // shrink, filters[-1])
        x = keras.layers.Dense(smallest[0] * smallest[1] * smallest[2], **options)(x)
        x = keras.layers.Reshape(smallest)(x)
        for size in decoder_filters:
            x = keras.layers.Conv2DTranspose(size, KERNEL, strides=2, padding="same", **options)(x)
        x = keras.layers.Conv2DTranspose(
            channels, KERNEL, strides=2, padding="same", name="reconstruction", **last
        )(x)
    else:
        x = keras.layers.Dense(height * width * channels, **last)(x)
        x = keras.layers.Reshape((height, width, channels), dtype="float32", name="reconstruction")(
            x
        )
    return keras.Model(code, {"reconstruction": x}, name="decoder")
