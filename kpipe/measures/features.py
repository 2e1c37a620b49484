"""Inputs of a simple method: pixels of reduced images, columns of a table."""

from typing import Any

import numpy as np

from ..data import Split

PIXELS = 16  # along each side of a reduced image
MOST_CATEGORIES = 255  # ids of a category that scikit-learn's trees do not treat as a number
PIECE = 4096  # examples whose inputs are in memory at once


def features_of(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Returns the inputs of vectors or tables, with missing values as NaN.

    Of a table they are numbers unscaled, dates as the network takes them, and the ids of
    categories.

    Returns:
        float32 (n, d), and bool (d,): whether an input is the id of a category.
    """
    column: Any = split.column
    columns = getattr(split.input, "columns", ())
    if not columns or not hasattr(column, "numbers"):
        values = column.take(split.rows).reshape(len(split), -1).astype(np.float32)
        return values, np.zeros(values.shape[1], bool)
    encoded = column.take(split.rows)
    numbers = np.asarray(column.numbers[split.rows], np.float32)
    num_categories = sum(found.kind == "category" for found in columns)
    parts, is_category, start, number = [], [], 0, 0
    for found in columns:
        if found.is_number:
            parts.append(numbers[:, number : number + 1])
            number += 1
        else:  # a category has no features, only its id
            parts.append(encoded[:, start : start + found.num_features])
        start += found.num_features
        is_category += [False] * parts[-1].shape[1]
    parts.append(encoded[:, encoded.shape[1] - num_categories :])
    is_category += [
        found.num_ids <= MOST_CATEGORIES for found in columns if found.kind == "category"
    ]
    return np.concatenate(parts, axis=1).astype(np.float32), np.array(is_category, bool)


def pixels_of(split: Split) -> np.ndarray:
    """Returns images averaged over squares to at most 16 × 16 pixels: float32 (n, d)."""
    pieces = []
    for start in range(0, len(split), PIECE):
        rows = split.rows[start : start + PIECE]
        images: np.ndarray = split.column.take(rows).astype(np.float32)
        for axis in (1, 2):
            size = images.shape[axis]
            edges = np.arange(0, size, -(-size // PIXELS))
            shape = [-1 if i == axis else 1 for i in range(images.ndim)]
            widths = np.diff(edges, append=size).astype(np.float32).reshape(shape)
            sums: np.ndarray = np.add.reduceat(images, edges, axis=axis)
            images = sums / widths
        pieces.append(images.reshape(len(rows), -1))
    return np.concatenate(pieces)
