import json

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from kpipe import Target
from kpipe.errors import UserError
from kpipe.measures import evaluation


def test_wilsons_interval_is_the_published_one():
    # Wilson 1927 by hand: z = 1.959964, (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)
    n, p, z = 263, 81 / 263, 1.959964
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    result = evaluation.proportion(81, 263)
    assert result["n"] == 263
    assert result["value"] == pytest.approx(p)
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662
    assert (result["low"], result["high"]) == pytest.approx((middle - half, middle + half))
    assert (round(result["low"], 4), round(result["high"], 4)) == (0.2553, 0.3662)


def test_a_proportion_of_nothing_has_no_value():
    assert evaluation.proportion(0, 0) == {"value": None, "low": None, "high": None, "n": 0}


@pytest.mark.parametrize("num_classes", [2, 4])
def test_metrics_agree_with_scikit_learn(num_classes):
    random = np.random.RandomState(num_classes)
    labels = random.randint(num_classes, size=300)
    probabilities = random.dirichlet(np.ones(num_classes), 300).astype(np.float32)
    names = tuple("abcd"[:num_classes])
    result = evaluation.classification_metrics(labels, probabilities, names, majority=1)
    predicted = probabilities.argmax(axis=1)
    assert result["accuracy"]["value"] == sklearn_metrics.accuracy_score(labels, predicted)
    assert result["majority_baseline"]["value"] == np.mean(labels == 1)
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    expected = sklearn_metrics.log_loss(labels, exact)
    assert result["log_loss"]["value"] == pytest.approx(expected, rel=1e-5)
    precision, recall, _, support = sklearn_metrics.precision_recall_fscore_support(
        labels, predicted
    )
    for i, name in enumerate(names):
        assert result[f"precision/{name}"]["value"] == pytest.approx(precision[i])
        assert result[f"recall/{name}"]["value"] == pytest.approx(recall[i])
        assert result[f"recall/{name}"]["n"] == support[i]
    if num_classes == 2:
        area = sklearn_metrics.roc_auc_score(labels, probabilities[:, 1])
        assert result["roc_auc"]["value"] == area
    else:
        assert "roc_auc" not in result
    for metric in result.values():
        assert metric["low"] <= metric["value"] <= metric["high"]


def test_the_interval_of_the_roc_area_is_hanley_and_mcneils():
    # Hanley and McNeil 1982, table II: area 0.893, 51 positives, 58 negatives: SE 0.032
    labels = np.repeat([1, 0], [51, 58])
    random = np.random.RandomState(0)
    scores = labels * 1.75 + random.normal(size=109)
    result = evaluation._roc_auc(labels, scores)
    area = result["value"]
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + 50 * (q1 - area**2) + 57 * (q2 - area**2)
    error = np.sqrt(variance / (51 * 58))
    assert result["low"] == pytest.approx(area - 1.959964 * error, abs=1e-6)


def test_a_class_that_is_never_predicted_has_no_precision():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2]], np.float32)
    result = evaluation.classification_metrics(np.array([0, 1]), probabilities, ("a", "b"), 0)
    assert result["precision/b"]["value"] is None
    assert result["recall/b"]["value"] == 0.0


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
    assert evaluation.verdict(target, metric, kind, official) == expected


def test_openings_of_the_test_split_are_counted_by_pipeline_and_data(tmp_path, monkeypatch):
    monkeypatch.setenv("KPIPE_HOME", str(tmp_path))

    def opened(pipeline, kind):
        return evaluation.count_opening(pipeline, "mnist", kind, tmp_path / "run")

    assert [opened("a", "real"), opened("a", "real"), opened("a", "sample")] == [1, 2, 1]
    assert opened("b", "real") == 1
    with open(tmp_path / "test_openings.jsonl", "a") as file:
        file.write('{"pipeline": "a", "da\n')  # cut off by a crash
    assert opened("a", "real") == 3
    lines = (tmp_path / "test_openings.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["run"] == "run"


def test_a_target_at_most_is_reached_from_above():
    target = Target("log_loss", at_most=0.05, source="a test")

    def verdict(value, low):
        metric = {"value": value, "low": low, "high": 1.0, "n": 10}
        return evaluation.verdict(target, metric, "real", True)

    assert verdict(0.05, 0.01) == "reached"
    assert verdict(0.06, 0.04) == "consistent"
    assert verdict(0.07, 0.06) == "not reached"


@pytest.mark.parametrize("limits", [{}, {"at_least": 0.5, "at_most": 0.9}])
def test_a_target_has_one_limit(limits):
    with pytest.raises(ValueError, match="needs at_least or at_most, one of them"):
        Target("accuracy", **limits)


def test_labels_are_judged_one_by_one_and_unknown_ones_left_out():
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0]])
    probabilities = np.array([[0.9, 0.4, 0], [0.2, 0.7, 0], [0.4, 0.6, 0], [0.8, 0.9, 0]])
    train = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]])
    result = evaluation.multilabel_metrics(labels, probabilities, ("a", "b", "c"), train)
    assert result["accuracy/a"]["value"] == 0.75 and result["accuracy/b"]["value"] == 0.75
    assert result["majority_baseline/a"]["value"] == 0.75  # always 1
    assert result["majority_baseline/b"]["value"] == 0.5  # always 0
    assert not any(name.endswith("/c") for name in result)
    assert result["accuracy"]["value"] == 0.75  # of 2 labels: 1, 1, 1/2, 1/2
    half = 1.959964 * 0.25 / 2
    assert result["accuracy"]["low"] == pytest.approx(0.75 - half, abs=1e-6)
    assert result["roc_auc/a"]["value"] == 1.0


def test_labels_that_never_vary_cannot_be_judged():
    ones = np.ones((3, 2), int)
    with pytest.raises(UserError, match="no label varies"):
        evaluation.multilabel_metrics(ones, ones / 2, ("a", "b"), ones)


def test_the_difference_of_two_models_is_paired():
    first, second = np.array([1, 1, 0, 1] * 25), np.array([1, 0, 0, 1] * 25)
    result = evaluation.paired_difference(first, second)
    assert result["value"] == 0.25 and result["n"] == 100
    half = 1.959964 * np.sqrt(0.25 * 0.75 / 100)
    assert result["low"] == pytest.approx(0.25 - half, abs=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.1, 0.2, 1),
        (-0.2, -0.1, -1),
        (-0.1, 0.1, 0),
        (0.0, 0.1, 0),
        (-0.1, 0.0, 0),
        (None, None, 0),
    ],
)
def test_a_difference_has_a_sign_only_if_its_interval_does_not_contain_0(low, high, expected):
    assert evaluation.sign_of({"low": low, "high": high}) == expected
