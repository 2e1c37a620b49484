"""What a search shows: its page, its figures, and TensorBoard's HParams."""

import dataclasses
import math
import re

import numpy as np
import pytest
from studies import make_record, make_study

from kpipe.figures import search as figures
from kpipe.measures.importance import Importance
from kpipe.records import write_hparams
from kpipe.records.study import TrialRecord
from kpipe.report import search as report
from kpipe.report.search_words import end_of_range, refit, sentences

UNKNOWN = Importance({}, None)


@pytest.fixture(scope="module")
def study():
    """A finished search of three keys, one of them conditional."""
    study = make_study(14, keys=3, failed=0.2)
    value = study.ranked[0].value
    study.refit = {"how": "retrain", "folder": "out/mine x", "run": value - 0.001, "trial": value}
    return study


@pytest.fixture(scope="module")
def written(study, tmp_path_factory):
    place = tmp_path_factory.mktemp("place")
    there, folder = place / "there", place / "searched"
    there.mkdir()
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(there)
        return report.write_search(study, make_record(), folder)


@pytest.fixture
def page_of(tmp_path, monkeypatch):
    """Writes a page without figures."""
    monkeypatch.setattr(report, "PLOTS", ())

    def write(study, **about):
        return report.write_search(study, make_record(**about), tmp_path).read_text()

    return write


def changed(study, number, **changes):
    trials = [dataclasses.replace(t, **changes) if t.trial == number else t for t in study.trials]
    return dataclasses.replace(study, trials=trials)


