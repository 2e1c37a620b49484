"""A run goes on only from its own state: continued, resumed, started over or reproduced."""

import contextlib
import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

import kpipe
from kpipe import Trainer, cli, datasets, environment, files, reproducing
from kpipe.datasets.points import GATES
from kpipe.errors import RunError, UserError
from kpipe.experiments import catalogue
from kpipe.experiments.continuing import STATE, Continuation, keep_state
from kpipe.experiments.describing import new_record
from kpipe.experiments.execution import Execution
from kpipe.experiments.running import open_experiment
from kpipe.extrapolating import _point
from kpipe.label_checking import _Check
from kpipe.records import Record, Run, TrainingRecord
from kpipe.searching import _Search
from kpipe.training import History, weights_sha256
from kpipe.tuning.options import Options
from kpipe.tuning.space import make_space

KEYS = {"num_layers": 1, "units_1": 64}  # of the fixture `finished_run`


@pytest.fixture
def copy(finished_run, tmp_path):
    return shutil.copytree(finished_run.folder, tmp_path / finished_run.folder.name)


def write_listed(folder, record):
    """Writes another run.json, and the manifest that lists it."""
    files.write_json(folder / "run.json", record)
    files.write_manifest(folder, folder.rglob("*"))


def without_seconds(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history.rows]


@pytest.mark.parametrize("stop", ["epochs", pytest.param("early stopping", marks=pytest.mark.slow)])
def test_a_continued_training_equals_one_at_once_to_the_bit(stop, small_model, digits, tmp_path):
    early = stop == "early stopping"
    options = {"monitor": "val_loss", "reduce_lr_patience": 1, "checkpoint_seconds": 1e4}
    options |= {"patience": 1, "batch_size": 1024}
    first, whole = tmp_path / "first", tmp_path / "whole"
    rate = 0.3 if early else 0.003  # the loss rises

    def fit(folder, **changed):
        model = small_model(dropout=0.5)
        model.run_eagerly = True  # tracing takes longer
        model.optimizer.learning_rate = rate
        trainer = Trainer(**options | changed)
        history = trainer.fit(model, digits, folder=folder)
        return trainer, model, history

    trainer, _, history = fit(first, epochs=9 if early else 2)
    assert history.stopped_by == stop
    keep_state(first, trainer, history)
    shutil.rmtree(first / "checkpoints")
    more = {"epochs": len(history.rows) + 2, "patience": 5}
    record = Record(pipeline="x", training=TrainingRecord(epochs=len(history.rows), best_epoch=1))
    Continuation(first, record).begin(tmp_path / "second")
    _, model, continued = fit(tmp_path / "second", **more)
    _, other, at_once = fit(whole, **more)
    assert continued.resumed_at == history.step
    assert weights_sha256(model) == weights_sha256(other)
    assert without_seconds(continued) == without_seconds(at_once)
    assert continued.best_epoch == at_once.best_epoch


def test_a_run_keeps_its_last_checkpoint_unless_it_cannot_or_must_not_go_on(tmp_path):
    for step in (1, 2):
        (tmp_path / "checkpoints" / f"step-{step:012d}").mkdir(parents=True)
        (tmp_path / "checkpoints" / f"step-{step:012d}" / "state.json").write_text(f"{step}")
    keep_state(tmp_path, Trainer(keep_state=False), History(stopped_by="epochs"))
    keep_state(tmp_path, Trainer(), History(stopped_by="budget"))
    assert not (tmp_path / STATE).exists()
    keep_state(tmp_path, Trainer(), History(stopped_by="early stopping"))
    assert (tmp_path / STATE / "state.json").read_text() == "2"
    assert "keep_state" not in Trainer().settings()  # that of older runs


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"epochs": 3}, r"already has 3 epochs; expected epochs=N"),
        ({}, r"already has 3 epochs"),
        ({"epochs": 9, "units_1": 32}, r"different hyperparameters: units_1=64, now 32"),
        ({"epochs": 9, "batch_size": 32}, r"different trainer settings: batch_size=128, now 32"),
        ({"epochs": 9, "patience": 2}, r"expected patience=0 or a no smaller one"),
    ],
)
def test_what_would_be_another_training_is_not_continued(keys, said, finished_run, tmp_path):
    with pytest.raises(UserError, match=said):
        kpipe.run(continue_from=finished_run.folder, out=tmp_path, **keys)


