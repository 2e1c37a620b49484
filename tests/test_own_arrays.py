"""Arrays in memory as a dataset."""

import numpy as np
import pandas as pd
import pytest

from kpipe import data, datasets
from kpipe.errors import UserError

N = 60
RUN = np.arange(N)
IMAGES = np.random.default_rng(0).integers(0, 256, (N, 8, 8, 3), np.uint8)
VECTORS = np.random.default_rng(0).normal(size=(N, 4))
TEXTS = [f"text {n} of {n % 7}" for n in RUN]
CLASSES = RUN % 3


@pytest.mark.parametrize(
    ("x", "shape", "what"),
    [
        (IMAGES, (8, 8, 3), "images"),
        (IMAGES[..., 0], (8, 8, 1), "images"),
        (VECTORS, (4,), "rows"),
        (IMAGES[:, 0, :, 0], (8,), "rows"),
        (TEXTS, (), "texts"),
        (np.array(TEXTS), (), "texts"),
    ],
)
def test_inputs_are_prepared_as_they_are(x, shape, what):
    dataset = datasets.arrays(x, CLASSES, name=f"mine {what}")
    assert dataset.input_shape == shape and dataset.find().look.what == what
    prepared = data.prepare(dataset, dataset.find())
    assert prepared.kind == "own" and sum(prepared.examples.values()) == N
    test = prepared.test
    if what == "texts":
        rows = [list(x).index(test.column.texts[row].decode()) for row in test.rows]
    else:
        flat = x.reshape(N, -1).astype("float32")
        rows = [
            int(np.flatnonzero((flat == row.reshape(-1)).all(axis=1))[0])
            for row in np.asarray(test.inputs, "float32")
        ]
    assert rows == sorted(rows) and test.labels.tolist() == CLASSES[rows].tolist()


@pytest.mark.parametrize(
    ("y", "options", "task", "names", "first"),
    [
        (CLASSES, {}, "classification", ("0", "1", "2"), [0, 1, 2]),
        (CLASSES + 5, {}, "classification", ("5", "6", "7"), [0, 1, 2]),
        (CLASSES, {"label_names": ("a", "b", "c")}, "classification", ("a", "b", "c"), [0, 1, 2]),
        (np.array(["b", "c", "a"])[CLASSES], {}, "classification", ("a", "b", "c"), [1, 2, 0]),
        (
            list(np.array(["b", "c", "a"])[CLASSES]),
            {"label_names": ("c", "b", "a")},
            *("classification", ("c", "b", "a"), [1, 0, 2]),
        ),
        (CLASSES == 1, {}, "classification", ("False", "True"), [0, 1, 0]),
        (CLASSES / 2, {}, "classification", ("0", "0.5", "1"), [0, 1, 2]),
        (CLASSES, {"task": "regression"}, "regression", ("value",), [0.0, 1.0, 2.0]),
        (RUN / 4, {"label_names": ("weight",)}, "regression", ("weight",), [0.0, 0.25, 0.5]),
        (RUN * 3, {}, "regression", ("value",), [0.0, 3.0, 6.0]),
        (
            np.stack([RUN % 2, RUN % 3 == 0], axis=1),
            *({}, "multilabel", ("label 0", "label 1"), [[0, 1], [1, 0], [0, 0]]),
        ),
        (
            np.eye(2, dtype=int)[RUN % 2],
            {"task": "multilabel"},
            *("multilabel", ("label 0", "label 1"), [[1, 0], [0, 1], [1, 0]]),
        ),
    ],
)
def test_the_task_follows_from_the_labels(y, options, task, names, first):
    splits = {"test": (VECTORS + 9, y)}
    dataset = datasets.arrays(VECTORS, y, **splits, **options)
    assert (dataset.task, dataset.label_names) == (task, names)
    examples = dataset.find().read("train").take(3).as_numpy_iterator()
    assert [example["label"].tolist() for example in examples] == first
    assert dataset.targets == ("scaled labels" if task == "regression" else "labels")


def test_given_splits_are_used_and_their_copies_counted():
    val, test = (VECTORS[:6] + 9, CLASSES[:6]), (VECTORS[:9], CLASSES[:9])
    dataset = datasets.arrays(VECTORS, CLASSES, val=val, test=test)
    source = dataset.find()
    assert source.examples == {"train": 60, "val": 6, "test": 9} and dataset.val_fraction == 0
    assert source.look.divided == "as given" and source.look.copies.exact == 9
    assert any(w.startswith("9 examples are also in another split") for w in source.look.warnings)
    assert datasets.arrays(VECTORS, CLASSES, test=test).find().examples == {"train": 60, "test": 9}
    only_val = datasets.arrays(VECTORS, CLASSES, val=val).find()
    assert only_val.examples == {"train": 48, "val": 6, "test": 12}