def words(page):
    """The text of a page, with plain spaces."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).replace("\N{NO-BREAK SPACE}", " ").split())


# The page.


def test_a_page_is_one_file_that_needs_nothing(written):
    page = written.read_text()
    assert "<script" not in page and "http:" not in page and "https:" not in page
    drawn = {path.name for path in (written.parent / "figures").iterdir()}
    assert drawn == {f"{plot.__name__}.png" for plot in report.PLOTS}
    assert page.count("data:image/png") == 4


def test_the_best_trial_and_the_run_that_was_made_of_it_come_first(written, study):
    page, best = words(written.read_text()), study.ranked[0]
    assert best.trial == study.best
    assert f"{100 * best.value:.2f} %" in page and f"trial {best.trial} of 14" in page
    run = f"{100 * (best.value - 0.001):.2f} %"
    assert f"its val accuracy is {run}, the trial had {100 * best.value:.2f} %" in page
    assert 'href="../there/out/mine%20x/report.html"' in written.read_text()
    assert "NOT FINISHED" not in page and "SAMPLE" not in page


def test_the_table_has_all_completed_trials_best_first_and_the_failed_ones_their_reason(written):
    page = written.read_text()
    table = page.partition("<h2>Trials</h2>")[2].partition("<h2>Space</h2>")[0]
    best, failed = table.split("<h2>Failed trials</h2>")
    values = [float(v) for v in re.findall(r"<td>([\d.]+)\s%", best)]
    assert values == sorted(values, reverse=True) and len(values) + failed.count("<tr>") - 1 == 14
    assert "the loss is not a number" in failed


def test_a_search_that_is_not_finished_says_so(study, page_of):
    going = dataclasses.replace(study, refit={}, trials=[*study.trials, TrialRecord(trial=15)])
    page = words(page_of(going, data={"kind": "sample", "get_real": "kpipe run mine --data real"}))
    assert "14 trials have ended, trial 15 is not finished; no run was made" in page
    assert page.index("SAMPLE DATA") < page.index("NOT FINISHED") < page.index("kpipe run mnist")


def test_a_search_without_a_completed_trial_has_a_page(page_of):
    page = words(page_of(make_study(3, failed=1)))
    assert "No trial was completed" in page and "3 failed" in page


def test_a_value_that_is_no_number_is_a_failed_trial(study, page_of):
    page = words(page_of(changed(study, study.best, value=math.nan)))
    assert "its objective is not a number" in page.partition("Failed trials")[2]
    assert f"Values of trial {study.best}" not in page


def test_everything_from_outside_is_escaped(study, page_of):
    odd = changed(study, study.best, values={"optimizer": "<b>a&b"})
    odd = changed(odd, next(t.trial for t in odd.trials if t.error), error="<i>why</i>")
    page = page_of(odd, command="kpipe run <u>mine</u>", title="<s>")
    assert not re.search("<[bius]>", page) and "&lt;b&gt;a&amp;b" in page


def test_a_table_ends_where_it_would_be_too_long(study, page_of, monkeypatch):
    monkeypatch.setattr(report, "SHOWN", 5)
    page = page_of(study)
    count = sum(trial.value is not None for trial in study.trials)
    assert f"The first 5 of {count}; all are in trials.csv." in words(page)
    assert page.count('<th scope="row">5<') == 1 and '<th scope="row">6<' not in page


# What it says.


def test_trials_that_chance_could_exchange_are_said_to_be_so(study):
    first, second, third, *_ = (trial.trial for trial in study.ranked)
    near = changed(study, second, low=0.9, high=1.0)
    assert f"{first} is not distinguishable from trial {second}:" in next(sentences(near, UNKNOWN))
    both = changed(near, third, low=0.9, high=1.0)
    assert f"from trials {second} and {third}:" in next(sentences(both, UNKNOWN))
    best = study.ranked[0]
    apart = changed(study, first, value=best.value + 1, low=best.value + 0.9)
    assert "stands out" in next(sentences(apart, UNKNOWN))
    assert "no intervals" in next(sentences(changed(study, first, low=None), UNKNOWN))


@pytest.mark.parametrize(
    ("words", "scale", "value", "expected"),
    [
        ("1e-05 to 1", "log", 0.9, "upper"),
        ("1e-05 to 1", "log", 0.2, ""),
        ("8 to 2,048", "linear", 2000, "upper"),
        ("8 to 2,048", "linear", 8, "lower"),
        ("0 to 0.8", "linear", 0.0, ""),  # less is impossible
        ("0.0, 0.1, 0.2", "choice", 0.2, "upper"),
        ("32, 64, 128", "choice", 32, "lower"),
        ("32, 64", "choice", 64, ""),  # one of two is always at an end
        ("adam, sgd, sgd_momentum", "choice", "adam", ""),
        ("true, false", "choice", True, ""),
    ],
)
def test_a_best_value_at_the_end_of_a_range_is_seen(words, scale, value, expected):
    study = dataclasses.replace(make_study(0), space={"key": words}, scales={"key": scale})
    assert end_of_range(study, "key", value) == expected


def test_a_range_is_to_be_widened_only_if_its_key_matters(study):
    edge = changed(study, study.best, values={"learning_rate": 0.99, "optimizer": "adam"})
    said = "learning_rate is at the upper end of its range in the best trial, 0.99 (range: 1e-05"
    for importance, expected in (
        (UNKNOWN, True),
        (Importance({"learning_rate": (0.5, 0.1)}, 0.4), True),
        (Importance({"learning_rate": (0.1, 0.1)}, 0.4), False),
    ):
        assert (said in " ".join(sentences(edge, importance))) is expected


@pytest.mark.parametrize(
    ("r2", "expected"), [(None, "at least 10"), (-0.2, "explains nothing"), (0.6, "explains 60 %")]
)
def test_importance_is_told_only_where_it_is_known(study, r2, expected):
    assert expected in [*sentences(study, Importance({}, r2))][-1]


def test_a_refit_that_saw_val_says_so(study):
    both = dataclasses.replace(study, refit=study.refit | {"how": "train+val"})
    assert "on train and val); its val accuracy before val was added is 97.20 %" in refit(both)
    both.refit["run"] = None
    assert refit(both).endswith(
        f"the trial had a val accuracy of {100 * study.ranked[0].value:.2f} %"
    )


# Figures.


@pytest.mark.parametrize(("objective", "best"), [("val_loss", min), ("val_accuracy", max)])
def test_the_best_so_far_is_a_line_that_never_gets_worse(objective, best):
    study = make_study(8, keys=1, failed=0.3, objective=objective)
    (axes,) = figures.best_so_far(study).axes
    line = next(line for line in axes.lines if line.get_label() == "best so far")
    values = [trial.value for trial in study.trials if trial.value is not None]
    expected = [best(values[: i + 1]) for i in range(len(values))]
    assert np.allclose(line.get_ydata(), [*expected, expected[-1]])
    failed = next(dots for dots in axes.collections if dots.get_label() == "failed")
    assert len(failed.get_offsets()) == 8 - len(values) > 0


def test_a_diverged_trial_does_not_flatten_the_others():
    study = changed(make_study(8, keys=1, failed=0, objective="val_loss"), 3, value=1e9)
    (axes,) = figures.best_so_far(study).axes
    assert axes.get_ylim()[1] < 3 and "(1 beyond the edge)" in axes.get_ylabel()


def test_the_most_important_keys_are_drawn_first_with_their_importance():
    study = make_study(6, keys=2, failed=0)
    importance = Importance({"optimizer": (0.5, 0.1), "learning_rate": (-0.1, 0.0)}, 0.5)
    titles = [
        axes.get_title(loc="left") for axes in figures.hyperparameters(study, importance).axes
    ]
    assert titles == ["optimizer\nimportance 0.50 ± 0.10", "learning rate\nimportance 0.00 ± 0.00"]


def odd_study():
    """Long names, values of several types, a key of one value, one part, no interval, no curve."""
    study = make_study(6, keys=2, failed=0)
    study.space |= {"constant": "1 to 3"}
    study.scales |= {"constant": "log"}
    for i, trial in enumerate(study.trials):
        long = f"a_${'very_' * 20}long_name_{i % 2}"
        trial.values |= {"optimizer": [None, True, long][i % 3], "constant": 1}
        trial.low = trial.ended = None
        trial.value = 0.5  # as good as all others
    study.trials[0].parts = []
    study.trials[1].parts[0].curves = {"epoch": [1.0], study.objective: [0.4]}
    study.trials[2].parts[0].curves = {study.objective: [math.nan, 0.4, *[0.5] * 300]}
    return study


@pytest.mark.parametrize("plot", report.PLOTS)
def test_odd_values_can_be_drawn(plot):
    plot(odd_study()).draw_without_rendering()


@pytest.mark.parametrize("plot", report.PLOTS)
def test_nothing_is_drawn_where_there_is_nothing(plot):
    assert plot(make_study(2, failed=1)) is None


# TensorBoard.


def test_tensorboard_reads_each_trial_once_however_often_they_are_written(study, tmp_path):
    import tensorflow as tf
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.plugins.hparams import metadata

    def read(folder):
        (path,) = folder.glob("events.*")
        values = [v for event in EventFileLoader(str(path)).Load() for v in event.summary.value]
        parse = metadata.parse_session_start_info_plugin_data
        scalars = {
            v.tag: tf.make_ndarray(v.tensor).item() for v in values if v.tag == study.objective
        }
        starts = [v.metadata.plugin_data.content for v in values if "session_start" in v.tag]
        return scalars, [parse(start).hparams for start in starts]

    odd = changed(study, study.best, values={"optimizer": None, "learning_rate": 0.5})
    write_hparams(tmp_path, odd)
    path = write_hparams(tmp_path, odd)
    assert len([*path.rglob("events.*")]) == 1 + len(study.trials)
    scalars, (values,) = read(path / f"{study.best:04d}")
    assert scalars[study.objective] == pytest.approx(study.ranked[0].value)
    assert values["learning_rate"].number_value == 0.5 and values["optimizer"].string_value
    failed = next(trial for trial in study.trials if trial.error)
    assert read(path / f"{failed.trial:04d}")[0] == {}
