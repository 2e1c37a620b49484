"""Comparisons: tests on examples and over seeds, cells, what is trained, the page."""

import csv
import dataclasses
import html
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings

import keras
import numpy as np
import pytest
from scipy import stats
from studies import make_record, make_study

import kpipe
from kpipe import cli, comparing, files, report
from kpipe.errors import RunError, UserError, WriteError
from kpipe.experiments.running import open_experiment
from kpipe.figures import comparison as figures
from kpipe.measures import comparing as measures
from kpipe.records import Cell, DataRecord, Record, Run
from kpipe.records import comparing as records
from kpipe.records.record import ModelRecord, TargetRecord

# Measures.


def test_mcnemar_counts_examples_that_one_answers_rightly():
    first = np.array([True] * 9 + [False] * 1 + [True] * 5 + [False] * 5)
    second = np.array([False] * 9 + [True] * 1 + [True] * 5 + [False] * 5)
    test = measures.mcnemar(first, second)
    # Of 10 that differ 9 or more: (10 + 1) / 2**10, on both sides.
    assert test.p == pytest.approx(2 * 11 / 2**10)
    assert test.value == pytest.approx(8 / 20) and 0 < test.low < 0.4 < test.high <= 0.5
    turned = measures.mcnemar(second, first)
    assert turned[:3] == pytest.approx((-test.value, -test.high, -test.low))


@pytest.mark.parametrize(("ours", "theirs"), [(5, 0), (6, 0), (9, 2), (15, 5), (16, 5)])
def test_the_interval_of_mcnemar_excludes_0_exactly_if_p_is_small(ours, theirs):
    first = np.arange(40) < ours
    second = (np.arange(40) >= ours) & (np.arange(40) < ours + theirs)
    test = measures.mcnemar(first, second)
    assert (test.low > 0) == (test.p < 0.05)


def test_pairs_are_tested_by_students_t():
    first, second = [0.93, 0.95, 0.97], [0.92, 0.93, 0.94]
    test = measures.paired_seeds(first, second)
    # Differences 0.01, 0.02, 0.03: mean 0.02, deviation 0.01, t = 2 * sqrt(3), quantile 4.303.
    assert test.p == pytest.approx(stats.ttest_rel(first, second).pvalue)
    assert test.p == pytest.approx(0.0742, abs=1e-4)
    assert test.value == pytest.approx(0.02)
    assert test.high == pytest.approx(0.02 + 4.3027 * 0.01 / 3**0.5, abs=1e-5)
    assert measures.paired_seeds(first[:2], second[:2]).p is None  # too few
    assert measures.paired_examples(np.array(first), np.array(second)).p == pytest.approx(test.p)
    mean = measures.mean_over_seeds([0.90, 0.92, 0.94])
    assert mean["low"] == pytest.approx(0.92 - 4.3027 * 0.02 / 3**0.5, abs=1e-5)
    assert measures.mean_over_seeds([0.9])["low"] is None


def test_what_has_no_spread_is_tested_without_warnings():
    right, wrong = np.ones(4, bool), np.zeros(4, bool)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for same in (right, wrong):
            assert measures.mcnemar(same, same)[:4] == (0, 0, 0, 1)
        assert measures.paired_seeds([0.5] * 3, [0.5] * 3)[:4] == (0, 0, 0, 1)
        test = measures.paired_seeds([0.8, 0.9, 0.7], [0.7, 0.8, 0.6])  # 0.1, but for rounding
        assert test[1:4] == (None, None, 0.25) and test.name == "sign test"
        infinite = np.array([np.inf, 1.0])
        assert measures.paired_examples(infinite, infinite).p is None
        assert measures.paired_examples(np.ones(1), np.zeros(1)).p is None


def test_holm_multiplies_by_the_number_of_tests_that_are_left():
    assert measures.holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert measures.holm([0.6, 0.7]) == [1.0, 1.0] and measures.holm([]) == []


