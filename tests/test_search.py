import csv
import json
import random
import types

import keras_tuner
import pytest

from kpipe import Trainer, files, searching
from kpipe.commands import run as commands_run
from kpipe.errors import RunError, UserError, WriteError
from kpipe.experiments.experiment import Experiment
from kpipe.experiments.running import open_experiment
from kpipe.searching import TUNERS, _Search, search

pytestmark = pytest.mark.usefixtures("quick_runs")

# Builds few models: its only keys are those of a test.
OWN = '''"""A gate."""
from kpipe import Trainer, datasets, models

task = "classification"


def load_data(hp):
    return datasets.truth_table(hp.Choice("gate", ["and", "xor"]))


def build_model(hp):
    model = models.mlp((2,), 2, units=(hp.Int("width", 1, 9),))
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def build_trainer(hp):
    return Trainer(epochs=1)
'''
OPTIONS = {
    "data": "sample",
    "epochs": "2",
    "num_layers": "1",
    "units_1": "16",
    "retrain": "false",
}


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


def trials(out):
    folder = next(path for path in out.glob("*search=*") if path.is_dir())
    with open(folder / "trials.csv") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "tuner",
    [
        # A tuner as random is, with another oracle.
        pytest.param(name, marks=[pytest.mark.slow] * (name == "bayesian"))
        for name in TUNERS
        if name != "hyperband"
    ],
)
def test_the_best_completed_trial_becomes_a_run_of_its_own(tmp_path, tuner):
    run = search(
        "mnist_mlp", tuner=tuner, trials=2, out=tmp_path, learning_rate="0.00001,0.01", **OPTIONS
    )
    rows = trials(tmp_path)
    assert [row["status"] for row in rows] == ["COMPLETED", "COMPLETED"]
    assert {row["learning_rate"] for row in rows} <= {"1e-05", "0.01"}
    assert float(rows[0]["val_accuracy"]) >= float(rows[1]["val_accuracy"])
    assert run.record.hyperparameters["learning_rate"] == float(rows[0]["learning_rate"])
    # the same seed and values: the retrained run repeats the trial
    best = max(run.history["val_accuracy"])
    assert best == pytest.approx(float(rows[0]["val_accuracy"]), rel=1e-6)
    assert run.record.data.test_openings >= 1


def test_hyperband_searches_trainer_fields_too(own, tmp_path):
    run = search(own, tuner="hyperband", out=tmp_path, batch_size="32,512", epochs=2)
    assert {row["batch_size"] for row in trials(tmp_path)} <= {"32", "512"}
    assert run.record.trainer["batch_size"] in (32, 512)


def test_a_failed_trial_is_never_the_best(own, tmp_path, monkeypatch):
    fit = Trainer.fit

    def diverging(self, model, *arguments, **options):
        if self.batch_size == 512:
            raise RunError("the loss became NaN")
        return fit(self, model, *arguments, **options)

    monkeypatch.setattr(Trainer, "fit", diverging)
    run = search(own, tuner="grid", trials=2, out=tmp_path, batch_size="512,64")
    rows = {row["batch_size"]: row for row in trials(tmp_path)}
    assert rows["512"]["status"] == "FAILED" and "NaN" in rows["512"]["error"]
    assert run.record.trainer["batch_size"] == 64


def test_a_searched_schedule_takes_the_place_of_reduce_on_plateau(own, tmp_path):
    optimizer = 'optimizers.from_hyperparameters(hp, "adam", schedule="constant")'
    text = OWN.replace("datasets, models", "datasets, models, optimizers")
    text = text.replace('"adam", "sparse', f'{optimizer}, "sparse')
    own.write_text(text.replace("epochs=1", "epochs=1, reduce_lr_patience=2"))
    run = search(own, trials=3, seed=1, out=tmp_path)  # the whole space
    rows = trials(tmp_path)
    assert {row["status"] for row in rows} == {"COMPLETED"}
    assert len({row["schedule"] for row in rows}) > 1
    constant = run.record.hyperparameters["schedule"] == "constant"
    assert run.record.trainer["reduce_lr_patience"] == (2 if constant else 0)


