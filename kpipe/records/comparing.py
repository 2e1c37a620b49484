"""Groups runs into cells, and compares the cells."""

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import formatting
from ..errors import UserError
from ..measures import comparing as measures
from .comparison import NOT_TESTED, OVER_SEEDS, WITHIN_SEEDS, Cell, Comparison, Pair
from .folder import Run
from .record import Record

BEHIND = 0.02  # of the best value, or of 100 %: the threshold whose time is measured
# Words in the names of metrics that should fall.
_FALLING = set(
    "bound crossentropy divergence ece entropy error hinge kl likelihood loss mae mape mse msle "
    "nats nll reconstruction rmse".split()
)

# Keys on which a loss depends, so that its curves cannot be compared.
_OF_LOSS = set("beta gamma l1 l2 loss pipeline regularizer".split())


def rises(metric: str, record: Record | None = None) -> bool:
    """Whether more of a metric is better: as its target or the Trainer says, else by its name."""
    target = record.target if record else None
    if target and target.metric == metric:
        return target.at_most is None
    trainer = record.trainer if record else {}
    if trainer.get("monitor") == metric and trainer.get("monitor_mode") in ("min", "max"):
        return trainer["monitor_mode"] == "max"
    return not _FALLING & set(re.split(r"[^a-z0-9]+", metric.lower()))


def group(runs: Sequence[Run]) -> list[Cell]:
    """Groups runs into cells by what differs except the seed.

    Cells are named by the settings that were given, if these tell them apart; else by all settings,
    or by the plan, the budget, the code and the data.

    Raises:
        UserError: Two runs differ in nothing, or their data differ.
    """
    check_comparable(runs)
    whole = [_settings(run.record) for run in runs]
    found: dict[str, dict[int, Run]] = {}
    for run, settings in zip(runs, whole, strict=True):
        seeds = found.setdefault(_text(settings), {})
        if other := seeds.get(run.record.seed):
            if other.folder == run.folder:
                raise UserError(f"{run.folder} is given twice")
            raise UserError(
                f"{run.folder} has the settings and the seed {run.record.seed} of {other.folder}; "
                "give one of them"
            )
        seeds[run.record.seed] = run
    names = _names([next(iter(seeds.values())).record for seeds in found.values()])
    return [Cell(keys=k, runs=seeds) for k, seeds in zip(names, found.values(), strict=True)]


def _settings(record: Record) -> dict[str, Any]:
    about: dict[str, Any] = {
        "pipeline": record.pipeline,
        "budget": record.budget,
        "plan": record.plan,
    }
    about["corrections"] = record.origin.get("corrections")
    about["continued_from"] = (record.continued_from or {}).get("epochs")
    about["dtype_policy"] = record.dtype_policy or "float32"  # None in older records
    about["callbacks"], about["contents"] = record.callbacks or [], record.contents
    # An edited figure makes no other network.
    about["code"] = (record.training_sha256 or record.code_sha256)[:8]
    about["data"] = (record.data.fingerprint or "")[:8]
    return {**about, **record.hyperparameters, **record.trainer}


