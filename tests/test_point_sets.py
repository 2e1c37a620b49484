import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from kpipe.datasets.samples.point_sets import gaussian_mixture, peaks, peaks_surface, swiss_roll

SETS = pytest.mark.parametrize(
    ("draw", "dimensions", "classes"),
    [(gaussian_mixture, 5, 5), (peaks, 2, 5), (swiss_roll, 2, 2)],
    ids=["mixture", "peaks", "swiss roll"],
)


@pytest.mark.parametrize(
    ("x", "y", "z"),
    [
        (0, 0, 8 / (3 * math.e)),  # 3/e - 0 - 1/(3e) = 0.981
        (1, 0, 8 / math.e - math.exp(-4) / 3),  # 0 - 10 (1/5 - 1)/e - exp(-4)/3
        (0, 1, 3 * math.exp(-4) + 10 / math.e - math.exp(-2) / 3),
        (-1, 0, 12 * math.exp(-2) - 8 / math.e - 1 / 3),
        (0, -1, 3 - 10 / math.e - math.exp(-2) / 3),
    ],
)
def test_peaks_surface_has_the_values_computed_by_hand(x, y, z):
    assert peaks_surface(x, y) == pytest.approx(z, abs=1e-12)


def test_peaks_surface_spans_from_its_deepest_hollow_to_its_highest_hill():
    z = peaks_surface(*np.meshgrid(np.linspace(-3, 3, 301), np.linspace(-3, 3, 301)))
    assert (z.min(), z.max()) == pytest.approx((-6.551, 8.106), abs=0.005)


@SETS
@pytest.mark.parametrize("noisy", [True, False])
@pytest.mark.parametrize("count", [0, 1, 1003])
def test_shapes_types_and_balance(draw, dimensions, classes, noisy, count):
    points, labels = draw(count, noisy=noisy)
    assert (points.shape, points.dtype) == ((count, dimensions), np.float32)
    assert (labels.shape, labels.dtype) == ((count,), np.int64)
    sizes = np.bincount(labels, minlength=classes)
    assert len(sizes) == classes
    assert sizes.sum() == count
    assert sizes.max() - sizes.min() <= 1


@SETS
def test_the_order_is_random(draw, dimensions, classes):
    _, labels = draw(5000)
    assert (labels[1:] == labels[:-1]).mean() == pytest.approx(1 / classes, abs=0.03)


@SETS
def test_the_same_seed_draws_the_same_points(draw, dimensions, classes):
    for first, second in zip(draw(500, seed=3), draw(500, seed=3), strict=True):
        np.testing.assert_array_equal(first, second)


@SETS
def test_another_seed_draws_other_points_of_the_same_distribution(draw, dimensions, classes):
    points, labels = draw(10_000, seed=0)
    others, other_labels = draw(10_000, seed=1)
    assert not np.isin(points, others).all(axis=1).any()
    for k in range(classes):
        mine, theirs = points[labels == k], others[other_labels == k]
        np.testing.assert_allclose(mine.mean(axis=0), theirs.mean(axis=0), atol=0.12)
        np.testing.assert_allclose(mine.std(axis=0), theirs.std(axis=0), atol=0.08)


@SETS
def test_neighbours_tell_the_classes_and_softmax_regression_does_not(draw, dimensions, classes):
    train, test = draw(3000, seed=0), draw(1000, seed=1)
    neighbours = KNeighborsClassifier(5).fit(*train).score(*test)
    softmax = LogisticRegression(max_iter=1000).fit(*train).score(*test)
    assert neighbours > 0.85
    assert softmax < 0.65


@SETS
def test_few_labels_are_wrong(draw, dimensions, classes):
    # Neighbours that know the clean points leave little more than the wrong labels unexplained.
    points, labels = draw(5000, seed=1)
    clean = KNeighborsClassifier(5).fit(*draw(5000, seed=0, noisy=False))
    assert 0.01 < (clean.predict(points) != labels).mean() < 0.12


def test_without_noise_labels_of_peaks_are_levels_of_equal_height():
    points, labels = peaks(5000, noisy=False)
    assert np.abs(points).max() <= 3
    lowest, highest = -6.5497, 8.1054  # on the grid; it misses the summits by a little
    heights = peaks_surface(*points.T.astype(float))
    level = (heights - lowest) / (highest - lowest) * 5
    assert (level >= labels - 1e-4).all()
    assert (level <= labels + 1 + 1e-4).all()


def test_noise_carries_points_of_peaks_into_neighbouring_levels_and_over_the_edge():
    points, labels = peaks(5000)
    heights = peaks_surface(*points.T.astype(float))
    level = np.clip((heights + 6.55) / 14.655 * 5, 0, 4.99).astype(int)
    assert 0.85 < (level == labels).mean() < 0.95
    assert 3 < np.abs(points).max() < 3.3


def test_without_noise_radii_of_the_swiss_roll_grow_with_the_angle():
    points, labels = swiss_roll(4000, noisy=False)
    radius, angle = np.hypot(*points.T), np.arctan2(points[:, 1], points[:, 0])
    turned = radius - 0.2 * labels
    assert (turned.min(), turned.max()) == pytest.approx((0, 1), abs=0.01)
    assert np.abs(np.sin((4 * np.pi * turned - angle) / 2)).max() < 1e-3  # two turns in all
    for k in range(2):
        order = np.argsort(radius[labels == k])
        unwound = np.unwrap(angle[labels == k][order])
        assert (np.diff(unwound) > -1e-3).all()
        assert unwound[-1] - unwound[0] == pytest.approx(4 * np.pi, abs=0.05)


def test_points_of_the_swiss_roll_stray_by_0_038_from_their_spirals():
    points, _ = swiss_roll(4000)
    turned = np.linspace(0, 1, 2000)
    circle = np.stack([np.cos(4 * np.pi * turned), np.sin(4 * np.pi * turned)])
    spirals = np.concatenate([turned * circle, (turned + 0.2) * circle], axis=1)
    distance, _ = NearestNeighbors(n_neighbors=1).fit(spirals.T).kneighbors(points)
    assert np.sqrt((distance**2).mean()) == pytest.approx(0.038, abs=0.004)


def test_the_gaussians_of_the_mixture_are_flat():
    points, _ = gaussian_mixture(6000)
    # Near a hyperplane, that is: around a point, the least spread is much less than the largest.
    near = NearestNeighbors(n_neighbors=100).fit(points).kneighbors(points[:200])[1]
    spreads = np.sqrt(np.linalg.eigvalsh([np.cov(points[i].T) for i in near]))
    assert 0.05 < np.median(spreads[:, 0]) < 0.1
    assert np.median(spreads[:, -1]) > 1.5 * np.median(spreads[:, 0])
