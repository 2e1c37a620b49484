"""Bad files, by the routes of users: each is refused in one line that names it, or read rightly."""

import bz2
import collections
import functools
import gzip
import io
import lzma
import os
import resource
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse
from bad_files import PAGE, POINTER, REFUSED, RIGHT, changed, encode, images, odd_paths, photo
from hostile_archives import hostile, zipped
from test_from_tfds import store

from kpipe import data, datasets, files
from kpipe.datasets.samples import faces
from kpipe.errors import UserError
from kpipe.inputs.images import read_images, unreadable
from kpipe.inputs.tokens import Texts, adapt

celeba = sys.modules["kpipe.datasets.celeb_a"]
COUNTS = collections.defaultdict(collections.Counter)  # by kind, of all files


@pytest.fixture(scope="module", autouse=True)
def printed():
    """Prints one line for docs/reliability.md."""
    yield
    total = sum(COUNTS.values(), collections.Counter())
    print(f"\nbad files: {total.total()} of {len(COUNTS)} kinds:", dict(total))
    for kind, counts in sorted(COUNTS.items()):
        print(f"  {kind}: {counts.total()} files,", dict(counts))


def refused(kind, at_fault, work):
    """Counts the outcome of one file; it must be one line that names what is at fault."""
    with pytest.raises(UserError) as caught:
        work()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 20_000
    assert at_fault in message, message
    COUNTS[kind][REFUSED] += 1
    return message


def quickly(cases):
    """Marks all cases but the first of each kind as slow."""
    first = {case[0]: i for i, case in reversed([*enumerate(cases)])}
    return [
        pytest.param(*case, marks=[pytest.mark.slow] * (first[case[0]] != i), id=f"{case[0]} {i}")
        for i, case in enumerate(cases)
    ]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


# --- images -----------------------------------------------------------------------------------


def fill(folder, choose=lambda kind: True):
    """Two classes of sound pictures, with the corpus among the first; returns kind and outcome."""
    for i in range(12):
        write(folder / "ab"[i % 2] / f"sound{i}.png", encode(photo(100 + i), "PNG"))
    expected = {}
    for kind, name, content, outcome in images():
        if choose(kind):
            write(folder / "a" / name, content)
            expected[f"a/{name}"] = kind, outcome
    for kind, name in odd_paths(folder / "a"):
        expected[f"a/{name}"] = kind, REFUSED
    return expected


def check_image_folder(folder, expected):
    bad = [name for name, (_, outcome) in expected.items() if outcome == REFUSED]
    with pytest.raises(UserError) as caught:
        datasets.image_folder(folder)
    message = str(caught.value)
    assert f"{len(bad)} of {len(expected) + 12} files cannot be read" in message
    assert "\n" not in message and sum(f"{name}: " in message for name in bad) == min(len(bad), 100)
    source = datasets.image_folder(folder, skip_bad=len(bad)).find()
    left_out = dict(source.look.unreadable)
    assert sorted(left_out) == sorted(bad) and all(left_out.values())
    assert sum(source.examples.values()) == len(expected) + 12 - len(bad)
    for kind, outcome in expected.values():
        COUNTS[kind]["skipped" if outcome == REFUSED else RIGHT] += 1


def test_bad_images_are_all_named_or_left_out_and_counted(tmp_path):
    some = {"decompression bomb", "overwritten", "only zeros", "CMYK", "1 x 1"}
    expected = fill(tmp_path / "pets", lambda kind: kind in some)
    check_image_folder(tmp_path / "pets", expected)