@pytest.mark.parametrize("of_epochs", [True, False])
def test_a_schedule_that_depends_on_the_number_of_epochs_is_not_continued(of_epochs, tmp_path):
    def build_model(hp):
        steps = 64 * hp.get("epochs") if of_epochs else 640
        schedule = keras.optimizers.schedules.CosineDecay(0.1, steps)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, "softmax")])
        model.compile(keras.optimizers.SGD(schedule), "sparse_categorical_crossentropy")
        return model

    def load_data(hp):
        hp.Int("epochs", 1, 100, default=2)
        return datasets.truth_table("xor")

    pipeline = {"name": "cosine", "task": "classification", "load_data": load_data}
    pipeline |= {"build_model": build_model, "build_trainer": lambda hp: Trainer()}
    experiment = open_experiment(pipeline, {"epochs": 9}, data="auto", data_dir=None, seed=0)
    continued = Continuation(tmp_path, Record(pipeline="cosine", trainer={"epochs": 2}))
    refused = pytest.raises(UserError, match="the optimizer of cosine depends on the number")
    with refused if of_epochs else contextlib.nullcontext():
        continued._check_schedule(experiment)


def test_a_run_is_continued_only_under_its_own_versions_and_threads(
    finished_run, tmp_path, monkeypatch
):
    machine = environment.machine()
    monkeypatch.setattr(environment, "machine", lambda: machine | {"intra_op_threads": 7})
    with pytest.raises(UserError, match=r"intra_op_threads \d, now 7.* only under what it was run"):
        kpipe.run(continue_from=finished_run.folder, out=tmp_path, epochs=9)
    assert not list(tmp_path.iterdir())


def test_a_run_without_or_with_a_damaged_state_is_not_continued(copy, tmp_path):
    path = copy / STATE / "state.json"
    path.write_text(path.read_text().replace(": 0.", ": 1."))
    with pytest.raises(UserError, match=r"state\.json is damaged or changed"):
        kpipe.run(continue_from=copy, out=tmp_path / "out", epochs=9)
    shutil.rmtree(copy / STATE)
    with pytest.raises(UserError, match=r"has no state/ .* keep_state=false, or by an older kpipe"):
        kpipe.run(continue_from=copy, out=tmp_path / "out", epochs=9)
    record = files.read_json(copy / "run.json")
    record["training"]["stopped_by"] = "budget"
    write_listed(copy, record)
    with pytest.raises(UserError, match=r"ended by its budget, perhaps within an epoch"):
        kpipe.run(continue_from=copy, out=tmp_path / "out", epochs=9)


def test_the_command_line_continues_without_a_name(finished_run, tmp_path, monkeypatch, capsys):
    begun = []
    monkeypatch.setattr(Execution, "run", lambda self: begun.append(self))
    words = ["run", "--continue", str(finished_run.folder), "epochs=7", "--out", str(tmp_path)]
    monkeypatch.setattr("kpipe.commands.run.start", lambda verbose: None)
    assert cli.main(words) == 0
    (run,) = begun
    assert run.folder.name == "mnist_mlp-sample,continued=3,epochs=7,num_layers=1,units_1=64"
    assert run.trainer.epochs == 7 and run.continued.epochs == 3
    assert run._begin().command == f"kpipe.run(continue_from='{finished_run.folder}', epochs=7)"
    assert cli.main([*words, "--seed", "3"]) == 2
    assert cli.main(["run", "mnist_mlp", *words[1:]]) == 2
    assert "goes on with what RUN is" in capsys.readouterr().err


# --- resuming -------------------------------------------------------------------------------------


@pytest.fixture
def unfinished(copy):
    """A run that was killed after its first checkpoint."""
    path = copy / "run.json"
    files.write_json(path, files.read_json(path) | {"status": "unfinished"})
    (copy / "checkpoints").mkdir()
    return copy


@pytest.mark.parametrize(
    ("function", "changed", "said"),
    [
        ("versions", {"keras": "9.9"}, r"keras \S+, now 9.9"),
        ("machine", {"inter_op_threads": 5}, r"inter_op_threads \d, now 5"),
        ("machine", {"onednn": None}, r"onednn True, now None"),
        ("machine", {"deterministic_ops": True}, r"deterministic_ops False, now True"),
    ],
)
def test_an_unfinished_run_goes_on_only_as_it_was_begun(
    function, changed, said, unfinished, monkeypatch
):
    now = getattr(environment, function)() | changed
    monkeypatch.setattr(environment, function, lambda: now)
    with pytest.raises(UserError, match=rf"begun with {said}: .*--fresh starts over and keeps it"):
        kpipe.run("mnist_mlp", data="sample", out=unfinished.parent, epochs=3, **KEYS)


