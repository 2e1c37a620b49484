"""A comparison of runs in words, as tables and as a page."""

import base64
import os
import pathlib
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from .. import files, formatting
from ..figures import comparison as figures
from ..figures import style as figure_style
from ..records import Cell, Comparison, Pair
from ..records.comparison import NOT_TESTED, OVER_SEEDS, epoch_seconds
from . import style
from .banner import data_banner
from .tables import Section, code, escape, section, section_of, table, text

FEW = 10  # pairs, all of which are said on the terminal
_DRAWN: tuple[Callable[[Comparison], Figure | None], ...] = (
    figures.metric_by_cell,
    figures.curves_by_epoch,
    figures.curves_by_seconds,
)


def comparison_table(comparison: Comparison) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Returns head and rows of the table of cells, the best first, failed ones last."""
    metric, curve = comparison.metric, comparison.curve
    value = formatting.number(curve, comparison.threshold)
    timed = f"time to {value} {formatting.words(curve)}" if curve else "time"
    measured = f"test {formatting.with_unit(metric)} [95 % interval]"
    head = ("", "seeds", measured, "parameters", "epochs", "s per epoch", timed)
    ranked = comparison.ranked
    others = [i for i in range(len(comparison.cells)) if i not in ranked]
    return head, [_row(comparison, comparison.cells[i]) for i in (*ranked, *others)]


def _row(comparison: Comparison, cell: Cell) -> tuple[str, ...]:
    runs = cell.runs.values()
    if not runs:
        return (cell.name, "0", "failed", *[""] * 4)
    measured = formatting.measured(comparison.metric, cell.mean(comparison.metric))
    epochs = sorted({len(run.history.get("epoch", ())) for run in runs})
    every = cell.epoch_seconds
    return (
        cell.name,
        str(len(runs)),
        measured,
        formatting.count(cell.parameters),
        "–".join(str(n) for n in dict.fromkeys((epochs[0], epochs[-1]))),
        formatting.MISSING if every is None else f"{every:.3g}",
        _time(comparison, cell),
    )


def _time(comparison: Comparison, cell: Cell) -> str:
    """Writes the median time of the seeds that reached the value."""
    times = [comparison.time_to(run) for run in cell.runs.values()]
    reached = [t for t in times if t is not None]
    if not reached:
        return "never" if comparison.curve else formatting.MISSING
    said = formatting.duration(statistics.median(reached))
    return said if len(reached) == len(times) else f"{said} ({len(reached)} of {len(times)} seeds)"


def comparison_lines(comparison: Comparison, every: bool = False) -> list[str]:
    """Writes what a comparison says: of the best, of pairs, and notes.

    Args:
        comparison: The comparison.
        every: Whether all pairs are said, if they are many; else those of the best.
    """
    pairs = comparison.pairs
    if len(pairs) > FEW and not every:
        best = comparison.ranked[0]
        shown = [pair for pair in pairs if pair.first == best]
        rest = f"{len(pairs) - len(shown)} other pairs are on the page."
        pairs, more = shown, [rest]
    else:
        more = []
    said = [sentence(comparison, pair) for pair in pairs]
    return [*_lead(comparison), *said, *more, *comparison.notes]


def _lead(comparison: Comparison) -> list[str]:
    """Says what the best is, if there are more than two."""
    ranked = comparison.ranked
    if len(ranked) < 3:
        return []
    best = comparison.cells[ranked[0]].name
    of_best = [pair for pair in comparison.pairs if pair.first == ranked[0]]
    if turned := [comparison.cells[pair.second].name for pair in of_best if pair.turned]:
        better = (
            f"{'; '.join(turned)} {'are' if len(turned) > 1 else 'is'} better by what is tested"
        )
        return [f"{best} has the best mean, but {better}, see below."]
    same = [comparison.cells[pair.second].name for pair in of_best if not pair.differ]
    if not same:
        return [f"{best} is better than all others."]
    if len(same) == len(of_best):
        return [f"{best} has the best mean, and cannot be told from any other."]
    listed = "; ".join(same) if len(same) <= 4 else f"{len(same)} of {len(of_best)} others"
    return [f"{best} has the best mean; it cannot be told from {listed}."]


def sentence(comparison: Comparison, pair: Pair) -> str:
    """Writes the verdict on a pair in a sentence."""
    first, second = (comparison.cells[i] for i in (pair.first, pair.second))
    test, metric = pair.test, pair.metric
    if pair.kind == NOT_TESTED or test is None or test.p is None:
        means = (first.mean(comparison.metric), second.mean(comparison.metric))
        values = " and ".join(formatting.number(comparison.metric, m["value"]) for m in means)
        reason = pair.reason or "the difference is not finite"
        return f"{first.name} and {second.name} are not tested: {reason} ({values})."
    change = {"value": test.value, "low": test.low, "high": test.high}
    if pair.turned:
        first, second = second, first
        change = {"value": -test.value, "low": _minus(test.high), "high": _minus(test.low)}
    where = _where(pair)
    tested = sum(p.corrected is not None for p in comparison.pairs)
    after = f" after Holm's correction for {tested} pairs" if tested > 1 else ""
    said = f"{formatting.words(metric)} {difference(metric, change)}"
    p = p_value(pair.corrected)
    said += f"{where}, p {'=' * (p[0] != '<')} {p}{after} ({test.name}).".replace("p  <", "p <")
    if not pair.differ:
        return f"{first.name} and {second.name} are not distinguishable: {said}"
    return f"{first.name} is better than {second.name}: {said}"


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _where(pair: Pair) -> str:
    assert pair.test is not None
    if pair.kind == OVER_SEEDS:
        return f" over {pair.test.n} seeds"
    examples = formatting.counted(pair.test.n, "test example")
    return f" on {examples}" + (f" with each of {len(pair.within)} seeds" * (len(pair.within) > 1))


def difference(metric: str, entry: Mapping[str, float | None]) -> str:
    """Formats a difference of a metric: "+1.20 [+0.40, +2.00] points"."""
    name = f"{metric.partition('/')[0]}_above_"  # which is signed
    unit = formatting.unit_of(name) or formatting.unit_of(metric)
    return f"{formatting.measured(name, entry)} {unit}".rstrip()


def p_value(p: float | None) -> str:
    """Formats a p-value: "0.02", "< 0.001"."""
    if p is None:
        return formatting.MISSING
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def comparison_rows(comparison: Comparison, place: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the rows of comparison.csv, one for each run: settings, metrics, size, times.

    Args:
        comparison: The comparison.
        place: Its folder, from which those of the runs are named.
    """
    rows = []
    for i, seed, run in comparison.runs:
        rows.append(
            {
                **comparison.cells[i].keys,
                "seed": seed,
                **{name: entry.get("value") for name, entry in run.metrics.items()},
                "parameters": run.record.model.parameters if run.record.model else None,
                "epochs_trained": len(run.history.get("epoch", ())),  # `epochs` can be a key
                "seconds_per_epoch": epoch_seconds(run),
                "seconds": run.record.times.get("train"),
                "seconds_to_value": comparison.time_to(run),
                "folder": os.path.relpath(run.folder, place),
                "error": "",
            }
        )
    for cell in comparison.cells:
        rows += [{**cell.keys, "seed": s, "error": error} for s, error in cell.failed.items()]
    return rows


