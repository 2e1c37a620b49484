import dataclasses
import importlib
import json
import os
import re
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
from keras_tuner.engine import hyperparameters as hp_types

import kpipe
from kpipe import files
from kpipe.datasets import celeb_a, points
from kpipe.errors import RunError, UserError
from kpipe.experiments import catalogue, execution, folders, keys, modules
from kpipe.measures.intervals import interval_of_mean
from kpipe.records import read_record
from kpipe.tasks import classification
from kpipe.training import loop as training_loop

pytestmark = pytest.mark.usefixtures("undrawn")

# Tracing takes most of the time: batches that divide train have one shape. With a last batch of
# another shape run mnist_mlp, mnist_vae, cifar10_mlp and the points.
TINY = {
    "ag_news_mlp": {
        "embedding_dim": 32,
        "units_1": 32,
        "units_2": 16,
        "learning_rate": 3e-3,
        "batch_size": 50,
    },
    "celeba_attributes": {
        "filters": 8,
        "num_blocks": 3,
        "dropout": 0,
        "learning_rate": 3e-3,
        "batch_size": 25,
    },
    "celeba_gender": {"filters": 8, "num_blocks": 2, "dense_units": 16, "batch_size": 15},
    "celeba_joint_vae": {"continuous": 4, "discrete": "2", "capacity_steps": 60, "batch_size": 25},
    "cifar10_autoencoder": {
        "learning_rate": 1e-2,
        "latent_dim": 16,
        "decay_steps": 60,
        "batch_size": 30,
    },
    "cifar10_cnn": {
        "filters": 8,
        "num_blocks": 3,
        "convolutions": 1,
        "dropout": 0,
        "batch_size": 30,
    },
    "cifar10_mlp": {"units_1": 64, "num_layers": 1, "learning_rate": 1e-3},
    "cifar10_transfer": {"filters": 8, "stem": "imagenet", "batch_size": 50},
    "diabetes_mlp": {"learning_rate": 1e-2},
    "dsprites_joint_vae": {
        "drawn_sprites": 672,
        "continuous": 4,
        "capacity": "none",
        "batch_size": 8,
    },
    "emotion_rnn": {
        "embedding_dim": 32,
        "units": 16,
        "dropout": 0.2,
        "learning_rate": 5e-3,
        "batch_size": 60,
    },
    "gmm": {"learning_rate": 1.0},
    "grocery_cnn": {"filters": 8, "image_size": 32, "num_blocks": 3, "batch_size": 16},
    "imdb_sentiment": {
        "architecture": "gru",
        "embedding_dim": 16,
        "units": 16,
        "dropout": 0.2,
        "max_length": 64,
        "learning_rate": 1e-2,
        "batch_size": 60,
    },
    "logic_gates": {"learning_rate": 0.1},
    "mnist_joint_vae": {"capacity_steps": 100, "learning_rate": 2e-3, "batch_size": 16},
    "mnist_mlp": {"num_layers": 1, "units_1": 32},
    "mnist_vae": {"batch_size": 32, "decay_steps": 1000},
    "one_example": {},
    "peaks": {"learning_rate": 1.0},
    "swiss_roll": {"recipe": "wide"},
}
# Their data are the same whatever is asked for.
FIXED_DATA = ("logic_gates", "one_example")
# What is compared with linear regression on the same examples instead.
WITHOUT_TARGET = ("diabetes_mlp",)

# Others run them, or their network, and say that they beat a constant answer: emotion_rnn in
# test_text_runs.py, and several labels; mnist_joint_vae in test_saved_autoencoder.py, mnist_mlp as
# `finished_run`; emotion_rnn has the kind of texts of ag_news_mlp and imdb_sentiment; networks of
# 64 pixels are built in test_autoencoders.py, that of cifar10_transfer is trained in
# test_transfer.py, a CNN in test_own_data.py; cifar10_mlp is a network as mnist_mlp, swiss_roll as
# gmm and peaks. The slow tests run all of them.
AS_OTHERS = (
    *("ag_news_mlp", "celeba_attributes", "celeba_gender", "celeba_joint_vae", "cifar10_cnn"),
    *("cifar10_transfer", "cifar10_mlp", "dsprites_joint_vae", "emotion_rnn", "grocery_cnn"),
    *("imdb_sentiment", "mnist_joint_vae", "mnist_mlp", "mnist_vae", "peaks"),
    "swiss_roll",
)


