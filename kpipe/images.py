"""Images: from a file to the pixels of a network, for preparation and in the export."""

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
        image: uint8 (height, width, channels).
        shape: The model's (height, width, channels).
    """
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
