"""Text files: encoding, separator and decimal mark of a table are found in its content."""

import bz2
import codecs
import csv
import dataclasses
import functools
import gzip
import hashlib
import io
import lzma
import os
import pathlib
import re
import zlib
from collections.abc import Sequence
from typing import IO, Any

from ...errors import UserError, first_line

ENDINGS = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json")
DAMAGED = (OSError, EOFError, UnicodeError, zlib.error, lzma.LZMAError)
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+(e[+-]?\d+)?", re.I)
SEPARATOR_LINE = re.compile(r"sep=.\r?\n", re.I)  # that Excel reads above the column names
_DRESSED = re.compile(r"([+-]?)[$€£¥]?\s?(\d[\d.,]*)\s?[%$€£¥]?")
_COMMAS = re.compile(r"[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
_HINTS = {
    **dict.fromkeys((".xlsx", ".xls", ".xlsm", ".ods"), "; save the sheet as CSV"),
    **dict.fromkeys((".zip", ".7z", ".rar", ".tar", ".tgz"), "; unpack it first"),
    **dict.fromkeys((".gz", ".bz2", ".xz"), "; unpack it first"),
    **dict.fromkeys((".jpg", ".jpeg", ".png"), "; images: give the folder of their classes"),
    **dict.fromkeys((".txt", ".dat", ""), "; rename it if it is one of these"),
}
THOUSANDS = re.compile(r"[+-]?\d{1,3}(\.\d{3})+")  # in a file with decimal commas
# What a download or a clone gives instead of a file.
_OTHERS = {
    b"<!DOCTYPE html": "an HTML page",
    b"<html": "an HTML page",
    b"version https://git-lfs": "a Git LFS pointer, not the file itself: git lfs pull",
}
# A packed file that unpacks to more than both is a decompression bomb.
BOMB_BYTES, BOMB_RATIO = 2**30, 200
_SAMPLE = 2**18  # characters that the dialect is found in
_OPENERS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a text file contains a table.

    Attributes:
        encoding: Python's name of the encoding.
        separator: Character between the cells of a CSV file; "" for JSON.
        decimal: Character before the decimals of a number: "." or ",".
        escape: Character before a quote within a cell, if it is not a second quote.
    """

    encoding: str = "utf-8"
    separator: str = ""
    decimal: str = "."
    escape: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about it, one sentence each."""
        notes = []
        if self.separator not in ("", ","):
            notes.append(f"separator {SEPARATORS[self.separator]}")
        if not self.encoding.startswith("utf-8"):
            guessed = self.encoding != "utf-16"
            notes.append(f"encoding {self.encoding}{' (a guess: it is not UTF-8)' * guessed}")
        if self.decimal == ",":
            notes.append("decimal comma")
        if self.escape:
            notes.append("quotes after a backslash")
        return (f"Read with {', '.join(notes)}.",) if notes else ()


def kind_of(name: str) -> str:
    """Returns the ending that says what a file contains, in small letters.

    Example:
        kind_of("data.v2.CSV.gz")  # ".csv"
    """
    stem, last = os.path.splitext(name)
    last = last.lower()
    if last not in _OPENERS:
        return last
    inner = os.path.splitext(stem)[1].lower()
    return inner if inner in ENDINGS and inner != ".parquet" else last


def ending(path: pathlib.Path) -> str:
    """Returns the one of `ENDINGS` that a file has.

    Raises:
        UserError: It has another, or does not exist; the message says what is expected.
    """
    last = kind_of(path.name)
    if last not in ENDINGS:
        raise UserError(
            f"{path}: expected a file that ends with {', '.join(ENDINGS)}{_HINTS.get(last, '')}"
        )
    if not path.is_file():
        what = "neither a file nor a folder" if path.exists() else "no such file"
        raise UserError(f"{path}: {what}")
    return last


def find_dialect(path: pathlib.Path) -> Dialect:
    """Finds encoding, separator and decimal mark of a text file.

    Raises:
        UserError: The file is empty or not a text file.
    """
    return scan(path, *stamp(path)).dialect


def stamp(path: pathlib.Path) -> tuple[int, int]:
    """Returns size and time of a file: while they stay, so does its content."""
    try:
        return stamp_of(path.stat())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def stamp_of(status: os.stat_result) -> tuple[int, int]:
    """Returns size and time of a file by its status.

    The time is the later one of its last change and of that of its status: what copies or unpacks
    a file sets the former back.
    """
    return status.st_size, max(status.st_mtime_ns, status.st_ctime_ns)


@dataclasses.dataclass(frozen=True)
class Scan:
    sha256: str
    dialect: Dialect


@functools.lru_cache(maxsize=16)
def scan(path: pathlib.Path, size: int, time: int) -> Scan:
    """Reads the bytes of a file once: the hash, and whether they are UTF-8."""
    kind = ending(path)
    if kind == ".parquet":
        with open(path, "rb") as file:
            return Scan(hashlib.file_digest(file, "sha256").hexdigest(), Dialect())
    digest, lines, start, unpacked = hashlib.sha256(), 1, b"", 0
    names = ("utf-8", "cp1252", "latin-1")  # the last decodes everything
    possible = {name: codecs.getincrementaldecoder(name)() for name in names}
    try:
        with open_file(path) as file:
            while chunk := file.read(2**20):
                digest.update(chunk)
                start = start or chunk
                if what := next(
                    (name for head, name in _OTHERS.items() if start.startswith(head)), ""
                ):
                    raise UserError(f"{path}: {what}; expected a table")
                unpacked += len(chunk)
                if unpacked > max(BOMB_BYTES, BOMB_RATIO * size):
                    raise UserError(
                        f"{path}: unpacks to over {BOMB_RATIO} times its size; if that is meant, "
                        "unpack it first"
                    )
                for name, decoder in list(possible.items()):
                    try:
                        decoder.decode(chunk)
                    except UnicodeDecodeError:
                        del possible[name]
                if b"\0" in chunk and not start.startswith(_UTF_16):
                    line = lines + chunk[: chunk.index(b"\0")].count(b"\n")
                    raise UserError(
                        f"{path}:{line}: contains NUL bytes; expected text: export it again, as "
                        f"UTF-8{' (it is a zip or Excel file)' * start.startswith(b'PK')}"
                    )
                lines += chunk.count(b"\n")
    except DAMAGED as error:
        raise damaged(path, error) from None
    if "utf-8" in possible:
        try:
            possible["utf-8"].decode(b"", final=True)  # a character may be cut at the end
        except UnicodeDecodeError:
            del possible["utf-8"]
    encoding = next(iter(possible))
    if start.startswith(_UTF_16):
        encoding = "utf-16"
    elif start.startswith(codecs.BOM_UTF8):
        encoding = "utf-8-sig"
    with open_file(path, encoding) as file:
        try:
            text = file.read(_SAMPLE)
        except UnicodeError:
            raise UserError(f"{path}: not {encoding}; save it as UTF-8") from None
    if not text.strip():
        raise UserError(f"{path}: is empty; expected a table with a first line of column names")
    if kind in (".csv", ".tsv"):
        whole = len(text) < _SAMPLE
        return Scan(digest.hexdigest(), _csv_dialect(text, whole, encoding, kind == ".tsv"))
    return Scan(digest.hexdigest(), Dialect(encoding))


def _csv_dialect(text: str, whole: bool, encoding: str, tabs: bool) -> Dialect:
    """Finds the separator that divides all lines of a sample into as many cells as the first."""
    text = SEPARATOR_LINE.sub("", text, count=1) if SEPARATOR_LINE.match(text) else text
    escapes = ("", "\\") if '\\"' in text else ("",)
    best, result, cells = (0.0, 0), Dialect(encoding, "\t" if tabs else ","), []
    for separator in "\t" if tabs else SEPARATORS:
        for escape in escapes:
            reader = csv.reader(
                io.StringIO(text, newline=""),
                delimiter=separator,
                skipinitialspace=True,
                escapechar=escape or None,
            )
            try:
                rows = [row for row in reader if row]
            except csv.Error:
                continue
            rows = rows if whole or len(rows) < 3 else rows[:-1]  # the last may be cut
            width = len(rows[0])
            score = sum(len(row) == width for row in rows) / len(rows), width
            if (width > 1 or tabs) and score > best:
                best, cells = score, [cell for row in rows[1:] for cell in row]
                result = Dialect(encoding, separator, escape=escape)
    cells = [cell.strip(" %$€£¥") for cell in cells]
    commas = sum(bool(DECIMAL_COMMA.fullmatch(cell)) for cell in cells)
    points = sum(
        bool(re.fullmatch(r"[+-]?\d+\.\d+", cell)) and not THOUSANDS.fullmatch(cell)
        for cell in cells
    )
    if result.separator != "," and commas > points:
        result = dataclasses.replace(result, decimal=",")
    return result


def open_file(path: pathlib.Path, encoding: str = "") -> IO[Any]:
    """Opens a file, perhaps a compressed one, as bytes or as text."""
    opener: Any = _OPENERS.get(path.suffix.lower(), open)
    if not encoding:
        return opener(path, "rb")
    return opener(path, "rt", encoding=encoding, newline="")


def is_dressed(cells: Sequence[str | None]) -> bool:
    """Whether a column begins with a number, and some cells may be as people write them."""
    first = next(filter(None, cells), "")
    if not _DRESSED.fullmatch(first):
        return False
    text = "".join(filter(None, cells))
    return any(mark in text for mark in ",%$€£¥")


def undressed(cell: str, decimal: str) -> str:
    """Returns a number without percent sign, currency and commas of thousands.

    Example:
        undressed("$1,234.50", "."), undressed("12 %", "."), undressed("about 12 %", ".")
    """
    match = _DRESSED.fullmatch(cell)
    if not match:
        return cell
    sign, number = match.groups()
    if decimal == "." and _COMMAS.fullmatch(number):
        number = number.replace(",", "")
    return sign + number


def damaged(path: pathlib.Path, error: Exception) -> UserError:
    reason = getattr(error, "strerror", None) or first_line(error)
    return UserError(f"{path}: cannot be read ({reason}); is it complete?")
