import csv
import dataclasses
import random
import shutil
import types

import pytest

from kpipe import Trainer, files, searching
from kpipe.commands import run as commands_run
from kpipe.errors import RunError, UserError, WriteError
from kpipe.experiments.describing import arguments
from kpipe.experiments.experiment import Experiment
from kpipe.experiments.running import open_experiment, vary
from kpipe.searching import TUNERS, _Search, _threads_of, search
from kpipe.tuning.options import Options, objective_of
from kpipe.tuning.refit import Refit, result
from kpipe.tuning.space import make_space, searched, size
from kpipe.tuning.trials import Part, train

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
        # The others differ by their oracle alone, see test_tuning.py.
        pytest.param(name, marks=[pytest.mark.slow] * (name != "random"))
        for name in TUNERS
        if name != "hyperband"
    ],
)
def test_the_best_completed_trial_becomes_a_run_of_its_own(tmp_path, tuner):
    run = search(
        "mnist_mlp", tuner=tuner, trials=2, out=tmp_path, learning_rate="0.00001,0.01", **OPTIONS
    )
    rows = trials(tmp_path)
    assert [row["status"] for row in rows] == ["completed", "completed"]
    assert {row["learning_rate"] for row in rows} <= {"1e-05", "0.01"}
    assert float(rows[0]["val_loss"]) <= float(rows[1]["val_loss"])
    assert run.record.hyperparameters["learning_rate"] == float(rows[0]["learning_rate"])
    # the same seed and values: the retrained run repeats the trial
    best = min(run.history["val_loss"])
    assert best == pytest.approx(float(rows[0]["val_loss"]), rel=1e-6)
    assert run.record.data.test_openings >= 1


@pytest.mark.slow
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
    assert rows["512"]["status"] == "failed" and "NaN" in rows["512"]["error"]
    assert run.record.trainer["batch_size"] == 64


def test_a_searched_schedule_takes_the_place_of_reduce_on_plateau(own, tmp_path):
    optimizer = 'optimizers.from_hyperparameters(hp, "adam", schedule="constant")'
    text = OWN.replace("datasets, models", "datasets, models, optimizers")
    text = text.replace('"adam", "sparse', f'{optimizer}, "sparse')
    own.write_text(text.replace("epochs=1", "epochs=1, reduce_lr_patience=2"))
    experiment = open_experiment(own, {}, data="auto", data_dir=None, seed=0)
    options = Options("random", 3, "schedule", 1, 1, None, None)
    space = make_space(experiment, {}, ["schedule"])
    hunt = _Search(experiment, {}, options, space, tmp_path)
    for schedule, patience in (("constant", 2), ("cosine", 0)):
        trial = vary(experiment, hunt._overrides({"schedule": schedule}), 0)
        assert trial.trainer.reduce_lr_patience == patience


def test_defaults_that_depend_on_a_searched_key_follow_it():
    experiment = open_experiment("gmm", {}, data="sample", data_dir=None, seed=0)
    found = {
        recipe: vary(experiment, {"recipe": recipe}, 0).hyperparameters
        for recipe in ("documented", "wide")
    }
    assert found["documented"]["optimizer"] == "sgd" and found["wide"]["optimizer"] == "adam"
    assert found["documented"]["learning_rate"] == 0.1 and found["wide"]["learning_rate"] == 0.003


def test_the_same_seed_tries_the_same_values_whatever_the_process_drew_before(
    own, tmp_path, monkeypatch
):
    def fail(*_, **__):
        raise RunError("the loss became NaN")

    monkeypatch.setattr(Trainer, "fit", fail)
    tried = []
    for drawn_before in (1, 2):
        random.seed(drawn_before)
        with pytest.raises(RunError, match="3 trials failed for the same reason: the loss became"):
            search(own, trials=3, out=tmp_path / str(drawn_before))
        tried.append([(row["gate"], row["width"]) for row in trials(tmp_path / str(drawn_before))])
    assert tried[0] == tried[1] and len(set(tried[0])) > 1


