"""Finds what is to be predicted: files, folders, patterns, lists of images, standard input."""

import contextlib
import dataclasses
import functools
import glob
import itertools
import os
import pathlib
import shutil
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import tensorflow as tf

from ..datasets.own.dialect import kind_of
from ..datasets.own.image_scan import ENDINGS as IMAGE_ENDINGS
from ..errors import UserError
from ..inputs import Bad, Examples
from ..inputs.user_files import TABLE_ENDINGS, table_rows
from .writing import BAD_FILES, BAD_HEAD, IS_INPUT

STANDARD_INPUT = "-"
# Columns of a table that list images, the first that there is.
PATH_COLUMNS = ("file", "path", "image", "filename")
_NUMBERS = frozenset((".npy",))
_TEXTS = frozenset((".txt", ".text"))


_Input = pathlib.Path | Bad
_Identity = tuple[int, int]  # device and inode


@dataclasses.dataclass(frozen=True)
class Found:
    """What is to be predicted.

    Attributes:
        paths: The files, found while they are read; and what cannot be.
        total: Number of examples, if it is known without reading the files.
        spooled: Copy of a table from standard input, or None.
    """

    paths: Iterator[_Input]
    total: int | None = None
    spooled: pathlib.Path | None = None

    def as_given(self, bad: Sequence[Bad]) -> list[Bad]:
        """Names standard input instead of its copy."""
        return [Bad(self._named(b.file), b.row, self._named(b.reason)) for b in bad]

    def as_given_examples(self, examples: Examples) -> Examples:
        """Names standard input instead of its copy."""
        if self.spooled is None:
            return examples
        names = examples.names
        if examples.kind == "file":
            names = [self._named(name) for name in names]
        places = [(self._named(file), row) for file, row in examples.places]
        return examples._replace(names=names, places=places)

    def _named(self, text: str) -> str:
        return text.replace(str(self.spooled), STANDARD_INPUT) if self.spooled else text


@contextlib.contextmanager
def find_inputs(
    given: Sequence[str],
    spec: tf.TensorSpec | None,
    *,
    keep_bad: bool = False,
    written: Mapping[str, pathlib.Path] | None = None,
    drawn: pathlib.Path | None = None,
) -> Iterator[Found]:
    """Finds the files that a model is to predict.

    Args:
        given: Files, folders, patterns such as "photos/**/*.jpg", or "-".
        spec: Spec of the model's input; None if it has one for each column.
        keep_bad: Whether a folder that cannot be read, or a row of a list, is yielded instead of
            an error.
        written: Files that are to be written, by what errors call them. None may be an input.
        drawn: Folder that images are written to, which is left out of other folders.

    Raises:
        UserError: There is nothing of that name, or nothing in it; or it would be replaced. The
            message names it.
    """
    takes_images = spec is not None and spec.dtype == tf.uint8 and len(spec.shape) == 4
    takes_texts = spec is not None and spec.dtype == tf.string
    endings = frozenset(IMAGE_ENDINGS) if takes_images else TABLE_ENDINGS
    if takes_texts:
        endings |= _TEXTS
    elif not takes_images and spec is not None:
        endings |= _NUMBERS
    replaced = _identities(written or {}, printed=not takes_images)
    with tempfile.TemporaryDirectory(prefix="kpipe-") as temporary:
        spooled = None
        if STANDARD_INPUT in given and not takes_images and not takes_texts:
            spooled = _spool(pathlib.Path(temporary))
        finders = [_finder(name, endings, takes_images, spooled, drawn) for name in given]

        def find() -> Iterator[_Input]:
            return itertools.chain.from_iterable(finder() for finder in finders)

        def checked() -> Iterator[_Input]:
            return _checked(find(), replaced, drawn) if replaced or drawn else find()

        try:
            total, paths = None, find()
            if takes_images and STANDARD_INPUT in given:  # which can be read only once
                paths = checked()
            elif takes_images or replaced:
                count = sum(1 for _ in checked())
                total = count if takes_images else None
            yield Found(paths if keep_bad else _without_bad(paths), total, spooled)
        except UserError as error:
            if spooled:
                raise UserError(str(error).replace(str(spooled), STANDARD_INPUT)) from None
            raise


def _identities(written: Mapping[str, pathlib.Path], printed: bool) -> dict[_Identity, str]:
    """Returns what is to be written and exists, also standard output if it is a file."""
    found = {}
    for name, path in written.items():
        with contextlib.suppress(OSError):
            found[_identity(path)] = name
    if printed:
        with contextlib.suppress(OSError, ValueError):  # there may be none
            status = os.fstat(sys.stdout.fileno())
            if stat.S_ISREG(status.st_mode):
                found[status.st_dev, status.st_ino] = "standard output"
    return found


def _identity(path: str | pathlib.Path) -> _Identity:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _checked(
    paths: Iterable[_Input], replaced: Mapping[_Identity, str], drawn: pathlib.Path | None
) -> Iterator[_Input]:
    """Refuses inputs that answers would replace."""

    @functools.cache
    def is_drawn(folder: str) -> bool:
        return drawn is not None and os.path.isdir(folder or ".") and drawn.samefile(folder or ".")

    for path in paths:
        if not isinstance(path, Bad):
            with contextlib.suppress(OSError):  # said where it is read
                if name := replaced.get(_identity(path)):
                    raise UserError(IS_INPUT.format(name))
            if drawn is not None and is_drawn(os.path.dirname(path)):
                raise UserError(
                    f"--images {drawn} contains {path}, which is to be predicted; choose another "
                    "folder"
                )
        yield path


def _without_bad(paths: Iterable[_Input]) -> Iterator[pathlib.Path]:
    for path in paths:
        if isinstance(path, Bad):
            raise UserError(path.reason)
        yield path


