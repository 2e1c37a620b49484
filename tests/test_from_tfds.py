"""Any TFDS dataset with an image or texts, and a class."""

import dataclasses
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

from kpipe import data, datasets
from kpipe.datasets.prepared import usual_splits
from kpipe.errors import UserError
from kpipe.inputs.images import decode_image

LABELS = np.arange(30) % 3


def store(folder, name, features, examples, splits, config=None):
    """Writes a prepared dataset as TFDS does."""
    import tensorflow_datasets as tfds

    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        config=config,
        data_dir=folder,
        features=tfds.features.FeaturesDict(features),
        split_datasets={
            split: tf.data.Dataset.from_tensor_slices(
                {key: values[rows] for key, values in examples.items()}
            )
            for split, rows in splits.items()
        },
        disable_shuffling=True,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    import tensorflow_datasets as tfds

    f = tfds.features
    folder = tmp_path_factory.mktemp("tfds")
    fruit = f.ClassLabel(names=["apple", "pear", "plum"])
    images = np.arange(30 * 192, dtype=np.uint8).reshape(30, 8, 8, 3)
    texts = np.array([f"text {n}" for n in range(30)])
    store(
        folder,
        "fruit",
        {"photo": f.Image(shape=(None, None, 3)), "kind": fruit, "id": f.Text()},
        {"photo": images, "kind": LABELS, "id": texts},
        {"train": slice(0, 30)},
    )
    store(
        folder,
        "notes",
        {"title": f.Text(), "body": f.Text(), "label": fruit, "other": fruit, "id": f.Text()},
        {"title": texts, "body": texts, "label": LABELS, "other": LABELS, "id": texts},
        {"train": slice(0, 12), "validation": slice(12, 21), "test": slice(21, 30)},
        config="plain",
    )
    store(folder, "words", {"text": f.Text()}, {"text": texts}, {"train": slice(0, 9)})
    store(folder, "labels", {"label": fruit}, {"label": LABELS}, {"train": slice(0, 9)})
    return folder


def test_an_image_and_a_class_are_found_by_their_types(folder):
    dataset = datasets.from_tfds("fruit", image_size=8, val_fraction=0.25, data_dir=folder)
    assert dataset.input_shape == (8, 8, 3) and dataset.label_names == ("apple", "pear", "plum")
    assert dataset.task == "classification"
    source = dataset.find("real", folder)
    assert source.examples == {"train": 24, "test": 6} and source.official
    prepared = data.prepare(dataset, source)
    assert prepared.examples == {"train": 18, "val": 6, "test": 6}
    images = np.arange(30 * 192, dtype=np.uint8).reshape(30, 8, 8, 3)
    np.testing.assert_array_equal(prepared.test.inputs, images[24:])
    assert prepared.test.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_jpeg_is_decoded_as_an_export_does_whatever_the_name_of_the_image(tmp_path):
    import tensorflow_datasets as tfds

    photo = tfds.features.Image(shape=(8, 8, 3), encoding_format="jpeg")
    images = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 3)).astype(np.uint8)
    features = {"photo": photo, "kind": tfds.features.ClassLabel(num_classes=3)}
    store(tmp_path, "fruit", features, {"photo": images, "kind": LABELS}, {"train": slice(0, 30)})
    (shard,) = tmp_path.rglob("*.tfrecord*")
    wanted = {"photo": tf.io.FixedLenFeature((), tf.string)}
    encoded = [
        tf.io.parse_single_example(record, wanted)["photo"]
        for record in tf.data.TFRecordDataset(str(shard))
    ]
    dataset = datasets.from_tfds("fruit", image_size=8, data_dir=tmp_path)
    source = dataset.find("real", tmp_path)
    assert source.has_jpeg
    decoded = data.prepare(dataset, source).test.inputs
    np.testing.assert_array_equal(decoded, [decode_image(one, (8, 8, 3)) for one in encoded[24:]])
    fast = [tf.io.decode_image(one) for one in encoded[24:]]
    assert (decoded != fast).any()  # as version 1 of the JPEG decoding, which has other arrays


