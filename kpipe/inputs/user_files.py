"""Inputs from a user's files in pieces, so that there may be more of them than memory holds."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ..datasets.columns import Column, as_rows
from ..datasets.own.dialect import ENDINGS, kind_of
from ..errors import UserError
from .images import read_images, unreadable
from .number_files import NUMBER_TABLES, row_pieces, to_array
from .tables import as_arguments
from .texts import decode_line, encode_texts, open_lines

TABLE_ENDINGS = frozenset(ENDINGS)
# Column of the texts in a table, for a model that was trained on none.
TEXT_COLUMN = "text"
# A piece of encoded images ends with the first of these limits, one of rows or texts with the last.
IMAGES, IMAGE_BYTES, ROWS = 64, 2**25, 4096

Values = np.ndarray | list[bytes] | dict[str, Any]


class Bad(NamedTuple):
    """An input that was left out.

    Attributes:
        file: Path of its file.
        row: Its row from 1, see `table_rows`; 0 if it is the file.
        reason: Why it cannot be used, with its place.
    """

    file: str
    row: int
    reason: str


class Examples(NamedTuple):
    """Inputs of a model from a user's files.

    Attributes:
        kind: "text" or "file".
        names: Text, path, or path and row of each example.
        values: Encoded images, texts, or rows of numbers; of a table, the columns by argument.
        places: Path of each example's file, and its row from 1 if it is one of several, see
            `table_rows`; ("", 0) of a text that is in no file.
        endpoint: Signature that accepts them.
        explain: Function from a range of examples to an error that names those the endpoint cannot
            process.
    """

    kind: str
    names: list[str]
    values: Values
    places: list[tuple[str, int]]
    endpoint: str = "serving_default"
    explain: Callable[[int, int], UserError] | None = None


@dataclasses.dataclass(frozen=True)
class Piece:
    """Some inputs as they stand in files, and what makes examples of them.

    Attributes:
        items: Paths, lines or rows: what can be sliced.
        places: See `Examples`.
        read: Function from items and places to examples.
        bad: Inputs among or after them that were found to be unusable before.
    """

    items: Any
    places: list[tuple[str, int]]
    read: Callable[[Any, list[tuple[str, int]]], Examples]
    bad: tuple[Bad, ...] = ()

    def __len__(self) -> int:
        return len(self.places)

    def part(self, start: int, stop: int) -> "Piece":
        """Returns some of the inputs."""
        items = self.items.iloc if hasattr(self.items, "iloc") else self.items
        return Piece(items[start:stop], self.places[start:stop], self.read)

    def examples(self) -> Examples:
        """Reads the examples.

        Raises:
            UserError: One cannot be read; the message names it.
        """
        return self.read(self.items, self.places)


def pieces(
    paths: Iterable[pathlib.Path | Bad],
    spec: tf.TensorSpec | None,
    texts: Sequence[str] = (),
    *,
    columns: Sequence[Column] = (),
    text_column: str = "",
    keep_bad: bool = False,
) -> Iterator[Piece]:
    """Yields a model's inputs from a user's files, in pieces.

    Args:
        paths: Images; texts in UTF-8, one per line; or tables; and what cannot be read.
        spec: Spec of the model's input; None if it has one for each column.
        texts: Additional texts.
        columns: The columns that the model takes.
        text_column: Column of the texts in files that are tables, by default `TEXT_COLUMN`.
        keep_bad: Whether what cannot be read is part of `Piece.bad` instead of an error.

    Raises:
        UserError: A file cannot be read, or the model does not take texts; the message names it.
            What stands before it is yielded first.
    """
    takes_texts = spec is not None and spec.dtype == tf.string
    if texts and not takes_texts:
        takes = spec.name if spec is not None else "the columns of a table"
        raise UserError(f"the model takes {takes}, not texts; give files")
    if spec is not None and spec.dtype == tf.uint8 and len(spec.shape) == 4:
        yield from _images(paths, tuple(spec.shape[1:]))
        return
    if texts:
        yield Piece(list(texts), [("", 0)] * len(texts), _texts)
    for path in paths:
        if isinstance(path, Bad):
            yield Piece([], [], _texts, (path,))
            continue
        of_file: Iterator[Piece]
        if takes_texts:
            is_table = kind_of(path.name) in TABLE_ENDINGS
            of_file = _cells(path, text_column, keep_bad) if is_table else _lines(path)
        elif spec is None:
            of_file = _rows(path, columns, keep_bad)
        else:
            of_file = _arrays(path, spec, keep_bad)
        try:
            yield from of_file
        except UserError as error:
            if not keep_bad:
                raise
            yield Piece([], [], _texts, (Bad(str(path), 0, str(error)),))


def _images(paths: Iterable[pathlib.Path | Bad], shape: tuple[int, ...]) -> Iterator[Piece]:
    """Yields paths of images, which are read where they are decoded."""

    def read(some: list[pathlib.Path], places: list[tuple[str, int]]) -> Examples:
        return of_images([file for file, _ in places], read_images(some), shape)

    some: list[pathlib.Path] = []
    bad: list[Bad] = []
    failed, size = None, 0
    try:
        for path in paths:
            if isinstance(path, Bad):
                bad.append(path)
                continue
            try:
                bytes_of = os.stat(path).st_size
            except OSError:  # said where it is read
                bytes_of = 0
            if some and (len(some) == IMAGES or size + bytes_of > IMAGE_BYTES):
                yield Piece(some, [(str(path), 0) for path in some], read, tuple(bad))
                some, bad, size = [], [], 0
            some.append(path)
            size += bytes_of
    except UserError as error:  # said after what stands before it
        failed = error
    if some or bad:
        yield Piece(some, [(str(path), 0) for path in some], read, tuple(bad))
    if failed:
        raise failed


def of_images(names: list[str], contents: list[bytes], shape: tuple[int, ...]) -> Examples:
    """Makes examples of encoded images of any size, for a model that takes those of a shape."""

    def explain(start: int, stop: int) -> UserError:
        return unreadable(names[start:stop], contents[start:stop], shape)

    places = [(name, 0) for name in names]
    return Examples("file", names, contents, places, "serving_bytes", explain)


def _texts(lines: list[str | bytes], places: list[tuple[str, int]]) -> Examples:
    """Makes examples of texts; bytes are lines of a file, which must be UTF-8."""
    names = [
        line if isinstance(line, str) else decode_line(line, *place)
        for line, place in zip(lines, places, strict=True)
    ]
    return Examples("text", names, encode_texts(names), places)


def _lines(path: pathlib.Path) -> Iterator[Piece]:
    with open_lines(path) as lines:
        some: list[bytes] = []
        size = first = 0
        for line in lines:
            some.append(line)
            size += len(line)
            if len(some) == ROWS or size > IMAGE_BYTES:
                yield Piece(some, _places(path, first, len(some)), _texts)
                first += len(some)
                some, size = [], 0
        if some:
            yield Piece(some, _places(path, first, len(some)), _texts)


def _cells(path: pathlib.Path, column: str, keep_bad: bool) -> Iterator[Piece]:
    """Yields a table's column of texts."""
    try:
        parts = _parts(path, [column or TEXT_COLUMN], keep_bad)
        for frame, places, bad in parts:
            lines = [
                text if isinstance(text, str) else "" if text != text or text is None else str(text)
                for text in frame[column or TEXT_COLUMN]
            ]
            yield Piece(lines, places, _texts, bad)
    except UserError as error:
        if column or f"no column {TEXT_COLUMN!r}" not in str(error):
            raise
        raise UserError(
            f"{error}; the model was trained on no table: name the column of texts so, or give a "
            ".txt file with a text per line"
        ) from None


