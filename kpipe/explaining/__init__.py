"""What an answer hangs on: attributions by gradients, and by erasing words or values."""

from .explaining import explain
from .explanation import Explanation, said
from .images import explain_image, image_methods, pixels_of
from .network import Network
from .subject import kind_of, methods_of
from .words import explain_words

__all__ = [
    "Explanation",
    "Network",
    "explain",
    "explain_image",
    "explain_words",
    "image_methods",
    "kind_of",
    "methods_of",
    "pixels_of",
    "said",
]