def test_an_example_contributes_to_the_metric_of_its_task():
    labels = np.array([0, 1])
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2]])
    found = measures.per_example("roc_auc", {"label": labels, "probabilities": probabilities})
    assert found.metric == "accuracy" and found.values.tolist() == [True, False]
    several = {"label": np.array([[1, 0], [0, 0]]), "probabilities": probabilities}
    assert measures.per_example("accuracy", several).values.tolist() == [1.0, 0.5]
    one = measures.per_example("accuracy/a", several, ("a", "b"))
    assert one.metric == "accuracy/a" and one.values.tolist() == [True, False]
    values = {"label": np.array([1.0, 2.0]), "value": np.array([1.5, 1.0])}
    assert measures.per_example("r2", values).values.tolist() == [0.5, 1.0]
    images = {"label": labels, "psnr": np.array([20.0, 30.0]), "right": np.array([True, False])}
    assert measures.per_example("ssim", images).metric == "psnr"
    assert measures.per_example("unsupervised_accuracy", images).values.dtype == bool
    assert measures.per_example("psnr", {"label": labels}) is None


# Cells and pairs, of runs in memory.


def make_run(seed=0, accuracy=0.9, *, metric="accuracy", right=None, n=200, folder=None, **keys):
    """A run of a classifier with two keys, whose test answers have this accuracy."""
    overrides = {"optimizer": "sgd"} | keys
    labels = np.arange(n) % 2
    right = np.arange(n) < round(accuracy * n) if right is None else right
    answers = np.where(right, labels, 1 - labels)
    record = Record(
        pipeline="mine",
        task="classification",
        headline=metric,
        overrides=overrides,
        hyperparameters={"optimizer": "sgd", "width": 8, **keys},
        trainer={"epochs": keys.get("epochs", 3), "monitor": "val_loss"},
        seed=seed,
        training_sha256="c0de",
        data=DataRecord(name="blobs", kind="own", label_names=("a", "b")),
        model=ModelRecord(name="mlp", parameters=1234, trainable_parameters=1234),
    )
    epochs = 3 + seed
    return Run(
        name="mine",
        folder=pathlib.Path(folder or f"saved_models/mine{sorted(keys.items())}{seed}"),
        record=record,
        metrics={metric: {"value": float(accuracy), "low": accuracy - 0.05, "high": 1.0, "n": n}},
        history={
            "epoch": list(range(1, epochs + 1)),
            "seconds": [2.0] * epochs,
            "val_accuracy": list(np.linspace(0.5, accuracy, epochs)),
        },
        _predictions={"index": np.arange(n), "label": labels, "probabilities": np.eye(2)[answers]},
    )


def compare(*runs, to=None):
    return records.compare(records.group(runs), to)


def test_runs_are_grouped_by_what_differs_except_the_seed():
    runs = [make_run(0), make_run(1), make_run(0, optimizer="adam"), make_run(0, width=16)]
    cells = records.group(runs)
    names = ["optimizer=sgd, width=8", "optimizer=adam, width=8", "optimizer=sgd, width=16"]
    assert [cell.name for cell in cells] == names
    assert list(cells[0].runs) == [0, 1]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"training_sha256": "0ther"}, ["code=c0de", "code=0ther"]),
        ({"dtype_policy": "mixed_float16"}, ["dtype_policy=float32", "dtype_policy=mixed_float16"]),
        ({"callbacks": ["Mine"]}, ["callbacks=[]", "callbacks=['Mine']"]),
        ({"data.fingerprint": "ab" * 32}, ["data=", "data=abababab"]),
        ({"versions": {"keras": "9.9"}}, ["all runs"]),
    ],
)
def test_runs_of_other_code_or_data_are_no_seeds_of_the_same_cell(change, names):
    other = make_run(1)
    for path, value in change.items():
        target, _, name = path.rpartition(".")
        setattr(other.record.data if target else other.record, name, value)
    found = compare(make_run(0), other)
    assert [cell.name for cell in found.cells] == names
    assert ("Versions differ: keras 9.9." in found.notes) == ("versions" in change)


