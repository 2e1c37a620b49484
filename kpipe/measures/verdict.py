"""The target of an experiment, its verdict, and how often a test split was opened."""

import dataclasses
import hashlib
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
    with files.lock(path):
        known = path.read_bytes() if path.is_file() else b""
        if opening.encode() not in known:
            cut = known and not known.endswith(b"\n")  # a crash truncated the last line
            known += b"\n" * bool(cut) + _with_checksum({**entry, "opening": opening}) + b"\n"
            files.write_bytes(path, known)
    count, damaged = 0, []
    for number, line in enumerate(known.splitlines(), start=1):
        noted = _read_opening(line)
        if noted is None:
            damaged.append(number)
        else:
            count += key.items() <= noted.items()
    if damaged:
        lines = ", ".join(map(str, damaged))
        print(f"{path}: damaged lines are not counted: {lines}", flush=True)
    return count


def _with_checksum(entry: Mapping[str, str]) -> bytes:
    digest = hashlib.sha256(json.dumps(entry).encode()).hexdigest()
    return json.dumps({**entry, "checksum": digest[:16]}).encode()


def _read_opening(line: bytes) -> dict[str, str] | None:
    """Reads a line; None if it is damaged. Those of an older kpipe have no checksum."""
    try:
        entry = json.loads(line)
        digest = entry.pop("checksum", None)
        old = digest is None and entry.keys() == {"pipeline", "data", "kind", "run", "time"}
    except (ValueError, AttributeError, TypeError):
        return None
    return entry if old or line == _with_checksum(entry) else None
