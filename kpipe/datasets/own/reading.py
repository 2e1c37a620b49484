"""Tables in files of any size, and in memory, read in pieces: CSV, Parquet, JSON lines, pandas."""

import collections
import csv
import hashlib
import json
import os
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from ...errors import UserError, nearest
from .cells import MISSING, plain, text_of
from .dialect import (
    DAMAGED,
    DECIMAL_COMMA,
    SEPARATOR_LINE,
    SEPARATORS,
    THOUSANDS,
    Dialect,
    damaged,
    ending,
    find_dialect,
    is_dressed,
    open_file,
    scan,
    stamp,
    undressed,
)

if TYPE_CHECKING:
    import pandas as pd

# Part of identities: raise it when cells are read differently.
READING_VERSION = 2

# A piece ends with the first of these limits that it reaches.
PIECE_ROWS, PIECE_CELLS, PIECE_CHARACTERS = 50_000, 200_000, 2**23


def frames(
    table: "str | os.PathLike[str] | pd.DataFrame",
    *,
    columns: Sequence[str] | None = None,
    unreadable: list[tuple[int, str]] | None = None,
) -> "Iterator[pd.DataFrame]":
    """Reads a table in pieces, so that it may be larger than memory.

    A cell is text (a column of dtype object) or, in Parquet files and DataFrames, a number (a
    column of int64 or float64); missing values (`MISSING`) are None or NaN. Nothing else is
    converted, since a piece does not know the others: dates are text as in the file, or ISO 8601,
    and booleans "True" and "False". The index is the line of each row, in Parquet files and
    DataFrames its number from 1.

    Args:
        table: A file that ends with one of `ENDINGS`, CSV files with .gz, .bz2 or .xz too; or a
            DataFrame.
        columns: Names of the columns to read, by default all.
        unreadable: List that receives line and reason of each row that cannot be read; by default
            such a row is an error.

    Raises:
        UserError: The file is missing, damaged or no table; the message names it and the line.

    Example:
        rows = sum(len(frame) for frame in frames("houses.csv"))
    """
    if not isinstance(table, (str, os.PathLike)):
        yield from _read_pandas(table, columns)
        return
    path = pathlib.Path(table).expanduser()
    kind = ending(path)
    if kind == ".parquet":
        yield from _read_parquet(path, columns)
        return
    found = find_dialect(path)
    try:
        with open_file(path, found.encoding) as file:
            if found.separator:
                yield from _read_csv(path, file, found, columns, unreadable)
            else:
                yield from _read_json(path, file, columns, unreadable)
    except DAMAGED as error:
        raise damaged(path, error) from None


