"""A run read from its folder, and the runs beside it."""

import json
import math
import pathlib
import shutil

import numpy as np
import pytest

import kpipe
from kpipe.errors import UserError
from kpipe.records import DataRecord, Record, Run, TargetRecord, open_run, read_history
from kpipe.records.folder import read_predictions
from kpipe.training import History

# Finished runs that an older kpipe wrote: nothing is trained here.
FINISHED = pathlib.Path(__file__).parent / "format_1" / "classification"
FILES = ("run.json", "metrics.json", "history.csv", "predictions.npz")


@pytest.fixture
def folder(tmp_path):
    """A finished run that may be damaged."""
    return copy_to(tmp_path / "saved_models" / "mine")


def copy_to(folder):
    folder.mkdir(parents=True)
    for name in FILES:
        shutil.copy(FINISHED / name, folder / name)
    return folder


def rewrite(path, **fields):
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **fields}))


def test_a_run_is_read_with_all_of_its_files(folder):
    run = open_run(folder)
    assert run.name == run.record.pipeline == "mnist_mlp" and run.folder == folder
    assert run.label_names == tuple("0123456789")
    assert run.metrics == json.loads((folder / "metrics.json").read_text())
    assert run.history["epoch"] == [1, 2] and len(run.history["val_loss"]) == 2
    with np.load(FINISHED / "predictions.npz") as expected:
        assert set(run.predictions) == set(expected.files)
        np.testing.assert_array_equal(run.predictions["probabilities"], expected["probabilities"])
    right = run.predictions["probabilities"].argmax(axis=1) == run.predictions["label"]
    assert run.metrics["accuracy"]["value"] == pytest.approx(right.mean())


def test_a_finished_run_reads_as_it_was_returned(finished_run):
    again = open_run(finished_run.folder)
    assert again.record == finished_run.record and again.metrics == finished_run.metrics
    assert again.history == finished_run.history and again.headline == finished_run.headline
    assert again.predictions.keys() == finished_run.predictions.keys()
    for name, values in finished_run.predictions.items():
        np.testing.assert_array_equal(again.predictions[name], values)


def test_a_finished_run_and_its_parts_are_short(finished_run):
    assert len(repr(finished_run).split("\n")) == 5
    for part in (finished_run.record, finished_run.data, kpipe.load(finished_run.folder)):
        assert len(repr(part)) < 300 and "\n" not in repr(part), repr(part)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b'{"a": 1}, {"b": "c"}'])
def test_a_missing_or_damaged_file_is_named(folder, name, content):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
        if name == "history.csv":  # otherwise it would be a head without rows
            (folder / name).write_bytes(content + b"\n1\n")
    with pytest.raises(UserError) as caught:
        open_run(folder)
    message = str(caught.value)
    assert message.startswith(str(folder / name)) and "\n" not in message
    assert "--fresh" in message


def test_predictions_of_other_weights_are_none(folder):
    path, weights = folder / "predictions.npz", open_run(folder).record.weights_sha256
    assert set(read_predictions(path, weights)) >= {"index", "label", "probabilities"}
    assert read_predictions(path, "0" * 64) is None
    assert read_predictions(path, None) is None
    assert read_predictions(folder / "none.npz", weights) is None
    rewrite(folder / "run.json", weights_sha256="0" * 64)
    with pytest.raises(
        UserError, match=r"predictions\.npz is missing or damaged; run again with --fresh"
    ):
        open_run(folder)