def write_comparison(comparison: Comparison, folder: pathlib.Path, command: str) -> pathlib.Path:
    """Writes `comparison.html`, one file that needs no network; returns its path."""
    path = folder / "comparison.html"
    first = comparison.runs[0][2].record
    names = dict.fromkeys(run.name for _, _, run in comparison.runs)
    keys = ", ".join(dict.fromkeys(key for cell in comparison.cells for key in cell.keys))
    title = f"{', '.join(names)}: comparison" + (f" of {keys}" if keys else " over seeds")
    head, rows = comparison_table(comparison)
    lines = comparison_lines(comparison)
    shown = lines[: 1 if len(comparison.ranked) != 2 else 2] if comparison.pairs else lines
    parts = [
        f"<header><h1>{text(title)}</h1>\n<p class='lead'>{text(shown[0]) if shown else ''}</p>"
        f"<p class='quiet'>Data: {text(first.data.description)}</p></header>",
        data_banner(first),
        section("Cells" if len(comparison.cells) > 1 else "Result", table(head, rows, "cells")),
        "".join(f"<p>{text(note)}</p>" for note in comparison.notes),
        _figures(comparison),
        section_of(_pairs(comparison)),
        _runs(comparison, folder),
        section("Again", f"<pre>{code(command)}</pre>") if command else "",
    ]
    page = style.PAGE.format(
        title=escape(title),
        icon=style.ICON,
        style=style.STYLE + _STYLE,
        body="\n".join(filter(None, parts)),
    )
    files.write_bytes(path, page.encode())
    return path