@pytest.mark.parametrize(
    ("where", "name", "error"),
    [
        (Trainer, "fit", RunError("the loss became NaN")),
        (Experiment, "prepare", UserError("an example cannot be read")),
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
    assert row["status"] == "failed" and str(error) in row["error"]
    assert f"trial 1 of 1 failed: {error}\n" in capsys.readouterr().out


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


def test_other_machines_write_where_the_search_reads(own, tmp_path, monkeypatch):
    def driver(study, oracle, engine, folder, *_, **__):
        raise RunError(f"folder {folder}")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(searching, "Driver", driver)
    with pytest.raises(RunError, match=f"^folder {tmp_path}/out/.*trials$"):
        search(own, out="out")


def test_a_search_of_an_edited_pipeline_is_not_resumed(own, tmp_path, failing):
    def again(**options):
        with pytest.raises((RunError, UserError)) as caught:
            search(own, trials=1, out=tmp_path, over="width", **options)
        return str(caught.value)

    assert "no trial was completed" in again()
    folder = next(tmp_path.glob("mine,*"))
    own.write_text(OWN.replace("1, 9", "2, 9"))
    assert again() == (
        f"{folder} contains a search over another space: width was 1 to 9, now 2 to 9; --fresh "
        "starts over and keeps it, --out DIR uses another folder"
    )
    own.write_text(OWN + "x = 1\n")
    assert "contains a search with different code: the code was edited; --fresh" in again()
    own.write_text(OWN)
    assert "no trial was completed" in again() and len(failing) == 1  # resumed
    (folder / "trials").rename(folder / "tuner")
    (folder / "tuner" / "trial_0").mkdir()
    assert "contains a search by an older kpipe, which cannot be resumed" in again()


def test_a_search_that_depends_on_results_goes_on_with_as_many_trials_at_a_time(own, tmp_path):
    experiment = open_experiment(own, {}, data="auto", data_dir=None, seed=0)
    given = Options("bayesian", None, "width", 1, 2, None, None)

    def begin(jobs):
        hunt = _Search(experiment, {}, given, make_space(experiment, {}, ["width"]), tmp_path)
        hunt.study.jobs = jobs
        return hunt._begin()

    begin(2)
    (tmp_path / "trials" / "0001").mkdir()
    begin(1)  # two repeats are one trial at a time
    with pytest.raises(UserError, match="was begun with 2 jobs, on which the trials of bayesian"):
        begin(3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "smaple"}, "--data smaple: expected real, sample or auto"),
        ({"tuner": "bayes"}, "--search bayes: expected random, bayesian, hyperband, grid"),
        ({"trials": 0}, "trials=0: expected an integer from 1 to"),
        ({"folds": "x"}, "folds=x: expected an integer from 1 to"),
        ({"refit": "test"}, "--refit test: expected best, retrain, train.val"),
        ({"refit": "train+val", "reduce_lr_patience": 2}, "retrain=true and reduce_lr_patience=2"),
        ({"tuner": "hyperband", "epochs": "2,4"}, "hyperband and several values of epochs exclude"),
        ({"refit": "best", "folds": 2}, "--refit best and --folds contradict each other"),
        ({"over": "lerning_rate"}, "--over lerning_rate: no such key; did you mean 'learning_ra"),
        ({"over": "batch_size"}, "--over batch_size: it has no range; give values, batch_size=4,"),
        ({"over": "gradient_accumulation_steps"}, "--over grad.*: it is not searched by itself"),
        ({"over": "momentum"}, "--over momentum: it has no effect here; it requires optimizer=sgd"),
        (
            {"over": "optimizer", "optimizer": "sgd"},
            "--over optimizer and optimizer=sgd contra",
        ),
        ({"seed": -1}, "seed=-1: expected an integer from 0 to 2,147,483,647"),
        ({"trial_budget": "20m"}, "budget=20m: expected a number from 0.001 to"),
        ({"budget": "20m"}, "budget=20m: expected a number from 0.001 to"),
        ({"plan": 8}, "plan 8: expected graph, kernels, auto"),
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


@pytest.mark.parametrize("found", [None, {"how": "retrain"}])
def test_a_run_that_was_there_before_is_not_said_to_have_the_trials_weights(found, tmp_path):
    record = types.SimpleNamespace(search=found, training=None, trainer={"retrain": False})
    run = types.SimpleNamespace(record=record, history={}, folder=tmp_path)
    asked = Refit("best", {"objective": "val_loss", "value": 1.0}, tmp_path, {})
    assert result(run, asked)["how"] == "retrain"


def test_a_full_disk_is_no_trials_fault_whoever_writes(own, tmp_path, monkeypatch):
    def fill_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Trainer, "fit", fill_disk)
    with pytest.raises(WriteError, match=r"/seed=0: cannot be written.*same command resumes"):
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
    space = make_space(experiment, given, ())
    assert {p.name for p in space.space} == {
        "capacity",
        "gamma",
        "capacity_steps",
        "continuous_capacity",
    }
    assert all(space.is_active(p) for p in space.space) and size(space) == 2
    model, _ = vary(experiment, {"continuous_capacity": 3, "gamma": 30}, 0).build_model()
    capacity = model.get_layer("continuous").capacity
    assert float(capacity(400)) == pytest.approx(3.0) and float(capacity(200)) < 2
    objective = objective_of(experiment)
    assert (objective.name, objective.direction) == ("val_reconstruction", "min")


