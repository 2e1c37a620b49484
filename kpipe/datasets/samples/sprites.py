"""The construction of dSprites (Matthey et al., 2017), drawn by NumPy alone.

White sprites on black, one for each combination of five factors, as in dSprites and in its order.
Factors and their values are those of dSprites; where the pixels' borders lie is ours. Sizes were
chosen so that 4.3 % of all pixels are white, as in dSprites.

Two ideas carry the module:

* Stamps. A place is a whole number of pixels, one to the right or downwards for each value of x or
  y. Hence only the 720 sprites of another shape, scale or orientation are drawn, and every image
  is one of them, stamped onto black.
* The frame of the sprite. It is described in its own coordinates, x to the right and y downwards;
  scale and orientation enter once, when the pixels' coordinates are computed. Orientations turn it
  clockwise.

Orientations 0 and 39 are the same turn, 0 and 2 pi, and show the same images. All others differ.

Pixels are compared by sums, products and quotients, all of which IEEE 754 rounds in one way only;
sines and cosines are rounded to six decimals, long before machines disagree. Indices are drawn
from the frozen `RandomState` stream. Hence all bytes are the same on other machines and with other
versions of NumPy.
"""

import functools
import math
from collections.abc import Mapping

import numpy as np

FACTORS = ("shape", "scale", "orientation", "x", "y")
SIZES = (3, 6, 40, 32, 32)  # values of each factor
SHAPES = ("square", "ellipse", "heart")

_SIZE = 64
_STAMP = _SIZE - SIZES[-1] + 1  # pixels on a side: at the last place it touches the edge
# From a pixel's centre to the sprite's, right and down. On the centre itself, small squares that
# are turned by two degrees would often have the same pixels; here none have.
_OFF_CENTRE = 5 / 16
_CHUNK = 4096  # images painted at once, whose stamps need 4 MB


def paint(factors: np.ndarray) -> np.ndarray:
    """Paints sprites.

    Args:
        factors: int (n, 5), values of `FACTORS`, each from 0 to its size in `SIZES` minus 1.

    Returns:
        The images, uint8 (n, 64, 64, 1), 255 where the sprite is and 0 elsewhere.

    Raises:
        ValueError: `factors` has another shape, or a value that there is not.

    Example:
        hearts = paint(np.array([[SHAPES.index("heart"), 5, 0, x, 16] for x in range(32)]))
    """
    factors = np.asarray(factors)
    if factors.ndim != 2 or factors.shape[1] != len(SIZES):
        raise ValueError(f"factors have the shape {factors.shape}, not (n, {len(SIZES)})")
    outside = ((factors < 0) | (factors >= np.array(SIZES))).any(axis=1)
    if outside.any():
        raise ValueError(
            f"factors={factors[outside][0].tolist()} are not all from 0 to {SIZES} - 1"
        )
    images = np.zeros((len(factors), _SIZE, _SIZE, 1), np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(
        images[..., 0], (_STAMP, _STAMP), axis=(1, 2), writeable=True
    )
    for start in range(0, len(factors), _CHUNK):
        shape, scale, orientation, x, y = factors[start : start + _CHUNK].T
        at = np.arange(start, start + len(shape))
        windows[at, y, x] = _stamps()[shape, scale, orientation]
    return images


def factors_of(indices: np.ndarray) -> np.ndarray:
    """The factors of the images at these indices of the whole set, the last varying fastest.

    Args:
        indices: int (n,), from 0 to 737,279.

    Returns:
        int64 (n, 5), see `paint`.

    Raises:
        ValueError: There is no such index.
    """
    return np.stack(np.unravel_index(indices, SIZES), axis=-1).astype(np.int64)


def index_of(factors: np.ndarray) -> np.ndarray:
    """The index in the whole set, int64 (n,), of factors, int (n, 5).

    Raises:
        ValueError: There is no such value of a factor.
    """
    return np.ravel_multi_index(np.asarray(factors).T, SIZES).astype(np.int64)


def choose(examples: Mapping[str, int], seed: int = 0) -> dict[str, np.ndarray]:
    """Chooses indices for each split at random, none of them twice.

    Args:
        examples: Their number in each split.
        seed: Selects them; from 0 to 2**32 - 1.

    Raises:
        ValueError: There are not so many indices.
    """
    order = np.random.RandomState(seed).permutation(math.prod(SIZES))
    if sum(examples.values()) > len(order):
        raise ValueError(f"examples={dict(examples)} are more than {len(order):,}")
    *parts, _ = np.split(order, np.cumsum([*examples.values()]))
    return dict(zip(examples, parts, strict=True))


@functools.cache
def _stamps():
    """All sprites at the first place: uint8 (shape, scale, orientation, row, column)."""
    angle = np.linspace(0, 2 * np.pi, SIZES[2])[:, None, None]
    cosine, sine = np.round(np.cos(angle), 6), np.round(np.sin(angle), 6)
    scale = np.linspace(0.5, 1, SIZES[1])[:, None, None, None]
    across = np.arange(_STAMP) - (_STAMP // 2 + _OFF_CENTRE)
    down = across[:, None]
    at = (cosine * across + sine * down) / scale, (cosine * down - sine * across) / scale
    return 255 * np.stack([_square(*at), _ellipse(*at), _heart(*at)]).astype(np.uint8)


def _square(x, y):
    return np.maximum(np.abs(x), np.abs(y)) <= 9.1


def _ellipse(x, y):
    across, down = x / 13, y / 6.5
    return across * across + down * down <= 1


def _heart(x, y):
    """The curve (x² + y² - 1)³ = x² y³, its tip below and its centre of mass in the origin."""
    across, up = x / 9, 0.293 - y / 9
    beyond = across * across + up * up - 1  # the unit circle
    return beyond * beyond * beyond <= across * across * up * up * up
