"""Labels, splits and hashes of a table's rows, from one piece after another."""

from typing import TYPE_CHECKING

from ..columns import Column, as_rows
from .cells import numbers, words
from .division import LEFT_OUT
from .leaks import Correlation, Determined
from .measuring import ALMOST, hash_of, parse_dates
from .profile import Profile, TableProfile
from .roles import Options, Roles

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), 0),
    **dict.fromkeys(("val", "valid", "validation", "dev"), 1),
    **dict.fromkeys(("test", "testing"), 2),
}


class RowScan:
    """The rows of a table, from its pieces."""

    def __init__(self, table: TableProfile, options: Options, roles: Roles):
        self.table, self.options, self.roles = table, options, roles
        self.inputs = [table.columns[name] for name in roles.inputs]
        self.bad: list[tuple[int, str]] = list(table.unreadable)
        self.parts: dict[str, list[np.ndarray]] = {
            name: [] for name in ("labels", "hashes", "lines", "codes", "groups", "times")
        }
        self.determined = {name: Determined() for name in roles.inputs if options.text is None}
        self.correlations = {
            profile.name: Correlation()
            for profile in self.inputs
            if roles.task == "regression" and profile.kind[0] == "number"
        }

    @property
    def needed(self) -> list[str]:
        """Names of the columns to read."""
        options = self.options
        others = [name for name in (options.group, options.time, options.split) if name]
        return [*self.roles.inputs, *options.target, *others]

    def add(self, frame: "pd.DataFrame") -> None:
        """Adds a piece."""
        import numpy as np
        import pandas as pd

        lines = frame.index.to_numpy()
        reasons = np.full(len(frame), "", object)
        labels, label_hashes = self._labels(frame, reasons)
        self._append("labels", labels)
        self._append("lines", lines)
        hashes, missing = {}, {}
        for found in self.inputs:
            column = frame[found.name]
            missing[found.name] = column.isna().to_numpy()
            if self.options.skip_bad and self.options.text is None:
                self._mark_mistakes(found, column, reasons)
            numeric = found.kind[0] == "number" and self.options.text is None
            hashes[found.name] = hash_of(pd.Series(numbers(column)) if numeric else column)
        if self.options.text is not None:
            reasons[missing[self.roles.inputs[0]]] = f"{self.roles.inputs[0]} is missing"
        rows = np.zeros(len(frame), np.uint64)
        for some in hashes.values():
            rows = (rows ^ some) * np.uint64(1_099_511_628_211)  # as FNV
            rows ^= rows >> np.uint64(29)
        self._append("hashes", rows)
        self._append("codes", self._codes(frame, reasons))
        if self.options.group:
            # Rows of an unknown group stand alone.
            column = frame[self.options.group]
            alone = pd.util.hash_array(lines.astype(np.uint64)) ^ np.uint64(1)
            self._append("groups", np.where(column.isna(), alone, hash_of(column)))
        if self.options.time:
            self._append("times", self._times(frame, reasons))
        good = reasons == ""
        self.parts["codes"][-1][~good] = LEFT_OUT
        self.bad += [(int(lines[i]), reasons[i]) for i in np.flatnonzero(~good)]
        for name, determined in self.determined.items():
            there = good & ~missing[name]
            determined.add(hashes[name][there], label_hashes[there], rows[there])
        for name, correlation in self.correlations.items():
            values = numbers(frame[name])
            there = good & ~np.isnan(values)
            correlation.add(values[there], labels[there].astype(np.float64))

    def _append(self, name: str, values: "np.ndarray") -> None:
        self.parts[name].append(values)

    def joined(self, name: str) -> "np.ndarray":
        """Returns one of the arrays of all rows, and frees its parts."""
        import numpy as np

        return np.concatenate(self.parts.pop(name))

    def _mark_mistakes(self, found: Profile, column: "pd.Series", reasons: "np.ndarray") -> None:
        """Makes bad rows of those with a value that is no finite number, or no date."""
        import numpy as np

        if found.kind[0] == "number":
            with np.errstate(over="ignore"):
                read, expected = np.isfinite(numbers(column).astype(np.float32)), "finite number"
        elif found.kind[0] == "date":
            read, expected = parse_dates(column, found.format).notna().to_numpy(), "date"
        else:
            return
        reasons[~read & column.notna().to_numpy()] = f"{found.name} is no {expected}"

    def _labels(
        self, frame: "pd.DataFrame", reasons: "np.ndarray"
    ) -> tuple["np.ndarray", "np.ndarray"]:
        """Returns the labels and their hashes; those without become bad rows."""
        import numpy as np
        import pandas as pd

        if self.roles.task == "multilabel":
            columns = [Column(name, "boolean") for name in self.options.target]
            values = as_rows(frame, columns).numbers
            for name, missing in zip(self.options.target, np.isnan(values).T, strict=True):
                reasons[missing] = f"{name} is missing"
            labels = np.nan_to_num(values).astype(np.int8)
            return labels, hash_of(pd.Series(labels @ (2.0 ** np.arange(labels.shape[1]))))
        target = frame[self.options.target[0]]
        if self.roles.task == "regression":
            values = numbers(target)
            with np.errstate(over="ignore"):
                labels = values.astype(np.float32)
            wrong = ~np.isfinite(labels)
            reasons[wrong] = f"{target.name} is no finite number"
        else:
            found = [self.roles.classes.get(word, -1) for word in words(target)]
            labels = np.array(found, np.int32)
        reasons[target.isna().to_numpy()] = f"{target.name} is missing"
        return labels, hash_of(pd.Series(labels.astype(np.float64)))

    def _codes(self, frame: "pd.DataFrame", reasons: "np.ndarray") -> "np.ndarray":
        import numpy as np

        name = self.options.split
        if not name:
            return np.zeros(len(frame), np.int8)
        texts = [str(word or "").strip().lower() for word in words(frame[name])]
        codes = np.array([_SPLIT_NAMES.get(text, LEFT_OUT) for text in texts], np.int8)
        for i in np.flatnonzero(codes == LEFT_OUT):
            reasons[i] = f"{name} is {texts[i]!r}, not train, val or test"
        return codes

    def _times(self, frame: "pd.DataFrame", reasons: "np.ndarray") -> "np.ndarray":
        import numpy as np

        name = self.options.time
        found = self.table.columns[name]
        if is_number(found):
            times = numbers(frame[name])
        else:
            moments = parse_dates(frame[name], found.format).to_numpy("datetime64[ms]")
            times = np.where(np.isnat(moments), np.nan, moments.astype(np.int64))
        reasons[~np.isfinite(times)] = (
            f"{name} is missing or no {'number' if is_number(found) else 'date'}"
        )
        return times


def is_number(profile: Profile) -> bool:
    """Whether a column is numbers, but for mistakes."""
    return profile.numeric > 0 and profile.numeric >= ALMOST * profile.present