@pytest.mark.parametrize("name", catalogue.names())
def test_every_default_lies_within_its_range(name):
    settings = keys.resolve(modules.load(catalogue.find(name))[0], {})
    hp, trainer = settings.hp, settings.trainer
    for parameter in hp.space:
        if isinstance(parameter, hp_types.Choice):
            assert parameter.default in parameter.values
        elif isinstance(parameter, (hp_types.Int, hp_types.Float)):
            assert parameter.min_value <= parameter.default <= parameter.max_value
    for field in dataclasses.fields(trainer):
        if field.metadata.get("low") is not None:
            value = getattr(trainer, field.name)
            assert field.metadata["low"] <= value <= field.metadata["high"]


@pytest.mark.parametrize("name", catalogue.names())
def test_every_pipeline_says_what_it_is(name):
    entry = catalogue.read(catalogue.find(name))
    assert f"kpipe run {name}" in entry.docstring
    assert len(entry.title) <= 90 and entry.title.endswith(".")
    assert "-" not in (entry.task, entry.data)
    assert (entry.target == "-") is (name in WITHOUT_TARGET)


def test_every_pipeline_has_tiny_settings_here():
    assert sorted(TINY) == catalogue.names()


@pytest.fixture(scope="module")
def another_home(tmp_path_factory):
    return tmp_path_factory.mktemp("another_home")


@pytest.fixture
def smaller_samples(another_home, monkeypatch):
    """A half or a quarter of the sample's examples, which are enough to beat a constant answer."""
    monkeypatch.setenv("KPIPE_HOME", str(another_home))
    halved = ("ag_news", "cifar10", "imdb_reviews", "tweet_emotions")
    for name, share in {**dict.fromkeys(halved, 2), "celeb_a": 4}.items():
        counts = importlib.import_module(f"kpipe.datasets.{name}").SAMPLE_EXAMPLES
        for split, count in counts.items():
            monkeypatch.setitem(counts, split, count // share)
    celeb_a._paint_all.cache_clear()
    whole = points._point_set

    def fewer(name, generate, dimension, classes, examples, val_fraction):
        fourth = tuple(count // 4 for count in examples)
        return whole(name, generate, dimension, classes, fourth, val_fraction)

    monkeypatch.setattr(points, "_point_set", fewer)
    yield
    celeb_a._paint_all.cache_clear()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in AS_OTHERS))
        for name in catalogue.names()
    ],
)
def test_every_pipeline_runs_on_sample_data_and_beats_a_constant_answer(
    name, tmp_path, verified_here, smaller_samples
):
    other = {"celeba_joint_vae": 2, "dsprites_joint_vae": 2, "mnist_joint_vae": 1, "mnist_vae": 1}
    other |= {"cifar10_autoencoder": 1}
    other |= {"logic_gates": 8, "one_example": 50, "diabetes_mlp": 30}
    epochs = other.get(name, 3)
    run = kpipe.run(name, data="sample", out=tmp_path, epochs=epochs, **TINY[name])
    if name in FIXED_DATA:
        assert run.metrics["accuracy"]["value"] == 1.0
        assert run.record.target.verdict == "reached"
    elif (
        run.record.task == "reconstruction"
    ):  # better than giving one flat colour whatever comes in
        images = run.data.test.take(np.arange(len(run.data.test)))[0]
        assert run.metrics["squared_error"]["high"] < np.var(images / 255, axis=(0, 1, 2)).mean()
        assert run.record.target.verdict == "not comparable: sample data"
    elif run.record.task == "regression":
        truth, value, mean = (run.predictions[k] for k in ("label", "value", "mean_baseline"))
        difference = np.abs(value - truth) - np.abs(mean - truth)  # on the same examples
        assert interval_of_mean(difference)["high"] < 0
        assert run.record.target is None
    else:
        assert run.metrics["accuracy"]["low"] > run.metrics["majority_baseline"]["high"]
        assert run.record.target.verdict == "not comparable: sample data"
    assert run.record.proof.passed
    written = {path.name for path in run.folder.iterdir()}
    assert written - {"retraining"} == {
        "run.json",
        "history.csv",
        "metrics.json",
        "predictions.npz",
        "golden.npz",
        "model.keras",
        "serving",
        "report.html",
        "figures",
        "logs",
        "state",
        "manifest.json",
    }