_STYLE = """
.banner { margin-top: 1rem; }
.cells :is(th, td):nth-child(n+2) { white-space: nowrap; }
.cells :is(td, th):nth-child(3) { white-space: normal; min-width: 11rem; }
.cells tbody th { min-width: 9rem; }
.cells thead th { white-space: normal !important; }
.pairs td:nth-child(n+3):not(:last-child) { white-space: nowrap; }
.pairs :is(th, td):first-child, .pairs td:nth-child(2) { min-width: 8rem; }
"""


def _figures(comparison: Comparison) -> str:
    cards = []
    for draw in _DRAWN:
        figure = draw(comparison)
        if figure is None:
            continue
        caption = text((draw.__doc__ or "").splitlines()[0])
        png = base64.b64encode(figure_style.to_png(figure)).decode()
        cards.append(
            f'<figure><img alt="{caption}" src="data:image/png;base64,{png}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    columns = (cards[::2], cards[1::2])
    body = "".join(f'<div class="column">{"".join(column)}</div>' for column in columns if column)
    return section("Figures", f'<div class="figures">{body}</div>') if cards else ""


def _pairs(comparison: Comparison) -> Section:
    """The table of all pairs, with the test within each seed."""
    rows = []
    seeds = {tuple(pair.within) for pair in comparison.pairs if pair.within}
    alike = len(seeds) == 1  # then the column's name has the seeds, and its cells need not
    for pair in comparison.pairs:
        test = pair.test
        entry = test._asdict() if test else {}
        within = [
            ("" if alike else f"{seed}: ") + p_value(one.p) for seed, one in pair.within.items()
        ]
        rows.append(
            (
                comparison.cells[pair.first].name,
                comparison.cells[pair.second].name,
                difference(pair.metric, entry) if test else formatting.MISSING,
                p_value(test.p if test else None),
                p_value(pair.corrected),
                _verdict(pair),
                ", ".join(within) or formatting.MISSING,
            )
        )
    change = f"difference of {formatting.words(comparison.metric)}"
    with_seed = f"p with seed {', '.join(map(str, seeds.pop()))}" if alike else "p by seed"
    tested = ("p", "p after Holm", "verdict at 5 %", with_seed)
    return Section(
        "Pairs", ("", "against", change, *tested), rows, _about_tests(comparison), look="pairs"
    )


def _verdict(pair: Pair) -> str:
    if pair.corrected is None:
        return f"not tested: {pair.reason}"
    return "differ" if pair.differ else "not distinguishable"


def _about_tests(comparison: Comparison) -> str:
    kinds = {pair.test.name for pair in comparison.pairs if pair.test and pair.test.p is not None}
    if not kinds:
        return ""
    return (
        f"p: {', '.join(sorted(kinds))}. A difference stands out if p after Holm's correction for "
        "all pairs is below 0.05. Intervals are of one pair alone, at 95 %."
    )


def _runs(comparison: Comparison, folder: pathlib.Path) -> str:
    metric = comparison.metric
    rows: Sequence[Sequence[str]] = [
        (
            f"{comparison.cells[i].name}, seed {seed}",
            formatting.measured(metric, run.metrics[metric]),
            str(os.path.relpath(run.folder, folder)),
        )
        for i, seed, run in comparison.runs
    ]
    head = ("run", f"test {formatting.with_unit(metric)} [95 % interval]", "folder")
    return section("Runs", table(head, rows, "cells"))
