"""Versions of an export: what a server finds, what is kept, and what is not served."""

import itertools
import json
import pathlib
import shutil

import numpy as np
import pytest
import served
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorflow.core.framework.tensor_pb2 import TensorProto

import kpipe
from kpipe import files, tasks, verifying
from kpipe.errors import RunError, UserError
from kpipe.experiments import execution
from kpipe.experiments.folders import starting_over
from kpipe.export import versions, versions_of
from kpipe.export.warming import REQUESTS
from kpipe.predicting import predict

KEYS = {"epochs": 1, "num_layers": 1, "units_1": 8, "retrain": False}
IMAGES = np.zeros((2, 28, 28, 1), np.uint8)


@pytest.fixture
def copy(finished_run, tmp_path):
    return shutil.copytree(finished_run.folder, tmp_path / "copied")


@pytest.fixture
def without_report(monkeypatch):
    from kpipe import report

    monkeypatch.setattr(report, "write", lambda *_, **__: None)
    monkeypatch.setattr(execution.Execution, "_add_baselines", lambda self, model, found: found)


def add_version(folder, version):
    """Copies version 1 of a run as another."""
    return shutil.copytree(folder / "serving/1", folder / "serving" / str(version))


def test_only_numbers_are_versions_and_the_latest_is_the_highest(copy):
    for name in ("10", "2", "02", "next", ".3", "-4"):
        shutil.copytree(copy / "serving/1", copy / "serving" / name)
    (copy / "serving/11").write_text("a file")
    assert versions_of(copy) == [1, 2, 10]
    assert kpipe.load(copy).folder.name == "10"
    assert kpipe.load(copy, version=2).folder.name == "2"


@pytest.mark.parametrize("version", [0, 3])
def test_a_version_that_does_not_exist_is_refused_with_those_that_do(copy, version):
    add_version(copy, 2)
    with pytest.raises(UserError, match=rf"no version {version} of its export.*one of: 1, 2$"):
        kpipe.load(copy, version=version)


def test_each_version_is_compared_with_its_own_manifest(copy):
    labels = add_version(copy, 2) / "assets/labels.txt"
    labels.write_text(labels.read_text().replace("0", "zero", 1))
    with pytest.raises(UserError, match=r"2/assets/labels.txt is damaged or changed"):
        kpipe.load(copy)
    assert kpipe.load(copy, version=1).predict(IMAGES)["label"].shape == (2,)


def record_of(task, version):
    return {"pipeline": "mine", "task": task, "version": version}


@pytest.mark.parametrize(
    ("kind", "task", "said", "expected"),
    [
        ("text", "regression", "", "classification"),
        ("text", "classification", "", "classification"),
        ("text", "classification", "multilabel", "multilabel"),
        ("text", "multilabel", "", "multilabel"),  # of an older kpipe
        ("text", "multilabel", "classification", "classification"),
        ("text", "reconstruction", "", "classification"),
        ("array", "classification", "", "regression"),
        ("table", "multilabel", "", "regression"),
        ("autoencoder", "regression", "", "reconstruction"),
    ],
)
def test_a_version_is_answered_as_its_own_task(tmp_path, kind, task, said, expected):
    served.write(tmp_path, kind, 1)
    if said:
        (tmp_path / "serving/1/manifest.json").unlink()
        (tmp_path / "serving/1/assets/task.txt").write_text(f"{said}\n")
    # The next run has another task, as --fresh with another target makes one.
    files.write_json(tmp_path / "run.json", record_of(task, 2))
    model = kpipe.load(tmp_path, version=1)
    assert tasks.name_of(tasks.answering(model)) == expected
    assert not model.exclusive or expected == "classification"
    files.write_json(tmp_path / "run.json", record_of(expected, 1))
    model = kpipe.load(tmp_path)
    assert model.task == expected and model.exclusive == (expected == "classification")


