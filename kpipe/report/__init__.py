"""The report of a finished run: one HTML file that needs no network, script or other file."""

from . import look
from .page import write
from .tables import Section

__all__ = ["Section", "look", "write"]
