"""TFDS builders for data that TFDS does not have; they read the user's own files.

Importing this module imports TFDS.
"""

import csv
import io
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.io
import tensorflow_datasets as tfds

from ..errors import UserError, first_line
from .own.image_files import read_image, readable, why_unreadable
from .samples import produce


def _text(path: pathlib.Path) -> str:
    """Reads a text file; the byte-order mark that spreadsheets write is no part of it.

    Raises:
        UserError: It cannot be opened, or is not UTF-8 text; the message names the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; put the file there") from None
    try:
        text = content.decode("utf-8-sig")
        bad, reason = content.find(b"\0"), "a NUL byte"
    except UnicodeDecodeError as error:
        bad, reason = error.start, error.reason
    if bad >= 0:
        line = content[:bad].count(b"\n") + 1
        raise UserError(f"{path}:{line}: not UTF-8 ({reason}); save the file as UTF-8")
    return text


# --- point sets -------------------------------------------------------------------------------


_NUMBERS = (
    "double",
    "single",
    "logical",
    *(f"{sign}int{n}" for sign in ("", "u") for n in (8, 16, 32, 64)),
)
_MOST_POINTS = 10**7


class _PointSet(tfds.core.GeneratorBasedBuilder):
    """Points of a MATLAB file: Yt (d, n) and one-hot Ct (classes, n), Yv and Cv for the test split.

    Args:
        mat_file: Path of the file.
        dimensions: Dimensions of a point, d.
        num_classes: Number of classes.
        official: Whether the file is the original one.
        kwargs: Keyword arguments of TFDS' builder.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(
        self,
        mat_file: pathlib.Path,
        dimensions: int,
        num_classes: int,
        official: bool,
        **kwargs: Any,
    ) -> None:
        self.mat_file, self.official = mat_file, official
        self.dimensions, self.num_classes = dimensions, num_classes
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Labelled points of a course's MATLAB file.",
            features=tfds.features.FeaturesDict(
                {
                    "point": tfds.features.Tensor(shape=(self.dimensions,), dtype=np.float32),
                    "label": tfds.features.ClassLabel(num_classes=self.num_classes),
                }
            ),
            supervised_keys=("point", "label"),
            metadata=tfds.core.MetadataDict({"official": self.official}),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        return {"train": self._generate_examples("t"), "test": self._generate_examples("v")}

    def _generate_examples(self, part: str) -> Iterator[tuple[int, dict[str, Any]]]:
        names = (f"Y{part}", f"C{part}")
        try:
            # By the header alone: unpacked, a small file may fill the memory.
            known = {name: (shape, kind) for name, shape, kind in scipy.io.whosmat(self.mat_file)}
            wrong = [name for name in names if known[name][1] not in _NUMBERS]
            found = [known[name][0] for name in names]
            if wrong:
                raise TypeError(f"{wrong[0]} is of class {known[wrong[0]][1]}, not of numbers")
            count = found[0][-1]
            expected = [(self.dimensions, count), (self.num_classes, count)]
            if found != expected or not 0 < count <= _MOST_POINTS:
                raise UserError(
                    f"{self.mat_file}: {names[0]} is {found[0]} and {names[1]} {found[1]}; "
                    f"expected ({self.dimensions}, n) and ({self.num_classes}, n)"
                )
            content = scipy.io.loadmat(self.mat_file, variable_names=names)
            points, classes = (content[name] for name in names)
            if "c" in points.dtype.kind + classes.dtype.kind:
                raise TypeError("complex numbers")
            with np.errstate(over="ignore"):  # infinity is refused below
                points = points.astype(np.float32)
        except UserError:
            raise
        except Exception as error:  # SciPy raises errors of many types for damaged files
            raise UserError(
                f"{self.mat_file}: cannot be read as a MATLAB file with {' and '.join(names)} "
                f"({type(error).__name__}: {first_line(error)}); put the course's file there"
            ) from None
        only = [0] * (self.num_classes - 1) + [1]
        for i, (point, one_hot) in enumerate(zip(points.T, classes.T, strict=True)):
            if not np.isfinite(point).all() or sorted(one_hot) != only:
                raise UserError(
                    f"{self.mat_file}: column {i + 1} of Y{part} and C{part} is {point.tolist()}, "
                    f"{one_hot.tolist()}; expected a finite point and a one-hot class"
                )
            yield i, {"point": point, "label": int(one_hot.argmax())}


class Gmm(_PointSet):
    """A mixture of Gaussians in five dimensions."""

    name = "gmm"


class Peaks(_PointSet):
    """Levels of the peaks surface."""

    name = "peaks"


class SwissRoll(_PointSet):
    """Two interleaved spirals."""

    name = "swiss_roll"


# --- Grocery Store ----------------------------------------------------------------------------


