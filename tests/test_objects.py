"""Pipelines given as objects: modules, namespaces and dicts, and what identifies their code."""

import dataclasses
import functools
import importlib.util
import linecache
import sys
import types

import numpy as np
import pandas
import pytest

from kpipe import extrapolating, label_checking
from kpipe.errors import Interrupted, RunError, UserError, resumable
from kpipe.experiments import catalogue, describing, modules, objects, running
from kpipe.experiments.identity import code_of, sha256_of
from kpipe.experiments.running import open_experiment
from kpipe.searching import _Search, search
from kpipe.tuning.options import Options
from kpipe.tuning.space import make_space

CELL = '''
from kpipe import Trainer, datasets, models

WIDTH = 4

def size():
    return WIDTH

def load_data(hp):
    return datasets.truth_table(hp.Choice("gate", ["and", "xor"]))


def build_model(hp):
    """The network."""
    model = models.mlp((2,), 2, units=(size(),))  # small
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def build_trainer(hp):
    return Trainer(epochs=1)
'''
PARTS = ("load_data", "build_model", "build_trainer")


def cell(text=CELL, source=True, **names):
    """The names that a notebook has after a cell, as if `__main__` were it."""
    names["__name__"] = "__main__"
    file = f"<cell {abs(hash(text))}>"
    if source:
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), names)
    return names


def pipeline(names=None, **others):
    names = names or cell()
    parts = {name: names[name] for name in PARTS if name in names}
    return types.SimpleNamespace(task="classification", **parts, **others)


def code(given):
    return objects.entry(objects.load(given)[0]).code_sha256


def experiment_of(given, **overrides):
    return open_experiment(given, overrides, data="auto", data_dir=None, seed=0)


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """A pipeline's module, imported."""
    path = tmp_path / "mine.py"
    path.write_text('"""A gate."""\n' + CELL + '\ntask = "classification"\n')
    spec = importlib.util.spec_from_file_location("mine", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mine", module)
    spec.loader.exec_module(module)
    return module


# --- what is a pipeline -----------------------------------------------------------------------


def test_a_namespace_a_dict_and_a_class_are_the_same_pipeline():
    namespace = pipeline(name="gate", description="A gate.\nWith words.")
    given = [namespace, vars(namespace), type("Gate", (), dict(vars(namespace)))]
    shas = set()
    for one in given[:2]:
        record = describing.new_record(experiment_of(one))
        assert (record.pipeline, record.title, record.task) == ("gate", "A gate.", "classification")
        shas.add(record.code_sha256)
    assert len(shas) == 1
    assert objects.load(given[2])[0].__name__ == "gate"


def test_what_has_no_name_is_called_notebook():
    assert experiment_of(pipeline()).name == "notebook"


@pytest.mark.parametrize("given", [None, 42, [1, 2], np.zeros((3, 2)), pandas.Series([1, 2])])
def test_what_is_neither_a_pipeline_nor_data_is_refused(given):
    with pytest.raises(
        UserError, match=rf"^{type(given).__name__} is no pipeline and no data; exp"
    ):
        experiment_of(given)


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".a", 3, "x" * 81])
def test_a_name_that_is_no_folder_is_refused(name):
    with pytest.raises(UserError, match=r"^name=.* of the pipeline: expected a word"):
        objects.load(pipeline(name=name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"build_model": None}, r"^the pipeline notebook: no function build_model\(hp\); add it"),
        ({"task": None}, "^the pipeline notebook: no task; add the line task = NAME"),
        ({"task": "clasification"}, "^the pipeline notebook: .*did you mean 'classification'"),
        ({"target": 0.9}, "^the pipeline notebook: target is float; expected a kpipe.Target"),
        ({"load_data": lambda hp: 3}, r"^notebook: load_data\(hp\) returned int; expected a kpipe"),
    ],
)
def test_what_is_missing_is_one_line(change, message):
    with pytest.raises(UserError, match=message) as caught:
        experiment_of({**vars(pipeline()), **change})
    assert "\n" not in str(caught.value)


def test_an_empty_dict_is_a_pipeline_without_functions():
    with pytest.raises(UserError, match="no function load_data"):
        experiment_of({})


