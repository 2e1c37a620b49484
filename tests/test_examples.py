"""What readers are shown runs: every Example of a docstring, every Python block of a page."""

import pathlib
import shutil

import examples
import keras
import numpy as np
import pytest
import tensorflow as tf

import kpipe
from kpipe import datasets, figures, layers, losses, models, optimizers, tasks
from kpipe.export import export
from kpipe.runs import open_run

PAGES = [examples.ROOT / "README.md", *sorted((examples.ROOT / "docs").glob("*.md"))]
DOCSTRINGS = list(examples.of_docstrings())
BLOCKS = [block for page in PAGES for block in examples.of_page(page)]

# What a reader imports before any example.
IMPORTED = {
    "kpipe": kpipe,
    "datasets": datasets,
    "figures": figures,
    "layers": layers,
    "losses": losses,
    "models": models,
    "optimizers": optimizers,
    "tasks": tasks,
    "keras": keras,
    "np": np,
    "pathlib": pathlib,
    "Path": pathlib.Path,
    "tf": tf,
}
# What is run in place of what is shown, so that it takes little time.
SMALLER = {
    "paint(1000, ": "paint(50, ",
}


def smaller(code):
    for shown, run in SMALLER.items():
        code = code.replace(shown, run)
    return code


# --- the names that examples presuppose -------------------------------------------------------


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, finished_run, digits):
    """The folder that examples run in, with the files that they name."""
    folder = tmp_path_factory.mktemp("workspace")
    runs = folder / "saved_models"
    runs.mkdir()
    for name in ("mnist_mlp", "celeba_gender"):
        (runs / name).symlink_to(finished_run.folder, target_is_directory=True)
    (runs / "imdb_sentiment").symlink_to(examples.ROOT / "tests" / "format_1" / "texts")
    vae = models.vae((28, 28, 1), 2, units=(8,))
    export(runs / "mnist_vae", tasks.find("reconstruction").endpoints(vae, digits))
    (runs / "grocery_cnn").mkdir()
    models.cnn((32, 32, 3), 81).save(runs / "grocery_cnn" / "model.keras")
    vectors = "".join(f"{word}{' 0.5' * 100}\n" for word in ("king", "queen"))
    (folder / "glove.6B.100d.txt").write_text(vectors)
    (block,) = [block for block in BLOCKS if "build_trainer" in block.code]
    (folder / "my_experiment.py").write_text(block.code)
    return folder


@pytest.fixture
def run(finished_run, tmp_path):
    """A finished run, a copy that may be changed."""
    return open_run(pathlib.Path(shutil.copytree(finished_run.folder, tmp_path / "mnist_mlp")))


@pytest.fixture
def data(digits):
    """Prepared data."""
    return digits


@pytest.fixture
def model():
    """A compiled classifier of `images`."""
    model = models.mlp((28, 28, 1), 10, units=(4,), activation="tanh")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def images():
    """Five uint8 images of MNIST's size."""
    return np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), "uint8")


@pytest.fixture
def labels():
    """Their classes."""
    return np.arange(5)


# --- tests ------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", DOCSTRINGS, ids=lambda example: example.name)
def test_the_example_of_a_docstring_runs(example, workspace, monkeypatch, request):
    monkeypatch.chdir(workspace)
    module = vars(__import__(example.module, fromlist=["_"]))
    run_example(example, {**IMPORTED, **module}, request)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_the_python_of_a_page_runs(block, workspace, monkeypatch, request):
    monkeypatch.chdir(workspace)
    run_example(block, IMPORTED, request)


def run_example(example, names, request):
    example = examples.dataclasses.replace(example, code=smaller(example.code))
    code = (
        example.code.replace(">>> ", "").replace("\n    ", "\n#")
        if example.code.startswith(">>>")
        else example.code
    )
    wanted = set() if example.code.startswith(">>>") else examples.free_names(code) - names.keys()
    return examples.run(
        example, {**names, **{name: request.getfixturevalue(name) for name in wanted}}
    )
