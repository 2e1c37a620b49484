"""Images: conversion from files to the network's pixels, in preparation and export."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from ..datasets import Augmentation
from ..datasets.own.image_files import MAX_PIXELS, TOO_LARGE, readable, why_unreadable
from ..errors import UserError, first_line
from . import whitening
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

    def adapt(self, model: keras.Model, train: Any) -> None:
        """Fits what a new model takes from the train split before training: whitening filters."""
        if whitening.is_unfitted(model):
            whitening.fit(model, train)

    def check_values(self, values: np.ndarray, names: Callable[[int], str]) -> None:
        """Accepts all values: every byte is a valid pixel."""

    def explain(self, example: Mapping[str, tf.Tensor]) -> str:
        value = example["input"]
        if value.dtype == tf.string:
            if not value.numpy():
                return (
                    "is missing or empty, or cannot be opened; replace it, or remove it from the "
                    "lists"
                )
            reason = why_unreadable(value.numpy()) or "not by TensorFlow"
            what = f"is not an image that can be decoded ({reason})"
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


NOT_DECODED = (
    "a TIFF, AVIF or HEIC picture, a GIF with transparency, a WebP or PNG that is turned by EXIF, "
    "transparent by a colour or animated, or a BMP with a palette; convert it to JPEG, or to PNG "
    "with an alpha channel"
)
# Patterns of a file's first bytes; in RE2, \C is a byte.
# What says that neither side has more than 9,215 pixels, so that the picture is not too large.
_LOW = r"[\x00-\x23]"  # the higher one of two bytes
_SMALL = (
    rf"\CPNG\C{{12}}\x00\x00{_LOW}\C\x00\x00{_LOW}\C*|GIF8\C{{3}}{_LOW}\C{_LOW}\C*"
    rf"|BM\C{{17}}{_LOW}\x00\x00\C{_LOW}\x00\x00\C*"
)
_WEBP = "".join(rf"\x{flags:02x}" for flags in range(64) if flags & 0x1A)
# What TensorFlow would decode wrongly, and `readable` makes an ordinary PNG: a transparent
# colour of PNG and GIF, EXIF in PNG, palettes in BMP; EXIF, transparency and animation in WebP; and
# what it does not know: TIFF, AVIF, HEIC.
_REFUSED = (
    r"\CPNG\C{21}[\x00\x02]\C*tRNS\C*|\CPNG\C*eXIf\C*|BM\C{26}[\x01\x04\x08]\C*"
    r"|GIF8\C*!\C\x04[\x01\x05\x09\x0d]\C\C\C\x00[,!]\C*"
    rf"|RIFF\C{{4}}WEBPVP8X\C{{4}}[{_WEBP}]\C*|RIFF\C{{4}}WEBPVP8L\C{{8}}[\x10-\x1f]\C*"
    r"|II\x2a\x00\C*|MM\x00\x2a\C*|\C{4}ftyp\C*"
)
# What `_decode` alone decodes wrongly or not at all. Byte 25 of a PNG is its type of colour: 3 is a
# palette, which may be transparent; 4 and 6 have alpha.
_EXIF = r"\C*Exif\x00\x00\C*"
_EXIF_WITHIN = 2**14  # bytes in which a JPEG's orientation is looked for
_UNUSUAL = rf"\CPNG\C{{21}}[\x03\x04\x06]\C*|{_EXIF}|BM\C*|GIF8\C*|RIFF\C*|{_REFUSED}"


def read_images(paths: Sequence[pathlib.Path]) -> list[bytes]:
    """Reads image files, in a form that `decode_image` can decode.

    Raises:
        UserError: A file cannot be read; the message names it.
    """
    contents = []
    for path in paths:
        try:
            contents.append(readable(path.read_bytes()))
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None
    return contents


def unreadable(
    paths: Sequence[Any], contents: Sequence[bytes], shape: tuple[int, ...]
) -> UserError:
    """Returns an error that names the files that cannot be decoded, with the reasons."""
    bad: dict[str, str] = {}
    for path, content in zip(paths, contents, strict=True):
        try:
            decode_image(tf.constant(content), shape)
        except tf.errors.OpError as error:
            bad[str(path)] = why_unreadable(content) or first_line(error)
    if not bad:  # an older export may refuse what is decoded now
        bad = dict.fromkeys(map(str, paths), "the run's export cannot read all of these files")
    reasons = "; ".join(f"{path}: {why}" if len(bad) > 1 else why for path, why in bad.items())
    return UserError(
        f"{', '.join(bad)}: cannot be read as an image; convert it to JPEG or PNG ({reasons})"
    )


def decode_image(content: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """Decodes one image file of any size to the model's uint8 `shape`.

    Both preparation and the exported model use this function. It decodes JPEG, turned as EXIF says;
    PNG, with white behind what is transparent; and BMP, WebP and the first frame of GIF, but for
    the rare kinds that `datasets.own.image_files.readable` makes a PNG, which are refused, as is a
    file whose header says that it has more than `MAX_PIXELS`.

    Args:
        content: Scalar string, the encoded image.
        shape: (height, width, channels); 1 channel is grey, 3 are RGB.
    """
    # EXIF comes first, or after a profile of colours; to search 64 KiB takes a tenth of the time.
    matches = tf.strings.regex_full_match(tf.strings.substr(content, 0, 2**13), _UNUSUAL)

    # Whether it is unusual, and a JPEG in colour: both are known only when the size is.
    def of_jpeg() -> tuple[tf.Tensor, tf.Tensor]:
        found = tf.io.extract_jpeg_shape(content)
        pixels = tf.reduce_prod(tf.cast(found[:2], tf.float64))
        with tf.control_dependencies([_refuse_large(pixels)]):
            if shape[2] == 3:
                return tf.identity(matches), tf.constant(True)
            start = tf.strings.substr(content, 0, _EXIF_WITHIN)
            return tf.strings.regex_full_match(start, _EXIF), found[2] > 1

    def of_other() -> tuple[tf.Tensor, tf.Tensor]:
        is_small = tf.strings.regex_full_match(tf.strings.substr(content, 0, 32), _SMALL)
        checked = tf.cond(is_small, lambda: matches, lambda: matches & _is_not_too_large(content))
        return checked, tf.constant(False)

    is_unusual, is_color = tf.cond(tf.io.is_jpeg(content), of_jpeg, of_other)
    image = tf.cond(
        is_unusual,
        lambda: _decode_unusual(content, shape[2]),
        lambda: _decode_usual(content, shape[2], is_color),
    )
    return fit_image(image, shape)


def _decode(content: tf.Tensor, channels: int) -> tf.Tensor:
    """Decodes JPEG to the bits that Pillow decodes, and PNG."""
    # The name of the operation notwithstanding; `decode_image` has the fast, inexact transform.
    return tf.io.decode_jpeg(content, channels, dct_method="INTEGER_ACCURATE")


def _decode_usual(content: tf.Tensor, channels: int, is_color: tf.Tensor) -> tf.Tensor:
    """Decodes upright JPEG and PNG; `is_color` is whether it is a JPEG in colour."""
    if channels == 3:
        return _decode(content, 3)
    # libjpeg's grey of colours is not that of their RGB, and it knows none of CMYK.
    return tf.cond(
        is_color, lambda: _as_channels(_decode(content, 3), 1), lambda: _decode(content, 1)
    )


# Where the sides are in a header: first byte; byte 15, if it matters; places of the bytes of width
# and height, the lowest first, each 256 times the one before; divisor, modulus, and what is added.
_HEADERS = (
    (0x89, 0, (19, 18, 17, 16), (23, 22, 21, 20), 1, 2**33, 0),  # PNG
    (ord("B"), 0, (18, 19, 20, 21), (22, 23, 24, 25), 1, 2**33, 0),  # BMP
    (ord("G"), 0, (6, 7), (8, 9), 1, 2**33, 0),  # GIF
    (ord("R"), ord(" "), (26, 27), (28, 29), 1, 2**14, 0),  # WebP: lossy,
    (ord("R"), ord("L"), (21, 22), (22, 23, 24), 64, 2**14, 1),  # lossless: 14 bits each,
    (ord("R"), ord("X"), (24, 25, 26), (27, 28, 29), 1, 2**33, 1),  # extended
)
_FIRST, _KIND = np.array([header[:2] for header in _HEADERS], np.float64).T
_WEIGHTS = np.zeros((len(_HEADERS), 2, 32))
for _row, (_, _, *_sides, _divisor, _, _) in zip(_WEIGHTS, _HEADERS, strict=True):
    for _side, _places in enumerate(_sides):
        for _power, _place in enumerate(_places):
            _row[_side, _place] = 256**_power / (_divisor if _side else 1)
_LIMITS, _OFFSETS = np.array([header[5:] for header in _HEADERS], np.float64).T[..., None]


# Inlined, many small operations would cost time for every image, though they are not executed.
_rarely = tf.function(autograph=False, experimental_attributes={"_noinline": True})


def _refuse_large(pixels: tf.Tensor) -> tf.Operation:
    # `tf.debugging.Assert` would add a branch for every image.
    return tf.raw_ops.Assert(condition=pixels <= MAX_PIXELS, data=[TOO_LARGE])


@_rarely  # type: ignore[untyped-decorator]
def _is_not_too_large(content: tf.Tensor) -> tf.Tensor:
    """True; refuses a file, other than JPEG, whose header says that it has too many pixels."""
    head = tf.strings.join([tf.strings.substr(content, 0, 32), b"\0" * 32])
    data = tf.cast(tf.io.decode_raw(head, tf.uint8), tf.float64)[:32]  # beyond int64
    sides = tf.floor(tf.reduce_sum(_WEIGHTS * data, axis=-1))
    sides = tf.minimum(sides, 2.0**32 - sides) % _LIMITS + _OFFSETS  # negative: upside down
    is_kind = (data[0] == _FIRST) & ((data[15] == _KIND) | (_KIND == 0))
    pixels = tf.reduce_max(tf.where(is_kind, sides[:, 0] * sides[:, 1], 0))
    with tf.control_dependencies([_refuse_large(pixels)]):
        return tf.constant(True)


@_rarely  # type: ignore[untyped-decorator]
def _decode_unusual(content: tf.Tensor, channels: int) -> tf.Tensor:
    """Decodes a file that matches a pattern of unusual ones."""
    refused = tf.strings.regex_full_match(tf.strings.substr(content, 0, 2**13), _REFUSED)
    with tf.control_dependencies([tf.debugging.Assert(~refused, [NOT_DECODED])]):
        content = tf.identity(content)

    def from_png() -> tf.Tensor:
        # With channels=4 a palette of less than 8 bits would become nearly transparent.
        image = tf.cast(tf.io.decode_png(content), tf.int32)
        opaque = tf.fill(tf.concat([tf.shape(image)[:2], [1]], 0), 255)
        has_alpha = tf.shape(image)[2] % 2 == 0
        image = tf.cond(has_alpha, lambda: image, lambda: tf.concat([image, opaque], axis=2))
        colors, alpha = image[..., :-1], image[..., -1:]
        mixed = (colors * alpha + 255 * (255 - alpha) + 127) // 255
        mixed += tf.zeros((1, 1, 3), tf.int32)  # grey in three channels
        return _as_channels(tf.cast(mixed, tf.uint8), channels)

    def from_jpeg() -> tf.Tensor:
        is_color = tf.io.extract_jpeg_shape(content)[2] > 1
        image = _decode_usual(content, channels, is_color)
        return _turn(image, _orientation(content))

    def from_other() -> tf.Tensor:
        image = tf.io.decode_image(content, channels=3, expand_animations=False)
        return _as_channels(tf.ensure_shape(image, (None, None, 3)), channels)

    is_png = tf.equal(tf.strings.substr(content, 1, 3), b"PNG")
    return tf.cond(is_png, from_png, lambda: tf.cond(tf.io.is_jpeg(content), from_jpeg, from_other))


def _orientation(content: tf.Tensor) -> tf.Tensor:
    """Returns the EXIF orientation of a JPEG file, 1 (upright) to 8."""
    # Farther behind are other pictures of the same file, with EXIF of their own.
    parts = tf.strings.split(tf.strings.substr(content, 0, _EXIF_WITHIN), "Exif\0\0", maxsplit=1)
    found = tf.size(parts) > 1
    return tf.cond(found, lambda: _read_orientation(parts[1]), lambda: 1)


def _read_orientation(exif: tf.Tensor) -> tf.Tensor:
    """Returns the orientation in the first directory of a TIFF header; 1 if it has none."""
    data = tf.cast(tf.io.decode_raw(exif, tf.uint8), tf.int32)
    data = tf.pad(data, [[0, 16]])  # the header itself may be cut off
    is_intel = data[0] == ord("I")  # the last byte of a number is its highest

    def number(digits: tf.Tensor, size: int) -> tf.Tensor:
        powers = [256**i for i in range(size)]
        return tf.reduce_sum(digits * tf.where(is_intel, powers, powers[::-1]), axis=-1)

    start = tf.clip_by_value(number(data[4:8], 4), 0, tf.size(data) - 2)
    count = number(data[start : start + 2], 2)
    entries = data[start + 2 : start + 2 + 12 * count]
    entries = tf.reshape(entries[: tf.size(entries) // 12 * 12], (-1, 12))
    matches = number(entries[:, :2], 2) == 0x0112
    orientation = tf.reduce_max(tf.where(matches, number(entries[:, 8:10], 2), 1))
    return tf.where(orientation <= 8, tf.maximum(orientation, 1), 1)


def _turn(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns an image upright, (height, width, channels)."""
    channels = image.shape[-1]
    image = tf.cond(orientation > 4, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    down = tf.reduce_any(orientation == [3, 4, 7, 8])
    right = tf.reduce_any(orientation == [2, 3, 6, 7])
    image = tf.raw_ops.Reverse(tensor=image, dims=tf.stack([down, right, False]))
    return tf.ensure_shape(image, (None, None, channels))


def _as_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Converts RGB to grey if the model's images have 1 channel."""
    return tf.image.rgb_to_grayscale(image) if channels == 1 else image


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


def add_noise(images: tf.Tensor, level: float | tuple[float, float], seed: tf.Tensor) -> tf.Tensor:
    """Adds Gaussian noise to images, then clips and rounds them to uint8.

    Args:
        images: uint8 (batch, height, width, channels).
        level: Standard deviation as a fraction of full white, 0 for none; or the smallest and the
            largest, between which that of each image is drawn.
        seed: int (2,); the same seed gives the same noise.
    """
    if not level:
        return images
    deviation: tf.Tensor | float
    if isinstance(level, tuple):
        seed, other = tf.unstack(tf.random.split(tf.cast(seed, tf.int32), 2), num=2)
        shape = tf.stack([tf.shape(images)[0], 1, 1, 1])
        deviation = 255 * tf.random.stateless_uniform(shape, other, *level)
    else:
        deviation = 255 * level
    noise = deviation * tf.random.stateless_normal(tf.shape(images), seed)
    return tf.cast(
        tf.clip_by_value(tf.round(tf.cast(images, tf.float32) + noise), 0, 255), tf.uint8
    )
