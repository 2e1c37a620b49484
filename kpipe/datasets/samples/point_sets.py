"""Three sets of labelled points known from courses: a Gaussian mixture, peaks and a Swiss roll.

Peaks and Swiss roll are test problems of Haber and Ruthotto ("Stable architectures for deep neural
networks", 2017; their code is Meganet). As in courses, the points stray and a few labels are wrong.
No hyperplanes tell the classes apart, whereas the nearest neighbours do.

Every function returns points of shape (count, d) as float32 and labels of shape (count,) as int64.
The classes are equally large (what does not divide evenly goes to the first ones), the order is
random, and the same arguments give the same points. Another seed draws other points from the same
distribution, such as a test set. With `noisy=False` points do not stray and all labels are right.
"""

import numpy as np

# Shares, spreads and noises were fitted to the sets that one course hands out. The labels of these
# shares of the points are shuffled among themselves, so that some keep the right one.
_SHUFFLED = {"mixture": 0.02, "peaks": 0.02, "swiss roll": 0.04}
_MIXTURE_SEED = 28  # chosen among the first forty: about as difficult as the course's mixture


def gaussian_mixture(
    count: int, seed: int = 0, *, noisy: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Points in five dimensions; each of the five classes is a mixture of five Gaussians.

    A point of a Gaussian is m + Q (s z) with standard normal z. The mean m is normal itself, with
    standard deviation 0.66; Q turns at random; the spreads s are 0.08, 0.14, 0.19, 0.21 and 0.23.

    Args:
        count: Number of points.
        seed: Draws the points; the Gaussians are always the same.
        noisy: Whether 1.6 % of the labels are wrong.

    Example:
        >>> points, labels = gaussian_mixture(25_000)
        >>> points.shape, points.dtype, labels.shape
        ((25000, 5), dtype('float32'), (25000,))
    """
    fixed = np.random.RandomState(_MIXTURE_SEED)
    means = fixed.normal(scale=0.66, size=(25, 5))
    axes = np.linalg.qr(fixed.normal(size=(25, 5, 5)))[0] * [0.08, 0.14, 0.19, 0.21, 0.23]

    random = np.random.RandomState(seed)
    labels = np.arange(count) % 5
    chosen = labels + 5 * random.randint(5, size=count)
    normal = random.normal(size=(count, 5))
    points = means[chosen] + np.einsum("nij,nj->ni", axes[chosen], normal)
    return _finished(points, labels, noisy * _SHUFFLED["mixture"], random)


def peaks(count: int, seed: int = 0, *, noisy: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Points of the plane; the label is the level, 0 to 4, of `peaks_surface` below the point.

    The surface over a grid of 256x256 points in [-3, 3]² is cut into five levels of equal height.
    Grid points are drawn level by level, with replacement, since the middle one covers 73 %.

    Args:
        count: Number of points.
        seed: Draws the points.
        noisy: Whether normal noise of standard deviation 0.06 is added, across the levels' borders
            too, and 1.6 % of the labels are wrong.

    Example:
        >>> points, labels = peaks(25_000)
        >>> points.shape, points.dtype, labels.shape
        ((25000, 2), dtype('float32'), (25000,))
    """
    random = np.random.RandomState(seed)
    grid = np.stack(np.meshgrid(*[np.linspace(-3, 3, 256)] * 2), axis=-1).reshape(-1, 2)
    heights = peaks_surface(*grid.T)
    levels = np.digitize(heights, np.linspace(heights.min(), heights.max(), 6)[1:-1])
    labels = np.sort(np.arange(count) % 5)
    sizes = np.bincount(labels, minlength=5)
    chosen = [random.choice(np.flatnonzero(levels == k), size) for k, size in enumerate(sizes)]
    points = grid[np.concatenate(chosen)] + noisy * random.normal(scale=0.06, size=(count, 2))
    return _finished(points, labels, noisy * _SHUFFLED["peaks"], random)


def peaks_surface(x, y):
    """MATLAB's function `peaks`, with three hills and three hollows in [-3, 3]².

    z = 3 (1 - x)² exp(-x² - (y + 1)²) - 10 (x/5 - x³ - y⁵) exp(-x² - y²) - 1/3 exp(-(x + 1)² - y²)

    Example:
        >>> peaks_surface(1.0, 0.0)  # 8 exp(-1) - exp(-4) / 3
        2.9369...
    """
    z = 3 * (1 - x) ** 2 * np.exp(-(x**2) - (y + 1) ** 2)
    z = z - 10 * (x / 5 - x**3 - y**5) * np.exp(-(x**2) - y**2)
    return z - np.exp(-((x + 1) ** 2) - y**2) / 3


def swiss_roll(count: int, seed: int = 0, *, noisy: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Points of the plane on two spirals, the second one (label 1) outside the first one (label 0).

    (r cos a, r sin a) with an angle a even in [0, 4π], two turns, and r = a / 4π + 0.2 label.

    Args:
        count: Number of points.
        seed: Draws the points.
        noisy: Whether normal noise of standard deviation 0.038 is added and 2 % of the labels are
            wrong.

    Example:
        >>> points, labels = swiss_roll(20_000)
        >>> points.shape, points.dtype, labels.shape
        ((20000, 2), dtype('float32'), (20000,))
    """
    random = np.random.RandomState(seed)
    labels = np.arange(count) % 2
    turned = random.uniform(size=count)
    angle = 4 * np.pi * turned
    points = (turned + 0.2 * labels) * np.stack([np.cos(angle), np.sin(angle)])
    points = points.T + noisy * random.normal(scale=0.038, size=(count, 2))
    return _finished(points, labels, noisy * _SHUFFLED["swiss roll"], random)


def _finished(points, labels, share, random):
    """The points in random order, with the labels of a share of them shuffled."""
    order = random.permutation(len(labels))
    points, labels = points[order].astype(np.float32), labels[order].astype(np.int64)
    some = random.choice(len(labels), round(share * len(labels)), replace=False)
    labels[some] = random.permutation(labels[some])  # the classes stay equally large
    return points, labels
