"""The export of an autoencoder: its endpoints, their proof, and its use without Keras."""

import importlib.util
import json
import pathlib
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

import kpipe
from kpipe import cli
from kpipe.errors import UserError
from kpipe.export import writing as export


@pytest.fixture(scope="module")
def run(joint_vae_run):
    return joint_vae_run


@pytest.fixture(scope="module")
def loaded(run):
    return kpipe.load(run.folder)


def images_of(run, count=5):
    return run.data.test.take(np.arange(count))[0]


def test_all_endpoints_are_proven(run):
    proof = run.record["proof"]
    assert proof["passed"] and proof["max_difference"] <= proof["tolerance"] == 1e-4
    assert all(proof["differences"][name] <= 1e-5 for name in ("encode", "decode", "test split"))
    endpoints = {"serving_default", "encode", "decode", "reconstruct", "serving_bytes"}
    assert set(proof["differences"]) == endpoints | {"test split"}
    assert proof["batches"] == [1, 7, 64] and proof["encoded_files"] == 8
    assert proof["test_examples"] == 360


@pytest.mark.parametrize(
    ("file", "name", "endpoint"),
    [
        ("golden", "code", "encode"),
        ("golden", "kl", "encode"),
        ("golden", "probabilities", "encode"),
        ("golden", "reconstruction", "decode"),
        ("golden", "file_reconstruction", "serving_bytes"),
        ("predictions", "code", "reconstruct"),
        ("predictions", "squared_error", "test split"),
    ],
)
def test_the_proof_fails_when_an_endpoint_answers_differently(
    run, file, name, endpoint, tmp_path, monkeypatch
):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    arrays = dict(np.load(folder / f"{file}.npz"))
    certain = np.flatnonzero(arrays["file_certain" if name.startswith("file") else "certain"])
    arrays[name][certain[-1]] += 3e-3
    np.savez(folder / f"{file}.npz", **arrays)
    proof = load_proof(monkeypatch)
    result = proof.main(folder, pathlib.Path(run.data.test.inputs.filename))
    assert not result["passed"] and result["differences"][endpoint] > 1e-5


def test_an_undecided_class_is_compared_by_its_probabilities(run, tmp_path, monkeypatch):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    golden = dict(np.load(folder / "golden.npz"))
    golden["code"][3, 4:7] = np.roll(golden["code"][3, 4:7], 1)  # another class of the first latent
    golden["certain"][3] = False
    decoder = run.model.get_layer("decoder")
    # What is decoded follows the code that was noted.
    golden["reconstruction"][3] = decoder.predict(golden["code"][3:4], verbose=0)["reconstruction"][
        0
    ]
    np.savez(folder / "golden.npz", **golden)
    proof = load_proof(monkeypatch)
    images = pathlib.Path(run.data.test.inputs.filename)
    assert proof.main(folder, images)["passed"]
    golden["certain"][3] = True
    np.savez(folder / "golden.npz", **golden)
    assert not proof.main(folder, images)["passed"]


@pytest.mark.parametrize("served", ["nothing", "half", "constant"])
def test_undecided_classes_do_not_hide_a_wrong_export(run, tmp_path, monkeypatch, served):
    """Every code is undecided, as of latents that say nothing: all endpoints are still compared."""
    folder = shutil.copytree(run.folder, tmp_path / "run")
    for name in ("golden", "predictions"):
        arrays = dict(np.load(folder / f"{name}.npz"))
        changed = {k: np.zeros_like(v) for k, v in arrays.items() if k.endswith("certain")}
        np.savez(folder / f"{name}.npz", **{**arrays, **changed})
    encode = export.export_autoencoder
    encoder, decoder = (run.model.get_layer(name) for name in ("encoder", "decoder"))

    class Changed:
        """The model with another encoder or decoder."""

        def get_layer(self, name):
            return {"encoder": changed_encoder, "decoder": decoder}[name]

    keras_encoder = encoder
    images = encoder.inputs[0]
    outputs = dict(encoder.output)
    if served == "half":
        outputs = {"code": outputs["code"]}
    elif served == "constant":
        outputs["code"] = outputs["code"] * 0
    import keras

    changed_encoder = keras.Model(images, outputs) if served != "nothing" else keras_encoder
    encode(Changed(), folder)
    proof = load_proof(monkeypatch)
    result = proof.main(folder, pathlib.Path(run.data.test.inputs.filename))
    assert result["passed"] is (served == "nothing")


