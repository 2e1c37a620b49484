"""Finds what is to be predicted: files, folders, patterns, lists of images, standard input."""

import contextlib
import dataclasses
import glob
import itertools
import os
import pathlib
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from ..datasets.own.image_scan import ENDINGS as IMAGE_ENDINGS
from ..errors import UserError
from ..inputs import Bad, Examples
from ..inputs.user_files import TABLE_ENDINGS

STANDARD_INPUT = "-"
# Columns of a table that list images, the first that there is.
PATH_COLUMNS = ("file", "path", "image", "filename")
_NUMBERS = frozenset((".npy",))
_TEXTS = frozenset((".txt", ".text"))


@dataclasses.dataclass(frozen=True)
class Found:
    """What is to be predicted.

    Attributes:
        paths: The files, found while they are read.
        total: Number of examples, if it is known without reading the files.
        spooled: Copy of a table from standard input, or None.
    """

    paths: Iterator[pathlib.Path]
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
def find_inputs(given: Sequence[str], spec: tf.TensorSpec | None) -> Iterator[Found]:
    """Finds the files that a model is to predict.

    Args:
        given: Files, folders, patterns such as "photos/**/*.jpg", or "-".
        spec: Spec of the model's input; None if it has one for each column.

    Raises:
        UserError: There is nothing of that name, or nothing in it; the message names it.
    """
    takes_images = spec is not None and spec.dtype == tf.uint8 and len(spec.shape) == 4
    takes_texts = spec is not None and spec.dtype == tf.string
    endings = frozenset(IMAGE_ENDINGS) if takes_images else TABLE_ENDINGS
    if takes_texts:
        endings |= _TEXTS
    elif not takes_images and spec is not None:
        endings |= _NUMBERS
    with tempfile.TemporaryDirectory(prefix="kpipe-") as temporary:
        spooled = None
        if STANDARD_INPUT in given and not takes_images and not takes_texts:
            spooled = _spool(pathlib.Path(temporary))
        finders = [_finder(name, endings, takes_images, spooled) for name in given]
        try:
            total = None
            if takes_images and STANDARD_INPUT not in given:
                total = sum(1 for find in finders for _ in find())
            paths = itertools.chain.from_iterable(find() for find in finders)
            yield Found(paths, total, spooled)
        except UserError as error:
            if spooled:
                raise UserError(str(error).replace(str(spooled), STANDARD_INPUT)) from None
            raise


def _finder(
    given: str, endings: frozenset[str], takes_images: bool, spooled: pathlib.Path | None
) -> Callable[[], Iterator[pathlib.Path]]:
    """Returns a function that yields the files of an argument; it can be called again."""
    path = pathlib.Path(given)
    if given == STANDARD_INPUT:
        if takes_images:
            return lambda: (pathlib.Path(os.fsdecode(line)) for line in _input_lines())
        return lambda: iter([spooled or path])
    if path.is_dir():
        _tell_others(path, endings)
        return lambda: _walk(path, endings)
    if path.exists():
        suffix = path.suffix.lower()
        if takes_images and (suffix in TABLE_ENDINGS or TABLE_ENDINGS & set(path.suffixes)):
            return lambda: _listed_in(path)
        return lambda: iter([path])
    if glob.has_magic(given):
        matched = sorted(name for name in glob.iglob(given, recursive=True) if os.path.isfile(name))
        if matched:
            return lambda: map(pathlib.Path, matched)
        raise UserError(f"{given}: no file has such a name")
    raise UserError(f"{given}: no such file")


def _walk(folder: pathlib.Path, endings: frozenset[str]) -> Iterator[pathlib.Path]:
    """Yields the files in and below a folder, in the order of their names; hidden ones are none."""
    found = False
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in endings:
                found = True
                yield pathlib.Path(place, name)
    if not found:
        raise UserError(
            f"{folder}: contains nothing that the model takes; expected files that end with "
            f"{', '.join(sorted(endings))}"
        )


def _tell_others(folder: pathlib.Path, endings: frozenset[str]) -> None:
    """Says which files of a folder are left out, by their endings."""
    others: Counter[str] = Counter()
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found = (os.path.splitext(name)[1].lower() for name in names if not name.startswith("."))
        others.update(ending or "no ending" for ending in found if ending not in endings)
    if others:
        listed = ", ".join(f"{count:,} of {ending}" for ending, count in sorted(others.items()))
        print(f"{folder}: other files are left out: {listed}", file=sys.stderr, flush=True)


def _listed_in(table: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields the images that a table lists, relative to its folder."""
    from ..datasets.own import reading  # imports pandas

    for frame in reading.frames(table):
        names = list(frame.columns)
        column = next((name for name in PATH_COLUMNS if name in names), "")
        if not column and len(names) == 1:
            (column,) = names
        if not column:
            raise UserError(
                f"{table}: no column lists images; expected one of {', '.join(PATH_COLUMNS)}, or "
                "a single column"
            )
        for line, name in zip(frame.index, frame[column], strict=True):
            if not isinstance(name, str):
                raise UserError(f"{table}:{line}: column {column!r} is empty; expected a file")
            yield table.parent / name


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
