"""A dataset, the sources it can come from, and how to find one."""

import dataclasses
import hashlib
import json
import os
import pathlib
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Source:
    """Raw examples that were found, and are not read yet.

    Attributes:
        kind: "real" or "sample".
        description: What it is, for people.
        identity: Changes when the examples do.
        examples: Their number in each split.
        official: Whether sizes agree with those that the dataset declares.
        read: From a split's name to a tf.data.Dataset of dicts `name` (string: file or index),
            `image` (encoded bytes, or uint8 (height, width, channels)) and `label` (int).
    """

    kind: str
    description: str
    identity: str
    examples: Mapping[str, int]
    official: bool
    read: Callable[[str], "tf.data.Dataset"]


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of a training image; the label stays true.

    Attributes:
        flip: Mirror half of the images left to right.
        shift: Largest shift in pixels, in both directions; edges are reflected.
        brightness: Largest change of brightness, as a fraction of full white.
    """

    flip: bool = False
    shift: int = 0
    brightness: float = 0.0


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images with labels: what they are, and every place where they can be found.

    Attributes:
        name: The TFDS name.
        version: The TFDS version whose sizes are declared here.
        image_shape: (height, width, channels) after preparation.
        label_names: One name per class.
        official_examples: Examples per split, as TFDS records them.
        official_download_size: Bytes, as TFDS records them.
        host: Where the download comes from.
        make_sample: Makes the stand-in that ships as code.
        find_manual: Looks for the user's own files in a data folder.
        tfds_splits: Our split names to those of TFDS.
        label: From a TFDS example to its stored label.
        select_label: From the stored labels to those that are learned.
        val_fraction: Share of train that becomes val where no official val exists.
        manual_help: How to get the data where no download will do.
    """

    name: str
    version: str
    image_shape: tuple[int, int, int]
    label_names: tuple[str, ...]
    official_examples: Mapping[str, int]
    official_download_size: int
    host: str
    make_sample: Callable[[], Source]
    tfds_splits: Mapping[str, str]
    label: Callable[[Mapping[str, "tf.Tensor"]], "tf.Tensor"]
    select_label: Callable[["np.ndarray"], "np.ndarray"]
    find_manual: Callable[[pathlib.Path], Source | None] = lambda folder: None
    val_fraction: float = 0.0
    augmentation: Augmentation = Augmentation()
    manual_help: str = ""

    def augmented(self, **changes) -> "Dataset":
        """The same dataset with random changes of its training images, see `Augmentation`."""
        return dataclasses.replace(
            self, augmentation=dataclasses.replace(self.augmentation, **changes)
        )

    def find(self, kind: str = "auto", data_dir: str | os.PathLike | None = None) -> Source:
        """The source that `kind` names: "real", "sample", or "auto": real if it is on the disk.

        Raises:
            UserError: Real data was asked for, is not on the disk and cannot be downloaded.
        """
        if kind == "sample":
            return self.make_sample()
        folder = default_data_dir() if data_dir is None else pathlib.Path(data_dir).expanduser()
        if data_dir is not None and not folder.is_dir():
            raise UserError(
                f"--data-dir {folder}: no such folder; name the folder that holds {self.name}/"
            )
        found = self._find_prepared(folder) or self.find_manual(folder)
        if found:
            return found
        if kind == "auto":
            return self.make_sample()
        self._download(folder)
        return self._find_prepared(folder)

    def _find_prepared(self, folder: pathlib.Path) -> Source | None:
        """What TFDS has prepared in `folder`, its sizes read without importing TFDS."""
        versions = sorted((folder / self.name).glob("*/dataset_info.json"), key=_version_key)
        if not versions:
            return None
        path = versions[-1]
        try:
            content = path.read_bytes()
            info = json.loads(content)
            examples = {
                ours: sum(map(int, split["shardLengths"]))
                for ours, theirs in self.tfds_splits.items()
                for split in info["splits"]
                if split["name"] == theirs
            }
            download_size = int(info.get("downloadSize", 0))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: not a readable dataset_info.json ({error}); prepare {self.name} again"
            ) from None
        official = (
            examples == self.official_examples and download_size == self.official_download_size
        )
        return Source(
            kind="real",
            description=f"{self.name} {path.parent.name} as prepared by TFDS",
            identity=hashlib.sha256(content).hexdigest(),
            examples=examples,
            official=official,
            read=lambda split: self._read_prepared(path.parent, split),
        )

    def _read_prepared(self, folder: pathlib.Path, split: str) -> "tf.data.Dataset":
        import tensorflow as tf
        import tensorflow_datasets as tfds

        builder = tfds.builder_from_directory(folder)
        examples = builder.as_dataset(
            split=self.tfds_splits[split],
            decoders={"image": tfds.decode.SkipDecoding()},
            shuffle_files=False,
        )
        return examples.enumerate().map(
            lambda i, example: {
                "name": tf.strings.join([f"{folder} {split} example ", tf.strings.as_string(i)]),
                "image": example["image"],
                "label": self.label(example),
            }
        )

    def _download(self, folder: pathlib.Path) -> None:
        """Has TFDS download and prepare the dataset, after a short look whether it can."""
        size = self.official_download_size / 2**20
        try:
            # TFDS itself retries an unreachable host for minutes.
            socket.create_connection((self.host, 443), timeout=5).close()
        except OSError:
            raise UserError(
                f"{self.name} is not in {folder} and {self.host} cannot be reached to download "
                f"it ({size:,.0f} MiB); {self.manual_help or 'use --data sample or --data-dir'}"
            ) from None
        import tensorflow_datasets as tfds

        try:
            tfds.builder(self.name, data_dir=folder).download_and_prepare()
        except Exception as error:  # TFDS raises whatever its layers raise
            raise UserError(
                f"the download of {self.name} into {folder} failed: "
                f"{str(error).splitlines()[0] if str(error) else type(error).__name__}; "
                f"{self.manual_help or 'try again later, or use --data sample'}"
            ) from error


def default_data_dir() -> pathlib.Path:
    """TFDS' own default: $TFDS_DATA_DIR, or ~/tensorflow_datasets."""
    return pathlib.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def _version_key(path: pathlib.Path) -> list[int]:
    return [int(part) if part.isdigit() else -1 for part in path.parent.name.split(".")]
