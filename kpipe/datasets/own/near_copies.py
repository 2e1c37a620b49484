"""Near copies: images that were encoded again, resized, brightened or cropped a little."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SIDE = 32  # pixels of a thumbnail
COLORS = 4  # pixels of the coloured one

# Chosen on photographs, faces, digits and sprites, with copies made of them.
_RADIUS = 0.22  # of hashes, for candidates
_DIFFERENCE = 0.03  # 1 - correlation of thumbnails
_CROWDED_DIFFERENCE = 0.005
_COLOR = 32  # levels of 255
_NEIGHBOURS = 8
_CHUNK = 2048
_CROPS = ((0.97, (0, 0.015, 0.03)), (0.94, (0.03,)))  # sizes of a crop, and where it begins


def near_copies(thumbnails: "np.ndarray", colors: "np.ndarray") -> "np.ndarray":
    """Finds pairs of images of which one is a copy of the other.

    Candidates are neighbours by a perceptual hash, the lowest frequencies of the thumbnail without
    its brightness and contrast; at most `_NEIGHBOURS` of each image, in a tree, so that time and
    memory are about proportional to n. A pair counts if one thumbnail, or a crop of it, is almost
    the other. Where an image has many neighbours, as among digits and other drawings on a plain
    background, likeness says little: there thumbnails must be equal but for compression. Images
    without contrast have no copies.

    Args:
        thumbnails: uint8 (n, SIDE, SIDE), grey.
        colors: uint8 (n, COLORS, COLORS, 3).

    Returns:
        int64 (m, 2), positions of the pairs, the smaller one first.
    """
    import numpy as np
    from scipy.spatial import cKDTree

    hashes, contrast = _hashes(thumbnails)
    places = np.flatnonzero(contrast > 2 * SIDE)  # a standard deviation of 2 levels
    if len(places) < 2:
        return np.empty((0, 2), np.int64)
    hashes = hashes[places]
    tree = cKDTree(hashes)
    found, crowded = [], np.zeros(len(hashes), bool)
    for start in range(0, len(hashes), _CHUNK):
        some = hashes[start : start + _CHUNK]
        near = tree.query(some, _NEIGHBOURS + 1, distance_upper_bound=_RADIUS, workers=-1)
        others = np.asarray(near[1])
        crowded[start : start + _CHUNK] = others[:, -1] < len(hashes)
        first = np.repeat(np.arange(start, start + len(some)), _NEIGHBOURS + 1)
        pairs = np.stack([first, others.ravel()], axis=1)
        pairs = pairs[(pairs[:, 1] < len(hashes)) & (pairs[:, 0] != pairs[:, 1])]
        found.append(np.sort(pairs, axis=1))
    pairs = np.unique(np.concatenate(found), axis=0)
    is_crowded = crowded[pairs].any(axis=1)
    pairs = places[pairs]
    copies = np.zeros(len(pairs), bool)
    for limit, chosen in ((_DIFFERENCE, ~is_crowded), (_CROWDED_DIFFERENCE, is_crowded)):
        rows = np.flatnonzero(chosen)
        for start in range(0, len(rows), _CHUNK):
            some = rows[start : start + _CHUNK]
            crops = _CROPS if limit == _DIFFERENCE else ()
            alike = _differences(thumbnails[pairs[some]], crops) < limit
            copies[some] = alike & (_color_differences(colors[pairs[some]]) < _COLOR)
    return pairs[copies]


def _hashes(thumbnails: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """Returns the perceptual hash of each image, 15 numbers, and its contrast."""
    import numpy as np
    from scipy.fft import dct

    frequencies = dct(np.eye(SIDE), axis=0, norm="ortho")[:4].astype(np.float32)
    hashes, contrast = [], []
    for start in range(0, len(thumbnails), _CHUNK):
        images = thumbnails[start : start + _CHUNK].astype(np.float32)
        images -= images.mean(axis=(1, 2), keepdims=True)
        norms = np.sqrt(np.square(images).sum(axis=(1, 2)))
        low = (frequencies @ images @ frequencies.T).reshape(len(images), -1)[:, 1:]
        hashes.append(low / np.maximum(norms, 1)[:, None])
        contrast.append(norms)
    return np.concatenate(hashes), np.concatenate(contrast)


def _color_differences(colors: "np.ndarray") -> "np.ndarray":
    """Returns the largest difference of colours, (m,), at equal brightness of both images."""
    import numpy as np

    bright = colors.astype(np.float32)
    means = bright.mean(axis=(2, 3, 4), keepdims=True)
    bright *= means.mean(axis=1, keepdims=True) / np.maximum(means, 1)
    return np.abs(bright[:, 0] - bright[:, 1]).max(axis=(1, 2, 3))


def _differences(pairs: "np.ndarray", crops: tuple) -> "np.ndarray":
    """Returns 1 - correlation of two thumbnails, (m,): the smallest one for all crops of either."""
    import numpy as np

    first, second = pairs[:, 0].astype(np.float32), pairs[:, 1].astype(np.float32)
    best = np.maximum(0, _correlation(first, second))
    for size, starts in crops:
        for down in starts:
            rows = _crop(down, size)
            for right in starts:
                columns = _crop(right, size)
                best = np.maximum(best, _correlation(rows @ first @ columns.T, second))
                best = np.maximum(best, _correlation(rows @ second @ columns.T, first))
    return 1 - best


def _correlation(first: "np.ndarray", second: "np.ndarray") -> "np.ndarray":
    import numpy as np

    first = first - first.mean(axis=(1, 2), keepdims=True)
    second = second - second.mean(axis=(1, 2), keepdims=True)
    norms = np.square(first).sum(axis=(1, 2)) * np.square(second).sum(axis=(1, 2))
    return (first * second).sum(axis=(1, 2)) / np.sqrt(np.maximum(norms, 1))


def _crop(start: float, size: float) -> "np.ndarray":
    """Returns the matrix that enlarges a part of a row of pixels to the whole, linearly."""
    import numpy as np

    places = (start + size * (np.arange(SIDE) + 0.5) / SIDE) * SIDE - 0.5
    distances = np.abs(places[:, None] - np.arange(SIDE))
    weights = np.maximum(0, 1 - distances)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