def content_hash(table: "str | os.PathLike[str] | pd.DataFrame") -> str:
    """Returns the SHA-256 of a file, or of the names and values of a DataFrame."""
    if isinstance(table, (str, os.PathLike)):
        path = pathlib.Path(table).expanduser()
        return scan(path, *stamp(path)).sha256
    import pandas as pd

    digest = hashlib.sha256(json.dumps([str(name) for name in table.columns]).encode())
    for frame in _read_pandas(table, None):
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _read_csv(
    path: pathlib.Path,
    file: IO[str],
    dialect: Dialect,
    columns: Sequence[str] | None,
    unreadable: list[tuple[int, str]] | None,
) -> "Iterator[pd.DataFrame]":
    # A larger cell is a quote that is never closed.
    csv.field_size_limit(max(csv.field_size_limit(), 2**25))
    reader = csv.reader(
        file,
        delimiter=dialect.separator,
        skipinitialspace=True,
        strict=True,
        escapechar=dialect.escape or None,
    )
    rows = _lines(path, reader)
    header_line, header = next(rows, (1, []))
    if re.match(SEPARATOR_LINE, f"{dialect.separator.join(header)}\n"):
        header_line, header = next(rows, (1, []))
    names = [name.strip() or f"Unnamed: {i}" for i, name in enumerate(header)]  # as pandas
    if all(re.fullmatch(r"[+-]?[\d.,]+(e[+-]?\d+)?", cell, re.I) for cell in header):
        raise UserError(
            f"{path}:{header_line}: the first line contains only numbers; expected the names of "
            "the columns: write a line of them above it"
        )
    check_names(names, f"{path}:{header_line}")

    def checked() -> Iterator[tuple[int, Sequence[str]]]:
        for line, row in rows:
            if len(row) > len(names) and not any(row[len(names) :]):
                row = row[: len(names)]  # separators at the end of a line
            if len(row) == len(names):
                yield line, row
            else:
                _refuse(
                    path,
                    line,
                    f"{len(row)} cells; expected {len(names)} as in the first line: a cell with "
                    f"the separator {SEPARATORS[dialect.separator]} needs quotes",
                    unreadable,
                )

    def values(cells: Iterable[str]) -> list[str | None]:
        # Written out, since it is most of the time that reading takes.
        found = [None if (cell := some.strip()) in MISSING else cell for some in cells]
        if is_dressed(found):
            found = [undressed(cell, dialect.decimal) if cell else cell for cell in found]
        if dialect.decimal == ",":
            found = [
                cell.replace(".", "").replace(",", ".")
                if cell and (DECIMAL_COMMA.fullmatch(cell) or THOUSANDS.fullmatch(cell))
                else cell
                for cell in found
            ]
        return found

    wanted = {name: names.index(name) for name in _wanted(names, columns, path)}
    empty = True
    for lines, piece in _pieces(checked()):
        empty = False
        cells = list(zip(*piece, strict=True))
        yield _frame({name: values(cells[place]) for name, place in wanted.items()}, lines)
    if empty and unreadable:
        line, reason = unreadable[0]
        raise UserError(f"{path}:{line}: {reason}; no row is as long as the first line")
    if empty:
        raise UserError(f"{path}: no rows below the line of column names")


