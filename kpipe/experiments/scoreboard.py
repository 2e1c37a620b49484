"""The scoreboard: the results of stored runs over their seeds, beside targets and known results."""

import dataclasses
import json
import pathlib
from typing import TYPE_CHECKING, Any

from .. import formatting
from ..measures.comparing import mean_over_seeds
from ..records import read_record, runs
from . import catalogue

if TYPE_CHECKING:
    import pandas

HEAD = ("command", "data", "measured", "seeds", "target", "highest known")


def scoreboard(out: pathlib.Path, width: int | None = None) -> str:
    """Writes a table of the finished runs in a folder: a line for each command, seeds together.

    Seeds are together if they were trained alike, also with the same defaults, precision, budget
    and number of examples. Of several seeds it is their mean, with Student's interval of what
    another seed would have in the mean; of one seed the interval of its test examples. Bundled
    pipelines come first, in the order of their names.

    Args:
        out: Folder of runs.
        width: Maximum width of a line in characters.

    Raises:
        UserError: There is no such folder.
    """
    table = runs(out)
    order = {name: i for i, name in enumerate(catalogue.names())}
    lines = []
    table["training"] = [_training(pathlib.Path(folder)) for folder in table["folder"]]
    same, commands = ["name", "overrides", "data", "training"], set()
    for (name, overrides, data, training), group in table.groupby(same, sort=False):
        command = " ".join([name, *filter(None, overrides.split(", ")), *training.options])
        if (command, data) in commands:  # the newest come first
            command += " (before)"
        commands.add((command, data))
        lines.append((order.get(name, len(order)), command, data, *_line(name, group)))
    lines.sort(key=lambda line: line[:3])
    rows = [line[1:] for line in lines]
    if not rows:
        return f"{out} contains no finished run"
    wrapped = HEAD.index("command"), HEAD.index("highest known")
    return catalogue.align([HEAD, *rows], width, {*range(len(HEAD))} - {*wrapped})


@dataclasses.dataclass(frozen=True)
class _Training:
    """What seeds have in common that are compared.

    Attributes:
        options: Those of the command that are no keys.
        settings: All keys, the Trainer, the precision and the data, as JSON.
    """

    options: tuple[str, ...]
    settings: str


def _training(folder: pathlib.Path) -> _Training:
    record = read_record(folder / "run.json")
    policy = record.dtype_policy or "float32"
    options = [] if policy == "float32" else ["--precision", policy]
    if record.budget:
        options += ["--budget", f"{record.budget:g}s"]
    examples = (record.data.official, record.data.examples)  # a fingerprint depends on the seed
    settings = (record.hyperparameters, record.trainer, policy, examples)
    return _Training(tuple(options), json.dumps(settings, sort_keys=True, default=str))


def _line(name: str, group: "pandas.DataFrame") -> tuple[str, ...]:
    """Returns the cells from what was measured on, of the newest run of each seed."""
    newest = group.drop_duplicates("seed").sort_values("seed")
    metric, first = str(newest["metric"].iloc[0]), newest.iloc[0]
    if len(newest) > 1:
        entry: Any = mean_over_seeds(newest["value"].tolist())
        if formatting.is_share(metric):  # Student's interval knows no limits
            entry |= {"low": max(entry["low"], 0.0), "high": min(entry["high"], 1.0)}
    else:
        entry = {key: float(first[key]) for key in ("value", "low", "high")}
    seeds = ", ".join(map(str, newest["seed"]))
    named = "" if metric == "accuracy" else f"{formatting.words(metric)} "
    target = read_record(pathlib.Path(first["folder"]) / "run.json").target
    limit = highest = formatting.MISSING
    if target and target.metric == metric:
        limits = target.at_least, target.at_most
        limit = formatting.target(metric, *limits).removeprefix(metric).strip()
    if name in catalogue.names():
        highest = catalogue.read(catalogue.find(name)).highest
    return named + formatting.measured(metric, entry), seeds, limit, highest
