import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from kpipe import data, datasets
from kpipe.data import Schedule, augment, decode_image, fit_image, training_batches
from kpipe.datasets import Augmentation, Source
from kpipe.errors import UserError

PLAIN = Augmentation()


@pytest.fixture
def split():
    """Ten one-pixel images whose value is their row."""
    rows = np.arange(10)
    images = rows.astype(np.uint8).reshape(10, 1, 1, 1)
    return data.Split(images, rows.astype(np.int32), rows)


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
    whole = labels_of(training_batches(split, schedule, PLAIN, 0, 0, epochs=3))
    steps = 0
    for done, labels in enumerate(whole):
        rest = labels_of(training_batches(split, schedule, PLAIN, 0, steps, epochs=3))
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
    return datasets.faces.paint(32, seed=0, size=32)[0]


def test_flip_mirrors_about_half_and_changes_nothing_else(faces):
    flipped = augment(faces, Augmentation(flip=True), tf.constant([0, 0], tf.int64)).numpy()
    same = (flipped == faces).all(axis=(1, 2, 3))
    mirrored = (flipped == faces[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same | mirrored).all()
    assert 8 <= mirrored.sum() <= 24


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


@pytest.mark.parametrize("encode", [tf.io.encode_png, tf.io.encode_jpeg])
def test_an_image_of_the_right_size_is_decoded_as_it_is(encode, faces):
    content = encode(faces[0])
    expected = tf.io.decode_image(content).numpy()
    assert np.array_equal(decode_image(content, (32, 32, 3)).numpy(), expected)


def test_a_wide_image_is_cut_to_its_central_part_and_resized():
    image = np.zeros((20, 60, 1), np.uint8)
    image[:, 20:40] = 200
    assert np.array_equal(fit_image(image, (10, 10, 1)).numpy(), np.full((10, 10, 1), 200))


def test_a_colour_file_can_feed_a_grey_model(faces):
    assert decode_image(tf.io.encode_png(faces[0]), (28, 28, 1)).shape == (28, 28, 1)


def test_the_second_preparation_reads_nothing(digits):
    dataset = datasets.mnist()

    def must_not_read(split):
        raise AssertionError(split)

    source = dataclasses.replace(dataset.find("sample"), read=must_not_read)
    again = data.prepare(dataset, source)
    assert np.array_equal(again.test.images, digits.test.images)
    assert again.fingerprint == digits.fingerprint


def test_val_is_cut_from_train_by_seed_without_overlap_and_stratified(digits):
    train, val = digits.train, digits.val
    assert len(val) == 144 and len(train) == 1293
    assert not set(train.rows) & set(val.rows)
    assert np.bincount(val.labels[val.rows]).min() >= 13
    dataset = datasets.mnist()
    other = data.prepare(dataset, dataset.find("sample"), seed=1)
    assert not np.array_equal(other.val.rows, val.rows)


def _source(tmp_path, contents, examples):
    """A source of encoded images for train; val and test are good."""
    good = tf.io.encode_png(np.zeros((32, 32, 3), np.uint8)).numpy()

    def read(split):
        images = contents if split == "train" else [good]
        return tf.data.Dataset.from_tensor_slices(
            {
                "name": [f"{split}/{i}.jpg" for i in range(len(images))],
                "image": images,
                "label": np.zeros((len(images), 40), np.uint8),
            }
        )

    identity = str(tmp_path)
    return Source("real", "test images", identity, examples, False, read), good


def test_an_image_that_cannot_be_decoded_is_named(tmp_path):
    source, good = _source(tmp_path, None, None)
    source, _ = _source(tmp_path, [good, good, b"<html>", good], {"train": 4, "val": 1, "test": 1})
    with pytest.raises(UserError, match=r"^train/2\.jpg is not an image that can be decoded"):
        data.prepare(datasets.celeba(), source)


def test_fewer_images_than_announced_are_refused(tmp_path):
    _, good = _source(tmp_path, None, None)
    source, _ = _source(tmp_path, [good], {"train": 3, "val": 1, "test": 1})
    with pytest.raises(UserError, match="train holds 1 of 3 examples"):
        data.prepare(datasets.celeba(), source)


def test_an_empty_split_is_refused(tmp_path):
    source, _ = _source(tmp_path, None, {"train": 100, "val": 0, "test": 0})
    with pytest.raises(UserError, match="0 examples in its val split"):
        data.prepare(datasets.celeba(), source)


def test_shared_images_are_counted():
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    images[4] = images[0]
    labels = np.zeros(6, np.int32)
    first = data.Split(images, labels, np.arange(3))
    second = data.Split(images, labels, np.arange(3, 6))
    assert data.count_shared(first, second) == 1
