"""The driver of a search with keras-tuner's oracles, without any training."""

import contextlib
import functools
import itertools
import json
import math
import pathlib
import random
import types

import keras_tuner
import numpy as np
import pytest
import scipy.optimize
import sklearn.gaussian_process

from kpipe import files
from kpipe.engines import Fault, Outcome
from kpipe.errors import RunError, UserError
from kpipe.records.study import Study
from kpipe.tuning.driver import Driver, estimate
from kpipe.tuning.oracles import Bayesian, make_oracle
from kpipe.tuning.space import active, combinations, ranges, searched, size
from kpipe.tuning.trials import Part

TUNERS = ("random", "bayesian", "hyperband", "grid")


@pytest.fixture
def real_fits():
    """Asked for before `quick_fits`, keeps it from doing anything."""


@pytest.fixture(autouse=True)
def quick_fits(request, monkeypatch):
    """Bayesian optimization that takes the best of its draws, without minimizing from each."""
    if "real_fits" in request.fixturenames:
        return
    process = sklearn.gaussian_process.GaussianProcessRegressor
    kernel = sklearn.gaussian_process.kernels.Matern(nu=2.5)
    monkeypatch.setattr(
        Bayesian,
        "_make_gpr",
        lambda self: process(kernel, optimizer=None, normalize_y=True, alpha=1e-4),
    )
    monkeypatch.setattr(
        scipy.optimize, "minimize", lambda f, x0, **_: types.SimpleNamespace(x=x0, fun=f(x0)[0])
    )


class Killed(Exception):
    pass


class Machine:
    """An engine whose jobs take no time and end in any order."""

    threads = 1

    def __init__(self, value, jobs=1, order=0, kill_after=None):
        self.value, self.slots, self.order = value, jobs, random.Random(order)
        self.jobs, self.done, self.kill_after = [], [], kill_after

    def submit(self, job):
        self.jobs.append(job)

    def wait(self):
        if self.kill_after is not None and len(self.done) == self.kill_after:
            raise Killed
        job = self.jobs.pop(self.order.randrange(len(self.jobs)))
        part = job.arguments["part"]
        outcome = self.value(part)
        self.done.append((part.folder.parent.name, part.folder.name))
        if isinstance(outcome, Outcome):
            return Outcome(job, error=outcome.error, lost=outcome.lost)
        files.make_folder(part.folder)
        files.write_json(part.folder / "result.json", outcome)
        return Outcome(job, outcome)


def trained(value, part):
    """What a training returns."""
    content = {"repeat": part.repeat, "fold": part.fold, "value": value, "best_epoch": 1}
    content |= {"epochs": part.epochs or 1, "seconds": 1.0, "parameters": 7}
    return {"part": {**content, "stopped_by": "epochs", "examples": 100, "curves": {}}}


def bowl(part):
    """Best at width 5 and a rate of 0.01; "wide" fails."""
    if part.overrides.get("shape") == "wide":
        return {"error": "too wide"}
    rate = part.overrides.get("rate", 0.01)
    value = (part.overrides.get("width", 5) - 5) ** 2 + abs(rate - 0.01) * 100
    return trained(value + part.repeat + 10 * part.fold, part)


def space(*names):
    hp = keras_tuner.HyperParameters()
    if not names or "width" in names:
        hp.Int("width", 1, 9)
    if not names or "rate" in names:
        hp.Float("rate", 1e-4, 1.0, sampling="log")
    if not names or "shape" in names:
        hp.Choice("shape", ["flat", "round", "wide"])
    if "radius" in names:
        with hp.conditional_scope("shape", ["round"]):
            hp.Int("radius", 1, 3)
    return hp


def search(folder, tuner="random", hp=None, value=bowl, trials=8, **options):
    """Searches with a machine; returns the study and what was trained."""
    hp = hp or space()
    of_machine = {k: options.pop(k) for k in ("order", "kill_after") if k in options}
    jobs, budget = options.get("jobs", 1), options.pop("budget", None)
    max_epochs = options.pop("max_epochs", 4)
    objective = keras_tuner.Objective("val_loss", "min")
    machine = Machine(value, jobs, **of_machine)
    study = Study(
        tuner=tuner,
        objective="val_loss",
        direction="min",
        space=ranges(hp),
        scales={},
        size=size(hp),
        **options,
    )
    if tuner == "hyperband":
        trials = None
    oracle = make_oracle(tuner, hp, objective, 0, max_epochs=max_epochs, trials=trials)
    template = Part(None, "", {}, folder, 0, 0, 0, study.folds, "val_loss")
    own = functools.partial(active, hp)
    nothing = lambda: None  # noqa: E731
    driver = Driver(
        study, oracle, machine, folder, template, own, dict, trials, budget, nothing, nothing
    )
    with contextlib.suppress(Killed):
        driver.run()
    return study, machine.done


