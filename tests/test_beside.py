"""Modules beside a pipeline file are part of its code."""

import json
import sys

import pytest

from kpipe.errors import UserError
from kpipe.experiments import beside, catalogue, describing, modules, objects
from kpipe.experiments.experiment import Experiment
from kpipe.experiments.running import open_experiment
from kpipe.records import Record

PIPELINE = '''"""Mine."""

import json

import numpy as np

import helper
from kpipe import Trainer, datasets, models
from net import layers

task = "classification"
data = "and"


def load_data(hp):
    return datasets.truth_table("and")


def build_model(hp):
    import late

    model = models.mlp((2,), 2, units=(helper.WIDTH + layers.WIDTH + late.WIDTH,))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def build_trainer(hp):
    return Trainer(epochs=1)
'''
FILES = {
    "helper.py": "import deeper\n\nWIDTH = deeper.WIDTH\n",
    "deeper.py": "import helper\nimport mine\n\nWIDTH = 1\n",
    "late.py": "WIDTH = 1\n",
    "net/__init__.py": "",
    "net/layers.py": "from . import sizes\nfrom .sizes import *\nfrom .deep.sizes import WIDTH\n",
    "net/sizes.py": "from . import deep\n",
    "net/deep/__init__.py": '"""Deep."""\n',
    "net/deep/sizes.py": "WIDTH = 1  # a comment\n",
    "unused.py": "this is not Python\n",
}
CODE = ["deeper", "helper", "late", "net", "net.deep", "net.deep.sizes", "net.layers", "net.sizes"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    for name, text in {"mine.py": PIPELINE, **FILES}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    yield tmp_path
    for name in ("mine", *CODE):
        sys.modules.pop(name, None)


def change(path, old="1", new="2"):
    path.write_text(path.read_text().replace(old, new))


def test_imports_are_followed_to_every_file_beside_the_pipeline(folder):
    found = beside.find(folder / "mine.py")
    assert list(found) == CODE and all(file.is_file() for file in found.values())


def test_a_changed_module_is_a_change_of_code_and_is_named(folder):
    path = folder / "mine.py"

    def record():
        entry = catalogue.read(path)
        return Record(pipeline="mine", code_sha256=entry.code_sha256, modules=entry.modules)

    first = record()
    assert first.modules.keys() >= {"helper.py", "net/__init__.py", "net/deep/sizes.py"}
    change(folder / "net" / "deep" / "sizes.py", "a comment", "another")
    change(folder / "net" / "deep" / "__init__.py", "Deep", "Deeper")
    change(folder / "unused.py", "this", "that")
    assert record() == first
    for name, said in (("deeper.py", "deeper.py"), ("net/deep/sizes.py", "net/deep/sizes.py")):
        change(folder / name)
        with pytest.raises(UserError, match=rf"the code was edited: {said}; --fresh"):
            describing.check_same(folder / "run.json", first, record())
        change(folder / name, "2", "1")
    change(path, "epochs=1", "epochs=2")
    with pytest.raises(UserError, match="the code was edited; --fresh"):
        describing.check_same(folder / "run.json", first, record())


def test_without_modules_beside_it_a_pipelines_hash_is_that_of_its_text(folder):
    """Runs and tables of keys depend on it."""
    (folder / "alone.py").write_text("import json\nx = 1\n")
    entry = catalogue.read(folder / "alone.py")
    assert entry.modules == {}
    assert entry.code_sha256 == catalogue._sha256(beside.parse(folder / "alone.py"))
    table = json.loads((catalogue.PACKAGE / "experiments" / "keys.json").read_text())
    for name in catalogue.names():
        assert catalogue.read(catalogue.find(name)).code_sha256 == table[name]["code_sha256"]


def widths(path):
    module, _ = modules.load(path)
    return module.build_model(None).layers[1].units


def test_a_changed_module_is_imported_anew_and_that_of_another_folder_is_not_taken(folder):
    path, other = folder / "mine.py", folder / "other"
    assert widths(path) == 3
    for name in ("deeper.py", "late.py", "net/deep/sizes.py"):
        change(folder / name)
    assert widths(path) == 6
    other.mkdir()
    (other / "mine.py").write_text(PIPELINE.replace("layers.WIDTH", "0").replace("from net ", "# "))
    for name in ("helper", "late"):
        (other / f"{name}.py").write_text("WIDTH = 10\n")
    assert widths(other / "mine.py") == 20
    assert widths(path) == 6


def test_a_module_that_another_one_hides_is_refused(folder):
    (folder / "helper.py").rename(folder / "pytest.py")
    change(folder / "mine.py", "helper", "pytest")
    with pytest.raises(UserError, match=r"/pytest\.py: another module pytest is imported already"):
        modules.load(folder / "mine.py")
    assert sys.modules["pytest"] is pytest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = = 1\n", r"helper\.py:1: not a Python file"),
        ("def f():\n    return 1 / 0\n\n\nf()\n", r"helper\.py:2: ZeroDivisionError"),
        ("import json\n\njson.loads('{')\n", r"helper\.py:3: JSONDecodeError"),
    ],
)
def test_a_mistake_in_a_module_is_told_with_its_line(folder, text, message):
    (folder / "helper.py").write_text(text)
    with pytest.raises(UserError, match=message):
        modules.load(folder / "mine.py")


def test_an_imported_module_whose_helper_was_edited_is_refused(folder):
    module, _ = modules.load(folder / "mine.py")
    assert objects.load(module)
    change(folder / "deeper.py")
    with pytest.raises(UserError, match=r"deeper\.py: WIDTH differs .*importlib\.reload\(deeper\)"):
        objects.load(module)


def test_a_file_that_a_key_names_is_known_by_its_content(tmp_path, monkeypatch):
    """Weights, word vectors, a list of stop words: whatever the pipeline does with it."""
    weights, run = tmp_path / "weights.npz", tmp_path / "another run"
    run.mkdir()
    paths = {weights: str(weights), run / "model.keras": str(run)}
    values = {"words": str(weights), "start": str(run), "weights": "x" * 999, "units": 3}
    for path in paths:
        path.write_text("a")
    monkeypatch.setattr(Experiment, "hyperparameters", values)
    module = modules.load(catalogue.find("logic_gates"))[0]
    experiment = open_experiment(module, {}, data="auto", data_dir=None, seed=0)
    first = describing.new_record(experiment)
    assert first.contents.keys() == {"words", "start"}
    for path, value in paths.items():
        describing.check_same(tmp_path / "run.json", first, describing.new_record(experiment))
        path.write_text("b")
        with pytest.raises(UserError, match=f"another content of (words|start)={value}: --fresh"):
            describing.check_same(tmp_path / "run.json", first, describing.new_record(experiment))
        path.unlink()  # a finished run does not need it
    describing.check_same(tmp_path / "run.json", first, describing.new_record(experiment))
