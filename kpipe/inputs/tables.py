"""Tables: named columns of numbers, categories and dates, encoded as one vector per row."""

import collections
import dataclasses
import hashlib
import itertools
import json
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from .. import files
from ..datasets import Augmentation, Source
from ..datasets.columns import (
    DATE_BYTES,
    KINDS,
    MAX_CATEGORIES,
    Column,
    TableRows,
    arguments_of,
    encoded_shape,
    to_lines,
)
from ..errors import UserError
from ..formatting import counted
from .arrays import Endpoints, Given, Serve, load_array, report_progress
from .encoding import (
    BATCH,
    MIN_ROWS,
    Encoder,
    Fit,
    Table,
    open_encoded,
    to_json,
    write_encoded,
)
from .refusals import check_labels, incomplete
from .rows_on_disk import Joined, take_rows

# Part of the fingerprint: raise it when the encoded rows change.
ENCODING_VERSION = 1

# The first of both is a missing value.
_ODD_NUMBERS = (np.nan, 1e30, -1e30, 0.0, 1e-30, np.inf, -np.inf)
_ODD_WORDS = (
    *(b"", b"never seen before", b" ", b"[UNK]", b"x" * 5000, b"\xff\xfe broken \x00 \xc3"),
    *("\N{SMILING FACE WITH SMILING EYES}".encode(), b"31/01/2024", b"2023-02-29"),
    *(b"2024-13-01", b"2024-02-29T25:00:00", b"0000-00-00", b"9999-12-31T23:59:59"),
    *(b"0001-01-01", b"2024-02-29", b"1969-12-31T23:59:59", b"2024-02-29 "),
)

COLUMNS_FILE = "columns.txt"  # asset that names the columns of an export
ENCODING_FILE = "encoding.json"  # asset that says how its rows are encoded


@dataclasses.dataclass(frozen=True)
class TableColumns:
    """Rows of a table, raw and encoded.

    Attributes:
        values: float32 (n, size), in the form that the network takes.
        table: The raw rows that they were computed from.
        lengths: None, because all rows have the same length.
    """

    values: np.ndarray
    table: Table
    lengths: None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        """Shape of one input in a batch."""
        return self.values.shape[1:]

    @property
    def numbers(self) -> np.ndarray:
        """The raw numbers, float32 (n, a), see `TableRows`."""
        return self.table.numbers

    @property
    def words(self) -> tuple[np.ndarray, ...]:
        """The raw values of each other column, UTF-8 (n,)."""
        return self.table.words

    @property
    def raw(self) -> Table:
        """What an `Input` is fitted to: the raw rows."""
        return self.table

    def take(self, rows: np.ndarray, trim: bool = True) -> np.ndarray:
        """Returns the encoded rows."""
        return take_rows(self.values, rows)

    def digests(self, rows: np.ndarray) -> np.ndarray:
        """Returns a hash of each of some rows, uint64, with which duplicates are counted."""
        import pandas as pd

        found = np.empty(len(rows), np.uint64)
        for start in range(0, len(rows), BATCH):
            part = self.table.take(rows[start : start + BATCH])
            frame = pd.DataFrame(dict(enumerate([*part.numbers.T, *part.words])))
            found[start : start + BATCH] = pd.util.hash_pandas_object(frame, index=False)
        return found

    def shortest_first(self, rows: np.ndarray) -> np.ndarray:
        """Returns an order of the positions of `rows` that needs little padding."""
        return np.arange(len(rows))

    def joined(
        self, rows: np.ndarray, other: "TableColumns", other_rows: np.ndarray
    ) -> "TableColumns":
        """Concatenates some rows of this column and some of another."""

        def joined(first: np.ndarray, second: np.ndarray) -> Any:
            return Joined((first, rows), (second, other_rows))

        return TableColumns(
            joined(self.values, other.values),
            Table(joined(self.numbers, other.numbers), tuple(map(joined, self.words, other.words))),
        )

    @property
    def files(self) -> list[pathlib.Path]:
        """The files that contain the raw rows, for the proof: numbers, then each other column."""
        arrays = (self.numbers, *self.words)
        return [pathlib.Path(array.filename) for array in arrays]  # type: ignore[attr-defined]


