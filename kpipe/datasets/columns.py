"""Columns of a table that are inputs of a network, and the rows of a table in arrays."""

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

KINDS = ("number", "boolean", "category", "date")
MAX_CATEGORIES = 1000  # ids of one column; rarer values share one


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

    It is the column's name if TensorFlow allows it, else a similar one, without spaces and with
    ASCII letters only.

    Example:
        arguments_of([Column("age", "number"), Column("sex (m/f)", "category")])
        # ("age", "sex_m_f")
    """
    arguments: list[str] = []
    for column in columns:
        word = (
            re.sub(r"[^A-Za-z0-9]+", "_", column.name).strip("_")
            if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", column.name)
            else column.name
        )
        word = word if re.match("[A-Za-z]", word) else f"column_{word}".rstrip("_")
        number, argument = 2, word
        while argument in arguments:
            argument, number = f"{word}_{number}", number + 1
        arguments.append(argument)
    return tuple(arguments)