@pytest.mark.slow
def test_every_bad_image_is_left_out_of_preparation_and_named_by_predict(tmp_path):
    folder = tmp_path / "pets"
    expected = fill(folder)
    check_image_folder(folder, expected)
    dataset = datasets.image_folder(folder, skip_bad=len(expected), image_size=16)
    prepared = data.prepare(dataset, dataset.find())  # all that is left can be decoded
    assert sum(prepared.examples.values()) == sum(dataset.find().examples.values())
    paths = [folder / name for name in expected]
    paths = [path for path in paths if path.is_file() and os.access(path, os.R_OK)]
    message = str(unreadable(paths, read_images(paths), (16, 16, 3)))
    for path in paths:
        kind, outcome = expected[f"a/{path.name}"]
        assert (f"{path}: " in message) == (outcome == REFUSED), path
        COUNTS[f"predict: {kind}"][outcome] += 1


# --- CelebA -----------------------------------------------------------------------------------


def faces_folder(folder, count=6):
    """The unpacked images of some faces with their lists, which are changed afterwards."""
    names = [f"{i + 1:06}.jpg" for i in range(count)]
    for i, name in enumerate(names):
        write(folder / celeba.IMAGES / name, encode(photo(i), "JPEG"))
    values = " ".join(["1", "-1"] * 20)
    lines = [f"{count}", " ".join(faces.ATTRIBUTES), *(f"{name} {values}" for name in names)]
    write(folder / celeba.ATTRIBUTES_FILE, "\n".join(lines) + "\n")
    parts = [f"{name} {max(0, i - count + 3)}" for i, name in enumerate(names)]
    write(folder / celeba.PARTITION_FILE, "\n".join(parts) + "\n")
    return folder


def prepare(dataset, folder):
    return data.prepare(dataset, dataset.find("auto", folder))


LIST = celeba.ATTRIBUTES_FILE
PARTS = celeba.PARTITION_FILE
ONES = " 1" * 40
CELEBA_LINES = [  # kind, list, line, its new content
    ("outside of the folder", LIST, 3, f"../../x.jpg{ONES}"),
    ("outside of the folder", LIST, 4, f"/etc/passwd{ONES}"),
    ("outside of the folder", LIST, 4, f"a\\b.jpg{ONES}"),
    ("listed twice", LIST, 5, f"000001.jpg{ONES}"),
    ("listed twice", PARTS, 3, "000001.jpg 1"),
    ("broken UTF-8", LIST, 4, b"\xff\xfe.jpg"),
    ("broken UTF-8", PARTS, 2, b"0000\xe9.jpg 1"),
    ("label out of range", LIST, 3, f"000001.jpg{ONES[:-1]}2"),
    ("label out of range", LIST, 3, f"000001.jpg{ONES[:-1]}0"),
    ("label out of range", PARTS, 1, "000001.jpg 3"),
    ("NaN", LIST, 3, f"000001.jpg{ONES[:-1]}nan"),
    ("wrong number of columns", LIST, 3, f"000001.jpg{ONES[:-2]}"),
    ("wrong number of columns", LIST, 8, f"000006.jpg{ONES} 1"),
    ("wrong number of columns", PARTS, 6, "000006.jpg"),
    ("wrong header", LIST, 2, "Male Young"),
    ("NUL bytes", PARTS, 2, b"\0\0\0\0"),
    ("not listed", PARTS, 2, "900000.jpg 0"),
]


@pytest.mark.parametrize(("kind", "name", "line", "new"), quickly(CELEBA_LINES))
def test_a_bad_line_of_celeba_is_named(tmp_path, kind, name, line, new):
    path = faces_folder(tmp_path) / name
    lines = path.read_bytes().splitlines()
    lines[line - 1] = new if isinstance(new, bytes) else new.encode()
    path.write_bytes(b"\n".join(lines))
    refused(kind, f"{path}:{line}: ", lambda: celeba._find_manual(tmp_path))


