"""Nothing after training costs the training: what fails is said, left out, and completed later."""

import json

import numpy as np
import pytest

import kpipe
from kpipe import files, report
from kpipe.errors import RunError, UserError, WriteError
from kpipe.experiments import catalogue, describing, execution
from kpipe.records import open_run
from kpipe.tasks import classification
from kpipe.training.loop import Loop

PIPELINE = '''"""Three blobs."""

import own

from kpipe import Trainer, datasets, figures, models

task = "classification"
data = "mine"
plots = (figures.learning_curves,)


def load_data(hp):
    splits = {"train": own.blobs(100), "val": own.blobs(40, seed=2), "test": own.blobs(40, seed=1)}
    return own.dataset(splits)


def build_model(hp):
    model = models.mlp((5,), 3, units=(8,))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def build_trainer(hp):
    return Trainer(batch_size=20, epochs=1)
'''
# The stage, what fails in it, and what the folder has all the same.
STAGES = {
    "calibrate": (classification, "calibrate"),
    "dead units": (describing, "dead_units"),
    "baselines": (classification, "baselines"),
    "duplicates": (execution.data, "count_shared"),
    "metrics": (classification, "metrics"),
    "export": (execution, "export"),
    "proof": (execution, "prove"),
    "report": (report, "write"),
    "report's facts": (classification, "facts"),
    "summary": (execution, "summary"),
}

POINTS = np.zeros((1, 5), np.float32)
NETWORK = ("index", "label", "probabilities")


@pytest.fixture
def pipeline(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PIPELINE)
    return str(path)


def fail(*_, **__):
    raise MemoryError("Unable to allocate 9 TiB")


def fill_disk(*_):
    raise OSError(28, "No space left on device")


def refuse(folder):
    raise UserError(f"{folder}: operation 'Roll' in node 'x'; --trust loads it")


def break_(patch, stages):
    for stage in stages:
        patch.setattr(*STAGES[stage], fail)


def untrained(patch):
    """No step is trained, and the network predicts the test split no more."""

    def must_not(*_, **__):
        raise AssertionError("done again")

    patch.setattr(Loop, "_step", must_not)
    patch.setattr(classification, "measure", must_not)


def check_incomplete(folder, caught, stages, capsys):
    """Weights and predictions are there, and what is missing is one line each, and a last one."""
    names = [stage.partition("'")[0] for stage in stages]
    problems = [f"{name} failed: MemoryError: Unable to allocate 9 TiB" for name in names]
    message = str(caught.value)
    assert caught.value.exit_code == 1 and "\n" not in message
    assert message.startswith(f"{folder}: trained and saved, but incomplete; the same command ")
    assert message.endswith("; ".join(problems))
    assert [line for line in capsys.readouterr().out.splitlines() if line in problems] == problems
    record = json.loads((folder / "run.json").read_text())
    assert record["problems"] == problems
    with np.load(folder / "predictions.npz") as arrays:
        assert str(arrays["weights_sha256"]) == record["weights_sha256"]
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    assert {"model.keras", "predictions.npz", "history.csv", "run.json"} <= listed.keys()
    return record


def test_what_fails_after_training_is_left_out_and_completed_without_training_again(
    pipeline, tmp_path, quick_runs, monkeypatch, capsys
):
    options = {"out": tmp_path / "out"}
    folder = tmp_path / "out" / "mine"
    stages = ["calibrate", "dead units", "baselines", "duplicates", "metrics", "export"]
    with monkeypatch.context() as patch:
        break_(patch, stages)
        with pytest.raises(RunError) as caught:
            kpipe.run(pipeline, **options)
    first = check_incomplete(folder, caught, stages, capsys)
    assert first["status"] == "unfinished"
    with np.load(folder / "predictions.npz") as arrays:
        predicted = dict(arrays)
    assert set(predicted) == {*NETWORK, "weights_sha256", "opening", "openings"}
    untrained(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(execution, "export", fill_disk)
        with pytest.raises(WriteError, match=r"mine: cannot be written, .*\(No space left on dev"):
            kpipe.run(pipeline, **options)
    assert "failed" not in capsys.readouterr().out  # a full disk ends the run at once
    (folder / "report.html").touch()  # of an earlier attempt
    stages = ["proof", "report", "summary"]
    with monkeypatch.context() as patch:
        break_(patch, stages)
        with pytest.raises(RunError) as caught:
            kpipe.run(pipeline, **options)
    check_incomplete(folder, caught, stages, capsys)
    assert not (folder / "report.html").exists()
    monkeypatch.setattr(execution, "check_graph", refuse)  # a network's own operation
    kpipe.run(pipeline, **options)
    assert "note: " in (said := capsys.readouterr().out) and "(in Python: trust=True)" in said
    run = open_run(folder)
    assert run.record.status == "finished" and not run.record.problems
    assert next(iter(run.record.model.dead_units.values()))[1] == 8
    assert run.record.weights_sha256 == first["weights_sha256"]
    assert run.record.data.test_openings == first["data"]["test_openings"]
    assert {*run.predictions} >= {*NETWORK, "simple", "calibrated", "openings"}
    assert "opening" not in run.predictions
    for name in NETWORK:
        np.testing.assert_array_equal(run.predictions[name], predicted[name])
    assert not list(folder.rglob("checkpoints"))
    monkeypatch.setattr(execution.Execution, "_train", fail)
    kpipe.run(pipeline, **options)  # nothing is left to do


PLOTS = """
size = 3
import math
from functools import partial

def mine(run):
    return drawn(1 / 0)

def drawn(value):
    return partial(math.sqrt, value)

plots = (figures.learning_curves, mine)
"""


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("1 / 0", "1", True),
        ("math.sqrt", "math.exp", True),
        ("import math", "import math, cmath as x", False),
        ("import math", "import cmath as math", True),
        ("plots = (figures.learning_curves, mine)", "", True),
        ("curves, mine)", "curves,)", True),
        ("def drawn", "size = drawn\n\ndef drawn", False),
        ("size = 3", "size = 4", False),
        ("8,", "9,", False),
    ],
)
def test_the_code_of_a_training_is_that_without_its_figures(old, new, same, pipeline, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PIPELINE.replace("plots = (figures.learning_curves,)", PLOTS))
    before = catalogue.read(path)
    path.write_text(path.read_text().replace(old, new))
    after = catalogue.read(path)
    assert before.code_sha256 != after.code_sha256
    assert (before.training_sha256 == after.training_sha256) is same


