import dataclasses
import io
import json
import re
import socket
import types

import numpy as np
import pytest
import tensorflow as tf

from kpipe import data, datasets, files
from kpipe.datasets import celeb_a as celeba_module
from kpipe.datasets.base import generated
from kpipe.datasets.prepared import count_examples
from kpipe.datasets.samples import faces
from kpipe.datasets.samples import shapes as shapes_module
from kpipe.errors import UserError


def test_the_sample_digits_look_like_mnist(digits):
    images, labels = digits.train.take(np.arange(len(digits.train)))
    assert images.shape[1:] == (28, 28, 1) and images.dtype == np.uint8
    assert images.max() > 240
    # As in MNIST, ink lies within the central 20x20 pixels.
    assert not images[:, :4].any() and not images[:, :, -4:].any()
    assert sorted(set(labels)) == list(range(10))
    assert digits.kind == "sample" and not digits.official


def test_sample_and_real_celeba_have_the_same_form(monkeypatch, tmp_path):
    dataset = datasets.celeba(attribute="Eyeglasses", image_size=16)
    assert dataset.find("sample").examples == {"train": 3000, "val": 1000, "test": 2000}
    monkeypatch.setattr(celeba_module, "SAMPLE_EXAMPLES", {"train": 90, "val": 80, "test": 70})
    monkeypatch.setattr(celeba_module, "_paint_all", celeba_module._paint_all.__wrapped__)
    monkeypatch.setenv("KPIPE_HOME", str(tmp_path))
    prepared = data.prepare(dataset, dataset.find("sample"))
    images, labels = prepared.val.take(np.arange(80))
    assert images.shape == (80, 16, 16, 3) and set(labels) == {0, 1}
    assert prepared.label_names == ("not Eyeglasses", "Eyeglasses")


def test_an_unknown_attribute_is_refused():
    with pytest.raises(ValueError, match="attribute='Glasses': expected one of 5_o_Clock_Shadow"):
        datasets.celeba(attribute="Glasses")


# --- what TFDS prepared ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def tfds_dir(tmp_path_factory):
    """A prepared `mnist` of 20 + 10 images, written by TFDS itself."""
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("tfds")
    images = np.arange(30 * 784, dtype=np.uint8).reshape(30, 28, 28, 1)

    def part(rows):
        return tf.data.Dataset.from_tensor_slices(
            {"image": images[rows], "label": np.arange(30)[rows] % 10}
        )

    tfds.dataset_builders.store_as_tfds_dataset(
        name="mnist",
        version="3.0.1",
        data_dir=folder,
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(28, 28, 1)),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
        ),
        split_datasets={"train": part(slice(0, 20)), "test": part(slice(20, 30))},
        disable_shuffling=True,
    )
    return folder, images


def test_prepared_data_are_taken_by_auto_and_read_as_they_are(tfds_dir):
    folder, images = tfds_dir
    dataset = datasets.mnist(val_fraction=0.5)
    source = dataset.find("auto", folder)
    assert source.kind == "real" and source.examples == {"train": 20, "test": 10}
    prepared = data.prepare(dataset, source)
    assert np.array_equal(prepared.test.inputs, images[20:])
    assert prepared.test.labels.tolist() == list(range(10))
    assert prepared.examples == {"train": 10, "val": 10, "test": 10}


def test_data_of_other_sizes_are_not_official(tfds_dir):
    dataset = datasets.mnist()
    assert not dataset.find("real", tfds_dir[0]).official


