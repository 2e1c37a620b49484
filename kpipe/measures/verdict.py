"""The target of an experiment, its verdict, and how often a test split was opened."""

import dataclasses
import json
import pathlib
import time
from collections.abc import Mapping

from .. import files


@dataclasses.dataclass(frozen=True)
class Target:
    """The target of an experiment: a limit for a metric on the official test split.

    Attributes:
        metric: Name of a metric in metrics.json.
        at_least: Lower limit, as a fraction, not in percent.
        source: Where the limit is stated.
        at_most: Upper limit instead of `at_least`, for a metric that should be small.

    Raises:
        ValueError: Both limits are given, or none.

    Example:
        Target("accuracy", at_least=0.9825, source="lab course")
    """

    metric: str
    at_least: float | None = None
    source: str = ""
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"Target({self.metric!r}): expected either at_least or at_most")


def verdict(target: Target, metric: Mapping, kind: str, official: bool) -> str:
    """Compares a test metric with its target; of published data only the official ones.

    Args:
        target: The target.
        metric: Value and interval, whose bounds are None if there is none.
        kind: "real", "sample" or "own".
        official: Whether the data are the official ones.
    """
    if kind == "sample":
        return "not comparable: sample data"
    if kind == "real" and not official:
        return "not comparable: not the official data"
    if metric["value"] is None:  # such as the precision of a class that is never predicted
        return "not comparable: there is no value"
    bound = metric["low" if target.at_least is None else "high"]
    values = (metric["value"], metric["value"] if bound is None else bound)
    if target.at_least is None:
        reached, possible = (value <= target.at_most for value in values)
    else:
        reached, possible = (value >= target.at_least for value in values)
    return "reached" if reached else "consistent" if possible else "not reached"


def count_opening(pipeline: str, data_name: str, kind: str, run: pathlib.Path, opening: str) -> int:
    """Records that a run opens its test split; returns how often this pipeline's was opened.

    Choices made after looking at test results overfit the test split; the count, of this machine,
    shows how often one could have looked. An `opening` is counted once, however often its run is
    killed and resumed.
    """
    path = files.home() / "test_openings.jsonl"
    files.make_folder(path.parent)
    key = {"pipeline": pipeline, "data": data_name, "kind": kind}
    entry = {**key, "run": run.name, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    if not path.is_file() or opening not in path.read_text(encoding="utf-8"):
        with open(path, "a", encoding="utf-8") as file:  # one short line: appended whole
            file.write(json.dumps({**entry, "opening": opening}) + "\n")
    count = 0
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            count += key.items() <= json.loads(line).items()
        except ValueError:  # a line truncated by a crash is ignored
            continue
    return count
