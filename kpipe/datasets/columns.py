"""Columns of a table that are inputs of a network, and the rows of a table in arrays."""

import dataclasses
import datetime
import keyword
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import UserError, nearest

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

KINDS = ("number", "boolean", "category", "date")
MAX_CATEGORIES = 1000  # ids of one column; rarer values share one
DATE_BYTES = len("2024-01-31T12:30:00")

_BLANK = " \t\r\n\0"  # NumPy's byte strings cannot end with a null byte
_BOOLEANS = {"true": 1.0, "yes": 1.0, "false": 0.0, "no": 0.0}
_SHOWN = 10  # names of columns that an error lists


@dataclasses.dataclass(frozen=True)
class Column:
    """A column that is an input.

    Attributes:
        name: Its name in the user's file.
        kind: One of `KINDS`. Numbers and booleans (0 or 1) are float32 with NaN for missing ones;
            categories are UTF-8 and dates ISO 8601 ("2024-01-31", "2024-01-31T12:30:00"), both
            with "" for missing ones.
        size: For a category, the number of different values in the data: an upper bound for those
            in train.
        longest: For a category or date, the bytes of its longest value.
        missing: Whether a value is missing somewhere in the data.
        format: For a date, its format in the user's file, for `datetime.strptime`; "" for ISO 8601.
        time: For a date, whether it has a time of day.
    """

    name: str
    kind: str
    size: int = 0
    longest: int = 0
    missing: bool = False
    format: str = ""
    time: bool = False

    @property
    def is_number(self) -> bool:
        """Whether its raw values are float32."""
        return self.kind in ("number", "boolean")

    @property
    def num_ids(self) -> int:
        """Size of a category's embedding: 0 is missing, 1 unseen or rare, from 2 the values."""
        return 2 + min(self.size, MAX_CATEGORIES) if self.kind == "category" else 0

    @property
    def num_features(self) -> int:
        """Number of values that the encoded column has, besides the id of a category."""
        if self.kind == "category":
            return 0
        # A date: its distance, and sine and cosine of the time of the year, week and day.
        values = 1 if self.is_number else 5 + 2 * self.time
        return values + self.missing


class TableRows(NamedTuple):
    """Rows of a table's input columns, in raw form.

    Attributes:
        numbers: float32 (m, a), the columns for which `Column.is_number`, in their order.
        words: For each other column, in their order, m values as UTF-8.
    """

    numbers: "np.ndarray"
    words: "Sequence[Sequence[bytes]]"


def encoded_shape(columns: Sequence[Column]) -> tuple[int]:
    """Returns the shape of an encoded row: the features of all columns, then ids of categories."""
    ids = sum(column.kind == "category" for column in columns)
    return (sum(column.num_features for column in columns) + ids,)


def category_sizes(columns: Sequence[Column]) -> tuple[int, ...]:
    """Returns the number of ids of each category, the last values of an encoded row."""
    return tuple(column.num_ids for column in columns if column.kind == "category")


def arguments_of(columns: Sequence[Column]) -> tuple[str, ...]:
    """Returns the argument of the exported model for each column.

    It is the column's name with ASCII letters, digits and "_" only: TensorFlow allows no others.

    Example:
        arguments_of([Column("age", "number"), Column("sex (m/f)", "category")])[1]  # "sex_m_f"
    """
    arguments: dict[str, None] = {}
    for column in columns:
        word = re.sub("[^A-Za-z0-9]+", "_", column.name).strip("_")
        if re.fullmatch("[A-Za-z][A-Za-z0-9_]*", column.name):
            word = column.name
        # TensorFlow refuses Python's keywords, and its own functions have a `self`.
        if not word[:1].isalpha() or keyword.iskeyword(word) or word == "self":
            word = f"column_{word}".rstrip("_")
        argument, number = word, 2
        while argument in arguments:
            argument, number = f"{word}_{number}", number + 1
        arguments[argument] = None
    return tuple(arguments)