def test_defaults_that_depend_on_a_searched_key_follow_it(tmp_path, monkeypatch):
    monkeypatch.setattr(searching, "run", lambda *_, **__: None)  # the trials are looked at
    options = {"data": "sample", "epochs": "1", "num_layers": "1", "units_1": "8"}
    search("gmm", tuner="grid", out=tmp_path, recipe="document,wide", **options)
    folder = next(p for p in tmp_path.glob("gmm-sample,*search=grid*") if p.is_dir()) / "tuner"
    found = {}
    for path in folder.glob("trial_*/trial.json"):
        values = json.loads(path.read_text())["hyperparameters"]["values"]
        found[values["recipe"]] = values
    assert found["document"]["optimizer"] == "sgd" and found["wide"]["optimizer"] == "adam"
    assert found["document"]["learning_rate"] == 0.1 and found["wide"]["learning_rate"] == 0.003
    rows = trials(tmp_path)
    assert set(rows[0]) >= {"recipe"} and not set(rows[0]) & {"optimizer", "activation"}


def test_the_same_seed_tries_the_same_values_whatever_the_process_drew_before(
    own, tmp_path, monkeypatch
):
    def fail(*_, **__):
        raise RunError("the loss became NaN")

    monkeypatch.setattr(Trainer, "fit", fail)
    tried = []
    for drawn_before in (1, 2):
        random.seed(drawn_before)
        with pytest.raises(RunError, match="no trial was completed"):
            search(own, trials=3, out=tmp_path / str(drawn_before))
        tried.append([(row["gate"], row["width"]) for row in trials(tmp_path / str(drawn_before))])
    assert tried[0] == tried[1] and len(set(tried[0])) > 1


@pytest.mark.parametrize(
    ("where", "name", "error"),
    [
        (Trainer, "fit", RunError("the loss became NaN")),
        (searching, "prepare", UserError("an example cannot be read")),
    ],
)
def test_a_search_without_a_completed_trial_fails_and_says_why(
    where, name, error, own, tmp_path, monkeypatch, capsys
):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(where, name, fail)
    with pytest.raises(RunError, match="no trial was completed"):
        search(own, trials=1, out=tmp_path, width="1,2")
    (row,) = trials(tmp_path)
    assert row["status"] == "FAILED" and str(error) in row["error"]
    assert f"failed: {error}\n" in capsys.readouterr().out


@pytest.fixture
def failing(monkeypatch):
    """The data of trials, all of which fail when their training begins."""
    seen = []

    def fail(trainer, model, data, **_):
        seen.append(data)
        raise RunError("the loss became NaN")

    monkeypatch.setattr(Trainer, "fit", fail)
    return seen


def test_trials_are_trained_on_the_data_that_their_keys_choose(own, tmp_path, failing, monkeypatch):
    built, build = [], Experiment.build_model
    monkeypatch.setattr(
        Experiment, "build_model", lambda *_, **o: built.append(1) or build(*_, **o)
    )
    with pytest.raises(RunError, match="no trial was completed"):
        search(own, tuner="grid", out=tmp_path, gate="and,xor")
    labels = [data.train.labels[:4].tolist() for data in failing]
    assert labels == [[0, 0, 0, 1], [0, 1, 1, 0]]
    assert len(built) == 2  # none to look for conditional keys: the choices are the space


def test_a_search_of_an_edited_pipeline_is_not_resumed(own, tmp_path, failing):
    def again():
        with pytest.raises((RunError, UserError)) as caught:
            search(own, trials=1, out=tmp_path, width="1,2")
        return str(caught.value)

    assert "no trial was completed" in again()
    own.write_text(OWN + "x = 1\n")
    assert "contains a search with different code: the code was edited; --fresh" in again()
    folder = next(tmp_path.glob("mine,*"))
    (folder / "search.json").rename(tmp_path / "other.json")  # of an older kpipe
    assert "no trial was completed" in again() and len(failing) == 1  # resumed
    (folder / "tuner" / "oracle.json").write_text("")
    assert again() == (
        f"{folder}/tuner/oracle.json: cannot be read (Expecting value: line 1 column 1 (char 0)); "
        "run again with --fresh"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "smaple"}, "--data smaple: expected real, sample or auto"),
        ({"tuner": "bayes"}, "--search bayes: expected random, bayesian, hyperband, grid"),
        ({"trials": 0}, "trials=0: expected an integer from 1 to"),
        ({"seed": -1}, "seed=-1: expected an integer from 0 to 2,147,483,647"),
        ({"budget": "20m"}, "budget=20m: expected a number from 0.001 to"),
        ({"plan": 8}, "plan 8: expected graph, or fused:K"),
    ],
)
def test_a_wrong_argument_of_a_function_is_one_line_too(options, message, tmp_path):
    with pytest.raises(UserError, match=f"^{message}"):
        search("logic_gates", out=tmp_path, **options)
    assert not [*tmp_path.iterdir()]