def test_runs_that_cannot_be_compared_are_refused_with_the_difference():
    with pytest.raises(UserError, match="has the settings and the seed 0 of"):
        records.group([make_run(), make_run(folder="copy")])
    with pytest.raises(UserError, match="is given twice"):
        records.group([make_run(), make_run()])
    for change, said in (
        ({"data": DataRecord(name="blobs", kind="sample")}, r"its data: blobs \(sample\); of"),
        ({"data": DataRecord(name="blobs", kind="own", label_names=("x",))}, "its labels: x; of"),
        ({"task": "regression"}, "its task: regression; of the other: classification"),
    ):
        other = make_run(width=16)
        other.record = dataclasses.replace(other.record, **change)
        with pytest.raises(UserError, match=said):
            records.group([make_run(), other])


def test_three_seeds_are_tested_over_seeds_and_corrected_for_all_pairs():
    accuracies = {
        "sgd": (0.80, 0.81, 0.79),
        "adam": (0.90, 0.92, 0.90),
        "rmsprop": (0.91, 0.9, 0.9),
    }
    runs = [make_run(s, a, optimizer=o) for o, of in accuracies.items() for s, a in enumerate(of)]
    found = compare(*runs)
    assert [found.cells[i].name for i in found.ranked] == [
        f"optimizer={name}" for name in ("adam", "rmsprop", "sgd")
    ]
    kinds = {(pair.first, pair.second): (pair.kind, pair.differ) for pair in found.pairs}
    over = "over seeds"
    assert kinds == {(1, 2): (over, False), (1, 0): (over, True), (2, 0): (over, True)}
    lead, same, better, _ = report.comparison_lines(found)
    assert lead == "optimizer=adam has the best mean; it cannot be told from optimizer=rmsprop."
    assert same.startswith("optimizer=adam and optimizer=rmsprop are not distinguishable: accuracy")
    assert better.startswith("optimizer=adam is better than optimizer=sgd: accuracy +10.67 [+")
    assert "points over 3 seeds, p = 0.00" in better and "correction for 3 pairs" in better


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.8, "is better than"), (0.89, "not disting")])
def test_one_seed_is_tested_on_its_examples_and_says_that_noise_is_unknown(accuracy, verdict):
    found = compare(make_run(), make_run(accuracy=accuracy, width=16))
    pair, note = report.comparison_lines(found)
    assert verdict in pair and "on 200 test examples, p " in pair and "McNemar" in pair
    assert note == "Seed noise is unknown: each has one seed; --seeds 3 measures it."
    other = compare(make_run(), make_run(1, accuracy=accuracy, width=16))  # no seed in common
    assert report.comparison_lines(other)[0] == pair


def test_two_seeds_must_both_show_the_difference():
    def of(*accuracies):
        return [make_run(s, a, width=16) for s, a in enumerate(accuracies)]

    base = [make_run(0), make_run(1)]
    assert compare(*base, *of(0.7, 0.7)).pairs[0].differ
    assert not compare(*base, *of(0.7, 0.9)).pairs[0].differ
    turned = compare(*base, *of(0.7, 0.99))
    assert turned.pairs[0].corrected == 1
    assert "with each of 2 seeds" in report.sentence(turned, turned.pairs[0])
    assert turned.notes == ["Two seeds are too few for a test over seeds: --seeds 3."]


@pytest.mark.parametrize(
    ("seeds", "said"),
    [((0,), "Seed noise is unknown of two that have one seed"), ((0, 1), "Two seeds are too few")],
)
def test_fewer_seeds_of_one_cell_are_said(seeds, said):
    found = compare(*map(make_run, range(3)), *(make_run(s, 0.8, width=16) for s in seeds))
    assert found.pairs[0].kind == "within seeds" and found.notes[0].startswith(said)


def test_other_test_examples_are_compared_by_their_values_only():
    runs = [make_run(s, 0.9) for s in range(3)]
    runs += [make_run(s, 0.5, width=16, n=100) for s in range(3)]
    found = compare(*runs)
    assert not found.pairs[0].differ and found.pairs[0].corrected is None
    said = report.sentence(found, found.pairs[0])
    assert said == (
        "width=8 and width=16 are not tested: their test examples differ, so that only the values "
        "can be compared (90.00 % and 50.00 %)."
    )


