"""The export of an autoencoder: its endpoints, their proof, and its use without Keras."""

import functools
import json
import pathlib
import shutil
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from proving import (
    Golden,
    change_predictions,
    leave_undecided,
    load_proof,
    verified_in_this_process,
)

import kpipe
from kpipe import cli, formatting, tasks
from kpipe.errors import UserError
from kpipe.experiments.summary import summary
from kpipe.records import open_run
from kpipe.tasks import reconstruction

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One small run of an autoencoder with continuous and discrete latents."""
    out = tmp_path_factory.mktemp("autoencoders")
    keys = {"epochs": 1, "discrete": "3+2x2", "continuous": 4, "capacity_steps": 20}
    with verified_in_this_process():
        return kpipe.run("mnist_joint_vae", data="sample", out=out, learning_rate=2e-3, **keys)


@pytest.fixture(scope="module")
def loaded(run):
    return kpipe.load(run.folder)


@pytest.fixture(scope="module")
def signatures(run):
    """The endpoints of the run's export."""
    return tf.saved_model.load(str(run.folder / "serving" / "1")).signatures


@pytest.fixture
def copy(run, tmp_path):
    """A run's folder that may be damaged."""
    return pathlib.Path(shutil.copytree(run.folder, tmp_path / "run"))


def images_of(run, count=5):
    return run.data.test.take(np.arange(count))[0]


def test_all_endpoints_are_verified(run):
    proof = run.record.proof
    assert proof.passed and proof.max_difference <= proof.tolerance == 1e-4
    images = {"serving_default", "reconstruct", "serving_bytes"}
    on_test = {f"{name} on the test split" for name in ("encode", "decode", "reconstruct")}
    assert set(proof.differences) == images | {"encode", "decode"} | on_test
    exact = ("encode", "decode", "encode on the test split", "decode on the test split")
    assert all(proof.differences[name] <= 1e-5 for name in exact)
    for case in Golden(run.folder).cases:  # only images from images are allowed more
        is_exact = case["endpoint"] in ("encode", "decode")
        assert case["tolerance"] == (1e-5 if is_exact else 1e-4)
    assert proof.batches == [1, 7, 64] and proof.compared == ["8 encoded files"]
    assert proof.test_examples == 360
    constant = np.var(images_of(run, 360) / 255, axis=(0, 1, 2)).mean()  # one flat grey
    assert run.metrics["squared_error"]["high"] < constant
    assert run.record.target.verdict == "not comparable: sample data"
    assert proof.undecided == np.sum(~run.predictions["certain"])


def prove(run, folder, monkeypatch, signatures=None):
    """Proves the export in the folder, or signatures loaded before."""
    proof = load_proof(monkeypatch)
    if signatures is not None:
        export = SimpleNamespace(signatures=signatures)
        monkeypatch.setattr(proof.tf.saved_model, "load", lambda _: export)
    return proof.main(folder, *run.data.test.column.files)


@pytest.mark.parametrize(
    ("endpoint", "output"),
    [
        ("encode", "code"),
        ("encode", "kl"),
        ("encode", "z_mean"),
        ("encode", "z_log_var"),
        ("encode", "logits"),
        ("encode", "probabilities"),
        ("decode", "reconstruction"),
        ("reconstruct", "code"),
        ("reconstruct", "reconstruction"),
        ("serving_default", "code"),
        ("serving_default", "reconstruction"),
        ("serving_bytes", "code"),
        ("serving_bytes", "reconstruction"),
    ],
)
def test_the_proof_fails_when_an_endpoint_answers_differently(
    run, copy, signatures, endpoint, output, monkeypatch
):
    golden = Golden(copy)
    certain = np.flatnonzero(golden.rows(endpoint, "code") if endpoint != "decode" else [True] * 64)
    golden.expected(endpoint, output)[certain[-1]] += 3e-3
    golden.save()
    result = prove(run, copy, monkeypatch, signatures)
    assert not result["passed"] and result["differences"][endpoint] > 1e-4