def _finder(
    given: str,
    endings: frozenset[str],
    takes_images: bool,
    spooled: pathlib.Path | None,
    drawn: pathlib.Path | None,
) -> Callable[[], Iterator[_Input]]:
    """Returns a function that yields the files of an argument; it can be called again."""
    path = pathlib.Path(given)
    if given == STANDARD_INPUT:
        if takes_images:
            return lambda: (pathlib.Path(os.fsdecode(line)) for line in _input_lines())
        return lambda: iter([spooled or path])
    if os.path.isdir(path):
        _tell_others(path, endings, drawn)
        return lambda: _walk(path, endings, drawn)
    if os.path.exists(path):
        if takes_images and kind_of(path.name) in TABLE_ENDINGS:
            return lambda: _listed_in(path)
        return lambda: iter([path])
    if glob.has_magic(given):
        matched = [name for name in glob.iglob(given, recursive=True) if not os.path.isdir(name)]
        kept = sorted(name for name in matched if not _lists_bad_files(name))
        if len(kept) < len(matched):
            print(f"{given}: {_OF_EARLIER} left out", file=sys.stderr, flush=True)
        if kept:
            return lambda: map(pathlib.Path, kept)
        raise UserError(f"{given}: no file has such a name")
    raise UserError(f"{given}: no such file")


def _entries(
    folder: str, drawn: pathlib.Path | None, above: frozenset[_Identity] = frozenset()
) -> "Iterator[os.DirEntry[str] | Bad]":
    """Yields the files in and below a folder in the order of names; hidden ones are none.

    Links are followed, but not in a circle.
    """
    try:
        above |= {_identity(folder)}
        with os.scandir(folder) as found:
            entries = sorted(
                (entry for entry in found if not entry.name.startswith(".")),
                key=lambda entry: entry.name,
            )
    except OSError as error:
        yield Bad(folder, 0, f"{folder}: {error.strerror}")
        return
    folders = []
    for entry in entries:
        try:
            is_folder = entry.is_dir()
        except OSError:  # a link to itself; as a file it is unreadable
            is_folder = False
        if is_folder:
            folders.append(entry.path)
        else:
            yield entry
    for path in folders:
        try:
            is_known = _identity(path) in above or (drawn is not None and drawn.samefile(path))
        except OSError:
            is_known = False
        if not is_known:
            yield from _entries(path, drawn, above)


def _walk(
    folder: pathlib.Path, endings: frozenset[str], drawn: pathlib.Path | None
) -> Iterator[_Input]:
    found = False
    for entry in _entries(str(folder), drawn):
        if isinstance(entry, Bad):
            found = True
            yield entry
        elif kind_of(entry.name) in endings and not _lists_bad_files(entry.path):
            found = True
            yield pathlib.Path(entry.path)
    if not found:
        raise UserError(
            f"{folder}: contains nothing that the model takes; expected files that end with "
            f"{', '.join(sorted(endings))}"
        )


_OF_EARLIER = f"{BAD_FILES} of an earlier prediction"


def _lists_bad_files(path: str) -> bool:
    """Whether a file is what `BadFiles` wrote."""
    if not path.endswith(BAD_FILES):
        return False
    head = (",".join(BAD_HEAD) + "\n").encode()
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return os.path.basename(path) == BAD_FILES and file.read(len(head)) == head
    return False


def _tell_others(folder: pathlib.Path, endings: frozenset[str], drawn: pathlib.Path | None) -> None:
    """Says which files of a folder are left out, by their endings."""
    others: Counter[str] = Counter()
    for entry in _entries(str(folder), drawn):
        if isinstance(entry, Bad):
            continue
        if (kind := kind_of(entry.name)) not in endings:
            others[kind or "no ending"] += 1
        elif _lists_bad_files(entry.path):
            others[_OF_EARLIER] += 1
    listed = ", ".join(f"{count:,} of {ending}" for ending, count in sorted(others.items()))
    if drawn and drawn.resolve().is_relative_to(folder.resolve()) and any(drawn.iterdir()):
        listed += ", " * bool(listed) + f"all in {drawn}, where --images writes"
    if listed:
        print(f"{folder}: other files are left out: {listed}", file=sys.stderr, flush=True)


def _listed_in(table: pathlib.Path) -> Iterator[_Input]:
    """Yields the images that a table lists, relative to its folder."""
    column = ""
    try:
        for frame, bad in table_rows(table, None, keep_bad=True):
            column = column or _column_of_paths(table, list(frame.columns))
            for row, name in zip(frame.index, frame[column], strict=True):
                while bad and bad[0].row < row:
                    yield bad.pop(0)
                if isinstance(name, str):
                    yield table.parent / name
                else:
                    why = f"{table}: row {row}, column {column!r} is empty; expected a file"
                    yield Bad(str(table), int(row), why)
            yield from bad
    except UserError as error:
        yield Bad(str(table), 0, str(error))


def _column_of_paths(table: pathlib.Path, names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    if column := next((name for name in PATH_COLUMNS if name in names), ""):
        return column
    raise UserError(
        f"{table}: no column lists images; expected one of {', '.join(PATH_COLUMNS)}, or a single "
        "column"
    )


def _input_lines() -> Iterator[bytes]:
    for line in sys.stdin.buffer:
        if name := line.rstrip(b"\r\n"):
            yield name


def _spool(folder: pathlib.Path) -> pathlib.Path:
    """Copies standard input, a table, to a file: its separator is found by reading it twice."""
    first = sys.stdin.buffer.readline()
    ending = ".jsonl" if first.lstrip().startswith(b"{") else ".csv"
    path = folder / f"standard_input{ending}"
    with open(path, "wb") as file:
        file.write(first)
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path