def table(study):
    return [(t.trial, t.status, t.values, t.value, t.error) for t in study.trials]


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("tuner", TUNERS)
def test_a_search_killed_after_any_training_repeats_and_loses_none(tuner, jobs, tmp_path):
    whole, trained_once = search(tmp_path / "whole", tuner, jobs=jobs)
    assert len(whole.trials) >= 8
    for kill in (1, 4, len(trained_once) - 1):
        folder = tmp_path / f"killed {kill}"
        _, before = search(folder, tuner, jobs=jobs, kill_after=kill)
        resumed, after = search(folder, tuner, jobs=jobs, order=1)
        assert table(resumed) == table(whole)
        assert sorted(before + after) == sorted(trained_once)


def test_a_resumed_search_has_all_trials_that_had_ended_before_it_trains(tmp_path):
    before, _ = search(tmp_path, jobs=4, kill_after=3, order=5)
    ended = {t.trial for t in before.trials if t.ended is not None}
    assert ended == {1, 3, 4}
    resumed, _ = search(tmp_path, kill_after=0)
    assert {t.trial for t in resumed.trials if t.ended is not None} == ended


@pytest.mark.parametrize("tuner", TUNERS)
def test_trials_do_not_depend_on_which_of_them_ends_first(tuner, tmp_path):
    first, second = (
        search(tmp_path / str(order), tuner, jobs=3, order=order)[0] for order in (1, 2)
    )
    assert table(first) == table(second)


@pytest.mark.parametrize("tuner", ["random", "bayesian", "grid"])
def test_more_trials_go_on_where_a_search_ended(tuner, tmp_path):
    whole, _ = search(tmp_path / "whole", tuner, trials=8)
    search(tmp_path / "in parts", tuner, trials=5)
    more, done = search(tmp_path / "in parts", tuner, trials=8)
    assert table(more) == table(whole) and len(done) == 3
    fewer, done = search(tmp_path / "in parts", tuner, trials=2)
    assert table(fewer) == table(whole) and not done  # nothing is forgotten


@pytest.mark.parametrize("tuner", TUNERS)
@pytest.mark.parametrize("content", [b"", b'{"val'])
@pytest.mark.parametrize("name", ["trial.json", "seed=0/result.json", "../clock.json"])
def test_a_damaged_file_costs_at_most_its_own_training(tuner, content, name, tmp_path, capsys):
    if tuner != "random" and (content or "clock" in name):
        pytest.skip("the same for all tuners")
    whole, _ = search(tmp_path, tuner)
    capsys.readouterr()
    path = tmp_path / "0003" / name
    assert path.is_file()
    path.write_bytes(content)
    again, done = search(tmp_path, tuner)
    assert table(again) == table(whole)
    assert done == ([("0003", "seed=0")] if "result" in name else [])
    said = capsys.readouterr().out
    assert "clock" in name or f"{path.parent.resolve() / path.name}: cannot be read" in said


@pytest.mark.parametrize("tuner", TUNERS)
def test_a_finite_space_is_searched_to_its_end_and_no_further(tuner, tmp_path):
    hp = space("width", "shape")
    study, _ = search(tmp_path, tuner, hp, trials=100)
    tried = [tuple(sorted(t.values.items())) for t in study.trials]
    if tuner == "hyperband":  # its trials go on with the same values
        assert len(study.trials) < 30
        return
    assert size(hp) == 27 and len(tried) == 27 and len(set(tried)) == 27


def test_a_space_without_end_is_not_left_because_its_choices_were_tried():
    hp = keras_tuner.HyperParameters()
    hp.Choice("optimizer", [*"abcdefghij"])
    with hp.conditional_scope("optimizer", ["a"]):
        hp.Float("momentum", 0, 1)
    objective = keras_tuner.Objective("val_loss", "min")
    oracle = make_oracle("random", hp, objective, 0, max_epochs=1, trials=None)
    assert {oracle.create_trial(str(number)).status for number in range(60)} == {"RUNNING"}


def test_conditional_keys_are_counted_and_combined_only_where_they_are_active():
    hp = space("shape", "radius")
    assert size(hp) == 5
    assert [*combinations(hp)] == [
        {"shape": "flat"},
        *({"shape": "round", "radius": radius} for radius in (1, 2, 3)),
        {"shape": "wide"},
    ]
    assert searched(hp) == ["shape", "radius"] and "requires shape=round" in ranges(hp)["radius"]
    assert size(space()) is None


