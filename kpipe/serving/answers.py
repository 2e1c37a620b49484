"""Answers in the JSON of TensorFlow Serving."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

_PIECE = 10_000  # numbers that are written at once: some milliseconds


def to_json(outputs: Mapping[str, np.ndarray], rows: bool) -> bytes:
    """Writes the outputs of a signature.

    Args:
        outputs: An array with one row per example, by name; the only one is written without it.
        rows: Whether each example is an object of its own, under "predictions"; else each output is
            a list of all examples, under "outputs".

    Example:
        to_json({"value": np.float32([0.1])}, rows=True)  # b'{"predictions": [0.1]}'
    """
    # A large array in one call would hold all other threads, the event loop's among them.
    if len(outputs) == 1:
        (content,) = map(_of_array, outputs.values())
    elif rows:
        content = _of_rows(outputs)
    else:
        content = _of_object({name: _of_array(values) for name, values in outputs.items()})
    return _of_object({"predictions" if rows else "outputs": content}).encode()


def _of_rows(outputs: Mapping[str, np.ndarray]) -> str:
    """Writes an object for each example."""
    sizes = [values.size for values in outputs.values()]
    count = len(next(iter(outputs.values())))
    at_once = _PIECE * count // max(1, sum(sizes))
    if at_once == 0:  # a single one is large
        rows = (
            {name: _of_array(values[i]) for name, values in outputs.items()} for i in range(count)
        )
        return f"[{', '.join(map(_of_object, rows))}]"
    parts = []
    for start in range(0, count, at_once):
        plain = [_plain(values[start : start + at_once]) for values in outputs.values()]
        parts.append(
            _dumps([dict(zip(outputs, row, strict=True)) for row in zip(*plain, strict=True)])[1:-1]
        )
    return f"[{', '.join(parts)}]"


def _of_array(values: np.ndarray) -> str:
    """Writes nested lists."""
    if values.size <= _PIECE:
        return _dumps(_plain(values))
    at_once = _PIECE * len(values) // values.size
    if at_once == 0:
        return f"[{', '.join(map(_of_array, values))}]"
    starts = range(0, len(values), at_once)
    return f"[{', '.join(_dumps(_plain(values[i : i + at_once]))[1:-1] for i in starts)}]"


def _of_object(texts: Mapping[str, str]) -> str:
    return f"{{{', '.join(f'{_dumps(name)}: {text}' for name, text in texts.items())}}}"


_dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


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
