"""Random augmentation of training examples: a pure function of a seed."""

import math

import tensorflow as tf

from ..datasets import Augmentation


def augment(images: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor) -> tf.Tensor:
    """Augments every image at random; the same seed gives the same images.

    Args:
        images: uint8 (batch, height, width, channels).
        augmentation: The changes to apply.
        seed: int64 (2,).
    """
    if not augmentation.in_training:
        return images
    shape = (tf.shape(images)[0], 1, 1, 1)
    seeds = iter(tf.unstack(tf.random.split(tf.cast(seed, tf.int32), 8), num=8))

    def uniform(low: float, high: float) -> tf.Tensor:
        """Draws one number per image."""
        return tf.random.stateless_uniform(shape, next(seeds), low, high)

    if augmentation.flip:
        images = mirror(images, uniform(0.0, 1.0)[:, 0, 0, 0] < 0.5)
    if augmentation.shift:
        images = _shift(images, augmentation.shift, next(seeds))
    pixels = tf.cast(images, tf.float32)
    if augmentation.rotate or augmentation.zoom:
        angle = math.radians(augmentation.rotate)
        scale = uniform(1 - augmentation.zoom, 1 + augmentation.zoom)
        pixels = _turn(pixels, uniform(-angle, angle), scale)
    if augmentation.contrast:
        mean = tf.reduce_mean(pixels, axis=(1, 2, 3), keepdims=True)
        pixels = mean + (pixels - mean) * uniform(
            1 - augmentation.contrast, 1 + augmentation.contrast
        )
    if augmentation.saturation:
        grey = tf.reduce_mean(pixels, axis=3, keepdims=True)
        limits = 1 - augmentation.saturation, 1 + augmentation.saturation
        pixels = grey + (pixels - grey) * uniform(*limits)
    if augmentation.brightness:
        limit = 255 * augmentation.brightness
        pixels += uniform(-limit, limit)
    if augmentation.erase:
        pixels = _erase(pixels, augmentation.erase, next(seeds))
    return tf.cast(tf.clip_by_value(tf.round(pixels), 0, 255), tf.uint8)


def mirror(images: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """Mirrors some of the images left to right.

    Args:
        images: (batch, height, width, channels).
        chosen: Which ones: bool (batch,).
    """
    return tf.where(chosen[:, None, None, None], images[:, :, ::-1], images)


def drop_words(
    tokens: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor, unknown: int
) -> tf.Tensor:
    """Replaces random words by the unknown word, so that none is relied on; padding stays.

    Args:
        tokens: int32 (batch, length).
        augmentation: The changes to apply; only `drop_words` is used.
        seed: int64 (2,).
        unknown: The id of the unknown word.
    """
    if not augmentation.drop_words:
        return tokens
    drawn = tf.random.stateless_uniform(tf.shape(tokens), seed)
    dropped = tf.logical_and(drawn < augmentation.drop_words, tokens != 0)
    return tf.where(dropped, unknown, tokens)


def _turn(images: tf.Tensor, angle: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Rotates every image by its angle (radians) and scales it, both about its centre."""
    height, width = images.shape[1], images.shape[2]
    angle, scale = tf.reshape(angle, (-1,)), tf.reshape(scale, (-1,))
    # Maps a pixel of the result to one of the image: x' = a x - b y + c, y' = b x + a y + d.
    a, b = tf.cos(angle) / scale, tf.sin(angle) / scale
    x, y, zero = (width - 1) / 2, (height - 1) / 2, tf.zeros_like(angle)
    rows = [a, -b, x - a * x + b * y, b, a, y - b * x - a * y, zero, zero]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack(rows, axis=1),
        output_shape=(height, width),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def _erase(images: tf.Tensor, fraction: float, seed: tf.Tensor) -> tf.Tensor:
    """Sets a square in every image, possibly partly outside, to middle grey."""
    batch, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    centre = tf.random.stateless_uniform((batch, 2), seed)
    half = fraction / 2

    def inside(position: tf.Tensor, size: int) -> tf.Tensor:
        places = (tf.range(size, dtype=tf.float32) + 0.5) / size
        return tf.abs(places - position[:, None]) < half

    rows, columns = inside(centre[:, 0], height), inside(centre[:, 1], width)
    erased = tf.logical_and(rows[:, :, None, None], columns[:, None, :, None])
    return tf.where(erased, 127.0, images)


def _shift(images: tf.Tensor, pixels: int, seed: tf.Tensor) -> tf.Tensor:
    """Shifts every image by up to `pixels` in both directions; edges are reflected."""
    batch, height, width = (tf.shape(images)[axis] for axis in range(3))
    padded = tf.pad(images, [(0, 0), (pixels, pixels), (pixels, pixels), (0, 0)], mode="REFLECT")
    offsets = tf.random.stateless_uniform((batch, 2), seed, 0, 2 * pixels + 1, dtype=tf.int32)
    rows = offsets[:, :1] + tf.range(height)
    columns = offsets[:, 1:] + tf.range(width)
    shifted = tf.gather(padded, rows, axis=1, batch_dims=1)
    return tf.gather(shifted, columns, axis=2, batch_dims=1)
