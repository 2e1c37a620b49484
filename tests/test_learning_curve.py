"""What twice the data would bring: parts of train, their trainings, the law, the report."""

import csv
import dataclasses
import json
import types

import numpy as np
import own
import pytest

from kpipe import Trainer, data, extrapolating, figures, files, report, tasks
from kpipe.datasets.splits import part_of
from kpipe.errors import RunError, UserError
from kpipe.measures import learning_curve as measures
from kpipe.measures.learning_curve import Point
from kpipe.tasks import classification, regression

OWN = '''"""Diabetes."""
from kpipe import Trainer, datasets, models

task = "regression"


def load_data(hp):
    return datasets.diabetes(val_fraction=0.2)


def build_model(hp):
    model = models.mlp((10,), 1, units=(4,), output="value")
    model.compile("adam", "mae", run_eagerly=True)  # no graph is traced
    return model


def build_trainer(hp):
    return Trainer(epochs=1, batch_size=512)
'''


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(measures, "DRAWS", 500)


# Parts of the train split.


@pytest.mark.parametrize("groups", [None, np.arange(200) // 4])
def test_a_smaller_part_is_within_a_larger_one_and_has_all_classes(groups):
    labels = np.array([0, 1, 1, 1, 2] * 40) if groups is None else np.arange(200) // 4 % 3
    parts = [part_of(labels, share, seed=5, groups=groups) for share in (0.1, 0.25, 0.5)]
    assert set(parts[0]) < set(parts[1]) < set(parts[2])
    for part, share in zip(parts, (0.1, 0.25, 0.5), strict=True):
        assert abs(len(part) - share * 200) <= (0 if groups is None else 3)
        expected = np.bincount(labels) * share
        assert abs(np.bincount(labels[part]) - expected).max() <= (1 if groups is None else 4)
        if groups is not None:  # whole groups
            assert len(part) == 4 * len(np.unique(groups[part]))
    assert not np.array_equal(parts[1], part_of(labels, 0.25, seed=6, groups=groups))


def test_a_rare_class_is_in_every_part_that_has_room_for_it():
    labels = np.array([0] * 97 + [1, 2, 2])
    assert set(labels[part_of(labels, 0.1, seed=0)]) == {0, 1, 2}


def test_a_part_leaves_val_and_test_as_they_are_and_is_what_the_scale_is_fitted_to(kpipe_home):
    x, y = own.blobs(200)
    splits = {"train": (x, y.astype("float32") * 7), "test": (x[:9], y[:9].astype("float32"))}
    dataset = own.dataset(splits, (), name="parts").with_scaled_targets()
    whole = data.prepare(dataset, dataset.fixed, seed=3)
    part = data.prepare(dataset, dataset.fixed, seed=3, fraction=0.25)
    assert part.examples == {"train": 40, "val": 40, "test": 9}
    assert (part.val.rows == whole.val.rows).all()
    assert set(part.train.rows) < set(whole.train.rows)
    assert part.targets.mean == pytest.approx(part.train.labels[part.train.rows].mean(), rel=1e-5)
    assert part.targets.mean != whole.targets.mean


def test_a_part_is_repeated_evenly_until_it_is_as_long_as_the_whole(kpipe_home):
    dataset = own.dataset(own.both(own.blobs))
    whole = data.prepare(dataset, dataset.fixed)
    part = dataclasses.replace(whole, splits={"train": whole.train.at(np.arange(7))})
    counts = np.unique(extrapolating.repeated(part, 24).train.rows, return_counts=True)[1]
    assert counts.tolist() == [4, 3, 4, 3, 4, 3, 3]
    same = extrapolating.repeated(whole, len(whole.train)).train.rows
    assert (same == whole.train.rows).all()


# The law.


def points_of(errors, seed=0, shares=(0.1, 0.25, 0.5, 1.0), n=1000):
    rows = np.arange(len(errors[0]))
    return [Point(seed, s, round(s * n), rows, e) for s, e in zip(shares, errors, strict=True)]


def test_the_law_is_a_line_on_logarithmic_scales():
    errors = [np.full(50, 3 * n**-0.5) for n in (100, 250, 500, 1000)]
    curve = measures.learning_curve(points_of(errors), shares=False)
    assert curve["exponent"]["value"] == pytest.approx(0.5)
    assert curve["twice"]["examples"] == 2000
    assert curve["twice"]["value"] == pytest.approx(3 * 2000**-0.5)
    assert curve["gain"]["value"] == pytest.approx(3 * (1000**-0.5 - 2000**-0.5))
    assert curve["back_test"]["value"] == pytest.approx(3 * 1000**-0.5)
    assert curve["back_test"]["low"] is None  # three trainings leave one degree of freedom
    assert curve["noise"] == pytest.approx(0, abs=1e-6)


def test_no_wrong_example_is_a_point_with_an_interval():
    curve = measures.learning_curve(points_of([np.zeros(30)] * 4), shares=True)
    for point in curve["points"]:
        assert point["value"] == point["low"] == 0 and 0.05 < point["high"] < 0.15
    assert curve["gain"]["low"] < 0 < curve["gain"]["high"]


def test_an_example_has_the_same_weight_in_all_trainings():
    alike = [(np.arange(400) < 100 * f).astype(float) for f in (1.6, 1.4, 1.2, 1.0)]
    apart = [np.random.default_rng(0).permutation(errors) for errors in alike]
    apart[-1] = alike[-1]
    spreads = []
    for errors in (alike, apart):
        drawn = measures._log_errors(points_of(errors), True, np.random.default_rng(0))
        spreads.append(np.std(drawn[:, 0] - drawn[:, -1]))
    assert spreads[0] < 0.7 * spreads[1]


@pytest.mark.parametrize(("seeds", "noise"), [(1, 0.1), (3, 0.05)])
def test_the_interval_contains_the_true_gain_as_often_as_it_says(monkeypatch, seeds, noise):
    monkeypatch.setattr(measures, "DRAWS", 300)
    rng, hits, tested = np.random.default_rng(1), 0, 0
    for _ in range(60):
        points = []
        for seed in range(seeds):
            shares = [0.3 * f**-0.3 * np.exp(noise * rng.normal()) for f in (0.1, 0.25, 0.5, 1)]
            luck = rng.random(300)
            points += points_of([(luck < share).astype(float) for share in shares], seed)
        curve = measures.learning_curve(points, True)
        hits += curve["gain"]["low"] <= 0.3 * (1 - 2**-0.3) <= curve["gain"]["high"]
        test = curve["back_test"]
        tested += seeds == 1 or test["holds"]
    assert hits >= 53 and tested >= 53  # 57 expected; below 53 in 3 of 100 series


# What it says.


def curve_of(errors, metric="accuracy", seeds=(0,), **options):
    points = [point for seed in seeds for point in points_of(errors, seed)]
    found = measures.learning_curve(points, metric == "accuracy")
    about = {"metric": metric, "seeds": list(seeds), "val_examples": 50, "left_out": []}
    return {**about, **found, **options}


def falling(count=2000):
    return [(np.arange(count) < count * 0.1 * f**-0.5).astype(float) for f in (0.1, 0.25, 0.5, 1)]


def test_the_gain_and_its_condition_are_one_sentence():
    gain, test, *_ = report.learning_curve_lines(curve_of(falling(), seeds=(0, 1)))
    assert gain.startswith("Twice the data (2,000 examples) would bring +2.9")
    assert gain.endswith("] points of val accuracy, if the curve goes on as it did.")
    assert test.startswith("Back-test: from the first 3 sizes it would have predicted 90.")
    assert test.endswith("at 100 %; measured 90.00 %.")


def test_a_flat_curve_and_a_failed_back_test_are_said_plainly():
    gain, *_ = report.learning_curve_lines(curve_of([falling()[2]] * 4))
    assert gain.startswith("The curve is flat: twice the data")
    few = [np.roll(errors[::40], 7 * i) for i, errors in enumerate([falling()[2]] * 4)]
    gain, *_ = report.learning_curve_lines(curve_of(few))
    assert gain.startswith("It cannot be told whether more data would help: twice the data")
    assert gain.endswith("; the interval contains 0.")
    plateau = [*falling()[:3], falling()[2] + (np.arange(2000) > 1500)]
    test, gain = report.learning_curve_lines(curve_of(plateau, seeds=(0, 1)))
    assert test.endswith(
        ": outside, so the law does not hold here, and neither does the extrapolation."
    )
    assert gain.startswith("By the law, which does not hold, twice the data (2,000 examples) would")


def test_the_back_test_compares_the_number_that_it_shows():
    levels = (0.4, 0.26, 0.19)
    for end in np.linspace(0.1, 0.2, 40):
        points = []
        for seed, worse in enumerate((0.6, 1.4)):  # their geometric mean is 0.92 times the mean
            errors = [np.full(50, level * (1 + 0.1 * seed)) for level in levels]
            points += points_of([*errors, np.full(50, end * worse)], seed)
        test = measures.learning_curve(points, shares=False)["back_test"]
        assert test["holds"] == (test["low"] <= test["measured"] <= test["high"])


def test_an_error_falls_in_its_unit():
    errors = [np.full(50, 3000 * n**-0.5) for n in (100, 250, 500, 1000)]
    curve = curve_of(errors, "mae")
    assert "would change the val MAE by -27.79 [" in report.learning_curve_lines(curve)[0]
    _, rows = report.learning_curve_table(curve)
    assert rows[-1][:2] == ("2,000", "200 %") and rows[-1][2].startswith("67.08 [")


def test_a_curve_in_a_notebook_is_its_table_and_what_it_says():
    from IPython.lib.pretty import pretty

    curve = extrapolating.LearningCurve(curve_of(falling()))
    lines = pretty(curve).splitlines()
    assert lines[0].startswith("training examples") and len(lines) < 12
    assert lines[6:] == ["", *report.learning_curve_lines(curve)]


def test_the_figure_shows_every_training_and_the_way_to_twice_the_data(tmp_path):
    run = types.SimpleNamespace(folder=tmp_path)
    assert figures.more_data(run) is None
    (tmp_path / report.LEARNING_CURVE).write_text(json.dumps(curve_of(falling(), seeds=(0, 1))))
    figure = figures.more_data(run)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log" and list(axes.get_xticks())[-1] == 2000
    assert axes.lines[1].get_linestyle() == "--" and axes.lines[1].get_xdata()[-1] > 1999
    assert len(axes.containers) == 2  # seeds
    assert figure.get_suptitle().startswith("Twice the data: error -2.9")


# The trainings.


@pytest.fixture
def mine(tmp_path, quick_runs):
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


def test_a_killed_curve_resumes_and_only_its_run_opens_test(mine, tmp_path, monkeypatch):
    fit, lengths, parts = Trainer.fit, [], []

    def third_fails(trainer, model, prepared, **options):
        lengths.append(len(prepared.train))
        parts.append(len(np.unique(prepared.train.rows)))
        if len(lengths) == 3:
            raise RunError("killed")
        return fit(trainer, model, prepared, **options)

    monkeypatch.setattr(Trainer, "fit", third_fails)
    opened = []
    measure = regression.measure
    monkeypatch.setattr(regression, "measure", lambda *a, **o: opened.append(1) or measure(*a, **o))
    with pytest.raises(RunError, match="killed"):
        extrapolating.learning_curve(mine, out=tmp_path)
    folder = tmp_path / "mine"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    curve = extrapolating.learning_curve(mine, out=tmp_path)
    whole = lengths[0]
    assert lengths == [whole] * 5  # the run, 10 %, 25 % (killed, then again), 50 %
    assert parts == [whole, *(round(share * whole) for share in (0.1, 0.25, 0.25, 0.5))]
    assert opened == [1]
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert changed <= {"manifest.json", "report.html"}
    # The run is the training on all examples.
    with open(folder / "history.csv") as file:
        best = min(csv.DictReader(file), key=lambda row: float(row["val_loss"]))
    assert curve["points"][-1]["value"] == pytest.approx(float(best["val_loss"]))
    assert files.read_json(folder / report.LEARNING_CURVE) == curve
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    assert {"learning_curve.json", "learning_curve.csv"} <= listed.keys()
    # A finished curve trains nothing, and an edited pipeline is refused.
    assert extrapolating.learning_curve(mine, out=tmp_path) == curve
    assert len(lengths) == 5
    mine.write_text(OWN.replace("units=(4,)", "units=(5,)"))
    with pytest.raises(UserError, match=r"contains a curve with different code"):
        extrapolating.learning_curve(mine, out=tmp_path)


@pytest.fixture
def untrained(monkeypatch):
    """Nothing is trained: which trainings a curve asks for."""
    asked = []

    def train(trial, prepared, folder, plan):
        asked.append((trial.seed, len(prepared.train), plan))
        return "trained"

    def errors(model, split):
        return split.rows % 10 + (1.0 if model == "trained" else 0.5)

    record = types.SimpleNamespace(weights_sha256="w", seed=0, plan="graph")
    run = types.SimpleNamespace(record=record, model="run")
    monkeypatch.setattr(extrapolating, "_train", train)
    monkeypatch.setattr(extrapolating, "report_again", lambda *_: None)
    monkeypatch.setattr(
        extrapolating, "Execution", lambda *_, **__: types.SimpleNamespace(run=lambda: run)
    )
    monkeypatch.setattr(regression, "errors", errors)
    return asked


def test_further_seeds_train_all_sizes_and_are_added_to_a_curve(mine, tmp_path, untrained):
    (tmp_path / "mine").mkdir()
    extrapolating.learning_curve(mine, out=tmp_path)
    assert [seed for seed, _, _ in untrained] == [0, 0, 0]
    extrapolating.learning_curve(mine, out=tmp_path, seeds=2)
    assert [seed for seed, _, _ in untrained[3:]] == [1, 1, 1, 1]
    assert {plan for _, _, plan in untrained} == {"graph"}  # that of the run


def test_a_run_that_has_seen_val_is_not_a_point(mine, tmp_path, untrained):
    (tmp_path / "mine,retrain=True").mkdir()
    extrapolating.learning_curve(mine, out=tmp_path, retrain=True)
    assert len(untrained) == 4


def experiment_of(splits, names=("a", "b", "c"), **options):
    dataset = own.dataset(splits, names, **options)
    return types.SimpleNamespace(
        name="mine",
        seed=0,
        dataset=dataset,
        source=dataset.fixed,
        task=classification,
        prepare=lambda: data.prepare(dataset, dataset.fixed, 0),
    )


def test_a_size_without_room_for_every_class_is_left_out(kpipe_home):
    names = tuple("abcdefghijkl")
    labels = np.arange(100) % 12
    x = own.blobs(100)[0]
    splits = {"train": (x, labels), "test": (x, labels)}
    kept, lines = extrapolating._fractions([experiment_of(splits, names, name="twelve")])
    assert kept == [0.25, 0.5, 1.0]
    assert lines == ["10 % (8 training examples) is left out: its labels have 8 of 12 values."]
    names, labels = tuple("abcdefghijklmnopqrst"), np.arange(60) % 20
    splits = {"train": (x[:60], labels), "test": (x[:60], labels)}
    many = experiment_of(splits, names, name="few", val_fraction=0.34)
    with pytest.raises(UserError, match="few: 39 training examples are too few for a learning"):
        extrapolating._fractions([many])


def test_what_has_no_val_or_no_labels_is_refused(kpipe_home):
    experiment = experiment_of(own.both(own.blobs), val_fraction=0.0)
    with pytest.raises(UserError, match=r"^mine has no val split, on which a learning curve is"):
        extrapolating._check(experiment)
    experiment.task = tasks.find("reconstruction")
    with pytest.raises(
        UserError, match=r"^mine learns no labels; a learning curve is for classifi"
    ):
        extrapolating._check(experiment)