def _names(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Returns the settings that name each cell, as few as tell all of them apart."""
    whole = [_settings(record) for record in records]
    given = {key for record in records for key in record.overrides}
    of_run = {"pipeline", "budget", "corrections", "continued_from", "dtype_policy"}
    of_files = {"code", "contents", "data"}
    levels = [
        given | of_run,
        {k for s in whole for k in s} - {"plan", *of_files},
        set().union(*whole),
    ]
    for keys in levels:
        ordered = [key for key in dict.fromkeys(k for s in whole for k in s) if key in keys]
        differing = [k for k in ordered if len({_text(s.get(k)) for s in whole}) > 1]
        named = [{k: s.get(k) for k in differing} for s in whole]
        if len(set(map(_text, named))) == len(records):
            break
    return named


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def check_comparable(runs: Sequence[Run]) -> None:
    """Refuses runs that learn something else, or from other data, than the first.

    Raises:
        UserError: They do; the message names the difference.
    """

    def about(run: Run) -> dict[str, Any]:
        data = run.record.data
        return {
            "task": run.record.task,
            "data": f"{data.name} ({data.kind})",
            "labels": ", ".join(data.label_names) or "none",
        }

    first = about(runs[0])
    for run in runs[1:]:
        for what, value in about(run).items():
            if value != first[what]:
                raise UserError(
                    f"{run.folder} cannot be compared with {runs[0].folder}: its {what}: "
                    f"{_shorten(value)}; of the other: {_shorten(first[what])}"
                )


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


def compare(cells: Sequence[Cell], to: float | None = None) -> Comparison:
    """Compares cells, at least one of which has a run.

    Args:
        cells: The cells.
        to: Value of the curve whose time is measured; by default 2 points, or 2 % if it is no
            accuracy, below the best of all runs.

    Raises:
        UserError: They have no metric, or for `to` no curve, in common.
    """
    runs = [run for cell in cells for run in cell.runs.values()]
    metric = _metric(runs)
    comparison = Comparison(cells=list(cells), metric=metric, rises=rises(metric, runs[0].record))
    _choose_curve(comparison, runs, to)
    ranked = comparison.ranked
    for first, second in itertools.combinations(ranked, 2):
        comparison.pairs.append(_pair(comparison, first, second))
    tested = [pair.test.p if pair.test else None for pair in comparison.pairs]
    for pair, corrected in zip(comparison.pairs, measures.holm(tested), strict=True):
        pair.corrected = corrected
    comparison.notes = _notes(comparison, runs)
    return comparison


def _metric(runs: Sequence[Run]) -> str:
    """Returns the main metric of the first run that all have.

    Raises:
        UserError: There is none.
    """
    first = runs[0]
    for name in (first.headline, first.record.headline, *first.metrics):
        if name and all(name in run.metrics for run in runs):
            return name
    raise UserError("these runs have no metric in common; compare runs of one task")


def _choose_curve(comparison: Comparison, runs: Sequence[Run], to: float | None) -> None:
    """Chooses the column of the histories that is drawn, and the value whose time is measured."""
    monitors = [str(run.record.trainer.get("monitor")) for run in runs]
    columns = list(runs[0].history)
    ours = [f"val_{comparison.metric}", monitors[0], "val_loss", *columns, "loss"]
    common = [name for name in ours if all(_finite(run.history.get(name)) for run in runs)]
    common = [name for name in common if name.startswith("val_")] or [
        name for name in common if name == "loss"
    ]
    if not common:
        if to is not None:
            raise UserError(f"--to {to:g}: these runs have no curve in common; leave it out")
        return
    name = comparison.curve = common[0]
    up = comparison.curve_rises = rises(name, runs[0].record)
    best = (max if up else min)(x for run in runs for x in _finite(run.history[name]))
    behind = BEHIND if formatting.is_share(name) else BEHIND * abs(best)
    comparison.asked = to is not None
    comparison.threshold = float(to if to is not None else best - behind if up else best + behind)


def _finite(values: Sequence | None) -> list[float]:
    return [v for v in values or () if isinstance(v, (int, float)) and np.isfinite(v)]


def _pair(comparison: Comparison, i: int, j: int) -> Pair:
    """Compares two cells; the first is the better one."""
    metric = comparison.metric
    first, second = comparison.cells[i], comparison.cells[j]
    ours, theirs = first.values(metric), second.values(metric)
    common = sorted(ours.keys() & theirs.keys())
    beside = [(seed, seed) for seed in common]
    if not beside and len(ours) == len(theirs) == 1:  # two networks, whatever their seeds
        beside = [(next(iter(ours)), next(iter(theirs)))]
    pair = Pair(
        first=i, second=j, seeds=common, metric=metric, rises=comparison.rises, kind=NOT_TESTED
    )
    if not beside:
        pair.reason = "they have no seed in common"
        return pair
    over = measures.paired_seeds([ours[s] for s, _ in beside], [theirs[s] for _, s in beside])
    networks = [(first.runs[s], second.runs[t]) for s, t in beside]
    if not all(_same_examples(one, other) for one, other in networks):
        pair.test = over._replace(low=None, high=None, p=None)
        pair.reason = "their test examples differ, so that only the values can be compared"
        return pair
    for (seed, _), (one, other) in zip(beside, networks, strict=True):
        a = measures.per_example(metric, one.predictions, one.label_names)
        b = measures.per_example(metric, other.predictions, other.label_names)
        if a and b and a.metric == b.metric:
            pair.within[seed] = measures.compare_examples(a, b)
            of_examples = a.metric
    if over.p is not None:
        pair.test, pair.kind = over, OVER_SEEDS
    elif pair.within:
        pair.test, pair.kind = _in_every_seed(list(pair.within.values())), WITHIN_SEEDS
        pair.metric = of_examples
        pair.rises = comparison.rises if of_examples == metric else rises(of_examples)
    else:
        pair.test = over
        pair.reason = f"{formatting.words(metric)} has no value per example; three seeds are tested"
    return pair


def _same_examples(first: Run, second: Run) -> bool:
    """Whether two runs have the same test examples, in the same order: rows and labels."""
    ours, theirs = first.record.data, second.record.data
    if (ours.name, ours.kind, ours.label_names) != (theirs.name, theirs.kind, theirs.label_names):
        return False
    a, b = first.predictions, second.predictions
    names = ("index", "label")
    if any(name not in arrays for arrays in (a, b) for name in names):
        return ours.fingerprint == theirs.fingerprint
    return all(np.array_equal(a[name], b[name]) for name in names)


def _in_every_seed(tests: Sequence[measures.Paired]) -> measures.Paired:
    """Combines tests of several seeds, too few to be tested over: each must show the difference."""
    values = [test.value for test in tests]
    known = [test.p for test in tests if test.p is not None]
    p = max(known) if len(known) == len(tests) else None
    if p is not None and min(values) * max(values) < 0:
        p = 1.0
    lows = [test.low for test in tests if test.low is not None]
    highs = [test.high for test in tests if test.high is not None]
    whole = len(lows) == len(tests)
    return tests[0]._replace(
        value=float(np.mean(values)),
        low=min(lows) if whole else None,
        high=max(highs) if whole else None,
        p=p,
    )


def _notes(comparison: Comparison, runs: Sequence[Run]) -> list[str]:
    notes = []
    most = max(len(cell.runs) for cell in comparison.cells)
    if most == 1:
        notes.append("Seed noise is unknown: each has one seed; --seeds 3 measures it.")
    elif any(len(pair.within) == 1 and pair.kind == WITHIN_SEEDS for pair in comparison.pairs):
        notes.append(
            "Seed noise is unknown of two that have one seed in common: they are tested with that "
            "seed alone."
        )
    elif most < measures.FEWEST or any(pair.kind == WITHIN_SEEDS for pair in comparison.pairs):
        notes.append("Two seeds are too few for a test over seeds: --seeds 3.")
    for cell in comparison.cells:
        for reason in dict.fromkeys(cell.failed.values()):
            seeds = [seed for seed, said in cell.failed.items() if said == reason]
            listed = f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
            notes.append(f"Failed: {cell.name}, {listed}: {reason.rstrip('.')}.")
    missing = [i for i, cell in enumerate(comparison.cells) if i not in comparison.ranked]
    for i in missing:
        cell = comparison.cells[i]
        if cell.runs:
            words = formatting.words(comparison.metric)
            notes.append(f"{cell.name} has no value of {words}.")
    varied = dict.fromkeys(key for cell in comparison.cells for key in cell.keys)
    other = [key for key in varied if key in _OF_LOSS]
    if comparison.curve.endswith("loss") and other:
        notes.append(
            f"The loss depends on {', '.join(other)}: its curves, and times to a value of it, are "
            "no comparison."
        )
    names = dict.fromkeys(name for run in runs for name in run.record.versions)
    found = {k: dict.fromkeys(run.record.versions.get(k) for run in runs) for k in names}
    changed = [f"{k} {', '.join(filter(None, v))}" for k, v in found.items() if len(v) > 1]
    if changed:
        notes.append(f"Versions differ: {'; '.join(changed)}.")
    if len({_text(_speed(run.record.machine)) for run in runs}) > 1:
        notes.append("Seconds were measured on different machines, or with other threads.")
    return notes


def _speed(machine: Mapping[str, Any]) -> list[Any]:
    return [machine.get(key) for key in ("processor", "cpus", "gpus", "intra_op_threads")]