def to_lines(columns: Sequence[Column]) -> list[str]:
    """Writes argument, name, kind and format of each column, separated by tabs."""
    return [
        "\t".join((argument, escape(column.name), column.kind, escape(column.format)))
        for argument, column in zip(arguments_of(columns), columns, strict=True)
    ]


def from_lines(lines: Sequence[str]) -> tuple[Column, ...]:
    """Reads what `to_lines` wrote.

    Raises:
        ValueError: A line is malformed.
    """
    columns = []
    for line in lines:
        _, name, kind, format = line.split("\t")
        columns.append(Column(unescape(name), kind, format=unescape(format)))
    return tuple(columns)


_ESCAPES: dict[str, Any] = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def escape(text: str) -> str:
    """Escapes backslashes, tabs and line ends in a name, so that a line can contain it."""
    return text.translate(str.maketrans(_ESCAPES))


def unescape(text: str) -> str:
    """Reverses `escape`."""
    plain = {escape: character for character, escape in _ESCAPES.items()}
    return re.sub(r"\\[\\tnr]", lambda match: plain[match[0]], text)


def as_rows(frame: "pd.DataFrame", columns: Sequence[Column], where: str = "") -> TableRows:
    """Converts the columns of a DataFrame, or of a piece of a larger table, to `TableRows`.

    Missing are NaN, None and blank texts. A boolean may be true, yes, 1, false, no or 0, or "1.0",
    as pandas writes it in a column with missing values. A date is read by `Column.format`, or is
    ISO 8601.

    Args:
        frame: Values as `reading.frames` yields them; other columns are ignored. Errors name rows
            by its index.
        columns: The columns.
        where: The file, for errors; "" if there is none.

    Raises:
        UserError: A column is missing; or a value is no number, not finite in float32, or no date.
            The message names file, row and column.
    """
    import numpy as np

    numbers = np.empty((len(frame), sum(column.is_number for column in columns)), np.float32)
    position, words = 0, []
    for column in columns:
        series = _find(frame, column.name, where)
        if column.is_number:
            numbers[:, position] = _numbers(series, column, where)
            position += 1
        else:
            words.append(words_of(series, column))
            if column.kind == "date":
                wrong = _unread(series, np.array([not word for word in words[-1]], bool))
                date = f"{datetime.date(2024, 1, 31):{column.format or '%Y-%m-%d'}}"
                _refuse(series, wrong, column, where, f"a date such as {date}")
    return TableRows(numbers, words)


def words_of(series: "pd.Series", column: Column) -> list[bytes]:
    """Converts the values of a category or date to UTF-8; missing ones are b"".

    Whole numbers are written without a fraction, since pandas makes them floats where values are
    missing.
    """
    import numpy as np
    import pandas as pd

    codes, values = pd.factorize(series)
    values = pd.Series(values)
    converted = _dates(values, column.format) if column.kind == "date" else map(_word, values)
    words = np.array([*converted, b""], dtype=object)
    return words[codes].tolist()  # the code of a missing value is -1


def _find(frame: "pd.DataFrame", name: str, where: str = "") -> "pd.Series":
    """Returns a column of a DataFrame.

    Raises:
        UserError: It is missing, or there are several of that name.
    """
    where = where or "rows"
    if frame.columns.is_unique and frame.columns.inferred_type == "string" and name in frame:
        return frame[name]  # many names would be compared one by one
    found = [i for i, label in enumerate(frame.columns) if str(label) == name]
    if not found:
        names = [str(label) for label in frame.columns]
        listed = [*names[:_SHOWN], "..."] if len(names) > _SHOWN else names
        raise UserError(f"{where}: no column {name!r}; {nearest(name, names, listed)}")
    if len(found) > 1:
        raise UserError(f"{where}: {len(found)} columns {name!r}; expected one: rename the others")
    return frame.iloc[:, found[0]]