def test_a_classifier_that_a_regression_follows_is_served_and_predicts(tmp_path, capsys):
    served.write(tmp_path, "text", 1)
    served.write(tmp_path, "array", 2)
    files.write_json(tmp_path / "run.json", record_of("regression", 2))
    predict(tmp_path, texts=["aaa"], version=1)
    assert capsys.readouterr().out == "aaa: happy (100.0 %)\n"
    with served.Client(served.server_of({"mine": tmp_path})) as client:
        found = [client.get(f"/v1/models/mine/versions/{v}/about").json() for v in (1, 2)]
    assert [about["task"] for about in found] == ["classification", "regression"]


def test_a_classifier_says_whether_an_example_has_several_labels(finished_run):
    path = finished_run.folder / "serving/1/assets/task.txt"
    assert path.read_text() == "classification\n"
    endpoints = tasks.find("multilabel").endpoints
    arrays = {"probabilities": finished_run.predictions["probabilities"]}
    assert endpoints(finished_run.model, finished_run.data, arrays).assets["task.txt"] == [
        "multilabel"
    ]


def test_fresh_keeps_what_is_served_and_adds_a_version(
    finished_run, tmp_path, verified_here, without_report
):
    folder = shutil.copytree(finished_run.folder, tmp_path / finished_run.folder.name)
    answers = kpipe.load(folder).predict(IMAGES)["probabilities"]
    keys = {"epochs": 3, "num_layers": 1, "units_1": 64}  # those of `finished_run`
    second = kpipe.run("mnist_mlp", data="sample", out=tmp_path, fresh=True, **keys)
    assert second.folder == folder and versions_of(folder) == [1, 2]
    assert second.record.version == 2 and versions_of(tmp_path / f"{folder.name}~1") == [1]
    kept = kpipe.load(folder, version=1).predict(IMAGES)["probabilities"]
    np.testing.assert_array_equal(kept, answers)
    assert kpipe.load(folder).folder.name == "2"

    assert verifying.verify(folder).passed
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    assert any(name.startswith("serving/2/") for name in listed)
    assert not any(name.startswith("serving/1/") for name in listed)  # may be deleted
    (folder / "serving/1/planted").write_text("x")
    assert verifying.verify(folder).problems
    shutil.rmtree(folder / "serving/1")
    assert verifying.verify(folder).passed


def test_an_export_that_is_not_proven_is_not_served(tmp_path, monkeypatch, without_report):
    proofs = [{"passed": False, "max_difference": 1.0}, {"passed": True, "max_difference": 0.0}]
    monkeypatch.setattr(execution, "prove", lambda folder, test_files: proofs.pop(0))
    with pytest.raises(RunError, match="the export differs from the trained model"):
        kpipe.run("mnist_mlp", data="sample", out=tmp_path, **KEYS)
    (folder,) = tmp_path.glob("mnist_mlp-sample*")
    assert versions_of(folder) == [] and (folder / "unproven/1/saved_model.pb").is_file()
    with pytest.raises(UserError, match="contains no SavedModel"):
        kpipe.load(folder)
    kpipe.run("mnist_mlp", data="sample", out=tmp_path, **KEYS)
    assert versions_of(folder) == [1] and not (folder / "unproven").exists()


def test_a_damaged_version_is_not_kept_and_named(copy, tmp_path, capsys):
    add_version(copy, 2)
    (copy / "serving/1/saved_model.pb").write_bytes(b"damaged")
    versions.keep_versions(copy, tmp_path / "next")
    assert versions_of(tmp_path / "next") == [2]
    assert "serving/1/saved_model.pb is damaged or changed" in capsys.readouterr().out
    linked = tmp_path / "next/serving/2/saved_model.pb"
    assert linked.samefile(copy / "serving/2/saved_model.pb")  # takes no space


@pytest.fixture
def mine(tmp_path):
    """A run with two versions, the newest of which is damaged."""
    folder = tmp_path / "mine[1]"
    for version in (1, 2):
        served.write(folder, "array", version)
    (folder / "serving/2/saved_model.pb").write_bytes(b"damaged")
    (folder / "run.json").write_text("{}")
    return folder


