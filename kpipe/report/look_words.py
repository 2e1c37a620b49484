"""The look at a user's own data in words: for a terminal and for the overview of a page."""

import itertools
import textwrap
import unicodedata
from collections.abc import Mapping, Sequence

from .. import formatting
from ..datasets.look import ColumnLook, Look

WIDTH = 88  # characters of a line in a terminal
NAME = 100  # characters of a name; longer ones are cut
ROOM = 120  # characters of a list
FEW = 8  # classes that are listed in one line
INPUTS = ("number", "category", "boolean", "date", "text")


def lines(look: Look) -> list[str]:
    """Writes what a user reads in a terminal before the training: warnings last, and in full.

    Example:
        lines(datasets.image_folder("photos").find().look)
    """
    rows = {
        "task": task(look),
        "splits": splits(look),
        "classes": _classes(look),
        "balance": balance(look),
        "target": _range(look.values),
        "inputs": listed([clean(column.name, 40) for column in inputs(look)]),
        "left out": listed(left_out(look)),
        "missing": _missing(look),
        "sizes": listed([f"{clean(name)} {_range(five)}" for name, five in look.sizes.items()]),
        "formats": _counted(look.formats),
        "converted": _counted(look.converted),
        "copies": copies(look),
        "unreadable": _unreadable(look),
    }
    said = _wrapped("", 2, f"{clean(look.name)}: {examples(look)}")
    for label, sentence in rows.items():
        said += _wrapped(f"  {label:<12}", 14, sentence)
    for warning in look.warnings:
        said += _wrapped("WARNING: ", 9, clean(warning, most=10_000))
    return said


def _wrapped(first: str, indent: int, sentence: str) -> list[str]:
    wrapper = textwrap.TextWrapper(
        WIDTH, initial_indent=first, subsequent_indent=" " * indent, break_on_hyphens=False
    )
    return wrapper.wrap(sentence)


def examples(look: Look) -> str:
    """Counts the examples: "1,203 images"."""
    count = total(look)
    return f"{count:,} {look.what.removesuffix('s') if count == 1 else look.what}"


def task(look: Look) -> str:
    """Writes the task and why: "classification: rating has 5 different values"."""
    return ": ".join(filter(None, [clean(look.task), clean(look.reason, 200)]))


def splits(look: Look) -> str:
    """Writes the splits' sizes and how they were made."""
    sizes = ", ".join(f"{count:,} {clean(split)}" for split, count in look.examples.items())
    later = " (val is taken from train)" if sizes and "val" not in look.examples else ""
    return "; ".join(filter(None, [sizes + later, clean(look.divided, 200)]))


def balance(look: Look) -> str:
    """Compares the largest class with the smallest if it is over twice as large."""
    sizes = class_sizes(look).values()
    if look.task == "multilabel" or not sizes or max(sizes) <= 2 * min(sizes):
        return ""
    if not min(sizes):
        return "a class has no examples"
    times = f"{max(sizes) / min(sizes):.3g}"
    return f"the largest is {times} times the smallest; class_weight=balanced compensates"


def left_out(look: Look) -> list[str]:
    """Names the columns that are not used, each with its reason: "id (identifier)"."""
    return [
        f"{clean(column.name, 40)} ({clean(column.use, 60).removeprefix('left out: ')})"
        for column in unused(look)
    ]


def copies(look: Look) -> str:
    """Counts the copies: "13 exact, 4 similar"; "" if there are none."""
    found = {
        "exact": look.copies.exact,
        "similar": look.copies.near,
        "with another label": look.copies.conflicting,
    }
    return ", ".join(f"{count:,} {what}" for what, count in found.items() if count)


def _unreadable(look: Look) -> str:
    named = [f"{clean(name, 60)} ({clean(reason, 60)})" for name, reason in look.unreadable]
    return f"{len(named):,} left out: {listed(named)}" if named else ""


def _classes(look: Look) -> str:
    sizes = class_sizes(look)
    names = [*sizes] if len(sizes) <= FEW else by_size(look)
    named = [f"{clean(name, 25)} ({sizes[name]:,})" for name in names]
    if len(sizes) > FEW:
        named = [*named[:2], "...", *named[-2:]]
    return f"{len(sizes):,}: {', '.join(named)}" if sizes else ""


def _missing(look: Look) -> str:
    found = sorted(
        (c for c in look.columns if c.missing and c not in unused(look)),
        key=lambda column: -column.missing,
    )
    return listed([f"{clean(c.name, 30)} ({percent(c.missing, look)})" for c in found])


def _range(five: Sequence[float]) -> str:
    if not five:
        return ""
    low, _, median, _, high = map(formatting.quantity, five)
    return f"always {low}" if five[0] == five[-1] else f"{low} to {high} (median {median})"


def _counted(counts: Mapping[str, int]) -> str:
    return listed([f"{clean(name, 40)} ({count:,})" for name, count in counts.items()])


def listed(items: Sequence[str]) -> str:
    """Lists items, at least one and as many as fit in two lines: "a, b and 12 more"."""
    lengths = itertools.accumulate(len(item) + 2 for item in items)
    most = max(1, sum(length <= ROOM for length in lengths))
    rest = len(items) - most
    return ", ".join(items[:most]) + (f" and {rest:,} more" if rest > 0 else "")


def clean(content: str, most: int = NAME) -> str:
    """Returns text in one line without control characters; of a long one its beginning."""
    line = " ".join(str(content).split())
    line = "".join("?" if unicodedata.category(c) in ("Cc", "Cs") else c for c in line)
    return line if len(line) <= most else f"{line[: most - 3]}..."


# Parts of a look.


def total(look: Look) -> int:
    """Returns the number of examples."""
    return sum(look.examples.values())


def percent(count: int, look: Look) -> str:
    """Writes which share of the examples a count is: "19.9 %"."""
    share = count / max(1, total(look))
    return "< 0.1 %" if 0 < share < 0.0005 else formatting.percent(share, 1)


def class_sizes(look: Look) -> dict[str, int]:
    """Returns the number of examples of each class, in the order of classes."""
    return {name: sum(counts.values()) for name, counts in look.classes.items()}


def by_size(look: Look) -> list[str]:
    """Returns the classes, the largest first."""
    sizes = class_sizes(look)
    return sorted(sizes, key=lambda name: -sizes[name])


def inputs(look: Look) -> list[ColumnLook]:
    """Returns the columns that the network learns from."""
    return [column for column in look.columns if column.use in INPUTS]


def unused(look: Look) -> list[ColumnLook]:
    """Returns the columns that are left out."""
    return [column for column in look.columns if column.use.startswith("left out")]