def _lines(path: pathlib.Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Yields the first line of each row, and the row; empty lines are none."""
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "expected after" in str(error):
                raise UserError(
                    f"{path}:{reader.line_num}: text after the quote that ends a cell; expected "
                    'a separator: write a quote within a cell twice, ""'
                ) from None
            raise UserError(
                f"{path}:{line}: a quote that is opened in this row is never closed"
            ) from None
        if row:
            yield line, row


def _pieces(rows: Iterator[tuple[int, Any]]) -> Iterator[tuple[list[int], list[Any]]]:
    """Collects rows into pieces of bounded size; what stands before an error is one too."""
    lines: list[int] = []
    piece: list[Any] = []
    cells = characters = 0
    failed = None
    try:
        for line, row in rows:
            lines.append(line)
            piece.append(row)
            cells += len(row)
            texts = row if isinstance(row, list) else map(str, row.values())
            characters += sum(map(len, texts))
            if len(piece) >= PIECE_ROWS or cells >= PIECE_CELLS or characters >= PIECE_CHARACTERS:
                yield lines, piece
                lines, piece, cells, characters = [], [], 0, 0
    except UserError as error:
        failed = error
    if piece:
        yield lines, piece
    if failed:
        raise failed


def _refuse(
    path: pathlib.Path, line: int, reason: str, unreadable: list[tuple[int, str]] | None
) -> None:
    if unreadable is None:
        raise UserError(f"{path}:{line}: {reason}")
    unreadable.append((line, reason))


def check_names(names: Sequence[str], place: object) -> None:
    """Refuses columns of the same name."""
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice:
        raise UserError(
            f"{place}: several columns are named {', '.join(map(repr, twice))}; rename them"
        )


def _wanted(names: Sequence[str], columns: Sequence[str] | None, place: object) -> Sequence[str]:
    """Returns the columns to read.

    Raises:
        UserError: A column does not exist.
    """
    for column in columns or ():
        if column not in names:
            raise UserError(f"{place}: no column {column!r}; {nearest(column, names)}")
    return names if columns is None else columns


def _frame(columns: Mapping[str, Iterable[Any]], index: Sequence[int]) -> "pd.DataFrame":
    """Makes a piece; text stays Python's str, of which pandas makes nothing else."""
    import numpy as np
    import pandas as pd

    rows = pd.Index(index)  # made once for all columns
    made = {
        name: pd.Series(values, rows, copy=False)
        if isinstance(values, np.ndarray)
        else pd.Series(list(values), rows, dtype=object)
        for name, values in columns.items()
    }
    return pd.DataFrame(made, index=rows, columns=list(columns), copy=False)


def _read_json(
    path: pathlib.Path,
    file: IO[str],
    columns: Sequence[str] | None,
    unreadable: list[tuple[int, str]] | None,
) -> "Iterator[pd.DataFrame]":
    def objects(refused: list[tuple[int, str]] | None) -> Iterator[tuple[int, dict[str, Any]]]:
        file.seek(0)
        listed = ending(path) == ".json" and file.read(1024).lstrip().startswith("[")
        file.seek(0)
        if listed:
            try:
                rows = json.load(file)
            except (ValueError, RecursionError) as error:
                raise UserError(
                    f"{path}: not JSON ({error}); expected a list of objects, or one object a line"
                ) from None
            numbered: Iterable[tuple[int, Any]] = enumerate(rows, start=1)
        else:
            numbered = ((i, line) for i, line in enumerate(file, start=1) if line.strip())
        for line, row in numbered:
            try:
                row = row if listed else json.loads(row)
                reason = "" if isinstance(row, dict) else type(row).__name__
            except (ValueError, RecursionError) as error:
                reason = f"not JSON ({error})"
            if reason:
                _refuse(path, line, f'{reason}; expected an object, {{"column": value}}', refused)
            else:
                yield line, row

    known: dict[str, None] = {}
    if columns is not None:  # before any row: one that lacks a key is no error, as all may
        absent = set(columns)
        for _, row in objects([]):
            known.update(dict.fromkeys(row))
            absent -= row.keys()
            if not absent:
                break
        else:
            if known:
                _wanted(list(known), columns, path)
    for lines, rows in _pieces(objects(unreadable)):
        for row in rows:
            known.update(dict.fromkeys(row))
        # A key may be in some lines only.
        wanted = list(known) if columns is None else columns
        yield _frame(
            {name: map(text_of, [row.get(name) for row in rows]) for name in wanted}, lines
        )
    if not known:
        raise UserError(f"{path}: no rows; expected one object a line")
    _wanted(list(known), columns, path)


def _read_parquet(path: pathlib.Path, columns: Sequence[str] | None) -> "Iterator[pd.DataFrame]":
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise UserError(
            f'{path}: Parquet files are read with pyarrow: pip install "kpipe[parquet]"'
        ) from None
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            check_names(names, path)
            wanted = list(_wanted(names, columns, path))
            # pandas' own index is no column of the table
            wanted = [name for name in wanted if not name.startswith("__index_level_")]
            rows = max(1, min(PIECE_ROWS, PIECE_CELLS // max(1, len(wanted))))
            start = 1
            for group in range(file.num_row_groups):  # of several at once all are kept in memory
                for batch in file.iter_batches(rows, row_groups=[group], columns=wanted):
                    frame = batch.to_pandas(ignore_metadata=True)  # an index is a column
                    yield _plain(frame[wanted], start)
                    start += len(frame)
            if start == 1:
                raise UserError(f"{path}: no rows")
    except UserError:
        raise
    except Exception as error:  # PyArrow raises errors of many types for damaged files
        raise damaged(path, error) from None


def _read_pandas(table: "pd.DataFrame", columns: Sequence[str] | None) -> "Iterator[pd.DataFrame]":
    names = [str(name) for name in table.columns]
    check_names(names, "the DataFrame")
    if not len(table):
        raise UserError("the DataFrame has no rows")
    places = [names.index(name) for name in _wanted(names, columns, "the DataFrame")]
    rows = max(1, min(PIECE_ROWS, PIECE_CELLS // max(1, len(places))))
    for start in range(0, len(table), rows):
        frame = table.iloc[start : start + rows, places]
        yield _plain(frame.set_axis([names[place] for place in places], axis=1), start + 1)


def _plain(frame: "pd.DataFrame", start: int) -> "pd.DataFrame":
    index = range(start, start + len(frame))
    return _frame({name: plain(column) for name, column in frame.items()}, index)
