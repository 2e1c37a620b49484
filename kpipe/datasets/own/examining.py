"""One pass through a user's table: labels, splits and copies of its rows, and the look at it."""

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import files
from ...errors import UserError
from ..columns import Column
from ..look import ColumnLook, Copies, Look
from .division import (
    LEFT_OUT,
    check_classes,
    class_warnings,
    copies_of,
    count_classes,
    describe_division,
    joined,
    list_unreadable,
    sizes,
    split_codes,
)
from .profile import TableProfile, profile, range_of
from .reading import READING_VERSION, frames
from .roles import Options, choose
from .row_scan import RowScan, is_number
from .table_look import describe

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# Part of the name of a cached result: raise it when it changes.
EXAMINING_VERSION = 5


class Examined(NamedTuple):
    """What is known of a table's rows; arrays have one value per row that can be read.

    Attributes:
        codes: int8 (n,), positions in `SPLITS`, or `LEFT_OUT`.
        labels: int32 (n,), float32 (n,), or int8 (n, k).
        groups: int64 (n,), equal for rows that belong together; None if none do.
        times: float64 (n,), or None.
        columns: The inputs; of a text table the text.
        label_names: Names of the classes or labels, or of the number.
        look: What was found.
        identity: Hash of the rows, their columns, labels and division: equal for options that
            give the same, such as a column of texts that is named or found.
    """

    codes: "np.ndarray"
    labels: "np.ndarray"
    groups: "np.ndarray | None"
    times: "np.ndarray | None"
    columns: tuple[Column, ...]
    label_names: tuple[str, ...]
    look: Look
    identity: str


def where_of(table: "str | os.PathLike[str] | pd.DataFrame") -> str:
    """Returns the name of a table for errors."""
    return str(table) if isinstance(table, (str, os.PathLike)) else "the DataFrame"


def name_of(table: "str | os.PathLike[str] | pd.DataFrame") -> str:
    """Returns the name of a table's data: that of the file without its endings."""
    if not isinstance(table, (str, os.PathLike)):
        return "table"
    path = pathlib.Path(table)
    packed = path.suffix.lower() in (".gz", ".bz2", ".xz")
    return (path.with_suffix("") if packed else path).stem


def examine(
    table: "str | os.PathLike[str] | pd.DataFrame", options: Options, max_length: int = 0
) -> Examined:
    """Examines the rows of a table; cached by content and options.

    Args:
        table: See `reading.frames`.
        options: What the user says about it.
        max_length: Number of words kept of a text.

    Raises:
        UserError: The table cannot be used; the message says why, and lists all rows at fault.
    """
    profiled = profile(table)
    key = [profiled.identity, name_of(table), dataclasses.asdict(options), max_length]
    digest = hashlib.sha256(json.dumps([*key, EXAMINING_VERSION]).encode()).hexdigest()
    if digest not in _known:
        folder = files.home() / "looks" / f"rows-{digest[:16]}"
        _known[digest] = files.open_or_write(
            folder,
            lambda: _open(folder),
            lambda temporary: _write(temporary, _examine(table, profiled, options, max_length)),
        )
    return _known[digest]


_known: dict[str, Examined] = {}
_ARRAYS = ("codes", "labels", "groups", "times")


def _write(folder: pathlib.Path, examined: Examined) -> None:
    import numpy as np

    for name in _ARRAYS:
        array = getattr(examined, name)
        if array is not None:
            np.save(folder / f"{name}.npy", array)
    about = {
        "columns": [dataclasses.asdict(column) for column in examined.columns],
        "label_names": examined.label_names,
        "look": dataclasses.asdict(examined.look),
        "identity": examined.identity,
    }
    files.write_json(folder / "look.json", about)


def _identity(profiled: TableProfile, columns: tuple[Column, ...], *parts: object) -> str:
    import numpy as np

    described = [
        READING_VERSION,
        profiled.identity,
        [dataclasses.asdict(column) for column in columns],
    ]
    identity = hashlib.sha256(json.dumps(described).encode())
    for part in parts:
        identity.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return identity.hexdigest()


def _open(folder: pathlib.Path) -> Examined:
    import numpy as np

    about: Any = files.read_json(folder / "look.json")
    arrays = {
        name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        for name in _ARRAYS
        if (folder / f"{name}.npy").exists()
    }
    look = about["look"]
    copies = look["copies"]
    copies["examples"] = tuple(map(tuple, copies["examples"]))
    look |= {
        "copies": Copies(**copies),
        "columns": tuple(ColumnLook(**column) for column in look["columns"]),
        "values": tuple(look["values"]),
        "sizes": {name: tuple(values) for name, values in look["sizes"].items()},
        "unreadable": tuple(map(tuple, look["unreadable"])),
        "warnings": tuple(look["warnings"]),
        "notes": tuple(look["notes"]),
    }
    return Examined(
        **{name: arrays.get(name) for name in _ARRAYS},  # type: ignore[arg-type]
        columns=tuple(Column(**column) for column in about["columns"]),
        label_names=tuple(about["label_names"]),
        look=Look(**look),
        identity=about["identity"],
    )


