"""Data: raw examples are prepared once, into memory-mapped arrays, and cut into splits."""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from . import files, inputs
from .datasets import Augmentation, Dataset, Source
from .errors import UserError
from .inputs import ArrayInput, Column, Input, LabelTargets

SPLITS = ("train", "val", "test")
# Part of the fingerprint: raise it when the prepared arrays change.
PREPARATION_VERSION = 2


@dataclasses.dataclass(frozen=True)
class Split:
    """One split: rows of memory-mapped arrays.

    Attributes:
        column: The inputs of all examples; shared by the splits cut from it.
        labels: int32 (n_all,) or (n_all, num_labels), or float32 (n_all,).
        rows: int64 (n,), the rows that belong to this split.
        input: What the inputs are.
        targets: What is to be learned of an example.
    """

    column: Column
    labels: np.ndarray
    rows: np.ndarray
    input: Input = dataclasses.field(default_factory=ArrayInput)
    targets: LabelTargets = dataclasses.field(default_factory=LabelTargets)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def inputs(self) -> np.ndarray:
        """The inputs of all examples, as the network takes them: (n_all, ...)."""
        return self.column.values

    def take(self, positions: np.ndarray, trim: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels at positions 0 to n - 1 of this split.

        Args:
            positions: int (m,).
            trim: Whether inputs of unequal length are padded to the longest of these, or of all.
        """
        rows = self.rows[positions]
        return self.column.take(rows, trim), self.labels[rows]

    def take_pairs(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inputs at positions of this split, without noise, and what is to be learned of them."""
        taken, labels = self.take(positions)
        return taken, self.targets.learned(taken, labels)

    def shortest_first(self) -> np.ndarray:
        """Positions in an order that wastes no padding."""
        return self.column.shortest_first(self.rows)

    def at(self, positions: np.ndarray) -> "Split":
        """The split of some of the examples, or of all in another order."""
        return dataclasses.replace(self, rows=self.rows[positions])

    def joined(self, other: "Split") -> "Split":
        """The examples of both."""
        if self.inputs is other.inputs:  # cut from one array
            rows = np.sort(np.concatenate([self.rows, other.rows]))
            return dataclasses.replace(self, rows=rows)
        column: Any = self.column
        labels = np.concatenate([self.labels[self.rows], other.labels[other.rows]])
        return dataclasses.replace(
            self,
            column=column.joined(self.rows, other.column, other.rows),
            labels=labels,
            rows=np.arange(len(labels)),
        )

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """All examples once and in order, as (inputs, targets) batches; the last may be short.

        Noise is the same each time.
        """

        def read(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            end = tf.minimum(start + batch_size, len(self))
            taken, labels = self.gather(tf.range(start, end))
            return self.targets.inputs_and_targets(taken, labels, tf.stack([-1, start]))

        starts = tf.data.Dataset.range(0, len(self), batch_size)
        return starts.map(read, num_parallel_calls=2).prefetch(2)

    def gather(self, positions: tf.Tensor, trim: bool = True) -> tuple[tf.Tensor, tf.Tensor]:
        """`take` as a step of a tf.data pipeline."""
        dtypes = (self.inputs.dtype, self.labels.dtype)
        taken, labels = tf.numpy_function(lambda at: self.take(at, trim), [positions], dtypes)
        shape = self.inputs.shape[1:] if self.column.lengths is None else (None,)
        return (
            tf.ensure_shape(taken, (None, *shape)),
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
    has_factors: bool = False  # whether labels are all that an image was made of

    def with_val_in_train(self) -> "Data":
        """The same data with train and val as one train split, and no val."""
        train = self.train if self.val is None else self.train.joined(self.val)
        return dataclasses.replace(self, splits={"train": train, "test": self.test})

    @property
    def input(self) -> Input:
        """What the inputs are, with all that was learned of the train split."""
        return self.train.input

    @property
    def targets(self) -> LabelTargets:
        """What is to be learned of an example."""
        return self.train.targets

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The word of each token id; () where inputs are no texts."""
        return getattr(self.input, "vocabulary", ())

    @property
    def sequence_length(self) -> int:
        """Tokens of a text that are read; 0 where inputs are no texts."""
        return getattr(self.input, "length", 0)

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
        UserError: A split is empty or too small, or an example cannot be read; it is named.
    """
    for split, count in source.examples.items():
        if not count:
            raise UserError(f"{source.description}: 0 examples in its {split} split; need some")
    fingerprint = fingerprint_of(dataset, source)  # first: fails early on a bad embeddings path
    kind = inputs.of(dataset)
    folder = files.home() / "data" / _folder_name(dataset, source)
    arrays = _open(folder, source, kind) or _write(folder, dataset, source, kind)
    splits = {
        split: Split(
            column,
            _as_labels(dataset.select_label(labels), source),
            np.arange(len(labels)),
        )
        for split, (column, labels) in arrays.items()
    }
    if dataset.val_fraction:
        splits = {**_cut_val(splits["train"], dataset.val_fraction, seed), "test": splits["test"]}
    if dataset.train_examples:
        splits["train"] = _take_some(splits["train"], dataset.train_examples, seed)
    return Data(
        name=dataset.name,
        kind=source.kind,
        official=source.official,
        description=source.description,
        fingerprint=fingerprint,
        label_names=dataset.label_names,
        input_shape=dataset.input_shape,
        augmentation=dataset.augmentation,
        splits=_fit(dataset, kind, folder, splits),
        has_factors=source.kind in dataset.factors,
    )


def _fit(
    dataset: Dataset, kind: Input, folder: pathlib.Path, splits: dict[str, Split]
) -> dict[str, Split]:
    """The splits with all that is learned of the train split, such as a vocabulary."""
    train = splits["train"]
    # Splits that were cut from one array share it.
    names = {id(split.column): name for name, split in reversed(splits.items())}
    columns: Any = {name: splits[name].column for name in names.values()}
    fitted, columns = kind.fitted(folder, columns, train.rows)
    learned = inputs.targets_of(dataset).fitted(train.labels[train.rows])
    return {
        name: dataclasses.replace(
            split, column=columns[names[id(split.column)]], input=fitted, targets=learned
        )
        for name, split in splits.items()
    }


def _as_labels(labels: np.ndarray, source: Source) -> np.ndarray:
    """Integers as int32, numbers as float32.

    Raises:
        UserError: They are neither.
    """
    if labels.dtype.kind == "f":
        return labels.astype(np.float32)
    if labels.dtype.kind not in "biu":
        raise UserError(
            f"{source.description}: labels are {labels.dtype.name}; expected integers from 0, one "
            "for each name in label_names, or floats"
        )
    return labels.astype(np.int32)


def fingerprint_of(dataset: Dataset, source: Source) -> str:
    """Names the prepared arrays: another content or preparation has another name.

    Raises:
        UserError: The file of word vectors cannot be read.
    """
    parts = _raw_parts(dataset, source)
    if dataset.train_examples:
        parts.append(f"{dataset.train_examples} training examples")
    return _digest(parts + inputs.of(dataset).fingerprint_parts())


def _raw_parts(dataset: Dataset, source: Source) -> list[Any]:
    return [dataset.name, source.kind, source.identity, dataset.input_shape, PREPARATION_VERSION]


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _folder_name(dataset: Dataset, source: Source) -> str:
    """Of what is written: whatever is learned of it afterwards has a place of its own."""
    parts = _raw_parts(dataset, source) + inputs.of(dataset).written_parts()
    return f"{dataset.name}-{source.kind}-{_digest(parts)[:16]}"


def _open(folder: pathlib.Path, source: Source, kind: Input) -> dict[str, Any] | None:
    """The prepared arrays, or None when they are missing or not whole."""
    try:
        arrays = {
            split: (kind.open(folder, split), inputs.load_array(folder / f"{split}_labels.npy"))
            for split in source.examples
        }
    except (OSError, ValueError):
        return None
    whole = all(
        len(column) == len(labels) == source.examples[split]
        for split, (column, labels) in arrays.items()
    )
    return arrays if whole else None


def _write(folder: pathlib.Path, dataset: Dataset, source: Source, kind: Input) -> dict[str, Any]:
    files.make_folder(folder.parent)
    with files.lock(folder):
        arrays = _open(folder, source, kind)  # another process may have written them
        if arrays is None:
            files.remove_leftovers(folder.parent, folder.name[:80])
            with files.new_folder(folder) as temporary:
                for split in source.examples:
                    kind.write(temporary, dataset.name, source, split)
            arrays = _open(folder, source, kind)
    if arrays is None:
        raise UserError(f"{folder}: what was just written cannot be read; is the disk full?")
    return arrays


def _cut_val(train: Split, fraction: float, seed: int) -> dict[str, Split]:
    """Cuts val from train: the same rows for the same seed, stratified by class."""
    train_rows, val_rows = _cut(train, seed, test_size=fraction)
    return {
        "train": dataclasses.replace(train, rows=train_rows),
        "val": dataclasses.replace(train, rows=val_rows),
    }


def _take_some(train: Split, count: int, seed: int) -> Split:
    """So many examples of train: the same for the same seed, stratified by class."""
    if count > len(train):
        raise UserError(
            f"train_examples={count}: the train split has {len(train):,}; 0 takes all of them"
        )
    if count == len(train):
        return train
    rows, _ = _cut(train, seed, train_size=count)
    return dataclasses.replace(train, rows=rows)


def _cut(split: Split, seed: int, **sizes: float) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import train_test_split

    labels = split.labels[split.rows]
    # Only classes can be in both parts alike.
    stratify = labels if labels.ndim == 1 and labels.dtype.kind == "i" else None
    try:
        parts = train_test_split(split.rows, random_state=seed, stratify=stratify, **sizes)
    except ValueError as error:  # a class with too few examples, or a part for too few classes
        wanted = ", ".join(f"{name}={size}" for name, size in sizes.items())
        raise UserError(
            f"{len(split):,} training examples cannot be cut with every class in both parts "
            f"({wanted}): {error}; take more examples of each"
        ) from None
    return np.sort(parts[0]), np.sort(parts[1])


def count_shared(first: Split, second: Split) -> int:
    """How many inputs of `second` also occur, byte for byte, in `first`."""

    def digests(split: Split) -> list[bytes]:
        return [
            hashlib.blake2b(split.column.content(row), digest_size=16).digest()
            for row in split.rows
        ]

    known = set(digests(first))
    return sum(digest in known for digest in digests(second))
