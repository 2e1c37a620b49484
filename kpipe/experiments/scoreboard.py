"""The scoreboard: the results of stored runs over their seeds, beside targets and known results."""

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

    Of several seeds it is their mean, with Student's interval of what another seed would have in
    the mean; of one seed the interval of its test examples. Bundled pipelines come first, in the
    order of their names.

    Args:
        out: Folder of runs.
        width: Maximum width of a line in characters.

    Raises:
        UserError: There is no such folder.
    """
    table = runs(out)
    order = {name: i for i, name in enumerate(catalogue.names())}
    lines = []
    for (name, overrides, data), group in table.groupby(["name", "overrides", "data"], sort=False):
        command = " ".join([name, *filter(None, overrides.split(", "))])
        lines.append((order.get(name, len(order)), command, data, *_line(name, group)))
    lines.sort(key=lambda line: line[:3])
    rows = [line[1:] for line in lines]
    if not rows:
        return f"{out} contains no finished run"
    return catalogue.align([HEAD, *rows], width)


def _line(name: str, group: "pandas.DataFrame") -> tuple[str, ...]:
    """Returns the cells from what was measured on, of the newest run of each seed."""
    newest = group.drop_duplicates("seed").sort_values("seed")
    metric, first = str(newest["metric"].iloc[0]), newest.iloc[0]
    if len(newest) > 1:
        entry: Any = mean_over_seeds(newest["value"].tolist())
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