def test_a_search_records_both_kinds_of_threads_of_the_processes_that_train(monkeypatch):
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        monkeypatch.delenv(name, raising=False)
    engine = types.SimpleNamespace(threads=3)
    assert _threads_of(engine) == {"intra_op_threads": 3, "inter_op_threads": 3}
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "1")  # handed on to them
    assert _threads_of(engine) == {"intra_op_threads": 3, "inter_op_threads": 1}


def test_a_given_key_is_left_out_of_trials_where_it_has_no_effect(tmp_path):
    given = {"optimizer": "sgd_momentum,adam", "momentum": "0.8"}
    experiment = open_experiment("gmm", given, data="sample", data_dir=None, seed=0, several=True)
    options = Options("grid", None, (), 1, 1, None, None)
    hunt = _Search(experiment, given, options, make_space(experiment, given, ()), tmp_path)
    assert hunt._overrides({"optimizer": "sgd_momentum"})["momentum"] == "0.8"
    adam = hunt._overrides({"optimizer": "adam"})
    assert adam == {"optimizer": "adam"} and vary(experiment, adam, 0).settings.overrides


def test_a_value_that_is_given_twice_is_searched_once(own):
    given = {"width": "1,2,01", "batch_size": "4,4"}
    experiment = open_experiment(own, given, data="auto", data_dir=None, seed=0, several=True)
    assert experiment.settings.choices == {"width": [1, 2]}


def test_keys_that_a_pipeline_declares_for_some_values_only_are_part_of_the_space(tmp_path):
    path = tmp_path / "mine.py"
    layers = "[hp.Int(f'width_{i}', 1, 9) for i in range(hp.Int('layers', 1, 3))]"
    path.write_text(
        OWN.replace('(hp.Int("width", 1, 9),)', f"{layers} if hp.Boolean('deep') else ()")
    )
    experiment = open_experiment(path, {}, data="auto", data_dir=None, seed=0, several=True)
    assert searched(make_space(experiment, {}, ())) == [
        "gate",
        "deep",
        "layers",
        "width_0",
        "width_1",
        "width_2",
    ]


def test_a_trial_has_only_the_keys_that_its_pipeline_declares_for_its_values(
    own, tmp_path, failing
):
    layers = "[hp.Int(f'width_{i}', 1, 2) for i in range(hp.Int('layers', 1, 2))]"
    own.write_text(OWN.replace('(hp.Int("width", 1, 9),)', layers))
    with pytest.raises(RunError, match="3 trials failed for the same reason: the loss became NaN"):
        search(own, out=tmp_path, gate="and")
    rows = trials(tmp_path)
    assert {row["layers"]: bool(row["width_1"]) for row in rows} == {"1": False, "2": True}


