import sys

import numpy as np
import pytest
import tensorflow as tf

from kpipe import data, datasets
from kpipe.errors import UserError

# The package has a function of the same name.
module = sys.modules["kpipe.datasets.grocery_store"]

ROWS = {
    "train.txt": ["train/a.jpg, 0, 0", "train/b.jpg, 1, 0", "train/c.jpg, 80, 42"],
    "val.txt": ["val/d.jpg, 5, 1"],
    "test.txt": ["test/e.jpg, 6, 2", "test/f.jpg, 7, 3"],
}


@pytest.fixture
def clone(tmp_path):
    """A small clone of the repository, 12x8 pixels an image; returns the data folder."""
    folder = tmp_path / "downloads" / "manual" / "grocery_store" / "dataset"
    for i, (name, rows) in enumerate(ROWS.items()):
        for row in rows:
            path = folder / row.split(",")[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            image = np.full((8, 12, 3), 40 * (i + 1), np.uint8)
            path.write_bytes(tf.io.encode_jpeg(image).numpy())
        (folder / name).write_text("\n".join(rows) + "\n")
    return tmp_path


def rewrite(folder, name, rows):
    path = folder / "downloads" / "manual" / "grocery_store" / "dataset" / name
    path.write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize(("labels", "train"), [("fine", [0, 1, 80]), ("coarse", [0, 0, 42])])
def test_a_clone_gives_both_labels_and_the_official_splits(clone, labels, train):
    dataset = datasets.grocery_store(labels, image_size=16)
    source = dataset.find("auto", clone)
    assert source.kind == "real" and source.examples == {"train": 3, "val": 1, "test": 2}
    prepared = data.prepare(dataset, source)
    assert sorted(prepared.train.labels) == train
    assert prepared.test.inputs.shape == (2, 16, 16, 3)
    assert abs(int(prepared.test.inputs[0, 0, 0, 0]) - 120) < 4
    assert prepared.label_names[prepared.train.labels.max()] in ("Zucchini",)


def test_reduced_photographs_and_other_lists_are_not_official(clone, monkeypatch):
    folder = clone / "downloads" / "manual" / module.MANUAL_FOLDER
    assert not module._is_official(folder)
    monkeypatch.setattr(
        module, "LISTS", {name: module.files.sha256(folder / name) for name in ROWS}
    )
    assert not module._is_official(folder)  # 8 pixels
    monkeypatch.setattr(module, "SHORTEST_SIDE", 8)
    assert module._is_official(folder)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("train/a.jpg, 0, 7", r"train\.txt:2: expected an image, a fine class .* found 'train/a"),
        ("train/a.jpg, 81, 0", r"train\.txt:2: expected an image"),
        ("train/a.jpg, -1, 42", r"train\.txt:2: expected an image"),
        ("train/a.jpg", r"train\.txt:2: expected an image"),
        ("train/z.jpg, 0, 0", r"train/z\.jpg is missing; .*train\.txt:2 lists it"),
    ],
)
def test_a_wrong_line_is_named(clone, row, message):
    rewrite(clone, "train.txt", ["train/b.jpg, 1, 0", row])
    with pytest.raises(UserError, match=message):
        datasets.grocery_store().find("auto", clone)


def test_a_missing_list_is_named(clone):
    (clone / "downloads" / "manual" / "grocery_store" / "dataset" / "val.txt").unlink()
    with pytest.raises(UserError, match=r"val\.txt is missing; git clone https"):
        datasets.grocery_store().find("auto", clone)


def test_without_a_clone_the_real_data_say_how_to_get_them(tmp_path):
    with pytest.raises(UserError, match=r"grocery_store is not in .*; git clone https"):
        datasets.grocery_store().find("real", tmp_path)
    assert datasets.grocery_store().find("auto").kind == "sample"


def test_labels_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="labels='medium': expected 'fine' or 'coarse'"):
        datasets.grocery_store("medium")


def test_the_sample_has_the_official_classes():
    fine, coarse = (
        data.prepare(d, d.find("sample"))
        for d in (datasets.grocery_store("fine", 32), datasets.grocery_store("coarse", 32))
    )
    assert len(fine.label_names) == 81 and len(coarse.label_names) == 43
    assert set(fine.train.labels) == set(range(81)) and set(coarse.train.labels) == set(range(43))
    assert fine.fingerprint == coarse.fingerprint  # prepared once
