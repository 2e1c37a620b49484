import numpy as np
import pytest

from kpipe.datasets.samples import produce


@pytest.fixture(scope="module")
def painted():
    """Twelve pictures of each class: pictures and fine labels."""
    return produce.paint(12 * 81, seed=1)


def test_the_classes_are_those_of_the_grocery_store_dataset():
    assert len(produce.FINE) == len(set(produce.FINE)) == len(produce.COARSE_OF_FINE) == 81
    assert len(produce.COARSE) == len(set(produce.COARSE)) == 43
    assert set(produce.COARSE_OF_FINE) == set(range(43))
    assert list(produce.COARSE_OF_FINE) == sorted(produce.COARSE_OF_FINE)


@pytest.mark.parametrize(
    ("fine_id", "fine", "coarse_id", "coarse"),
    [
        (0, "Golden-Delicious", 0, "Apple"),
        (5, "Avocado", 1, "Avocado"),
        (27, "Satsumas", 18, "Satsumas"),
        (37, "Tropicana-Mandarin-Morning", 19, "Juice"),
        (43, "Garant-Ecological-Standard-Milk", 20, "Milk"),
        (58, "Yoggi-Vanilla-Yoghurt", 27, "Yoghurt"),
        (67, "Brown-Cap-Mushroom", 36, "Mushroom"),
        (79, "Vine-Tomato", 41, "Tomato"),
        (80, "Zucchini", 42, "Zucchini"),
    ],
)
def test_the_ids_are_the_official_ones(fine_id, fine, coarse_id, coarse):
    assert produce.FINE[fine_id] == fine
    assert produce.COARSE_OF_FINE[fine_id] == coarse_id
    assert produce.COARSE[coarse_id] == coarse


def test_no_two_classes_look_alike():
    looks = {(look.form, look.texture, look.colours) for look in produce.CLASSES}
    assert len(looks) == 81
    assert all(len(look.colours) == 5 for look in produce.CLASSES)


def test_every_form_and_texture_is_used():
    used = {name for look in produce.CLASSES for name in look.form}
    assert used == set(produce._FORMS)
    textures = {look.texture[0] for look in produce.CLASSES}
    assert textures - {"plain", "-"} == set(produce._MIXES)


@pytest.mark.parametrize(("count", "size"), [(0, 64), (1, 16), (5, 45), (90, 32), (3, 96)])
def test_shapes_and_types(count, size):
    images, labels = produce.paint(count, size=size)
    assert images.shape == (count, size, size, 3) and images.dtype == np.uint8
    assert labels.shape == (count,) and labels.dtype == np.int64


@pytest.mark.parametrize("wrong", [{"count": -1}, {"size": 15}, {"seed": -1}])
def test_arguments_out_of_range_are_refused(wrong):
    (argument,) = wrong.items()
    with pytest.raises(ValueError, match="{}={}".format(*argument)):
        produce.paint(**{"count": 1} | wrong)


@pytest.mark.parametrize("count", [40, 81, 100, 12 * 81])
def test_no_class_comes_up_much_more_often_than_another(count):
    _, labels = produce.paint(count, size=16)
    frequency = np.bincount(labels, minlength=81)
    assert len(frequency) == 81 and np.ptp(frequency) <= 1


def test_the_order_is_random(painted):
    labels = painted[1]
    assert abs(np.corrcoef(labels[:-1], labels[1:])[0, 1]) < 0.15
    assert (labels[:81] != labels[81:162]).mean() > 0.9


def test_the_same_arguments_paint_the_same_pictures():
    (images, labels), (again, their_labels) = (produce.paint(100, seed=3) for _ in range(2))
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(labels, their_labels)


def test_another_seed_paints_other_pictures():
    (images, labels), (others, their_labels) = (produce.paint(81, seed=seed) for seed in (3, 4))
    assert (labels != their_labels).any()
    images, others = images[labels.argsort()], others[their_labels.argsort()]  # class by class
    assert ((images != others).mean(axis=(1, 2, 3)) > 0.5).all()


def test_no_two_pictures_are_equal(painted):
    images = painted[0]
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_another_size_shows_the_same_scenes():
    (images, labels), (small, their_labels) = (produce.paint(81, size=size) for size in (64, 32))
    np.testing.assert_array_equal(labels, their_labels)
    shrunk = images.reshape(81, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    difference = np.abs(shrunk - small).mean(axis=(1, 2, 3))
    others = np.abs(shrunk - np.roll(small, 1, axis=0)).mean(axis=(1, 2, 3))
    assert difference.max() < 12 < np.median(others)


@pytest.mark.parametrize("size", [16, 64])
def test_no_part_is_cut_off_by_its_window(monkeypatch, size):
    images, _ = produce.paint(324, seed=5, size=size)
    monkeypatch.setattr(produce, "_reach", lambda part: 9)  # the whole picture
    np.testing.assert_array_equal(produce.paint(324, seed=5, size=size)[0], images)


def test_pictures_are_neither_flat_nor_dark(painted):
    images = painted[0]
    assert (images.std(axis=(1, 2, 3)) > 10).all()
    assert 90 < images.mean() < 160


def test_a_class_is_told_by_coarse_pixels_better_than_by_chance(painted):
    images, labels = painted
    pixels = images.reshape(-1, 8, 8, 8, 8, 3).mean(axis=(2, 4)).reshape(len(images), -1)
    train = np.arange(len(images)) < len(images) * 3 // 4
    centroids = np.stack([pixels[train & (labels == label)].mean(axis=0) for label in range(81)])
    distances = ((pixels[~train, None] - centroids) ** 2).sum(axis=2)
    right = distances.argmin(axis=1) == labels[~train]
    assert right.mean() > 5 / 81