@pytest.mark.parametrize(
    "how",
    [*(pytest.param(how, marks=pytest.mark.slow) for how in ("retrain", "train+val")), "best"],
)
def test_the_run_of_the_best_trial_says_how_it_got_its_weights(how, own, tmp_path, monkeypatch):
    trained, fit = [], Trainer.fit

    def counted(self, model, *arguments, **options):
        history = fit(self, model, *arguments, **options)
        trained.append(history.resumed_at)
        return history

    monkeypatch.setattr(Trainer, "fit", counted)
    run = search(own, trials=2, out=tmp_path, refit=how, epochs=3)
    assert run.record.search["how"] == how and run.record.search["trials"] == 2
    assert run.record.search["objective"] == "val_loss"
    best = trials(tmp_path)[0]
    assert run.record.search["value"] == float(best["val_loss"])
    assert run.history["val_loss"][run.record.training.best_epoch - 1] == float(best["val_loss"])
    assert bool(trained[2]) == (how == "best")  # has nothing left to train
    assert len(trained) == (4 if how == "train+val" else 3)
    assert run.record.trainer["retrain"] == (how == "train+val")


def test_damaged_weights_of_an_earlier_trial_fail_the_trial_and_are_named(own, tmp_path):
    experiment = open_experiment(own, {}, data="auto", data_dir=None, seed=0)
    fingerprint = experiment.fingerprint()
    parent, child = tmp_path / "0001", tmp_path / "0002"
    template = Part(experiment, fingerprint, {}, parent, 0, 0, 0, 1, "val_loss", epochs=1)
    first = train(template)["part"]
    going_on = dataclasses.replace(template, folder=child, epochs=2, continues=parent)
    shutil.copytree(parent, tmp_path / "kept")
    whole = train(dataclasses.replace(template, folder=tmp_path / "whole", epochs=2))["part"]
    assert train(going_on)["part"]["curves"]["loss"] == whole["curves"]["loss"]
    assert whole["curves"]["loss"][0] == first["curves"]["loss"][0]
    (commit,) = parent.glob("checkpoints/step-*")
    damaged = next(commit.glob("variables.data*"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    shutil.rmtree(child)
    assert f"{damaged} is damaged or chan" in train(going_on)["error"]


@pytest.mark.parametrize(("budget", "expected"), [(None, 107.0), (60.0, 60.0)])
def test_what_a_search_has_left_is_not_spent_by_what_was_trained_before(
    budget, expected, own, tmp_path, monkeypatch
):
    given = []

    def fail(*_, budget, **__):
        given.append(budget)
        raise RunError("the loss became NaN")

    monkeypatch.setattr(Trainer, "fit", fail)
    experiment = open_experiment(own, {}, data="auto", data_dir=None, seed=0)
    part = Part(experiment, "", {}, tmp_path, 0, 0, 0, 1, "val_loss", budget=budget, left=5.0)
    commit = tmp_path / "checkpoints" / "step-000000000009"
    commit.mkdir(parents=True)
    files.write_json(commit / "state.json", {"history": {"seconds": 100.0}, "epoch_seconds": 2.0})
    train(part)
    assert given == [expected]


def test_folds_train_on_all_others_and_never_on_test(own, tmp_path, failing):
    experiment = open_experiment("logic_gates", {}, data="auto", data_dir=None, seed=0)
    fingerprint = experiment.fingerprint()
    for fold in (0, 1):
        folder = tmp_path / str(fold)
        train(Part(experiment, fingerprint, {}, folder, 0, 0, fold, 2, "val_loss"))
    first, second = failing
    assert "test" not in first.splits
    halves = [{*data.val.rows.tolist()} for data in (first, second)]
    assert not halves[0] & halves[1]
    assert halves[0] | halves[1] == {*first.train.rows.tolist(), *first.val.rows.tolist()}
    assert {*first.train.rows.tolist()} == halves[1]


def test_another_process_refuses_other_data(own, tmp_path):
    experiment = open_experiment(own, {}, data="auto", data_dir=None, seed=0)
    opening = arguments(experiment, {})
    part = Part(opening, "0" * 64, {}, tmp_path, 0, 0, 0, 1, "val_loss")
    with pytest.raises(RunError, match=r"other data than the search .fingerprint .*, not 000"):
        train(part)
