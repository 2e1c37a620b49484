import numpy as np
import pytest
import tensorflow as tf

from kpipe import data, datasets
from kpipe.datasets import Augmentation
from kpipe.datasets.samples import faces as painter
from kpipe.inputs import ImageInput, Rows
from kpipe.inputs.augmentation import augment
from kpipe.training.batches import Schedule, training_batches

PLAIN = Augmentation()


@pytest.fixture
def split():
    """Ten one-pixel images whose value is their row."""
    rows = np.arange(10)
    images = rows.astype(np.uint8).reshape(10, 1, 1, 1)
    return data.Split(Rows(images), rows.astype(np.int32), rows, ImageInput((1, 1, 1)))


def labels_of(batches):
    return [labels.numpy().ravel().tolist() for _, labels in batches]


@pytest.mark.parametrize(("batch_size", "stack"), [(5, 1), (3, 1), (3, 3), (2, 2), (4, 8), (32, 1)])
def test_every_epoch_holds_every_example_once_in_an_order_of_its_own(split, batch_size, stack):
    schedule = Schedule(10, batch_size, stack)
    batches = training_batches(split, schedule, PLAIN, seed=1, step=0, epochs=3)
    seen = np.concatenate(labels_of(batches)).reshape(3, 10)
    assert all(sorted(epoch) == list(range(10)) for epoch in seen.tolist())
    assert not np.array_equal(seen[0], seen[1])
    assert not np.array_equal(seen[1], seen[2])


def test_the_order_depends_on_the_seed_alone(split):
    def order(seed):
        return labels_of(training_batches(split, Schedule(10, 3), PLAIN, seed, 0, 2))

    assert order(0) == order(0)
    assert order(0) != order(1)


@pytest.mark.parametrize("stack", [1, 2])
def test_a_run_can_start_at_any_element(split, stack):
    schedule = Schedule(10, 2, stack)
    whole = labels_of(training_batches(split, schedule, PLAIN, 0, 0, epochs=2))
    steps = 0
    for done, labels in enumerate(whole):
        rest = labels_of(training_batches(split, schedule, PLAIN, 0, steps, epochs=2))
        assert rest == whole[done:]
        steps += len(labels) // 2


def test_stacks_hold_the_same_batches_as_single_steps(split):
    single = training_batches(split, Schedule(10, 2), PLAIN, 0, 0, 1)
    stacked = training_batches(split, Schedule(10, 2, stack=2), PLAIN, 0, 0, 1)
    assert [images.shape[0] for images, _ in stacked] == [2, 2, 1]
    together = np.concatenate([labels.numpy() for _, labels in stacked])
    assert np.array_equal(together, np.concatenate([labels.numpy() for _, labels in single]))


