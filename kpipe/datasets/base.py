"""A dataset, the sources it can come from, and how to find one."""

import dataclasses
import hashlib
import inspect
import json
import os
import pathlib
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import files
from ..errors import UserError, first_line

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf
    import tensorflow_datasets as tfds


@dataclasses.dataclass(frozen=True)
class Source:
    """Raw examples that were found but not read yet.

    Attributes:
        kind: "real" or "sample".
        description: Description for people.
        identity: String that changes when the examples do.
        examples: Number of examples in each split.
        official: Whether sizes agree with those that the dataset declares.
        read: Function from a split's name to a tf.data.Dataset of dicts with `name` (string: file
            or index), `input` (an encoded image, uint8 (height, width, channels), a float32 vector,
            or a text as UTF-8) and `label` (int, or one 0 or 1 per label).
    """

    kind: str
    description: str
    identity: str
    examples: Mapping[str, int]
    official: bool
    read: Callable[[str], "tf.data.Dataset"]


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random changes of a training example, an image or a text, that keep its label valid.

    Attributes:
        flip: Mirror half of the images left to right.
        shift: Largest shift in pixels, in both directions; edges are reflected.
        rotate: Largest rotation in degrees, in both directions; edges are reflected.
        zoom: Largest change of scale, as a fraction: 0.2 is from 0.8 to 1.2.
        brightness: Largest change of brightness, as a fraction of full white.
        contrast: Largest change of the distance from the image's mean, as a fraction.
        saturation: Largest change of the distance from grey, as a fraction.
        erase: Side of a square that is set to grey, as a fraction of the image's (DeVries and
            Taylor, 2017).
        drop_words: Share of a text's words that become the unknown word (Iyyer et al., 2015).
    """

    flip: bool = False
    shift: int = 0
    rotate: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    erase: float = 0.0
    drop_words: float = 0.0


@dataclasses.dataclass(frozen=True)
class Vectorization:
    """How texts become token ids; the vocabulary comes from the train split only.

    Attributes:
        vocabulary_size: Maximum number of token ids: padding (0), the unknown word (1) and the most
            frequent words of train.
        max_length: Maximum number of tokens kept of a text, from its start; fewer if 99 % of the
            train texts are shorter.
        embeddings: GloVe or word2vec text file whose vectors initialize the embedding, or "".
    """

    vocabulary_size: int = 20_000
    max_length: int = 256
    embeddings: str = ""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset of inputs with labels, and all places where it can be found.

    Attributes:
        name: The TFDS name.
        version: The TFDS version whose sizes are declared here.
        input_shape: (height, width, channels) of the prepared uint8 images, (size,) of float32
            vectors, or () of texts.
        label_names: One name per class; with several labels an example, one per label.
        official_examples: Number of examples per split, as recorded by TFDS.
        official_download_size: Download size in bytes, as recorded by TFDS.
        host: Host of the download.
        make_sample: Function that makes the small synthetic dataset.
        find_manual: Function that looks for the user's own files in a data folder.
        make_builder: For data that TFDS does not have: function from a data folder and the folder
            of the user's own files to a TFDS builder.
        manual_files: Files that this builder needs, below the data folder's `downloads/manual`.
        fixed: The source, if it is always the same, such as a truth table.
        tfds_splits: Maps our split names to those of TFDS, or to parts of them: "train[:50000]".
        config: The TFDS configuration, if the dataset has several.
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
            full white; the targets stay clean.
        input_dtype: Type of inputs that are used unchanged: "float32", "int32", "bool" ... By
            default inputs of three dimensions are uint8 images, and others float32.
        factors: Kinds of source, "real" or "sample", whose labels are all factors that an image was
            generated from, so that disentanglement can be measured.
        manual_help: How to get the data if they cannot be downloaded.
    """

    name: str
    version: str
    input_shape: tuple[int, ...]
    label_names: tuple[str, ...]
    official_examples: Mapping[str, int]
    official_download_size: int
    host: str
    make_sample: Callable[[], Source]
    tfds_splits: Mapping[str, str]
    config: str = ""
    input: Callable[[Mapping[str, "tf.Tensor"]], "tf.Tensor"] = lambda example: example["image"]
    label: Callable[[Mapping[str, "tf.Tensor"]], "tf.Tensor"] = lambda example: example["label"]
    select_label: Callable[["np.ndarray"], "np.ndarray"] = lambda labels: labels
    find_manual: Callable[[pathlib.Path], Source | None] = lambda folder: None
    make_builder: (
        Callable[[pathlib.Path, pathlib.Path], "tfds.core.GeneratorBasedBuilder"] | None
    ) = None
    manual_files: tuple[str, ...] = ()
    fixed: Source | None = None
    val_fraction: float = 0.0
    train_examples: int = 0
    augmentation: Augmentation = Augmentation()
    vectorization: Vectorization | None = None
    targets: str = "labels"
    noise: float = 0.0
    input_dtype: str = ""
    factors: tuple[str, ...] = ()
    manual_help: str = ""

    def augmented(self, **changes: Any) -> "Dataset":
        """Returns the same dataset with random changes of its training examples.

        Args:
            changes: Attributes of `Augmentation`.

        Example:
            datasets.cifar10().augmented(flip=True, shift=4)
        """
        return dataclasses.replace(
            self, augmentation=dataclasses.replace(self.augmentation, **changes)
        )

    def as_autoencoder_data(self, noise: float = 0.0) -> "Dataset":
        """Returns the same dataset with its inputs as reconstruction targets.

        Args:
            noise: Standard deviation of the noise on the input, 0 to 1, see the attribute `noise`.

        Raises:
            ValueError: `noise` is out of range.

        Example:
            datasets.cifar10(grey=True).as_autoencoder_data(noise=0.1)
        """
        if not 0 <= noise <= 1:
            raise ValueError(f"{self.name} with noise={noise}: expected noise from 0 to 1")
        return dataclasses.replace(self, targets="inputs", noise=noise)

    def with_scaled_targets(self) -> "Dataset":
        """Returns the same dataset with targets scaled to mean 0 and standard deviation 1.

        Mean and deviation are those of the train split only. Metrics, figures and the export are in
        the unit of the labels.

        Example:
            datasets.diabetes().with_scaled_targets()
        """
        return dataclasses.replace(self, targets="scaled labels")

    def find(self, kind: str = "auto", data_dir: str | os.PathLike[str] | None = None) -> Source:
        """Finds the source of the requested kind.

        Args:
            kind: "real", downloaded if missing; "sample", small synthetic data; or "auto", real
                data if found on disk, else the sample.
            data_dir: Folder of the TFDS datasets; by default `default_data_dir()`.

        Raises:
            UserError: Real data are requested, not on disk, and cannot be downloaded.
        """
        if self.fixed:
            return self.fixed
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
        if kind == "auto":
            return self.make_sample()
        if self.make_builder:
            raise UserError(f"{self.name} is not in {folder}; {self.manual_help}")
        self._download(folder)
        downloaded = self._find_prepared(folder)
        if downloaded is None:
            raise UserError(
                f"TFDS prepared {self.name}, but not in {folder / self.name / self.config}; "
                f"kpipe expects version {self.version}: install a TFDS that has it"
            )
        return downloaded

    def _find_prepared(self, folder: pathlib.Path) -> Source | None:
        """Finds data prepared by TFDS in `folder`, and reads their sizes without importing TFDS."""
        versions = sorted(
            (folder / self.name / self.config).glob("*/dataset_info.json"), key=_version_key
        )
        if not versions:
            return None
        path = versions[-1]
        parts = {ours: _parse_slice(theirs) for ours, theirs in self.tfds_splits.items()}
        try:
            content = path.read_bytes()
            info = json.loads(content)
            examples = {
                ours: len(range(sum(map(int, split["shardLengths"])))[part])
                for ours, (name, part) in parts.items()
                for split in info["splits"]
                if split["name"] == name
            }
            download_size = int(info.get("downloadSize", 0))
            # Our own builders record there whether the files are the original ones.
            metadata = path.with_name("metadata.json")
            noted = json.loads(metadata.read_bytes()) if metadata.is_file() else {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}: not a readable dataset_info.json ({error}); prepare {self.name} again"
            ) from None
        official = examples == self.official_examples and noted.get(
            "official", download_size == self.official_download_size
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
        features = builder.info.features or {}
        examples = builder.as_dataset(
            split=self.tfds_splits[split],
            decoders={"image": tfds.decode.SkipDecoding()} if "image" in features else None,
            shuffle_files=False,
        )
        return examples.enumerate().map(
            lambda i, example: {
                "name": tf.strings.join([f"{folder} {split} example ", tf.strings.as_string(i)]),
                "input": self.input(example),
                "label": self.label(example),
            }
        )

    def _build_manual(self, folder: pathlib.Path) -> Source | None:
        """Prepares the user's own files with our TFDS builder; None if there are none."""
        manual = folder / "downloads" / "manual"
        missing = [name for name in self.manual_files if not (manual / name).exists()]
        if self.make_builder is None or len(missing) == len(self.manual_files):
            return None
        if missing:
            raise UserError(f"{manual / missing[0]} is missing; {self.manual_help}")
        import tensorflow_datasets as tfds

        print(f"preparing {self.name} from {manual}", flush=True)
        tfds.disable_progress_bar()
        self.make_builder(folder, manual).download_and_prepare()
        return self._find_prepared(folder)

    def _download(self, folder: pathlib.Path) -> None:
        """Downloads and prepares the dataset with TFDS, if its host can be reached."""
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
            name = f"{self.name}/{self.config}".rstrip("/")
            tfds.builder(name, data_dir=folder).download_and_prepare()
        except Exception as error:  # TFDS passes on errors of many types
            raise UserError(
                f"the download of {self.name} into {folder} failed: "
                f"{first_line(error)}; "
                f"{self.manual_help or 'try again later, or use --data sample'}"
            ) from error


def default_data_dir() -> pathlib.Path:
    """Returns $TFDS_DATA_DIR, by default ~/tensorflow_datasets; without a home, in $KPIPE_HOME."""
    try:
        return pathlib.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    except RuntimeError:  # no HOME and an unknown user id, as in a container
        return files.home() / "tensorflow_datasets"


def from_arrays(
    name: str, inputs: "np.ndarray | Sequence[str]", labels: "np.ndarray"
) -> "tf.data.Dataset":
    """Makes the result of `Source.read` from arrays in memory; example i is named "`name` i"."""
    import tensorflow as tf

    names = [f"{name} {i}" for i in range(len(labels))]
    return tf.data.Dataset.from_tensor_slices({"name": names, "input": inputs, "label": labels})


def generated(
    generate: Callable[..., tuple["np.ndarray | Sequence[str]", "np.ndarray"]],
    examples: Mapping[str, int],
    what: str,
) -> Source:
    """Returns the source of a sample generated in memory; each split has its own seed.

    Args:
        generate: Function from (count, seed=) to inputs and labels.
        examples: Number of examples in each split.
        what: Noun for the examples, such as "reviews".
    """
    module = generate.__module__.rpartition(".")[2]
    description = f"{sum(examples.values()):,} {what} generated by {module}.{generate.__name__}"

    def read(split: str) -> "tf.data.Dataset":
        seed = list(examples).index(split)
        return from_arrays(f"{description}: {split}", *generate(examples[split], seed=seed))

    return Source(
        kind="sample",
        description=description,
        # The examples change with the code.
        identity=files.sha256(pathlib.Path(inspect.getfile(generate))),
        examples=examples,
        official=False,
        read=read,
    )


def _parse_slice(split: str) -> tuple[str, slice]:
    """Parses the name and the part of a split such as "train", "train[:90]" or "train[90:95]"."""
    name, _, bounds = split.rstrip("]").partition("[")
    start, _, stop = bounds.partition(":")
    return name, slice(int(start or 0), int(stop) if stop else None)


def _version_key(path: pathlib.Path) -> list[int]:
    return [int(part) if part.isdigit() else -1 for part in path.parent.name.split(".")]
