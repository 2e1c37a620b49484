"""Tells what a conversion costs and keeps, in a table."""

import math
from collections.abc import Mapping
from typing import Any

from .. import formatting
from ..disk import megabytes


def table(content: Mapping[str, Any]) -> list[str]:
    """Writes what was measured, beside the SavedModel.

    Args:
        content: The content of export.json.
    """
    quantize, quality, proof = content["quantize"], content["quality"], content["proof"]
    name = f"{content['format']} {quantize}" if quantize else content["format"]
    rows: list[tuple[str, ...]] = [
        ("", "SavedModel", name, ""),
        ("size", megabytes(content["savedmodel_bytes"]), megabytes(content["bytes"]), ""),
    ]
    for size, times in content["speed"]["milliseconds"].items():
        threads = formatting.counted(content["speed"]["threads"], "thread")
        rows.append((f"ms an example, batch {size}", *(f"{t:.4g}" for t in times), threads))
    if quality:
        metric = quality["metric"]
        both = (formatting.measured(metric, quality[key]) for key in ("before", "after"))
        rows.append((formatting.with_unit(metric), *both, difference(quality)))
        if quality["changed"] is not None:
            rows.append(("answers changed", "", formatting.percent(quality["changed"]), ""))
    where = f"batches of {', '.join(map(str, proof['batches']))}"
    if proof["test_examples"] is None:
        where += "; the test split was not replayed, since its prepared arrays do not exist"
    else:
        where += f" and {proof['test_examples']:,} test examples"
    allowed = f", allowed {formatting.small(proof['tolerance'])}" if proof["tolerance"] else ""
    largest = f"{formatting.small(proof['max_difference'])}{allowed}"
    rows.append(("largest difference", "", largest, where))
    widths = [max(len(row[i]) for row in rows if row[3] or i < 3) for i in range(3)]
    lines = []
    for *cells, note in rows:
        padded = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        lines.append(f"  {padded}  {note}".rstrip())
    return lines


def difference(quality: Mapping[str, Any]) -> str:
    """Writes a metric's difference, after minus before, with its paired 95 % interval.

    Args:
        quality: Result of `proving.compare`.
    """
    metric, entry = quality["metric"], quality["difference"]
    if formatting.is_share(metric):
        value, low, high = (
            formatting.MISSING if entry[key] is None else formatting.points(entry[key])
            for key in ("value", "low", "high")
        )
        return f"{value} points [{low}, {high}]"
    # A float32 has 7 digits: what is beyond them is not shown.
    size = abs(quality["before"]["value"] or 1.0)
    decimals = 6 - math.floor(math.log10(size or 1.0))
    value, low, high = (
        formatting.MISSING if entry[key] is None else f"{round(entry[key], decimals) + 0.0:+.3g}"
        for key in ("value", "low", "high")
    )
    return f"{value} [{low}, {high}]"