def test_an_imported_module_is_its_file(imported):
    experiment = experiment_of(imported)
    record = describing.new_record(experiment)
    entry = catalogue.read(modules.pathlib.Path(imported.__file__))
    assert (record.pipeline, record.title) == ("mine", "A gate.")
    assert record.code_sha256 == entry.code_sha256  # the same run as that of the command line
    assert experiment.module is not imported  # its task may be set


def test_a_bundled_module_is_its_file():
    from pipelines import mnist_mlp

    assert objects.entry(objects.load(mnist_mlp)[0]) == catalogue.read(catalogue.find("mnist_mlp"))


@pytest.mark.parametrize("change", ["constant", "function", "file"])
def test_a_module_that_is_not_what_its_file_says_is_refused(imported, change):
    path = modules.pathlib.Path(imported.__file__)
    if change == "constant":
        imported.WIDTH = 8
    elif change == "function":
        path.write_text(path.read_text().replace("epochs=1", "epochs=2"))
    else:
        path.write_text(path.read_text().replace("# small", "# tiny\n"))
        assert objects.load(imported)  # a comment is not a change
        path.write_text(path.read_text().replace("WIDTH = 4", "WIDTH = 5"))
    name = "build_trainer" if change == "function" else "WIDTH"
    with pytest.raises(UserError, match=rf"{path}: {name} differs .*importlib.reload\(mine\)"):
        objects.load(imported)


# --- the identity of code ---------------------------------------------------------------------

SAME = [
    ("", ""),
    ("  # small", ""),
    ('    """The network."""\n', '    """A network."""\n'),
    ("def load_data", "unused = 3\n\ndef other():\n    pass\n\ndef load_data"),
]
OTHER = [
    ("epochs=1", "epochs=2"),
    ("WIDTH = 4", "WIDTH = 5"),
    ("WIDTH = 4", "WIDTH = 4.0"),
    ("return WIDTH", "return WIDTH + 0"),
    ("def build_model(hp)", "def build_model(hp, depth=1)"),
    ("(2,), 2", "(2,), 2, activation='tanh'"),
]


@pytest.mark.parametrize("source", [True, False])
@pytest.mark.parametrize(("old", "new"), SAME + OTHER)
def test_a_change_of_code_is_seen_and_of_words_is_not(source, old, new):
    assert old in CELL
    first, second = (code(pipeline(cell(text, source))) for text in (CELL, CELL.replace(old, new)))
    assert (first == second) == ((old, new) in SAME)


def test_a_constant_of_another_cell_is_seen():
    names = cell()
    before = code(pipeline(names))
    names["WIDTH"] = 64
    assert code(pipeline(names)) != before


def test_a_text_that_is_no_longer_what_runs_is_not_believed():
    names = cell()
    before = code(pipeline(names))
    file = names["load_data"].__code__.co_filename
    size, time, lines, _ = linecache.cache[file]
    lines = [line.replace("epochs=1", "epochs=2") for line in lines]
    linecache.cache[file] = (size, time, lines, file)
    stale = code(pipeline(names))
    cell(CELL.replace("epochs=1", "epochs=2"))
    assert stale != before != code(pipeline(cell(CELL.replace("epochs=1", "epochs=2")))) != stale


def closure(value):
    def inner():
        return value

    return inner


@dataclasses.dataclass
class Config:
    width: int = 4


def described(value):
    return sha256_of(code_of(value, __name__))


@pytest.mark.parametrize(
    ("make", "first", "second"),
    [
        (closure, 1, 2),
        (lambda n: functools.partial(closure, n), 1, 2),
        (lambda n: types.SimpleNamespace(a=n), 1, 2),
        (lambda n: {"a": [n]}, 1, 2),
        (lambda n: {n, "a"}, 1, 2),
        (lambda n: np.full(3, n), 1, 2),
        (lambda n: Config(n), 1, 2),
        (lambda n: type("Own", (), {"f": n, "__module__": __name__}), closure(1), closure(2)),
        (lambda n: type("Own", (), {"f": n, "__module__": __name__})(), closure(1), closure(2)),
        (
            lambda n: type("Own", (), {"f": property(n), "__module__": __name__}),
            *map(closure, (1, 2)),
        ),
        (float, "nan", "1"),
    ],
)
def test_values_are_told_apart(make, first, second):
    assert described(make(first)) == described(make(first)) != described(make(second))