def _examine(
    table: "str | os.PathLike[str] | pd.DataFrame",
    profiled: TableProfile,
    options: Options,
    max_length: int,
) -> Examined:
    import numpy as np

    where = where_of(table)
    roles = choose(where, profiled, options)
    time = profiled.columns.get(options.time)
    if time and not time.dated and not is_number(time):
        raise UserError(f"{where}: time={options.time}: neither numbers nor dates")
    rows = RowScan(profiled, options, roles)
    for frame in frames(table, columns=rows.needed, unreadable=[]):
        rows.add(frame)
    list_unreadable(where, rows.bad, options.skip_bad)
    codes, labels, lines = (rows.joined(name) for name in ("codes", "labels", "lines"))
    used = codes != LEFT_OUT
    if not used.any():
        raise UserError(f"{where}: no row can be used")
    hashes = rows.joined("hashes")[used]
    of_column = rows.joined("groups")[used] if options.group else None
    times = rows.joined("times") if options.time else None
    # Equal rows have equal hashes: without a column to join them with, these are the groups.
    groups = hashes.view(np.int64) if of_column is None else joined(hashes, of_column)
    several = len(np.unique(groups)) < len(groups)
    if roles.task == "classification":
        divisible = several and not options.split
        check_classes(labels[used], roles.label_names, where, groups if divisible else None)
    divided, warnings = _divide(
        where,
        options,
        codes,
        used,
        labels[used],
        groups if several else None,
        None if times is None else times[used],
    )
    row = f"{pathlib.Path(table).name}:" if isinstance(table, (str, os.PathLike)) else "row "
    copies, conflicting, pairs, across = copies_of(
        hashes, labels[used], codes[used], lines[used], row
    )
    look = describe(profiled, options, roles, rows, max_length)
    unreadable = tuple((f"{row}{line}", reason) for line, reason in rows.bad)
    if options.split:
        warnings += _across_given_splits(options, codes[used], across, of_column)
    all_groups = np.full(len(codes), -1, np.int64)
    all_groups[used] = groups
    classes = {}
    if roles.task != "regression":
        classes = count_classes(labels[used], codes[used], roles.label_names)
        warnings += class_warnings(classes)
    values: tuple[float, ...] = ()
    shown = look.columns
    if roles.task == "regression":
        values = tuple(map(float, np.quantile(labels[used], (0, 0.25, 0.5, 0.75, 1))))
        # Those of other columns are of a sample of their values.
        exact = range_of(values)
        shown = tuple(
            dataclasses.replace(column, summary=exact) if column.use == "target" else column
            for column in shown
        )
    look = dataclasses.replace(
        look,
        name=name_of(table),
        columns=shown,
        unreadable=unreadable,
        examples=sizes(codes),
        divided=divided,
        classes=classes,
        values=values,
        copies=Copies(exact=copies, conflicting=conflicting, examples=pairs),
        warnings=(*warnings, *look.warnings),
    )
    columns = tuple(profiled.columns[name].column for name in roles.inputs)
    label_names = roles.label_names
    belonging = all_groups if several else None
    identity = _identity(profiled, columns, label_names, codes, labels, belonging, times)
    return Examined(codes, labels, belonging, times, columns, label_names, look, identity)


def _divide(
    where: str,
    options: Options,
    codes: "np.ndarray",
    used: "np.ndarray",
    labels: "np.ndarray",
    groups: "np.ndarray | None",
    times: "np.ndarray | None",
) -> tuple[str, list[str]]:
    """Divides the rows into splits, unless a column does.

    Args:
        where: The table, for errors.
        options: What the user says about it.
        codes: int8 (n_all,), the split of each row, which is set.
        used: bool (n_all,), the n rows that are divided.
        labels: (n,) or (n, k).
        groups: int (n,), equal for rows that belong together.
        times: Numbers (n,), larger for later rows.

    Returns:
        How they were divided, for `Look.divided`, and warnings.
    """
    if options.split:
        found = sizes(codes)
        if not {"train", "test"} <= set(found):
            raise UserError(
                f"{where}: split={options.split}: its rows are {', '.join(found)}; expected train, "
                "test and perhaps val"
            )
        return f"by the column {options.split}", []
    fraction = options.test_fraction
    codes[used] = split_codes(labels, fraction, options.split_seed, groups, times, where)
    is_class = labels.ndim == 1 and labels.dtype.kind == "i"
    divided, warnings = describe_division(options.group, options.time, is_class), []
    share = sizes(codes).get("test", 0) / len(labels)
    if share < fraction / 2:
        warnings.append(
            f"Only {100 * share:.0f} % of the rows are test, not {100 * fraction:.0f} %: what "
            "belongs together stays on one side."
        )
    return divided, warnings


def _across_given_splits(
    options: Options, codes: "np.ndarray", copies: int, groups: "np.ndarray | None"
) -> list[str]:
    """Warns of what is in several splits that a column gives.

    Args:
        options: What the user says about the table.
        codes: int8 (n,), the split of each row.
        copies: Number of copies in another split.
        groups: uint64 (n,), of the column `group`; rows of an unknown group have one each.
    """
    import numpy as np

    warnings = []
    unmoved = f"Nothing was moved, since {options.split} divides the rows."
    if copies:
        warnings.append(
            f"{copies:,} rows are also in another split, word for word: results are better than "
            f"on new data. {unmoved}"
        )
    if groups is not None:
        pairs = np.unique(np.stack([groups, codes.astype(np.uint64)]), axis=1)[0]
        if shared := len(pairs) - len(np.unique(pairs)):
            warnings.append(
                f"Values of {options.group} are in several splits, {shared:,} times: results are "
                f"better than on new ones. {unmoved}"
            )
    return warnings