def test_the_command_line_names_all_tuners():
    assert tuple(TUNERS) == commands_run.TUNERS


def test_a_finished_search_is_not_repeated(own, tmp_path, monkeypatch):
    options = {"trials": 1, "out": tmp_path, "width": "1,2"}
    first = search(own, **options)

    def must_not_train(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(Trainer, "fit", must_not_train)
    assert search(own, **options).folder == first.folder


def test_a_trial_that_was_killed_at_its_end_is_built_again(own, tmp_path):
    keys = {"width": "1,2"}
    experiment = open_experiment(own, keys, data="sample", data_dir=None, seed=0, several=True)
    searching = _Search(experiment, keys, tmp_path)
    searching.tuner, hp = True, searching._space()
    assert searching.build(hp) and searching.build(hp) and hp.values["gate"] == "and"


def test_a_full_disk_is_no_trials_fault_whoever_writes(own, tmp_path, monkeypatch):
    def fill_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Trainer, "fit", fill_disk)
    with pytest.raises(WriteError, match=r"/tuner: cannot be written.*same command resumes"):
        search(own, tuner="random", trials=2, data="sample", out=tmp_path)


def test_trials_do_not_apply_to_hyperband(tmp_path):
    with pytest.raises(UserError, match="--trials does not apply to hyperband"):
        search("mnist_mlp", tuner="hyperband", trials=3, out=tmp_path)


def test_a_search_over_a_conditional_key_includes_what_it_requires(tmp_path):
    """On sample data the trials have the pipeline's sample defaults, as the best one's run has."""
    given = {"gamma": "10,30", "continuous_capacity": 3}
    experiment = open_experiment(
        "mnist_joint_vae", given, data="sample", data_dir=None, seed=0, several=True
    )
    searching = _Search(experiment, given, tmp_path)
    space = searching._space()
    assert {p.name for p in space.space} == {
        "capacity",
        "gamma",
        "capacity_steps",
        "continuous_capacity",
    }
    assert all(space.is_active(p) for p in space.space)
    model = experiment.module.build_model(space)
    capacity = model.get_layer("continuous").capacity
    assert float(capacity(400)) == pytest.approx(3.0) and float(capacity(200)) < 2
    objective = searching._objective()
    assert (objective.name, objective.direction) == ("val_reconstruction", "min")


@pytest.mark.parametrize("initial_epoch", [0, 2])
def test_word_vectors_do_not_replace_the_weights_of_an_earlier_trial(
    initial_epoch, tmp_path, monkeypatch, failing
):
    experiment = open_experiment("logic_gates", {}, data="auto", data_dir=None, seed=0)
    hyperband = _Search(experiment, {}, tmp_path)
    hyperband.tuner = types.SimpleNamespace(oracle=types.SimpleNamespace(trials={}))
    model, _ = experiment.build_model()
    initialized = []
    kind = type(experiment.prepare().input)
    monkeypatch.setattr(kind, "initialize", lambda self, model: initialized.append(model))
    with pytest.raises(Exception, match="the loss became NaN"):
        hyperband.fit(experiment.settings.hp, model, initial_epoch=initial_epoch)
    assert bool(initialized) is (initial_epoch == 0)


def test_damaged_weights_of_an_earlier_trial_fail_the_trial_and_are_named(tmp_path):
    experiment = open_experiment("logic_gates", {}, data="auto", data_dir=None, seed=0)
    hyperband = _Search(experiment, {}, tmp_path)
    hyperband.tuner = types.SimpleNamespace(oracle=types.SimpleNamespace(trials={}))
    model, _ = experiment.build_model()
    weights = tmp_path / "tuner" / "trial_7" / "checkpoint.weights.h5"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"first")
    files.write_manifest(weights.parent, [weights])
    weights.write_bytes(b"other")
    experiment.settings.hp.values["tuner/trial_id"] = "7"
    with pytest.raises(keras_tuner.errors.FailedTrialError, match=f"{weights} is damaged or chan"):
        hyperband.fit(experiment.settings.hp, model, initial_epoch=2)
