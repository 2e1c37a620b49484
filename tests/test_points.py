import numpy as np
import pytest
import scipy.io

from kpipe import data, datasets
from kpipe.errors import UserError


def mat_content(dimensions=2, num_classes=5, count=40):
    random = np.random.RandomState(0)
    content = {}
    for part in "tv":
        content[f"Y{part}"] = random.normal(size=(dimensions, count)).astype(np.float32)
        content[f"C{part}"] = np.eye(num_classes, dtype=np.float32)[:, np.arange(count) % 5]
    return content


@pytest.fixture
def peaks_file(tmp_path):
    """Writes a PeaksData.mat to where the user would put it; returns the data folder."""
    manual = tmp_path / "downloads" / "manual" / "mat2d"
    manual.mkdir(parents=True)

    def write(content):
        scipy.io.savemat(manual / "PeaksData.mat", content)
        return tmp_path

    return write


def test_the_users_mat_file_is_read_point_by_point(peaks_file):
    content = mat_content()
    folder = peaks_file(content)
    dataset = datasets.peaks(val_fraction=0.25)
    source = dataset.find("auto", folder)
    assert source.kind == "real" and source.examples == {"train": 40, "test": 40}
    assert not source.official  # another file than the known one
    prepared = data.prepare(dataset, source)
    assert prepared.examples == {"train": 30, "val": 10, "test": 40}
    points, labels = prepared.test.take(np.arange(40))
    assert points.dtype == np.float32 and points.shape == (40, 2)
    # TFDS shuffles while it writes: points and labels must still belong together
    given = {
        tuple(p): c for p, c in zip(content["Yv"].T, content["Cv"].argmax(axis=0), strict=True)
    }
    assert {tuple(p): c for p, c in zip(points, labels, strict=True)} == given


def test_prepared_points_are_found_without_the_mat_file(peaks_file):
    folder = peaks_file(mat_content())
    first = datasets.peaks().find("real", folder)
    (folder / "downloads" / "manual" / "mat2d" / "PeaksData.mat").unlink()
    assert datasets.peaks().find("real", folder).identity == first.identity


def broken(change):
    content = mat_content()
    change(content)
    return content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("Ct"), r"PeaksData\.mat: cannot be read .* Yt and Ct \(KeyError"),
        (
            lambda c: c.update(Yt=c["Yt"][:1]),
            r"Yt is \(1, 40\) and Ct \(5, 40\); expected",
        ),
        (
            lambda c: c["Cv"].__setitem__((slice(None), 6), 0.5),
            r"column 7 of Yv and Cv is \[.*\]; expected a finite point and a one-hot class",
        ),
        (lambda c: c["Yt"].__setitem__((0, 3), np.nan), r"column 4 of Yt and Ct is \[nan, "),
    ],
)
def test_a_broken_mat_file_is_named_with_its_column(peaks_file, change, message):
    folder = peaks_file(broken(change))
    with pytest.raises(UserError, match=message):
        datasets.peaks().find("auto", folder)
    assert not (folder / "peaks" / "1.0.0").exists()


def test_a_file_that_is_no_mat_file_is_named(peaks_file):
    folder = peaks_file(mat_content())
    (folder / "downloads" / "manual" / "mat2d" / "PeaksData.mat").write_bytes(b"<html>")
    with pytest.raises(UserError, match=r"PeaksData\.mat: cannot be read as a MATLAB file"):
        datasets.peaks().find("auto", folder)


def test_real_points_that_are_not_there_say_where_to_put_them(tmp_path):
    with pytest.raises(UserError, match=r"put GMMData\.mat into DIR/downloads/manual/mat2d"):
        datasets.gmm().find("real", tmp_path)


@pytest.mark.parametrize(
    ("make", "size", "classes"),
    [(datasets.gmm, 5, 5), (datasets.peaks, 2, 5), (datasets.swiss_roll, 2, 2)],
)
def test_generated_points_say_that_they_are(make, size, classes):
    dataset = make()
    source = dataset.find("sample")
    assert source.kind == "sample" and "generated" in source.description
    train, test = (
        next(source.read(split).batch(count).as_numpy_iterator())
        for split, count in source.examples.items()
    )
    assert test["input"].shape[1:] == dataset.input_shape == (size,)
    assert len(dataset.label_names) == len(set(test["label"])) == classes
    assert not set(map(tuple, train["input"])) & set(map(tuple, test["input"]))


@pytest.mark.parametrize(
    ("gate", "table"),
    [("and", [0, 0, 0, 1]), ("or", [0, 1, 1, 1]), ("nand", [1, 1, 1, 0]), ("xor", [0, 1, 1, 0])],
)
def test_a_truth_table_is_train_val_and_test(gate, table):
    dataset = datasets.truth_table(gate)
    prepared = data.prepare(dataset, dataset.find("auto"))
    for split in prepared.splits.values():
        inputs, labels = split.take(np.arange(4))
        assert inputs.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
        assert labels.tolist() == table
    assert prepared.kind == "real" and prepared.official


def test_a_gate_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="gate='nor': expected one of and, or, nand, xor"):
        datasets.truth_table("nor")


def test_the_one_example_is_the_documented_one():
    dataset = datasets.one_example()
    prepared = data.prepare(dataset, dataset.find("auto"))
    inputs, labels = prepared.train.take(np.arange(len(prepared.train)))
    assert inputs.tolist() == [[1, 2, 3, 4]] and labels.tolist() == [0]
