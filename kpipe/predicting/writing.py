"""Answers as lines, JSON lines or CSV, written as they come; and what was left out."""

import contextlib
import csv
import json
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np

from .. import files
from ..errors import UserError
from ..formatting import counted
from ..inputs import Bad, Examples
from ..inputs.images import encode_png

BAD_FILES = "bad_files.csv"
_HEAD = ("file", "row", "reason")

# In words, and as JSON values; see a task's `answer`.
Answer = tuple[str, dict[str, Any]]


class Lines:
    """Prints a line for each answer: in words, or as a JSON object.

    Attributes:
        count: Number of answers.
        on_terminal: Whether a user sees them come.
    """

    def __init__(self, as_json: bool):
        self.as_json, self.count = as_json, 0
        self.on_terminal = sys.stdout.isatty()

    def write(
        self, examples: Examples, answers: Iterable[Answer], images: Mapping[int, str]
    ) -> None:
        lines = []
        for i, (name, (words, content)) in enumerate(zip(examples.names, answers, strict=True)):
            if self.as_json:
                content = {examples.kind: name, **content, **_image(images, i)}
                lines.append(json.dumps(content, ensure_ascii=False))
            else:
                lines.append(f"{name}: {words}{f'  {images[i]}' if images else ''}")
        self.count += len(lines)
        print("\n".join(lines), flush=True)


class Rows:
    """Writes a row of CSV for each answer, after file, row and text as far as there are.

    Attributes:
        count: Number of answers.
        on_terminal: Whether a user sees them come.
    """

    def __init__(self, file: IO[str], has_files: bool):
        self.file, self.has_files, self.count = file, has_files, 0
        self.on_terminal = file.isatty()
        self.writer: Any = None

    def write(
        self, examples: Examples, answers: Iterable[Answer], images: Mapping[int, str]
    ) -> None:
        named = enumerate(zip(examples.places, examples.names, answers, strict=True))
        for i, ((file, row), name, (_, content)) in named:
            place = {"file": file} if self.has_files else {}
            if self.has_files and (row or examples.kind == "text"):
                place["row"] = str(row or "")
            if examples.kind == "text":
                place["text"] = name
            cells = place | dict(_cells(content)) | _image(images, i)
            if self.writer is None:
                self.writer = csv.writer(self.file, lineterminator="\n")
                self.writer.writerow(cells)
            self.writer.writerow(cells.values())
            self.count += 1
        self.file.flush()


def _image(written: Mapping[int, str], i: int) -> dict[str, str]:
    return {"image": written[i]} if written else {}