def test_batches_come_in_order_and_only_once(split):
    assert labels_of(split.batches(4)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_augmentation_is_a_function_of_its_seed(faces):
    change = Augmentation(flip=True, shift=3, brightness=0.2)

    def result(seed):
        return augment(faces, change, tf.constant([0, seed], tf.int64)).numpy()

    assert np.array_equal(result(5), result(5))
    assert not np.array_equal(result(5), result(6))
    assert result(5).dtype == np.uint8 and result(5).shape == faces.shape


@pytest.fixture(scope="module")
def faces():
    return painter.paint(32, seed=0, size=32)[0]


def test_flip_mirrors_about_half_and_changes_nothing_else(faces):
    flipped = augment(faces, Augmentation(flip=True), tf.constant([0, 0], tf.int64)).numpy()
    same = (flipped == faces).all(axis=(1, 2, 3))
    mirrored = (flipped == faces[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same | mirrored).all()
    assert 8 <= mirrored.sum() <= 24


@pytest.mark.parametrize("stack", [1, 2])
def test_an_alternating_flip_shows_both_sides_of_each_image_in_two_epochs(stack):
    images = np.zeros((10, 8, 8, 1), np.uint8)
    images[:, 0, 0, 0] = 1 + np.arange(10)  # the value names the image, its place the side
    rows = np.arange(10)
    split = data.Split(Rows(images), rows.astype(np.int32), rows, ImageInput((8, 8, 1)))
    alternating = Augmentation(alternating_flip=True)

    def mirrored(first, seed=0):
        """Of each image, in each epoch."""
        found = np.zeros((4, 11), int)
        batches = training_batches(
            split, Schedule(10, 2, stack), alternating, seed, 5 * first, epochs=4
        )
        seen = np.concatenate([x.numpy().reshape(-1, 8, 8) for x, _ in batches])
        for i, image in enumerate(seen):
            assert image.sum() == image[0, 0] + image[0, -1]
            found[first + i // 10, image.max()] = image[0, -1] > 0
        return found[:, 1:]

    whole = mirrored(0)
    np.testing.assert_array_equal(whole[0], 1 - whole[1])
    np.testing.assert_array_equal(whole[:2], whole[2:])
    assert 1 <= whole[0].sum() <= 9
    np.testing.assert_array_equal(mirrored(1)[1:], whole[1:])  # also of a resumed run
    assert (mirrored(0, seed=1) != whole).any()


def test_both_flips_together_are_refused():
    with pytest.raises(ValueError, match="use one of them"):
        datasets.cifar10().augmented(flip=True, alternating_flip=True)


def test_shift_moves_by_at_most_so_many_pixels():
    images = np.zeros((64, 9, 9, 1), np.uint8)
    images[:, 4, 4] = 255
    moved = augment(images, Augmentation(shift=2), tf.constant([0, 0], tf.int64)).numpy()
    places = np.argwhere(moved[..., 0] == 255)
    assert len(places) == 64
    offsets = places[:, 1:] - 4
    assert np.abs(offsets).max() == 2 and len(np.unique(offsets, axis=0)) > 15


def test_brightness_stays_within_its_limit_and_does_not_wrap():
    images = np.full((200, 2, 2, 3), 250, np.uint8)
    lit = augment(images, Augmentation(brightness=0.1), tf.constant([0, 0], tf.int64)).numpy()
    assert lit.max() == 255 and 224 <= lit.min() < 240


def seeded(images, **changes):
    return augment(images, Augmentation(**changes), tf.constant([0, 0], tf.int64)).numpy()


def test_without_augmentation_inputs_stay_what_they_are():
    points = np.array([[0.25, -1.5]], np.float32)
    assert augment(points, PLAIN, tf.constant([0, 0], tf.int64)) is points


def test_rotation_turns_about_the_centre_by_at_most_its_limit():
    images = np.zeros((64, 33, 33, 1), np.uint8)
    images[:, 16, 28] = 255  # 12 pixels to the right of the centre
    turned = seeded(images, rotate=30.0).astype(float)[..., 0]
    weight = turned / turned.sum(axis=(1, 2), keepdims=True)
    rows = (weight.sum(axis=2) * np.arange(33)).sum(axis=1) - 16
    columns = (weight.sum(axis=1) * np.arange(33)).sum(axis=1) - 16
    np.testing.assert_allclose(np.hypot(rows, columns), 12, atol=0.6)
    angles = np.degrees(np.arctan2(rows, columns))
    assert 25 < angles.max() <= 31 and -31 <= angles.min() < -25


def test_zoom_changes_distances_from_the_centre_by_its_scale():
    images = np.zeros((64, 33, 33, 1), np.uint8)
    images[:, 15:18, 25:28] = 255  # 10 pixels to the right of the centre
    zoomed = seeded(images, zoom=0.2).astype(float)[..., 0]
    weight = zoomed / zoomed.sum(axis=(1, 2), keepdims=True)
    distances = (weight.sum(axis=1) * np.arange(33)).sum(axis=1) - 16
    assert 7.9 <= distances.min() < 8.6 and 11.4 < distances.max() <= 12.1


def test_contrast_keeps_the_mean_and_saturation_the_grey_value(faces):
    dull = faces // 2 + 60  # so that nothing is clipped
    contrast = seeded(dull, contrast=0.3).astype(float)
    assert np.abs(contrast.mean(axis=(1, 2, 3)) - dull.mean(axis=(1, 2, 3))).max() < 0.6
    coloured = seeded(dull, saturation=0.3).astype(float)
    assert np.abs(coloured.mean(axis=3) - dull.mean(axis=3)).max() < 1.0
    for changed in (contrast, coloured):
        scales = changed.std(axis=(1, 2, 3)) / dull.std(axis=(1, 2, 3))
        assert len(set(scales.round(2))) > 5


def test_erasing_greys_one_square_of_an_image():
    images = np.zeros((64, 20, 20, 3), np.uint8)
    erased = seeded(images, erase=0.5)
    assert set(np.unique(erased)) == {0, 127}
    for image in erased[..., 0] == 127:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        assert 4 <= len(rows) <= 11 and 4 <= len(columns) <= 11
        assert image.sum() == len(rows) * len(columns)