def test_a_finished_run_of_other_versions_is_reported(copy, monkeypatch, capsys):
    monkeypatch.setattr(environment, "versions", lambda: {"keras": "9.9"})
    run = kpipe.run("mnist_mlp", data="sample", out=copy.parent, epochs=3, **KEYS)
    assert run.folder == copy and "test accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("policy", "callbacks", "said"),
    [
        ("mixed_bfloat16", [], "different dtype_policy: float32, now mixed_bfloat16"),
        ("float32", [keras.callbacks.TerminateOnNaN()], "callbacks: none, now TerminateOnNaN"),
    ],
)
def test_a_run_is_another_one_under_another_dtype_policy_or_with_other_callbacks(
    policy, callbacks, said, copy
):
    before, keys = keras.config.dtype_policy().name, KEYS | {"epochs": 3}

    def again():
        kpipe.run("mnist_mlp", data="sample", out=copy.parent, callbacks=callbacks, **keys)

    keras.config.set_dtype_policy(policy)
    try:
        with pytest.raises(UserError, match=f"{said}; --fresh"):
            again()
        record = files.read_json(copy / "run.json")  # of an older kpipe
        del record["dtype_policy"], record["callbacks"]
        write_listed(copy, record)
        again()
    finally:
        keras.config.set_dtype_policy(before)


def test_a_checkpoint_of_a_fold_a_curve_or_a_search_goes_on_only_under_its_versions(
    tmp_path, monkeypatch
):
    experiment = open_experiment("logic_gates", {}, data="auto", data_dir=None, seed=0)
    record = new_record(experiment)
    record.data.fingerprint = experiment.fingerprint()
    record.versions["keras"] = "9.9"
    record.pipeline = experiment.name
    refused = pytest.raises(UserError, match=r"was begun with keras 9\.9, now")
    for name in ("curve", "labels", "search"):
        files.write_json(tmp_path / f"{name}.json", record.to_json())
    record.details["space"] = {"gate": ", ".join(GATES)}
    files.write_json(tmp_path / "search.json", record.to_json())
    (tmp_path / "trials" / "0001").mkdir(parents=True)
    given = Options("grid", None, "gate", 1, 1, None, None)
    searching = _Search(experiment, {}, given, make_space(experiment, {}, ["gate"]), tmp_path)
    searching.record = searching._begin()  # if it has ended it is only reported
    with refused:
        searching._check_bits()
    with refused:
        _Check(experiment, tmp_path, folds=2)._begin()
    run = Run(name="logic_gates", folder=tmp_path, record=record, metrics={}, history={})
    with refused:
        _point(experiment, 0.5, tmp_path, run, "1 of 1")


def test_another_plan_is_refused_in_a_renamed_folder(unfinished):
    experiment = open_experiment(
        "mnist_mlp", KEYS | {"epochs": 3}, data="sample", data_dir=None, seed=0, plan="fused:4"
    )
    with pytest.raises(UserError, match="plan kernels, now fused:4"):
        Execution(experiment, unfinished)._begin()


# --- starting over --------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", ["key", "home", "training"])
def test_a_finished_run_stays_where_it_is_if_no_new_one_can_start(cause, copy, monkeypatch):
    keys = KEYS | {"epochs": 3}
    if cause == "key":
        keys["droput"] = 0.1
    elif cause == "home":
        monkeypatch.setenv("KPIPE_HOME", str(copy / "run.json"))
    else:

        def fit(*arguments, **options):
            assert copy.with_name(f"{copy.name}~1").is_dir()
            raise RunError("the first loss is NaN")

        monkeypatch.setattr(Trainer, "fit", fit)
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    with pytest.raises((UserError, RunError)):
        kpipe.run("mnist_mlp", data="sample", out=copy.parent, fresh=True, **keys)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before
    assert [path for path in copy.parent.iterdir() if path.is_dir()] == [copy]


@pytest.mark.parametrize(
    "error", [RunError("stopped; the same command resumes there"), KeyboardInterrupt()]
)
def test_what_a_new_run_has_saved_is_kept_beside_the_old_one(error, copy, monkeypatch):
    def fit(self, model, data, folder, **options):
        (folder / "checkpoints").mkdir()
        raise error

    monkeypatch.setattr(Trainer, "fit", fit)
    with pytest.raises(type(error), match="the same command without --fresh resumes"):
        kpipe.run("mnist_mlp", data="sample", out=copy.parent, fresh=True, epochs=3, **KEYS)
    assert json.loads((copy / "run.json").read_text())["status"] == "unfinished"
    kept = copy.with_name(f"{copy.name}~1")
    assert json.loads((kept / "run.json").read_text())["status"] == "finished"


# --- reproducing ----------------------------------------------------------------------------------


