"""Compares two runs: what differs first, from what was asked for to the results."""

import dataclasses
import math
import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from . import formatting
from .errors import UserError
from .experiments.describing import BITS, LATER
from .records import Record, Run, describe_difference, open_run, read_history, read_record

ROUNDING = 1e-5  # a relative difference up to this is one of the last bits, and of what follows
# What differs between runs of equal results: the weights are compared by themselves.
OF_A_RUN = ("openings", "opening", "weights_sha256")
STAGES = ("settings", "data", "versions", "machine")


@dataclasses.dataclass(frozen=True)
class Cause:
    """What differs between two records and can change results: both values, or None for code."""

    stage: str  # one of STAGES
    name: str
    values: tuple[str, str] | None = None

    def text(self, between: str = ", ") -> str:
        return f"{self.name} {between.join(self.values)}" if self.values else self.name


@dataclasses.dataclass
class Difference:
    """The result of `diff`; its `repr` is what `kpipe diff` prints.

    Attributes:
        verdict: What differs first, in a line.
        lines: What differs in settings, data, versions, machine, course and results, in this order.
        equal: Whether settings, data and weights are equal.
    """

    verdict: str
    lines: list[str]
    equal: bool

    def __repr__(self) -> str:
        return "\n".join([self.verdict, *self.lines])


def diff(a: str | os.PathLike, b: str | os.PathLike) -> Difference:
    """Compares two runs, in the order of cause: settings, data, versions, machine, course, results.

    One that is not finished is compared up to its last epoch. Nothing is written or trained.

    Args:
        a: Folder of a run, such as "saved_models/mnist_mlp".
        b: Folder of another one.

    Raises:
        UserError: One is not a run, or a file of it is missing, damaged or changed; or they are the
            same folder.

    Example:
        kpipe.diff("saved_models/mnist_mlp", "saved_models/mnist_mlp,seed=1")
    """
    runs = _open(a), _open(b)
    if os.path.samefile(runs[0].folder, runs[1].folder):
        raise UserError(f"{a} and {b} are the same folder; expected two runs")
    records = runs[0].record, runs[1].record
    causes = list(find_causes(*records))
    stages = [cause.stage for cause in causes]
    parted, course = _course(*runs)
    unfinished = [str(run.folder) for run in runs if run.record.status == "unfinished"]
    same_weights = not unfinished and records[0].weights_sha256 == records[1].weights_sha256
    equal = same_weights and not {"settings", "data"} & set(stages)
    if equal:
        verdict = "equal to the bit: same weights"
        verdict += f", although {_listed(causes)}" if causes else ""
    elif "settings" in stages or "data" in stages or "versions" in stages:
        verdict = f"first difference: {causes[0].text()}; {parted}"
    elif causes:
        verdict = f"same settings, data and versions; {_listed(causes)}: {parted}"
    else:
        verdict = f"same settings, data, versions and machine; {parted}"
    if unfinished:
        verdict += f"; not finished: {', '.join(unfinished)}"
    elif not equal:
        verdict += f", {'the same' if same_weights else 'other'} weights"
    lines = [f"{name:<12}{run.folder}" for name, run in zip("ab", runs, strict=True)]
    notes = {"settings": _not_recorded(*records), "machine": _only_times(*records)}
    for stage in STAGES:
        found = [cause.text() for cause in causes if cause.stage == stage] or ["equal"]
        lines += _block(stage, [*found, *notes.get(stage, [])])
    lines += _block("course", course)
    if not unfinished:
        lines += _block("weights", ["equal" if same_weights else "differ"])
        lines += _block("metrics", _metrics(*runs))
        lines += _block("predictions", [_predictions(*runs)])
        lines += _block("proof", [_pair(*map(_proof, records))])
    return Difference(verdict, lines, equal)


def _open(folder: str | os.PathLike) -> Run:
    """Opens a run; one that is not finished has no metrics, and perhaps no history yet."""
    path = pathlib.Path(folder).expanduser()
    if (path / "run.json").is_file():
        record = read_record(path / "run.json")
        if record.status == "unfinished":
            history = path / "history.csv"
            columns = read_history(history) if history.is_file() else {}
            return Run(record.pipeline, path, record, {}, columns)
    return open_run(path)


