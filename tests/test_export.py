import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import kpipe
from kpipe.errors import UserError
from kpipe.export import writing as export


@pytest.fixture(scope="module")
def loaded(finished_run):
    return kpipe.load(finished_run.folder)


@pytest.fixture
def copy(finished_run, tmp_path):
    """A run's folder that may be damaged."""
    return pathlib.Path(shutil.copytree(finished_run.folder, tmp_path / "run"))


def test_the_export_is_proven(finished_run):
    proof = finished_run.record["proof"]
    assert proof["passed"] and proof["max_difference"] <= 1e-5
    assert proof["batches"] == [1, 7, 64] and proof["encoded_files"] == 8
    assert proof["test_examples"] == finished_run.metrics["accuracy"]["n"]
    accuracy = finished_run.metrics["accuracy"]
    assert proof["test_correct"] == round(accuracy["value"] * accuracy["n"])


@pytest.mark.parametrize("changed", ["golden", "file", "test", "label"])
def test_the_proof_fails_when_the_model_answers_differently(copy, digits, changed, monkeypatch):
    """The same check in this process, TensorFlow being loaded: what was noted is altered."""
    import importlib.util

    golden = dict(np.load(copy / "golden.npz"))
    predictions = dict(np.load(copy / "predictions.npz"))
    if changed == "golden":
        golden["probabilities"][40, 3] += 2e-5  # seen at batch 64 alone
    elif changed == "file":
        golden["file_probabilities"][7, 0] += 2e-5
    elif changed == "label":
        golden["labels"][0] = "x"
    else:
        predictions["probabilities"][-1] = np.roll(predictions["probabilities"][-1], 1)
    np.savez(copy / "golden.npz", **golden)
    np.savez(copy / "predictions.npz", **predictions)
    images = pathlib.Path(digits.test.inputs.filename)

    spec = importlib.util.spec_from_file_location(
        "proof", pathlib.Path(export.__file__).parent / "proof.py"
    )
    proof = importlib.util.module_from_spec(spec)
    for name in ("keras", "kpipe"):
        monkeypatch.setitem(sys.modules, name, sys.modules[name])  # undoes the script's blocking
    spec.loader.exec_module(proof)
    assert not proof.main(copy, images)["passed"]


def test_the_proof_runs_without_keras_and_kpipe(finished_run):
    script = pathlib.Path(export.__file__).with_name("proof.py").read_text()
    assert script.index('sys.modules["keras"]') < script.index("import tensorflow")
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['keras'] = None; import keras"],
        capture_output=True,
        text=True,
    )
    assert "ModuleNotFoundError" in done.stderr  # what that assignment does


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
    for signature in model.signatures.values():
        assert sorted(signature.structured_outputs) == ["label", "probabilities"]
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
    with pytest.raises(UserError, match=rf"^{bad}: cannot be read as a JPEG or PNG image"):
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
    with pytest.raises(UserError, match="no SavedModel there"):
        kpipe.load(tmp_path)


def test_a_damaged_saved_model_is_one_line(copy):
    (copy / "manifest.json").unlink()
    (copy / "serving" / "1" / "saved_model.pb").write_bytes(b"")
    with pytest.raises(UserError, match="cannot be loaded as an export of kpipe") as caught:
        kpipe.load(copy)
    assert "\n" not in str(caught.value)


def test_an_export_never_mixes_with_a_standing_one(copy, finished_run):
    (copy / "serving" / "1" / "stale").write_text("from before")
    export.export(finished_run.model, finished_run.label_names, copy)
    assert not (copy / "serving" / "1" / "stale").exists()
    assert json.loads((copy / "run.json").read_text())["status"] == "finished"
