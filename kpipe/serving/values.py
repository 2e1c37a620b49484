"""Values of a request as arrays and bytes, checked one by one: nothing is converted silently."""

import base64
import binascii
import datetime
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ..datasets.columns import Column, words_of
from ..datasets.own import image_files
from ..errors import first_line
from .limits import Refusal, bad_input

B64 = "b64"
Values = np.ndarray | list[bytes]
Place = Callable[[int], str]  # how a message names the example at a position

_ISO = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d)?")  # what the graph reads
_NULL = type(None)
# First bytes of the images that are decoded. Pillow would know more formats, and starts another
# program for one of them.
_IMAGES = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|BM|RIFF.{4}WEBP|II\x2a\0|MM\0\x2a|.{4}ftyp", re.DOTALL
)
# A scan of a progressive JPEG may have a few bytes, and takes as long as the picture is large.
# Ordinary files have up to 14; what a camera appends may contain the marker by chance.
SCANS = 100
_SCAN = b"\xff\xda"


def is_encoded(value: object) -> bool:
    """Whether a JSON value stands for bytes, {"b64": "..."}."""
    return type(value) is dict and value.keys() == {B64}


def as_numbers(
    values: Sequence[Any], spec: tf.TensorSpec, place: Place, longest: int
) -> np.ndarray:
    """Converts nested lists to an array.

    Args:
        values: One nested list, or number, for each example.
        spec: Shape, with a first dimension of examples, and dtype.
        place: Names the example at a position.
        longest: Largest size of a dimension that `spec` leaves open.

    Raises:
        Refusal: A value has another type or shape; the message names it.
    """
    dtype = np.dtype(spec.dtype.as_numpy_dtype)
    if dtype.kind not in "iuf":
        raise bad_input(f"{place(0)}: {spec.dtype.name} is no type of JSON")
    sizes = _sizes(values[0], spec.shape.as_list()[1:], place(0), longest)
    flat: list[Any] = list(values)
    for size in sizes:
        if {*map(type, flat)} != {list} or {*map(len, flat)} != {size}:
            raise _wrong(values, sizes, dtype, place)
        flat = list(itertools.chain.from_iterable(flat))
    is_float = dtype.kind == "f"
    if not {*map(type, flat)} <= ({int, float} if is_float else {int}):
        raise _wrong(values, sizes, dtype, place)
    try:
        with np.errstate(over="ignore"):
            array = np.array(flat, np.float64 if is_float else np.int64)
            converted = array.astype(dtype)
    except OverflowError:
        raise _wrong(values, sizes, dtype, place) from None
    if not (np.isfinite(converted) if is_float else converted == array).all():
        raise _wrong(values, sizes, dtype, place)
    return converted.reshape(len(values), *sizes)


def _sizes(first: Any, shape: Sequence[int | None], place: str, longest: int) -> list[int]:
    """Returns the sizes of an example; what a signature leaves open is that of the first."""
    sizes = []
    for size in shape:
        known = len(first) if type(first) is list else 0
        if size is None and not 0 < known <= longest:
            given = f"a list of {known:,}" if type(first) is list else _shown(first)
            raise bad_input(f"{place}: {given}; expected a list of 1 to {longest:,}")
        sizes.append(known if size is None else size)
        first = first[0] if known else None
    return sizes


def _wrong(values: Sequence[Any], sizes: Sequence[int], dtype: np.dtype, place: Place) -> Refusal:
    """Returns the refusal that names the first wrong value."""
    for i, value in enumerate(values):
        for path, expected, found in _find(value, sizes, dtype):
            return bad_input(f"{place(i)}{path}: {_shown(found)}; expected {expected}")
    return bad_input(f"{place(0)}: expected numbers of {dtype}")


def _find(
    value: Any, sizes: Sequence[int], dtype: np.dtype, path: str = ""
) -> Iterator[tuple[str, str, Any]]:
    """Yields wrong values: where they are, what was expected, and what was found."""
    if sizes:
        if type(value) is not list or len(value) != sizes[0]:
            listed = " × ".join(map(str, sizes))
            yield path, f"{listed} numbers" if len(sizes) == 1 else f"a list of {listed}", value
            return
        for i, item in enumerate(value):
            yield from _find(item, sizes[1:], dtype, f"{path}[{i}]")
    elif dtype.kind == "f":
        largest = float(np.finfo(dtype).max)
        if type(value) not in (int, float) or not -largest <= value <= largest:
            yield path, f"a number of {dtype}'s range, up to {largest:.2g}", value
    else:
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        if type(value) is not int or not low <= value <= high:
            yield path, f"an integer from {low} to {high}", value


def as_strings(values: Sequence[Any], place: Place) -> list[bytes]:
    """Converts texts, plain or as {"b64": "..."}, to UTF-8.

    Raises:
        Refusal: One is no text, or not valid UTF-8; the message names it.
    """
    return [_text(value, place(i)) for i, value in enumerate(values)]


def _text(value: Any, place: str) -> bytes:
    if is_encoded(value):
        content = _decoded(value, place)
        try:
            content.decode()
        except UnicodeDecodeError as error:
            raise bad_input(f"{place}: not valid UTF-8, at byte {error.start}") from None
        return content
    if type(value) is not str:
        raise bad_input(f'{place}: {_shown(value)}; expected a text, or {{"b64": "..."}}')
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        wrong = f"\\u{ord(value[error.start]):04x}"
        raise bad_input(f"{place}: not valid Unicode, a lone surrogate {wrong}") from None