def _rows(path: pathlib.Path, columns: Sequence[Column], keep_bad: bool) -> Iterator[Piece]:
    def read(frame: Any, places: list[tuple[str, int]]) -> Examples:
        try:
            values = as_arguments(columns, as_rows(frame, columns))
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        return Examples("file", _named(places), values, places)

    for frame, places, bad in _parts(path, [column.name for column in columns], keep_bad):
        yield Piece(frame, places, read, bad)


def _arrays(path: pathlib.Path, spec: tf.TensorSpec, keep_bad: bool) -> Iterator[Piece]:
    def read(rows: Any, places: list[tuple[str, int]]) -> Examples:
        return Examples("file", _named(places), to_array(rows, spec, places), places)

    if kind_of(path.name) in NUMBER_TABLES:
        for frame, places, bad in _parts(path, None, keep_bad):
            yield Piece(frame, places, read, bad)
        return
    count = 0
    for rows in row_pieces(path, spec, ROWS):
        yield Piece(rows, _places(path, count, len(rows)), read)
        count += len(rows)


def _parts(
    path: pathlib.Path, columns: Sequence[str] | None, keep_bad: bool
) -> Iterator[tuple[Any, list[tuple[str, int]], tuple[Bad, ...]]]:
    """Yields parts of a table with at most `ROWS` rows, their places, and bad rows among them."""
    file = str(path)
    for frame, bad in table_rows(path, columns, keep_bad):
        for start in range(0, max(1, len(frame)), ROWS):
            some = frame.iloc[start : start + ROWS]
            is_last = start + ROWS >= len(frame)
            among = [b for b in bad if is_last or b.row < some.index[-1]] if bad else []
            bad = bad[len(among) :]
            places = [(file, row) for row in some.index.tolist()]
            yield some, places, tuple(among)