def test_the_names_that_other_programs_rely_on(finished_run):
    folder = finished_run.folder
    record = json.loads((folder / "run.json").read_text())
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics["accuracy"]) == {"value", "low", "high", "n"}
    assert metrics["accuracy"]["low"] > metrics["majority_baseline"]["high"]
    assert record["data"]["kind"] == "sample"
    assert record["data"]["examples"] == {"train": 1293, "val": 144, "test": 360}
    assert record["target"]["verdict"] == "not comparable: sample data"
    assert re.fullmatch("[0-9a-f]{64}", record["weights_sha256"])
    assert record["proof"]["passed"] is True
    assert "seconds" in (folder / "history.csv").read_text().splitlines()[0].split(",")


def test_a_finished_run_is_reported_and_not_trained_again(finished_run, capsys, monkeypatch):
    def must_not_train(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(kpipe.Trainer, "fit", must_not_train)
    out = finished_run.folder.parent
    again = kpipe.run("mnist_mlp", data="sample", out=out, epochs=3, num_layers=1, units_1=64)
    assert again.folder == finished_run.folder
    assert again.record == finished_run.record == read_record(again.folder / "run.json")
    assert again.history == finished_run.history
    assert "test accuracy" in capsys.readouterr().out
    image = np.zeros((1, 28, 28, 1), np.uint8)
    np.testing.assert_array_equal(
        again.model.predict(image, verbose=0)["probabilities"],
        finished_run.model.predict(image, verbose=0)["probabilities"],
    )


def test_a_run_whose_proof_fails_says_so_and_exports_again(tmp_path, monkeypatch, quick_runs):
    options = {
        "data": "sample",
        "out": tmp_path,
        "epochs": 1,
        "retrain": False,
        **TINY["mnist_mlp"],
    }
    good = execution.prove(None, None)
    bad = {**good, "passed": False}
    monkeypatch.setattr(execution, "prove", lambda folder, test_files: bad)
    with pytest.raises(RunError, match="the export differs from the trained model"):
        kpipe.run("mnist_mlp", **options)
    folder = next(path for path in tmp_path.iterdir() if path.is_dir())
    assert json.loads((folder / "run.json").read_text())["status"] == "proof failed"

    monkeypatch.setattr(execution, "prove", lambda folder, test_files: good)
    steps = []
    monkeypatch.setattr(training_loop.Loop, "_step", lambda *_: steps.append(1))
    run = kpipe.run("mnist_mlp", **options)
    assert run.record.status == "finished" and not steps
    assert run.record.data.test_openings == int(run.predictions["openings"])
    assert not (folder / "checkpoints").exists()


def test_the_manifest_holds_every_final_file(finished_run):
    manifest = json.loads((finished_run.folder / "manifest.json").read_text())["files"]
    files = {
        path.relative_to(finished_run.folder).as_posix()
        for path in finished_run.folder.rglob("*")
        if path.is_file() and "logs" not in path.parts
    }
    assert files - set(manifest) == {"manifest.json"}


def test_a_folder_that_is_no_run_is_not_touched(tmp_path):
    folder = tmp_path / "mnist_mlp-sample,epochs=1"
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="exists but is not a run; use --out or --fresh"):
        kpipe.run("mnist_mlp", data="sample", out=tmp_path, epochs=1)
    assert (folder / "thesis.tex").read_text() == "mine"


def test_a_mistake_leaves_no_folder_behind(tmp_path):
    with pytest.raises(UserError, match="does not divide"):
        kpipe.run("mnist_mlp", data="sample", out=tmp_path, gradient_accumulation_steps=4)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_what_retraining_will_refuse_is_refused_before_the_first_training(tmp_path, digits):
    count = len(digits.train)  # divides itself, and not train and val together
    options = {"batch_size": count, "gradient_accumulation_steps": 2, "retrain": True}
    with pytest.raises(UserError, match=f"{count + len(digits.val):,} training examples"):
        kpipe.run("mnist_mlp", data="sample", out=tmp_path, epochs=1, **options)
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_a_run_of_an_edited_pipeline_is_not_passed_off_as_the_new_one(tmp_path, quick_runs):
    source = catalogue.find("mnist_mlp").read_text()
    path = tmp_path / "mine.py"
    path.write_text(source)
    options = {
        "data": "sample",
        "out": tmp_path,
        "epochs": 1,
        "retrain": False,
        "recipe": "documented",
        **TINY["mnist_mlp"],
    }
    first = kpipe.run(str(path), **options)
    assert first.name == "mine" and first.folder.name.startswith("mine-sample,")
    path.write_text(source.replace('"patience": 10', '"patience": 4'))
    with pytest.raises(
        UserError, match=r"different trainer settings: patience=10, now 4; --fresh starts"
    ):
        kpipe.run(str(path), **options)
    second = kpipe.run(str(path), fresh=True, **options)
    assert second.record.trainer["patience"] == 4
    kept = json.loads((tmp_path / f"{first.folder.name}~1" / "run.json").read_text())
    assert kept["trainer"]["patience"] == 10


