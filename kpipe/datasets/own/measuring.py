"""Measures of a table's column, from one piece after another, in bounded memory."""

import collections
import re
from typing import TYPE_CHECKING, Any

from .cells import numbers, words

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

MAX_VALUES = 1000  # different values of a column that are counted one by one
MAX_DIFFERENT = 100_000  # different values that are counted exactly; more are estimated
ALMOST = 0.95  # share of a column's values from which the others are mistakes
_SAMPLED = 10_000  # values that quartiles are computed from
_LOOKED_AT = 2000  # texts of a piece whose words are counted
_DAYS = (
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%d.%m.%y"),
    *(
        "%Y-%m-%d",
        "%d/%m/%y",
        "%m/%d/%y",
        "%d %b %Y",
        "%d-%b-%Y",
        "%b %d, %Y",
        "%d %B %Y",
        "%B %d, %Y",
    ),
)
_TIMES = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d([T ].*)?")
# Chinese and Japanese have no spaces between words.
_WORD = re.compile("[\u3040-\u30ff\u3400-\u9fff]|[^\\s\u3040-\u30ff\u3400-\u9fff]+")
_ADDRESS = re.compile(r"[^@\s]+@[^@\s]+\.\w+|[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.I)


class Sample:
    """Up to 10,000 of any number of values, drawn at random, always the same."""

    def __init__(self) -> None:
        import numpy as np

        self._random = np.random.default_rng(0)
        self._values, self._order = np.zeros(0), np.zeros(0)

    def add(self, values: "np.ndarray") -> None:
        import numpy as np

        self._values = np.concatenate([self._values, values])
        self._order = np.concatenate([self._order, self._random.random(len(values))])
        if len(self._values) > _SAMPLED:
            kept = np.argpartition(self._order, _SAMPLED)[:_SAMPLED]
            self._values, self._order = self._values[kept], self._order[kept]

    def quartiles(self) -> tuple[float, ...]:
        """Returns minimum, quartiles and maximum; () without values."""
        import numpy as np

        if not len(self._values):
            return ()
        return tuple(map(float, np.quantile(self._values, (0, 0.25, 0.5, 0.75, 1))))


class Measured:
    """What is known of a column after some pieces."""

    def __init__(self, name: str, missing: int):
        import numpy as np

        self.name, self.rows, self.missing = name, missing, missing
        self.hashes = np.zeros(0, np.uint64)  # the smallest
        self.pending: list[np.ndarray] = []  # not merged with them yet
        self.values: dict[str, int] | None = {}
        self.numeric, self.whole, self.zeros = 0, True, False
        self.running, self._last = True, np.zeros(0)
        self.low, self.high, self.sample = np.inf, -np.inf, Sample()
        self.odd: list[tuple[int, str]] = []
        self.formats = _Formats()
        self.addresses, self.lengths, self.words, self.longest = True, [0, 0], Sample(), 0

    def add(self, column: "pd.Series") -> None:
        import numpy as np

        self.rows += len(column)
        column = column[column.notna()]
        self.missing = self.rows - self._present(len(column))
        if not len(column):
            return
        hashes = hash_of(column)
        if len(self.hashes) == MAX_DIFFERENT:
            hashes = hashes[hashes < self.hashes[-1]]
        self.pending.append(hashes)
        if sum(map(len, self.pending)) >= MAX_DIFFERENT // 2:  # each merge sorts all
            self._merge()
        values = numbers(column)
        is_number, finite = ~np.isnan(values), np.isfinite(values)
        self.numeric += int(is_number.sum())
        found = values[finite]
        if len(found):
            self.low, self.high = min(self.low, found.min()), max(self.high, found.max())
            self.whole = self.whole and bool((found == np.floor(found)).all())
            steps = np.diff(np.concatenate([self._last, found]))
            self.running = self.running and bool((np.abs(steps) == 1).all())
            self._last = found[-1:]
            self.sample.add(found)
        if self.values is not None:
            for value, count in collections.Counter(words(column)).items():
                self.values[value] = self.values.get(value, 0) + count
            self.values = self.values if len(self.values) <= MAX_VALUES else None
        if len(self.odd) < 5 and not finite.all():
            odd = column[~finite].drop_duplicates()[:5].items()
            self.odd = [*self.odd, *((int(line), str(value)[:60]) for line, value in odd)][:5]
        if column.dtype != object:  # numbers, perhaps written with ".0"
            self.longest = max(len(f"{self.low:.0f}"), len(f"{self.high:.0f}"), 24) + 2
            return
        texts = column.to_numpy()
        others = ~is_number
        self._add_texts(texts, found)
        if others.any() and others.mean() > 1 - ALMOST:
            self.formats.add(column[others])
        elif others.any():
            self.formats.stop()

    def _merge(self) -> None:
        import numpy as np

        self.hashes = np.unique(np.concatenate([self.hashes, *self.pending]))[:MAX_DIFFERENT]
        self.pending = []

    def _present(self, more: int) -> int:
        self.present = getattr(self, "present", 0) + more
        return self.present

    def _add_texts(self, texts: "np.ndarray", found: "np.ndarray") -> None:
        import numpy as np

        joined = "\n".join(texts)
        encoded = texts if joined.isascii() else [text.encode() for text in texts]
        self.longest = max(self.longest, *map(len, encoded))
        some = texts[:: 1 + len(texts) // _LOOKED_AT]
        if len(found):
            self.zeros = self.zeros or bool(re.search(r"^0\d+$", joined, re.M))
        counts = np.array([len(_WORD.findall(text)) for text in some])
        self.words.add(counts)
        self.lengths = [self.lengths[0] + len(some), self.lengths[1] + int(counts.sum())]
        self.addresses = self.addresses and all(_ADDRESS.fullmatch(text) for text in some)

    def attributes(self, rows: int) -> dict[str, Any]:
        """Returns the attributes of a `Profile`."""
        missing = self.missing + rows - self.rows  # JSON lines without this key at the end
        self._merge()
        different = len(self.hashes)
        if different == MAX_DIFFERENT:  # the share of all hashes that are below the largest kept
            different = int((MAX_DIFFERENT - 1) * 2.0**64 / float(self.hashes[-1]))
        quartiles = self.sample.quartiles()
        return {
            "name": self.name,
            "rows": rows,
            "missing": missing,
            "different": min(different, rows - missing),
            "values": self.values,
            "numeric": self.numeric,
            "whole": self.whole and self.numeric > 0,
            "zeros": self.zeros,
            "running": self.running and different == self.numeric == rows,
            "quartiles": (float(self.low), *quartiles[1:4], float(self.high)) if quartiles else (),
            "odd": tuple(self.odd),
            "addresses": self.addresses and self.lengths[0] > 0,
            "words": self.words.quartiles(),
            "mean_words": self.lengths[1] / max(1, self.lengths[0]),
            "longest": self.longest,
            **self.formats.best(),
        }


class _Formats:
    """Formats that all dates of a column may have."""

    def __init__(self) -> None:
        formats = [day + time for time in _TIMES for day in _DAYS]
        self.parsed: dict[str, int] = dict.fromkeys(["", *formats], 0)
        self.ranges: dict[str, tuple[str, str]] = {}
        self.odd: dict[str, list[tuple[int, str]]] = {name: [] for name in self.parsed}
        self.timed: set[str] = set()
        self.seen = 0

    def stop(self) -> None:
        self.parsed = {}

    def add(self, column: "pd.Series") -> None:
        texts = column.to_numpy()
        self.seen += len(texts)
        if not any(char.isdigit() for text in texts[:20] for char in text[:30]):
            self.stop()
        few = column.iloc[:20]
        for name in list(self.parsed):
            if self.seen == len(texts) and parse_dates(few, name).notna().mean() < 0.5:
                del self.parsed[name]
                continue
            dates = parse_dates(column, name)
            self.parsed[name] += int(dates.notna().sum())
            # Of all dates, of which a few may be mistakes, this format explains too few.
            if self.parsed[name] < ALMOST * self.seen:
                del self.parsed[name]
                continue
            good = dates.dropna()
            if (good != good.dt.normalize()).any():
                self.timed.add(name)
            low, high = (str(moment.date()) for moment in (good.min(), good.max()))
            before = self.ranges.get(name, (low, high))
            self.ranges[name] = min(low, before[0]), max(high, before[1])
            for line, text in column[dates.isna()].iloc[:5].items():
                self.odd[name] = [*self.odd[name], (int(line), text[:60])][:5]

    def best(self) -> dict[str, Any]:
        """Returns the attributes of the format that reads most dates, for `Profile`."""
        if not self.parsed:
            nothing = {"dated": 0, "format": "", "ambiguous": False, "time": False}
            return {**nothing, "dates": ("", ""), "undated": ()}
        name = max(self.parsed, key=lambda name: self.parsed[name])
        # Month first, as pandas, if no day is above 12.
        other = name.replace("%d", "%_").replace("%m", "%d").replace("%_", "%m")
        ambiguous = other != name and self.parsed.get(other) == self.parsed[name]
        if ambiguous and name.startswith("%d"):
            name = other
        return {
            "dated": self.parsed[name],
            "format": name,
            "ambiguous": ambiguous,
            "time": name in self.timed,
            "dates": self.ranges.get(name, ("", "")),
            "undated": tuple(self.odd[name]),
        }


def parse_dates(column: "pd.Series", format: str) -> "pd.Series":
    """Returns the dates of a column in UTC, without a time zone; NaT for what is none.

    Args:
        column: Text, or missing values.
        format: See `Column.format`.
    """
    import pandas as pd

    if not format:  # pandas takes "2024" and "2024-01" as ISO 8601, too
        column = column.where(column.map(lambda text: bool(_ISO_DATE.fullmatch(str(text)))))
    dates = pd.to_datetime(column, format=format or "ISO8601", errors="coerce", utc=True)
    return dates.dt.tz_localize(None)


def hash_of(column: "pd.Series") -> "np.ndarray":
    """Returns a 64-bit hash of each value, uint64 (n,): the same for the same text or number."""
    import numpy as np
    import pandas as pd

    values: Any = column.to_numpy() if column.dtype == object else column.to_numpy(np.float64)
    if values.dtype == object:
        values = np.where(column.isna(), "", values)
    return pd.util.hash_array(values, categorize=False)
