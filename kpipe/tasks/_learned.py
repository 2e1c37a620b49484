"""Whether a network has learned anything, in every task with labels."""

import numpy as np

from .. import formatting
from ..measures.intervals import interval_of_mean
from ..records import Run

# Answers that differ less than this share of what they could do not depend on the example.
SAME = 0.01
SMALLEST = 1e-12  # probability whose logarithm is taken


def alert(run: Run) -> str:
    """Returns a sentence if the network's answers are those of one that learned nothing; or "".

    They are almost the same for every example, and their loss is not significantly smaller than
    that of the best constant answer, which is the shares of the classes, or the mean: of a rare
    class good answers are almost the same as well. Dead units, if there are layers of them, are the
    usual reason.
    """
    predictions = run.predictions
    if "probabilities" in predictions:
        answers, possible = np.asarray(predictions["probabilities"], float), 1.0
    elif "value" in predictions:
        answers = np.asarray(predictions["value"], float)
        possible = float(np.std(predictions["label"]))
    else:
        return ""
    if len(answers) < 2 or np.std(answers, axis=0).max() >= SAME * possible:
        return ""
    labels = np.asarray(predictions["label"])
    if (
        interval_of_mean(_losses(answers, labels) - _losses_of_constant(answers, labels))["high"]
        < 0
    ):
        return ""
    model = run.record.model
    dead = [
        f"all {formatting.counted(units, 'unit')} of {layer} are dead"
        for layer, (count, units) in (model.dead_units if model else {}).items()
        if count == units
    ]
    reason = f" ({', '.join(dead)})" if dead else ""
    return (
        f"This network has learned nothing: its answers are the same for all examples{reason}, and "
        f"its loss is that of chance. Try {'a smaller' if dead else 'more epochs or another'} "
        "learning_rate."
    )


def _losses(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the loss of each example: of probabilities in nats, of numbers squared."""
    if answers.ndim == 1:
        return np.square(answers - labels)
    if labels.ndim == 1:
        return -np.log(np.maximum(answers[np.arange(len(labels)), labels], SMALLEST))
    right = np.where(labels, answers, 1 - answers)  # several labels
    return -np.log(np.maximum(right, SMALLEST)).sum(axis=1)


def _losses_of_constant(answers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns the losses of the constant answer whose loss is the smallest on these labels."""
    if answers.ndim == 2 and labels.ndim == 1:
        labels = np.eye(answers.shape[1])[labels]
        best = np.broadcast_to(labels.mean(axis=0), answers.shape)
        return _losses(best, labels.argmax(axis=1))
    return _losses(np.broadcast_to(labels.mean(axis=0), answers.shape), labels)
