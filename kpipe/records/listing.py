"""A table of the finished runs in a folder."""

import os
import pathlib
from typing import TYPE_CHECKING

from .. import formatting
from ..errors import UserError
from .folder import read_metrics
from .record import check_files, read_record

if TYPE_CHECKING:
    import pandas

COLUMNS = tuple(
    "name data seed overrides metric value low high n seconds finished proof folder".split()
)


def runs(out: str | os.PathLike = "saved_models") -> "pandas.DataFrame":
    """Lists the finished runs in a folder, the newest first.

    A run that cannot be read is left out, and a line says so. Searches are left out, and so are
    gradient checks.

    Args:
        out: Folder for results, the `out` of `kpipe.run`.

    Returns:
        A row for each run: `name` of the pipeline; `data`, "real", "sample" or "own"; `seed`;
        `overrides`, "dropout=0.1, epochs=3"; `metric`, the main one, with `value`, the bounds `low`
        and `high` of its 95 % interval, and `n` test examples; `seconds` of training; `finished`,
        a time in UTC; `proof`, "verified", "failed" or ""; `folder`. No rows if there is no run.

    Raises:
        UserError: There is no such folder.

    Example:
        kpipe.runs().groupby(["name", "overrides"])["value"].agg(["mean", "std"])
    """
    import pandas as pd

    folder = pathlib.Path(out)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected the folder of runs, the out of a run")
    rows = []
    for path in sorted(folder.glob("[!.]*/run.json")):
        try:
            rows.append(_row(path))
        except UserError as error:
            print(f"{path.parent.name} is left out: {error}", flush=True)
    table = pd.DataFrame([row for row in rows if row], columns=list(COLUMNS))
    numbers = ["value", "low", "high", "seconds"]
    table[numbers] = table[numbers].astype("float64")
    texts = ["name", "data", "overrides", "metric", "proof", "folder"]
    table[texts] = table[texts].astype(str)
    table["seed"] = table["seed"].astype("int64")
    table["n"] = table["n"].astype("Int64")  # with missing values
    table["finished"] = pd.to_datetime(table["finished"], utc=True, errors="coerce")
    return table.sort_values("finished", ascending=False, kind="stable", ignore_index=True)


def _row(path: pathlib.Path) -> tuple | None:
    """Returns the row of a run; None if it is not finished.

    Raises:
        UserError: A file of the run is missing or damaged.
    """
    record = read_record(path)
    if record.status == "unfinished":
        return None
    check_files(path.parent, record, "run.json", "metrics.json")
    metrics = read_metrics(path.parent / "metrics.json")
    of_target = record.target.metric if record.target else None
    metric = formatting.headline(of_target, record.headline, metrics)
    entry = metrics.get(metric, {})
    proof = "" if record.proof is None else "verified" if record.proof.passed else "failed"
    return (
        record.pipeline,
        record.data.kind,
        record.seed,
        ", ".join(f"{key}={value}" for key, value in record.overrides.items()),
        metric,
        *(entry.get(key) for key in ("value", "low", "high", "n")),
        record.times.get("train"),
        record.finished,
        proof,
        str(path.parent),
    )