@pytest.mark.parametrize("endpoint", ["reconstruct", "serving_default", "serving_bytes"])
def test_an_image_must_follow_from_the_code_beside_it(run, monkeypatch, endpoint):
    proof = load_proof(monkeypatch)
    signatures = dict(tf.saved_model.load(str(run.folder / "serving" / "1")).signatures)
    right = signatures[endpoint]

    def darkened(**given):
        outputs = right(**given)
        return {**outputs, "reconstruction": 0.99 * outputs["reconstruction"]}

    signatures[endpoint] = darkened
    noted = []
    for name in ("golden", "predictions"):
        arrays = dict(np.load(run.folder / f"{name}.npz"))
        undecided = {k: np.zeros_like(v) for k, v in arrays.items() if k.endswith("certain")}
        noted.append(arrays | undecided)
    images = pathlib.Path(run.data.test.inputs.filename)
    result = proof.prove_autoencoder(SimpleNamespace(signatures=signatures), *noted, images)
    assert not result["passed"] and result["differences"][endpoint] > 1e-3


def load_proof(monkeypatch):
    """The script in this process, TensorFlow being loaded."""
    path = pathlib.Path(export.__file__).parent / "proof.py"
    spec = importlib.util.spec_from_file_location("proof", path)
    proof = importlib.util.module_from_spec(spec)
    for name in ("keras", "kpipe"):
        monkeypatch.setitem(sys.modules, name, sys.modules[name])  # undoes the script's blocking
    spec.loader.exec_module(proof)
    return proof


def test_a_loaded_autoencoder_gives_what_the_trained_one_gives(run, loaded):
    images = images_of(run)
    encoded = run.model.get_layer("encoder").predict(images, verbose=0)
    given = loaded.encode(images)
    assert set(given) == {"code", "z_mean", "z_log_var", "kl", "logits", "probabilities"}
    for name, values in encoded.items():
        np.testing.assert_allclose(given[name], values, atol=1e-5)
    expected = run.model.predict(images, verbose=0)["reconstruction"]
    np.testing.assert_allclose(loaded.reconstruct(images), expected, atol=1e-5)
    np.testing.assert_allclose(loaded.decode(given["code"]), expected, atol=1e-5)
    np.testing.assert_array_equal(loaded.reconstruct(images), loaded.reconstruct(images))
    np.testing.assert_allclose(run.predictions["code"][:5], given["code"], atol=1e-5)


def test_more_images_than_a_batch_are_joined_and_none_give_none(run, loaded):
    images = np.resize(images_of(run, 3), (130, 32, 32, 1))
    together = loaded.predict(images)
    assert together["reconstruction"].shape == (130, 32, 32, 1)
    assert together["code"].shape == (130, loaded.code_size) == (130, 11)
    np.testing.assert_allclose(together["code"][126:129], together["code"][:3], atol=1e-5)
    assert loaded.predict(images[:0])["reconstruction"].shape == (0, 32, 32, 1)
    assert loaded.decode(np.zeros((0, 11), np.float32)).shape == (0, 32, 32, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m: m.encode(np.zeros((1, 28, 28, 1), np.uint8)),
            r"expected uint8 \(n, 32, 32, 1\)",
        ),
        (lambda m: m.reconstruct(np.zeros((1, 32, 32, 1))), "with values 0 to 255"),
        (lambda m: m.decode(np.zeros((1, 10), np.float32)), r"expected float32 \(n, 11\)"),
        (lambda m: m.decode(np.zeros((1, 11))), r"code are float64 \(1, 11\)"),
    ],
)
def test_inputs_of_another_kind_are_refused(loaded, call, message):
    with pytest.raises(ValueError, match=message):
        call(loaded)


def write_images(run, folder):
    paths = []
    for i, image in enumerate(images_of(run, 2)):
        paths.append(folder / f"{i}.png")
        paths[-1].write_bytes(tf.io.encode_png(image).numpy())
    return paths


