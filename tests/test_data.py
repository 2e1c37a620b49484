import dataclasses

import numpy as np
import own
import pytest
import tensorflow as tf

from kpipe import data, datasets
from kpipe.datasets import Source
from kpipe.datasets.samples import faces as painter
from kpipe.errors import UserError
from kpipe.inputs import Rows, read_examples
from kpipe.inputs.images import decode_image, fit_image


@pytest.fixture(scope="module")
def faces():
    return painter.paint(32, seed=0, size=32)[0]


def test_an_image_of_the_right_size_is_decoded_as_it_is(faces):
    content = tf.io.encode_png(faces[0])
    assert np.array_equal(decode_image(content, (32, 32, 3)).numpy(), faces[0])


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
    assert np.array_equal(again.test.inputs, digits.test.inputs)
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
                "input": images,
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
    with pytest.raises(UserError, match="train contains 1 of 3 examples"):
        data.prepare(datasets.celeba(), source)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ({"train": 100, "val": 0, "test": 0}, "the val split is empty; expected at least 1 exam"),
        ({"train": 100}, "its splits are train; expected train, test and"),
        ({"train": 9, "test": 9, "validation": 9}, "its splits are train, test, validation; exp"),
        ({}, "its splits are none; expected"),
    ],
)
def test_an_empty_missing_or_unknown_split_is_refused(tmp_path, examples, message):
    source, _ = _source(tmp_path, None, examples)
    with pytest.raises(UserError, match=f"^test images: {message}"):
        data.prepare(datasets.celeba(), source)


@pytest.mark.parametrize(
    ("shape", "dtype", "content", "message"),
    [
        (
            (2,),
            "float32",
            "a,b\n1,2\n3,nan\n",
            "row 2: nan; expected finite numbers of float",
        ),
        ((2,), "float32", "1,2\n3,-inf\n", "row 2: -inf; expected finite"),
        ((2,), "float32", "1e39,2\n", r"row 1: 1e\+39; expected finite"),
        ((2,), "int32", "1,2.5\n", "row 1: 2.5; expected finite numbers of int32"),
        ((2,), "float32", np.array([["1", "2"]]), "<U1 .1, 2.; expected 2 numbers per row"),
        ((2,), "float32", np.zeros((4, 3)), "float64 .4, 3.; expected 2 numbers per row"),
        ((2,), "float32", np.array([[0, 1], [np.inf, 1]]), "row 2: inf"),
        ((10, 3), "float32", "1,2\n", "expected a .npy file with 10 × 3 numbers per row"),
    ],
)
def test_a_table_that_a_model_cannot_take_is_refused(tmp_path, shape, dtype, content, message):
    path = tmp_path / ("rows.csv" if isinstance(content, str) else "rows.npy")
    path.write_text(content) if isinstance(content, str) else np.save(path, content)
    with pytest.raises(UserError, match=f"^{path}: {message}"):
        read_examples([path], tf.TensorSpec((None, *shape), dtype))


def test_a_table_becomes_the_models_inputs(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2.5\n3,4\n")
    table = read_examples([tmp_path / "rows.csv"], tf.TensorSpec((None, 2), tf.float32)).values
    assert table.dtype == np.float32 and table.tolist() == [[1, 2.5], [3, 4]]


def test_shared_images_are_counted():
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    images[4] = images[0]
    labels = np.zeros(6, np.int32)
    first = data.Split(Rows(images), labels, np.arange(3))
    second = data.Split(Rows(images), labels, np.arange(3, 6))
    assert data.count_shared(first, second) == 1


def test_val_goes_back_into_train_for_retraining(digits):
    both = digits.with_val_in_train()
    assert both.val is None and both.test is digits.test
    assert sorted(both.train.rows) == sorted([*digits.train.rows, *digits.val.rows])


def test_val_of_its_own_array_goes_back_into_train_too():
    splits = {name: own.blobs(30, seed=i) for i, name in enumerate(["train", "val", "test"])}
    dataset = own.dataset(splits, name="with_val")
    prepared = data.prepare(dataset, dataset.find())
    both = prepared.with_val_in_train()
    assert both.examples == {"train": 60, "test": 30}
    inputs, labels = both.train.take(np.array([29, 30]))
    assert np.array_equal(inputs[0], prepared.train.inputs[-1])
    assert np.array_equal(inputs[1], prepared.val.inputs[0])
    assert labels[1] == prepared.val.labels[0]


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("int32", np.nan), ("int32", 3e9), ("bool", 0.5)],
)
def test_numbers_that_a_whole_input_dtype_does_not_have_are_refused(dtype, value):
    inputs, labels = np.ones((8, 2), np.float32), np.arange(8) % 2
    examples = {"train": (inputs, labels), "test": (inputs.copy(), labels)}
    dataset = own.dataset(examples, input_dtype=dtype)
    right = data.prepare(dataset, dataset.find()).train.inputs
    assert right.dtype == dtype and (right == 1).all()
    inputs[5, 1] = value
    wrong = dataclasses.replace(dataset.find(), identity=f"{value}")
    with pytest.raises(UserError, match=f"^mine train 5 contains other numbers than .*{dtype}"):
        data.prepare(dataset, wrong)