def test_data_of_the_declared_sizes_are_official(tmp_path, kpipe_home):
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    info = {
        "downloadSize": "11594722",
        "splits": [
            {"name": "train", "shardLengths": ["60000"]},
            {"name": "test", "shardLengths": ["5000", "5000"]},
        ],
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    assert datasets.mnist().find("real", tmp_path).official
    info["downloadSize"] = "11594723"
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(UserError, match=r"dataset_info\.json is damaged or changed.* remove (.*)"):
        datasets.mnist().find("real", tmp_path)
    for note in (kpipe_home / "datasets").glob("mnist-*"):
        note.unlink()
    assert not datasets.mnist().find("real", tmp_path).official


def test_a_damaged_dataset_info_is_named(tmp_path):
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text("{")
    with pytest.raises(UserError, match=r"dataset_info\.json: not a readable"):
        datasets.mnist().find("auto", tmp_path)


def test_parts_of_a_split_have_the_sizes_that_tfds_gives_them():
    from tensorflow_datasets.core import ReadInstruction

    for size in (10, 57, 1001):
        info = {"train": types.SimpleNamespace(num_examples=size)}
        for part in ("", "[:9]", "[3:]", "[-4:]", "[:80%]", "[33%:67%]", "[-15%:]"):
            (whole,) = ReadInstruction.from_spec(f"train{part}").to_absolute(info)
            length = len(range(size)[whole.from_ : whole.to])
            assert count_examples(f"train{part}", {"train": size}) == length


@pytest.mark.parametrize("split", ["validation", "train[:1x]", "train+test", "train[:5.5%]"])
def test_a_split_that_tfds_did_not_prepare_is_named(tfds_dir, split):
    dataset = dataclasses.replace(datasets.mnist(), tfds_splits={"train": split, "test": "test"})
    with pytest.raises(UserError, match=rf"^tfds_splits: '{re.escape(split)}'; expected one of"):
        dataset.find("real", tfds_dir[0])


def test_an_unreachable_host_is_told_at_once(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(UserError, match=r"storage\.googleapis\.com cannot be reached"):
        datasets.mnist().find("real", tmp_path)
    with pytest.raises(UserError, match=r"put img_align_celeba\.zip"):
        datasets.celeba().find("real", tmp_path)


def test_a_download_is_pinned_by_size_and_sha256(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    given = {}
    builder = types.SimpleNamespace(download_and_prepare=lambda **options: given.update(options))
    monkeypatch.setattr(tfds, "builder", lambda name, data_dir: builder)
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: io.BytesIO())
    datasets.mnist()._download(tmp_path)
    config = given["download_config"]
    assert config.force_checksums_validation and not config.try_download_gcs
    monkeypatch.undo()
    for make in (datasets.mnist, datasets.cifar10, datasets.celeba, datasets.imdb_reviews):
        name = f"{make().name}/{make().config}".rstrip("/")
        pins = tfds.builder(name, data_dir=tmp_path).url_infos.values()
        assert pins and all(pin.size and len(pin.checksum) == 64 for pin in pins)


def test_a_download_that_prepares_nothing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.Dataset, "_download", lambda self, folder: None)
    with pytest.raises(UserError, match="TFDS prepared mnist, but not in"):
        datasets.mnist().find("real", tmp_path)


def test_auto_never_downloads(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("tried to connect")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert datasets.mnist().find("auto").kind == "sample"


def test_a_missing_data_dir_is_told(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        datasets.mnist().find("auto", tmp_path / "missing")


@pytest.mark.parametrize(
    ("make", "looked_for"),
    [(datasets.mnist, "mnist"), (datasets.imdb_reviews, "imdb_reviews/plain_text")],
)
def test_a_data_dir_without_the_data_is_told(make, looked_for, tmp_path):
    message = f"--data-dir {tmp_path}: contains no {looked_for};"
    with pytest.raises(UserError, match=re.escape(message)):
        make().find("auto", tmp_path)
    assert make().find("sample", tmp_path).kind == "sample"


def test_a_search_finds_the_kind_of_a_fixed_source_again():
    dataset = datasets.arrays(np.arange(60.0)[:, None], np.arange(60) % 2)
    assert dataset.find("own") == dataset.find("auto")
    with pytest.raises(UserError, match="--data smaple"):
        dataset.find("smaple")


# --- the user's own CelebA files -------------------------------------------------------------


@pytest.fixture
def unpacked(tmp_path):
    """img_align_celeba/ with six painted faces and their lists."""
    images, attributes = faces.paint(6, seed=1)
    folder = tmp_path / "img_align_celeba"
    folder.mkdir()
    names = [f"{i + 1:06}.jpg" for i in range(6)]
    for name, image in zip(names, images, strict=True):
        (folder / name).write_bytes(tf.io.encode_jpeg(image).numpy())
    rows = [
        f"{name} " + " ".join("1" if value else "-1" for value in row)
        for name, row in zip(names, attributes, strict=True)
    ]
    lists = ["6", " ".join(faces.ATTRIBUTES), *rows]
    (tmp_path / "list_attr_celeba.txt").write_text("\n".join(lists) + "\n")
    partition = [f"{name} {i // 2}" for i, name in enumerate(names)]
    (tmp_path / "list_eval_partition.txt").write_text("\n".join(partition) + "\n")
    return tmp_path, attributes


@pytest.mark.parametrize("zipped", [False, True])
def test_own_celeba_files_are_read(unpacked, zipped, monkeypatch):
    folder, attributes = unpacked
    if zipped:
        _zip_up(folder, monkeypatch)
    dataset = datasets.celeba(image_size=16)
    source = dataset.find("auto", folder)
    assert source.kind == "real" and source.examples == {"train": 2, "val": 2, "test": 2}
    assert not source.official
    prepared = data.prepare(dataset, source)
    male = attributes[:, faces.ATTRIBUTES.index("Male")].astype(int)
    assert np.array_equal(prepared.test.labels, male[4:])
    assert prepared.train.inputs.shape == (2, 16, 16, 3)


def _zip_up(folder, monkeypatch):
    """Puts the images into the zip file and makes the files pass the check of sizes."""
    import shutil

    shutil.make_archive(folder / "img_align_celeba", "zip", folder, "img_align_celeba")
    shutil.rmtree(folder / "img_align_celeba")
    sizes = {name: (folder / name).stat().st_size for name in celeba_module.ORIGINAL_FILES}
    monkeypatch.setattr(celeba_module, "FIVE_FILES", sizes)
    digests = {name: files.sha256(folder / name) for name in celeba_module.ORIGINAL_FILES}
    monkeypatch.setattr(celeba_module, "ORIGINAL_FILES", digests)


def test_listed_images_that_are_missing_or_damaged_are_all_named(unpacked):
    folder, _ = unpacked
    (folder / "img_align_celeba" / "000003.jpg").unlink()
    (folder / "img_align_celeba" / "000004.jpg").write_bytes(b"<html>")
    dataset = datasets.celeba(image_size=16)
    message = r"000003\.jpg is missing or empty.*; [^;]*000004\.jpg is not an image"
    with pytest.raises(UserError, match=message) as caught:
        data.prepare(dataset, dataset.find("real", folder))
    assert "000005" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "line", "text", "message"),
    [
        ("list_attr_celeba.txt", 4, "000002.jpg 1 -1 0", r"celeba\.txt:4: expected a file name"),
        ("list_attr_celeba.txt", 2, "Male Young", r"celeba\.txt:2: expected CelebA's 40"),
        ("list_eval_partition.txt", 3, "000003.jpg 7", r"partition\.txt:3: expected a file name"),
        ("list_eval_partition.txt", 3, "999999.jpg 1", r"partition\.txt:3: 999999\.jpg has no"),
    ],
)
def test_a_malformed_line_is_named(unpacked, name, line, text, message):
    folder, _ = unpacked
    lines = (folder / name).read_text().splitlines()
    lines[line - 1] = text
    (folder / name).write_text("\n".join(lines))
    with pytest.raises(UserError, match=message):
        datasets.celeba().find("auto", folder)


def test_blank_lines_of_a_list_do_not_matter(unpacked):
    folder, _ = unpacked
    path = folder / "list_attr_celeba.txt"
    expected = celeba_module._read_lists(folder)
    path.write_text(path.read_text().replace("\n", "\n\n"))
    assert celeba_module._read_lists(folder) == expected


def test_a_missing_list_is_named(unpacked):
    folder, _ = unpacked
    (folder / "list_eval_partition.txt").unlink()
    with pytest.raises(UserError, match=r"list_eval_partition\.txt is missing"):
        datasets.celeba().find("auto", folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>quota exceeded", "is not a zip file but an HTML page"),
        (b"PK\x03\x04 cut off", "has 12 bytes; expected 1,443,490,838"),
    ],
)
def test_a_wrong_archive_is_told(tmp_path, content, message):
    manual = tmp_path / "downloads" / "manual"
    manual.mkdir(parents=True)
    (manual / "img_align_celeba.zip").write_bytes(content)
    with pytest.raises(UserError, match=message):
        datasets.celeba().find("auto", tmp_path)


