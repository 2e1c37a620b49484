"""Answers in the JSON of TensorFlow Serving."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def to_json(outputs: Mapping[str, np.ndarray], rows: bool) -> bytes:
    """Writes the outputs of a signature.

    Args:
        outputs: An array with one row per example, by name; the only one is written without it.
        rows: Whether each example is an object of its own, under "predictions"; else each output is
            a list of all examples, under "outputs".

    Example:
        to_json({"value": np.float32([0.1])}, rows=True)  # b'{"predictions": [0.1]}'
    """
    plain = {name: _plain(values) for name, values in outputs.items()}
    content: Any
    if len(plain) == 1:
        (content,) = plain.values()
    elif rows:
        content = [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
    else:
        content = plain
    text = json.dumps(
        {"predictions" if rows else "outputs": content}, ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def _plain(values: np.ndarray) -> list[Any]:
    """Returns an array as nested lists of JSON values."""
    if values.dtype == np.float32:
        return _short(values)
    if values.dtype.kind == "O":  # bytes
        flat = [word.decode(errors="replace") for word in values.ravel()]
        return np.array(flat, object).reshape(values.shape).tolist()
    return values.tolist()


def _short(values: np.ndarray) -> list[Any]:
    """Returns float32 as numbers of 6 digits if they identify it, else of 9, and never of 17."""
    short = _rounded(values.ravel(), 6)
    differs = short.astype(np.float32) != values.ravel()
    short[differs] = _rounded(values.ravel()[differs], 9)
    nested: list[Any] = short.reshape(values.shape).tolist()
    return nested


def _rounded(values: np.ndarray, digits: int) -> np.ndarray:
    texts = f"%.{digits}g " * len(values) % tuple(values.tolist())
    return np.fromiter(map(float, texts.split()), float, len(values))
