"""What readers are shown runs: every Example of a docstring, every Python block of a page."""

import ast
import dataclasses
import gc
import importlib
import inspect
import pathlib
import re
import shutil
import textwrap

import examples
import keras
import keras_tuner
import numpy as np
import own_files
import pytest
import tensorflow as tf
from checkpoint import checkpoint

import kpipe
from kpipe import datasets, figures, layers, losses, models, optimizers, tasks
from kpipe.export import export
from kpipe.records import open_run

PAGES = [*sorted(examples.ROOT.glob("*.md")), *sorted((examples.ROOT / "docs").glob("*.md"))]
DOCSTRINGS = list(examples.of_docstrings())
BLOCKS = [block for page in PAGES for block in examples.of_page(page)]

# What a reader has imported before any example.
IMPORTED = {
    "Path": pathlib.Path,
    "datasets": datasets,
    "figures": figures,
    "keras": keras,
    "kpipe": kpipe,
    "layers": layers,
    "losses": losses,
    "models": models,
    "np": np,
    "optimizers": optimizers,
    "pathlib": pathlib,
    "tasks": tasks,
    "tf": tf,
}
# What is shown: what is run in its place, the same in less time.
QUICKER = {
    "paint(1000, ": "paint(30, ",
    '"saved_models/mnist_mlp", epochs=60': '"saved_models/mnist_mlp", epochs=4',
    'check_gradients("mnist_mlp", ': 'check_gradients("mnist_mlp", num_layers=0, ',
    'check_labels("photos/")': 'check_labels("logic_gates", gate="and", folds=2, epochs=1)',
    'run("mnist_mlp", ': 'run("mnist_mlp", num_layers=0, epochs=1, retrain=False, ',
    'search("mnist_mlp", ': 'search("mnist_mlp", num_layers=0, epochs=1, retrain=False, ',
    "Trainer(epochs=5).fit": "Trainer(epochs=1).fit",
    "scores(Codes(means, categories), factors)": (
        "scores(Codes(means, categories), factors, seeds=2, num_train=50, num_test=50)"
    ),
    ".scores(codes, factors)": ".scores(codes, factors, seeds=2, num_train=50, num_test=50)",
    "factor_vae_score(Codes(means, categories), factors)": (
        "factor_vae_score(Codes(means, categories), factors, num_train=50, num_test=50)"
    ),
    'run("houses.csv", target="price"': 'run("houses.csv", target="price", epochs=1, units=8',
    'run(houses, target="price"': 'run(houses, target="price", epochs=1, units=8',
    '"learning_rate": [1e-3, 3e-3]': '"learning_rate": [3e-3]',
    '"l2": [1e-4, 1e-3, 1e-2]': '"l2": [1e-4]',
    '"ag_news_mlp", recipe="overfit"': (
        '"ag_news_mlp", recipe="overfit", train_examples=120, vocabulary_size=1000, units_1=16'
    ),
    'compare("mnist_mlp", loss="likelihood,squared", seeds=3)': (
        'compare("mnist_mlp", loss="likelihood,squared", num_layers=0, epochs=1, retrain=False)'
    ),
    '"saved_models/mnist_mlp,seed=1"': '"saved_models/imdb_sentiment"',
    "epochs=30": "epochs=15",
    "cv=3": "cv=2",
}


# --- names that examples use without defining them --------------------------------------------


@pytest.fixture
def images():
    """Five uint8 images of MNIST's size."""
    return np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), "uint8")


@pytest.fixture
def labels():
    """The classes of `images`."""
    return np.arange(5)


@pytest.fixture
def model():
    """A compiled classifier of `images`, smooth as a check of gradients wants it."""
    model = models.mlp((28, 28, 1), 10, units=(4,), activation="tanh")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def my_model(model):
    return model


@pytest.fixture
def x(images):
    return images


@pytest.fixture
def y(labels):
    return labels


@pytest.fixture
def my_loss():
    """A loss of one's own: one target an example, compared with every output."""

    def loss(y_true, y_pred):
        y_true = keras.ops.reshape(keras.ops.cast(y_true, y_pred.dtype), (-1, 1))
        return keras.ops.sum(keras.ops.square(y_pred - y_true), axis=-1)

    return loss


