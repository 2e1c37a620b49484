"""Profiles of a table's columns, in one pass of bounded memory, and the kinds they have."""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ... import files
from ..columns import DATE_BYTES, Column
from .dialect import Dialect, find_dialect, stamp
from .measuring import ALMOST, MAX_DIFFERENT, Measured
from .reading import content_hash, frames

if TYPE_CHECKING:
    import pandas as pd

# Part of the name of a cached profile: raise it when profiles change.
PROFILE_VERSION = 3
_TEXT_WORDS = 4  # mean number of words from which a column of many values is text
_CODE_NAME = re.compile(
    r"(^|[^a-z])(id|uuid|guid|key|index|unnamed: \d+)$|(?-i:(?<=[a-z])I[Dd]$)", re.I
)
_TIME_NAME = re.compile(r"(^|[^a-z])(year|month|week|day|hour|date|time|age)$", re.I)
_GROUP_NAME = re.compile(r"(^|[^a-z])(patient|subject|person|user|customer|client)", re.I)
_CATEGORY_NAME = re.compile(r"(^|[^a-z])(code|zip|zipcode|postcode|plz)$", re.I)
_BOOLEANS = ({"true", "false"}, {"yes", "no"})


def range_of(quartiles: Sequence[float]) -> str:
    """Describes numbers by minimum, median and maximum."""
    low, _, median, _, high = quartiles
    return f"{low:,.6g} to {high:,.6g}, median {median:,.6g}"


@dataclasses.dataclass(frozen=True)
class Profile:
    """A column of a table.

    Attributes:
        name: Its name.
        rows: Number of rows.
        missing: Number of missing values.
        different: Number of different values; an estimate from `MAX_DIFFERENT`.
        values: Number of each value, unless they are more than `MAX_VALUES`.
        numeric: Number of values that are numbers, or infinite.
        whole: Whether all numbers are whole.
        zeros: Whether a number is written with zeros before it, as codes are.
        running: Whether the numbers count the rows, up or down.
        quartiles: Minimum, quartiles and maximum of the numbers.
        odd: Line and value of the first values that are no finite numbers.
        dated: Number of values that are dates of the best format.
        format: This format, for `datetime.strptime`; "" for ISO 8601.
        ambiguous: Whether month and day of all dates could be exchanged.
        time: Whether a date has a time of day.
        dates: First and last date.
        undated: Line and value of the first values that are no dates.
        addresses: Whether all values are e-mail addresses or UUIDs.
        words: Minimum, quartiles and maximum of the number of words of a text.
        mean_words: Mean number of words.
        longest: Bytes of the longest value.
    """

    name: str
    rows: int
    missing: int
    different: int
    values: Mapping[str, int] | None
    numeric: int
    whole: bool
    zeros: bool
    running: bool
    quartiles: tuple[float, ...]
    odd: tuple[tuple[int, str], ...]
    dated: int
    format: str
    ambiguous: bool
    time: bool
    dates: tuple[str, str]
    undated: tuple[tuple[int, str], ...]
    addresses: bool
    words: tuple[float, ...]
    mean_words: float
    longest: int

    @property
    def present(self) -> int:
        """Number of values that are not missing."""
        return self.rows - self.missing

    @property
    def summary(self) -> str:
        """The values, for people."""
        if self.present and self.numeric == self.present and self.kind[0] != "category":
            return range_of(self.quartiles)
        if self.kind[0] == "date":
            return " to ".join(self.dates)
        if self.kind[0] == "text":
            return f"{self.words[0]:.0f} to {self.words[4]:.0f} words, median {self.words[2]:.0f}"
        if self.values is None:
            return f"{self.different:,} different values"
        top = sorted(self.values.items(), key=lambda item: (-item[1], item[0]))[:3]
        shown = ", ".join(f"{' '.join(value.split())[:40]} ({count:,})" for value, count in top)
        return shown + (f" and {len(self.values) - 3:,} more" if len(self.values) > 3 else "")

    @property
    def kind(self) -> tuple[str, str]:
        """What the column is, and why it is left out.

        One of `columns.KINDS`, "text", or "" if it is left out: a column without information, or
        one that names the row, as numbers do that count the rows, unless their name is that of a
        time; in another order they may be ranks. Whole numbers stay numbers even if they have few
        values: most are counts, grades or years, whose order and distances mean something, and a
        network can still bend them. Codes have neither: numbers written with zeros before them, or
        in a column whose name says code or ZIP, are categories.
        """
        everyone = (
            self.different >= (1 if self.different < MAX_DIFFERENT else ALMOST) * self.present
        )
        many = self.present >= 20
        if self.missing > ALMOST * self.rows:
            return "", f"{100 * self.missing / self.rows:.0f} % of its values are missing"
        if self.different == 1 and not self.missing:
            return "", "constant"
        named = self.addresses or _CODE_NAME.search(self.name)
        if everyone and many and named and (self.whole or self.numeric < self.present):
            return "", "identifier"
        if self.numeric == self.present:
            if many and self.running and not _TIME_NAME.search(self.name):
                return "", "identifier"
            if self.values and set(map(float, self.values)) <= {0, 1}:
                return "boolean", ""
            if self.zeros or (self.whole and _CATEGORY_NAME.search(self.name)):
                return ("", "identifier") if everyone and many else ("category", "")
            return "number", ""
        if self.numeric >= ALMOST * self.present:
            return "number", ""  # the others are mistakes: `mixed`
        if self.dated >= ALMOST * self.present:
            return "date", ""
        if self.values and {value.lower() for value in self.values} in _BOOLEANS:
            return "boolean", ""
        several = self.different > max(20, 0.2 * self.present)
        if several and self.mean_words >= _TEXT_WORDS:
            return "text", ""
        if everyone and many:
            return "", "identifier"
        return "category", ""

    @property
    def names_groups(self) -> bool:
        """Whether it seems to name patients or users, each in several rows."""
        named = _CODE_NAME.search(self.name) or _GROUP_NAME.match(self.name)
        return (
            bool(named)
            and self.kind[0] in ("number", "category")
            and (10 < self.different <= 0.7 * self.present)
        )

    @property
    def mixed(self) -> tuple[tuple[int, str], ...]:
        """Line and value of the first mistakes: text among numbers, or among dates."""
        if self.numeric >= ALMOST * self.present:
            return self.odd
        return self.undated if ALMOST * self.present <= self.dated < self.present else ()

    @property
    def column(self) -> Column:
        """The column as an input."""
        kind = self.kind[0]
        return Column(
            self.name,
            kind,
            size=self.different if kind == "category" else 0,
            longest={"category": self.longest, "date": DATE_BYTES}.get(kind, 0),
            missing=self.missing > 0,
            format=self.format if kind == "date" else "",
            time=self.time and kind == "date",
        )