def test_an_archive_without_its_lists_is_not_enough(tmp_path, monkeypatch):
    (tmp_path / "img_align_celeba.zip").write_bytes(b"PK\x03\x04")
    sizes = {**celeba_module.FIVE_FILES, "img_align_celeba.zip": 4}
    monkeypatch.setattr(celeba_module, "FIVE_FILES", sizes)
    with pytest.raises(UserError, match=r"list_attr_celeba\.txt is missing"):
        datasets.celeba().find("auto", tmp_path)


def test_augmentation_belongs_to_the_dataset():
    dataset = datasets.celeba().augmented(flip=True).augmented(shift=2)
    assert dataset.augmentation == datasets.Augmentation(flip=True, shift=2)


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (datasets.mnist, {"shift": 28}, "shift=28: expected a whole number from 0 to 27"),
        (datasets.mnist, {"shift": 2.5}, "shift=2.5: expected a whole number"),
        (datasets.mnist, {"zoom": 1.0}, "zoom=1.0: expected a number from 0 to 0.99"),
        (datasets.mnist, {"rotate": -1}, "rotate=-1: expected a number from 0 to 180"),
        (datasets.mnist, {"erase": float("nan")}, "erase=nan: expected a number from 0 to 1"),
        (datasets.mnist, {"drop_words": 0.1}, "drop_words=0.1: it changes only texts"),
        (datasets.ag_news, {"flip": True}, "flip=True: it changes only images"),
        (datasets.ag_news, {"drop_words": 1.5}, "drop_words=1.5: expected a number from 0 to 1"),
        (datasets.gmm, {"shift": 1}, "shift=1: it changes only images"),
    ],
)
def test_augmentation_that_would_fail_or_be_ignored_is_refused(make, changes, message):
    dataset = make()
    dataset.augmented(**dict.fromkeys(changes, 0))
    with pytest.raises(ValueError, match=rf"^{dataset.name} with {message}"):
        dataset.augmented(**changes)