def test_a_history_keeps_numbers_and_leaves_empty_cells_empty(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,loss,val_loss\n1,0.5,\n2,1e-3,0.25\n")
    history = read_history(path)
    assert history == {"epoch": [1, 2], "loss": [0.5, 0.001], "val_loss": [None, 0.25]}
    assert isinstance(history["epoch"][0], int)
    path.write_text(History(rows=[{"loss": 0.5}, {"loss": -math.inf}, {"loss": math.nan}]).to_csv())
    assert str(read_history(path)["loss"]) == "[0.5, -inf, nan]"
    path.write_text("epoch,loss\n")
    assert read_history(path) == {"epoch": [], "loss": []}


@pytest.mark.parametrize(
    "content",
    ["", "epoch,loss\n1\n", "epoch,loss\n1,2,3\n", "epoch\nfirst\n", "epoch,loss\n1,2\n3\n"],
)
def test_a_history_that_is_no_table_of_numbers_is_named(tmp_path, content):
    path = tmp_path / "history.csv"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        read_history(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: cannot be read (") and "\n" not in message


@pytest.mark.parametrize(
    "metrics",
    [[], {"accuracy": 0.5}, {"accuracy": {}}, {"accuracy": {"value": "high"}}, {"accuracy": None}],
)
def test_what_is_no_table_of_metrics_is_named(folder, metrics):
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(UserError, match=rf"^{folder}/metrics\.json: not the metrics of a run"):
        open_run(folder)


# --- runs beside one another ------------------------------------------------------------------


def test_siblings_are_the_other_finished_runs(folder, capsys, monkeypatch):
    out = folder.parent
    for name in ("another", "third,seed=1", "mine~1", ".hidden", "unfinished", "cut", "no metrics"):
        copy_to(out / name)
    rewrite(out / "unfinished" / "run.json", status="unfinished")
    (out / "cut" / "run.json").write_text('{"pipeline":')
    (out / "no metrics" / "metrics.json").unlink()
    (out / "empty").mkdir()
    (out / "notes.txt").write_text("mine")
    run = open_run(folder)
    assert [other.folder.name for other in run.siblings()] == ["another", "third,seed=1"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" is not compared: ")[0] for line in lines] == ["cut", "no metrics"]
    assert str(out / "cut" / "run.json") in lines[0]
    assert str(out / "no metrics" / "metrics.json") in lines[1]
    monkeypatch.chdir(folder)
    assert [other.folder.name for other in open_run(".").siblings()] == ["another", "third,seed=1"]


def test_of_runs_that_are_not_wanted_no_further_file_is_read(folder, capsys):
    copy_to(folder.parent / "other")
    rewrite(folder.parent / "other" / "run.json", pipeline="cifar10_mlp")
    (folder.parent / "other" / "metrics.json").unlink()
    run = open_run(folder)
    assert not [*run.siblings(lambda record: record.pipeline == "mnist_mlp")]
    assert not capsys.readouterr().out


def test_a_run_that_was_moved_is_no_sibling_of_itself(folder, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = folder.rename(elsewhere / "renamed")
    copy_to(elsewhere / "another")
    assert [other.folder.name for other in open_run(moved).siblings()] == ["another"]


def made_up(**fields):
    record = Record(
        **{
            "pipeline": "emotion_rnn",
            "seed": 0,
            "overrides": {"architecture": "gru", "epochs": 2},
            "data": DataRecord(fingerprint="ab"),
            **fields,
        }
    )
    return Run("emotion_rnn", pathlib.Path("a"), record, {}, {})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"overrides": {"architecture": "lstm", "epochs": 2}}, True),
        ({"overrides": {"epochs": 2}}, True),  # the default architecture
        ({"overrides": {"architecture": "lstm", "epochs": 3}}, False),
        ({"overrides": {"architecture": "lstm"}}, False),
        ({"overrides": {"architecture": "lstm", "epochs": 2, "units": 8}}, False),
        ({"seed": 1}, False),
        ({"budget": 60.0}, False),
        ({"pipeline": "mine"}, False),
        ({"data": DataRecord(fingerprint="cd")}, False),
        ({"code_sha256": "of an edited file"}, True),
    ],
)
def test_a_variant_differs_in_some_keys_alone(fields, expected):
    other = made_up(**fields).record
    assert made_up().is_variant(other, {"architecture"}) is expected


def test_without_keys_a_variant_is_the_same_run():
    run = made_up()
    assert run.is_variant(made_up().record, set())
    assert not run.is_variant(made_up(overrides={"architecture": "gru"}).record, set())


@pytest.mark.parametrize(
    ("target", "headline", "metrics", "expected"),
    [
        ("log_loss", "accuracy", ("accuracy", "log_loss"), "log_loss"),
        ("f1", "accuracy", ("log_loss", "accuracy"), "accuracy"),
        (None, "mae", ("r2", "mae"), "mae"),
        (None, "", ("loss", "accuracy"), "accuracy"),  # of format 1
        (None, "", ("ssim", "psnr"), "psnr"),
        (None, "", ("other",), "other"),
        (None, "accuracy", (), ""),
    ],
)
def test_a_run_is_known_by_its_targets_metric_or_that_of_its_task(
    target, headline, metrics, expected
):
    run = made_up(headline=headline, target=target and TargetRecord(metric=target))
    run.metrics = {name: {"value": 1.0} for name in metrics}
    assert run.headline == expected