@pytest.mark.parametrize(
    ("name", "endpoints"),
    [("code", ("encode", "reconstruct", "decode")), ("squared_error", ("decode",))],
)
def test_the_proof_fails_when_predictions_are_others(
    run, copy, signatures, name, endpoints, monkeypatch
):
    values = run.predictions[name].copy()
    values[np.flatnonzero(run.predictions["certain"])[-1]] += 3e-3
    change_predictions(copy, **{name: values})
    result = prove(run, copy, monkeypatch, signatures)
    assert not result["passed"]
    for endpoint in endpoints:
        assert result["differences"][f"{endpoint} on the test split"] > 1e-5


def test_an_undecided_class_is_compared_by_its_probabilities(run, copy, signatures, monkeypatch):
    golden = Golden(copy)
    code, certain = golden.expected("encode", "code"), golden.rows("encode", "code")
    code[3, 4:7] = np.roll(code[3, 4:7], 1)  # another class of the first latent
    certain[3] = False
    decoder = run.model.get_layer("decoder")
    # What is decoded follows the code that was noted.
    image = decoder.predict(code[3:4], verbose=0)["reconstruction"][0]
    golden.expected("decode", "reconstruction")[3] = image
    golden.save()
    assert prove(run, copy, monkeypatch, signatures)["passed"]
    certain[3] = True
    golden.save()
    assert not prove(run, copy, monkeypatch, signatures)["passed"]


def changed(run, fault):
    """The model with another encoder or decoder."""
    encoder, decoder = (run.model.get_layer(name) for name in ("encoder", "decoder"))
    images, outputs = encoder.inputs[0], dict(encoder.output)
    if fault == "output missing":
        outputs.pop("kl")
    elif fault == "code alone":
        outputs = {"code": outputs["code"]}
    elif fault == "constant code":
        outputs["code"] = keras.layers.Rescaling(0.0, name="zero")(outputs["code"])
    elif fault == "other decoder":
        code = decoder.inputs[0]
        decoder = keras.Model(code, {"reconstruction": decoder(code)["reconstruction"] * 0.99})
    elif fault == "weights":
        weights = encoder.get_weights()
        encoder = keras.models.clone_model(encoder)
        encoder.set_weights([weight * 1.001 for weight in weights])
        images, outputs = encoder.inputs[0], dict(encoder.output)
    encoder = keras.Model(images, outputs)
    layers = {"encoder": encoder, "decoder": decoder}
    return SimpleNamespace(get_layer=layers.get)


@pytest.mark.parametrize(
    "fault",
    ["none", "output missing", "code alone", "constant code", "other decoder", "weights"],
)
def test_undecided_classes_do_not_hide_a_wrong_export(run, copy, monkeypatch, fault):
    """Every code is undecided, as of latents that say nothing: all endpoints are still compared."""
    leave_undecided(copy)
    functions = reconstruction.endpoints(changed(run, fault), run.data, {}).signatures
    # Not exported, which takes longer: the proof sees the functions themselves.
    other = {
        name: functools.partial(call_with, function) for name, (function, _) in functions.items()
    }
    assert prove(run, copy, monkeypatch, other)["passed"] is (fault == "none")


def call_with(function, **given):
    """Calls a function of one argument as a signature is called."""
    (value,) = given.values()
    return function(value)


def changed_signatures(signatures, **changes):
    """Signatures of which some are others; None: this one is missing."""
    changed = {name: change and change(signatures[name]) for name, change in changes.items()}
    return {name: signature for name, signature in {**signatures, **changed}.items() if signature}