@pytest.fixture
def MyLayer():
    """A layer of one's own."""
    return keras.layers.Dense


@pytest.fixture
def features():
    """Inputs of a layer: three vectors."""
    return np.random.default_rng(0).normal(size=(3, 4))


@pytest.fixture
def scores(features):
    """Outputs of a network."""
    return features


@pytest.fixture
def targets():
    """Targets of `scores`."""
    return np.arange(3.0)


@pytest.fixture
def data(digits):
    """Prepared data."""
    return digits


@pytest.fixture
def run(finished_run, tmp_path):
    """A finished run: a copy, which may be changed."""
    return open_run(pathlib.Path(shutil.copytree(finished_run.folder, tmp_path / "mnist_mlp")))


@pytest.fixture
def hp():
    """The keys of a pipeline."""
    return keras_tuner.HyperParameters()


@pytest.fixture
def adam():
    return keras.optimizers.Adam()


@pytest.fixture
def optimizer(adam):
    return adam


@pytest.fixture
def factors():
    """Two factors of 200 examples."""
    return np.random.default_rng(0).integers(0, 3, (200, 2))


@pytest.fixture
def means(factors):
    """Two continuous latents, each with one factor in it."""
    return factors + np.random.default_rng(1).normal(0, 0.1, factors.shape)


@pytest.fixture
def categories(factors):
    """A discrete latent, the first factor."""
    return factors[:, :1]


@pytest.fixture
def z_mean():
    """Means of three codes of two latents."""
    return np.zeros((3, 2), "float32")


@pytest.fixture
def z_log_var(z_mean):
    return z_mean


@pytest.fixture
def z(z_mean):
    return z_mean


@pytest.fixture
def logits():
    """Three examples of two latents with four classes."""
    return np.zeros((3, 2, 4), "float32")


@pytest.fixture
def vocabulary():
    """Words by token id; two of them are in the file of word vectors."""
    return ["", "[UNK]", "king", "queen", "man", "woman"]


@pytest.fixture
def vectors(vocabulary):
    """A vector for each of them, of length 1."""
    return np.eye(len(vocabulary))


@pytest.fixture
def tokens():
    """Two texts of three words."""
    return np.array([[5, 3, 2], [4, 1, 0]])


@pytest.fixture
def values():
    """True values of 45 examples."""
    return np.linspace(100.0, 200.0, 45)


@pytest.fixture
def predictions(values):
    return values + np.tile([-1.0, 0.0, 1.0], 15)


@pytest.fixture
def houses():
    """A DataFrame with a price."""
    return own_files.houses()


@pytest.fixture
def content():
    return b"content of a file"


# --- tests ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, finished_run, digits):
    """The folder that examples run in, with the files that they name."""
    folder = tmp_path_factory.mktemp("workspace")
    runs = folder / "saved_models"
    runs.mkdir()
    for name in ("mnist_mlp", "celeba_gender"):
        (runs / name).symlink_to(finished_run.folder)
    (runs / "imdb_sentiment").symlink_to(examples.ROOT / "tests" / "format_1" / "texts")
    vae = models.vae((28, 28, 1), 2, units=(8,))
    export(runs / "mnist_vae", tasks.find("reconstruction").endpoints(vae, digits, {}))
    (runs / "grocery_cnn").mkdir()
    models.cnn((32, 32, 3), 81).save(runs / "grocery_cnn" / "model.keras")
    np.savez(folder / "imagenet.npz", **checkpoint())
    (folder / "glove.6B.100d.txt").write_text(f"king{' 0.5' * 100}\nQueen{' -0.5' * 100}\n")
    own_files.write_all(folder)
    (pipeline,) = (block for block in BLOCKS if "build_trainer" in block.code)
    (folder / "my_experiment.py").write_text(pipeline.code)
    return folder


