"""Images: from a file to the pixels of a network, for preparation and export, and noise on them."""

import tensorflow as tf


def decode_image(content: tf.Tensor, shape: tuple[int, int, int]) -> tf.Tensor:
    """Decodes one JPEG, PNG, BMP or GIF of any size to the model's uint8 `shape`.

    The one way from a file to pixels: preparation and the exported model both take it.

    Args:
        content: Scalar string, the encoded image.
        shape: (height, width, channels); 1 channel is grey, 3 are RGB.
    """
    image = tf.io.decode_image(content, channels=shape[2], expand_animations=False)
    return fit_image(image, shape)


def fit_image(image: tf.Tensor, shape: tuple[int, int, int]) -> tf.Tensor:
    """Cuts the central part of the shape's proportions and resizes it, with antialiasing.

    Args:
        image: uint8 (height, width, channels); colours become grey where the shape asks for it.
        shape: The model's (height, width, channels).
    """
    if image.shape[-1] == 3 and shape[2] == 1:
        image = tf.image.rgb_to_grayscale(image)
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    # The largest central box of the target's proportions.
    box_height = tf.minimum(height, tf.maximum(1, width * shape[0] // shape[1]))
    box_width = tf.minimum(width, tf.maximum(1, height * shape[1] // shape[0]))
    top, left = (height - box_height) // 2, (width - box_width) // 2
    image = image[top : top + box_height, left : left + box_width]

    def resized():
        pixels = tf.image.resize(image, shape[:2], method="bilinear", antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(pixels), 0, 255), tf.uint8)

    fits = tf.logical_and(tf.equal(box_height, shape[0]), tf.equal(box_width, shape[1]))
    return tf.ensure_shape(tf.cond(fits, lambda: image, resized), shape)


def encode_png(image: tf.Tensor) -> bytes:
    """A PNG file of an image, float (height, width, channels), where white is 1."""
    pixels = tf.round(255 * tf.clip_by_value(image, 0, 1))
    return tf.io.encode_png(tf.cast(pixels, tf.uint8)).numpy()


def add_noise(images: tf.Tensor, level: float, seed: tf.Tensor) -> tf.Tensor:
    """Images with Gaussian noise, cut and rounded as a noisy file would be.

    Args:
        images: uint8 (batch, height, width, channels).
        level: Standard deviation as a fraction of full white, 0 for none.
        seed: int (2,); the same seed gives the same noise.
    """
    if not level:
        return images
    noise = tf.random.stateless_normal(tf.shape(images), seed, stddev=255 * level)
    return tf.cast(
        tf.clip_by_value(tf.round(tf.cast(images, tf.float32) + noise), 0, 255), tf.uint8
    )