def test_what_is_served_is_missing_only_between_two_renames(mine, monkeypatch):
    seen, rename = [], pathlib.Path.rename
    ask = {"json": {"instances": [[1, 0]]}}

    def look(*_):
        client.server.models["mine"].update()
        seen.append((mine / "serving/1").is_dir())
        assert client.post("/v1/models/mine:predict", **ask).json() == {"predictions": [2.0]}

    def check(folder, model):
        look()
        versions.manifest.check(model)

    monkeypatch.setattr(versions, "check_version", check)
    monkeypatch.setattr(pathlib.Path, "rename", lambda *paths: (rename(*paths), look()))
    with served.Client(served.server_of({"mine": mine})) as client, starting_over(mine) as aside:
        aside()
    assert seen == [True, True, False, True]  # twice checked, twice renamed
    assert [path.name for path in mine.iterdir()] == ["serving"] and versions_of(mine) == [1]


def test_the_number_of_a_damaged_version_is_not_used_again(mine):
    assert versions.next_version(mine) == 3
    with starting_over(mine) as set_aside:
        set_aside()
    assert versions_of(mine) == [1]
    # A kill may follow, so that nothing else is known of it.
    assert versions.next_version(mine) == 3
    shutil.rmtree(mine)
    assert versions.next_version(mine) == 3
    assert versions.next_version(mine.with_name("other")) == 1


def test_a_kill_between_the_renames_loses_nothing(mine):
    versions.keep_versions(mine, mine.with_name(f".{mine.name}.beside"))
    mine.rename(f"{mine}~1")
    with starting_over(mine):
        assert versions_of(mine) == [1]
    # One before them leaves links that are of no use.
    versions.keep_versions(mine, mine.with_name(f".{mine.name}.beside"))
    with starting_over(mine):
        pass
    assert sorted(path.name for path in mine.parent.iterdir()) == [mine.name, f"{mine.name}~1"]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_run_that_cannot_be_set_aside_stays_what_it_is(mine, monkeypatch, number):
    """The first rename fails, or the second, or what follows them."""
    count, rename = itertools.count(1), pathlib.Path.rename

    def failing(*paths):
        if next(count) == number:
            raise OSError("no room")
        return rename(*paths)

    monkeypatch.setattr(pathlib.Path, "rename", failing)
    with pytest.raises(OSError, match="no room"), starting_over(mine) as set_aside:
        set_aside()
        next(count)
        raise OSError("no room")
    assert versions_of(mine) == [1, 2] and (mine / "run.json").is_file()
    assert [path.name for path in mine.parent.iterdir()] == [mine.name]


def warmup_class():
    """The messages of TensorFlow Serving, as far as a warm-up needs them, by protobuf itself."""
    file = descriptor_pb2.FileDescriptorProto(name="warmup.proto", package="w", syntax="proto3")
    fields = {
        "ModelSpec": [(1, "name", ""), (3, "signature_name", "")],
        "Entry": [(1, "key", ""), (2, "value", "bytes")],
        "PredictRequest": [(1, "model_spec", "ModelSpec"), (2, "inputs", "*Entry")],
        "PredictLog": [(1, "request", "PredictRequest")],
        "PredictionLog": [(6, "predict_log", "PredictLog")],
    }
    for name, listed in fields.items():
        message = file.message_type.add(name=name)
        for number, field, kind in listed:
            types = {"": 9, "bytes": 12}
            added = message.field.add(name=field, number=number, type=types.get(kind, 11))
            added.label = 3 if kind.startswith("*") else 1
            if kind not in types:
                added.type_name = f".w.{kind.removeprefix('*')}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("w.PredictionLog"))


def test_every_endpoint_is_warmed_up_with_a_golden_input(finished_run):
    path = finished_run.folder / "serving/1/assets.extra" / REQUESTS
    signatures = tf.saved_model.load(str(finished_run.folder / "serving/1")).signatures
    found = {}
    for record in tf.data.TFRecordDataset(str(path)):
        request = warmup_class().FromString(record.numpy()).predict_log.request
        assert request.model_spec.name == "mnist_mlp"
        (entry,) = request.inputs
        values = tf.make_ndarray(TensorProto.FromString(entry.value))
        signature = signatures[request.model_spec.signature_name]
        signature(**{entry.key: tf.constant(values)})
        found[request.model_spec.signature_name] = len(values)
    assert found == {"serving_default": 1, "serving_bytes": 1}