def _decoded(value: dict[str, Any], place: str) -> bytes:
    text = value[B64]
    if type(text) is not str:
        raise bad_input(f"{place}.b64: {_shown(text)}; expected a text in base64")
    try:
        packed = "".join(text.split())  # as TensorFlow Serving: lines, and no padding, are allowed
        return base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise bad_input(f"{place}.b64: not valid base64 ({error})") from None


def as_images(
    values: Sequence[Any], place: Place, max_pixels: int
) -> tuple[list[bytes], list[int]]:
    """Converts encoded images to files that the graph decodes, with the pixels of each.

    Only their headers are read, unless a format is one that the graph does not know, see
    `image_files.readable`.

    Args:
        values: {"b64": "..."} for each image.
        place: Names the example at a position.
        max_pixels: Largest number of pixels of an image, and a quarter of that of all.

    Raises:
        Refusal: One is no image, or too large; the message names it.
    """
    contents, pixels = [], []
    for i, value in enumerate(values):
        if not is_encoded(value):
            raise bad_input(
                f'{place(i)}: {_shown(value)}; expected an image file as {{"b64": "..."}}'
            )
        content = image_files.without_texts(_decoded(value, place(i)))
        pixels.append(_pixels(content, place(i), max_pixels))
        if sum(pixels) > 4 * max_pixels:
            raise bad_input(
                f"{place(i)}: more than {4 * max_pixels / 1e6:g} megapixels with the images before "
                "it; send several requests"
            )
        contents.append(content)
    return [_readable(content, place(i)) for i, content in enumerate(contents)], pixels


def _readable(content: bytes, place: str) -> bytes:
    """Returns a file that the graph decodes; unlike `image_files.readable` never another one."""
    if image_files.is_decoded_by_graph(content):
        return content
    try:
        return image_files.as_png(content)
    except Exception as error:  # Pillow raises errors of many types
        raise _undecodable(place, first_line(error)) from None


def _undecodable(place: str, reason: str) -> Refusal:
    return bad_input(f"{place}: not an image that can be decoded ({reason})")


def _pixels(content: bytes, place: str, max_pixels: int) -> int:
    """Returns the number of pixels in an image's header."""
    if content and not _IMAGES.match(content):
        raise bad_input(f"{place}: not an image of a known format; expected JPEG or PNG")
    try:
        with image_files.open_image(content) as image:
            pixels = image.width * image.height
    except Exception:  # Pillow raises errors of many types
        reason = image_files.why_unreadable(content) or "damaged"
        raise _undecodable(place, reason) from None
    scans = content.count(_SCAN) if content[:2] == b"\xff\xd8" else 0
    if scans > SCANS + len(content) // 2**15:
        raise _undecodable(place, f"{scans:,} scans")
    if pixels > max_pixels:
        raise bad_input(
            f"{place}: {pixels / 1e6:.1f} megapixels; expected at most {max_pixels / 1e6:g}: make "
            "it smaller"
        )
    return pixels


def as_column(values: Sequence[Any], column: Column, place: Place) -> Values:
    """Converts the values of a table's column; null is a missing one.

    Raises:
        Refusal: A value has another type, or is no date; the message names it.
    """
    if column.is_number:
        allowed = {int, float, _NULL} | ({bool} if column.kind == "boolean" else set())
        _check(values, place, lambda value: type(value) in allowed, _expected(column))
        missing = np.array([value is None for value in values])
        known = [int(value) if type(value) is bool else value for value in values]
        known = [0 if value is None else value for value in known]
        numbers = as_numbers(known, tf.TensorSpec((None,), tf.float32), place, 0)
        if column.kind == "boolean":
            _check(values, place, lambda value: value in (None, 0, 1), _expected(column))
        return np.where(missing, np.float32(np.nan), numbers)
    _check(values, place, lambda value: type(value) in (str, dict, _NULL), _expected(column))
    words = as_strings(["" if value is None else value for value in values], place)
    return _as_dates(words, column, place) if column.kind == "date" else words


def _as_dates(words: list[bytes], column: Column, place: Place) -> list[bytes]:
    """Converts dates in the format of the file that was trained on, or ISO 8601, to the latter."""
    texts = [word.decode() for word in words]
    if not column.format and all(not text or _is_iso(text) for text in texts):
        return words
    import pandas as pd

    converted = words_of(pd.Series(texts, dtype=object), column)
    for i, (text, word) in enumerate(zip(texts, converted, strict=True)):
        if text.strip() and not word:
            raise bad_input(f"{place(i)}: {_shown(text)}; expected {_expected(column)}")
    return converted


def _is_iso(text: str) -> bool:
    try:
        return bool(_ISO.fullmatch(text) and datetime.datetime.fromisoformat(text))
    except ValueError:
        return False


def _expected(column: Column) -> str:
    example = f"{datetime.date(2024, 1, 31):{column.format or '%Y-%m-%d'}}"
    what = {
        "number": "a number",
        "boolean": "true or false, 1 or 0",
        "category": "a text",
        "date": f"a date such as {example}",
    }[column.kind]
    return f"{what}, or null if it is missing"


def _check(
    values: Sequence[Any], place: Place, is_right: Callable[[Any], bool], expected: str
) -> None:
    for i, value in enumerate(values):
        if not is_right(value):
            raise bad_input(f"{place(i)}: {_shown(value)}; expected {expected}")


def _shown(value: Any) -> str:
    """Writes a JSON value for a message."""
    if type(value) is list:
        return f"a list of {len(value):,}"
    if type(value) is dict:
        return "an object"
    if value is None or type(value) is bool:
        return {None: "null", True: "true", False: "false"}[value]
    if type(value) is int and value.bit_length() > 100:
        return "a number of many digits"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