@pytest.fixture
def trained_again(finished_run, monkeypatch):
    """Reproductions without training: the new run is given by a function."""

    def give(run):
        def execute(self):
            made.append(self)
            return run

        monkeypatch.setattr(Execution, "run", execute)

    made = []
    give.made = made
    return give


def test_a_run_is_trained_again_from_its_record_alone(finished_run, trained_again, tmp_path):
    trained_again(finished_run)
    result = kpipe.reproduce(finished_run.folder, out=tmp_path)
    assert result.passed
    metrics = len(finished_run.metrics)
    assert f"reproduced: weights, 3 epochs of history, {metrics} metrics" in repr(result)
    (again,) = trained_again.made
    assert again.folder.name == f"{finished_run.folder.name},reproduced"
    assert again.experiment.hyperparameters == finished_run.record.hyperparameters
    assert again.trainer.settings() == finished_run.record.trainer
    assert again.experiment.source.kind == "sample" and again.experiment.plan == "kernels"


def test_a_run_is_trained_again_beside_its_folder_from_within_it(
    copy, finished_run, trained_again, monkeypatch
):
    trained_again(finished_run)
    monkeypatch.chdir(copy)
    kpipe.reproduce(".")
    (again,) = trained_again.made
    assert again.folder == copy.with_name(f"{copy.name},reproduced")


def test_what_differs_is_named_with_its_possible_causes(
    copy, finished_run, trained_again, tmp_path, monkeypatch, capsys
):
    other = kpipe.open_run(copy)
    other.record.weights_sha256 = "0" * 64
    other.record.versions |= {"keras": "9.9"}
    other.record.code_sha256 = "1"
    other.history["loss"][1] = np.nextafter(other.history["loss"][1], 1)
    other.predictions["probabilities"][3, 2] += 1e-7
    trained_again(other)
    monkeypatch.setattr("kpipe.commands.reproduce.start", lambda verbose: None)
    assert cli.main(["reproduce", str(finished_run.folder), "--out", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "history differ: loss; predictions differ: probabilities" in said
    assert "code was edited" in said and "now 9.9" in said


def test_a_run_with_callbacks_or_another_policy_is_trained_again_with_them(
    copy, finished_run, trained_again, tmp_path
):
    record = files.read_json(copy / "run.json")
    record |= {"callbacks": ["TerminateOnNaN"], "dtype_policy": "mixed_bfloat16"}
    write_listed(copy, record)
    trained_again(finished_run)
    with pytest.raises(UserError, match="trained with the callbacks TerminateOnNaN, not none"):
        kpipe.reproduce(copy, out=tmp_path)
    callbacks = [keras.callbacks.TerminateOnNaN()]
    result = kpipe.reproduce(copy, out=tmp_path, callbacks=callbacks)
    (again,) = trained_again.made
    assert again.callbacks == callbacks and again.experiment.dtype_policy == "mixed_bfloat16"
    assert result.passed and keras.config.dtype_policy().name == "float32"


@pytest.mark.slow
def test_a_budgeted_training_is_ended_after_the_same_step(small_model, digits, tmp_path):
    steps = []

    class Slow(reproducing.keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            steps.append(batch)
            self.model.stop_training = len(steps) == 7

    def fit(callback):
        model = small_model(dropout=0.5)
        model.run_eagerly = True
        history = Trainer(epochs=3, batch_size=256).fit(model, digits, callbacks=[callback])
        return history.step, weights_sha256(model)

    first = fit(Slow())
    assert fit(reproducing._StopAt(first[0])) == first and len(steps) == 7


def test_what_was_in_memory_or_has_moved_is_said(copy):
    record = files.read_json(copy / "run.json")
    for name, said in (
        (None, "was in memory"),
        ("/no/such/pipeline.py", "does not exist any more"),
    ):
        record["origin"]["name"] = name
        write_listed(copy, record)
        with pytest.raises(UserError, match=said):
            kpipe.reproduce(copy)


TWICE = """
import sys, kpipe
name, out, *keys = sys.argv[1:]
run = kpipe.run(name, data="sample", out=out, **dict(key.split("=") for key in keys))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", catalogue.names())
def test_two_processes_give_the_same_weights(name, tmp_path):
    results = []
    for out in (tmp_path / "a", tmp_path / "b"):
        keys = ["epochs=1"]
        subprocess.run([sys.executable, "-c", TWICE, name, str(out), *keys], check=True)
        (path,) = out.glob("*/run.json")
        results.append(json.loads(path.read_text())["weights_sha256"])
    print(f"two processes: {name} {results[0][:12]} {results[1][:12]}")
    assert results[0] == results[1]