class GroceryStore(tfds.core.GeneratorBasedBuilder):
    """Natural photographs of groceries with fine and coarse classes (Klasson et al., WACV 2019).

    Args:
        folder: `dataset/` of the published repository.
        official: Whether its lists are the published ones.
        kwargs: Keyword arguments of TFDS' builder.
    """

    name = "grocery_store"
    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, folder: pathlib.Path, official: bool, **kwargs: Any) -> None:
        self.folder, self.official = folder, official
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Photographs of groceries.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(names=list(produce.FINE)),
                    "coarse_label": tfds.features.ClassLabel(names=list(produce.COARSE)),
                }
            ),
            supervised_keys=("image", "label"),
            homepage="https://github.com/marcusklasson/GroceryStoreDataset",
            metadata=tfds.core.MetadataDict({"official": self.official}),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        lists = {"train": "train.txt", "validation": "val.txt", "test": "test.txt"}
        return {split: self._generate_examples(self.folder / lists[split]) for split in lists}

    def _generate_examples(self, path: pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
        """Reads a list: "train/Fruit/Apple/Golden-Delicious/Golden-Delicious_001.jpg, 0, 0"."""
        listed = set()
        reader = csv.reader(io.StringIO(_text(path), newline=""), skipinitialspace=True)
        for number, row in enumerate(reader, start=1):
            if not row:
                continue
            if row[0] in listed:
                raise UserError(f"{path}:{number}: {row[0]} is listed twice; clone the data again")
            listed.add(row[0])
            yield row[0], self._example(path, number, row)
        if not listed:
            raise UserError(f"{path}: lists no images; clone the data again")

    def _example(self, path: pathlib.Path, number: int, row: list[str]) -> dict[str, Any]:
        try:
            name, fine, coarse = row[0], *map(int, row[1:])
            agree = produce.COARSE_OF_FINE[fine] == coarse and fine >= 0
        except (ValueError, IndexError):
            agree = False
        if not agree:
            raise UserError(
                f"{path}:{number}: expected an image, a fine class from 0 to 80 and its coarse "
                f"class, found {', '.join(row)[:80]!r}"
            )
        image = self.folder / name
        if not image.resolve().is_relative_to(self.folder.resolve()):
            raise UserError(f"{path}:{number}: {name} is outside of {self.folder}; correct it")
        if not image.is_file():
            raise UserError(f"{image} is missing; {path}:{number} lists it: clone the data again")
        content = read_image(image)
        if reason := why_unreadable(content):
            raise UserError(
                f"{image} cannot be read as an image ({reason}); {path}:{number} lists it: clone "
                "the data again"
            )
        return {"image": io.BytesIO(readable(content)), "label": fine, "coarse_label": coarse}


# --- tweets -----------------------------------------------------------------------------------


class TweetEmotions(tfds.core.GeneratorBasedBuilder):
    """Tweets with one emotion each: CSV files with the columns emotion and content.

    Args:
        folder: Contains trainEmotions.csv and testEmotions.csv.
        label_names: The emotions.
        official: Whether the files are the original ones.
        kwargs: Keyword arguments of TFDS' builder.
    """

    name = "tweet_emotions"
    VERSION = tfds.core.Version("1.0.0")
    COLUMNS = ("emotion", "content")

    def __init__(
        self, folder: pathlib.Path, label_names: Sequence[str], official: bool, **kwargs: Any
    ) -> None:
        self.folder, self.label_names, self.official = folder, label_names, official
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Tweets with one emotion each.",
            features=tfds.features.FeaturesDict(
                {
                    "text": tfds.features.Text(),
                    "label": tfds.features.ClassLabel(names=list(self.label_names)),
                }
            ),
            supervised_keys=("text", "label"),
            metadata=tfds.core.MetadataDict({"official": self.official}),
        )

    def _split_generators(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        return {
            split: self._generate_examples(self.folder / f"{split}Emotions.csv")
            for split in ("train", "test")
        }

    def _generate_examples(self, path: pathlib.Path) -> Iterator[tuple[int, dict[str, Any]]]:
        yield from self._read(path, _text(path))

    def _read(self, path: pathlib.Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        start, count, words = 1, 0, False
        try:
            head: list[str] = next(reader, [])
            if tuple(head) != self.COLUMNS:
                raise UserError(
                    f"{path}:1: expected the columns {','.join(self.COLUMNS)}, found "
                    f"{','.join(head)[:80]!r}"
                )
            start = reader.line_num + 1  # a row may span lines
            for row in reader:
                if row:
                    yield count, self._example(path, start, row)
                    count += 1
                    words = words or bool(row[1].strip())
                start = reader.line_num + 1
        except csv.Error as error:
            raise UserError(f"{path}:{start}: not a valid CSV row ({error}); correct it") from None
        if not count:
            raise UserError(f"{path}: no rows below the header; expected at least 1")
        if not words:
            raise UserError(f"{path}: all {count:,} texts are empty; expected words")

    def _example(self, path: pathlib.Path, line: int, row: list[str]) -> dict[str, Any]:
        if len(row) != 2 or row[0] not in self.label_names:
            raise UserError(
                f"{path}:{line}: expected one of {', '.join(self.label_names)} and a text, found "
                f"{', '.join(row)[:80]!r}"
            )
        return {"text": row[1], "label": row[0]}
