"""The look at a user's own data as HTML: in a run's report, and as a page of its own."""

import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from .. import files, formatting
from ..datasets.look import ColumnLook, Look
from . import look_words as words
from . import style
from .look_words import clean, lines
from .tables import escape, grid, table, text

__all__ = ["lines", "sections", "write_look"]

BARS = 24  # classes with a bar; of more classes the largest and the smallest ones
ROWS = 30  # columns of a table that are shown at once
LISTED = 1000  # classes or columns that can be unfolded
PAIRS = 10  # examples and their copies
OPEN = 10  # unreadable examples that are not folded
SKEWED = 50  # ratio of maximum to minimum, or median if that is 0, for a logarithmic scale


def sections(look: Look) -> str:
    """Writes the section of a run's report."""
    return f'<section class="look"><h2>The data</h2>\n{_blocks(look, "h3")}</section>'


def write_look(look: Look, path: pathlib.Path) -> pathlib.Path:
    """Writes the page of `kpipe look`, one HTML file that needs no network.

    Args:
        look: What was found in the user's data.
        path: Path of the file.

    Returns:
        The path.
    """
    title = escape(f"{clean(look.name)}: a look at the data")
    body = f"""<header><h1>{title}</h1></header>
<section class="look">{_blocks(look, "h2")}</section>"""
    page = style.PAGE.format(title=title, icon=style.ICON, style=style.STYLE, body=body)
    files.write_bytes(path, page.encode())
    return path


def _blocks(look: Look, heading: str) -> str:
    """Writes everything that was found; `heading` is the tag of headings."""
    target = next((column.name for column in look.columns if column.use == "target"), "target")
    formats = _counts(("format", look.what), look.formats)
    conversions = _counts(("conversion", look.what), look.converted)
    parts = {
        "Labels" if look.task == "multilabel" else "Classes": _classes(look),
        "Target": _fives({target: look.values} if look.values else {}),
        "Columns": _columns(look),
        "Sizes": _fives(look.sizes),
        "Formats": grid(formats, conversions) if formats or conversions else "",
        "Copies": _copies(look),
        "Left out as unreadable": _unreadable(look),
        "Notes": _bullets(look.notes),
    }
    written = (f"<{heading}>{name}</{heading}>\n{body}" for name, body in parts.items() if body)
    return _warnings(look) + _overview(look) + "\n".join(written)


# Blocks of the page; "" if there is nothing to show.


def _warnings(look: Look) -> str:
    if not look.warnings:
        return ""
    count = len(look.warnings)
    title = "WARNING" if count == 1 else f"{count:,} WARNINGS"
    return f"""<aside class="banner"><strong>{title}</strong>
{_bullets(look.warnings)}</aside>
"""


def _overview(look: Look) -> str:
    missing = [column for column in look.columns if column.missing]
    values = f"{sum(column.missing for column in missing):,}"
    several = f"{values} in {formatting.counted(len(missing), 'column')}" if missing else "none"
    columns = {
        "Inputs": f"{len(words.inputs(look)):,} of {len(look.columns):,} columns",
        "Columns left out": words.listed(words.left_out(look)) or "none",
        "Missing values": several,
    }
    number = f"{len(look.classes):,}" if look.classes else ""
    facts = {
        "Examples": words.examples(look),
        "Task": words.task(look),
        "Splits": words.splits(look),
        "Classes": "; ".join(filter(None, [number, words.balance(look)])),
        **(columns if look.columns else {}),
        "Copies": words.copies(look) or "none",
        "Unreadable": f"{len(look.unreadable):,} left out" if look.unreadable else "none",
    }
    pairs = (f"<div><dt>{k}</dt><dd>{text(v)}</dd></div>" for k, v in facts.items() if v)
    return f'<dl class="facts">{"".join(pairs)}</dl>\n'


def _classes(look: Look) -> str:
    """Draws a bar for each class, with a part for each split."""
    sizes = words.class_sizes(look)
    if not sizes:
        return ""
    parts = [*dict.fromkeys(split for counts in look.classes.values() for split in counts)]
    keys = "".join(f'<span class="key {_part(part)}">{_name(part)}</span>' for part in parts)
    legend = f'<p class="quiet">{_name(look.what).capitalize()} of each: {keys}</p>\n'
    longest = max(1, *sizes.values())

    def row(name: str) -> str:
        counts = look.classes[name].items()
        bar = "".join(_segment(n / longest, _part(part)) for part, n in counts)
        percent = text(words.percent(sizes[name], look))
        return f"""<tr><th scope="row">{_name(name, 60)}</th><td><span class="bar">{bar}</span></td>
<td>{sizes[name]:,}</td><td class="quiet">{percent}</td></tr>
"""

    if len(sizes) <= BARS:
        return legend + _bars(map(row, sizes))
    ordered, half = words.by_size(look), BARS // 2
    between = f'<tr><td colspan="4" class="quiet">{len(sizes) - BARS:,} classes between</td></tr>\n'
    rows = [*map(row, ordered[:half]), between, *map(row, ordered[-half:])]
    every = "".join(f"<li>{_name(name)} <b>{sizes[name]:,}</b></li>" for name in [*sizes][:LISTED])
    folded = _folded(len(sizes), "classes", f'<ul class="many">{every}</ul>')
    return legend + _bars(rows) + folded


