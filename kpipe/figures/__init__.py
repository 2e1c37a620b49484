"""Figures of a finished run: one function per figure, `f(run) -> Figure | bytes | None`.

Bytes are an animated GIF; None means that the figure does not apply to the run. The function's name
becomes the file name, and the first line of its docstring the caption in the report, so a pipeline
can add functions of its own:

    plots = (figures.learning_curves, figures.confusion_matrix, my_own_figure)
"""

from .autoencoders import denoising, reconstructions
from .classes import confusion_matrix, per_class, roc_curve
from .compare import architectures, regularizers
from .curves import learning_curves
from .images import augmented_examples, first_layer_filters, worst_mistakes
from .labels import against_single_task, label_accuracies
from .latents import code_scatter, decoded_plane, discrete_code_by_class, latent_kl
from .points import decision_regions
from .regression import predicted_against_true, residuals
from .sweeps import compare_traversals, traversal_animation, traversals
from .texts import against_bag_of_words, attention_map, telling_words, text_lengths
from .words import analogies, embedding_map, nearest_words

__all__ = [
    "against_bag_of_words",
    "against_single_task",
    "analogies",
    "architectures",
    "attention_map",
    "augmented_examples",
    "code_scatter",
    "compare_traversals",
    "confusion_matrix",
    "decision_regions",
    "decoded_plane",
    "denoising",
    "discrete_code_by_class",
    "embedding_map",
    "first_layer_filters",
    "label_accuracies",
    "latent_kl",
    "learning_curves",
    "nearest_words",
    "per_class",
    "predicted_against_true",
    "reconstructions",
    "regularizers",
    "residuals",
    "roc_curve",
    "telling_words",
    "text_lengths",
    "traversal_animation",
    "traversals",
    "worst_mistakes",
]
