"""Inputs from a user's files in pieces, so that there may be more of them than memory holds."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ..datasets.columns import Column, as_rows
from ..errors import UserError
from .images import read_images, unreadable
from .number_files import row_pieces, to_array
from .tables import as_arguments
from .texts import decode_line, encode_texts, open_lines

# A file of texts with one of these endings is a table with a column of texts.
TABLE_ENDINGS = frozenset((".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json"))
# A piece of encoded images ends with the first of these limits, one of rows or texts with the last.
IMAGES, IMAGE_BYTES, ROWS = 64, 2**25, 4096

Values = np.ndarray | list[bytes] | dict[str, Any]


class Bad(NamedTuple):
    """An input that was left out.

    Attributes:
        file: Path of its file.
        row: Its row or line from 1; 0 if it is the file.
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
        places: Path of each example's file, and its row from 1 if it is one of several; ("", 0) of
            a text that is in no file.
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
        bad: Inputs that were found to be unusable before.
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
    paths: Iterable[pathlib.Path],
    spec: tf.TensorSpec | None,
    texts: Sequence[str] = (),
    *,
    columns: Sequence[Column] = (),
    text_column: str = "",
    keep_bad: bool = False,
) -> Iterator[Piece]:
    """Yields a model's inputs from a user's files, in pieces.

    Args:
        paths: Images; texts in UTF-8, one per line; or tables.
        spec: Spec of the model's input; None if it has one for each column.
        texts: Additional texts.
        columns: The columns that the model takes.
        text_column: Column of the texts in files that are tables.
        keep_bad: Whether what cannot be read is part of `Piece.bad` instead of an error.

    Raises:
        UserError: A file cannot be read, or the model does not take texts; the message names it.
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
        of_file: Iterator[Piece]
        if takes_texts:
            is_table = text_column and TABLE_ENDINGS & set(path.suffixes)
            of_file = _cells(path, text_column, keep_bad) if is_table else _lines(path)
        elif spec is None:
            of_file = _rows(path, columns, keep_bad)
        else:
            of_file = _arrays(path, spec)
        try:
            yield from of_file
        except UserError as error:
            if not keep_bad:
                raise
            yield Piece([], [], _texts, (Bad(str(path), 0, str(error)),))


def _images(paths: Iterable[pathlib.Path], shape: tuple[int, ...]) -> Iterator[Piece]:
    """Yields paths of images, which are read where they are decoded."""

    def read(some: list[pathlib.Path], places: list[tuple[str, int]]) -> Examples:
        contents = read_images(some)

        def explain(start: int, stop: int) -> UserError:
            return unreadable(some[start:stop], contents[start:stop], shape)

        names = [str(path) for path in some]
        return Examples("file", names, contents, places, "serving_bytes", explain)

    some: list[pathlib.Path] = []
    size = 0
    for path in paths:
        try:
            bytes_of = os.stat(path).st_size
        except OSError:  # said where it is read
            bytes_of = 0
        if some and (len(some) == IMAGES or size + bytes_of > IMAGE_BYTES):
            yield Piece(some, [(str(path), 0) for path in some], read)
            some, size = [], 0
        some.append(path)
        size += bytes_of
    if some:
        yield Piece(some, [(str(path), 0) for path in some], read)


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
    count = 0
    for frame, bad in _frames(path, [column], keep_bad):
        lines = [
            text if isinstance(text, str) else "" if text != text or text is None else str(text)
            for text in frame[column]
        ]
        for start in range(0, max(1, len(lines)), ROWS):
            some = lines[start : start + ROWS]
            yield Piece(some, _places(path, count, len(some)), _texts, () if start else bad)
            count += len(some)


def _rows(path: pathlib.Path, columns: Sequence[Column], keep_bad: bool) -> Iterator[Piece]:
    def read(frame: Any, places: list[tuple[str, int]]) -> Examples:
        values = as_arguments(columns, as_rows(frame, columns, str(path)))
        return Examples("file", [f"{path}:{row}" for _, row in places], values, places)

    count = 0
    for frame, bad in _frames(path, [column.name for column in columns], keep_bad):
        for start in range(0, max(1, len(frame)), ROWS):
            some = frame.iloc[start : start + ROWS]
            yield Piece(some, _places(path, count, len(some)), read, () if start else bad)
            count += len(some)


def _frames(
    path: pathlib.Path, columns: Sequence[str], keep_bad: bool
) -> Iterator[tuple[Any, tuple[Bad, ...]]]:
    """Yields parts of a table, and the lines before their ends that cannot be read."""
    from ..datasets.own import reading  # imports pandas

    found: list[tuple[int, str]] | None = [] if keep_bad else None
    told = 0
    for frame in reading.frames(path, columns=columns, unreadable=found):
        new = (found or [])[told:]
        told += len(new)
        yield frame, tuple(Bad(str(path), n, f"{path}:{n}: {why}") for n, why in new)
    if left := (found or [])[told:]:
        bad = tuple(Bad(str(path), n, f"{path}:{n}: {why}") for n, why in left)
        yield frame.iloc[:0], bad


def _arrays(path: pathlib.Path, spec: tf.TensorSpec) -> Iterator[Piece]:
    def read(rows: Any, places: list[tuple[str, int]]) -> Examples:
        first = places[0][1] if places else 1
        values = to_array(rows, path, spec, first)
        return Examples("file", [f"{path}:{row}" for _, row in places], values, places)

    count = 0
    for rows in row_pieces(path, spec, ROWS):
        yield Piece(rows, _places(path, count, len(rows)), read)
        count += len(rows)


def _places(path: pathlib.Path, first: int, count: int) -> list[tuple[str, int]]:
    return [(str(path), row) for row in range(first + 1, first + count + 1)]