def test_files_and_arrays_have_the_same_code(run, loaded, tmp_path):
    paths = write_images(run, tmp_path)
    of_files = loaded.predict_files(paths)
    np.testing.assert_allclose(
        of_files["code"], loaded.predict(images_of(run, 2))["code"], atol=1e-6
    )
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    with pytest.raises(UserError, match=rf"^{bad}: cannot be read as a JPEG or PNG image"):
        loaded.predict_files([*paths, bad])


def test_the_command_line_says_codes_and_writes_what_is_given_back(run, tmp_path, capsys):
    paths = list(map(str, write_images(run, tmp_path)))
    target = tmp_path / "given back"
    command = ["predict", str(run.folder), *paths, "--json", "--images", str(target)]
    assert cli.main(command) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["file"] for line in lines] == paths
    expected = kpipe.load(run.folder).reconstruct(images_of(run, 2))
    for line, image in zip(lines, expected, strict=True):
        assert len(line["code"]) == 11
        written = tf.io.decode_png(pathlib.Path(line["image"]).read_bytes()).numpy()
        np.testing.assert_allclose(written / 255, image, atol=0.5 / 255 + 1e-6)
    assert cli.main(["predict", str(run.folder), *paths]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"{paths[0]}: ") and len(first.split(": ")[1].split()) == 11


def test_images_of_a_classifier_are_refused(finished_run, tmp_path, capsys):
    path = tmp_path / "a.png"
    path.write_bytes(tf.io.encode_png(np.zeros((28, 28, 1), np.uint8)).numpy())
    command = ["predict", str(finished_run.folder), str(path), "--images", str(tmp_path / "x")]
    assert cli.main(command) == 2
    assert "gives no images back" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_no_operation_of_the_graph_touches_files_or_keeps_a_state(run):
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel()
    content.ParseFromString((run.folder / "serving" / "1" / "saved_model.pb").read_bytes())
    graph = content.meta_graphs[0].graph_def
    signatures = {function.signature.name: function for function in graph.library.function}
    served = [f for name, f in signatures.items() if "signature_wrapper" in name]
    # From the signatures down: saving and restoring variables is not serving.
    operations, todo = set(), list(served)
    while todo:
        for node in todo.pop().node_def:
            operations.add(node.op)
            for attribute in node.attr.values():
                if attribute.func.name in signatures:
                    todo.append(signatures.pop(attribute.func.name))
    assert "DecodeImage" in operations
    forbidden = ("ReadFile", "WriteFile", "PyFunc", "Assign", "Random", "FromTextFile")
    assert not [op for op in operations if any(word in op for word in forbidden)]


def test_a_run_says_what_its_code_holds(run, capsys):
    assert run.record["latents"] == {"continuous": 4, "discrete": (3, 2, 2), "has_prior": True}
    from kpipe.experiments.summary import summary
    from kpipe.runs import open_run

    again = open_run(run.folder)
    text = summary(again)
    for words in ("PSNR", "nats", "capacity", "classes found without labels", "export verified"):
        assert words in text
    assert again.history["continuous_kl/3"] == run.history["continuous_kl/3"]
    images = images_of(run)
    np.testing.assert_array_equal(
        again.model.predict(images, verbose=0)["reconstruction"],
        run.model.predict(images, verbose=0)["reconstruction"],
    )
    page = (run.folder / "report.html").read_text()
    assert "Export verified" in page and "data:image/gif" in page and "nats" in page


def test_the_list_names_a_run_by_its_targets_metric(run):
    from kpipe.experiments import catalogue

    value = run.metrics["unsupervised_accuracy"]["value"]
    shown = f"{100 * value:.2f} % (sample)"
    out, target = run.folder.parent, "unsupervised_accuracy >= 88.7 %"
    assert catalogue.last_result("mnist_joint_vae", out, target) == shown
    assert catalogue.last_result("mnist_joint_vae", out) == f"unsupervised_accuracy {shown}"
    target = {"metric": "factor_vae_score", "at_least": 0.69}
    assert catalogue.describe_target(target) == "factor_vae_score >= 0.69"


def test_figures_of_the_training_leave_the_parts_of_a_metric_to_others(run):
    from kpipe.figures import learning_curves

    figure = learning_curves(run)
    names = [axes.get_ylabel() for axes in figure.axes]
    assert names == [
        "loss",
        "reconstruction",
        "continuous kl",
        "continuous capacity",
        "discrete kl",
        "discrete capacity",
    ]