def test_an_error_that_falls_is_better():
    runs = []
    for width, values in ((8, (3.0, 3.1, 3.2)), (16, (2.0, 2.1, 2.3))):
        for seed, value in enumerate(values):
            run = make_run(seed, value, metric="mae", right=np.ones(200, bool), width=width)
            run.record.target = TargetRecord(metric="mae", at_most=1.0)
            runs.append(run)
    found = compare(*runs)
    assert not found.rises and found.ranked == [1, 0]
    said = report.sentence(found, found.pairs[0])
    assert said.startswith("width=16 is better than width=8: MAE -0.9667 [-1.1")


def test_the_best_mean_is_not_called_better_than_what_is_better_by_what_is_tested():
    runs = [make_run(0, 0.9 - i / 100, metric="r2", width=i) for i in range(3)]
    for run, error in zip(runs, (3.0, 1.0, 4.0), strict=True):
        run._predictions = {"index": np.arange(200), "label": np.zeros(200)}
        run._predictions["value"] = error + np.linspace(0, 0.1 * error, 200)
    lead, turned, better, *_ = report.comparison_lines(compare(*runs))
    assert lead == "width=0 has the best mean, but width=1 is better by what is tested, see below."
    assert turned.startswith("width=1 is better than width=0: MAE -2.1000 [-2.1")
    assert better.startswith("width=0 is better than width=2: MAE -1.0500 [-1.0")


@pytest.mark.parametrize(
    ("up", "metrics"),
    [(True, "val_accuracy val_auc psnr r2"), (False, "val_loss val_mean_absolute_error bound mae")],
)
def test_the_direction_of_a_metric_follows_from_its_name(up, metrics):
    assert all(records.rises(metric) == up for metric in metrics.split())


def test_the_time_to_a_value_is_that_of_the_first_epoch_that_reaches_it():
    found = compare(make_run(0), make_run(0, 0.8, width=16))
    assert (found.curve, found.threshold) == ("val_accuracy", pytest.approx(0.88))
    assert [found.time_to(run) for _, _, run in found.runs] == [6.0, None]
    found = compare(make_run(0), make_run(0, 0.8, width=16), to=0.6)
    assert [found.time_to(run) for _, _, run in found.runs] == [4.0, 4.0]
    bare = make_run(width=16)
    bare.history = {}
    with pytest.raises(UserError, match=r"--to 0\.6: these runs have no curve in common"):
        compare(make_run(), bare, to=0.6)
    assert not compare(make_run(), bare).curve


@pytest.mark.parametrize(
    ("key", "column", "said"),
    [("beta", "val_loss", True), ("beta", "val_accuracy", False), ("width", "val_loss", False)],
)
def test_times_to_a_value_of_another_loss_are_said_to_say_nothing(key, column, said):
    runs = [make_run(**{key: 1}), make_run(**{key: 4})]
    for run in runs:
        run.history[column] = run.history.pop("val_accuracy")
    assert any(f"The loss depends on {key}: its" in n for n in compare(*runs).notes) == said


def test_the_duration_of_an_epoch_is_not_that_of_the_first_which_compiles(tmp_path):
    run = make_run()
    run.history["seconds"] = [9.0, 2.0, 3.0]
    found = compare(run, make_run(1))
    assert [row["seconds_per_epoch"] for row in report.comparison_rows(found, tmp_path)] == [2.5, 2]
    assert found.cells[0].epoch_seconds == 2.25
    assert found.time_to(run) == 14  # but that of the training is whole
    run.history["seconds"] = [None, 2.0, 3.0]
    assert found.time_to(run) is None and report.comparison_rows(found, tmp_path)


def test_of_many_pairs_the_terminal_has_those_of_the_best():
    found = compare(*(make_run(0, 0.9 - 0.02 * i, width=i) for i in range(6)))
    assert len(found.pairs) == 15
    lines = report.comparison_lines(found)
    assert len(lines) == 1 + 5 + 2 and "10 other pairs are on the page." in lines
    assert len(report.comparison_lines(found, every=True)) == 1 + 15 + 1


# The page.


