"""Images: conversion from files to the network's pixels, in preparation and export."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from ..datasets import Augmentation
from ..errors import UserError
from .arrays import ArrayInput, Endpoints, Given, Rows, Serve
from .augmentation import augment


@dataclasses.dataclass(frozen=True)
class ImageInput(ArrayInput):
    """uint8 images of one size.

    Attributes:
        shape: (height, width, channels).
    """

    dtype: str = "uint8"

    name: ClassVar[str] = "images"
    usage: ClassVar[str] = "IMAGE ..."

    def prepare_one(self, value: tf.Tensor) -> tf.Tensor:
        """Converts an encoded image, or pixels, to the form that the network takes."""
        if value.dtype == tf.string:
            return decode_image(value, self.shape)
        if value.dtype != tf.uint8:
            raise ValueError(f"pixels are {value.dtype.name}")
        return fit_image(value, self.shape)

    def check_values(self, values: np.ndarray, names: Callable[[int], str]) -> None:
        """Accepts all values: every byte is a valid pixel."""

    def explain(self, example: Mapping[str, tf.Tensor]) -> str:
        value = example["input"]
        if value.dtype == tf.string:
            what = "is not an image that can be decoded"
            if not len(value.numpy()):
                what = "is missing or empty"
            return f"{what}; replace it, or remove it from the lists"
        if value.dtype == tf.uint8:
            return f"has shape {tuple(value.shape)}; expected (height, width, channels)"
        return (
            f"has {value.dtype.name} pixels; expected uint8 from 0 to 255, or "
            f'input_dtype="{value.dtype.name}" in the dataset to use them unchanged'
        )

    def fingerprint_parts(self) -> list[Any]:
        return []

    def augment(self, inputs: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor) -> tf.Tensor:
        return augment(inputs, augmentation, seed)

    def endpoints(self, serve: Serve, spec: tf.TensorSpec) -> tuple[Endpoints, list[Any]]:
        """Returns `serving_default` for pixels, `serving_bytes` for encoded images of any size."""

        def serve_bytes(bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            images = tf.map_fn(
                lambda content: decode_image(content, self.shape),
                bytes,
                fn_output_signature=tf.TensorSpec(self.shape, tf.uint8),
            )
            return serve(images)

        encoded = tf.TensorSpec((None,), tf.string, name="bytes")
        endpoints = {"serving_default": (serve, spec), "serving_bytes": (serve_bytes, encoded)}
        return endpoints, []

    def golden(self, column: Rows, rows: np.ndarray, argument: str) -> list[Given]:
        """Returns images, and encoded files of other sizes."""
        images = column.take(rows)
        encoded = _encode_at_other_sizes(images[:8])
        decoded = np.stack([decode_image(tf.constant(file), self.shape) for file in encoded])
        about = f"{len(encoded)} encoded files"
        return [
            Given("serving_default", argument, images, images),
            Given("serving_bytes", "bytes", encoded, decoded, (1, len(encoded)), about),
        ]


def _encode_at_other_sizes(images: np.ndarray) -> list[bytes]:
    """Encodes images as JPEG and PNG alternately, in sizes and proportions unlike the model's."""
    encoded = []
    height, width = images.shape[1:3]
    for i, image in enumerate(images):
        size = (height * (i + 2) // 2, width * (8 - i + 2) // 2)
        pixels = tf.cast(tf.round(tf.image.resize(image, size)), tf.uint8)
        encode = tf.io.encode_png if i % 2 else tf.io.encode_jpeg
        encoded.append(encode(pixels).numpy())
    return encoded


def read_images(paths: Sequence[pathlib.Path]) -> list[bytes]:
    """Reads the content of files.

    Raises:
        UserError: A file cannot be read; the message names it.
    """
    contents = []
    for path in paths:
        try:
            contents.append(path.read_bytes())
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None
    return contents


def unreadable(
    paths: Sequence[Any], contents: Sequence[bytes], shape: tuple[int, ...]
) -> UserError:
    """Returns an error that names the files that cannot be decoded."""
    bad = []
    for path, content in zip(paths, contents, strict=True):
        try:
            decode_image(tf.constant(content), shape)
        except tf.errors.OpError:
            bad.append(str(path))
    return UserError(f"{', '.join(bad)}: cannot be read as an image; convert it to JPEG or PNG")


def decode_image(content: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """Decodes one JPEG, PNG, BMP or GIF of any size to the model's uint8 `shape`.

    Both preparation and the exported model use this function.

    Args:
        content: Scalar string, the encoded image.
        shape: (height, width, channels); 1 channel is grey, 3 are RGB.
    """
    image = tf.io.decode_image(content, channels=shape[2], expand_animations=False)
    return fit_image(image, shape)


def fit_image(image: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """Crops the largest central box with the shape's proportions and resizes it with antialiasing.

    Args:
        image: uint8 (height, width, channels); RGB is converted to grey if the shape has 1 channel.
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

    def resized() -> tf.Tensor:
        pixels = tf.image.resize(image, shape[:2], method="bilinear", antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(pixels), 0, 255), tf.uint8)

    fits = tf.logical_and(tf.equal(box_height, shape[0]), tf.equal(box_width, shape[1]))
    return tf.ensure_shape(tf.cond(fits, lambda: image, resized), shape)


def encode_png(image: tf.Tensor) -> bytes:
    """Encodes an image, float (height, width, channels) with white 1, as a PNG file."""
    pixels = tf.round(255 * tf.clip_by_value(image, 0, 1))
    return tf.io.encode_png(tf.cast(pixels, tf.uint8)).numpy()


def add_noise(images: tf.Tensor, level: float, seed: tf.Tensor) -> tf.Tensor:
    """Adds Gaussian noise to images, then clips and rounds them to uint8.

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
