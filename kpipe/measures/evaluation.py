"""Evaluation: the test split opened once a run, metrics with intervals, the verdict."""

import dataclasses
import json
import pathlib
import time

import numpy as np
from scipy import stats
from sklearn import metrics as sklearn_metrics

from .. import files
from ..errors import UserError

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Target:
    """The number that an experiment is to reach on the official test split.

    Attributes:
        metric: A name in metrics.json.
        at_least: As a fraction, not in percent.
        source: Who states it.
        at_most: In place of `at_least`, for a metric that is to be small.

    Raises:
        ValueError: Both limits are given, or none.
    """

    metric: str
    at_least: float | None = None
    source: str = ""
    at_most: float | None = None

    def __post_init__(self):
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"Target({self.metric!r}) needs at_least or at_most, one of them")


def classification_metrics(
    labels: np.ndarray, probabilities: np.ndarray, label_names: tuple[str, ...], majority: int
) -> dict[str, dict]:
    """Every metric of a classifier as {"value", "low", "high", "n"}, intervals at 95 %.

    Proportions have Wilson's interval (1927); the area under the ROC curve, for two classes,
    Hanley and McNeil's (1982, eq. 2). A metric without examples has the value None.

    Args:
        labels: int (n,).
        probabilities: float32 (n, num_classes).
        label_names: One per class.
        majority: The most frequent class of the train split: the baseline that always says it.
    """
    predicted = probabilities.argmax(axis=1)
    result = {
        "accuracy": proportion(np.sum(predicted == labels), len(labels)),
        "majority_baseline": proportion(np.sum(labels == majority), len(labels)),
        "log_loss": _log_loss(labels, probabilities),
    }
    if len(label_names) == 2:
        result["roc_auc"] = _roc_auc(labels, probabilities[:, 1])
    for i, name in enumerate(label_names):
        hits = np.sum((predicted == i) & (labels == i))
        result[f"precision/{name}"] = proportion(hits, np.sum(predicted == i))
        result[f"recall/{name}"] = proportion(hits, np.sum(labels == i))
    return result


def baseline_metrics(
    labels: np.ndarray, probabilities: np.ndarray, baseline: np.ndarray
) -> dict[str, dict]:
    """The accuracy of a bag of words on the same examples, and how far the network is above it.

    Args:
        labels: int (n,).
        probabilities: float32 (n, num_classes), of the network.
        baseline: int (n,), the classes that the bag of words says.

    Returns:
        `bag_of_words_baseline`, and `above_bag_of_words`, a paired difference of accuracies.
    """
    right = baseline == labels
    return {
        "bag_of_words_baseline": proportion(np.sum(right), len(labels)),
        "above_bag_of_words": paired_difference(probabilities.argmax(axis=1) == labels, right),
    }


def multilabel_metrics(
    labels: np.ndarray,
    probabilities: np.ndarray,
    label_names: tuple[str, ...],
    train_labels: np.ndarray,
) -> dict[str, dict]:
    """Accuracy of each label and their mean, beside always saying the label's majority.

    A label that is the same in all training examples is not known, and left out. The mean's
    interval is a normal one over the examples, whose labels depend on each other; a label's is
    Wilson's.

    Args:
        labels: int (n, num_labels), 0 or 1.
        probabilities: float32 (n, num_labels).
        label_names: One per label.
        train_labels: int (m, num_labels), of the train split.

    Raises:
        UserError: No label is known.
    """
    share = train_labels.mean(axis=0)
    known = np.flatnonzero((share > 0) & (share < 1))
    if not known.size:
        raise UserError("no label varies in the training examples; there is nothing to learn")
    right = ((probabilities > 0.5) == labels)[:, known]
    baseline = ((share > 0.5) == labels)[:, known]
    result = {
        "accuracy": interval_of_mean(right.mean(axis=1)),
        "majority_baseline": interval_of_mean(baseline.mean(axis=1)),
    }
    for column, i in enumerate(known):
        name, positives = label_names[i], probabilities[:, i]
        result[f"accuracy/{name}"] = proportion(right[:, column].sum(), len(labels))
        result[f"majority_baseline/{name}"] = proportion(baseline[:, column].sum(), len(labels))
        result[f"roc_auc/{name}"] = _roc_auc(labels[:, i], positives)
    return result