def test_the_page_has_every_cell_pair_run_and_failure(tmp_path):
    runs = [make_run(s, 0.9 - 0.01 * s - w, width=w) for s in range(3) for w in (0, 0.2)]
    cells = records.group(runs)
    cells.append(Cell(keys={"width": 99}, failed={0: "loss is <NaN>", 1: "loss is <NaN>"}))
    found = records.compare(cells)
    page = report.write_comparison(found, tmp_path, "kpipe run mine --compare").read_text()
    assert page.count("data:image/png") == 3 and "kpipe" in page
    assert "<td>width=<wbr>0.2</td>" in page and "<td>1,234</td>" in page
    page = page.replace("<wbr>", "")
    parts = ("width=0", "width=0.2", "loss is &lt;NaN&gt;", "width=0.2, seed 2", "Holm")
    for part in (*parts, "p with seed 0, 1, 2", ">&lt;\N{NO-BREAK SPACE}0.001, &lt;"):
        assert part in page, part
    head, rows = report.comparison_table(found)
    assert [row[0] for row in rows] == ["width=0", "width=0.2", "width=99"]
    assert rows[0][1:4] == ("3", "89.00 % [86.52, 91.48]", "1,234") and rows[0][4] == "3–5"
    assert rows[2][1:3] == ("0", "failed")
    assert found.notes[-1] == "Failed: width=99, seeds 0, 1: loss is <NaN>."
    assert head[6] == "time to 88.00 % val accuracy" and rows[1][6] == "never"
    lines = report.comparison_rows(found, tmp_path)
    assert [line["seed"] for line in lines] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert lines[-1] == {"width": 99, "seed": 1, "error": "loss is <NaN>"}


def test_the_page_names_the_seeds_of_each_pair_that_has_others(tmp_path):
    runs = [
        make_run(s, 0.9 - w, width=w)
        for w, seeds in ((0, 3), (0.2, 3), (0.4, 2))
        for s in range(seeds)
    ]
    page = report.write_comparison(compare(*runs), tmp_path, "kpipe run mine --compare").read_text()
    assert "p by seed" in page and ">0: &lt;\N{NO-BREAK SPACE}0.001, 1: &lt;" in page


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"kind": "sample"}, "SAMPLE DATA: these numbers show that the code runs"),
        ({"kind": "real", "official": False}, "NOT THE OFFICIAL DATA: these data are not blobs as"),
        ({"kind": "real", "official": True}, ""),
        ({"kind": "own", "official": False}, ""),
    ],
)
def test_pages_and_terminal_say_whether_the_data_are_the_official_ones(tmp_path, about, said):
    runs = make_run(), make_run(width=16)
    for run in runs:
        run.record.data = dataclasses.replace(run.record.data, **about)
    found = compare(*runs)
    pages = [
        report.write_comparison(found, tmp_path, ""),
        report.write_search(make_study(2), make_record(data={"name": "blobs", **about}), tmp_path),
    ]
    for page in pages:
        body = page.read_text().partition("<body>")[2]
        text = " ".join(html.unescape(re.sub("<[^>]+>", "", body)).split())
        assert said in text and (said != "") == (" DATA: these" in text), page
    shown = repr(comparing.Compared(**vars(found), folder=tmp_path))
    assert said in shown and (said != "") == (" DATA: these" in shown)


@pytest.mark.parametrize(
    ("keys", "label"),
    [
        ({"optimizer": "adam", "learning_rate": 0.1}, "optimizer=adam,\nlearning_rate=0.1"),
        ({"optimizer": "adam", "width": 9}, "optimizer=adam, width=9"),
        (
            {"optimizer": "adam", "momentum": 0.9, "learning_rate": 0.1},
            "optimizer=adam,\nmomentum=0.9,\nlearning_rate=0.1",
        ),
    ],
)
def test_a_long_name_of_a_cell_is_broken_between_its_keys(keys, label):
    others = {"optimizer": "sgd", "learning_rate": 1, "momentum": 0, "width": 1}
    found = compare(make_run(**keys), make_run(accuracy=0.8, **{k: others[k] for k in keys}))
    dots = figures.metric_by_cell(found).axes[0]
    assert dots.get_yticklabels()[0].get_text() == label


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("", ["embeddings=", "embeddings=new.txt"]),  # an empty label says nothing
        ("_old/vectors.txt", ["_old/vectors.txt", "new.txt"]),
    ],
)
def test_every_value_has_a_label(path, names):
    found = compare(make_run(embeddings=path), make_run(accuracy=0.8, embeddings="new.txt"))
    curves = figures.curves_by_epoch(found).axes[0].get_legend()
    assert [text.get_text() for text in curves.get_texts()] == names
    dots = figures.metric_by_cell(found).axes[0]
    assert dots.get_yticklabels()[0].get_text().replace("\n", "") == names[0]


