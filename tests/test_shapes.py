import numpy as np
import pytest

from kpipe.datasets.samples import shapes


@pytest.fixture(scope="module")
def painted():
    """Three thousand pictures and their labels."""
    return shapes.paint(3000, seed=3)


@pytest.fixture(scope="module")
def recall(painted):
    """How a linear model on 16x16 pixels judges unseen pictures: shares [class, judgement]."""
    images, labels = painted
    pixels = images.reshape(3000, 16, 2, 16, 2, 3).mean(axis=(2, 4)).reshape(3000, -1)
    pixels = (pixels - pixels.mean(axis=0)) / pixels.std(axis=0)
    train, test, targets = pixels[:2000], pixels[2000:], np.eye(10)[labels]
    ridge = train.T @ train + 3000 * np.eye(train.shape[1])
    judged = (test @ np.linalg.solve(ridge, train.T @ targets[:2000])).argmax(axis=1)
    shares = targets[2000:].T @ np.eye(10)[judged]
    return shares / shares.sum(axis=1, keepdims=True)


def test_the_ten_names_stand_in_the_order_of_cifar_10():
    assert len(shapes.CLASSES) == 10
    assert sorted(shapes.CLASSES) == list(shapes.CLASSES)
    assert set(shapes._DRAWINGS) == set(shapes.CLASSES)


@pytest.mark.parametrize("count", [0, 1, 23, 700])
def test_shapes_and_types(count):
    images, labels = shapes.paint(count)
    assert images.shape == (count, 32, 32, 3) and images.dtype == np.uint8
    assert labels.shape == (count,) and labels.dtype == np.int64
    frequencies = np.bincount(labels, minlength=10)
    assert frequencies.size == 10 and frequencies.max() - frequencies.min() <= 1


@pytest.mark.parametrize("wrong", [{"count": -1}, {"seed": -1}])
def test_negative_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="negative"):
        shapes.paint(**{"count": 1} | wrong)


def test_the_same_arguments_show_the_same_pictures():
    for ours, theirs in zip(shapes.paint(200, seed=3), shapes.paint(200, seed=3), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_another_seed_shows_other_pictures():
    (images, labels), (others, their_labels) = shapes.paint(200), shapes.paint(200, seed=1)
    assert (labels != their_labels).any()
    assert all((image != other).mean() > 0.5 for image, other in zip(images, others, strict=True))


def test_no_two_pictures_are_equal(painted):
    assert len(np.unique(painted[0].reshape(3000, -1), axis=0)) == 3000


def test_classes_are_shuffled(painted):
    repeated = (np.diff(painted[1]) == 0).mean()
    assert 0.05 < repeated < 0.15  # sorted: nearly 1; in turn: 0
    assert all(len(set(part)) == 10 for part in painted[1].reshape(-1, 100))


def test_pictures_are_neither_dark_nor_pale_nor_flat(painted):
    images = painted[0].astype("f4")
    assert 90 < images.mean() < 165
    assert (images.std(axis=(1, 2)).max(axis=1) > 10).mean() > 0.99
    assert np.isin(painted[0], (0, 255)).mean() < 0.05


@pytest.mark.parametrize("name", shapes.CLASSES)
def test_the_label_tells_what_is_drawn(monkeypatch, name):
    """Without its drawing every picture of a class changes, and none painted before does."""
    images, labels = shapes.paint(100, seed=4)
    _, *surroundings = shapes._DRAWINGS[name]
    monkeypatch.setitem(shapes._DRAWINGS, name, (lambda canvas, at: None, *surroundings))
    label = shapes.CLASSES.index(name)
    empty, _ = shapes.paint(100, seed=4)
    np.testing.assert_array_equal(empty[labels < label], images[labels < label])
    assert (empty[labels == label] != images[labels == label]).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("name", shapes.CLASSES)
def test_a_class_is_seen(recall, name):
    label = shapes.CLASSES.index(name)
    others = np.delete(recall[:, label], label)
    assert recall[label, label] > 2 * others.mean()


def test_a_linear_model_leaves_something_to_be_learned(recall):
    assert 0.25 < recall.trace() / 10 < 0.6


@pytest.mark.parametrize("pair", ["cat dog", "automobile truck"])
def test_what_looks_alike_is_confused(recall, pair):
    one, other = (shapes.CLASSES.index(name) for name in pair.split())
    confused = recall + recall.T - 2 * np.diag(np.diag(recall))
    assert confused[one].argmax() == other