@dataclasses.dataclass(frozen=True)
class TableInput:
    """Inputs that are the rows of a table.

    Attributes:
        columns: The columns.
        fit: What the encoding takes from the train rows, once fitted.
    """

    columns: tuple[Column, ...]
    fit: Fit | None = None

    name: ClassVar[str] = "features"
    usage: ClassVar[str] = "ROWS.csv"

    def write(self, folder: pathlib.Path, dataset_name: str, source: Source, split: str) -> None:
        """Writes the raw rows piece by piece, and their labels.

        Numbers are one array, stored column by column; each other column is an array of its own.

        Raises:
            UserError: A number is infinite, the source has fewer or more rows than declared, or a
                value is longer than declared.
        """
        if source.pieces is None:
            raise UserError(f"{source.description}: expected a source of rows, with `pieces`")
        count, started = source.examples[split], time.monotonic()

        def create(part: str, dtype: Any, *width: int) -> np.memmap:
            return files.new_array(
                folder / f"{split}_{part}.npy",
                dtype=dtype,
                shape=(count, *width),
                fortran_order=True,  # columns are fitted, and proven, one by one
            )

        others = [column for column in self.columns if not column.is_number]
        sizes = [DATE_BYTES if c.kind == "date" else max(1, c.longest) for c in others]
        numbers = create("numbers", np.float32, len(self.columns) - len(others))
        words = [create(f"words_{i}", f"S{size}") for i, size in enumerate(sizes)]
        labels, written = [], 0
        for rows, some in source.pieces(split):
            stop = written + len(some)
            if stop > count:
                raise incomplete(source, split, stop)
            self._check_finite(rows.numbers, f"{source.description}: {split}", written)
            numbers[written:stop] = rows.numbers
            for array, column, size, given in zip(words, others, sizes, rows.words, strict=True):
                if max(map(len, given), default=0) > size:
                    raise UserError(
                        f"{source.description}: column {column.name!r} has values longer than the "
                        f"{size} bytes found before; the file was changed: start again"
                    )
                array[written:stop] = given
            labels.append(some)
            written = stop
            report_progress(dataset_name, split, written, count, started, len(some))
        if written < count:
            raise incomplete(source, split, written)
        for array in (numbers, *words):
            array.flush()
        joined = np.concatenate(labels)
        check_labels(joined, source)
        np.save(folder / f"{split}_labels.npy", joined)

    def _check_finite(self, numbers: np.ndarray, where: str, first: int) -> None:
        """Refuses infinity, which float32 makes of numbers beyond its range; NaN is missing."""
        for row, i in np.argwhere(np.isinf(numbers))[:1]:
            name = [column.name for column in self.columns if column.is_number][i]
            raise UserError(
                f"{where} row {first + row + 1:,}, column {name!r}: infinite, or beyond float32's "
                "range of 3.4e38; expected a finite number, or nothing if it is missing"
            )

    def open(self, folder: pathlib.Path, split: str) -> Table:
        others = sum(not column.is_number for column in self.columns)
        words = (load_array(folder / f"{split}_words_{i}.npy") for i in range(others))
        return Table(load_array(folder / f"{split}_numbers.npy"), tuple(words))

    def fitted(
        self, folder: pathlib.Path, columns: Mapping[str, Table], train_rows: np.ndarray
    ) -> "tuple[TableInput, Mapping[str, TableColumns]]":
        """Fits the encoding to the train rows only, encodes all rows, caches both.

        Args:
            folder: Folder of the prepared rows.
            columns: The raw rows by name; the encoding is fitted to "train".
            train_rows: Rows of "train" that belong to the train split.
        """
        key = [*self._key(), hashlib.sha256(train_rows.tobytes()).hexdigest()]
        digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
        encoded_folder = folder.with_name(f"{folder.name}-encoded-{digest[:16]}")
        fit, arrays = files.open_or_write(
            encoded_folder,
            lambda: open_encoded(encoded_folder, columns),
            lambda temporary: write_encoded(temporary, self.columns, columns, train_rows),
        )
        encoded = {name: TableColumns(arrays[name], table) for name, table in columns.items()}
        return dataclasses.replace(self, fit=fit), encoded

    def _key(self) -> list[int]:
        return [ENCODING_VERSION, MAX_CATEGORIES, MIN_ROWS]

    def fingerprint_parts(self) -> list[Any]:
        """Returns what changes the encoded rows."""
        return [*self.written_parts(), *self._key()]

    def written_parts(self) -> list[Any]:
        """Returns what changes the files written by `write`."""
        return [dataclasses.astuple(column) for column in self.columns]

    def augment(self, inputs: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor) -> tf.Tensor:
        """Returns the inputs unchanged: tables are not augmented."""
        return inputs

    def initialize(self, model: keras.Model) -> dict[str, Any]:
        return {}

    def adapt(self, model: keras.Model, train: Any) -> None:
        pass

    def describe(self, column: TableColumns, rows: np.ndarray) -> dict[str, Any]:
        """Prints and returns the number of columns of each kind, and of encoded values."""
        counts = collections.Counter(column.kind for column in self.columns)
        kinds = {kind: counts[kind] for kind in KINDS if counts[kind]}
        (size,) = encoded_shape(self.columns)
        print(f"table: {_list_kinds(kinds)}; encoded as {counted(size, 'value')}", flush=True)
        return {"columns": kinds, "encoded_size": size}

    def facts(self, about: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Returns the number of columns for the report."""
        size = counted(about["encoded_size"], "value")
        return [("Columns", f"{_list_kinds(about['columns'])}, encoded as {size}")]

    @property
    def arguments(self) -> tuple[str, ...]:
        """Argument of `serving_default` for each column."""
        return arguments_of(self.columns)

    @property
    def encoder(self) -> Encoder:
        assert self.fit is not None, "fitted() comes first"
        return Encoder(self.columns, self.fit)

    def endpoints(self, serve: Serve, spec: tf.TensorSpec) -> tuple[Endpoints, list[Any]]:
        """Returns `serving_default`, which has one argument (n,) for each column.

        Numbers are float32, NaN if missing; categories and dates are strings, "" if missing.
        `serving_encoded` takes encoded rows, see `ENCODING_FILE`: other formats have no strings.
        """
        encoder, arguments = self.encoder, self.arguments

        def serve_rows(rows: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return serve(encoder.of_arguments([rows[argument] for argument in arguments]))

        specs = {
            argument: tf.TensorSpec(
                (None,), tf.float32 if column.is_number else tf.string, name=argument
            )
            for argument, column in zip(arguments, self.columns, strict=True)
        }
        endpoints: Endpoints = {"serving_default": (serve_rows, specs)}
        return {**endpoints, "serving_encoded": (serve, spec)}, encoder.resources

    @property
    def assets(self) -> dict[str, Sequence[str]]:
        """The columns: argument, name, kind and format of each; and how they are encoded."""
        assert self.fit is not None, "fitted() comes first"
        encoding = to_json(self.columns, self.fit)
        return {COLUMNS_FILE: to_lines(self.columns), ENCODING_FILE: encoding}

    @property
    def places(self) -> dict[str, str]:
        """Where `TableColumns.files` contain each argument: "test/FILE", "test/FILE/COLUMN"."""
        numbers, others = itertools.count(), itertools.count(1)
        return {
            argument: f"test/0/{next(numbers)}" if column.is_number else f"test/{next(others)}"
            for argument, column in zip(self.arguments, self.columns, strict=True)
        }

    def golden(self, column: TableColumns, rows: np.ndarray, argument: str) -> list[Given]:
        """Returns rows, ordinary ones and some with unusual values."""
        ordinary = column.table.take(rows)
        odd = odd_rows(ordinary)
        encode = self.encoder
        about = f"{len(odd.numbers)} rows with missing, unknown, extreme or malformed values"
        named, rows_given = [], []
        for raw, said in ((ordinary, ""), (odd, about)):
            encoded = encode(tf.constant(raw.numbers), list(map(tf.constant, raw.words))).numpy()
            arguments = as_arguments(self.columns, raw)
            named.append(Given("serving_default", argument, arguments, encoded, about=said))
            rows_given.append(Given("serving_encoded", argument, encoded, encoded, about=said))
        return named + rows_given


def as_arguments(columns: Sequence[Column], rows: TableRows) -> dict[str, Any]:
    """Returns rows as arguments of an export's `serving_default`: float32 (n,), or bytes."""
    numbers, words = iter(rows.numbers.T), iter(rows.words)
    return {
        argument: next(numbers) if column.is_number else list(map(bytes, next(words)))
        for argument, column in zip(arguments_of(columns), columns, strict=True)
    }


def odd_rows(rows: TableRows) -> TableRows:
    """Makes rows of unusual values that a service may receive.

    The first rows have such values in all columns, each of the others in one column.

    Args:
        rows: Ordinary rows, which are changed.
    """
    changed = np.array(rows.numbers)
    cells = [list(map(bytes, some)) for some in rows.words]
    count, width = changed.shape
    width += len(cells)
    for row in range(count):
        whole = row < len(_ODD_WORDS)
        odd = row if whole else row // width
        for place in range(width) if whole else [row % width]:
            if place < changed.shape[1]:
                changed[row, place] = _ODD_NUMBERS[odd % len(_ODD_NUMBERS)]
            else:
                cells[place - changed.shape[1]][row] = _ODD_WORDS[odd % len(_ODD_WORDS)]
    return TableRows(changed, cells)


def _list_kinds(kinds: Mapping[str, int]) -> str:
    plurals = {"category": "categories"}
    return ", ".join(
        f"{count:,} {kind if count == 1 else plurals.get(kind, f'{kind}s')}"
        for kind, count in kinds.items()
    )