@pytest.fixture
def run_example(workspace, verified_here, quick_runs, monkeypatch, request):
    """Runs an example in the workspace, with the fixtures above that it names."""
    monkeypatch.chdir(workspace)
    keras.utils.set_random_seed(0)
    # Keras collects garbage before every model; with all of TensorFlow's that takes half a second.
    monkeypatch.setattr(gc, "collect", lambda generation=2: 0)

    def run(example, names):
        code = example.code
        for shown, quicker in QUICKER.items():
            code = code.replace(shown, quicker)
        example = dataclasses.replace(example, code=code)
        wanted = examples.free_names(example) - names.keys()
        names |= {n: request.getfixturevalue(n) for n in wanted}
        with examples.extras_may_be_missing():
            return examples.run(example, names)

    return run


@pytest.mark.parametrize("example", DOCSTRINGS, ids=lambda example: example.name)
def test_the_example_of_a_docstring_runs(example, run_example):
    run_example(example, {**IMPORTED, **vars(importlib.import_module(example.module))})


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_the_python_of_a_page_runs(block, run_example):
    names = run_example(block, IMPORTED)
    for word, check in AFTERWARDS.items():
        if word in block.code:
            check(names)


def run_the_pipeline(names):
    run = kpipe.run("my_experiment.py", units=16, epochs=1)
    assert run.record.status == "finished" and run.record.task == names["task"]
    assert run.metrics["accuracy"]["value"] > 0.5
    assert [plot.__name__ for plot in names["plots"]] == ["learning_curves", "confusion_matrix"]


def check_the_grid_search(names):
    search = names["search"]
    assert search.best_params_ == {"learning_rate": 3e-3, "l2": 1e-4}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_score_ > 0.3  # four topics


def train_the_vae(names):
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28, 1), "uint8")
    history = names["model"].fit(images, images, epochs=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0] and len(history["continuous_kl/7"]) == 2


# A word of a block: what must hold after it was run.
AFTERWARDS = {
    "build_trainer": run_the_pipeline,
    "GridSearchCV": check_the_grid_search,
    "KLRegularization": train_the_vae,
}


@pytest.mark.parametrize("words", [QUICKER, AFTERWARDS], ids=["quicker", "afterwards"])
def test_what_is_run_quicker_and_what_is_checked_afterwards_is_still_shown(words):
    shown = "\n".join(example.code for example in [*DOCSTRINGS, *BLOCKS])
    assert [word for word in words if word not in shown] == []


def test_every_value_in_a_comment_of_an_example_is_compared():
    words = [
        f"{example.name}: {text}"
        for example in DOCSTRINGS
        if not example.code.startswith(">>>")  # doctest compares
        for _, text, is_alone in examples.comments(example.code)
        if (set(text) & set('0123456789"')) and (is_alone or examples.claim(text) is None)
    ]
    assert words == []


@pytest.mark.parametrize(
    ("code", "is_right"),
    [
        ("1 + 1  # 2", True),
        ("1 + 1  # 3", False),
        ("np.array([0.25, 0.5])  # [0.25, 0.5]", True),
        ("np.array([0.25, 0.5])  # [0.25, 0.6]", False),
        ("np.array([0.25, 0.5])  # [0.25]", False),
        ("2 / 3  # 0.667", True),
        ("2 / 3  # 0.666", False),
        ("0.14  # 0.1", False),
        ("True  # 1", False),
        ("tf.constant(['a'])  # ['a']", True),
        ("tf.constant(['a'])  # ['b']", False),
        ("{'a': 1, 'b': 2}  # {'a': 1, 'b': ...}", True),
        ("{'a': 1, 'b': 2}  # {'a': 1}", False),
        ("{'low': 0.5, 'n': 9}  # low 0.5", True),
        ("{'low': 0.5, 'n': 9}  # low 0.5, n 8", False),
        ("x = 3  # 4", False),
        ("np.zeros(2)  # equals np.zeros(2)", True),
        ("np.zeros(2)  # equals np.ones(2)", False),
        ("1 > 2", False),
        ("1 < 2  # words", True),
        (">>> np.float32(0.5)\n0.5", True),
        (">>> np.float32(0.5)\n0.6", False),
    ],
)
def test_what_a_comment_says_is_compared(code, is_right):
    example = examples.Example("here", pathlib.Path("here.py"), 1, code)
    if is_right:
        examples.run(example, {"np": np, "tf": tf})
        return
    with pytest.raises((AssertionError, examples.doctest.DocTestFailure)):
        examples.run(example, {"np": np, "tf": tf})


