"""The worst mistakes of a run, and the graph of its network, for figures that explain them."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ..explaining import Network
from ..records import Run
from . import style


class Mistake(NamedTuple):
    """A wrong answer.

    Attributes:
        position: Its position in `Run.predictions`.
        column: The output that is explained.
        target: Its name.
        title: What is wrong, in words.
    """

    position: int
    column: int
    target: str
    title: str


def network_of(run: Run) -> Network:
    """Returns the graph of the network of a run that is being reported."""
    (tensor,) = run.model.inputs
    output = "probabilities" if style.is_classifier(run) else "value"
    # Of the data, which may be integers where the model's input is declared as float32.
    dtype = run.test_inputs(np.array([0])).dtype
    call = tf.function(
        lambda inputs: run.model(inputs, training=False),
        input_signature=[tf.TensorSpec((None, *tensor.shape[1:]), dtype)],
        autograph=False,
    )
    return Network(call.get_concrete_function(), output)


def worst(run: Run, count: int) -> list[Mistake]:
    """Returns the surest wrong classes or labels, or the largest errors of a regression."""
    if style.is_classifier(run):
        return (_wrong_labels if style.is_multilabel(run) else _wrong_classes)(run, count)
    if "value" not in run.predictions:
        return []
    true, value = (run.predictions[name].astype(float) for name in ("label", "value"))
    order = np.argsort(-np.abs(true - value), kind="stable")[:count]
    return [
        Mistake(i, 0, "value", f"true {true[i]:.4g}\npredicted {value[i]:.4g}")
        for i in order.tolist()
        if true[i] != value[i]
    ]


def title_of(run: Run, count: int) -> str:
    """Returns the title of a figure that explains some mistakes."""
    which = f"The {count} most confident mistakes" if count > 1 else "The most confident mistake"
    if not style.is_classifier(run):
        which = which.replace("most confident mistake", "largest error")
    return f"{which}: true → predicted" if style.has_classes(run) else which


def _wrong_classes(run: Run, count: int) -> list[Mistake]:
    truth, probabilities = run.predictions["label"], run.predictions["probabilities"]
    said, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(said != truth)
    chosen = wrong[np.argsort(-sure[wrong], kind="stable")][:count]
    names = run.label_names
    return [
        Mistake(
            i,
            int(said[i]),
            names[said[i]],
            f"{style.shorten(names[truth[i]], 22)} → {style.shorten(names[said[i]], 22)}"
            f"\n{style.percent(sure[i])}",
        )
        for i in chosen.tolist()
    ]


def _wrong_labels(run: Run, count: int) -> list[Mistake]:
    truth, probabilities = run.predictions["label"], run.predictions["probabilities"]
    errors = np.abs(truth - probabilities)
    column = errors.argmax(axis=1)
    largest = errors.max(axis=1)
    order = np.argsort(-largest, kind="stable")[:count]
    found = []
    for i in order.tolist():
        if largest[i] > 0.5:
            name, probability = run.label_names[column[i]], probabilities[i, column[i]]
            answer = "yes" if truth[i, column[i]] else "no"
            title = f"{style.shorten(name, 22)}: {answer}\npredicted {style.percent(probability)}"
            found.append(Mistake(i, int(column[i]), name, title))
    return found