def _bars(rows: Iterable[str]) -> str:
    return f'<table class="bars"><tbody>{"".join(rows)}</tbody></table>\n'


def _part(split: str) -> str:
    return f"part-{split}" if split in ("train", "val") else "part-test"


def _segment(share: float, look: str) -> str:
    return f'<i class="{look}" style="width:{100 * min(1.0, share):.2f}%"></i>'


def _columns(look: Look) -> str:
    used, unused = words.inputs(look), words.unused(look)
    others = [column for column in look.columns if column not in (*used, *unused)]
    if len(look.columns) <= ROWS:
        return _table_of([*others, *unused, *used], look) if look.columns else ""
    some = [*others, *unused[: ROWS // 2], *used][:ROWS]
    rest = _folded(len(look.columns), "columns", _table_of(look.columns[:LISTED], look))
    return _table_of(some, look) + rest


def _table_of(columns: Iterable[ColumnLook], look: Look) -> str:
    top = "".join(
        f'<th scope="col">{cell}</th>'
        for cell in ("column", "use", "missing", "different", "values")
    )
    rows = ""
    for column in columns:
        gap = _segment(column.missing / max(1, words.total(look)), "gap")
        share = text(f"{column.missing:,} ({words.percent(column.missing, look)})")
        missing = f'<span class="bar">{gap}</span> {share}' if column.missing else "none"
        quiet = ' class="quiet"' if column.use.startswith("left out") else ""
        rows += f"""<tr{quiet}><th scope="row">{_name(column.name)}</th><td>{_name(column.use)}</td>
<td>{missing}</td><td>{column.different:,}</td><td>{_name(column.summary)}</td></tr>
"""
    return f"""<div class="scroll"><table class="columns"><thead><tr>{top}</tr></thead>
<tbody>{rows}</tbody></table></div>
"""


def _fives(distributions: Mapping[str, Sequence[float]]) -> str:
    drawn = "".join(_five(name, five) for name, five in distributions.items())
    return f'<div class="fives">{drawn}</div>\n' if drawn else ""


def _five(name: str, five: Sequence[float]) -> str:
    """Draws minimum, quartiles and maximum as a box with whiskers."""
    low, high = five[0], five[-1]
    if not low < high:
        always = f"<p>always {formatting.quantity(low)}</p>"
        return f'<div class="five"><p class="quiet">{_name(name)}</p>{always}</div>\n'
    logarithmic = low >= 0 and high > SKEWED * (low or max(1, five[2]))
    scale = (math.log if low else math.log1p) if logarithmic else float
    first, last = scale(low), scale(high)
    places = [100 * (scale(value) - first) / (last - first) for value in five]
    numbers = "".join(
        f"<span><small>{text(what)}</small> {formatting.quantity(value)}</span>"
        for what, value in zip(("min", "25 %", "median", "75 %", "max"), five, strict=True)
    )
    note = ", logarithmic scale" if logarithmic else ""
    return f"""<div class="five"><p class="quiet">{_name(name)}{note}</p>
<div class="box"><i style="left:{places[1]:.2f}%;width:{places[3] - places[1]:.2f}%"></i>
<b style="left:{places[2]:.2f}%"></b></div><p class="quartiles">{numbers}</p></div>
"""


def _counts(head: tuple[str, str], counts: Mapping[str, int]) -> str:
    rows = [(clean(name), f"{count:,}") for name, count in counts.items()]
    return table(head, rows, look="numbers") if rows else ""


def _copies(look: Look) -> str:
    sentence = words.copies(look)
    pairs = [(clean(name), clean(copy)) for name, copy in look.copies.examples[:PAIRS]]
    shown = table(("example", "its copy"), pairs, look="names") if pairs else ""
    return f"<p>{text(look.what).capitalize()}: {text(sentence)}.</p>\n{shown}" if sentence else ""


def _unreadable(look: Look) -> str:
    rows = [(clean(name, 500), clean(reason, 500)) for name, reason in look.unreadable]
    if not rows:
        return ""
    shown = f'<div class="long">{table(("left out", "reason"), rows, look="names")}</div>'
    return shown if len(rows) <= OPEN else _folded(len(rows), "unreadable ones", shown, cut=False)


def _bullets(sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{text(clean(sentence, 10_000))}</li>" for sentence in sentences)
    return f"<ul>{items}</ul>" if items else ""


def _folded(count: int, what: str, body: str, cut: bool = True) -> str:
    title = f"{LISTED:,} of {count:,} {what}" if cut and count > LISTED else f"All {count:,} {what}"
    return f"<details><summary>{title}</summary>\n{body}</details>\n"


def _name(content: str, most: int = words.NAME) -> str:
    return escape(clean(content, most))