@pytest.mark.slow
def test_every_bad_photograph_of_celeba_is_named(tmp_path):
    cases = [(kind, content, outcome) for kind, _, content, outcome in images()]
    for start in range(0, len(cases), 20):  # an error names 20 files for one reason
        some = cases[start : start + 20]
        folder = faces_folder(tmp_path / f"{start}", len(some) + 3)
        paths = [folder / celeba.IMAGES / f"{i + 1:06}.jpg" for i in range(len(some))]
        for path, (_, content, _) in zip(paths, some, strict=True):
            path.write_bytes(content)
        (folder / celeba.IMAGES / f"{len(some) + 1:06}.jpg").write_bytes(b"one that is bad anyway")
        with pytest.raises(UserError) as caught:
            prepare(datasets.celeba(), folder)
        assert "\n" not in str(caught.value)
        for path, (kind, _, outcome) in zip(paths, some, strict=True):
            assert (str(path) in str(caught.value)) == (outcome == REFUSED), path
            COUNTS[f"CelebA: {kind}"][outcome] += 1


# --- tables -----------------------------------------------------------------------------------

ROWS = [f"{i},{i * 7 % 13},{'ab'[i % 2]}" for i in range(60)]
TABLE = "\n".join(["x,y,label", *ROWS]) + "\n"


def with_row(line, new):
    lines = TABLE.splitlines()
    lines[line - 1] = new
    return "\n".join(lines) + "\n"


def parquet():
    file = io.BytesIO()
    pd.read_csv(io.StringIO(TABLE)).to_parquet(file)
    return file.getvalue()


def json_lines(line, new):
    lines = [f'{{"x": {i}, "y": {i * 7 % 13}, "label": "{"ab"[i % 2]}"}}' for i in range(60)]
    lines[line - 1] = new
    return "\n".join(lines) + "\n"


PARQUET = parquet()


def overwritten(content, start):
    return changed(content, **{f"at_{start}": b"\xee" * 20})


