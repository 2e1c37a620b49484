"""The keys that `NAME --help` shows are those that the pipeline declares, however they are read."""

import inspect
import json
import pathlib
import sys
import textwrap

import pytest

from kpipe import cli
from kpipe.experiments import catalogue, key_table, keys, light, modules

OWN = '''
"""An experiment."""
import keras
from kpipe import Trainer, datasets, models, optimizers


class Scale(keras.layers.Layer):
    def __init__(self, factor, **options):
        super().__init__(**options)
        self.factor = factor


task = "classification"


def load_data(hp):
    return datasets.mnist()


def build_model(hp):
    units = [hp.Int(f"units_{i}", 1, 9, default=2) for i in range(hp.Int("layers", 1, 3))]
    model = models.mlp((28, 28, 1), 10, units=units)
    EXTRA
    model.compile(optimizers.from_hyperparameters(hp, "adam"), "sparse_categorical_crossentropy")
    return model


def build_trainer(hp):
    return Trainer(epochs=3)
'''


FUTURE = """
from __future__ import annotations
import dataclasses
import keras

@dataclasses.dataclass
class Sizes:
    width: int = 3
"""


def own_file(folder: pathlib.Path, extra: str = "pass") -> pathlib.Path:
    path = folder / "declaring.py"  # tests import a module "own"
    path.write_text(OWN.replace("EXTRA", textwrap.indent(extra, " " * 4).strip()))
    return path


def declared(path: pathlib.Path) -> list[list[str]]:
    return [list(row) for row in keys.describe(modules.load(path)[0])]


@pytest.mark.parametrize("name", [*catalogue.names(), *catalogue.OWN_DATA])
def test_every_bundled_table_is_what_the_pipeline_declares(name):
    # After a change: python -m kpipe.experiments.key_table
    path = catalogue.find(name)
    table = json.loads(key_table.TABLES.read_text(encoding="utf-8"))[name]
    assert table["code_sha256"] == catalogue.read(path).code_sha256
    own = name in catalogue.OWN_DATA  # needs data to declare its keys
    assert table["rows"] == (key_table.declare(path) if own else declared(path))
    assert key_table.read(path) == table["rows"]


def test_there_is_no_table_of_a_pipeline_that_is_gone():
    written = json.loads(key_table.TABLES.read_text(encoding="utf-8"))
    assert sorted(written) == sorted([*catalogue.names(), *catalogue.OWN_DATA])


def test_the_written_tables_are_read_again(tmp_path):
    tables = tmp_path / "keys.json"
    key_table.write([catalogue.find("one_example")], tables)
    bundled = json.loads(key_table.TABLES.read_text(encoding="utf-8"))
    assert json.loads(tables.read_text()) == {"one_example": bundled["one_example"]}


@pytest.mark.parametrize(
    "name", ["grocery_cnn", "imdb_sentiment", "logic_gates", "mnist_joint_vae"]
)
def test_keys_are_read_without_tensorflow_as_they_are_with_it(name, tmp_path):
    path = tmp_path / "edited.py"
    path.write_text(catalogue.find(name).read_text() + "\nfurther = 1\n")
    assert light.describe(path) == declared(path)


@pytest.mark.parametrize(
    "extra",
    [
        "pass",
        "model.add_loss(Scale(2)(model.output) * 0.5 + 1)",
        "print('a text of the file')",
        "model = keras.Sequential([model, keras.layers.Dense(hp.Int('last', 1, 9))])",
    ],
)
def test_keys_of_an_own_file_are_read_without_tensorflow(tmp_path, extra):
    rows = light.describe(own_file(tmp_path, extra))
    shown = [row[0] for row in rows]
    assert shown[:3] == ["key", "layers", "units_0"] and ("last" in shown) == ("last" in extra)
    assert ["epochs", "3"] in [row[:2] for row in rows]


@pytest.mark.parametrize(
    "extra",
    [
        "if model.count_params() > 100:\n    hp.Int('more', 1, 2)",
        *(
            pytest.param(way, marks=pytest.mark.slow)  # other ways to ask the model
            for way in (
                "for layer in model.layers:\n    hp.Int(f'rate_{layer.name}', 1, 2)",
                "hp.Int(f'of_{model.name}', 1, 2)",
                "hp.Int('width', 1, model.count_params())",
                "hp.Int('width', 1, 9, default=int(model.count_params()))",
                "hp.Boolean('deep') if 'x' in model.name else None",
            )
        ),
        "keras.tree.map_structure(lambda i: hp.Int(f'of_{i}', 1, 2), [1, 2])",
        "models.mlp((4,), 2, hp)",
        "raise ValueError('a mistake')",
        "import no_such_module",
    ],
)
def test_keys_that_depend_on_the_model_are_not_guessed(tmp_path, extra):
    assert light.describe(own_file(tmp_path, extra)) is None


def test_a_file_that_needs_tensorflow_is_read_with_it_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("KPIPE_HOME", str(tmp_path / "home"))
    path = own_file(tmp_path, "hp.Int('width', 1, model.count_params())")
    assert cli.main(["run", str(path), "--help"]) == 0
    first = capsys.readouterr()
    assert first.err == (f"reading the keys of {path}: importing TensorFlow, the first time only\n")
    assert any(line.startswith("width ") for line in first.out.splitlines())
    assert cli.main(["run", str(path), "--help"]) == 0
    second = capsys.readouterr()
    assert second.out == first.out and not second.err
    path.write_text(path.read_text().replace("'width'", "'breadth'"))
    assert cli.main(["run", str(path), "--help"]) == 0
    assert "\nbreadth " in capsys.readouterr().out
    (tmp_path / "helper.py").write_text("width = 1\n")  # it might be imported
    assert key_table.read(path) is None


def test_what_works_in_a_script_works_with_and_without_tensorflow(tmp_path, monkeypatch):
    """A module beside the file is imported; a dataclass has annotations that are text."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    (tmp_path / "helper.py").write_text("def last(hp):\n    return hp.Int('last', 1, 9)\n")
    path = own_file(tmp_path, "import helper\nhelper.last(hp)")
    text = path.read_text().replace("import keras\n", FUTURE)
    path = tmp_path / "a_script.py"
    path.write_text(text)
    rows = light.describe(path)
    assert "last" in [row[0] for row in rows] and rows == declared(path)
    path.write_text(text.replace("'last'", "'further'").replace("helper.last", "hp.Boolean"))
    keys.describe(modules.load(path)[0])
    assert "hp.Boolean" in inspect.getsource(sys.modules["a_script"])


def test_a_pipeline_hides_no_module(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    path = own_file(tmp_path).rename(tmp_path / "json.py")
    assert modules.load(path)[0].__name__ == "json" and sys.modules["json"] is json
    module, _ = modules.load(catalogue.find("one_example"))
    assert sys.modules.get("one_example") is not module
    assert str(catalogue.folder()) not in sys.path


def test_an_edited_bundled_pipeline_is_not_read_from_the_table(tmp_path):
    path = tmp_path / "mnist_mlp.py"
    text = catalogue.find("mnist_mlp").read_text()
    path.write_text(text.replace('"num_layers"', '"depth"'))
    assert "depth" in [row[0] for row in key_table.read(path)]
    path.write_text(text.replace('"""MNIST', '"""My MNIST'))  # a docstring is no code
    assert key_table.read(path) == key_table.read(catalogue.find("mnist_mlp"))
