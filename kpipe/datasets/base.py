"""A dataset, the sources it can come from, and how to find one."""

import dataclasses
import hashlib
import json
import os
import pathlib
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .. import files
from ..errors import RunError, UserError, first_line
from .augmentation import Augmentation
from .columns import Column, category_sizes
from .corrections import Corrections
from .prepared import (
    check_descriptions,
    check_examples,
    check_no_rest,
    count_examples,
    damaged_shard,
    default_data_dir,
    note_descriptions,
    stores_jpeg,
    usual_splits,
    version_key,
)
from .source import Source, from_arrays, generated
from .vectorization import Vectorization

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf
    import tensorflow_datasets as tfds


__all__ = [
    "Dataset",
    "Source",
    "check_kind",
    "from_arrays",
    "generated",
]

TARGETS = ("labels", "scaled labels", "inputs")


def _no_sample() -> Source:
    raise UserError("the dataset has no make_sample; expected real data: use --data real")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset of inputs with labels, and all places where it can be found.

    Attributes:
        name: The TFDS name.
        input_shape: (height, width, channels) of the prepared uint8 images, (size,) of float32
            vectors, or () of texts.
        label_names: One name per class; with several labels an example, one per label.
        version: The TFDS version whose sizes are declared here.
        official_examples: Number of examples per split, as recorded by TFDS; empty if nothing is
            declared, so that any sizes are official.
        official_download_size: Download size in bytes, as recorded by TFDS.
        host: Host of the download.
        make_sample: Function that makes the small synthetic dataset, unless there is `fixed`.
        find_manual: Function that looks for the user's own files in a data folder.
        make_builder: For data that TFDS does not have: function from a data folder and the folder
            of the user's own files to a TFDS builder.
        manual_files: Files that this builder needs, below the data folder's `downloads/manual`.
        fixed: The source, or the function that finds it, if it is always the same, such as a truth
            table or a user's own files.
        task: The task that the labels are for, such as "regression"; "" if unknown.
        columns: The columns of a table, which are the inputs instead of `input_shape`.
        tfds_splits: Maps our split names to those of TFDS, or to parts of them: "train[:50000]" or
            "train[:80%]"; by default TFDS' own train, validation and test, where missing a part of
            train.
        config: The TFDS configuration, if the dataset has several.
        features: Names of the TFDS features that `input` and `label` use, if they were chosen: data
            of others are prepared anew.
        input: Function from a TFDS example to its input.
        label: Function from a TFDS example to its stored label.
        select_label: Function from the stored labels to those that are learned.
        val_fraction: Share of train that becomes val if there is no official val.
        train_examples: Number of training examples, drawn by the seed and stratified by class; 0
            for all.
        augmentation: Random changes of the training examples.
        vectorization: How texts become token ids; required if inputs are texts.
        targets: Learning targets: "labels", "scaled labels", or "inputs" for reconstruction.
        noise: Standard deviation of the Gaussian noise on inputs to reconstruct, as a fraction of
            full white, or two between which each image's is drawn; the targets stay clean.
        input_dtype: Type of inputs that are used unchanged: "float32", "int32", "bool" ... By
            default inputs of three dimensions are uint8 images, and others float32.
        kinds_with_factors: Kinds of source, "real" or "sample", whose labels are all factors that
            an image was generated from, so that disentanglement can be measured.
        manual_help: How to get the data if they cannot be downloaded.
        corrections: Labels of train and val that a person corrected; None for none.

    Raises:
        ValueError: Targets, noise or augmentation are out of range, or do not fit the inputs.
    """

    name: str
    input_shape: tuple[int, ...]
    label_names: tuple[str, ...]
    version: str = ""
    official_examples: Mapping[str, int] = dataclasses.field(default_factory=dict)
    official_download_size: int = 0
    host: str = ""
    make_sample: Callable[[], Source] = _no_sample
    tfds_splits: Mapping[str, str] = dataclasses.field(default_factory=dict)
    config: str = ""
    features: tuple[str, ...] = ()
    input: Callable[[Mapping[str, "tf.Tensor"]], "tf.Tensor"] = lambda example: example["image"]
    label: Callable[[Mapping[str, "tf.Tensor"]], "tf.Tensor"] = lambda example: example["label"]
    select_label: Callable[["np.ndarray"], "np.ndarray"] = lambda labels: labels
    find_manual: Callable[[pathlib.Path], Source | None] = lambda folder: None
    make_builder: (
        Callable[[pathlib.Path, pathlib.Path], "tfds.core.GeneratorBasedBuilder"] | None
    ) = None
    manual_files: tuple[str, ...] = ()
    fixed: Source | Callable[[], Source] | None = None
    task: str = ""
    columns: tuple[Column, ...] = ()
    val_fraction: float = 0.0
    train_examples: int = 0
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    vectorization: Vectorization | None = None
    targets: str = "labels"
    noise: float | tuple[float, float] = 0.0
    input_dtype: str = ""
    kinds_with_factors: tuple[str, ...] = ()
    manual_help: str = ""
    corrections: Corrections | None = None

    def __post_init__(self) -> None:
        """Refuses settings that would fail, or be ignored, in training."""
        if self.targets not in TARGETS:
            raise ValueError(
                f"{self.name} with targets={self.targets!r}: expected one of {', '.join(TARGETS)}"
            )
        least, most = self.noise if isinstance(self.noise, tuple) else (self.noise, self.noise)
        if not 0 <= least <= most <= 1:
            raise ValueError(f"{self.name} with noise={self.noise}: expected noise from 0 to 1")
        # Arrays of three dimensions with a dtype are no images.
        shape = () if self.input_dtype else self.input_shape
        self.augmentation.check(self.name, shape, texts=self.vectorization is not None)

    def augmented(self, **changes: Any) -> "Dataset":
        """Returns the same dataset with random changes of its training examples.

        Args:
            changes: Attributes of `Augmentation`.

        Raises:
            ValueError: A change does not fit the inputs, or is out of range.

        Example:
            datasets.cifar10().augmented(flip=True, shift=4)
        """
        return dataclasses.replace(
            self, augmentation=dataclasses.replace(self.augmentation, **changes)
        )

    def as_autoencoder_data(self, noise: float | tuple[float, float] = 0.0) -> "Dataset":
        """Returns the same dataset with its inputs as reconstruction targets.

        Args:
            noise: Standard deviation of the noise on the input, 0 to 1, see the attribute.

        Raises:
            ValueError: `noise` is out of range.

        Example:
            datasets.cifar10(grey=True).as_autoencoder_data(noise=0.1)
        """
        return dataclasses.replace(self, targets="inputs", noise=noise)

    def with_scaled_targets(self) -> "Dataset":
        """Returns the same dataset with targets scaled to mean 0 and standard deviation 1.

        Mean and deviation are those of the train split only. Metrics, figures and the export are in
        the unit of the labels.

        Example:
            datasets.diabetes().with_scaled_targets()
        """
        return dataclasses.replace(self, targets="scaled labels")

    @property
    def category_sizes(self) -> tuple[int, ...]:
        """Number of ids of each category of a table, for `models.tabular`."""
        return category_sizes(self.columns)

    def find(self, kind: str = "auto", data_dir: str | os.PathLike[str] | None = None) -> Source:
        """Finds the source of the requested kind.

        Args:
            kind: "real", downloaded if missing; "sample", small synthetic data; or "auto", real
                data if found on disk, else the sample.
            data_dir: Folder of the TFDS datasets; by default `default_data_dir()`. With "auto", a
                given folder must contain the data.

        Raises:
            UserError: There is no such kind, or real data are not on disk and cannot be downloaded.
        """
        if self.fixed:
            source = self.fixed() if callable(self.fixed) else self.fixed
            if kind != source.kind:  # a search asks for the kind that it found
                check_kind(kind)
            return source
        check_kind(kind)
        if kind == "sample":
            return self.make_sample()
        folder = (
            default_data_dir() if data_dir is None else pathlib.Path(os.path.expanduser(data_dir))
        )
        if data_dir is not None and not folder.is_dir():
            raise UserError(
                f"--data-dir {folder}: no such folder; expected one that contains {self.name}/"
            )
        found = (
            self._find_prepared(folder) or self.find_manual(folder) or self._build_manual(folder)
        )
        if found:
            return found
        if kind == "auto" and data_dir is not None:
            names = [str(pathlib.Path(self.name, self.config)), *self.manual_files]
            raise UserError(
                f"--data-dir {folder}: contains no {' or '.join(names)}; "
                f"{self.manual_help or 'use --data real to download it'}, or use --data sample"
            )
        if kind == "auto":
            return self.make_sample()
        if self.make_builder:
            raise UserError(f"{self.name} is not in {folder}; {self.manual_help}")
        self._download(folder)
        downloaded = self._find_prepared(folder, new=True)
        if downloaded is None:
            raise UserError(
                f"TFDS prepared {self.name}, but not in {folder / self.name / self.config}; "
                f"kpipe expects version {self.version}: install a tensorflow-datasets release "
                "that provides it"
            )
        return downloaded

    def _find_prepared(self, folder: pathlib.Path, new: bool = False) -> Source | None:
        """Finds data prepared by TFDS in `folder`, and reads their sizes without importing TFDS."""
        versions = sorted(
            (folder / self.name / self.config).glob("*/dataset_info.json"), key=version_key
        )
        if not versions:
            check_no_rest(folder / self.name / self.config, self.name)
            return None
        path = versions[-1]
        check_descriptions(path.parent, self.name, new)
        try:
            content = path.read_bytes()
            info = json.loads(content)
            shards = {part["name"]: [*map(int, part["shardLengths"])] for part in info["splits"]}
            if any(length < 0 for lengths in shards.values() for length in lengths):
                raise ValueError("a negative number of examples")
            sizes = {name: sum(lengths) for name, lengths in shards.items()}
            download_size = int(info.get("downloadSize", 0))
            # Our own builders record there whether the files are the original ones.
            metadata = path.with_name("metadata.json")
            noted = dict(json.loads(metadata.read_bytes()) if metadata.is_file() else {})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path}: not a readable dataset_info.json ({error}); prepare {self.name} again"
            ) from None
        note_descriptions(path.parent, self.name)
        splits = self.tfds_splits or usual_splits(sizes)
        examples = {ours: count_examples(theirs, sizes) for ours, theirs in splits.items()}
        official = not self.official_examples or (
            examples == self.official_examples
            and noted.get("official", download_size == self.official_download_size)
        )
        return Source(
            kind="real",
            description=f"{self.name} {path.parent.name} as prepared by TFDS",
            identity=hashlib.sha256(content + ",".join(self.features).encode()).hexdigest(),
            examples=examples,
            official=official,
            read=lambda split: self._read_prepared(path.parent, split, splits[split], info),
            damage=lambda split: damaged_shard(path.parent, splits[split].partition("[")[0]),
            has_jpeg=stores_jpeg(path.parent),
        )

    def _read_prepared(
        self, folder: pathlib.Path, split: str, tfds_split: str, info: Mapping[str, Any]
    ) -> "tf.data.Dataset":
        import tensorflow as tf
        import tensorflow_datasets as tfds

        check_examples(folder, self.name, info)
        try:
            builder = tfds.builder_from_directory(folder)
            features = builder.info.features or {}
            # Images are decoded as an export does; those of 16 bits and floats are refused.
            encoded = [
                name
                for name in {"image", *self.features[:1]}.intersection(features)
                if features[name].tf_dtype == tf.uint8
            ]
            examples = builder.as_dataset(
                split=tfds_split,
                decoders=dict.fromkeys(encoded, tfds.decode.SkipDecoding()),
                shuffle_files=False,
            )
        except Exception as error:  # damaged files raise errors of many types
            raise UserError(
                f"{folder / 'features.json'} cannot be used ({first_line(error)}); prepare "
                f"{self.name} again"
            ) from error
        try:
            return examples.enumerate().map(
                lambda i, example: {
                    "name": tf.strings.join(
                        [f"{folder} {split} example ", tf.strings.as_string(i)]
                    ),
                    "input": self.input(example),
                    "label": self.label(example),
                }
            )
        except KeyError as error:
            raise UserError(
                f"{folder / 'features.json'}: lacks a feature that {self.name} uses; it has "
                f"{', '.join(features)}; prepare {self.name} again"
            ) from error

    def _build_manual(self, folder: pathlib.Path) -> Source | None:
        """Prepares the user's own files with our TFDS builder; None if there are none."""
        manual = folder / "downloads" / "manual"
        missing = [name for name in self.manual_files if not (manual / name).exists()]
        if self.make_builder is None or len(missing) == len(self.manual_files):
            return None
        if missing:
            raise UserError(f"{manual / missing[0]} is missing; {self.manual_help}")
        for name in self.manual_files:
            if not (manual / name).is_file():  # reading a device may never end
                raise UserError(f"{manual / name} is not a file; {self.manual_help}")
        import tensorflow_datasets as tfds

        # One process prepares, others wait and find what it prepared.
        with files.lock(folder / self.name):
            if not (found := self._find_prepared(folder)):
                print(f"preparing {self.name} from {manual}", flush=True)
                tfds.disable_progress_bar()
                try:
                    self.make_builder(folder, manual).download_and_prepare()
                except (UserError, RunError):
                    raise
                except Exception as error:  # TFDS passes on errors of many types
                    raise UserError(
                        f"{manual}: {self.name} cannot be prepared from these files "
                        f"({type(error).__name__}: {first_line(error)}); {self.manual_help}"
                    ) from error
                found = self._find_prepared(folder, new=True)
        return found

    def _download(self, folder: pathlib.Path) -> None:
        """Downloads and prepares the dataset with TFDS, if its host can be reached."""
        size = f" ({mib:,.0f} MiB)" if (mib := self.official_download_size / 2**20) else ""
        try:
            # TFDS itself retries an unreachable host for minutes.
            socket.create_connection((self.host, 443), timeout=5).close()
        except OSError:
            raise UserError(
                f"{self.name} is not in {folder} and {self.host} cannot be reached to download "
                f"it{size}; {self.manual_help or 'use --data sample or --data-dir'}"
            ) from None
        import tensorflow_datasets as tfds

        try:
            name = f"{self.name}/{self.config}".rstrip("/")
            # Only what TFDS knows by size and SHA-256; its prepared copies have no checksums.
            pinned = tfds.download.DownloadConfig(
                force_checksums_validation=True, try_download_gcs=False
            )
            files.make_folder(folder)
            with files.lock(folder / self.name):
                if not self._find_prepared(folder):
                    builder = tfds.builder(name, data_dir=folder)
                    builder.download_and_prepare(download_config=pinned)
        except (UserError, RunError):
            raise
        except Exception as error:  # TFDS passes on errors of many types
            raise UserError(
                f"the download of {self.name} into {folder} failed: {first_line(error)}; "
                f"{self.manual_help or 'try again later, or use --data sample'}"
            ) from error


def check_kind(kind: str) -> None:
    """Refuses anything but the kinds of `Dataset.find`."""
    if kind not in ("real", "sample", "auto"):
        raise UserError(f"--data {kind}: expected real, sample or auto")