@dataclasses.dataclass(frozen=True)
class TableProfile:
    """A table's columns.

    Attributes:
        rows: Number of rows that can be read.
        columns: Profile of each column, by name.
        unreadable: Line and reason of rows that cannot be read.
        identity: Hash of the content.
        dialect: How a text file contains the table.
    """

    rows: int
    columns: Mapping[str, Profile]
    unreadable: tuple[tuple[int, str], ...]
    identity: str
    dialect: Dialect


def profile(table: "str | os.PathLike[str] | pd.DataFrame") -> TableProfile:
    """Reads a table once, in pieces, and describes its columns; cached by its content.

    Args:
        table: See `reading.frames`.

    Raises:
        UserError: The table cannot be read.
    """
    if isinstance(table, (str, os.PathLike)):
        path = pathlib.Path(table).expanduser()
        key: tuple[Any, ...] = (str(path.absolute()), *stamp(path))
    else:
        key = (content_hash(table),)
    if key not in _known:
        digest = hashlib.sha256(json.dumps([*key, PROFILE_VERSION]).encode()).hexdigest()
        folder = files.home() / "looks" / f"profile-{digest[:16]}"
        _known[key] = files.open_or_write(
            folder,
            lambda: _open(folder),
            lambda temporary: files.write_json(
                temporary / "profile.json", dataclasses.asdict(_measure(table))
            ),
        )
    return _known[key]


_known: dict[tuple[Any, ...], TableProfile] = {}


def _open(folder: pathlib.Path) -> TableProfile:
    read: Any = files.read_json(folder / "profile.json")
    for column in read["columns"].values():
        for name in ("odd", "undated"):
            column[name] = tuple((line, value) for line, value in column[name])
        for name in ("quartiles", "words", "dates"):
            column[name] = tuple(column[name])
    return TableProfile(
        rows=read["rows"],
        columns={name: Profile(**column) for name, column in read["columns"].items()},
        unreadable=tuple((line, reason) for line, reason in read["unreadable"]),
        identity=read["identity"],
        dialect=Dialect(**read["dialect"]),
    )


def _measure(table: "str | os.PathLike[str] | pd.DataFrame") -> TableProfile:
    rows, columns = 0, dict[str, Measured]()
    unreadable: list[tuple[int, str]] = []
    for frame in frames(table, unreadable=unreadable):
        for name in frame.columns:
            if name not in columns:  # a key that JSON lines have from here on
                columns[name] = Measured(name, rows)
            columns[name].add(frame[name])
        rows += len(frame)
    is_file = isinstance(table, (str, os.PathLike))
    text = is_file and not str(table).lower().endswith(".parquet")
    return TableProfile(
        rows=rows,
        columns={name: Profile(**column.attributes(rows)) for name, column in columns.items()},
        unreadable=tuple(unreadable),
        identity=content_hash(table),
        dialect=find_dialect(pathlib.Path(str(table)).expanduser()) if text else Dialect(),
    )
