import sys

import numpy as np
import pytest

from kpipe import data, datasets
from kpipe.errors import UserError

# The package has a function of the same name.
module = sys.modules["kpipe.datasets.tweet_emotions"]

HEAD = "emotion,content\n"
TRAIN = (
    HEAD + "happiness,so happy today\n"
    'sadness,"well, ""that"" was\nnot it"\n'
    "neutral,\n"
    "happiness,très bien 😊\n" + "neutral,on the bus\n" * 20 + "sadness,alone\n" * 20
)
TEST = HEAD + "neutral,it is Monday\nsadness,missed it\n"


@pytest.fixture
def folder(tmp_path):
    """A data folder that holds small CSV files in the course's form."""
    manual = tmp_path / "downloads" / "manual" / module.MANUAL_FOLDER
    manual.mkdir(parents=True)
    (manual / "trainEmotions.csv").write_text(TRAIN, encoding="utf-8")
    (manual / "testEmotions.csv").write_text(TEST, encoding="utf-8")
    return tmp_path


def rewrite(folder, content):
    path = folder / "downloads" / "manual" / module.MANUAL_FOLDER / "trainEmotions.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_csv_files_give_texts_and_emotions(folder):
    dataset = datasets.tweet_emotions(val_fraction=0.1)
    source = dataset.find("auto", folder)
    assert source.kind == "real" and not source.official
    assert source.examples == {"train": 44, "test": 2}
    prepared = data.prepare(dataset, source)
    both = prepared.train.column.texts  # of train and val, which are cut from it
    rows = dict(zip(both.take(range(44)), prepared.train.labels, strict=True))
    assert rows[b'well, "that" was\nnot it'] == 2
    assert rows["très bien 😊".encode()] == 0
    assert rows[b""] == 1
    empty = list(both.take(range(44))).index(b"")
    assert prepared.train.inputs[empty].tolist()[:2] == [1, 0]
    assert prepared.label_names == ("happiness", "neutral", "sadness")


def test_the_known_files_are_official(folder, monkeypatch):
    manual = folder / "downloads" / "manual" / module.MANUAL_FOLDER
    digests = {name: module.files.sha256(manual / name) for name in module.CSV_FILES}
    monkeypatch.setattr(module, "CSV_FILES", digests)
    assert module._builder(folder, folder / "downloads" / "manual").official


def test_a_byte_order_mark_is_no_part_of_the_head(folder):
    rewrite(folder, b"\xef\xbb\xbf" + TRAIN.encode())
    assert datasets.tweet_emotions().find("auto", folder).examples["train"] == 44


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text,emotion\n", r"trainEmotions\.csv:1: expected the columns emotion,content"),
        ("", r"trainEmotions\.csv:1: expected the columns emotion,content"),
        (HEAD, r"trainEmotions\.csv: no rows below the header"),
        (HEAD + "happiness,a\nanger,b\n", r"csv:3: expected one of happiness, .* found 'anger, b'"),
        (HEAD + "sadness,a, b\n", r"csv:2: expected one of .* found 'sadness, a,  b'"),
        (HEAD + "sadness\n", r"csv:2: expected one of .* found 'sadness'"),
        (HEAD + 'sadness,"two\nlines"\nx,y\n', r"csv:4: expected one of"),
        (HEAD + 'happiness,a\nsadness,"open\n', r"csv:3: not a valid CSV row"),
        (HEAD.encode() + b"sadness,a\nsadness,\xff\n", r"csv:3: not UTF-8"),
    ],
)
def test_a_broken_row_is_named(folder, content, message):
    rewrite(folder, content)
    with pytest.raises(UserError, match=message) as caught:
        datasets.tweet_emotions().find("auto", folder)
    assert "\n" not in str(caught.value)
    assert not (folder / "tweet_emotions" / "1.0.0").exists()


def test_a_missing_file_is_named(folder):
    (folder / "downloads" / "manual" / module.MANUAL_FOLDER / "testEmotions.csv").unlink()
    with pytest.raises(UserError, match=r"testEmotions\.csv is missing; put trainEmotions\.csv"):
        datasets.tweet_emotions().find("auto", folder)


def test_without_the_files_the_real_data_say_how_to_get_them(tmp_path):
    with pytest.raises(UserError, match=r"tweet_emotions is not in .*; put trainEmotions\.csv"):
        datasets.tweet_emotions().find("real", tmp_path)
    sample = datasets.tweet_emotions().find("auto")
    assert sample.kind == "sample"
    assert np.all(np.diff([*sample.examples.values()]) < 0)