def _cells(answer: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields the values of an answer, those of "probabilities" as "probabilities/NAME"."""
    for key, value in answer.items():
        if isinstance(value, (dict, list)):
            parts = value.items() if isinstance(value, dict) else enumerate(value)
            yield from ((f"{key}/{name}", part) for name, part in parts)
        else:
            yield key, value


@contextlib.contextmanager
def open_output(
    csv_file: pathlib.Path | None, as_json: bool, *, has_files: bool
) -> Iterator[Lines | Rows]:
    """Yields what writes answers; a CSV file appears when all are in it.

    If the block fails, the rows so far are kept in a file that ends with ".partial".

    Args:
        csv_file: Result of `check_target`, for rows of CSV; None for lines.
        as_json: Whether lines are JSON.
        has_files: Whether inputs come from files, so that rows name these.
    """
    if csv_file is None:
        yield Lines(as_json)
        return
    if is_standard_output(csv_file):
        yield Rows(sys.stdout, has_files)
        return
    path, temporary = csv_file, files.temporary_name(csv_file)
    # No text can fail to be written: lone surrogates come from file names.
    options: Any = {"newline": "", "encoding": "utf-8", "errors": "backslashreplace"}
    with files.writing(path), open(temporary, "w", **options) as file:
        rows = Rows(file, has_files)
        try:
            yield rows
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException as error:
            _keep(temporary, path, rows.count, error)
            raise
        finally:
            temporary.unlink(missing_ok=True)


def _keep(temporary: pathlib.Path, path: pathlib.Path, count: int, error: BaseException) -> None:
    """Keeps the answers before a failure, and says so in its message."""
    if not count:
        return
    partial = path.with_name(f"{path.name}.partial")
    os.replace(temporary, partial)
    if isinstance(error, UserError):
        kept = f"{counted(count, 'answer')} before it {'is' if count == 1 else 'are'} in {partial}"
        error.args = (f"{error}; {kept}",)
    else:
        print(f"{counted(count, 'answer')} so far: {partial}", file=sys.stderr, flush=True)


def is_standard_output(path: pathlib.Path) -> bool:
    return str(path) == "-"


def check_target(path: pathlib.Path, given: Sequence[str]) -> pathlib.Path:
    """Checks that a file of answers can be written, before anything is predicted.

    Args:
        path: The file, or "-" for standard output.
        given: The files to predict, none of which is replaced.

    Raises:
        UserError: It cannot be written, or is one of those.
    """
    if is_standard_output(path):
        return path
    wrong = {
        "is a folder": path.is_dir(),
        "is a device": path.exists() and not path.is_file(),  # which a file would replace
        "is in a folder that does not exist": not path.parent.is_dir(),
        "is in a folder that cannot be written": not os.access(path.parent, os.W_OK),
    }
    if what := next((what for what, found in wrong.items() if found), ""):
        raise UserError(f"--csv {path} {what}; expected the name of a file")
    if path.exists() and any(os.path.exists(other) and path.samefile(other) for other in given):
        raise UserError(f"--csv {path} is one of the files to predict; choose another name")
    return path


class BadFiles:
    """Inputs that are left out: they are named in a file, and may not be too many.

    Args:
        most: How many there may be.
        answers: The file of answers, beside which they are listed; None for the current folder.

    Attributes:
        count: How many there are.
        path: The file.
    """

    def __init__(self, most: int, answers: pathlib.Path | None):
        beside = answers.parent if answers else pathlib.Path()
        self.most, self.path = most, beside / BAD_FILES
        self.found: list[Bad] = []

    @property
    def count(self) -> int:
        return len(self.found)

    def add(self, bad: Sequence[Bad]) -> None:
        """Notes inputs.

        Raises:
            UserError: There are more than allowed.
        """
        self.found += bad
        if bad and self.count > self.most:
            self.close()
            raise UserError(
                f"more than {counted(self.most, 'input')} cannot be used, listed in {self.path}; "
                f"the last: {bad[-1].reason}"
            )

    def close(self) -> None:
        """Writes the file, with a head alone if nothing was left out but could have been."""
        if not self.most:
            return
        with files.writing(self.path):
            temporary = files.temporary_name(self.path)
            with open(temporary, "w", newline="", encoding="utf-8", errors="backslashreplace") as f:
                writer = csv.writer(f, lineterminator="\n")
                writer.writerow(_HEAD)
                writer.writerows((bad.file, bad.row or "", _reason(bad)) for bad in self.found)
            os.replace(temporary, self.path)


def _reason(bad: Bad) -> str:
    """Returns the reason without its place, which has columns of its own."""
    for place in (f"{bad.file}:{bad.row}: ", f"{bad.file}: "):
        if bad.reason.startswith(place):
            return bad.reason.removeprefix(place)
    return bad.reason


class Images:
    """Writes the reconstruction of each file as a PNG file, numbered in their order."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.count = folder, 0
        files.make_folder(folder)

    def write(self, examples: Examples, outputs: Mapping[str, np.ndarray]) -> dict[int, str]:
        """Returns the path of each."""
        written = {}
        pairs = zip(examples.names, outputs["reconstruction"], strict=True)
        for i, (name, image) in enumerate(pairs):
            path = self.folder / f"{self.count}-{pathlib.Path(name).stem}.png"
            files.write_bytes(path, encode_png(image))
            written[i] = str(path)
            self.count += 1
        return written