def paired_difference(first: np.ndarray, second: np.ndarray) -> dict:
    """Accuracy of the first minus that of the second on the same examples, with an interval.

    Normal interval of the mean of the differences: right answers of two models on one example
    depend on each other, which two separate intervals would not see.

    Args:
        first: bool (n,), whether the answers were right.
        second: The same of the other model.

    Example:
        paired_difference(np.array([1, 1, 0, 1]), np.array([1, 0, 0, 1]))["value"]  # 0.25
    """
    return interval_of_mean(first.astype(float) - second.astype(float))


def sign_of(difference: dict) -> int:
    """1 if the interval is above 0, -1 if it is below, 0 if it contains 0 or there is none.

    Args:
        difference: See `paired_difference`.
    """
    low, high = difference["low"], difference["high"]
    return 0 if low is None or high is None else int(low > 0) - int(high < 0)


def proportion(successes: int, n: int) -> dict:
    """A share with its Wilson interval.

    Example:
        proportion(9, 10)  # value 0.9, low 0.596, high 0.982
    """
    if n == 0:
        return {"value": None, "low": None, "high": None, "n": 0}
    interval = stats.binomtest(int(successes), int(n)).proportion_ci(CONFIDENCE, method="wilson")
    return {
        "value": float(successes / n),
        "low": float(interval.low),
        "high": float(interval.high),
        "n": int(n),
    }


def _log_loss(labels: np.ndarray, probabilities: np.ndarray) -> dict:
    """Mean negative log likelihood in nats; a normal interval of the mean."""
    chosen = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return interval_of_mean(-np.log(np.clip(chosen, np.finfo(np.float32).eps, 1.0)))


def interval_of_mean(values: np.ndarray) -> dict:
    """A mean with its normal interval.

    Args:
        values: (n,), of independent examples.
    """
    half = stats.norm.ppf(0.5 + CONFIDENCE / 2) * values.std() / np.sqrt(len(values))
    mean = values.mean()
    return {
        "value": float(mean),
        "low": float(mean - half),
        "high": float(mean + half),
        "n": len(values),
    }


def ratio_of_means(first: np.ndarray, second: np.ndarray) -> dict:
    """The mean of the first over that of the second, on the same examples.

    The interval is normal, by the delta method: what both have in common cancels out.

    Args:
        first: (n,).
        second: (n,), of a mean other than 0.

    Example:
        ratio_of_means(np.array([2.0, 4.0]), np.array([1.0, 2.0]))  # 2, and no doubt about it
    """
    first, second = first.astype(float), second.astype(float)
    ratio = first.mean() / second.mean()
    # The mean of these is 0; their spread is that of the ratio.
    spread = interval_of_mean((first - ratio * second) / second.mean())
    return {
        "value": float(ratio),
        "low": float(ratio + spread["low"]),
        "high": float(ratio + spread["high"]),
        "n": len(first),
    }


def _roc_auc(labels: np.ndarray, scores: np.ndarray) -> dict:
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return {"value": None, "low": None, "high": None, "n": len(labels)}
    area = float(sklearn_metrics.roc_auc_score(labels, scores))
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (
        area * (1 - area) + (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    ) / (positives * negatives)
    half = stats.norm.ppf(0.5 + CONFIDENCE / 2) * np.sqrt(max(variance, 0.0))
    return {
        "value": area,
        "low": float(max(0.0, area - half)),
        "high": float(min(1.0, area + half)),
        "n": len(labels),
    }


def verdict(target: Target, metric: dict, kind: str, official: bool) -> str:
    """How a test metric stands to its target; only official data can be compared.

    Args:
        target: What was to be reached.
        metric: Value and interval.
        kind: "real" or "sample".
        official: Whether the data are the official ones.
    """
    if kind == "sample":
        return "not comparable: sample data"
    if not official:
        return "not comparable: not the official data"
    if target.at_least is None:
        reached, possible = (metric[key] <= target.at_most for key in ("value", "low"))
    else:
        reached, possible = (metric[key] >= target.at_least for key in ("value", "high"))
    return "reached" if reached else "consistent" if possible else "not reached"


def count_opening(pipeline: str, data_name: str, kind: str, run: pathlib.Path) -> int:
    """Notes that a run opens its test split; how often that pipeline's was opened on this machine.

    Choices made after looking at test results fit the test split: the count says how often one
    could have looked.
    """
    path = files.home() / "test_openings.jsonl"
    files.make_folder(path.parent)
    key = {"pipeline": pipeline, "data": data_name, "kind": kind}
    entry = {**key, "run": run.name, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    with open(path, "a", encoding="utf-8") as file:  # one short line: appended whole
        file.write(json.dumps(entry) + "\n")
    count = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            count += key.items() <= json.loads(line).items()
        except ValueError:  # a line cut off by a crash counts for nobody
            continue
    return count