@pytest.mark.parametrize("prompt", ["", ">>> "])
@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        ('ONNX needs onnx: pip install -e ".[onnx]", or "kpipe[onnx]"', pytest.skip.Exception),
        ("Ray is missing; pip install 'kpipe[onnx]'", pytest.skip.Exception),
        ("nowhere: no such folder", Exception),
        ("pip install onnx", Exception),
    ],
)
def test_only_an_example_whose_extra_is_missing_is_skipped(prompt, message, outcome):
    def fail():
        raise kpipe.errors.UserError(message)

    example = examples.Example("here", pathlib.Path("here.py"), 1, f"{prompt}fail()")
    with pytest.raises(outcome) as raised, examples.extras_may_be_missing():
        examples.run(example, {"fail": fail})
    assert "the extra onnx is missing" in str(raised.value) or outcome is Exception
    with pytest.raises(RuntimeError), examples.extras_may_be_missing():
        raise RuntimeError(message)


# --- docstrings of what users write -----------------------------------------------------------


def public():
    """Public names with their objects: "models.mlp"."""
    for name in sorted(set(kpipe.__all__) - {"__version__"}):
        yield f"kpipe.{name}", getattr(kpipe, name)
    for part in (datasets, figures, models, kpipe.gradients, kpipe.disentanglement):
        for name in part.__all__:
            yield f"{part.__name__}.{name}", getattr(part, name)
    for part in (optimizers, losses, layers):
        for name, value in vars(part).items():
            if not name.startswith("_") and getattr(value, "__module__", "") == part.__name__:
                yield f"{part.__name__}.{name}", value


def of_a_figure(name):
    """Figures take a run alone, and their docstrings are captions."""
    return name.startswith("kpipe.figures.")


def functions():
    """Public functions, classes and their own methods, with their names."""
    for name, value in public():
        if inspect.isfunction(value):
            yield name, value
        elif inspect.isclass(value):
            yield name, value
            for method, function in vars(value).items():
                is_new = not any(hasattr(base, method) for base in value.__bases__)
                is_named = getattr(function, "__name__", "") == method  # no default of a field
                if inspect.isfunction(function) and is_named and is_new and method[0] != "_":
                    yield f"{name}.{method}", function


FUNCTIONS = dict(functions())


def test_every_public_name_has_a_docstring():
    modules = {name: value for name, value in public() if inspect.ismodule(value)}
    assert len(FUNCTIONS) > 80 and len(modules) > 5
    named = {**FUNCTIONS, **modules}
    assert [name for name, value in named.items() if not value.__doc__] == []


def sections(docstring, *heads):
    """The names that the sections Args, Attributes or Raises of a docstring explain."""
    names, inside = set(), False
    for line in docstring.split("\n"):
        if line and not line.startswith(" "):
            inside = line.removesuffix(":") in heads
        elif inside and re.match(" {4}[^ ]", line):
            names |= {name.strip(" *") for name in line.partition(":")[0].split(",")}
    return names


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if not of_a_figure(name)])
def test_a_docstring_explains_every_argument(name):
    arguments = inspect.signature(FUNCTIONS[name]).parameters.keys() - {"self"}
    assert arguments <= sections(inspect.getdoc(FUNCTIONS[name]), "Args", "Attributes")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_docstring_names_the_errors_that_are_raised(name):
    value = FUNCTIONS[name]
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(value))).body
    if inspect.isclass(value):  # its methods are in FUNCTIONS
        node.body = [
            part for part in node.body if getattr(part, "name", "") in ("__init__", "__post_init__")
        ]
    raised = {
        part.exc.func.id
        for part in ast.walk(node)
        if isinstance(part, ast.Raise) and isinstance(part.exc, ast.Call)
    }
    assert raised <= sections(inspect.getdoc(value), "Raises")
