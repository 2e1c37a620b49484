"""Every test works in a folder of its own, on sample data, without network and home folder."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the numbers are compared on a CPU
# Several processes test at once: threads of one would only wait for those of another.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


@pytest.fixture(scope="session", autouse=True)
def kpipe_home(tmp_path_factory):
    """Prepared data and counts go here, once for all tests."""
    home = tmp_path_factory.mktemp("home")
    os.environ["KPIPE_HOME"] = str(home)
    os.environ["TFDS_DATA_DIR"] = str(home / "no_datasets_here")
    return home


@pytest.fixture(scope="module", autouse=True)
def no_garbage_of_other_files():
    """Frees what a file left; `clear_session` collects garbage, which takes as long as there is."""
    gc.freeze()  # what was imported to collect the tests
    yield
    from tensorflow.python.framework import ops

    # Plain `Model.fit` leaves its graph there: github.com/tensorflow/tensorflow/issues/97697
    gradients = ops.gradient_registry._registry
    for name in [name for name in gradients if name.startswith("CustomGradient-")]:
        del gradients[name]
    gc.collect()
    gc.freeze()  # modules and what they hold are not looked through again and again


@pytest.fixture(scope="session")
def digits():
    """The sample digits, prepared."""
    from kpipe import data, datasets

    dataset = datasets.mnist()
    return data.prepare(dataset, dataset.find("sample"), seed=0)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """One small run, from its data to its report."""
    import kpipe

    out = tmp_path_factory.mktemp("saved_models")
    return kpipe.run("mnist_mlp", data="sample", out=out, epochs=3, num_layers=1, units_1=64)


@pytest.fixture(scope="session")
def small_model():
    """Builds the same small network at each call."""
    import keras

    from kpipe import models

    def build(optimizer="adam", dropout=0.0, seed=0, **options):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(seed)
        model = models.mlp((28, 28, 1), 10, units=(16,), dropout=dropout, **options)
        model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    return build


@pytest.fixture
def quick_runs(monkeypatch):
    """Runs without export, proof and report, and searches without their page."""
    from kpipe import report
    from kpipe.experiments import execution

    proof = {"passed": True, "max_difference": 0.0}
    monkeypatch.setattr(execution, "export", lambda *_: None)
    monkeypatch.setattr(execution, "publish", lambda *_: None)
    monkeypatch.setattr(execution, "write_golden", lambda folder, cases, decided=None: None)
    monkeypatch.setattr(execution, "prove", lambda folder, test_files: proof)
    for name in ("write", "write_search"):
        monkeypatch.setattr(report, name, lambda *_, **__: None)


@pytest.fixture(scope="module")
def undrawn():
    """Figures are made as ever, but not drawn, which takes a quarter of a small run."""
    import io

    from PIL import Image

    from kpipe.figures import style

    pixel = io.BytesIO()
    Image.new("L", (1, 1)).save(pixel, "png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "to_png", lambda figure: pixel.getvalue())
        yield


@pytest.fixture
def verified_here():
    """Runs whose export is verified in this process, to save the time of another one's start."""
    from proving import verified_in_this_process

    with verified_in_this_process():
        yield
