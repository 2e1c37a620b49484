import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from proving import Golden, change_predictions, load_proof

import kpipe
from kpipe.errors import RunError, UserError
from kpipe.export import export, prove, writing
from kpipe.tasks import classification


@pytest.fixture(scope="module")
def loaded(finished_run):
    return kpipe.load(finished_run.folder)


@pytest.fixture
def copy(finished_run, tmp_path):
    """A run's folder that may be damaged."""
    return pathlib.Path(shutil.copytree(finished_run.folder, tmp_path / "run"))


def test_the_export_is_verified(finished_run):
    proof = finished_run.record.proof
    assert proof.passed and proof.labels_agree
    assert proof.max_difference <= proof.tolerance == 1e-5
    endpoints = {"serving_default", "serving_bytes"}
    on_test = {f"{name} on the test split" for name in ("serving_default", "calibrate")}
    assert set(proof.differences) == endpoints | on_test
    assert proof.batches == [1, 7, 64] and proof.compared == ["8 encoded files"]
    accuracy = finished_run.metrics["accuracy"]
    assert proof.test_examples == accuracy["n"] and proof.undecided == 0
    # The words that every test example was compared with are those that the accuracy counts.
    words = Golden(finished_run.folder).expected("serving_default", "label", test=True)
    truth = np.array(finished_run.label_names)[finished_run.predictions["label"]]
    assert np.sum(words == truth) == round(accuracy["value"] * accuracy["n"])


def altered(change, run, copy):
    """Alters what was noted, or what was exported, in one way."""
    golden = Golden(copy)
    if change == "probabilities":
        golden.expected("serving_default", "probabilities")[40, 3] += 2e-5  # at batch 64 alone
    elif change == "NaN":
        golden.expected("serving_default", "probabilities")[40, 3] = np.nan
    elif change == "file":
        golden.expected("serving_bytes", "probabilities")[7, 0] += 2e-5
    elif change == "label":
        golden.expected("serving_default", "label")[0] = "x"
    elif change == "test label":
        golden.expected("serving_default", "label", test=True)[-1] = "x"
    elif change == "endpoint":
        golden.case("serving_bytes")["endpoint"] = "serving_files"
    elif change == "output":  # of which the case knows nothing
        golden.case("serving_bytes")["expected"].pop()
    elif change == "missing output":
        golden.case("serving_default")["expected"][0]["output"] = "logits"
    elif change == "test":
        probabilities = run.predictions["probabilities"].copy()
        probabilities[-1] = np.roll(probabilities[-1], 1)
        change_predictions(copy, probabilities=probabilities)
    elif change == "order":
        change_predictions(copy, index=run.predictions["index"][::-1])
    elif change == "weights":
        model = keras.models.clone_model(run.model)
        *weights, bias = run.model.get_weights()
        model.set_weights([*weights, bias + np.eye(10, dtype=np.float32)[0] * 1e-3])
        export(copy, classification.endpoints(model, run.data, run.predictions))
    elif change == "names":
        swapped = dataclasses.replace(run.data, label_names=tuple("1023456789"))
        export(copy, classification.endpoints(run.model, swapped, run.predictions))
    else:
        raise AssertionError(change)
    golden.save()


CHANGES = "probabilities,NaN,file,label,test label,endpoint,output,missing output"
CHANGES = [*CHANGES.split(","), "test", "order", "weights", "names"]


@pytest.mark.parametrize("change", CHANGES)
def test_the_proof_fails_when_the_export_answers_differently(
    change, copy, finished_run, monkeypatch
):
    """The same check in this process, TensorFlow being loaded."""
    proof, files = load_proof(monkeypatch), finished_run.data.test.column.files
    altered(change, finished_run, copy)
    result = proof.main(copy, *files)
    assert not result["passed"]
    words_alone = change in ("label", "test label", "names")
    assert (result["max_difference"] <= result["tolerance"]) is words_alone
    assert result["labels_agree"] is not (words_alone or change in ("endpoint", "order"))


def test_a_class_that_depends_on_the_last_bit_is_not_compared(copy, finished_run, monkeypatch):
    proof, files = load_proof(monkeypatch), finished_run.data.test.column.files
    golden = Golden(copy)
    golden.expected("serving_default", "label")[0] = "x"
    golden.rows("serving_default", "label")[0] = False
    golden.save()
    assert proof.main(copy, *files)["passed"]


def test_classes_that_are_as_good_as_equally_probable_are_undecided(finished_run):
    probabilities = np.tile(np.float32([0.5, 0.3, 0.2, *[0] * 7]), (360, 1))
    probabilities[3, :2] = 0.4, 0.4 + 1e-5
    probabilities[4, :2] = 0.4, 0.4 + 1e-4
    noted = {**finished_run.predictions, "probabilities": probabilities}
    _, decided = classification.golden(finished_run.model, finished_run.data, noted)
    assert np.flatnonzero(~decided).tolist() == [3]


def test_the_proof_runs_without_keras_and_kpipe(finished_run):
    script = pathlib.Path(writing.__file__).with_name("proof.py").read_text()
    assert script.index('sys.modules["keras"]') < script.index("import tensorflow")
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['keras'] = None; import keras"],
        capture_output=True,
        text=True,
    )
    assert "ModuleNotFoundError" in done.stderr  # what that assignment does


