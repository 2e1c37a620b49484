import csv
import functools
import json
import os
from types import SimpleNamespace

import keras
import mixed
import numpy as np
import own
import pandas as pd
import pytest
import tensorflow as tf

import kpipe
from kpipe import cli, data, datasets, models, predicting
from kpipe.errors import UserError
from kpipe.export import export
from kpipe.inputs import Examples, Piece
from kpipe.tasks import classification


@pytest.fixture(scope="module")
def prepared():
    dataset = mixed.dataset()
    return data.prepare(dataset, dataset.find())


@pytest.fixture(scope="module")
def exported(prepared, tmp_path_factory):
    """An untrained network's export, loaded, and its probabilities on the test split."""
    folder = tmp_path_factory.mktemp("table")
    keras.utils.set_random_seed(0)
    model = models.tabular(prepared.input_shape, 2, category_sizes=(6, 4), units=(8,))
    export(folder, classification.endpoints(model, prepared, {}))
    expected = model.predict(prepared.test.inputs, verbose=0)["probabilities"]
    return SimpleNamespace(folder=folder, model=kpipe.load(folder), expected=expected)


@pytest.fixture(scope="module")
def load():
    """Loads each export once."""
    return functools.cache(lambda folder: kpipe.load(folder))


@pytest.fixture
def loaded_once(load, monkeypatch):
    monkeypatch.setattr(predicting, "load", lambda folder, **_: load(str(folder)))


@pytest.fixture
def table():
    """The test split as a user has it."""
    return mixed.frame(40, seed=1)


def as_columns(table):
    return {name: table[name].tolist() for name in table.columns}


@pytest.mark.parametrize(
    "change",
    [
        lambda table: table,
        lambda table: table[table.columns[::-1]].set_index(np.arange(40) * 7),
        as_columns,
        lambda table: table.assign(seen=pd.to_datetime(table["seen"], format="%d/%m/%Y")),
        lambda table: table.assign(last=pd.to_datetime(table["last"])),
        lambda table: table.assign(**{"smoker?": table["smoker?"].map({"yes": 1.0, "no": 0.0})}),
        lambda table: table.convert_dtypes(),
    ],
)
def test_a_table_in_memory_is_predicted_as_in_training(change, exported, table):
    answers = exported.model.predict(change(table))
    np.testing.assert_allclose(answers["probabilities"], exported.expected, atol=1e-5)
    assert set(answers["label"]) <= {"no", "yes"}


def test_values_may_be_missing_and_rows_too(exported, table):
    missing = {column.name: [None, np.nan] for column in mixed.COLUMNS}
    answers = exported.model.predict(missing)["probabilities"]
    assert np.isfinite(answers).all() and (answers[0] == answers[1]).all()
    assert exported.model.predict(table[:0])["probabilities"].shape == (0, 2)


def test_a_loaded_table_model_knows_its_columns(exported):
    assert [(c.name, c.kind, c.format) for c in exported.model.columns] == [
        (c.name, c.kind, c.format) for c in mixed.COLUMNS
    ]
    assert exported.model.input_spec is None and exported.model.text_column == ""


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.assign(age=[*t["age"][:-2], np.inf, 1]), "^row 39, column 'age': inf; exp"),
        (lambda t: t.assign(age=["x"] * 40), r"^row 1, column 'age': 'x' \(40 such values\); exp"),
        (lambda t: t.rename(columns={"age": "Age"}), "no column 'age'; did you mean 'Age'"),
        (lambda t: t.to_numpy(), "rows is a ndarray; expected a DataFrame, or a dict of the col"),
        (lambda t: {"age": [1], "seen": [1, 2]}, "rows: .*; expected columns of one length"),
        (lambda t: {"age": 1}, "rows: .*; expected columns of one length"),
    ],
)  # fmt: skip
def test_a_wrong_table_is_refused_in_one_line(change, message, exported, table):
    with pytest.raises(ValueError, match=message) as caught:
        exported.model.predict(change(table))
    assert "\n" not in str(caught.value)


