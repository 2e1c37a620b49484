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
from scipy.io.matlab import MatReadError

from ..errors import UserError
from .samples import produce

# --- point sets -------------------------------------------------------------------------------


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
        try:
            content = scipy.io.loadmat(self.mat_file, variable_names=[f"Y{part}", f"C{part}"])
            points, classes = content[f"Y{part}"], content[f"C{part}"]
        except (OSError, ValueError, TypeError, LookupError, MatReadError) as error:
            raise UserError(
                f"{self.mat_file}: cannot be read as a MATLAB file with Y{part} and C{part} "
                f"({type(error).__name__}: {error}); put the course's file there"
            ) from None
        expected = (self.dimensions, classes.shape[1]), (self.num_classes, points.shape[1])
        if (points.shape, classes.shape) != expected:
            raise UserError(
                f"{self.mat_file}: Y{part} is {points.shape} and C{part} {classes.shape}; expected "
                f"({self.dimensions}, n) and ({self.num_classes}, n)"
            )
        for i, (point, one_hot) in enumerate(zip(points.T, classes.T, strict=True)):
            if not np.isfinite(point).all() or sorted(one_hot)[-2:] != [0, 1]:
                raise UserError(
                    f"{self.mat_file}: column {i + 1} of Y{part} and C{part} is {point.tolist()}, "
                    f"{one_hot.tolist()}; expected a finite point and a one-hot class"
                )
            yield i, {"point": point.astype(np.float32), "label": int(one_hot.argmax())}


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
        with open(path, encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.reader(file, skipinitialspace=True), start=1):
                if not row:
                    continue
                yield row[0], self._example(path, number, row)

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
        if not image.is_file():
            raise UserError(f"{image} is missing; {path}:{number} lists it: clone the data again")
        return {"image": image, "label": fine, "coarse_label": coarse}


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
        content = path.read_bytes()
        try:
            # Spreadsheets write a byte-order mark.
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            raise UserError(
                f"{path}:{line}: not UTF-8 ({error.reason}); save the file as UTF-8"
            ) from None
        yield from self._read(path, text)

    def _read(self, path: pathlib.Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        start, count = 1, 0
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
                start = reader.line_num + 1
        except csv.Error as error:
            raise UserError(f"{path}:{start}: not a valid CSV row ({error}); correct it") from None
        if not count:
            raise UserError(f"{path}: no rows below the header; expected at least 1")

    def _example(self, path: pathlib.Path, line: int, row: list[str]) -> dict[str, Any]:
        if len(row) != 2 or row[0] not in self.label_names:
            raise UserError(
                f"{path}:{line}: expected one of {', '.join(self.label_names)} and a text, found "
                f"{', '.join(row)[:80]!r}"
            )
        return {"text": row[1], "label": row[0]}
