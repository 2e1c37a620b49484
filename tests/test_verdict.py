import itertools
import json

import pytest

from kpipe import Target
from kpipe.measures.verdict import count_opening, verdict


@pytest.mark.parametrize(
    ("value", "high", "kind", "official", "expected"),
    [
        (0.98, 0.99, "real", True, "reached"),
        (0.97, 0.99, "real", True, "consistent"),
        (0.96, 0.97, "real", True, "not reached"),
        (0.99, 0.99, "real", False, "not comparable: not the official data"),
        (0.99, 0.99, "sample", False, "not comparable: sample data"),
    ],
)
def test_the_verdict(value, high, kind, official, expected):
    target = Target("accuracy", at_least=0.98, source="a test")
    metric = {"value": value, "low": 0.9, "high": high, "n": 100}
    assert verdict(target, metric, kind, official) == expected


def test_openings_of_the_test_split_are_counted_by_pipeline_and_data(tmp_path, monkeypatch):
    monkeypatch.setenv("KPIPE_HOME", str(tmp_path))

    names = itertools.count()

    def opened(pipeline, kind, opening=None):
        opening = opening or f"opening {next(names)}"
        return count_opening(pipeline, "mnist", kind, tmp_path / "run", opening)

    assert [opened("a", "real"), opened("a", "real"), opened("a", "sample")] == [1, 2, 1]
    assert [opened("b", "real", "of a run"), opened("b", "real", "of a run")] == [1, 1]
    with open(tmp_path / "test_openings.jsonl", "a") as file:
        file.write('{"pipeline": "a", "da\n')  # cut off by a crash
    assert opened("a", "real") == 3
    lines = (tmp_path / "test_openings.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["run"] == "run"


def test_a_target_at_most_is_reached_from_above():
    target = Target("log_loss", at_most=0.05, source="a test")

    def said(value, low):
        metric = {"value": value, "low": low, "high": 1.0, "n": 10}
        return verdict(target, metric, "real", True)

    assert said(0.05, 0.01) == "reached"
    assert said(0.06, 0.04) == "consistent"
    assert said(0.07, 0.06) == "not reached"


@pytest.mark.parametrize("limits", [{}, {"at_least": 0.5, "at_most": 0.9}])
def test_a_target_has_one_limit(limits):
    with pytest.raises(ValueError, match="expected either at_least or at_most"):
        Target("accuracy", **limits)


@pytest.mark.parametrize(("limit", "value"), [("at_least", 0.1), ("at_most", 0.9)])
def test_a_metric_without_an_interval_is_reached_or_not(limit, value):
    target = Target("mig", **{limit: 0.5})
    metric = {"value": value, "low": None, "high": None}
    assert verdict(target, metric, "real", official=True) == "not reached"
    assert verdict(target, metric | {"value": 0.5}, "real", official=True) == "reached"
