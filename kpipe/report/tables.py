"""Pieces of HTML. All arguments are escaped, except `body`, which is HTML already."""

import html
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from .. import formatting

_SPACE = "\N{NO-BREAK SPACE}"


class Section(NamedTuple):
    """A table of a report, with a heading and a note.

    Attributes:
        title: The heading.
        head: Names of the columns.
        rows: Rows with one cell per column; the first cell is the row's name.
        note: A sentence above the table.
        look: "numbers" for columns of numbers, "texts" for a wide first column.
        metrics: Metrics shown in it, which are left out of the table of all metrics.

    Example:
        Section("Classes", ("class", "recall"), [("cat", "91.20 %")], "One class per row.")
    """

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    look: str = "numbers"
    metrics: frozenset[str] = frozenset()


def section(title: str, body: str) -> str:
    """Writes a heading and the content below it."""
    return f"<section><h2>{text(title)}</h2>\n{body}</section>"


def section_of(content: Section) -> str:
    """Writes a `Section`; "" if it has no rows."""
    if not content.rows:
        return ""
    body = table(content.head, content.rows, look=content.look)
    return section(content.title, paragraph(content.note) + body)


def paragraph(sentence: str) -> str:
    """Writes a paragraph; "" if it is empty."""
    return f"<p>{text(sentence)}</p>\n" if sentence else ""


def grid(*blocks: str) -> str:
    """Writes blocks side by side, as many as fit on the page."""
    return f'<div class="grid">{"".join(filter(None, blocks))}</div>'


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    look: str = "",
    marked: Collection[str] = (),
) -> str:
    """Writes a table in a scrollable box.

    Args:
        head: Names of the columns.
        rows: Rows with one cell per column; the first cell is the row's name.
        look: Class in the style sheet.
        marked: Names of the rows to highlight.
    """
    top = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    body = ""
    for first, *rest in rows:
        cells = "".join(f"<td>{_cell(cell)}</td>" for cell in rest)
        row_class = ' class="marked"' if first in marked else ""
        body += f'<tr{row_class}><th scope="row">{_cell(first)}</th>{cells}</tr>\n'
    return f"""<div class="scroll"><table class="{look}"><thead><tr>{top}</tr></thead>
<tbody>{body}</tbody></table></div>
"""


def settings(
    title: str,
    values: Mapping[str, object],
    marked: Collection[str] = (),
    exact: bool = False,
) -> str:
    """Writes a table of names and values; "" if there are none.

    Args:
        title: The heading.
        values: Values of the record, by name.
        marked: Names of the rows to highlight.
        exact: Whether floats keep all their digits, so that they can be typed again.
    """
    rows = [(key, formatting.value(value, exact)) for key, value in values.items()]
    return table((title, ""), rows, look="settings", marked=marked) if rows else ""


def text(content: object) -> str:
    """Escapes text; numbers are not separated from their units, nor intervals broken."""
    escaped = escape(content)
    escaped = re.sub(r"(?<=\d) (?=(%|dB|nats|s|min|h)\b|%)|(?<=&lt;) (?=\d)", _SPACE, escaped)
    return re.sub(r"\[\S+?, \S+?\]", lambda found: found[0].replace(" ", _SPACE), escaped)


def _cell(content: object) -> str:
    """Escapes text; long names and paths may break after = and before words, not in numbers."""
    return re.sub(r"(?<=\w=)(?=\S)|(?<=[/,])(?=[^\W\d])", "<wbr>", text(content))


def code(command: str) -> str:
    """Writes a command that breaks only at spaces, not at the hyphens of --data or 1e-05."""
    words = command.split(" ")
    return " ".join(f'<span class="whole">{escape(word)}</span>' for word in words)


def escape(content: object) -> str:
    """Escapes text, so that HTML shows it unchanged."""
    return html.escape("" if content is None else str(content))