def test_a_function_that_names_itself_is_described():
    def count(n):
        return n and count(n - 1)

    assert described(count) == described(count)


def test_functions_of_other_modules_are_names():
    assert code_of(np.linalg.norm, "__main__") == ["numpy.linalg", "norm"]
    assert code_of(closure, "__main__") == [__name__, "closure"]


# --- commands and errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("logic_gates", "kpipe.run('logic_gates', epochs=2)"),
        ("object", "kpipe.run(notebook, epochs=2)"),
        ("file", "kpipe.run('{}', epochs=2)"),
    ],
)
def test_the_recorded_call_can_be_typed_again(imported, monkeypatch, given, shown):
    monkeypatch.setattr(sys, "argv", ["/usr/lib/ipykernel_launcher.py", "-f", "kernel.json"])
    whole = {"object": pipeline(), "file": imported}.get(given, given)
    experiment = experiment_of(whole, epochs=2)
    assert describing.new_record(experiment).command == shown.format(imported.__file__)


def test_a_search_is_recorded_as_one(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["-c"])
    experiment = open_experiment(
        pipeline(), {"gate": "and,xor"}, data="auto", data_dir=None, seed=3, several=True
    )
    given = Options("grid", 4, (), 2, 1, None, 60.0)
    space = make_space(experiment, {"gate": "and,xor"}, ())
    hunt = _Search(experiment, {"gate": "and,xor"}, given, space, tmp_path)
    assert hunt._begin().command == (
        "kpipe.search(notebook, gate='and,xor', seed=3, budget=60.0, tuner='grid', trials=4, "
        "folds=2)"
    )


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            "it differs; --fresh starts over, --out DIR helps",
            "it differs; fresh=True starts over, out=DIR helps",
        ),
        ("type kpipe run NAME --data real", "type kpipe run NAME --data real"),
        ("two\nlines", "two lines"),
        ("--corrections is for classes", "corrections is for classes"),
    ],
)
def test_a_notebook_shows_an_error_in_one_line(message, shown):
    assert UserError(message)._render_traceback_() == [f"UserError: {shown}"]


@pytest.mark.parametrize(
    ("module", "name"),
    [(running, "run"), (extrapolating, "learning_curve"), (label_checking, "check_labels")],
)
def test_an_interrupt_is_one_line_and_still_an_interrupt(module, name, monkeypatch, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "open_experiment", interrupt)
    with pytest.raises(KeyboardInterrupt) as caught:
        getattr(module, name)(pipeline(), out=tmp_path)
    assert isinstance(caught.value, Interrupted) and not isinstance(caught.value, Exception)
    assert caught.value._render_traceback_() == [
        "Interrupted: interrupted; the same call resumes an unfinished run"
    ]
    with pytest.raises(RunError), resumable():
        raise RunError("the loss became NaN")


# --- from cells to results --------------------------------------------------------------------


def test_a_run_of_cells_is_made_once_and_refused_after_an_edit(quick_runs, tmp_path, capsys):
    names = cell()
    run = running.run(pipeline(names, name="gate"), out=tmp_path)
    assert run.folder == tmp_path / "gate" and run.record.data.test_openings == 1
    again = running.run(pipeline(names, name="gate"), out=tmp_path)
    assert again.record.weights_sha256 == run.record.weights_sha256
    assert "data: the truth table of AND" in capsys.readouterr().out
    names["WIDTH"] = 8
    with pytest.raises(UserError, match="different code: the code was edited; --fresh"):
        running.run(pipeline(names, name="gate"), out=tmp_path)


def test_a_search_of_cells_tries_each_value_and_prints_its_table(quick_runs, tmp_path, capsys):
    best = search(pipeline(), tuner="grid", out=tmp_path, batch_size="2,4")
    table = tmp_path / "notebook,batch_size=2%2C4,search=grid" / "trials.csv"
    assert len(table.read_text().splitlines()) == 3
    assert f"trials: {table}" in capsys.readouterr().out
    assert best.record.trainer["batch_size"] in (2, 4) and best.name == "notebook"
