"""Cells of a table: which mean that there is no value, and how values of any type are written."""

import datetime
import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# Cells that mean that there is no value, in these spellings. A category "None" loses nothing: a
# missing value is a category of its own.
MISSING = frozenset(
    "NA na N/A n/a #N/A NaN nan NAN null NULL Null None none NONE <NA> NaT ? -".split()
) | {""}


def plain(column: "pd.Series") -> "np.ndarray | Iterable[Any]":
    """Makes any column numbers (int64 or float64) or text, with NaN or None for missing values."""
    import numpy as np
    import pandas as pd

    types = pd.api.types
    if types.is_datetime64_any_dtype(column.dtype):
        moments = pd.to_datetime(column, utc=True).dt.tz_localize(None)
        whole = bool((moments.dropna() == moments.dropna().dt.normalize()).all())
        # Nanoseconds would end in the year 2262.
        seconds = moments.to_numpy().astype("datetime64[s]")
        texts = np.datetime_as_string(seconds, unit="D" if whole else "s")
        return (None if text == "NaT" else str(text) for text in texts)
    if column.dtype.kind in "iuf":  # of pandas' own types and of pyarrow's, too
        whole = column.dtype.kind == "i" or column.dtype.itemsize < 8  # as int64
        if column.dtype.kind in "iu" and whole and not column.isna().any():
            return column.to_numpy("int64")
        return column.to_numpy("float64", na_value=np.nan)
    return map(text_of, column.astype(object))


def text_of(value: Any) -> str | None:
    """Writes a value as text: 3.0 as "3", since a missing value makes floats of integers."""
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        if not text.isascii():  # halves of characters that were cut, which UTF-8 does not have
            text = text.encode("utf-8", "replace").decode()
        return None if text in MISSING else text
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, (datetime.datetime, datetime.date)):
        return None if value != value else value.isoformat()
    text = str(value)
    return None if text in MISSING else text


def class_name(text: str) -> str:
    """Returns a name of a class in one line: control characters would break lists and figures."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]+", " ", text).strip()


def words(column: "pd.Series") -> "np.ndarray":
    """Returns a column of a piece as text, object (n,), with None for missing values."""
    import numpy as np

    if column.dtype == object:
        return column.to_numpy()
    result = np.empty(len(column), object)
    result[:] = [text_of(value) for value in column.tolist()]
    return result


def numbers(column: "pd.Series") -> "np.ndarray":
    """Returns a column of a piece as float64 (n,), with NaN for missing values and other text."""
    import numpy as np
    import pandas as pd

    return pd.to_numeric(column, errors="coerce").to_numpy("float64", na_value=np.nan)