@pytest.mark.slow  # a fit takes a second
def test_bayesian_search_uses_what_it_learned(tmp_path, real_fits):
    def smooth(part):
        width, rate = part.overrides["width"], part.overrides["rate"]
        return trained((width - 5) ** 2 / 16 + (math.log10(rate) + 2) ** 2 / 4, part)

    best = {}
    for tuner in ("random", "bayesian"):
        study, _ = search(tmp_path / tuner, tuner, space("width", "rate"), smooth, trials=16)
        best[tuner] = study.ranked[0].value
    assert best["bayesian"] < best["random"] / 1.5


def test_the_ends_of_ranges_are_values_that_the_pipeline_accepts():
    hp = keras_tuner.HyperParameters()
    hp.Int("units", 2, 512, sampling="log")
    hp.Int("layers", 1, 4)
    hp.Float("rate", 3e-5, 0.7, sampling="log")
    objective = keras_tuner.Objective("val_loss", "min")
    oracle = make_oracle("bayesian", hp, objective, 0, max_epochs=1, trials=None)
    assert oracle._vector_to_values(np.ones(3)) == {"units": 512, "layers": 4, "rate": 0.7}
    assert oracle._vector_to_values(np.zeros(3)) == {"units": 2, "layers": 1, "rate": 3e-5}
    # If this fails, keras-tuner was mended, and `Bayesian._vector_to_values` can go.
    decode = keras_tuner.oracles.BayesianOptimizationOracle._vector_to_values
    assert decode(oracle, np.ones(3))["units"] == 513


def test_hyperband_continues_the_better_trials_for_more_epochs(tmp_path):
    continued, epochs = [], {}

    def value(part):
        epochs[part.folder.parent.name] = part.epochs
        if part.continues:
            continued.append((part.continues.parent.name, part.folder.parent.name))
        return bowl(part)

    study, _ = search(tmp_path, "hyperband", space("width"), value)
    assert continued
    for parent, child in continued:
        assert epochs[child] > epochs[parent]
        assert study.trials[int(child) - 1].values == study.trials[int(parent) - 1].values


def test_folds_and_repeats_are_trained_and_averaged(tmp_path):
    study, done = search(tmp_path, trials=2, hp=space("width"), folds=2, repeats=2, jobs=3)
    assert len(done) == 8 and {name for _, name in done} == {
        f"seed={seed},fold={fold}" for seed in (0, 1) for fold in (1, 2)
    }
    (trial, _) = study.trials
    values = [part.value for part in trial.parts]
    assert [(part.repeat, part.fold) for part in trial.parts] == [
        *itertools.product((0, 1), (0, 1))
    ]
    assert trial.value == pytest.approx(sum(values) / 4)
    # scipy.stats.t.interval(0.95, 3, mean, sem) of 0, 10, 1, 11 and a constant
    assert trial.high - trial.value == pytest.approx(9.2328, abs=1e-3)
    assert trial.value - trial.low == pytest.approx(9.2328, abs=1e-3)


def test_an_accuracy_of_one_training_has_wilsons_interval(tmp_path):
    study, _ = search(tmp_path, trials=1, value=lambda part: trained(0.9, part))
    estimate(study.trials[0], "val_accuracy")
    assert study.trials[0].low == pytest.approx(0.8256, abs=1e-4)
    study.trials[0].low, study.trials[0].parts[0].value = None, 90.0
    estimate(study.trials[0], "val_accuracy")  # a metric of the user's own, in percent
    assert study.trials[0].value == 90 and study.trials[0].low is None


def test_a_trial_that_fails_is_recorded_and_the_search_goes_on(tmp_path, capsys):
    study, _ = search(tmp_path, "grid", space("shape"))
    assert [t.status for t in study.trials] == ["completed", "completed", "failed"]
    assert study.trials[2].error == "too wide" and study.trials[2].value is None
    assert "trial 3 of 3 failed: too wide\n" in capsys.readouterr().out
    _, done = search(tmp_path, "grid", space("shape"))
    assert not done


def test_trials_that_all_fail_alike_end_the_search(tmp_path):
    with pytest.raises(RunError, match="the first 3 trials failed for the same reason: no"):
        search(tmp_path, value=lambda part: {"error": "no"})


