"""Figures of a finished run: one function per figure, `f(run) -> Figure | bytes | None`.

Bytes are an animated GIF; None means that the figure does not apply to the run. The function's name
becomes the file name, and the first line of its docstring the caption in the report, so a pipeline
can add functions of its own:

    plots = (figures.learning_curves, figures.confusion_matrix, my_own_figure)
"""

from .autoencoders import denoising, reconstructions
from .calibration import reliability_diagram
from .classes import confusion_matrix, per_class, roc_curve
from .columns import column_effects, column_importance
from .compare import architectures, regularizers
from .curves import learning_curves
from .explained import explained_mistakes
from .images import augmented_examples, first_layer_filters, worst_mistakes
from .labels import compare_single_task, label_accuracies
from .latent_traversals import compare_traversals, traversal_animation, traversals
from .latents import code_scatter, discrete_code_by_class, latent_grid, latent_kl
from .more_data import more_data
from .points import decision_regions
from .regression import predicted_against_true, residuals
from .texts import attention_map, compare_bag_of_words, text_lengths
from .word_effects import word_importance
from .words import analogies, embedding_map, nearest_words

__all__ = [
    "analogies",
    "architectures",
    "attention_map",
    "augmented_examples",
    "code_scatter",
    "column_effects",
    "column_importance",
    "compare_bag_of_words",
    "compare_single_task",
    "compare_traversals",
    "confusion_matrix",
    "decision_regions",
    "denoising",
    "discrete_code_by_class",
    "embedding_map",
    "explained_mistakes",
    "first_layer_filters",
    "label_accuracies",
    "latent_grid",
    "latent_kl",
    "learning_curves",
    "more_data",
    "nearest_words",
    "per_class",
    "predicted_against_true",
    "reconstructions",
    "regularizers",
    "reliability_diagram",
    "residuals",
    "roc_curve",
    "text_lengths",
    "traversal_animation",
    "traversals",
    "word_importance",
    "worst_mistakes",
]