def test_comments_and_docstrings_are_no_change_of_a_pipeline(tmp_path):
    path = tmp_path / "mine.py"
    hashes = []
    for text in ('"""A."""\nx = 1\n', '"""B."""\nx = 1  # one\n', '"""A."""\nx = 2\n'):
        path.write_text(text)
        hashes.append(catalogue.read(path).code_sha256)
    assert hashes[0] == hashes[1] != hashes[2]


def test_two_processes_do_not_work_in_one_folder(tmp_path):
    folder = tmp_path / "run"
    with files.lock(folder, wait=False):
        code = (
            "import pathlib; from kpipe import files\n"
            "from kpipe.errors import UserError\n"
            f"try:\n  files.lock(pathlib.Path({str(folder)!r}), wait=False).__enter__()\n"
            "except UserError as error: print(error)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"in use by process {os.getpid()} on " in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", r"mine\.py:1: not a Python file"),
        ("x = 1\nimport no_such_module\n", r"mine\.py:2: ModuleNotFoundError"),
        ("import keras\nkeras.layers.Dense(-1)\n", r"mine\.py:2: ValueError"),
        ("def load_data(hp): pass\n", r"no function build_model\(hp\)"),
    ],
)
def test_a_broken_pipeline_is_named_with_its_line(tmp_path, text, message):
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        kpipe.run(path)


def test_a_folder_is_named_after_its_settings_and_long_names_stay_different(tmp_path):
    def folder(kind="real", seed=0, plan=None, budget=None, choices=None, **overrides):
        experiment = types.SimpleNamespace(
            name="mnist_mlp",
            module=types.SimpleNamespace(data_keys=("target",)),
            source=types.SimpleNamespace(kind=kind),
            dataset=types.SimpleNamespace(corrections=None),
            settings=types.SimpleNamespace(overrides=overrides, choices=choices or {}),
            **{"seed": seed, "plan": plan, "budget": budget, "precision": None},
        )
        options = {"search": "grid", "trials": None} if choices else {}
        return folders.run_folder(tmp_path, experiment, "-x" * bool(choices), **options).name

    assert folder() == "mnist_mlp"
    assert folder(b=1, a="x/y", target="price") == "mnist_mlp,a=x%2Fy,b=1"
    assert folder("sample", 3, "fused:8", 90.0, {"c": [0.1, 0.3]}, a=1) == (
        "mnist_mlp-x-sample,a=1,budget=90s,c=0.1%2C0.3,plan=fused:8,search=grid,seed=3"
    )
    long = [folder(key="x" * 200), folder(key="x" * 201)]
    assert len(set(long)) == 2 and all(len(name) <= 120 for name in long)


@pytest.mark.slow
def test_mnist_mlp_reaches_its_documented_accuracy(tmp_path):
    """Needs MNIST as TFDS prepares it in $KPIPE_TEST_DATA; one seed, some minutes."""
    folder = os.environ.get("KPIPE_TEST_DATA")
    if not folder:
        pytest.skip("KPIPE_TEST_DATA names no data folder")
    run = kpipe.run("mnist_mlp", data="real", data_dir=folder, out=tmp_path)
    assert run.record.data.official
    assert run.record.target.verdict == "reached"


def test_retraining_takes_the_best_number_of_epochs_on_train_and_val(tmp_path, quick_runs):
    options = {"data": "sample", "out": tmp_path, "epochs": 3, **TINY["mnist_mlp"]}
    run = kpipe.run("mnist_mlp", **options)
    training = run.record.training
    assert training.retrained_examples == 1293 + 144
    assert training.retrained_epochs == training.best_epoch
    rows = (run.folder / "retraining" / "history.csv").read_text().splitlines()
    assert len(rows) - 1 == training.best_epoch and "val_loss" not in rows[0]
    assert not (run.folder / "retraining" / "checkpoints").exists()
    plain = kpipe.run("mnist_mlp", retrain=False, **options)
    assert plain.record.training.retrained_epochs is None
    assert plain.record.weights_sha256 != run.record.weights_sha256
    # Val calibrates the network that has not seen it, not the one that was retrained on it.
    fitted = run.record.calibration
    assert fitted == plain.record.calibration and fitted.examples == 144
    assert fitted.weights_sha256 == plain.record.weights_sha256
    assert run.predictions["temperature"] == fitted.temperature != 1