def test_arrays_of_three_dimensions_are_not_augmented():
    arrays = dataclasses.replace(datasets.mnist(), input_dtype="uint8")
    with pytest.raises(ValueError, match="flip=True: it changes only images"):
        arrays.augmented(flip=True)


def test_unknown_targets_are_refused():
    with pytest.raises(
        ValueError, match=r"^mnist with targets='input': expected one of labels, sc"
    ):
        dataclasses.replace(datasets.mnist(), targets="input")


def test_digits_can_be_resized_and_photographs_made_grey():
    digits = datasets.mnist(image_size=32)
    resized = data.prepare(digits, digits.find("sample")).train.take(np.arange(5))[0]
    assert resized.shape == (5, 32, 32, 1) and resized.max() > 200
    shapes = datasets.cifar10(grey=True)
    assert shapes.find("sample").examples == {"train": 3000, "test": 1000}
    source = generated(shapes_module.paint, {"train": 100, "test": 10}, "shapes")
    prepared = data.prepare(shapes, dataclasses.replace(source, identity="few"))
    grey = prepared.test.inputs
    assert grey.shape == (10, 32, 32, 1)
    colour = next(iter(source.read("test")))["input"].numpy()
    weights = np.array([0.299, 0.587, 0.114])
    assert np.abs(grey[0, ..., 0] - colour @ weights).max() <= 1


def test_what_is_to_be_reconstructed_is_said_by_the_dataset():
    digits = datasets.mnist()
    assert digits.targets == "labels" and digits.as_autoencoder_data(noise=0.2).noise == 0.2
    assert digits.as_autoencoder_data().targets == "inputs"
    assert datasets.celeba(attribute=None).kinds_with_factors == ("sample",)
    assert datasets.celeba().kinds_with_factors == ()
    assert datasets.dsprites().kinds_with_factors == ("real", "sample")


@pytest.mark.parametrize("noise", [-0.1, 1.1, float("nan")])
def test_noise_is_a_share_of_white(noise):
    with pytest.raises(ValueError, match=rf"^mnist with noise={noise}: expected noise from 0 to 1"):
        datasets.mnist().as_autoencoder_data(noise)
