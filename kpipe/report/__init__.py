"""The report of a finished run: one HTML file that needs no network, script or other file."""

from .look import write_look
from .look_words import lines as look_lines
from .page import write
from .tables import Section

__all__ = ["Section", "look_lines", "write", "write_look"]