WRITERS = {
    "csv": lambda table, path: table.to_csv(path, index=False),
    "tsv": lambda table, path: table.to_csv(path, index=False, sep="\t"),
    "jsonl": lambda table, path: table.to_json(path, orient="records", lines=True),
    "parquet": lambda table, path: table.to_parquet(path),
}


@pytest.mark.parametrize("ending", WRITERS)
def test_files_give_the_answers_of_the_table(ending, exported, table, tmp_path):
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"new.{ending}"
    WRITERS[ending](table, path)
    answers = exported.model.predict_files([path, path])["probabilities"]
    np.testing.assert_allclose(answers, np.tile(exported.expected, (2, 1)), atol=1e-5)


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_answers_are_written_one_row_an_example(exported, table, tmp_path, capsys):
    first, second, answers = (tmp_path / name for name in ("a.csv", "b.csv", "answers.csv"))
    table[:25].to_csv(first, index=False)
    table[25:].to_csv(second, index=False)
    command = ["predict", str(exported.folder), str(first), str(second), "--csv", str(answers)]
    assert cli.main(command) == 0
    assert capsys.readouterr().out.strip() == f"40 answers written to {answers}"
    rows = rows_of(answers)
    names = ["file", "row", "label", "probability", "probabilities/no", "probabilities/yes"]
    assert list(rows[0]) == names and len(rows) == 40
    places = [(row["file"], int(row["row"])) for row in rows]
    assert places[24:26] == [(str(first), 25), (str(second), 1)]
    likely = [float(row["probabilities/yes"]) for row in rows]
    np.testing.assert_allclose(likely, exported.expected[:, 1], atol=1e-5)
    assert {row["label"] for row in rows} <= {"no", "yes"}
    assert cli.main([*command[:3], "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[0])
    assert said["file"] == f"{first}:1" and said["label"] == rows[0]["label"]


def failed(capsys, *arguments):
    assert cli.main(["predict", *map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_mistakes_in_files_are_one_line(exported, table, tmp_path, capsys, loaded_once):
    path = tmp_path / "new.csv"
    table.assign(age=["12", "twelve", *["x"] * 38]).to_csv(path, index=False)
    message = failed(capsys, exported.folder, path)
    assert message.startswith(f"error: {path}: row 2, column 'age': 'twelve'; expected a number")
    table.drop(columns="age").to_csv(path, index=False)
    assert f"{path}: no column 'age'; known: income" in failed(capsys, exported.folder, path)
    message = failed(capsys, exported.folder, "--text", "x")
    assert "the model takes the columns of a table, not texts" in message


def test_answers_never_replace_what_they_answer(exported, tmp_path, capsys, monkeypatch):
    path, link = tmp_path / "new.csv", tmp_path / "link.csv"
    path.write_text("a\n1\n")
    link.symlink_to(path)
    for target in (path, link, tmp_path / ".." / tmp_path.name / "new.csv"):
        message = failed(capsys, exported.folder, path, "--csv", target)
        assert f"--csv {target} is one of the files to predict" in message
    assert path.read_text() == "a\n1\n"
    assert "is a folder" in failed(capsys, exported.folder, path, "--csv", tmp_path)
    nowhere = tmp_path / "none" / "a.csv"
    assert "in a folder that does not exist" in failed(
        capsys, exported.folder, path, "--csv", nowhere
    )
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "is a device" in failed(capsys, exported.folder, path, "--csv", pipe)
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    assert "cannot be written" in failed(capsys, exported.folder, path, "--csv", tmp_path / "a")
    assert "use one of both" in failed(capsys, exported.folder, path, "--csv", "a", "--json")


@pytest.mark.parametrize(
    "outputs, names, expected",
    [
        ({"value": np.float32([1.5, 2])}, (), [{"value": "1.5"}, {"value": "2.0"}]),
        (
            {"code": np.float32([[1, 2], [3, 4]]), "reconstruction": np.zeros((2, 1, 1, 1))},
            (),
            [{"code/0": "1.0", "code/1": "2.0"}, {"code/0": "3.0", "code/1": "4.0"}],
        ),
    ],
)
def test_answers_of_every_task_are_written(outputs, names, expected, tmp_path, monkeypatch):
    places = [("a.png", 0), ("b.png", 0)]
    examples = Examples("file", ["a.png", "b.png"], [], places)
    (tmp_path / "a.png").touch()
    model = SimpleNamespace(
        task="regression" if "value" in outputs else "reconstruction",
        outputs=set(outputs),
        label_names=names,
        input_spec=tf.TensorSpec((None, 1, 1, 1), tf.uint8),
        pieces=lambda *_, **__: iter([Piece(places, places, lambda *_: examples)]),
        predict_examples=lambda examples: outputs,
    )
    monkeypatch.setattr(predicting, "load", lambda folder, **_: model)
    predicting.predict(tmp_path, [tmp_path / "a.png"], csv_file=tmp_path / "answers.csv")
    rows = rows_of(tmp_path / "answers.csv")
    files = [{"file": "a.png"}, {"file": "b.png"}]
    assert rows == [{**file, **answer} for file, answer in zip(files, expected, strict=True)]


# Texts in a column of a table


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """The export of an untrained network for texts, in a column whose name contains a tab."""
    vectorization = datasets.Vectorization(100, 10, text_column="body\ttext")
    splits = own.both(own.texts)
    dataset = own.dataset(splits, ("good", "bad"), vectorization=vectorization)
    prepared = data.prepare(dataset, dataset.find())
    folder = tmp_path_factory.mktemp("texts")
    keras.utils.set_random_seed(0)
    model = models.bag_of_embeddings(2, vocabulary_size=len(prepared.vocabulary), embedding_dim=4)
    export(folder, classification.endpoints(model, prepared, {}))
    return folder


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_texts_are_read_from_the_column_that_was_trained_on(
    ending, texts, tmp_path, capsys, load, loaded_once
):
    path, answers = tmp_path / f"new.{ending}", tmp_path / "answers.csv"
    table = pd.DataFrame({"stars": [5, 1, 3], "body\ttext": ["good, good", "bad\nbad", None]})
    WRITERS[ending](table, path)
    command = ["predict", str(texts), str(path), "--text", "first", "--csv", str(answers)]
    assert cli.main(command) == 0
    rows = rows_of(answers)
    assert [row["text"] for row in rows] == ["first", "good, good", "bad\nbad", ""]
    assert [row["row"] for row in rows] == ["", "1", "2", "3"]
    assert [row["file"] for row in rows] == ["", *[str(path)] * 3]
    expected = load(str(texts)).predict(["first", "good, good", "bad\nbad", ""])
    assert [row["label"] for row in rows] == expected["label"].tolist()
    WRITERS[ending](table.rename(columns={"body\ttext": "body"}), path)
    assert f"{path}: no column 'body\\ttext'; did you mean 'body'?" in failed(capsys, texts, path)


def test_other_files_have_a_text_a_line(texts, tmp_path, load):
    path = tmp_path / "new.txt"
    path.write_text("body\ngood, good\n")
    assert load(str(texts)).read_files([path]).names == ["body", "good, good"]


def test_a_model_of_no_table_reads_the_column_text(tmp_path, texts):
    (texts / "serving" / "1" / "assets" / "text_column.txt").unlink()
    (texts / "serving" / "1" / "manifest.json").unlink()
    path = tmp_path / "new.csv"
    path.write_text('text\n"good, good"\n')
    model = kpipe.load(texts)
    assert model.read_files([path]).names == ["good, good"]
    with pytest.raises(UserError, match="no such file"):
        model.predict_files([tmp_path / "none.csv"])
