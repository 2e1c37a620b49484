"""Classification: an example has one class.

The model gives `probabilities`, float32 (n, num_classes), that sum to 1. One output of any other
name, or of none, is taken for them; with `from_logits=True` in the loss they are its softmax; and a
single sigmoid output of two classes is the probability of the second.
"""

import keras
import numpy as np
import tensorflow as tf

from ..data import Data
from ..export import Case, Endpoints
from ..inputs import Tokens
from ..measures import baselines, classes
from ..runs import Metrics
from . import _contract

HEADLINE = "accuracy"
# Probabilities closer than this can change places by the last bits.
DECIDED = 2e-5


def check(model: keras.Model, data: Data) -> None:
    """Model and labels agree, before any work.

    Raises:
        UserError: They do not; one line says what to do.
    """
    _contract.check_classes(data)
    _contract.probabilities_of(model, data, exclusive=True)


def inference(model: keras.Model, data: Data) -> keras.Model:
    """The trained model with the one output `probabilities`."""
    transform = _contract.probabilities_of(model, data, exclusive=True)
    return _contract.inference_model(model, data, "probabilities", transform)


def measure(model: keras.Model, data: Data, seed: int) -> dict[str, np.ndarray]:
    """Opens the test split.

    Args:
        model: See `inference`.
        data: Its train split is what a baseline is fitted to.
        seed: Of the run; nothing is drawn.

    Returns:
        `index`, `label`, `probabilities`, and of texts `bag_of_words`: the classes that TF-IDF
        with logistic regression predicts.
    """
    train, test = data.train, data.test
    arrays = {
        "index": test.rows,
        "label": test.labels[test.rows],
        "probabilities": _contract.predict(model, test, "probabilities"),
    }
    if isinstance(train.column, Tokens) and isinstance(test.column, Tokens):
        print("a bag of words with logistic regression, to compare with", flush=True)
        predicted = baselines.bag_of_words(
            train.column.strings(train.rows),
            train.labels[train.rows],
            test.column.strings(test.rows),
        )
        if predicted is not None:
            arrays["bag_of_words"] = predicted
    return arrays


def metrics(arrays: dict[str, np.ndarray], model: keras.Model, data: Data) -> Metrics:
    """Every metric with its 95 % interval, see `measures.classes`."""
    majority = int(np.bincount(data.train.labels[data.train.rows]).argmax())
    answers = arrays["label"], arrays["probabilities"]
    result = classes.classification_metrics(*answers, data.label_names, majority)
    if "bag_of_words" in arrays:
        result |= classes.baseline_metrics(*answers, arrays["bag_of_words"])
    return result


def endpoints(model: keras.Model, data: Data) -> Endpoints:
    """Signatures that give `probabilities` and `label`, string (n,)."""
    names = tf.constant(list(data.label_names))  # a lookup table would read a file at load

    def serve(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = model(inputs, training=False)["probabilities"]
        label = tf.gather(names, tf.argmax(probabilities, axis=1))
        return {"probabilities": probabilities, "label": label}

    signatures, resources = data.input.endpoints(serve, _contract.input_spec(model, data))
    assets = {"labels.txt": data.label_names, **data.input.assets}
    return Endpoints(signatures, [model, *resources], assets)


def golden(
    model: keras.Model, data: Data, arrays: dict[str, np.ndarray]
) -> tuple[list[Case], np.ndarray]:
    """Cases that the export must reproduce, and which test examples are decided."""
    names = np.array(data.label_names)

    def decided(probabilities: np.ndarray) -> np.ndarray:
        first, second = np.sort(probabilities, axis=1)[:, -2:].T[::-1]
        return first - second > DECIDED

    return _contract.golden_answers(
        model,
        data,
        "probabilities",
        arrays["probabilities"],
        lambda probabilities: names[probabilities.argmax(axis=1)],
        decided,
    )


def answer(outputs: dict[str, np.ndarray], i: int, names: tuple[str, ...]) -> tuple[str, dict]:
    """The answer to one example, in words and as JSON values."""
    probabilities, label = outputs["probabilities"][i], str(outputs["label"][i])
    named = dict(zip(names, map(float, probabilities), strict=True))
    content = {"label": label, "probability": float(probabilities.max()), "probabilities": named}
    return f"{label} ({100 * probabilities.max():.1f} %)", content