@pytest.mark.parametrize("used_in_training", [False, True])
def test_a_module_beside_the_file_that_only_figures_use_is_not_of_the_training(
    used_in_training, tmp_path
):
    path, helper = tmp_path / "mine.py", tmp_path / "drawing.py"
    begin = "import drawing\nsize = drawing.SIZE\n" if used_in_training else "import drawing\n"
    path.write_text(f"{begin}plots = (drawing.plot,)\n")
    helper.write_text("SIZE = 3\ndef plot(run):\n    raise ValueError\n")
    before = catalogue.read(path)
    helper.write_text("SIZE = 3\ndef plot(run):\n    pass\n")
    after = catalogue.read(path)
    assert before.code_sha256 != after.code_sha256
    assert (before.training_sha256 != after.training_sha256) is used_in_training


@pytest.mark.slow  # each runs a whole pipeline, with export, proof and page
@pytest.mark.parametrize("stage", STAGES)
def test_any_stage_after_training_may_fail(
    stage, pipeline, tmp_path, verified_here, monkeypatch, capsys
):
    options, folder = (
        {"out": tmp_path / "out", "retrain": True},
        tmp_path / "out" / "mine,retrain=True",
    )
    name = stage.partition("'")[0]
    with monkeypatch.context() as patch:
        break_(patch, [stage])
        with pytest.raises(RunError) as caught:
            kpipe.run(pipeline, **options)
    record = check_incomplete(folder, caught, [stage], capsys)
    assert (folder / "serving" / "1").is_dir() is (name != "export")
    assert (folder / "report.html").is_file() is (name not in ("report", "metrics"))
    untrained(monkeypatch)
    run = kpipe.run(pipeline, **options)
    assert run.record.status == "finished" and not open_run(folder).record.problems
    assert run.record.weights_sha256 == record["weights_sha256"]
    assert run.record.proof.passed
    assert run.record.data.test_openings == record["data"]["test_openings"]
    assert (folder / "report.html").is_file() and kpipe.load(folder).predict(POINTS)


@pytest.mark.slow
def test_every_figure_may_fail_and_be_mended(pipeline, tmp_path, monkeypatch, capsys):
    """The pipeline's own figures, whose code is edited, and all that its task has."""
    path = tmp_path / "mine.py"
    path.write_text(PIPELINE.replace("plots = (figures.learning_curves,)", PLOTS))
    options, folder = {"out": tmp_path / "out"}, tmp_path / "out" / "mine"
    with pytest.raises(RunError) as caught:
        kpipe.run(pipeline, **options)
    line = path.read_text().splitlines().index("    return drawn(1 / 0)") + 1
    said = f"figure mine failed: ZeroDivisionError: division by zero (mine.py, line {line})"
    assert said in str(caught.value) and said in capsys.readouterr().out
    assert said in (folder / "report.html").read_text()
    untrained(monkeypatch)
    path.write_text(path.read_text().replace("learning_curves, mine", "confusion_matrix,"))
    assert kpipe.run(pipeline, **options).record.status == "finished"
    assert (folder / "figures" / "confusion_matrix.png").is_file()


@pytest.mark.slow
def test_a_folder_of_figures_that_cannot_be_written_costs_the_report_alone(
    pipeline, tmp_path, monkeypatch, capsys
):
    options, folder = {"out": tmp_path / "out"}, tmp_path / "out" / "mine"
    folder.mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(report.page.pictures.files, "make_folder", make_folder_but("figures"))
        with pytest.raises(RunError, match=r"report failed: .*figures.* is not writable"):
            kpipe.run(pipeline, **options)
    untrained(monkeypatch)
    assert kpipe.run(pipeline, **options).record.status == "finished"
    assert (folder / "figures" / "learning_curves.png").is_file()


def make_folder_but(name):
    make = files.make_folder

    def make_folder(path):
        if path.name == name:
            raise UserError(f"the folder {path} is not writable; choose another folder")
        make(path)

    return make_folder