def test_a_key_with_the_name_of_a_column_is_kept_in_the_table(tmp_path):
    found = compare(make_run(epochs=9), make_run(epochs=20))
    rows = report.comparison_rows(found, tmp_path)
    assert [(row["epochs"], row["epochs_trained"]) for row in rows] == [(9, 3), (20, 3)]


def test_figures_show_every_seed_and_have_colours_for_the_best():
    many = compare(*(make_run(s, 0.9 - 0.02 * i, width=i) for i in range(9) for s in range(2)))
    axes = figures.curves_by_epoch(many).axes[0]
    assert len(axes.lines) == 18
    assert [len(line.get_xdata()) for line in axes.lines[:2]] == [3, 4]  # of any length
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == [*"0123456", "others"]
    assert axes.get_legend().get_title().get_text() == "width"
    dots = figures.metric_by_cell(many).axes[0]
    assert dots.get_yticklabels()[0].get_text() == "0"
    bare = make_run(width=16)
    bare.history = {}
    found = compare(make_run(), bare)
    assert figures.curves_by_epoch(found) is None and figures.curves_by_seconds(found) is None


# What is trained.


def fabricate(run, folder, **changes):
    """Copies a finished run, with another record."""
    shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("serving", "figures"))
    record = dataclasses.replace(run.record, **changes)
    files.write_json(folder / "run.json", record.to_json())
    kept = [path for path in folder.rglob("*") if path.name != "manifest.json"]
    files.write_manifest(folder, kept, format_version=record.format_version)
    return kpipe.open_run(folder)


@pytest.fixture
def no_figures(monkeypatch):
    """Pages without figures, to save time."""
    monkeypatch.setattr("kpipe.report.comparison._DRAWN", ())


KEYS = {"data": "sample", "epochs": 3, "num_layers": 1}


