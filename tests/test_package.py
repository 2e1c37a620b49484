import ast
import graphlib
import pathlib
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parent.parent

# Each floor, a folder or a module, may import from those before it, never the other way.
ORDER = """
errors formatting manifest disk files quiet engines environment
layers losses models optimizers gradients
datasets inputs data export
training measures records
explaining
figures report
tasks experiments
tuning searching extrapolating comparing checking label_checking predicting
explaining_files serving looking
formats verifying diffing reproducing cleaning estimator model_card
commands cli
""".split()
# What knows Keras and nothing of kpipe.
KERAS_ALONE = ("layers", "losses", "models", "optimizers", "gradients")
LONGEST = 400  # lines of a file


def modules():
    for path in sorted((ROOT / "kpipe").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / "kpipe").with_suffix("").parts)
        yield path, name.removesuffix(".__init__")


def floor_of(name):
    return name.partition(".")[0]


def imported(path):
    """What a file imports of kpipe, wherever it does: "folder.module.name", without "kpipe."."""
    package = path.parent.relative_to(ROOT / "kpipe").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            module = [*base, *([node.module] if node.module else [])]
            yield from (".".join([*module, alias.name]) for alias in node.names)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("kpipe", "pipelines") for name in names)


def imported_modules(path):
    """The same, as the modules or packages that define what is imported."""
    known = {name for _, name in modules()}
    for name in imported(path):
        while name and name not in known:
            name = name.rpartition(".")[0]
        if name:  # not kpipe.__version__
            yield name


def test_imports_run_in_one_direction():
    assert {floor_of(name) for _, name in modules()} == {*ORDER, "__init__"}
    upwards = [
        f"{name} imports {other}"
        for path, name in modules()
        if name != "__init__"
        for other in imported_modules(path)
        if ORDER.index(floor_of(other)) > ORDER.index(floor_of(name))
    ]
    assert not upwards


def test_no_modules_import_one_another_in_a_circle():
    graph = {name: set(imported_modules(path)) - {name} for path, name in modules()}
    # A package's __init__ hands out what its modules define; they may name the package's others.
    packages = {name for path, name in modules() if path.stem == "__init__"}
    graph = {name: others - packages for name, others in graph.items() if name not in packages}
    done = list(graphlib.TopologicalSorter(graph).static_order())  # raises where there is a circle
    assert set(graph) <= set(done)


def test_what_begins_with_an_underscore_stays_in_its_folder():
    for path, name in modules():
        folder = list(path.parent.relative_to(ROOT / "kpipe").parts)
        for other in imported(path):
            parts = other.split(".")
            private = [part.startswith("_") and not part.startswith("__") for part in parts]
            if any(private):
                assert parts[: private.index(True)] == folder, f"{name} imports {other}"


def test_models_and_gradients_know_nothing_of_kpipe():
    for path, name in modules():
        if floor_of(name) not in KERAS_ALONE:
            continue
        allowed = KERAS_ALONE if floor_of(name) != "gradients" else ("gradients",)
        assert {floor_of(other) for other in imported_modules(path)} <= set(allowed), name
        if floor_of(name) in ("models", "layers", "losses"):  # they run on every Keras backend
            assert "tensorflow" not in path.read_text(), name


def test_no_file_is_long_but_what_draws_samples():
    for path, name in modules():
        if not name.startswith("datasets.samples"):
            assert len(path.read_text().splitlines()) < LONGEST, name


def test_type_checkers_see_every_public_name_and_no_other():
    import kpipe

    public = {**kpipe._NAMES, **kpipe._MODULES}
    tree = ast.parse((ROOT / "kpipe/__init__.py").read_text())
    (branch,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = [alias.asname for node in branch.body for alias in node.names]
    assert sorted(seen) == sorted(public)


def test_every_public_name_of_a_folder_exists_and_is_listed():
    for path, name in modules():
        body = ast.parse(path.read_text()).body
        assigned = {ast.unparse(n.targets[0]): n.value for n in body if isinstance(n, ast.Assign)}
        if "__all__" not in assigned or name == "__init__":  # kpipe's own are compared above
            continue
        listed = set(ast.literal_eval(assigned["__all__"]))
        own = {node.name for node in body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        taken = (a.asname or a.name for n in body if isinstance(n, ast.ImportFrom) for a in n.names)
        assert listed <= {*own, *assigned, *taken}, name
        assert {it for it in own if not it.startswith("_")} <= listed, name


def test_safe_mode_is_never_off_and_nothing_is_pickled():
    for path, _ in modules():
        text = path.read_text()
        assert "safe_mode=False" not in text and "allow_pickle=True" not in text
        assert "import pickle" not in text and "enable_unsafe" not in text


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built without a network from what is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder)]
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
    assert {"kpipe/py.typed", "kpipe/cli.py", "kpipe/models/mlp.py"} <= names
    # What is run as a file of its own, and a folder of every stage.
    assert {"kpipe/export/proof.py", "kpipe/datasets/samples/faces.py"} <= names
    stages = {path.relative_to(ROOT).as_posix() for path, _ in modules()}
    assert stages <= names
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