def test_only_data_that_may_contain_jpeg_have_its_decoding_in_their_fingerprint(folder):
    fruit = datasets.from_tfds("fruit", image_size=8, data_dir=folder)
    source = fruit.find("real", folder)
    assert not source.has_jpeg  # PNG, made of arrays
    jpeg = dataclasses.replace(source, has_jpeg=True)
    assert data.fingerprint_of(fruit, source) != data.fingerprint_of(fruit, jpeg)
    digits = datasets.mnist()  # the sample's, as prepared since version 2
    assert data.fingerprint_of(digits, digits.find("sample")).startswith("8e810feec4bd8a06")


def test_texts_are_joined_and_the_official_val_is_kept(folder):
    dataset = datasets.from_tfds("notes", data_dir=folder)
    assert dataset.config == "plain" and dataset.input_shape == ()
    source = dataset.find("real", folder)
    assert source.examples == {"train": 12, "val": 9, "test": 9}
    prepared = data.prepare(dataset, source)
    assert prepared.examples == {"train": 12, "val": 9, "test": 9}
    assert prepared.val.column.strings([0]) == ["text 12 text 12"]
    other = datasets.from_tfds("notes/plain", label="other", data_dir=folder)
    assert other.find("real", folder).identity != source.identity


def test_the_splits_of_tfds_are_used_as_they_are():
    assert usual_splits({"train": 1, "test": 1}) == {"train": "train", "test": "test"}
    assert usual_splits({"train": 1, "validation": 1, "test": 1})["val"] == "validation"
    assert usual_splits({"train": 1, "validation": 1}) == {"train": "train", "test": "validation"}
    assert usual_splits({"train": 9}) == {"train": "train[:80%]", "test": "train[80%:]"}
    with pytest.raises(UserError, match="prepared unlabelled; expected train"):
        usual_splits({"unlabelled": 1})


def test_a_dataset_of_the_catalogue_is_known_without_the_network(tmp_path):
    dataset = datasets.from_tfds("eurosat/rgb", data_dir=tmp_path)
    assert (dataset.name, dataset.config, dataset.input_shape) == ("eurosat", "rgb", (64, 64, 3))
    assert len(dataset.label_names) == 10
    with pytest.raises(UserError, match=f"--data-dir {tmp_path}: contains no eurosat/rgb"):
        dataset.find("auto", tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mnits", {}, "mnits: no dataset of TFDS; did you mean 'mnist'"),
        ("eurosat/rbg", {}, "eurosat: TFDS cannot open it"),
        ("notes", {"label": "labl"}, "no class 'labl'; .* it has label, other"),
        ("words", {}, "no class 'label'; expected a dataset with a ClassLabel; it has none"),
        ("labels", {}, "have 0 images and 0 texts; expected one image, or texts"),
    ],
)
def test_what_does_not_fit_is_one_line(name, options, message, folder):
    with pytest.raises(UserError, match=message) as error:
        datasets.from_tfds(name, data_dir=folder, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "file", "new", "message"),
    [
        ("fruit", "*-train.tfrecord*", lambda old: old[:-9], "{} is cut off or changed: 4,598"),
        (
            "notes/plain",
            "*-train.tfrecord*",
            lambda _: b"version https://git-lfs",
            "{} is a Git LFS",
        ),
        ("fruit", "features.json", lambda _: b"[]", "{} cannot be used"),
    ],
)
def test_a_damaged_file_of_tfds_is_named(name, file, new, message, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("KPIPE_HOME", str(tmp_path / "home"))
    shutil.copytree(folder / name, tmp_path / name)
    dataset = datasets.from_tfds(name, data_dir=folder)
    (path,) = (tmp_path / name).rglob(file)
    path.write_bytes(new(path.read_bytes()))
    with pytest.raises(UserError, match=re.escape(message.format(path))) as error:
        data.prepare(dataset, dataset.find("real", tmp_path))
    assert "\n" not in str(error.value)