# Rows that --skip-bad leaves out: kind, ending, content, line.
BAD_ROWS = [
    ("wrong number of columns", "csv", with_row(6, "1,2"), 6),
    ("wrong number of columns", "csv", with_row(2, "1"), 2),
    ("wrong number of columns", "tsv", with_row(61, "1,2,a,9").replace(",", "\t"), 61),
    ("missing label", "csv", with_row(7, "1,2,"), 7),
    ("missing label", "csv", with_row(7, "1,2,NaN"), 7),
    ("damaged JSON", "jsonl", json_lines(31, '{"x": 1,'), 31),
    ("damaged JSON", "jsonl", json_lines(31, "[" * 100_000), 31),
    ("damaged JSON", "ndjson", json_lines(2, "[1, 2]"), 2),
    ("missing label", "jsonl", json_lines(3, '{"x": 1, "y": 2}'), 3),
    ("infinity", "csv", with_row(6, "inf,2,a"), 6),
    ("infinity", "csv", with_row(6, "-Infinity,2,a"), 6),
    ("infinity", "csv", with_row(6, "1e400,2,a"), 6),
    ("infinity", "jsonl", json_lines(6, '{"x": 1e999, "y": 1, "label": "a"}'), 6),
    ("word among numbers", "csv", with_row(6, "dog,2,a"), 6),
]
# Files that are refused in any case, or None if they are read rightly: kind, ending, content, what.
BAD_TABLES = [
    ("NaN", "csv", with_row(6, "nan,2,a"), None),  # a missing value, replaced by the median
    ("broken UTF-8", "csv", TABLE.encode().replace(b"label", b"l\xff\xfebel"), "no such column"),
    ("broken UTF-8", "csv", with_row(6, "1,2,@").encode().replace(b"@", b"\xff"), "'ÿ' (1)"),
    ("broken UTF-8", "csv", b"\xff\xfe" + TABLE.encode("utf-16-le")[:-1], "not utf-16"),
    ("NUL bytes", "csv", with_row(6, "1,\0,a"), ":6: contains NUL bytes"),
    ("NUL bytes", "csv", bytes(4000), ":1: contains NUL bytes"),
    ("NUL bytes", "jsonl", json_lines(6, "\0"), ":6: contains NUL bytes"),
    ("empty file", "csv", "", "is empty"),
    ("empty file", "tsv", "\n \n", "is empty"),
    ("empty file", "jsonl", "", "is empty"),
    ("empty file", "parquet", b"", "cannot be read"),
    ("no rows", "csv", "x,y,label\n", "no rows below"),
    ("ragged quotes", "csv", with_row(6, '"1,2,a'), ":6: a quote that is opened"),
    ("ragged quotes", "csv", with_row(6, '"1"x,2,a'), ":6: text after the quote"),
    ("wrong header", "csv", TABLE.replace("x,y", "x,x"), ":1: several columns are named 'x'"),
    ("wrong header", "csv", "1,2\n" * 60, ":1: the first line"),
    ("HTML page", "csv", PAGE, "an HTML page"),
    ("HTML page", "jsonl", PAGE, "an HTML page"),
    ("HTML page", "parquet", PAGE, "cannot be read"),
    ("Git LFS pointer", "csv", POINTER, "a Git LFS pointer"),
    ("Git LFS pointer", "tsv", POINTER, "a Git LFS pointer"),
    ("Git LFS pointer", "parquet", POINTER, "cannot be read"),
    ("other format", "csv", encode(photo(1), "PNG"), "contains NUL bytes"),
    ("other format", "csv", gzip.compress(TABLE.encode()), "contains NUL bytes"),
    ("other format", "csv.gz", TABLE, "cannot be read"),
    ("other format", "parquet", TABLE, "cannot be read"),
    ("truncated archive", "csv.gz", gzip.compress(TABLE.encode())[:100], "cannot be read"),
    ("truncated archive", "csv.gz", gzip.compress(TABLE.encode())[:5], "cannot be read"),
    ("truncated archive", "csv.bz2", bz2.compress(TABLE.encode())[:60], "cannot be read"),
    ("truncated archive", "csv.xz", lzma.compress(TABLE.encode())[:80], "cannot be read"),
    ("damaged archive", "csv.gz", gzip.compress(TABLE.encode())[:-8] + bytes(8), "cannot be read"),
    ("one class", "csv", TABLE.replace(",b", ",a"), "only one value"),
    ("damaged JSON", "json", '[{"x": 1,', "not JSON"),
    ("damaged JSON", "json", "[" * 100_000, "not JSON"),
    ("damaged JSON", "json", "5", "no rows"),
    *(("truncated", "parquet", PARQUET[:size], "cannot be") for size in (10, 100, 900, 2000)),
    *(("overwritten", "parquet", overwritten(PARQUET, at), "cannot be") for at in (4, 40, 1469)),
]


@pytest.mark.parametrize(("kind", "ending", "content", "line"), quickly(BAD_ROWS))
def test_a_bad_row_is_named_or_left_out_and_counted(tmp_path, kind, ending, content, line):
    path = tmp_path / f"t.{ending}"
    write(path, content)
    message = refused(kind, str(path), lambda: datasets.table(path, target="label"))
    assert f"1 row cannot be used: row {line}: " in message or f" in row {line}; " in message
    source = datasets.table(path, target="label", skip_bad=1).find()
    ((name, _),) = source.look.unreadable
    assert name == f"t.{ending}:{line}" and sum(source.examples.values()) == 59
    COUNTS[kind][REFUSED] -= 1
    COUNTS[kind]["skipped"] += 1


@pytest.mark.parametrize(("kind", "ending", "content", "what"), quickly(BAD_TABLES))
def test_a_bad_table_is_named(tmp_path, kind, ending, content, what):
    path = tmp_path / f"t.{ending}"
    write(path, content)
    if what is None:
        assert sum(datasets.table(path, target="label").find().examples.values()) == 60
        COUNTS[kind][RIGHT] += 1
        return
    read = functools.partial(datasets.table, path, target="label", skip_bad=5)
    assert what in refused(kind, str(path), read)


