"""Encoding of a table's rows: one function, used in preparation and in the export."""

import collections
import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .. import files
from ..datasets.columns import Column, TableRows, encoded_shape
from .arrays import load_array
from .dates import DAY, cycles_of, parse_dates

UNKNOWN = "[UNK]"  # the word of id 1; a value that is written so is unknown
LIMIT = 10.0  # deviations to which numbers are clipped
# An embedding cannot be learned from a single row. Rows with such values train the unknown id.
MIN_ROWS = 2
BATCH = 4096
_FITTED = ("median", "mean", "deviation")  # of a column, in `to_json`


@dataclasses.dataclass(frozen=True)
class Table:
    """Raw rows in memory-mapped arrays.

    Attributes:
        numbers: float32 (n, a), see `TableRows`.
        words: UTF-8, (n,) each.
    """

    numbers: np.ndarray
    words: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, rows: np.ndarray | slice) -> TableRows:
        """Returns some rows."""
        words: list[Any] = [words[rows] for words in self.words]
        return TableRows(self.numbers[rows], words)


@dataclasses.dataclass(frozen=True)
class Fit:
    """What the encoding takes from the train rows.

    Attributes:
        medians: Of each number, then of each date in seconds since 1970.
        means: Of each number, then of each date in days since its median.
        deviations: Standard deviations of the same; 1 if all train rows are equal.
        vocabularies: The values of each category, most frequent first, from id 2.
    """

    medians: tuple[float, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    vocabularies: tuple[tuple[str, ...], ...]


class Encoder:
    """Converts raw rows to float32 (n, size), in preparation and in the exported graph alike.

    Numbers are standardized after missing ones became the median of train. Dates are a number, the
    days since their median, and sine and cosine of the time of the year, of the week and, if
    `Column.time`, of the day; all are 0 if the date is missing. A column with missing values has an
    indicator of them too. Categories are ids: 0 is missing, 1 rare or unseen.

    Args:
        columns: The columns.
        fit: Result of `fit_encoding`.
    """

    def __init__(self, columns: Sequence[Column], fit: Fit):
        self.columns = tuple(columns)
        numbers = [column for column in columns if column.is_number]
        self.dates = [column for column in columns if column.kind == "date"]
        self.origins = [int(median) for median in fit.medians[len(numbers) :]]
        medians = [*fit.medians[: len(numbers)], *(0 for _ in self.dates)]
        self.medians, self.means, self.deviations = (
            np.array(values, np.float32).reshape(-1)
            for values in (medians, fit.means, fit.deviations)
        )
        self.measured = [*numbers, *self.dates]
        # StringLookup refuses an empty vocabulary.
        self.lookups = [
            keras.layers.StringLookup(vocabulary=list(words), mask_token="", oov_token=UNKNOWN)
            if words
            else None
            for words in fit.vocabularies
        ]
        self.order = self._order()

    def _order(self) -> list[int]:
        """Returns where each value of an encoded row is among the parts that are computed."""
        names = [(column.name, "value") for column in self.measured]
        names += [(column.name, "missing") for column in self.measured]
        names += [(column.name, f"cycle {i}") for column in self.dates for i in range(6)]
        at = {name: i for i, name in enumerate(names)}
        order = [at[part] for part in _parts(self.columns) if part[1] != "id"]
        return [*order, *range(len(names), len(names) + len(self.lookups))]

    @property
    def resources(self) -> list[keras.Model]:
        """Keras models that contain the lookup tables, which Keras exports completely."""
        layers = [layer for layer in self.lookups if layer]
        inputs = [keras.Input((), dtype="string") for _ in layers]
        outputs = [layer(words) for layer, words in zip(layers, inputs, strict=True)]
        return [keras.Model(inputs, outputs, name="lookups")] if layers else []

    def __call__(self, numbers: tf.Tensor, words: Sequence[tf.Tensor]) -> tf.Tensor:
        """Encodes rows, see `TableRows`: float32 (n, a) and strings (n,)."""
        kinds = [column for column in self.columns if not column.is_number]
        dates = [w for w, column in zip(words, kinds, strict=True) if column.kind == "date"]
        categories = [w for w, column in zip(words, kinds, strict=True) if column.kind != "date"]
        distances, cycles = [], []
        for texts, column, origin in zip(dates, self.dates, self.origins, strict=True):
            seconds, known = parse_dates(texts, column.time)
            days = tf.cast(seconds - origin, tf.float32) / DAY
            distances.append(tf.where(known, days, np.nan)[:, None])
            cycles.append(tf.where(known[:, None], cycles_of(seconds), 0.0))
        values = tf.concat([numbers, *distances], axis=1)
        missing = tf.math.is_nan(values)
        # Not Keras' Normalization, whose variance leaves float32's range before its root does.
        values = (tf.where(missing, self.medians, values) - self.means) / self.deviations
        values = tf.clip_by_value(values, -LIMIT, LIMIT)
        ids = [self._look_up(*pair) for pair in zip(self.lookups, categories, strict=True)]
        parts = [values, tf.cast(missing, tf.float32), *cycles, *ids]
        return tf.gather(tf.concat(parts, axis=1), self.order, axis=1)

    def _look_up(self, layer: keras.Layer | None, words: tf.Tensor) -> tf.Tensor:
        ids = layer(words) if layer else tf.where(words == "", 0, 1)
        return tf.cast(ids, tf.float32)[:, None]

    def of_arguments(self, values: Sequence[tf.Tensor]) -> tf.Tensor:
        """Encodes rows given as one tensor (n,) per column, in their order."""
        pairs = list(zip(values, self.columns, strict=True))
        words = [value for value, column in pairs if not column.is_number]
        numbers = [value for value, column in pairs if column.is_number]
        empty = tf.zeros((tf.shape(values[0])[0], 0))
        return self(tf.stack(numbers, axis=1) if numbers else empty, words)


def to_json(columns: Sequence[Column], fit: Fit) -> list[str]:
    """Writes the encoding as lines of JSON, so that rows can be encoded without TensorFlow.

    `columns` are the columns with what `Fit` has of each. `values` names what an encoded row
    consists of, in its order: a column and "value", "missing", "id", or of dates "cycle 0" to
    "cycle 5", sine and cosine of the time of the year, of the week and of the day.
    """
    measured = [column for column in columns if column.is_number]
    measured += [column for column in columns if column.kind == "date"]
    values = zip(fit.medians, fit.means, fit.deviations, strict=True)
    of_column = {
        c: dict(zip(_FITTED, v, strict=True)) for c, v in zip(measured, values, strict=True)
    }
    categories = [column for column in columns if column.kind == "category"]
    known = dict(zip(categories, fit.vocabularies, strict=True))
    described = [
        dataclasses.asdict(column)
        | of_column.get(column, {})
        | ({"vocabulary": known[column]} if column in known else {})
        for column in columns
    ]
    content = {"limit": LIMIT, "columns": described, "values": _parts(columns)}
    return json.dumps(content, indent=1).split("\n")


def from_json(lines: Sequence[str]) -> tuple[tuple[Column, ...], Fit]:
    """Reads what `to_json` wrote.

    Raises:
        ValueError: It is malformed, or of another version.
    """
    content = json.loads("\n".join(lines))
    names = [field.name for field in dataclasses.fields(Column)]
    columns, fitted = [], []
    for entry in content["columns"]:
        columns.append(Column(**{name: entry[name] for name in names}))
        fitted.append([entry[name] for name in _FITTED] if "median" in entry else [])
    order = sorted(range(len(columns)), key=lambda i: columns[i].kind == "date")
    rows = [fitted[i] for i in order if fitted[i]]
    medians, means, deviations = (tuple(row[i] for row in rows) for i in range(len(_FITTED)))
    vocabularies = (tuple(e["vocabulary"]) for e in content["columns"] if "vocabulary" in e)
    return tuple(columns), Fit(medians, means, deviations, tuple(vocabularies))


def _parts(columns: Sequence[Column]) -> list[tuple[str, str]]:
    """Names what an encoded row consists of: the parts of all columns, then ids of categories."""
    parts: list[tuple[str, str]] = []
    for column in columns:
        if column.kind == "category":
            continue
        parts.append((column.name, "value"))
        if column.kind == "date":
            parts += [(column.name, f"cycle {i}") for i in range(4 + 2 * column.time)]
        if column.missing:
            parts.append((column.name, "missing"))
    return parts + [(column.name, "id") for column in columns if column.kind == "category"]


def fit_encoding(columns: Sequence[Column], table: Table, rows: np.ndarray) -> Fit:
    """Fits the encoding to the train rows, column by column.

    Args:
        columns: The columns.
        table: The raw rows.
        rows: Those of the train split.
    """
    medians, means, deviations, vocabularies = [], [], [], []
    for i in range(table.numbers.shape[1]):
        values = np.array(table.numbers[:, i])[rows].astype(np.float64)
        medians.append(_median(values))
        mean, deviation = _moments(np.where(np.isnan(values), medians[-1], values))
        means.append(mean)
        deviations.append(deviation)
    others = [column for column in columns if not column.is_number]
    for column, words in zip(others, table.words, strict=True):
        if column.kind == "date":
            seconds = _seconds(words, rows, column.time)
            origin = float(int(_median(seconds)))
            medians.append(origin)
            days = np.where(np.isnan(seconds), 0.0, seconds - origin) / DAY
            mean, deviation = _moments(days)
            means.append(mean)
            deviations.append(deviation)
        else:
            vocabularies.append(_vocabulary(words, rows)[: column.num_ids - 2])
    return Fit(tuple(medians), tuple(means), tuple(deviations), tuple(vocabularies))


def _median(values: np.ndarray) -> float:
    """Returns the median of the values that are not missing; 0 if all are."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else 0.0


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Returns mean and standard deviation, 1 if all values are equal."""
    deviation = float(values.std())
    # Rounding can leave a deviation where all are equal; float32 takes the smallest ones for 0.
    constant = values.min() == values.max() or deviation < np.finfo(np.float32).tiny
    return float(values.mean()), 1.0 if constant else deviation


def _pieces(words: np.ndarray, rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), BATCH):
        yield words[rows[start : start + BATCH]]


