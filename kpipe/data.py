"""Data: raw examples are prepared once, into memory-mapped arrays, and cut into splits."""

import dataclasses
import hashlib
import json
import pathlib
import time

import numpy as np
import tensorflow as tf

from . import files
from .datasets import Augmentation, Dataset, Source
from .errors import UserError

SPLITS = ("train", "val", "test")
# Part of the fingerprint: raise it when the prepared arrays change.
PREPARATION_VERSION = 2


def decode_image(content: tf.Tensor, shape: tuple[int, int, int]) -> tf.Tensor:
    """Decodes one JPEG, PNG, BMP or GIF of any size to the model's uint8 `shape`.

    The one way from a file to pixels: preparation and the exported model both take it.

    Args:
        content: Scalar string, the encoded image.
        shape: (height, width, channels); 1 channel is grey, 3 are RGB.
    """
    image = tf.io.decode_image(content, channels=shape[2], expand_animations=False)
    return fit_image(image, shape)


def fit_image(image: tf.Tensor, shape: tuple[int, int, int]) -> tf.Tensor:
    """Cuts the central part of the shape's proportions and resizes it, with antialiasing.

    Args:
        image: uint8 (height, width, channels).
        shape: The model's (height, width, channels).
    """
    height, width = tf.shape(image)[0], tf.shape(image)[1]
    # The largest central box of the target's proportions.
    box_height = tf.minimum(height, tf.maximum(1, width * shape[0] // shape[1]))
    box_width = tf.minimum(width, tf.maximum(1, height * shape[1] // shape[0]))
    top, left = (height - box_height) // 2, (width - box_width) // 2
    image = image[top : top + box_height, left : left + box_width]

    def resized():
        pixels = tf.image.resize(image, shape[:2], method="bilinear", antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(pixels), 0, 255), tf.uint8)

    fits = tf.logical_and(tf.equal(box_height, shape[0]), tf.equal(box_width, shape[1]))
    return tf.ensure_shape(tf.cond(fits, lambda: image, resized), shape)


@dataclasses.dataclass(frozen=True)
class Split:
    """One split: rows of memory-mapped arrays.

    Attributes:
        inputs: uint8 (n_all, height, width, channels) or float32 (n_all, size), shared by the
            splits cut from it.
        labels: int32 (n_all,), or 0 and 1 (n_all, num_labels).
        rows: int64 (n,), the rows that belong to this split.
    """

    inputs: np.ndarray
    labels: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels at positions 0 to n - 1 of this split."""
        rows = self.rows[positions]
        return self.inputs[rows], self.labels[rows]

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """All examples once and in order, as (inputs, labels) batches; the last may be short."""
        starts = tf.data.Dataset.range(0, len(self), batch_size)
        gathered = starts.map(
            lambda start: self.gather(tf.range(start, tf.minimum(start + batch_size, len(self)))),
            num_parallel_calls=2,
        )
        return gathered.prefetch(2)

    def gather(self, positions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`take` as a step of a tf.data pipeline."""
        dtypes = (self.inputs.dtype, self.labels.dtype)
        inputs, labels = tf.numpy_function(self.take, [positions], dtypes)
        return (
            tf.ensure_shape(inputs, (None, *self.inputs.shape[1:])),
            tf.ensure_shape(labels, (None, *self.labels.shape[1:])),
        )


@dataclasses.dataclass(frozen=True)
class Data:
    """The prepared splits of one dataset, and what they are."""

    name: str
    kind: str
    official: bool
    description: str
    fingerprint: str
    label_names: tuple[str, ...]
    input_shape: tuple[int, ...]
    augmentation: Augmentation
    splits: dict[str, Split]

    def with_val_in_train(self) -> "Data":
        """The same data with train and val as one train split, and no val."""
        train, val = self.train, self.val
        if train.inputs is val.inputs:  # cut from one array
            both = dataclasses.replace(train, rows=np.sort(np.concatenate([train.rows, val.rows])))
        else:
            taken = [split.take(np.arange(len(split))) for split in (train, val)]
            inputs, labels = (np.concatenate(parts) for parts in zip(*taken, strict=True))
            both = Split(inputs, labels, np.arange(len(labels)))
        return dataclasses.replace(self, splits={"train": both, "test": self.test})

    @property
    def multilabel(self) -> bool:
        """Whether an example has several labels, each 0 or 1, instead of one class."""
        return self.train.labels.ndim == 2

    @property
    def examples(self) -> dict[str, int]:
        return {name: len(split) for name, split in self.splits.items()}

    @property
    def train(self) -> Split:
        return self.splits["train"]

    @property
    def val(self) -> Split | None:
        return self.splits.get("val")

    @property
    def test(self) -> Split:
        return self.splits["test"]


def prepare(dataset: Dataset, source: Source, seed: int = 0) -> Data:
    """The dataset's arrays, made on first use and memory-mapped from the cache afterwards.

    Args:
        dataset: What the examples are.
        source: Where they come from, see `Dataset.find`.
        seed: Chooses the rows of val, where it is cut from train.

    Raises:
        UserError: A split is empty or an image cannot be decoded; it is named.
    """
    for split, count in source.examples.items():
        if not count:
            raise UserError(f"{source.description}: 0 examples in its {split} split; need some")
    fingerprint = fingerprint_of(dataset, source)
    folder = files.home() / "data" / f"{dataset.name}-{source.kind}-{fingerprint[:16]}"
    arrays = _open(folder, source) or _write(folder, dataset, source)
    splits = {
        split: Split(inputs, dataset.select_label(labels).astype(np.int32), np.arange(len(labels)))
        for split, (inputs, labels) in arrays.items()
    }
    if dataset.val_fraction:
        splits = {**_cut_val(splits["train"], dataset.val_fraction, seed), "test": splits["test"]}
    return Data(
        name=dataset.name,
        kind=source.kind,
        official=source.official,
        description=source.description,
        fingerprint=fingerprint,
        label_names=dataset.label_names,
        input_shape=dataset.input_shape,
        augmentation=dataset.augmentation,
        splits=splits,
    )


def fingerprint_of(dataset: Dataset, source: Source) -> str:
    """Names the prepared arrays: another content or preparation has another name."""
    parts = [dataset.name, source.kind, source.identity, dataset.input_shape, PREPARATION_VERSION]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _open(folder: pathlib.Path, source: Source) -> dict | None:
    """The prepared arrays, or None when they are missing or not whole."""
    try:
        arrays = {
            split: tuple(
                np.load(folder / f"{split}_{part}.npy", mmap_mode="r", allow_pickle=False)
                for part in ("inputs", "labels")
            )
            for split in source.examples
        }
    except (OSError, ValueError):
        return None
    whole = all(
        len(inputs) == len(labels) == source.examples[split]
        for split, (inputs, labels) in arrays.items()
    )
    return arrays if whole else None


def _write(folder: pathlib.Path, dataset: Dataset, source: Source) -> dict:
    files.make_folder(folder.parent)
    files.remove_leftovers(folder.parent)
    with files.new_folder(folder) as temporary:
        for split in source.examples:
            _write_split(temporary, dataset, source, split)
    return _open(folder, source)


def _write_split(folder: pathlib.Path, dataset: Dataset, source: Source, split: str) -> None:
    count, shape = source.examples[split], dataset.input_shape

    def prepare_one(example):
        value = example["input"]
        if not dataset.is_image:
            value = tf.ensure_shape(tf.cast(value, tf.float32), shape)
        elif value.dtype == tf.string:
            value = decode_image(value, shape)
        else:
            value = fit_image(value, shape)
        return value, example["label"]

    examples = source.read(split)
    batches = examples.map(prepare_one, num_parallel_calls=tf.data.AUTOTUNE).batch(256).prefetch(2)
    inputs = np.lib.format.open_memmap(
        folder / f"{split}_inputs.npy",
        mode="w+",
        dtype=np.uint8 if dataset.is_image else np.float32,
        shape=(count, *shape),
    )
    labels, written, started = [], 0, time.monotonic()
    try:
        for input_batch, label_batch in batches.as_numpy_iterator():
            if written + len(input_batch) > count:
                raise UserError(f"{source.description}: {split} holds more than {count} examples")
            inputs[written : written + len(input_batch)] = input_batch
            labels.append(label_batch)
            written += len(input_batch)
            _report_progress(dataset.name, split, written, count, started)
    except tf.errors.OpError as error:
        raise _name_culprit(examples, prepare_one, error) from None
    if written < count:
        raise UserError(
            f"{source.description}: {split} holds {written} of {count} examples; prepare it again"
        )
    inputs.flush()
    np.save(folder / f"{split}_labels.npy", np.concatenate(labels))


def _report_progress(name: str, split: str, done: int, count: int, started: float) -> None:
    """A line every 10 % once the preparation takes more than a few seconds."""
    seconds = time.monotonic() - started
    if seconds > 5 and done * 10 // count != max(0, done - 256) * 10 // count:
        left = seconds / done * (count - done)
        print(f"preparing {name} {split}: {done:,} of {count:,}, {left:.0f} s left", flush=True)


def _name_culprit(examples: tf.data.Dataset, prepare_one, error: tf.errors.OpError) -> Exception:
    """tf.data does not say which file it failed on: reads again, one by one, and says so."""
    for example in examples:
        try:
            prepare_one(example)
        except tf.errors.OpError:
            name = example["name"].numpy().decode()
            missing = example["input"].dtype == tf.string and not len(example["input"].numpy())
            what = "is missing or empty" if missing else "is not an image that can be decoded"
            return UserError(f"{name} {what}; replace it, or take it out of the lists")
    return error


def _cut_val(train: Split, fraction: float, seed: int) -> dict[str, Split]:
    """Cuts val from train: the same rows for the same seed, stratified by class."""
    from sklearn.model_selection import train_test_split

    train_rows, val_rows = train_test_split(
        train.rows,
        test_size=fraction,
        random_state=seed,
        stratify=train.labels[train.rows] if train.labels.ndim == 1 else None,
    )
    return {
        "train": dataclasses.replace(train, rows=np.sort(train_rows)),
        "val": dataclasses.replace(train, rows=np.sort(val_rows)),
    }


def count_shared(first: Split, second: Split) -> int:
    """How many inputs of `second` stand byte for byte in `first` as well."""

    def digests(split: Split) -> list[bytes]:
        return [hashlib.blake2b(split.inputs[row], digest_size=16).digest() for row in split.rows]

    known = set(digests(first))
    return sum(digest in known for digest in digests(second))
