import ast
import pathlib
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parent.parent

# Each module may import from those before it, never the other way.
ORDER = """
errors files catalogue progress proof
layers losses models.autoencoder models.vae
models.mlp models.cnn models.resnet models.text models.transfer models.embeddings models optimizers
objective differences gradients
datasets.faces datasets.shapes datasets.produce datasets.point_sets datasets.sentences
datasets.sprites datasets.base
datasets.builders datasets.celeb_a datasets.cifar10 datasets.dsprites datasets.grocery_store
datasets.mnist datasets.points datasets.imdb_reviews datasets.ag_news datasets.tweet_emotions
datasets images texts data batches checkpoint loop training evaluation baselines
disentanglement reconstruction
figures.style figures.classes figures.curves figures.images figures.labels figures.points
figures.texts figures.words figures.compare figures.gradients figures.autoencoders figures.latents
figures.sweeps figures
export saved_model report environment hyperparameters runs
execution pipeline checking search cli
""".split()


def modules():
    for path in sorted((ROOT / "kpipe").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / "kpipe").with_suffix("").parts)
        yield path, name.removesuffix(".__init__")


def imported(path):
    """The kpipe modules that a file imports, wherever it does."""
    package = path.parent.relative_to(ROOT / "kpipe").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            if node.module:
                yield ".".join([*base, node.module])
            else:
                yield from (".".join([*base, alias.name]) for alias in node.names)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("kpipe", "pipelines") for name in names)


def test_imports_run_in_one_direction():
    names = [name for _, name in modules() if name != "__init__"]
    assert sorted(names) == sorted(ORDER)
    for path, name in modules():
        if name == "__init__":
            continue
        for other in imported(path):
            if other in ("__version__",):
                continue
            assert ORDER.index(other) < ORDER.index(name), f"{name} imports {other}"


def test_models_know_nothing_of_kpipe_and_of_tensorflow():
    for path, name in modules():
        if name.startswith("models") or name in ("layers", "losses"):
            assert "tensorflow" not in path.read_text()
            assert all(other.startswith(("models", "layers", "losses")) for other in imported(path))


def test_safe_mode_is_never_off_and_nothing_is_pickled():
    for path, _ in modules():
        text = path.read_text()
        assert "safe_mode" not in text and "allow_pickle=True" not in text
        assert "import pickle" not in text and "enable_unsafe" not in text


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built without a network from what is installed."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder)]
    source = folder / "source"
    tracked = ["setup.cfg", "pyproject.toml", "README.md", "LICENSE", "kpipe", "pipelines"]
    source.mkdir()
    import shutil

    for name in tracked:
        path = ROOT / name
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, source / name)
    subprocess.run([*command, str(source)], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_a_wheel_holds_the_pipelines_and_the_type_marker(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"kpipe/py.typed", "kpipe/cli.py", "kpipe/models/mlp.py", "kpipe/proof.py"} <= names
    assert {"kpipe/pipelines/mnist_mlp.py", "kpipe/pipelines/celeba_gender.py"} <= names
    assert not any(name.startswith(("tests", "pipelines/")) for name in names)


def test_a_wheel_lists_its_pipelines(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "import sys; from kpipe import cli; sys.exit(cli.main(['run', '--list']))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert "mnist_mlp" in done.stdout


def test_a_wheel_holds_the_keys_of_its_pipelines(wheel):
    assert "kpipe/experiments/keys.json" in zipfile.ZipFile(wheel).namelist()
