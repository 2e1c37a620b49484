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
from .training import notes_of, summary_of, times_of
from .words import compared, data_facts, difference, metrics_section, target

__all__ = [
    "LEARNING_CURVE",
    "Section",
    "about_data",
    "as_metric",
    "compared",
    "comparison_lines",
    "comparison_rows",
    "comparison_table",
    "data_facts",
    "difference",
    "learning_curve_lines",
    "learning_curve_section",
    "learning_curve_table",
    "look_lines",
    "metrics_section",
    "notes_of",
    "read_learning_curve",
    "sentence",
    "summary_of",
    "target",
    "times_of",
    "write",
    "write_comparison",
    "write_look",
    "write_search",
]