@pytest.mark.slow  # a process that imports TensorFlow
def test_a_proof_that_breaks_down_says_why_in_one_line(copy, finished_run):
    (copy / "serving" / "1" / "saved_model.pb").unlink()
    with pytest.raises(RunError, match="the proof of the export crashed: OSError") as caught:
        prove(copy, finished_run.data.test.column.files)
    assert "\n" not in str(caught.value)


def test_a_loaded_model_gives_what_the_run_predicted(loaded, finished_run, digits):
    images, _ = digits.test.take(np.arange(len(digits.test)))
    outputs = loaded.predict(images)
    expected = finished_run.predictions["probabilities"]
    np.testing.assert_allclose(outputs["probabilities"], expected, atol=1e-5)
    names = np.array(finished_run.label_names)
    assert outputs["label"].tolist() == names[expected.argmax(axis=1)].tolist()
    assert loaded.label_names == tuple("0123456789")
    assert loaded.input_spec.shape == (None, 28, 28, 1)


def test_files_and_arrays_get_the_same_answer(loaded, digits, tmp_path):
    images, _ = digits.test.take(np.arange(3))
    paths = []
    for i, image in enumerate(images):
        paths.append(tmp_path / f"{i}.png")
        paths[-1].write_bytes(tf.io.encode_png(image).numpy())
    np.testing.assert_allclose(
        loaded.predict_files(paths)["probabilities"],
        loaded.predict(images)["probabilities"],
        atol=1e-6,
    )


def test_signatures_are_the_promised_ones(finished_run):
    model = tf.saved_model.load(str(finished_run.folder / "serving" / "1"))
    images = model.signatures["serving_default"].structured_input_signature[1]["images"]
    content = model.signatures["serving_bytes"].structured_input_signature[1]["bytes"]
    assert images.shape.as_list() == [None, 28, 28, 1] and images.dtype == tf.uint8
    assert content.shape.as_list() == [None] and content.dtype == tf.string
    calibrated = ["calibrated", "prediction_set"]
    for name, signature in model.signatures.items():
        further = [] if name == "calibrate" else ["label", "probabilities"]
        assert sorted(signature.structured_outputs) == sorted(calibrated + further)
    labels = finished_run.folder / "serving" / "1" / "assets" / "labels.txt"
    assert labels.read_text().split() == list("0123456789")


def test_no_operation_of_the_graph_touches_files(finished_run):
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel()
    content.ParseFromString((finished_run.folder / "serving" / "1" / "saved_model.pb").read_bytes())
    graph = content.meta_graphs[0].graph_def
    functions = [node.op for function in graph.library.function for node in function.node_def]
    operations = set(functions) | {node.op for node in graph.node}
    assert "DecodeImage" in operations
    assert not operations & {"ReadFile", "WriteFile", "PyFunc", "EagerPyFunc", "PrintV2"}
    assert not any("FromTextFile" in operation for operation in operations)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 28, 28, 1), np.float32),
        np.zeros((1, 32, 32, 3), np.uint8),
        np.zeros((28, 28, 1), np.uint8),
    ],
)
def test_images_of_another_kind_are_refused(loaded, images):
    with pytest.raises(ValueError, match=r"expected uint8 \(n, 28, 28, 1\)"):
        loaded.predict(images)


def test_nothing_in_gives_nothing_out(loaded):
    assert loaded.predict(np.zeros((0, 28, 28, 1), np.uint8))["probabilities"].shape == (0, 10)


def test_an_unreadable_image_is_named_among_good_ones(loaded, digits, tmp_path):
    good, bad = tmp_path / "good.png", tmp_path / "bad.jpg"
    good.write_bytes(tf.io.encode_png(digits.test.inputs[0]).numpy())
    bad.write_bytes(b"<html>not found</html>")
    with pytest.raises(
        UserError, match=rf"^{bad}: cannot be read as an image; convert it to JPEG or PNG"
    ):
        loaded.predict_files([good, bad, good])


def test_a_changed_export_is_not_loaded(copy):
    weights = next((copy / "serving" / "1" / "variables").glob("*.data*"))
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"data-00000-of-00001 is damaged or changed"):
        kpipe.load(copy)


def test_a_missing_file_of_the_export_is_named(copy):
    (copy / "serving" / "1" / "assets" / "labels.txt").unlink()
    with pytest.raises(UserError, match=r"labels\.txt is missing"):
        kpipe.load(copy)


def test_a_saved_model_folder_alone_can_be_loaded(copy):
    assert kpipe.load(copy / "serving" / "1").label_names == tuple("0123456789")


def test_a_folder_without_an_export_is_told(tmp_path):
    with pytest.raises(UserError, match="contains no SavedModel"):
        kpipe.load(tmp_path)


def test_a_damaged_saved_model_is_one_line(copy):
    for path in copy.rglob("manifest.json"):  # an export of an older kpipe, alone
        path.unlink()
    (copy / "serving" / "1" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(UserError, match=r"saved_model\.pb: not a SavedModel, or damaged") as caught:
        kpipe.load(copy)
    assert "\n" not in str(caught.value)


def test_an_export_never_mixes_with_a_standing_one(copy, finished_run):
    (copy / "serving" / "1" / "stale").write_text("from before")
    run = finished_run
    export(copy, classification.endpoints(run.model, run.data, run.predictions))
    assert not (copy / "serving" / "1" / "stale").exists()
    assert json.loads((copy / "run.json").read_text())["status"] == "finished"