def find_causes(a: Record, b: Record) -> Iterator[Cause]:
    """Finds what differs between two records and can change results, in the order of cause.

    What one of them, of an older kpipe, does not record is not compared.
    """

    def compare(stage: str, name: str, one: Any, other: Any) -> Iterator[Cause]:
        if one != other:
            yield Cause(stage, name, (_shown(one), _shown(other)))

    yield from compare("settings", "pipeline", a.pipeline, b.pipeline)
    if a.pipeline == b.pipeline and a.code_sha256 != b.code_sha256:
        edited = describe_difference(a, b, "code_sha256")
        same = a.training_sha256 == b.training_sha256 != ""
        yield Cause("settings", edited + " (of figures only)" * same)
    for then, now in ((a.hyperparameters, b.hyperparameters), (a.trainer, b.trainer)):
        for key in then | now:
            yield from compare("settings", key, then.get(key, ...), now.get(key, ...))
    for key in ("seed", "shards", "plan", "budget", *LATER, "continued_from"):
        one, other = getattr(a, key), getattr(b, key)
        if None not in (one, other) or key not in (*LATER, "plan"):
            yield from compare("settings", key, one, other)
    for key in a.contents.keys() & b.contents.keys():  # a file may have been deleted since
        yield from compare("settings", f"content of {key}", a.contents[key], b.contents[key])
    for key in ("name", "kind", "official", "fingerprint"):
        yield from compare("data", key, getattr(a.data, key), getattr(b.data, key))
    for key in a.data.examples | b.data.examples:
        counts = (data.examples.get(key, 0) for data in (a.data, b.data))
        yield from compare("data", f"{key} examples", *counts)
    for key in a.versions.keys() & b.versions.keys():
        yield from compare("versions", key, a.versions[key], b.versions[key])
    for key in BITS:
        one, other = a.machine.get(key), b.machine.get(key)
        unknown = (None, 0) if "threads" in key else (None,)
        if one not in unknown and other not in unknown:
            yield from compare("machine", key, one, other)


def _not_recorded(a: Record, b: Record) -> list[str]:
    """Names the settings that one of two records does not contain, since its kpipe was older."""
    names = [key for key in LATER if (getattr(a, key) is None) != (getattr(b, key) is None)]
    return [f"{', '.join(names)}: recorded of one only, not compared"] if names else []


def _only_times(a: Record, b: Record) -> list[str]:
    """Describes what differs in the machines without an effect on results."""
    names = [key for key in a.machine.keys() & b.machine.keys() if key not in BITS]
    return [
        f"{key} {_shown(a.machine[key])}, {_shown(b.machine[key])}: can change times only"
        for key in sorted(names)
        if a.machine[key] != b.machine[key]
    ]


def _shown(value: Any) -> str:
    if value is ...:
        return formatting.MISSING
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_shown(content)}" for key, content in value.items())
    text = "none" if value is None else str(value) or "''"
    return text[:12] if re.fullmatch("[0-9a-f]{64}", text) else text  # a hash


def _listed(causes: list[Cause]) -> str:
    """Writes the names of causes, with their values: "intra_op_threads differ (2, 4)"."""
    said = [f"{c.name} differ ({', '.join(c.values)})" if c.values else c.name for c in causes]
    return ", ".join(said)


def _block(name: str, lines: list[str]) -> list[str]:
    return [f"{'' if i else name:<12}{line}" for i, line in enumerate(lines)]


def _pair(a: object, b: object) -> str:
    return f"{a}" if a == b else f"{a}, {b}"


def _course(a: Run, b: Run) -> tuple[str, list[str]]:
    """Describes where the curves part, in a few words and in lines with epochs and ends."""
    lines = [f"{_pair(*(len(run.history.get('epoch', [])) for run in (a, b)))} epochs"]
    trainings = a.record.training, b.record.training
    if trainings[0] and trainings[1]:
        lines[0] += f"; best {_pair(*(t.best_epoch for t in trainings if t))}"
        lines[0] += f"; ended by {_pair(*(t.stopped_by for t in trainings if t))}"
    common = min(len(run.history.get("epoch", [])) for run in (a, b))
    if not common:
        return "no epochs to compare", lines
    for only, other in ((a, b), (b, a)):
        if names := [name for name in only.history if name not in other.history]:
            lines.append(f"only in {only.folder}: {', '.join(names)}")
    found = find_parting(a.history, b.history)
    if found is None:
        longer = len({len(run.history["epoch"]) for run in (a, b)}) > 1
        said = f"the curves agree to epoch {common}" if longer else "the curves are equal"
        return said, [*lines, said]
    epoch, column, *values = found
    size = _relative(*values)
    by = f" by {size:.0e} (rounding)" if size <= ROUNDING else ""
    share = by or (f" ({100 * size:.2g} %)" if math.isfinite(size) else "")
    said = f"the curves part at epoch {epoch}"
    return said + by, [*lines, f"{said}: {column} {', '.join(map(_number, values))}{share}"]


