"""The simple method beside a network: scikit-learn's, fitted in seconds to the same examples."""

import dataclasses
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..data import Split
from ..errors import first_line
from ..inputs import Tokens
from .features import PIECE, PIXELS, features_of, pixels_of

# Limits on the training examples, so that a fit takes a few seconds on one core.
LINEAR_WORK = 300_000_000  # examples × inputs × outputs
TREE_WORK = 600_000_000  # examples × inputs × trees
TEXT_BYTES = 60_000_000
FEWEST = 40  # examples; with fewer no tree is split into leaves of 20


class Simple(NamedTuple):
    """Answers of a simple method.

    Attributes:
        name: The method: "gradient-boosted trees (20,000 training examples)".
        predicted: Answers on the test examples, in the form of their labels.
    """

    name: str
    predicted: np.ndarray


class _LeftOut(Exception):
    """Why a method cannot be fitted."""


@dataclasses.dataclass(frozen=True)
class _Method:
    name: str
    features: Callable[[Split], Any]
    estimator: Any
    limit: int  # of the training examples


def simple_method(train: Sequence[Split], test: Sequence[Split]) -> Simple | None:
    """Predicts test examples by a method that needs no network; the inputs decide which.

    - Texts: TF-IDF with logistic regression.
    - Images: logistic regression on their pixels, averaged to at most 16 × 16 and standardized.
    - Vectors and tables: gradient-boosted trees, which take missing values and categories as they
      are.

    For numbers, and for several labels per example, ridge regression replaces the logistic one.
    Settings are scikit-learn's defaults, with these exceptions: on pixels, which are standardized,
    the penalty of the ridge is a tenth of the number of examples, and a logistic regression of
    several classes and fewer than ten examples per input ends after 30 iterations, which
    regularizes it; the trees do not stop early; for many classes they have fewer rounds, with a
    higher learning rate.

    Results are the same each time. From many training examples it takes some, stratified, and the
    name says how many. If it cannot be fitted, or would take too long, the reason is printed.

    Args:
        train: The training examples, in one or several parts of the same kind. Their labels decide
            the task: int (n,) classes, int (n, num_labels) 0 or 1, or float (n,).
        test: The examples to predict, m in all.

    Returns:
        Name and predictions, (m,) or (m, num_labels); None if it is left out.

    Example:
        simple_method([data.train], [data.test]).predicted
    """
    labels = np.concatenate([part.labels[part.rows] for part in train])
    name = "a simple method"
    try:
        method = _method_for(train[0], labels)
        name = method.name.partition(" with ")[0]  # TF-IDF
        chosen = choose(labels, method.limit)
        labels = labels[chosen]
        _check_varies(labels)
        some = f" ({len(chosen):,} training examples)" if len(chosen) < _count(train) else ""
        print(f"fitting {method.name}{some} as a baseline", flush=True)
        inputs = _joined([method.features(part) for part in at(train, chosen)])
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # no convergence, overflow: the test split judges
            predict = _fit(method.estimator, inputs, labels)
            pieces = [
                predict(method.features(part.at(np.arange(start, min(start + PIECE, len(part))))))
                for part in test
                for start in range(0, len(part), PIECE)
            ]
        predicted = np.concatenate(pieces)
        if not np.isfinite(predicted).all():
            raise _LeftOut("a prediction is not finite")
    except (_LeftOut, ValueError) as error:  # not finite, no words
        print(f"not compared with {name}: {first_line(error)}", flush=True)
        return None
    return Simple(method.name + some, predicted.astype(labels.dtype))


def at(parts: Sequence[Split], positions: np.ndarray) -> list[Split]:
    """Returns the examples at these positions of all parts one after the other, part by part."""
    found, start = [], 0
    for part in parts:
        inside = (positions >= start) & (positions < start + len(part))
        if inside.any():
            found.append(part.at(positions[inside] - start))
        start += len(part)
    return found


def _count(parts: Sequence[Split]) -> int:
    return sum(map(len, parts))


def _joined(parts: list[Any]) -> Any:
    """Joins lists of texts, or arrays."""
    if isinstance(parts[0], np.ndarray):
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
    return [text for part in parts for text in part]