def test_texts_without_words_are_refused(tmp_path):
    path = tmp_path / "t.csv"
    write(path, "t,label\n" + ",a\n   ,b\n\x0b,c\n" * 30)
    with pytest.raises(UserError, match=r"row.* cannot be used|no words|texts"):
        dataset = datasets.text_table(path, text="t", target="label")
        data.prepare(dataset, dataset.find())
    with pytest.raises(UserError, match="the 2 texts of train contain no words"):
        adapt(Texts.of([b"", b" "]), np.arange(2), 100)


def test_a_packed_bomb_is_not_unpacked(tmp_path, monkeypatch):
    from kpipe.datasets.own import dialect

    monkeypatch.setattr(dialect, "BOMB_BYTES", 2**16)
    for ending, pack in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        path = tmp_path / f"t.csv.{ending}"
        path.write_bytes(pack(b"x,y,label\n" + b"1,2,a\n" * 500_000))
        message = refused(
            "bomb", path.name, functools.partial(datasets.table, path, target="label")
        )
        assert "unpacks to over 200 times its size" in message


# --- tweets, groceries, points: read by builders of TFDS --------------------------------------

HEAD = "emotion,content\n"
TWEETS = HEAD + "neutral,on the bus\nsadness,alone\nhappiness,so happy\n" * 4


def tweets_folder(folder):
    for split in ("train", "test"):
        write(folder / f"downloads/manual/emotions_technion/{split}Emotions.csv", TWEETS)
    return folder / "downloads/manual/emotions_technion/trainEmotions.csv"


BAD_TWEETS = [
    *(
        (kind, f"{HEAD}sadness,a\n{row}\nneutral,b\n", ":3: ")
        for kind, row in (
            ("label out of range", "anger,b"),
            ("label out of range", "3,b"),
            ("label out of range", "-1,b"),
            ("label out of range", "Sadness,b"),
            ("label out of range", ",b"),
            ("NaN", "nan,b"),
            ("wrong number of columns", "sadness"),
            ("wrong number of columns", "sadness,a,b"),
            ("NUL bytes", "sadness,\0"),
            ("ragged quotes", 'sadness,"open'),
            ("ragged quotes", 'sadness,"a" b'),
        )
    ),
    ("broken UTF-8", TWEETS.encode().replace(b"alone", b"al\xffne"), ":3: not UTF-8"),
    ("broken UTF-8", TWEETS.encode().replace(b"bus", b"bus \xc3"), ":2: not UTF-8"),
    ("broken UTF-8", b"\xff\xfe" + TWEETS.encode("utf-16-le"), ":1: not UTF-8"),
    ("wrong header", "text,emotion\n", ":1: expected the columns"),
    ("wrong header", TWEETS.removeprefix(HEAD), ":1: expected the columns"),
    ("empty file", "", ":1: expected the columns"),
    ("no rows", HEAD, "no rows below the header"),
    ("all texts empty", HEAD + "sadness,\nneutral, \n" * 9, "texts are empty"),
    ("HTML page", PAGE, ":1: expected the columns"),
    ("Git LFS pointer", POINTER, ":1: expected the columns"),
    ("other format", encode(photo(1), "PNG"), ":1: not UTF-8"),
    ("only zeros", bytes(500), ":1: not UTF-8"),
]


def grocery_folder(folder):
    data_folder = folder / "downloads/manual/grocery_store/dataset"
    for i, name in enumerate(("train", "val", "test")):
        write(data_folder / f"{name}/a.jpg", encode(photo(i), "JPEG"))
        write(data_folder / f"{name}/b.jpg", encode(photo(10 + i), "JPEG"))
        write(data_folder / f"{name}.txt", f"{name}/a.jpg, 0, 0\n{name}/b.jpg, 1, 0\n")
    return data_folder


