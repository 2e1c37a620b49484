"""Bad files, by the routes of users: each is refused in one line that names it, or read rightly."""

import collections
import os
import sys

import pytest
from bad_files import REFUSED, RIGHT, encode, images, odd_paths, photo

from kpipe import data, datasets
from kpipe.datasets.samples import faces
from kpipe.errors import UserError
from kpipe.inputs.images import read_images, unreadable

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


def faces_folder(folder):
    """The unpacked images of six faces with their lists, which are changed afterwards."""
    names = [f"{i + 1:06}.jpg" for i in range(6)]
    for i, name in enumerate(names):
        write(folder / celeba.IMAGES / name, encode(photo(i), "JPEG"))
    values = " ".join(["1", "-1"] * 20)
    lines = ["6", " ".join(faces.ATTRIBUTES), *(f"{name} {values}" for name in names)]
    write(folder / celeba.ATTRIBUTES_FILE, "\n".join(lines) + "\n")
    parts = [f"{name} {i // 2}" for i, name in enumerate(names)]
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


@pytest.mark.parametrize(("kind", "name", "line", "new"), CELEBA_LINES)
def test_a_bad_line_of_celeba_is_named(tmp_path, kind, name, line, new):
    path = faces_folder(tmp_path) / name
    lines = path.read_bytes().splitlines()
    lines[line - 1] = new if isinstance(new, bytes) else new.encode()
    path.write_bytes(b"\n".join(lines))
    refused(kind, f"{path}:{line}: ", lambda: celeba._find_manual(tmp_path))


@pytest.mark.slow
def test_every_bad_photograph_of_celeba_is_named(tmp_path):
    folder = faces_folder(tmp_path)
    for kind, name, content, outcome in images():
        write(folder / celeba.IMAGES / "000001.jpg", content)
        if outcome == REFUSED:
            refused(f"CelebA: {kind}", "000001.jpg", lambda: prepare(datasets.celeba(), folder))
        else:
            assert prepare(datasets.celeba(), folder).examples["train"] == 2, name
            COUNTS[f"CelebA: {kind}"][RIGHT] += 1
    for kind, name in odd_paths(tmp_path):
        path = folder / celeba.IMAGES / "000001.jpg"
        path.unlink(missing_ok=True)
        os.rename(tmp_path / name, path)
        refused(f"CelebA: {kind}", "000001.jpg", lambda: prepare(datasets.celeba(), folder))