@pytest.mark.slow
def test_an_interrupted_retraining_goes_on_where_it_was(tmp_path, quick_runs, monkeypatch):
    options = {"data": "sample", "epochs": 2, "checkpoint_seconds": 0.0, **TINY["mnist_mlp"]}
    whole = kpipe.run("mnist_mlp", out=tmp_path / "whole", **options)
    step, count = training_loop.Loop._step, []

    def cut(self, *arguments):
        count.append(self.data.val is None)
        if sum(count) == 8:
            raise KeyboardInterrupt
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training_loop.Loop, "_step", cut)
        with pytest.raises(KeyboardInterrupt):
            kpipe.run("mnist_mlp", out=tmp_path / "cut", **options)
    resumed = []

    def watched(self, *arguments):
        resumed.append((self.data.val is None, self.history.step))
        return step(self, *arguments)

    monkeypatch.setattr(training_loop.Loop, "_step", watched)
    monkeypatch.setattr(classification, "calibrate", None)  # it was done before the retraining
    again = kpipe.run("mnist_mlp", out=tmp_path / "cut", **options)
    assert again.record.calibration == whole.record.calibration
    assert resumed[0] == (True, 7)  # the first training was not repeated
    assert again.record.weights_sha256 == whole.record.weights_sha256


def test_a_run_on_vectors_is_exported_with_its_features_alone(tmp_path, verified_here):
    run = kpipe.run("logic_gates", out=tmp_path, epochs=8, **TINY["logic_gates"])
    model = kpipe.load(run.folder)
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    assert model.predict(corners)["label"].tolist() == ["0", "1", "1", "0"]
    with pytest.raises(
        ValueError, match=r"features are float64 \(4, 2\); expected float32 \(n, 2\)"
    ):
        model.predict(corners.astype(float))
    table, image = tmp_path / "corners.csv", tmp_path / "a.png"
    table.write_text("a,b\n" + "".join(f"{a:g},{b:g}\n" for a, b in corners))
    assert model.predict_files([table])["label"].tolist() == ["0", "1", "1", "0"]
    image.write_bytes(tf.io.encode_png(np.zeros((8, 8, 3), np.uint8)).numpy())
    with pytest.raises(
        UserError, match=rf"^{image}: cannot be read .*; expected 2 numbers per row"
    ):
        model.predict_files([image])


@pytest.mark.parametrize(
    ("name", "there", "here", "message"),
    [
        ("mnist_vae", ".as_autoencoder_data()", "", r"call as_autoencoder_data\(\) on the dataset"),
        (
            "mnist_mlp",
            "datasets.mnist(val_fraction=0.1)",
            "datasets.mnist().as_autoencoder_data()",
            "has its inputs as targets, but the task learns labels",
        ),
    ],
)
def test_data_for_another_task_are_refused_before_any_work(name, there, here, message, tmp_path):
    source = catalogue.find(name).read_text()
    assert there in source
    (tmp_path / "mine.py").write_text(source.replace(there, here))
    with pytest.raises(UserError, match=message):
        kpipe.run(str(tmp_path / "mine.py"), data="sample", out=tmp_path / "out", epochs=1)
    assert not (tmp_path / "out").exists() or not [*(tmp_path / "out").glob("[!.]*")]


# Retraining itself, and the SVD of train alone, are checked by others.
@pytest.mark.slow
def test_an_autoencoder_retrained_on_train_and_val_is_compared_with_an_svd_of_both(
    tmp_path, verified_here, smaller_samples
):
    options = {"latent_dim": 8, "retrain": True, "epochs": 1}
    plain = "figures.learning_curves"
    path = tmp_path / "mine.py"
    source = catalogue.find("cifar10_autoencoder").read_text()
    # Figures of classifiers leave themselves out.
    path.write_text(source.replace(plain, "figures.confusion_matrix, figures.roc_curve, " + plain))
    run = kpipe.run(str(path), data="sample", out=tmp_path, **options)
    assert run.metrics["train_squared_error"]["n"] == 1500
    assert run.metrics["train_error_over_svd"]["low"] > 1
    page = (run.folder / "report.html").read_text()
    assert "Comparison with the truncated SVD" in page and "<h2>Noise</h2>" in page
    assert not (run.folder / "figures" / "confusion_matrix.png").exists()