BAD_GROCERY_LINES = [
    ("label out of range", "train/b.jpg, 81, 0"),
    ("label out of range", "train/b.jpg, -1, 42"),
    ("label out of range", "train/b.jpg, 0, 7"),
    ("label out of range", "train/b.jpg, 1.5, 0"),
    ("label out of range", "train/b.jpg, apple, 0"),
    ("NaN", "train/b.jpg, nan, 0"),
    ("wrong number of columns", "train/b.jpg"),
    ("wrong number of columns", "train/b.jpg, 0"),
    ("wrong number of columns", "train/b.jpg, 0, 0, 0"),
    ("outside of the folder", "../../x.jpg, 0, 0"),
    ("outside of the folder", "/etc/hostname, 0, 0"),
    ("listed twice", "train/a.jpg, 0, 0"),
    ("not there", "train/z.jpg, 0, 0"),
    ("not there", "train, 0, 0"),
    ("not there", ", 0, 0"),
    ("broken UTF-8", b"train/\xff.jpg, 0, 0"),
    ("NUL bytes", "train/\0.jpg, 0, 0"),
    ("ragged quotes", '"train/b.jpg, 0, 0'),
]


def mat_folder(folder):
    return folder / "downloads/manual/mat2d/SwissRollData.mat"


POINTS = np.arange(24.0).reshape(2, 12)
ONE_HOT = np.eye(2)[:, np.arange(12) % 2]
SWISS = {"Yt": POINTS, "Ct": ONE_HOT, "Yv": POINTS, "Cv": ONE_HOT}


def mat(**arrays):
    file = io.BytesIO()
    scipy.io.savemat(file, {**SWISS, **arrays}, do_compression=True)
    return file.getvalue()


def at(array, value, row=0, column=4):
    array = array.copy()
    array[row, column] = value
    return array


def one_array(value):
    cells = np.empty((1, 1), object)
    cells[0, 0] = value
    return cells


