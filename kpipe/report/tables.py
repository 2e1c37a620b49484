"""Pieces of HTML. They escape all they are given, except a `body`, which is HTML already."""

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
        rows: As many cells each; the first is the row's name.
        note: A sentence above the table.
        look: "numbers" for columns of numbers, "texts" for a wide first column.
        metrics: The metrics that it shows; they are not listed again among all metrics.

    Example:
        Section("Classes", ("class", "recall"), [("cat", "91.20 %")], "One in a row.")
    """

    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    look: str = "numbers"
    metrics: frozenset[str] = frozenset()


def section(title: str, body: str) -> str:
    """A heading and what is below it."""
    return f"<section><h2>{text(title)}</h2>\n{body}</section>"


def section_of(content: Section) -> str:
    """A `Section`; nothing if it has no rows."""
    if not content.rows:
        return ""
    body = table(content.head, content.rows, look=content.look)
    return section(content.title, paragraph(content.note) + body)


def paragraph(sentence: str) -> str:
    """A sentence or two; nothing if there are none."""
    return f"<p>{text(sentence)}</p>\n" if sentence else ""


def grid(*blocks: str) -> str:
    """Blocks side by side, as many as the page has room for."""
    return f'<div class="grid">{"".join(filter(None, blocks))}</div>'


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    look: str = "",
    marked: Collection[str] = (),
) -> str:
    """A table in a box that scrolls by itself.

    Args:
        head: Names of the columns.
        rows: As many cells each; the first is the row's name.
        look: Its class in the style sheet.
        marked: Names of the rows that are highlighted.
    """
    top = "".join(f'<th scope="col">{text(cell)}</th>' for cell in head)
    body = ""
    for first, *rest in rows:
        cells = "".join(f"<td>{text(cell)}</td>" for cell in rest)
        row_class = ' class="marked"' if first in marked else ""
        body += f'<tr{row_class}><th scope="row">{text(first)}</th>{cells}</tr>\n'
    return f"""<div class="scroll"><table class="{look}"><thead><tr>{top}</tr></thead>
<tbody>{body}</tbody></table></div>
"""


def settings(
    title: str,
    values: Mapping[str, object],
    marked: Collection[str] = (),
    exact: bool = False,
) -> str:
    """A table of names and values; nothing if there are none.

    Args:
        title: Its heading.
        values: What the record says.
        marked: Names of the rows that are highlighted.
        exact: Whether floats keep all their digits, to be typed again.
    """
    rows = [(key, formatting.value(value, exact)) for key, value in values.items()]
    return table((title, ""), rows, look="settings", marked=marked) if rows else ""


def text(content: object) -> str:
    """Escaped text, in which a number stays on the line of its unit, and an interval on one."""
    escaped = escape(content)
    escaped = re.sub(r"(?<=\d) (?=(%|dB|nats|s|min|h)\b|%)", _SPACE, escaped)
    return re.sub(r"\[\S+?, \S+?\]", lambda found: found[0].replace(" ", _SPACE), escaped)


def code(command: str) -> str:
    """A command that breaks at its spaces only, not at the hyphens of --data or 1e-05."""
    words = command.split(" ")
    return " ".join(f'<span class="whole">{escape(word)}</span>' for word in words)


def escape(content: object) -> str:
    """Text that HTML shows as it is."""
    return html.escape("" if content is None else str(content))
