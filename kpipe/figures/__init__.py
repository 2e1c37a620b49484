"""Figures of a finished run: one function a figure, `f(run) -> Figure | None`.

None means that the figure does not apply to this run. A function's name is its file name, and the
first line of its docstring its caption in the report, so a pipeline's own functions fit in:

    plots = (figures.learning_curves, figures.confusion_matrix, my_own_figure)
"""

from .classes import confusion_matrix, per_class, roc_curve
from .curves import learning_curves
from .images import augmented_examples, first_layer_filters, worst_mistakes
from .labels import against_single_task, label_accuracies
from .points import decision_regions

__all__ = [
    "against_single_task",
    "augmented_examples",
    "confusion_matrix",
    "decision_regions",
    "first_layer_filters",
    "label_accuracies",
    "learning_curves",
    "per_class",
    "roc_curve",
    "worst_mistakes",
]