def test_columns_of_a_frame_are_arrays():
    table = pd.DataFrame({"t": TEXTS, "y": CLASSES, "g": RUN}, index=RUN + 1000)
    source = datasets.arrays(table["t"], table["y"], groups=table["g"]).find()
    assert source.examples == {"train": 48, "test": 12}


def test_copies_stay_on_one_side_without_groups():
    x = np.concatenate([VECTORS, VECTORS])
    source = datasets.arrays(x, [*CLASSES, *CLASSES]).find()
    ids = {split: set(source.groups(split)) for split in source.examples}
    assert not ids["train"] & ids["test"] and len(ids["train"] | ids["test"]) == len(VECTORS)
    assert source.look.copies.exact == len(VECTORS)
    assert datasets.arrays(VECTORS, CLASSES).find().groups is None


def test_groups_and_copies_stay_on_one_side():
    x = VECTORS.copy()
    x[59] = x[0]
    source = datasets.arrays(x, CLASSES, groups=RUN // 3).find()
    ids = {split: set(source.groups(split)) for split in source.examples}
    assert not ids["train"] & ids["test"] and len(ids["train"] | ids["test"]) == 19
    assert source.look.copies.exact == 1 and source.look.copies.conflicting == 1
    assert source.look.copies.examples == (("example 59", "example 0"),)


def test_the_identity_follows_the_content():
    def identity(x=VECTORS, y=CLASSES, **options):
        return datasets.arrays(x, y, **options).find().identity

    changed = VECTORS.copy()
    changed[7, 2] += 1e-3
    others = [identity(changed), identity(y=(CLASSES + 1) % 3), identity(split_seed=1)]
    assert identity() == identity() and identity() not in others


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (VECTORS, CLASSES[:9], {}, "x has 60 examples and y 9"),
        (VECTORS, np.eye(3)[CLASSES], {}, r"one-hot; expected classes, y\.argmax\(axis=1\)"),
        (VECTORS, CLASSES[:, None], {}, r"y\.ravel\(\)"),
        (VECTORS, np.where(RUN == 17, np.nan, RUN), {}, r"y\[17\] contains NaN"),
        (np.where(RUN[:, None] == 5, np.inf, VECTORS), CLASSES, {}, r"x\[5\] contains NaN or inf"),
        (VECTORS[:, 0], CLASSES, {}, r"float64 \(60,\); expected .*reshape\(-1, 1\)"),
        (IMAGES / 255, CLASSES, {}, "give images as uint8"),
        (IMAGES[..., :2], CLASSES, {}, "images of 2 channels"),
        ([*TEXTS[:59], None], CLASSES, {}, r"x\[59\] is NoneType; expected a text"),
        (VECTORS, RUN * 0, {}, "only one class, 0"),
        (VECTORS, np.where(RUN < 2, "rare", "common"), {}, r"fewer than 3 examples: 'rare' \(2\)"),
        (
            VECTORS,
            CLASSES,
            {"label_names": ("a", "b")},
            r"y\[2\] is 2; expected a class from 0 to 1",
        ),
        (VECTORS, CLASSES, {"task": "classify"}, "task=classify: did you mean 'classification'"),
        (VECTORS, CLASSES, {"task": "multilabel"}, r"expected \(n, labels\) of 0 and 1"),
        (VECTORS, CLASSES, {"groups": [1, 2]}, "2 groups for 60 examples"),
        (VECTORS, CLASSES, {"val": (VECTORS[:5, :3], CLASSES[:5])}, r"val x .*expected .*\(n, 4\)"),
        (VECTORS, [None, *RUN[1:].tolist()], {}, r"y\[0\] is None; expected texts, or numbers"),
        (VECTORS, [1, "a", *RUN[2:].tolist()], {}, r"y\[0\] is 1; expected texts, or numbers"),
        (VECTORS[:0], CLASSES[:0], {}, "x has 0 examples"),
        ([[1, 2], [3]] * 30, CLASSES, {}, "x is no array: setting"),
        (VECTORS, [[1, 2], [3]] * 30, {}, "y is no array: setting"),
        (VECTORS, CLASSES, {"groups": [None, *"ab"] * 20}, r"groups\[0\] is missing"),
    ],
)
def test_arrays_that_do_not_fit_are_one_line(x, y, options, message):
    with pytest.raises(UserError, match=message) as error:
        datasets.arrays(x, y, **options)
    assert "\n" not in str(error.value)
