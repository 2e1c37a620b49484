"""What an answer hangs on: attributions by gradients, and by erasing words or values."""

from .explaining import explain, explain_image, kind_of, methods_of, pixels_of
from .explanation import Explanation, said
from .network import Network
from .words import explain_words

__all__ = [
    "Explanation",
    "Network",
    "explain",
    "explain_image",
    "explain_words",
    "kind_of",
    "methods_of",
    "pixels_of",
    "said",
]
