"""Cells of a notebook: in IPython, and those of docs/notebook.ipynb in a real kernel."""

import pathlib
import re
import sys
import types

import nbformat
import pytest

import kpipe
from kpipe import quiet
from kpipe.experiments import objects

NOTEBOOK = pathlib.Path(__file__).parent.parent / "docs" / "notebook.ipynb"


def cells():
    notebook = nbformat.read(NOTEBOOK, 4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_is_kept_without_outputs():
    nbformat.validate(nbformat.read(NOTEBOOK, 4))
    assert cells() and all(not cell.outputs and cell.execution_count is None for cell in cells())


# --- IPython in this process ------------------------------------------------------------------


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """IPython, whose cells are run in a module of its own instead of `__main__`."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config({"HistoryManager": {"enabled": False}})
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shell = InteractiveShell(config=config, ipython_dir=str(tmp_path), user_module=module)
    yield shell
    shell.restore_sys_module_state()
    InteractiveShell.clear_instance()


def run_cell(shell, text):
    return shell.run_cell(text, store_history=True)


def test_cells_are_a_pipeline_whose_code_is_that_of_their_text(shell):
    def sha():
        return objects.entry(objects.load(shell.user_ns["digits"])[0]).code_sha256

    first, second, *_ = (cell.source for cell in cells())
    for text in (first, second):
        run_cell(shell, text).raise_error()
    before = sha()
    run_cell(shell, "# Again\n" + second).raise_error()
    assert sha() == before
    run_cell(shell, second.replace("batch_size=32", "batch_size=64")).raise_error()
    assert sha() != before
    run_cell(shell, second).raise_error()
    run_cell(shell, "EPOCHS = 3").raise_error()
    assert sha() != before
    model = objects.load(shell.user_ns["digits"])[0].build_model
    from kpipe.experiments.identity import _source

    assert _source(model).startswith("def build_model(hp):\n    units = hp.Int(")


def test_a_mistake_in_a_cell_is_one_line(shell, capsys):
    run_cell(shell, "import kpipe\nkpipe.run('mnist_mpl')")
    shown = capsys.readouterr()
    lines = (shown.out + shown.err).strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("UserError: no pipeline, file or folder")


def test_a_run_in_a_cell_is_a_card(shell):
    folder = pathlib.Path(__file__).parent / "format_1" / "classification"
    shown = shell.display_formatter.format(kpipe.open_run(folder))[0]
    assert len(shown["text/plain"].splitlines()) == 5
    assert shown["text/html"].startswith("<div style=")


def test_a_kernel_is_kept_free_of_logs_once_and_nothing_else_is(monkeypatch):
    calls = []
    monkeypatch.setattr(quiet, "move_logs", lambda: calls.append(1))
    for modules in ({}, {"ipykernel.kernelapp": object()}):
        monkeypatch.setattr(sys, "modules", {**sys.modules, **modules})
        kpipe._be_quiet_in_a_notebook.cache_clear()
        for name in ("run", "models"):
            kpipe.__getattr__(name)
        assert len(calls) == len(modules)
    with pytest.raises(AttributeError):
        kpipe.__getattr__("nothing")


# --- a real kernel ----------------------------------------------------------------------------


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Executes a notebook in a kernel, in a folder of its own."""
    from nbclient import NotebookClient

    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOK.parent.parent))
    place = {"metadata": {"path": str(tmp_path)}}
    return lambda notebook: NotebookClient(notebook, timeout=300, resources=place).execute()


TINY = """
import kpipe
from kpipe import Trainer, datasets, losses, models


def load_data(hp):
    return datasets.arrays([[i / 40, i % 2] for i in range(40)], [i % 2 for i in range(40)])


def build_model(hp):
    model = models.mlp((2,), 2, units=(2,))
    model.compile("sgd", **losses.for_task("classification"))
    return model


tiny = {"name": "tiny", "task": "classification", "plots": [], "load_data": load_data,
        "build_model": build_model, "build_trainer": lambda hp: Trainer(epochs=40)}
run = kpipe.run(tiny)
"""


@pytest.mark.slow
def test_a_run_in_a_kernel_is_short_lines_a_card_and_a_row(execute):
    texts = [TINY, "run", "kpipe.runs()", "kpipe.run(tiny, epoch=1)", "from tqdm import auto"]
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, texts)))
    notebook.cells[3].metadata["tags"] = ["raises-exception"]
    execute(notebook)
    trained, shown, table, mistake, tqdm = (cell.outputs for cell in notebook.cells)
    assert {output.name for output in trained} == {"stdout"} and not tqdm  # no log, no warning
    printed = "".join(output.text for output in trained)
    assert "epoch 40/40  " in printed and printed.count("\nepoch ") < 20
    assert "export verified" in printed
    assert len(shown[0].data["text/plain"].splitlines()) == 5
    assert shown[0].data["text/html"].startswith("<div style=")
    assert table[0].data["text/html"].count("<tr") == 2
    assert mistake[0].traceback[0].startswith("UserError: no key 'epoch'; did you mean 'epochs'?")
    assert len(mistake[0].traceback) == 1


@pytest.mark.slow  # imports TensorFlow in three further processes
def test_the_notebook_of_the_docs_runs_in_a_kernel(tmp_path, execute):
    notebook = nbformat.read(NOTEBOOK, 4)
    execute(notebook)
    by_text = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert output.get("name") != "stderr", output.text  # no log, no warning
            by_text.setdefault(cell.source, []).append(output)

    def shown(start):
        (found,) = (outputs for text, outputs in by_text.items() if text.startswith(start))
        return found

    printed = "".join(output.text for output in shown("run = "))
    assert "\repoch" not in printed and "epoch 20/20  " in printed and "export verified" in printed
    assert "more test examples would halve this interval" in printed
    (output,) = by_text["run"]
    assert output.data["text/html"].count("data:image/png;base64,") == 2
    assert len(output.data["text/plain"].splitlines()) == 5
    searched = "".join(output.text for output in shown("best = "))
    assert "trials.csv" in searched
    assert set(re.findall(r"^trial (\d) of 2", searched, flags=re.M)) == {"1", "2"}
    (table,) = shown("table = ")
    assert table.data["text/html"].count("<tr") == 3
    (error,) = shown("kpipe.run(digits, unit")
    (line,) = error.traceback
    assert line.startswith("UserError: no key 'unit'; did you mean 'units'?") and "\n" not in line
    command = kpipe.open_run(tmp_path / "saved_models" / "digits").record.command
    assert command == "kpipe.run(digits)"
