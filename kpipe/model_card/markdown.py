"""Pieces of Markdown, in GitHub's dialect, which the Hub renders. All text is escaped."""

import re
from collections.abc import Iterable, Sequence

from .. import formatting
from ..report import Section

LONG = 24  # rows of a table, more of which are folded
# Punctuation that begins something else than text; "]" only before what makes a link of it, and "_"
# only where it can begin emphasis, so that names and intervals stay readable in the source.
_SPECIAL = re.compile(r"[\\`*<|~$]|&(?=#?\w+;)|\](?=[(\[])|(?<![^\W_])_|_(?![^\W_])")
# What begins a list, a heading, a quotation, a rule, or the target of a link.
_FIRST = re.compile(r"[-+#=>\[]|\d+(?=[.)])")


def text(content: object) -> str:
    r"""Escapes text, in one line, so that Markdown shows it unchanged.

    Example:
        text("a|b")  # a, a backslash, |b: no cell of a table ends there
    """
    line = " ".join(str(content).split())
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", line)


def paragraph(content: object) -> str:
    """Escapes text that begins a line."""
    escaped = text(content)
    if start := _FIRST.match(escaped):
        end = start.end() - (not start[0].isdigit())
        return f"{escaped[:end]}\\{escaped[end:]}"
    return escaped


def code(content: object) -> str:
    """Writes text in a code span; its bars are escaped for tables."""
    line = " ".join(str(content).split()).replace("|", "\\|")
    fence = _longer_than(line, "`")
    space = " " if line[:1] == "`" or line[-1:] == "`" else ""
    return f"{fence}{space}{line}{space}{fence}" if line else ""


def block(language: str, *lines: str) -> str:
    """Writes lines of code; what begins a comment of HTML, such as our markers, does not."""
    content = "\n".join(lines).replace("<!--", "<! --")
    fence = max("```", _longer_than(content, "`"), key=len)
    return f"{fence}{language}\n{content}\n{fence}"


def _longer_than(content: str, mark: str) -> str:
    longest = max((len(run) for run in re.findall(rf"{mark}+", content)), default=0)
    return mark * (longest + 1)


def bullets(lines: Iterable[str]) -> str:
    """Writes a list of lines that are Markdown already."""
    return "\n".join(f"- {line}" for line in lines)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Writes a table of cells that are Markdown already; a long one is folded."""
    lines = [_row(row) for row in rows]
    content = "\n".join([_row(head), _row(["---"] * len(head)), *lines])
    if len(lines) <= LONG:
        return content
    summary = f"{len(lines):,} rows"
    return f"<details>\n<summary>{summary}</summary>\n\n{content}\n\n</details>"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def settings(title: str, rows: Iterable[tuple[str, object]], exact: bool = False) -> str:
    """Writes a table of names and values of a run's record, without those that are not known."""
    rows = ((name, value) for name, value in rows if value not in (None, "", []))
    shown = [(text(name), text(formatting.value(value, exact))) for name, value in rows]
    return table((title, ""), shown) if shown else ""


def section(content: Section, level: int = 3) -> str:
    """Writes a table of the report, with its heading and note; "" if it has no rows."""
    if not content.rows:
        return ""
    rows = [
        [text(cell) or "(empty)" if not i else text(cell) for i, cell in enumerate(row)]
        for row in content.rows
    ]
    title, head = paragraph(content.title), [text(cell) for cell in content.head]
    note = paragraph(content.note)
    return join(f"{'#' * level} {title}", note, table(head, rows))


def join(*parts: str) -> str:
    """Writes parts with an empty line between them; empty ones are left out."""
    return "\n\n".join(part for part in parts if part)