def _numbers(series: "pd.Series", column: Column, where: str) -> "np.ndarray":
    """Converts a column to float32; NaN is missing."""
    import numpy as np

    boolean = column.kind == "boolean"
    values = _booleans(series) if boolean else _floats(series)
    with np.errstate(over="ignore"):  # refused here
        converted = values.astype(np.float32)
    wrong = _unread(series, np.isnan(values))
    expected = "true, yes, 1, false, no or 0" if boolean else "a number"
    if not wrong:
        wrong, expected = (
            np.flatnonzero(np.isinf(converted)).tolist(),
            "a finite number below 3.4e38",
        )
    _refuse(series, wrong, column, where, expected)
    return converted


def _unread(series: "pd.Series", empty: "np.ndarray") -> list[int]:
    """Returns the rows that became empty, bool (n,), though their values are not missing."""
    import numpy as np

    rows = np.flatnonzero(empty & ~series.isna().to_numpy())
    return [int(row) for row in rows if _word(series.iloc[row])]


def _refuse(
    series: "pd.Series", rows: Sequence[int], column: Column, where: str, expected: str
) -> None:
    """Raises an error that names the first of some rows, if there are any."""
    if not rows:
        return
    label, value = series.index[rows[0]], series.iloc[rows[0]]
    place = f"{where}:{label}" if where else f"row {label}"
    more = f" ({len(rows):,} such values)" if len(rows) > 1 else ""
    raise UserError(
        f"{place}, column {column.name!r}: {_shown(value)}{more}; expected {expected}, or "
        "nothing if it is missing"
    )


def _booleans(series: "pd.Series") -> "np.ndarray":
    """Converts booleans to 0 or 1, float64; what is none becomes NaN."""
    import numpy as np
    import pandas as pd

    codes, values = pd.factorize(series)
    return np.array([*map(_boolean, values), np.nan])[codes]


def _boolean(value: Any) -> float:
    word = _word(value).decode(errors="replace").lower()
    if word in _BOOLEANS:
        return _BOOLEANS[word]
    try:
        number = float(word)
    except ValueError:
        return float("nan")
    return number if number in (0, 1) else float("nan")


def _floats(series: "pd.Series") -> "np.ndarray":
    """Converts numbers to float64; what is none becomes NaN."""
    import numpy as np
    import pandas as pd

    types = pd.api.types
    if types.is_numeric_dtype(series) and not types.is_complex_dtype(series):
        return series.to_numpy(np.float64, na_value=np.nan)
    values = pd.to_numeric(series.astype(object), errors="coerce")
    if types.is_complex_dtype(values):
        values = pd.to_numeric(series.astype(str), errors="coerce")
    return values.to_numpy(np.float64)


def _dates(values: "pd.Series", format: str) -> list[bytes]:
    """Converts dates to ISO 8601 in UTC, without the time at midnight; unreadable ones to b""."""
    import numpy as np
    import pandas as pd

    if not pd.api.types.is_datetime64_any_dtype(values):
        values = pd.Series(
            [
                v if isinstance(v, datetime.date) else _word(v).decode(errors="replace")
                for v in values
            ],
            dtype=object,
        )
    parsed = pd.to_datetime(values, format=format or "ISO8601", errors="coerce", utc=True)
    if format:  # a DataFrame may have true dates, where the file that was trained on had texts
        iso = values.where(values.astype(str).str.match(r"\d{4}-\d\d-\d\d"))
        parsed = parsed.fillna(pd.to_datetime(iso, format="ISO8601", errors="coerce", utc=True))
    times = parsed.dt.tz_localize(None).to_numpy().astype("datetime64[s]")
    days = times.astype("datetime64[D]")
    texts = np.where(days == times, np.datetime_as_string(days), np.datetime_as_string(times))
    return [text.encode() for text in np.where(np.isnat(times), "", texts)]


def _word(value: Any) -> bytes:
    """Writes a value as UTF-8, without blanks around it."""
    if isinstance(value, bytes):
        return value.strip(_BLANK.encode())
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    return str(value).strip(_BLANK).encode("utf-8", "replace")


def _shown(value: Any) -> str:
    """Writes a value for an error."""
    text = repr(value.item() if hasattr(value, "item") else value)
    return text if len(text) <= 40 else f"{text[:37]}..."