def _seconds(words: np.ndarray, rows: np.ndarray, time: bool) -> np.ndarray:
    """Returns seconds since 1970, float64, NaN where missing."""
    parsed = [parse_dates(tf.constant(piece), time) for piece in _pieces(words, rows)]
    return np.concatenate([np.where(known, seconds, np.nan) for seconds, known in parsed])


def _vocabulary(words: np.ndarray, rows: np.ndarray) -> tuple[str, ...]:
    """Returns the most frequent values, those that are equally frequent in order."""
    counts: collections.Counter = collections.Counter()
    for piece in _pieces(words, rows):
        values, found = np.unique(piece, return_counts=True)
        counts.update(dict(zip(values.tolist(), found.tolist(), strict=True)))
    known: list[str] = []
    for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        text = word.decode(errors="replace")
        if count >= MIN_ROWS and text not in ("", UNKNOWN) and text.encode() == word:
            known.append(text)
    return tuple(known)


def write_encoded(
    folder: pathlib.Path,
    columns: Sequence[Column],
    tables: Mapping[str, Table],
    train_rows: np.ndarray,
) -> None:
    """Encodes tables in pieces and writes them, for `open_encoded`.

    Args:
        folder: An empty folder.
        columns: The columns.
        tables: Raw rows by name; the encoding is fitted to "train".
        train_rows: Rows of "train" that belong to the train split.
    """
    fit = fit_encoding(columns, tables["train"], train_rows)
    specs = [tf.TensorSpec((None,), tf.string) for column in columns if not column.is_number]
    of_numbers = tf.TensorSpec((None, len(columns) - len(specs)), tf.float32)
    # Traced once for all numbers of rows.
    encode = tf.function(Encoder(columns, fit).__call__, [of_numbers, specs], autograph=False)
    for name, table in tables.items():
        encoded = files.new_array(
            folder / f"{name}_encoded.npy",
            dtype=np.float32,
            shape=(len(table), *encoded_shape(columns)),
        )
        for start in range(0, len(table), BATCH):
            part = slice(start, start + BATCH)
            numbers, words = table.take(part)
            encoded[part] = encode(tf.constant(numbers), [tf.constant(w) for w in words]).numpy()
        encoded.flush()
    files.write_json(folder / "fit.json", dataclasses.asdict(fit))


def open_encoded(
    folder: pathlib.Path, tables: Mapping[str, Table]
) -> tuple[Fit, dict[str, np.ndarray]] | None:
    """Opens the fit and, by name, encoded rows; None if they are incomplete."""
    content: Any = files.read_json(folder / "fit.json")
    arrays = {name: load_array(folder / f"{name}_encoded.npy") for name in tables}
    vocabularies = tuple(map(tuple, content.pop("vocabularies")))
    fit = Fit(**{name: tuple(v) for name, v in content.items()}, vocabularies=vocabularies)
    whole = all(len(arrays[name]) == len(table) for name, table in tables.items())
    return (fit, arrays) if whole else None