def table_rows(
    path: pathlib.Path, columns: Sequence[str] | None, keep_bad: bool
) -> Iterator[tuple[Any, list[Bad]]]:
    """Yields parts of a table, and the rows in or after them that cannot be read.

    The index is the row: those below the names of the columns are counted from 1, also what is
    left out; empty lines of a text file are none. So the row says which one it is to whatever else
    reads the file, as its line does not: a cell may have several.

    Args:
        path: The file.
        columns: Names of the columns to read; None for all.
        keep_bad: Whether a row that cannot be read is yielded instead of an error.

    Raises:
        UserError: A row cannot be read, after those before it; or the file.
    """
    from ..datasets.own import reading  # imports pandas

    refused: list[tuple[int, str]] = []
    told = count = 0
    frame = None
    for frame in reading.frames(path, columns=columns, unreadable=refused):
        frame, bad = _numbered(frame, refused[told:], count, path)
        told, count = len(refused), count + len(frame) + len(bad)
        if bad and not keep_bad:
            yield frame[frame.index < bad[0].row], []
            raise UserError(bad[0].reason)
        yield frame, bad
    if told < len(refused) and frame is not None:
        frame, bad = _numbered(frame.iloc[:0], refused[told:], count, path)
        if not keep_bad:
            raise UserError(bad[0].reason)
        yield frame, bad


def _numbered(
    frame: Any, refused: list[tuple[int, str]], count: int, path: pathlib.Path
) -> tuple[Any, list[Bad]]:
    """Numbers rows, and those that cannot be read, in the order of their lines in the file."""
    lines, given = np.array([line for line, _ in refused], int), frame.index.to_numpy()
    rows = count + 1 + np.arange(len(lines)) + np.searchsorted(given, lines)
    frame.index = count + 1 + np.arange(len(given)) + np.searchsorted(lines, given)
    return frame, [
        Bad(str(path), row, f"{path}: row {row}: {why}")
        for row, (_, why) in zip(rows.tolist(), refused, strict=True)
    ]


def _places(path: pathlib.Path, first: int, count: int) -> list[tuple[str, int]]:
    file = str(path)
    return [(file, row) for row in range(first + 1, first + count + 1)]


def _named(places: list[tuple[str, int]]) -> list[str]:
    return [f"{file}:{row}" for file, row in places]
