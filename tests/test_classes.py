import tracemalloc

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from kpipe.measures import classes


@pytest.mark.parametrize("num_classes", [2, 4])
def test_metrics_agree_with_scikit_learn(num_classes):
    random = np.random.RandomState(num_classes)
    labels = random.randint(num_classes, size=300)
    probabilities = random.dirichlet(np.ones(num_classes), 300).astype(np.float32)
    names = tuple("abcd"[:num_classes])
    result = classes.classification_metrics(labels, probabilities, names, majority=1)
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
    result = classes._roc_auc(labels, scores)
    area = result["value"]
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + 50 * (q1 - area**2) + 57 * (q2 - area**2)
    error = np.sqrt(variance / (51 * 58))
    assert result["low"] == pytest.approx(area - 1.959964 * error, abs=1e-6)


def test_a_class_that_is_never_predicted_has_no_precision():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2]], np.float32)
    result = classes.classification_metrics(np.array([0, 1]), probabilities, ("a", "b"), 0)
    assert result["precision/b"]["value"] is None
    assert result["recall/b"]["value"] == 0.0


def test_labels_are_judged_one_by_one_and_unknown_ones_left_out():
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0]])
    probabilities = np.array([[0.9, 0.4, 0], [0.2, 0.7, 0], [0.4, 0.6, 0], [0.8, 0.9, 0]])
    train = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]])
    result = classes.multilabel_metrics(labels, probabilities, ("a", "b", "c"), train)
    assert result["accuracy/a"]["value"] == 0.75 and result["accuracy/b"]["value"] == 0.75
    assert result["majority_baseline/a"]["value"] == 0.75  # always 1
    assert result["majority_baseline/b"]["value"] == 0.5  # always 0
    assert not any(name.endswith("/c") for name in result)
    assert result["accuracy"]["value"] == 0.75  # of 2 labels: 1, 1, 1/2, 1/2
    half = 1.959964 * 0.25 / 2
    assert result["accuracy"]["low"] == pytest.approx(0.75 - half, abs=1e-6)
    assert result["roc_auc/a"]["value"] == 1.0


@pytest.mark.parametrize("missing", [(), (3,), (0, 3)])
def test_balanced_accuracy_and_macro_f1_are_scikit_learns(missing):
    random = np.random.RandomState(1)
    labels = random.choice(4, 200, p=[0.7, 0.2, 0.06, 0.04])
    labels = labels[~np.isin(labels, missing)]  # classes without test examples
    probabilities = random.dirichlet(np.ones(4), len(labels)) + np.eye(4)[labels] * 0.3
    probabilities[:, list(missing)[:1]] = 0  # one of them is never predicted either
    result = classes.balanced_metrics(labels, probabilities)
    predicted = probabilities.argmax(axis=1)
    score = sklearn_metrics.f1_score(labels, predicted, average="macro", zero_division=0)
    assert result["macro_f1"]["value"] == pytest.approx(score, rel=1e-12)
    recall = sklearn_metrics.recall_score(
        labels, predicted, labels=np.unique(labels), average="macro"
    )
    assert result["balanced_accuracy"]["value"] == pytest.approx(recall, rel=1e-12)
    for metric in result.values():
        assert 0 <= metric["low"] < metric["value"] < metric["high"] <= 1
        assert metric["n"] == len(labels)


def test_intervals_that_weigh_classes_equally_are_as_wide_as_the_smallest_class_allows():
    labels = np.repeat([0, 1], [990, 10])
    for metric in classes.balanced_metrics(labels, np.eye(2)[labels]).values():
        assert metric["value"] == metric["high"] == 1.0
        assert 0.75 < metric["low"] < 0.97  # 10 of 10 correct is not certainty


def test_intervals_of_balanced_accuracy_and_macro_f1_contain_the_true_value():
    random = np.random.default_rng(0)
    recall, share = np.array([0.95, 0.7]), np.array([0.9, 0.1])
    joint = share[:, None] * np.array([[0.95, 0.05], [0.3, 0.7]])
    truth = {
        "balanced_accuracy": recall.mean(),
        "macro_f1": np.mean(2 * np.diag(joint) / (joint.sum(0) + joint.sum(1))),
    }
    inside = dict.fromkeys(truth, 0)
    for counts in random.multinomial(300, joint.ravel(), 400):
        pairs = np.repeat(np.arange(4), counts)
        for name, metric in classes.balanced_metrics(pairs // 2, np.eye(2)[pairs % 2]).items():
            inside[name] += metric["low"] <= truth[name] <= metric["high"]
    assert all(360 <= count <= 395 for count in inside.values()), inside


@pytest.mark.parametrize(
    ("counts", "expected"), [((9, 4), True), ((8, 4), False), ((5, 5, 0), True)]
)
def test_classes_are_imbalanced_where_the_largest_is_over_twice_the_smallest(counts, expected):
    assert classes.is_imbalanced(np.array(counts)) is expected


def test_balanced_metrics_of_many_classes_need_no_matrix_of_all_pairs():
    count = 20_000
    probabilities = np.broadcast_to(np.float32(0), (10, count))
    tracemalloc.start()
    found = classes.balanced_metrics(np.arange(10) + count - 10, probabilities)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found["balanced_accuracy"]["value"] == found["macro_f1"]["value"] == 0
    assert peak < 10e6  # the matrix would take 3.2 GB