BAD_MATS = [
    ("sparse array", mat(Yt=scipy.sparse.csc_array(POINTS)), "Yt is of class sparse"),
    ("sparse array", mat(Cv=scipy.sparse.csc_array(ONE_HOT)), "Cv is of class sparse"),
    ("cell array", mat(Yt=one_array(POINTS)), "Yt is of class cell"),
    ("cell array", mat(Ct=one_array(ONE_HOT)), "Ct is of class cell"),
    ("string array", mat(Yt="points"), "Yt is of class char"),
    ("string array", mat(Ct=np.array(["a", "b"])), "Ct is of class char"),
    ("struct array", mat(Yt={"x": POINTS}), "Yt is of class struct"),
    ("empty array", mat(Yt=np.zeros((2, 0)), Ct=np.zeros((2, 0))), "expected (2, n)"),
    ("empty array", mat(Yv=np.zeros((0, 0))), "expected (2, n)"),
    ("wrong size", mat(Yt=POINTS.T), "expected (2, n)"),
    ("wrong size", mat(Ct=ONE_HOT[:, :5]), "expected (2, n)"),
    ("wrong size", mat(Ct=np.eye(5)[:, np.arange(12) % 5]), "expected (2, n)"),
    ("wrong size", mat(Yt=POINTS.reshape(2, 3, 4)), "expected (2, n)"),
    ("NaN", mat(Yt=at(POINTS, np.nan)), "column 5 of Yt"),
    ("infinity", mat(Yv=at(POINTS, -np.inf)), "column 5 of Yv"),
    ("infinity", mat(Yv=at(POINTS, 1e300)), "column 5 of Yv"),
    ("complex numbers", mat(Yt=POINTS * 1j), "Yt"),
    ("label out of range", mat(Ct=at(ONE_HOT, 0.5)), "column 5 of Yt and Ct"),
    ("label out of range", mat(Ct=ONE_HOT * 2), "column 1 of Yt and Ct"),
    ("label out of range", mat(Ct=at(ONE_HOT, -1, 1)), "column 5 of Yt and Ct"),
    ("label out of range", mat(Cv=at(ONE_HOT, 0)), "column 5 of Yv and Cv"),
    ("label out of range", mat(Cv=at(ONE_HOT, 1, 1)), "column 5 of Yv and Cv"),
    ("missing array", mat().replace(b"MATLAB", b"MITLAB")[:128], "Yt"),
    ("empty file", b"", "cannot be read as a MATLAB file"),
    ("HTML page", PAGE, "cannot be read as a MATLAB file"),
    ("Git LFS pointer", POINTER, "cannot be read as a MATLAB file"),
    ("other format", encode(photo(1), "PNG"), "cannot be read as a MATLAB file"),
    *(("truncated", mat()[: len(mat()) * i // 8], "Yt") for i in range(1, 8)),
    *(("overwritten", overwritten(mat(), place), "Y") for place in (124, 130, 140, 160, 200)),
]


@pytest.mark.slow
def test_every_bad_file_of_tweets_groceries_and_points_is_named(tmp_path):
    def tries(make, dataset, cases):
        for i, (kind, content, what) in enumerate(cases):
            folder = tmp_path / f"{dataset.name}{i}"
            path = make(folder)
            write(path, content)
            work = functools.partial(prepare, dataset, folder)
            message = refused(f"{dataset.name}: {kind}", str(path), work)
            assert what in message, message
            assert not (folder / dataset.name / "1.0.0").exists()

    def grocery_list(folder):
        return grocery_folder(folder) / "train.txt"

    def grocery_photograph(folder):
        return grocery_folder(folder) / "train/b.jpg"

    tries(tweets_folder, datasets.tweet_emotions(), BAD_TWEETS)
    tries(mat_folder, datasets.swiss_roll(), BAD_MATS)
    lines = [
        (kind, b"train/a.jpg, 0, 0\n" + (row if isinstance(row, bytes) else row.encode()), ":2")
        for kind, row in BAD_GROCERY_LINES
    ]
    tries(grocery_list, datasets.grocery_store(), [*lines, ("empty file", b"", "lists no images")])
    photographs = [
        (kind, content, "train.txt:2")
        for kind, _, content, outcome in images()
        if outcome == REFUSED
    ]
    tries(grocery_photograph, datasets.grocery_store(), photographs[::4])


# --- what TFDS prepared -----------------------------------------------------------------------


def damages(folder):
    """Damages of what TFDS prepared: kind, file, its new content or None."""
    (shard,) = folder.rglob("*-train.tfrecord*")
    content = shard.read_bytes()
    for i in range(10):
        yield "shard truncated", shard, content[: len(content) * i // 10 + 1 - (i == 0)]
    for i in range(8):
        start = len(content) * i // 8 + 3
        yield "shard overwritten", shard, changed(content, **{f"at_{start}": b"\xee\xee\xee"})
    yield "shard missing", shard, None
    yield "Git LFS pointer", shard, POINTER
    yield "HTML page", shard, PAGE
    yield "only zeros", shard, bytes(len(content))
    yield "other shard", shard, content + content
    features = next(folder.rglob("features.json"))
    text = features.read_bytes()
    new = [b"", text[: len(text) // 2], b"{}", b"[]", b"null", b"5", b"\xff\xfe", PAGE, POINTER]
    new += [text.replace(b'"label"', b'"lable"'), text.replace(b"tensorflow_datasets", b"os")]
    for content in new:
        yield "features.json damaged", features, content
    yield "features.json missing", features, None
    info = next(folder.rglob("dataset_info.json"))
    text = info.read_bytes()
    for content in (b"", text[: len(text) // 2], b"{}", b"[]", b"null", PAGE, b"\xff"):
        yield "dataset_info.json damaged", info, content
    yield "dataset_info.json damaged", info, text.replace(b'"30"', b'"29"')
    yield "dataset_info.json damaged", info, text.replace(b'"30"', b'"31"')
    yield "dataset_info.json damaged", info, text.replace(b'"30"', b'"-1"')


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fruit", "notes"])
def test_every_damaged_file_of_tfds_is_named(tmp_path, monkeypatch, name):
    import tensorflow_datasets as tfds

    kind = tfds.features.ClassLabel(names=["apple", "pear", "plum"])
    labels = np.arange(30) % 3
    pictures = np.random.default_rng(0).integers(0, 255, (30, 8, 8, 3)).astype(np.uint8)
    texts = np.array([f"text {i}" for i in range(30)])
    image = tfds.features.Image(shape=(8, 8, 3))
    inputs, feature = (pictures, image) if name == "fruit" else (texts, tfds.features.Text())
    store(tmp_path, name, {"input": feature, "label": kind}, {"input": inputs, "label": labels},
          {"train": slice(0, 30)})  # fmt: skip
    dataset = datasets.from_tfds(name, image_size=8, data_dir=tmp_path)
    assert sum(prepare(dataset, tmp_path).examples.values()) == 30
    for i, (what, path, content) in enumerate([*damages(tmp_path / name)]):
        copy = tmp_path / f"copy{i}"
        shutil.copytree(tmp_path / name, copy / name)
        damaged = copy / path.relative_to(tmp_path)
        damaged.unlink()
        if content is not None:
            damaged.write_bytes(content)
        monkeypatch.setenv("KPIPE_HOME", str(copy / "home"))  # what is prepared is not read again
        work = functools.partial(prepare, dataset, copy)
        message = refused(f"TFDS {name}: {what}", str(copy / name), work)
        if what.startswith("shard"):
            assert str(damaged) in message, message


# --- archives ---------------------------------------------------------------------------------


def pin(monkeypatch, folder):
    """Makes the files of a folder the original ones, by size and SHA-256."""
    sizes = {name: (folder / name).stat().st_size for name in celeba.ORIGINAL_FILES}
    digests = {name: files.sha256(folder / name) for name in celeba.ORIGINAL_FILES}
    monkeypatch.setattr(celeba, "FIVE_FILES", sizes)
    monkeypatch.setattr(celeba, "ORIGINAL_FILES", digests)


def archive_folder(folder, content):
    faces_folder(folder)
    shutil.rmtree(folder / celeba.IMAGES)
    write(folder / f"{celeba.IMAGES}.zip", content)
    return folder / f"{celeba.IMAGES}.zip"


def test_an_archive_of_the_right_size_with_other_content_is_not_opened(tmp_path, monkeypatch):
    path = archive_folder(tmp_path, zipped(("../../evil", b"evil")))
    pin(monkeypatch, tmp_path)
    path.write_bytes(zipped(("../../EVIL", b"evil")))
    work = functools.partial(prepare, datasets.celeba(), tmp_path)
    message = refused("archive", str(path), work)
    assert message.endswith("is not the original, by its SHA-256: download it again")


@pytest.mark.slow
def test_hostile_archives_write_nothing_and_are_refused_in_one_line(tmp_path, monkeypatch):
    outside = tmp_path / "outside"
    outside.mkdir()
    archives = hostile(outside)
    assert len(archives) >= 30
    for i, (name, content) in enumerate(archives.items()):
        folder = tmp_path / f"case{i}"
        path = archive_folder(folder, content)
        write(folder / "t.csv.gz", content)
        write(folder / "t.tar.gz", content)
        before = sorted(tmp_path.rglob("*"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with monkeypatch.context() as patch:
            find = functools.partial(prepare, datasets.celeba(), folder)
            refused("archive: pinned", str(path), find)  # by its size
            pin(patch, folder)  # as if the original were hostile
            refused("archive: opened", str(path), find)
        for table in ("t.csv.gz", "t.tar.gz"):
            read = functools.partial(datasets.table, folder / table, target="label")
            refused("archive: table", table, read)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
        assert sorted(tmp_path.rglob("*")) == before and not any(outside.iterdir()), name
        assert grown < 2**18, name  # KiB
