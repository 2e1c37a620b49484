"""Serving: runs behind TensorFlow Serving's REST protocol, with a page to try them."""

from .limits import Limits
from .server import Server, names_of
from .versions import Settings

__all__ = ["Limits", "Server", "Settings", "names_of"]