def choose(labels: np.ndarray, limit: int) -> np.ndarray:
    """Chooses positions, in order: all, or `limit` of them, stratified by label."""
    count = len(labels)
    if count <= limit:
        return np.arange(count)
    order = np.random.default_rng(0).permutation(count)
    if labels.ndim == 1:  # every class, or range of values, keeps its share
        order = order[np.argsort(labels[order], kind="stable")]
    return np.sort(order[np.arange(limit) * count // limit])


def _check_varies(labels: np.ndarray) -> None:
    if not len(labels) or not np.isfinite(labels).all():
        raise _LeftOut("train has no labels, or one that is not finite")
    if (labels == labels[:1]).all():
        raise _LeftOut("all training examples have the same label")


def _method_for(train: Split, labels: np.ndarray) -> _Method:
    """Returns the method for these inputs and labels, not fitted.

    Raises:
        _LeftOut: There is none, or it would take too long.
    """
    task = "values" if labels.dtype.kind == "f" else "classes" if labels.ndim == 1 else "labels"
    if isinstance(train.column, Tokens):
        return _on_texts(task, train.column)
    shape, dtype = train.inputs.shape[1:], train.inputs.dtype
    if dtype.kind not in "fub":
        raise _LeftOut(f"inputs are {dtype}, not floats or images")
    if not len(labels) or not math.prod(shape):
        raise _LeftOut("train has no examples, or no inputs")
    if len(shape) == 3:
        return _on_pixels(task, train, labels)
    return _trees(task, train, labels)


def _on_texts(task: str, column: Tokens) -> _Method:
    from sklearn.feature_extraction.text import TfidfVectorizer  # takes a second to import
    from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
    from sklearn.pipeline import make_pipeline

    fitted, name = {
        "classes": (LogisticRegression(max_iter=1000), "logistic regression"),
        "labels": (RidgeClassifier(), "a ridge classifier"),
        "values": (Ridge(), "ridge regression"),
    }[task]

    def texts(split: Split) -> Any:
        return split.column.strings(split.rows)  # type: ignore[union-attr]

    limit = max(FEWEST, TEXT_BYTES * len(column) // max(1, column.texts.size()))
    return _Method(f"TF-IDF with {name}", texts, make_pipeline(TfidfVectorizer(), fitted), limit)


def _on_pixels(task: str, train: Split, labels: np.ndarray) -> _Method:
    from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    height, width, channels = train.inputs.shape[1:]
    height, width = (-(-size // -(-size // PIXELS)) for size in (height, width))
    outputs = len(np.unique(labels)) if task == "classes" else 1
    limit = _limit(LINEAR_WORK, height * width * channels * max(10, outputs), labels, outputs)
    count = min(limit, len(labels))
    few = outputs > 2 and count < 10 * height * width * channels
    penalty = count / 10
    fitted, name = {
        "classes": (LogisticRegression(max_iter=30 if few else 100), "logistic regression"),
        "labels": (RidgeClassifier(alpha=penalty), "a ridge classifier"),
        "values": (Ridge(alpha=penalty), "ridge regression"),
    }[task]
    model = make_pipeline(StandardScaler(), fitted)
    return _Method(f"{name} on {height} × {width} pixels", pixels_of, model, limit)


def _trees(task: str, train: Split, labels: np.ndarray) -> _Method:
    if len(labels) < FEWEST:
        raise _LeftOut(f"trees need {FEWEST} training examples, and it has {len(labels)}")
    _, is_category = features_of(train.at(np.arange(1)))
    outputs = {"values": 1, "labels": labels.shape[-1], "classes": len(np.unique(labels))}[task]
    rounds = 100 if outputs < 3 else max(30, 200 // outputs)
    trees = rounds * (1 if task == "classes" and outputs == 2 else outputs)
    # An example costs a tree as much as ten inputs, besides its own.
    limit = _limit(TREE_WORK, (len(is_category) + 10) * trees, labels, outputs)
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.multioutput import MultiOutputClassifier

    kind = HistGradientBoostingRegressor if task == "values" else HistGradientBoostingClassifier
    model: Any = kind(
        max_iter=rounds,
        learning_rate=10 / rounds,
        early_stopping=False,
        categorical_features=is_category,
        random_state=0,
    )
    if task == "labels":
        model = MultiOutputClassifier(model)
    return _Method("gradient-boosted trees", lambda split: features_of(split)[0], model, limit)


def _limit(work: int, per_example: int, labels: np.ndarray, outputs: int) -> int:
    """Returns how many training examples fit into the work."""
    limit = work // per_example
    if limit < min(len(labels), max(500, 5 * outputs)):
        raise _LeftOut(f"{outputs:,} classes or labels with so many inputs would take too long")
    return limit


def _fit(model: Any, inputs: Any, labels: np.ndarray) -> Callable[[Any], np.ndarray]:
    """Fits a model, and returns the function from inputs to labels."""
    if labels.ndim == 1:
        return model.fit(inputs, labels).predict
    # What is constant in train needs no model, and most have none for it.
    known = np.flatnonzero((labels != labels[:1]).any(axis=0))
    model.fit(inputs, labels[:, known])

    def predict(given: Any) -> np.ndarray:
        answers = np.asarray(model.predict(given))
        every = np.repeat(labels[:1], len(answers), axis=0)
        every[:, known] = answers.reshape(len(answers), -1)
        return every

    return predict