def find_parting(
    a: Mapping[str, list], b: Mapping[str, list]
) -> tuple[int, str, float | None, float | None] | None:
    """Finds where two histories part: first epoch, first column, and its values; None if nowhere.

    Times are not compared, and learning rates after the metrics.
    """
    names = [name for name in a if name in b and name not in ("epoch", "step", "seconds")]
    names.sort(key=lambda name: name.startswith("learning_rate"))
    for row, epoch in enumerate(a["epoch"][: len(b["epoch"])]):
        for name in names:
            one, other = a[name][row], b[name][row]
            if not equal_bits(one, other):
                return epoch, name, one, other
    return None


def _relative(a: float | None, b: float | None) -> float:
    if a is None or b is None or not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    return abs(a - b) / max(abs(a), abs(b))


def _number(value: float | None) -> str:
    return formatting.MISSING if value is None else f"{value:.9g}"  # all digits of a float32


def different(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """Returns the names of values that are not equal to the bit."""
    names = dict.fromkeys([*a, *b])
    return [k for k in names if k not in a or k not in b or not equal_bits(a[k], b[k])]


def equal_bits(a: Any, b: Any) -> bool:
    """Whether two values, arrays, or lists and dicts of such are equal to the bit."""
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal_bits, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal_bits(a[key], b[key]) for key in a)
    both_nan = isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b)
    return both_nan or a == b


def predictions_of(run: Run) -> dict[str, np.ndarray]:
    """Returns the predictions of a run that are comparable with those of another run."""
    return {name: value for name, value in run.predictions.items() if name not in OF_A_RUN}


def _metrics(a: Run, b: Run) -> list[str]:
    """Writes each metric that differs with its interval; those of single classes are counted."""
    common = [name for name in a.metrics if name in b.metrics]
    names = [name for name in different(a.metrics, b.metrics) if name in common]
    lines = []
    for name in (name for name in names if "/" not in name):
        values = (formatting.measured(name, run.metrics[name]) for run in (a, b))
        lines.append(f"{name} {', '.join(values)}")
    of_classes = sum("/" in name for name in names)
    only = len(a.metrics.keys() ^ b.metrics.keys())
    counts = {"equal": len(common) - len(names), "of classes differ": of_classes}
    counts["in one of them only"] = only
    said = [f"{formatting.counted(n, 'metric')} {what}" for what, n in counts.items() if n]
    return [*lines, *said]


def _predictions(a: Run, b: Run) -> str:
    """Says how many test predictions differ, if both are of the same test examples."""
    one, other = map(predictions_of, (a, b))
    given = [name for name in ("index", "label") if name in one or name in other]
    same_data = a.record.data.fingerprint == b.record.data.fingerprint
    if not same_data or different(
        {name: one.get(name) for name in given}, {name: other.get(name) for name in given}
    ):
        return "of other test data, not compared"
    names = different(one, other)
    if not names:
        return "equal to the bit"
    if "probabilities" in names and one["probabilities"].shape == other["probabilities"].shape:
        p, q = one["probabilities"], other["probabilities"]
        if one["label"].ndim == 1:
            answers, what = p.argmax(axis=1) != q.argmax(axis=1), "classes"
        else:
            answers, what = ((p >= 0.5) != (q >= 0.5)).any(axis=1), "sets of labels"
        largest = formatting.small(float(np.abs(p - q).max()))
        said = f"{answers.sum():,} of {len(p):,} {what} differ"
        return f"{said}; largest difference of a probability {largest}"
    if "value" in names and one["value"].shape == other["value"].shape:
        p, q = one["value"], other["value"]
        largest = formatting.small(float(np.abs(p - q).max()))
        return f"{(p != q).sum():,} of {len(p):,} values differ; largest difference {largest}"
    return f"differ: {', '.join(names)}"


def _proof(record: Record) -> str:
    return "none" if record.proof is None else "verified" if record.proof.passed else "failed"
