"""Whether a network has learned anything, in every task with labels."""

import numpy as np

from .. import formatting
from ..records import Run

# Answers that differ less than this share of what they could do not depend on the example.
SAME = 0.01


def alert(run: Run) -> str:
    """Returns a sentence if the network gives every example almost the same answer; or "".

    Then its loss is that of chance: no constant answer has a smaller one than the shares of the
    classes, or the mean. Dead units, if there are layers of them, are the usual reason.
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
    model = run.record.model
    dead = [
        f"all {formatting.counted(units, 'unit')} of {layer} are dead"
        for layer, (count, units) in (model.dead_units if model else {}).items()
        if count == units
    ]
    reason = f" ({', '.join(dead)})" if dead else ""
    return (
        f"This network has learned nothing: its answers are the same for all examples{reason}, and "
        "its loss is that of chance. Try a smaller learning_rate."
    )