def test_what_is_finished_is_not_trained_and_what_fails_is_a_row(
    finished_run, tmp_path, monkeypatch, capsys, no_figures
):
    shutil.copytree(finished_run.folder, tmp_path / finished_run.folder.name)
    trained = []

    def run(name, *, seed, out, units_1, **options):
        trained.append((units_1, seed))
        if units_1 == 32:
            raise RunError("the loss is NaN")
        folder = tmp_path / f"{units_1},{seed}"
        return fabricate(finished_run, folder, seed=seed, overrides={"units_1": units_1})

    monkeypatch.setattr(comparing, "run", run)
    found = kpipe.compare("mnist_mlp", units_1="32,64,16", seeds=2, out=tmp_path, **KEYS)
    assert trained == [(32, 0), (16, 0), (32, 1), (64, 1), (16, 1)]
    assert found.failed and found.cells[0].failed == dict.fromkeys((0, 1), "the loss is NaN")
    assert [sorted(cell.runs) for cell in found.cells] == [[], [0, 1], [0, 1]]
    out = capsys.readouterr().out
    assert "2 of 6: units_1=64, seed 0: 8" in out and "% (finished before)" in out
    assert "4 of 6: units_1=32, seed 1: failed: the loss is NaN" in out
    assert "units_1=64 and units_1=16 are not distinguishable" in out.replace("\n", " ")
    with open(found.folder / "comparison.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["units_1"] for row in rows] == ["64", "64", "16", "16", "32", "32"]
    assert (found.folder / rows[0]["folder"] / "run.json").is_file()
    content = json.loads((found.folder / "comparison.json").read_text())
    assert content["status"] == "incomplete" and len(content["runs"]) == 4
    assert cli.main(["runs", "--out", str(tmp_path)]) == 0
    assert "comparison, " in capsys.readouterr().out

    def full(*arguments, **options):
        raise WriteError("the disk is full")

    monkeypatch.setattr(comparing, "run", full)
    with pytest.raises(WriteError):  # no cell's fault
        kpipe.compare("mnist_mlp", units_1="32,64", out=tmp_path, **KEYS)
    monkeypatch.setattr(comparing, "run", lambda name, **options: run(name, **options))
    with pytest.raises(RunError, match="none of 2 runs succeeded: the loss is NaN"):
        kpipe.compare("mnist_mlp", units_1=32, seeds=2, out=tmp_path, **KEYS)


def test_finished_runs_are_compared_in_a_folder_that_no_other_comparison_has(
    finished_run, tmp_path, monkeypatch, capsys, no_figures
):
    monkeypatch.chdir(tmp_path)
    a = fabricate(finished_run, tmp_path / "a")
    b = fabricate(finished_run, tmp_path / "b", overrides={"units_1": 32})
    b.record.hyperparameters["units_1"] = 32
    c = fabricate(finished_run, tmp_path / "c", seed=1)
    first = kpipe.compare([a, b])
    assert first.folder == pathlib.Path("saved_models/comparison")
    assert "not distinguishable" in repr(first)
    assert kpipe.compare([a, c]).folder.name == "comparison-2"
    assert kpipe.compare([b, a]).folder == first.folder  # the same again
    assert cli.main(["compare", "a", "c", "--out", "mine", "--to", "0.5"]) == 0
    capsys.readouterr()
    assert cli.main(["compare", "a", "c", "--out", "a"]) == 2
    assert "a exists and is not a comparison of these runs" in capsys.readouterr().err


def build(hp):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, "softmax")])
    model.compile(kpipe.optimizers.from_hyperparameters(hp, "sgd", learning_rate=0.1), "mse")
    return model


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"optimizer": "sgd_momentum,adam", "momentum": "0.8"}, ["sgd_momentum", "adam"]),
        (
            {"optimizer": "adam,sgd_momentum", "momentum": "0.7,0.8"},
            ["adam", "sgd_momentum, momentum=0.7", "sgd_momentum, momentum=0.8"],
        ),
    ],
)
def test_a_key_without_effect_is_left_out_of_a_cell(given, names):
    pipeline = {
        "task": "classification",
        "load_data": lambda hp: kpipe.datasets.truth_table("and"),
        "build_model": build,
        "build_trainer": lambda hp: kpipe.Trainer(),
    }
    opened = open_experiment(pipeline, given, data="auto", data_dir=None, seed=0, several=True)
    cells, trials = comparing._cells(opened, given, 1)
    assert [cell.name for cell in cells] == [f"optimizer={name}" for name in names]
    keys = {trial.cell.name: trial.experiment.settings.overrides for trial in trials}
    assert keys["optimizer=adam"] == {"optimizer": "adam"}
    assert {"optimizer": "sgd_momentum", "momentum": 0.8} in keys.values()


def test_mistakes_are_told_before_anything_is_trained(finished_run, tmp_path):
    with pytest.raises(UserError, match="--compare: nothing to compare; give a key several"):
        kpipe.compare("mnist_mlp", data="sample", out=tmp_path)
    from pipelines import logic_gates

    with pytest.raises(UserError, match="--jobs: a pipeline or data in memory cannot be sent"):
        kpipe.compare(logic_gates, seeds=2, jobs=2, out=tmp_path)
    with pytest.raises(UserError, match="1 run given; expected two or more"):
        kpipe.compare([finished_run])
    with pytest.raises(UserError, match="give no keys, seeds or jobs"):
        kpipe.compare([finished_run, finished_run], seeds=3)
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_a_killed_comparison_goes_on_with_what_is_missing(tmp_path):
    words = "run logic_gates hidden_units=0,4 epochs=4 --compare --seeds 2 --out".split()
    code = "import sys; from kpipe import cli; sys.exit(cli.main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *words, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("3 of 4"):  # begins
                time.sleep(0.5)
                os.kill(process.pid, signal.SIGKILL)
                break
    manifests = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/manifest.json")}
    assert len(manifests) == 2
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("(finished before)") == 2
    assert "hidden_units=4 and hidden_units=0" in done.stdout or "is better" in done.stdout
    for path, written in manifests.items():
        assert path.stat().st_mtime_ns == written
    assert len(list(tmp_path.glob("*/run.json"))) == 4