def test_a_fault_of_the_pipeline_ends_the_search_at_once(tmp_path):
    fault = Outcome(None, error=Fault("NameError: x (mine.py:3)"))
    with pytest.raises(RunError, match=r"trial 1: the pipeline failed: NameError: x .mine.py:3"):
        search(tmp_path, value=lambda part: fault)


def test_a_trial_whose_processes_died_is_not_begun_again(tmp_path):
    lost = Outcome(None, lost="killed three times")
    study, _ = search(tmp_path, trials=1, value=lambda part: lost)
    assert study.trials[0].error == "killed three times"
    study, done = search(tmp_path, trials=1)
    assert study.trials[0].error == "killed three times" and not done


def test_a_budget_ends_a_search_and_a_larger_one_resumes_it(tmp_path):
    search(tmp_path, trials=3)
    (tmp_path / "clock.json").write_text(json.dumps({"seconds": 100.0}))
    study, done = search(tmp_path, trials=8, budget=50.0)
    assert len(study.trials) == 3 and not done
    (tmp_path / "0002" / "trial.json").write_bytes(b"")
    study, done = search(tmp_path, trials=8, budget=50.0)
    assert len(study.trials) == 3 and not done  # a damaged file does not hide later trials
    study, done = search(tmp_path, trials=4, budget=200.0)
    assert len(study.trials) == 4 and len(done) == 1
    assert study.trials[3].ended >= 100


def test_checkpoints_of_the_best_trials_are_kept(tmp_path):
    def value(part):
        (part.folder / "checkpoints").mkdir(parents=True)
        return bowl(part)

    study, _ = search(tmp_path, trials=8, value=value)
    kept = {int(path.parent.parent.name) for path in tmp_path.glob("*/*/checkpoints")}
    assert kept == {trial.trial for trial in study.ranked[:3]}


@pytest.mark.parametrize("jobs", [1, 3])
def test_a_trial_that_another_continues_keeps_its_checkpoints_until_then(jobs, tmp_path):
    def value(part):
        assert not part.continues or (part.continues / "checkpoints").is_dir()
        for name in ("checkpoints", "fine_tuning/checkpoints"):
            (part.folder / name).mkdir(parents=True)
        if part.overrides["width"] > 6 or part.overrides["rate"] > 0.3:
            return {"error": f"too wide: {part.folder}"}  # leaves rounds that are never full
        return bowl(part)

    hp = space("width", "rate")
    study, _ = search(tmp_path, "hyperband", hp, value, jobs=jobs, max_epochs=9)
    kept = {int(path.relative_to(tmp_path).parts[0]) for path in tmp_path.rglob("checkpoints")}
    assert kept == {trial.trial for trial in study.ranked[:3]}


def test_other_values_than_before_are_refused(tmp_path):
    search(tmp_path, trials=3)
    path = tmp_path / "0002" / "trial.json"
    content = json.loads(path.read_text())
    files.write_json(path, {"values": {**content["values"], "width": 77}})
    with pytest.raises(UserError, match=r"its trial 2 would have another width: \d, not 77"):
        search(tmp_path, trials=3)


def test_a_grid_that_has_no_end_is_refused(tmp_path):
    hp = keras_tuner.HyperParameters()
    for name in "abcde":
        hp.Float(name, 0, 1)
    with pytest.raises(UserError, match="the grid has more than 10,000 combinations"):
        search(tmp_path, "grid", hp, trials=None)
    study, _ = search(tmp_path, "grid", hp, trials=3)
    assert [t.values["e"] for t in study.trials] == pytest.approx([0.05, 0.15, 0.25])


def test_keras_tuner_still_cannot_resume_a_grid_and_writes_in_place(tmp_path):
    """Fails once keras-tuner is mended, issue 1055: then `tuning.oracles` can be simpler."""

    def build(tuner):
        return keras_tuner.oracles.GridSearchOracle(
            objective=keras_tuner.Objective("val_loss", "min"), hyperparameters=space("width")
        )

    oracle = build(None)
    oracle._set_project_dir(tmp_path, "grid")
    oracle.verbose = 0
    first = oracle.create_trial("tuner")
    again = build(None)
    again.verbose = 0
    again._set_project_dir(tmp_path, "grid")
    again.reload()
    with pytest.raises(KeyError):
        resumed = again.create_trial("tuner")
        again.update_trial(resumed.trial_id, {"val_loss": 1.0})
        resumed.status = "COMPLETED"
        again.end_trial(resumed)
        again.create_trial("tuner")
    assert first.trial_id == "0000"
    path = pathlib.Path(keras_tuner.src.utils.__file__).parent / "file_utils.py"
    assert not path.exists() or "os.replace" not in path.read_text()
