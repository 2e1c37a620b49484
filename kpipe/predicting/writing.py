"""Answers as lines, JSON lines or CSV, written as they come; and what was left out."""

import contextlib
import csv
import io
import json
import os
import pathlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np

from .. import files
from ..disk import RESUMES
from ..errors import UserError, WriteError
from ..formatting import counted
from ..inputs import Bad, Examples
from ..inputs.images import encode_png

BAD_FILES = "bad_files.csv"
BAD_HEAD = ("file", "row", "reason")
IS_INPUT = "{} is one of the files to predict, and would be replaced; choose another name or folder"

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
        text = "\n".join(lines)
        if text.count("\n") >= len(lines) or "\r" in text:  # a name or text of several lines
            text = "\n".join(line.replace("\r", "\\r").replace("\n", "\\n") for line in lines)
        print(text, flush=True)


class Rows:
    """Writes a row of CSV for each answer, after file, row and text as far as there are.

    Attributes:
        count: Number of answers.
        kept: Number of those that the system has taken, and the size of the file with these.
        on_terminal: Whether a user sees them come.
    """

    def __init__(self, file: IO[str], has_files: bool):
        self.file, self.has_files, self.count, self.kept = file, has_files, 0, (0, 0)
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
        self.kept = self.count, self.file.tell() if self.file.seekable() else 0

    def end(self) -> None:
        """Writes a head if there are no answers: an empty file is no CSV."""
        if self.writer is None:
            self.file.write("file\n" if self.has_files else "text\n")
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
        printed = Rows(sys.stdout, has_files)
        yield printed
        printed.end()
        return
    temporary = files.temporary_name(csv_file)
    # No text can fail to be written: lone surrogates come from file names.
    options: Any = {"newline": "", "encoding": "utf-8", "errors": "backslashreplace"}
    with _writing(csv_file):
        file = open(temporary, "w", **options)  # noqa: SIM115
        rows = Rows(file, has_files)
        try:
            yield rows
            rows.end()
            os.fsync(file.fileno())
            file.close()
            os.replace(temporary, csv_file)
        except BaseException as error:
            with contextlib.suppress(OSError):
                file.close()  # a part of a row that there is room for is cut off
            _keep(temporary, partial_of(csv_file), *rows.kept, error)
            raise
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _writing(path: pathlib.Path) -> Iterator[None]:
    """Turns errors of a full disk into one line, which does not say that a command resumes."""
    try:
        with files.writing(path):
            yield
    except WriteError as error:
        raise WriteError(str(error).replace(RESUMES, "give the same command again")) from None


def partial_of(csv_file: pathlib.Path) -> pathlib.Path:
    """Returns where the answers before a failure are kept."""
    return csv_file.with_name(f"{csv_file.name}.partial")


def _keep(
    temporary: pathlib.Path, partial: pathlib.Path, count: int, size: int, error: BaseException
) -> None:
    """Keeps the answers before a failure, and says so in its message."""
    if not count:
        return
    os.truncate(temporary, size)
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
    _check_place(f"--csv {path}", path)
    for replaced in (path, partial_of(path)):
        _refuse_input(f"--csv {path}", replaced, given)
    return path


def _check_place(name: str, path: pathlib.Path) -> None:
    """Refuses what cannot be written."""
    wrong = {
        "is a folder": path.is_dir(),
        "is a device": path.exists() and not path.is_file(),  # which a file would replace
        "is in a folder that does not exist": not path.parent.is_dir(),
        "is in a folder that cannot be written": not os.access(path.parent, os.W_OK),
    }
    if what := next((what for what, found in wrong.items() if found), ""):
        raise UserError(f"{name} {what}; expected the name of a file")


def _refuse_input(name: str, path: pathlib.Path, given: Sequence[str]) -> None:
    """Refuses a file that is an input, also one that only lists inputs."""
    if path.exists() and any(os.path.exists(other) and path.samefile(other) for other in given):
        raise UserError(IS_INPUT.format(name))


class BadFiles:
    """Inputs that are left out: they are named in a file, and may not be too many.

    As a context it writes the file at its end, also after a failure, so that the list is never one
    of an earlier prediction.

    Args:
        most: How many there may be.
        answers: The file of answers, beside which they are listed; None for the current folder.
        given: The files to predict, none of which is replaced.

    Attributes:
        count: How many there are.
        path: The file.

    Raises:
        UserError: The file cannot be written, or is one of those.
    """

    def __init__(self, most: int, answers: pathlib.Path | None, given: Sequence[str] = ()):
        beside = answers.parent if answers else pathlib.Path()
        self.most, self.path = most, beside / BAD_FILES
        self.found: list[Bad] = []
        if most:
            name = f"{self.path}, the list of --skip-bad,"
            _check_place(name, self.path)
            _refuse_input(name, self.path, given)

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
            raise UserError(
                f"more than {counted(self.most, 'input')} cannot be used, listed in {self.path}; "
                f"the last: {bad[-1].reason}"
            )

    def __enter__(self) -> "BadFiles":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if not self.most:
            return
        try:
            self._write()
        except (OSError, WriteError):
            if error is None:  # the error that came first says more
                raise

    def _write(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(BAD_HEAD)
        writer.writerows((bad.file, bad.row or "", _reason(bad)) for bad in self.found)
        with _writing(self.path):
            files.write_bytes(self.path, text.getvalue().encode(errors="backslashreplace"))


def _reason(bad: Bad) -> str:
    """Returns the reason without its place, which has columns of its own."""
    file, row = bad.file, bad.row
    for place in (f"{file}: row {row}: ", f"{file}: row {row}, ", f"{file}:{row}: ", f"{file}: "):
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
            with _writing(path):
                files.write_bytes(path, encode_png(image))
            written[i] = str(path)
            self.count += 1
        return written
