"""The report of a finished run: one HTML file that needs no network, script or other file."""

from .banner import about_data
from .comparison import (
    comparison_lines,
    comparison_rows,
    comparison_table,
    sentence,
    write_comparison,
)
from .learning_curve import (
    LEARNING_CURVE,
    as_metric,
    learning_curve_lines,
    learning_curve_section,
    learning_curve_table,
    read_learning_curve,
)
from .look import write_look
from .look_words import lines as look_lines
from .page import write
from .search import write_search
from .tables import Section

__all__ = [
    "LEARNING_CURVE",
    "Section",
    "about_data",
    "as_metric",
    "comparison_lines",
    "comparison_rows",
    "comparison_table",
    "learning_curve_lines",
    "learning_curve_section",
    "learning_curve_table",
    "look_lines",
    "read_learning_curve",
    "sentence",
    "write",
    "write_comparison",
    "write_look",
    "write_search",
]