@pytest.mark.parametrize("endpoint", ["reconstruct", "serving_default", "serving_bytes"])
def test_an_image_must_follow_from_the_code_beside_it(run, copy, signatures, monkeypatch, endpoint):
    def darkened(right):
        def call(**given):
            outputs = right(**given)
            return {**outputs, "reconstruction": 0.99 * outputs["reconstruction"]}

        return call

    leave_undecided(copy)
    other = changed_signatures(signatures, **{endpoint: darkened})
    result = prove(run, copy, monkeypatch, other)
    assert not result["passed"] and result["differences"][endpoint] > 1e-3


@pytest.mark.parametrize("endpoint", ["reconstruct", "serving_default", "serving_bytes"])
@pytest.mark.parametrize("output", ["reconstruction", "code"])
def test_an_answer_of_two_parts_must_have_both(run, signatures, monkeypatch, endpoint, output):
    def cut(right):
        def call(**given):
            outputs = right(**given)
            return {name: values for name, values in outputs.items() if name != output}

        return call

    other = changed_signatures(signatures, **{endpoint: cut})
    result = prove(run, run.folder, monkeypatch, other)
    assert not result["passed"] and result["differences"][endpoint] == 1.0


@pytest.mark.parametrize(
    "endpoint", ["reconstruct", "serving_default", "serving_bytes", "encode", "decode"]
)
def test_a_missing_endpoint_fails_the_proof(run, signatures, monkeypatch, endpoint):
    other = changed_signatures(signatures, **{endpoint: None})
    result = prove(run, run.folder, monkeypatch, other)
    assert not result["passed"] and result["differences"][endpoint] == 1.0


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
    with pytest.raises(UserError, match=rf"^{bad}: cannot be read as an image; convert it to JPEG"):
        loaded.predict_files([*paths, bad])


def test_the_command_line_says_codes_and_writes_reconstructions(run, tmp_path, capsys):
    paths = list(map(str, write_images(run, tmp_path)))
    target = tmp_path / "reconstructed images"
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
    assert "reconstructs no images; expected an autoencoder" in capsys.readouterr().err
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


def test_a_run_says_what_its_code_contains(run):
    latents = {"continuous": 4, "discrete": (3, 2, 2), "has_prior": True}
    assert run.record.details["latents"] == latents
    again = open_run(run.folder)
    text = summary(again)
    for words in ("PSNR", "nats", "capacity", "unsupervised accuracy", "export verified"):
        assert words in text
    assert again.history["continuous_kl/3"] == run.history["continuous_kl/3"]
    images = images_of(run)
    np.testing.assert_array_equal(
        again.model.predict(images, verbose=0)["reconstruction"],
        run.model.predict(images, verbose=0)["reconstruction"],
    )
    page = (run.folder / "report.html").read_text()
    assert "Export verified" in page and "data:image/gif" in page and "nats" in page


def test_whatever_is_measured_can_be_a_target(run):
    known = tasks.find("reconstruction").metric_names(run.label_names)
    assert run.metrics.keys() <= set(known)


def test_the_list_names_a_run_by_its_targets_metric(run):
    from kpipe.experiments import catalogue

    value = run.metrics["unsupervised_accuracy"]["value"]
    shown = f"{100 * value:.2f} % (sample)"
    out, target = run.folder.parent, "unsupervised_accuracy >= 88.7 %"
    assert catalogue.last_result("mnist_joint_vae", out, target) == shown
    assert catalogue.last_result("mnist_joint_vae", out) == f"unsupervised_accuracy {shown}"
    target = {"metric": "factor_vae_score", "at_least": 0.69}
    assert formatting.target(target["metric"], target["at_least"]) == "factor_vae_score >= 0.69"


def test_figures_of_the_training_leave_the_parts_of_a_metric_to_others(run):
    from kpipe.figures import learning_curves

    figure = learning_curves(run)
    names = [axes.get_ylabel() for axes in figure.axes]
    assert names == [
        "loss",
        "reconstruction",
        "continuous KL",
        "continuous capacity",
        "discrete KL",
        "discrete capacity",
    ]
