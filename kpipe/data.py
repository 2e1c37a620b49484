"""Data: raw examples are prepared once, into memory-mapped arrays, and divided into splits."""

import dataclasses
import functools
import hashlib
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from . import disk, files, inputs
from .datasets import Augmentation, Dataset, Look, Source
from .datasets.splits import divide, part_of
from .errors import UserError
from .inputs import ArrayInput, Column, Input, LabelTargets

# Part of the fingerprint: raise it when the prepared arrays change.
PREPARATION_VERSION = 2
JPEG_VERSION = 2  # the same, of what is decoded from JPEG files


@dataclasses.dataclass(frozen=True)
class Split:
    """One split: rows of memory-mapped arrays.

    Attributes:
        column: The inputs of all examples; shared by the splits cut from it.
        labels: int32 (n_all,) or (n_all, num_labels), or float32 (n_all,).
        rows: int64 (n,), the rows that belong to this split.
        input: Kind of the inputs: images, texts or arrays.
        targets: Learning targets of an example.
        groups: int64 (n_all,), equal for examples that belong together, if kpipe divided them at
            random; else None.
        names: Function that returns a name of each of the n_all examples; None if not known.
    """

    column: Column
    labels: np.ndarray
    rows: np.ndarray
    input: Input = dataclasses.field(default_factory=ArrayInput)
    targets: LabelTargets = dataclasses.field(default_factory=LabelTargets)
    groups: np.ndarray | None = None
    names: Callable[[], Sequence[str]] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def inputs(self) -> np.ndarray:
        """The inputs of all examples, in the form that the network takes: (n_all, ...)."""
        return self.column.values

    def take(self, positions: np.ndarray, trim: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels at positions 0 to n - 1 of this split.

        Args:
            positions: int (m,).
            trim: Whether inputs of unequal length are padded to the longest of these examples;
                otherwise to the longest of all.
        """
        rows = self.rows[positions]
        return self.column.take(rows, trim), self.labels[rows]

    def take_pairs(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inputs at positions of this split, without noise, and their targets."""
        taken, labels = self.take(positions)
        return taken, self.targets.learned(taken, labels)

    def shortest_first(self) -> np.ndarray:
        """Positions in an order that needs little padding."""
        return self.column.shortest_first(self.rows)

    def at(self, positions: np.ndarray) -> "Split":
        """The split with only the examples at these positions, in this order."""
        return dataclasses.replace(self, rows=self.rows[positions])

    def part(self, fraction: float, seed: int) -> "Split":
        """A share of the split, see `datasets.splits.part_of`."""
        groups = None if self.groups is None else self.groups[self.rows]
        return self.at(part_of(self.labels[self.rows], fraction, seed, groups))

    def joined(self, other: "Split") -> "Split":
        """The examples of both."""
        if self.inputs is other.inputs:  # cut from one array
            rows = np.sort(np.concatenate([self.rows, other.rows]))
            return dataclasses.replace(self, rows=rows)
        column: Any = self.column
        labels = np.concatenate([self.labels[self.rows], other.labels[other.rows]])
        groups = None
        if self.groups is not None and other.groups is not None:
            groups = np.concatenate([self.groups[self.rows], other.groups[other.rows]])
        return dataclasses.replace(
            self,
            column=column.joined(self.rows, other.column, other.rows),
            labels=labels,
            rows=np.arange(len(labels)),
            groups=groups,
            names=None,
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
        read = tf.autograph.experimental.do_not_convert(read)  # see `training_batches`
        return starts.map(read, num_parallel_calls=2).prefetch(2)

    def gather(self, positions: tf.Tensor, trim: bool = True) -> tuple[tf.Tensor, tf.Tensor]:
        """`take` as a step of a tf.data pipeline."""
        dtypes = (self.inputs.dtype, self.labels.dtype)
        taken, labels = tf.numpy_function(lambda at: self.take(at, trim), [positions], dtypes)
        return (
            tf.ensure_shape(taken, (None, *self.column.row_shape)),
            tf.ensure_shape(labels, (None, *self.labels.shape[1:])),
        )


@dataclasses.dataclass(frozen=True)
class Data:
    """The prepared splits of one dataset, with their description."""

    name: str
    kind: str
    official: bool
    description: str
    fingerprint: str
    label_names: tuple[str, ...]
    input_shape: tuple[int, ...]
    augmentation: Augmentation
    splits: dict[str, Split]
    has_factors: bool = False  # whether labels are all factors that an image was generated from
    look: Look | None = None  # what was found in a user's own files

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(split):,} {name}" for name, split in self.splits.items())
        return f"Data {self.name} ({self.kind}): {sizes} examples of shape {self.input_shape}"

    def with_val_in_train(self) -> "Data":
        """The same data with train and val as one train split, and no val."""
        train = self.train if self.val is None else self.train.joined(self.val)
        return dataclasses.replace(self, splits={"train": train, "test": self.test})

    @property
    def input(self) -> Input:
        """Kind of the inputs, fitted to the train split (such as its vocabulary)."""
        return self.train.input

    @property
    def targets(self) -> LabelTargets:
        """Learning targets of an example."""
        return self.train.targets

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The word of each token id; () if inputs are not texts."""
        return getattr(self.input, "vocabulary", ())

    @property
    def sequence_length(self) -> int:
        """Number of tokens read of a text; 0 if inputs are not texts."""
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


def prepare(dataset: Dataset, source: Source, seed: int = 0, fraction: float = 1.0) -> Data:
    """Returns the dataset's arrays: prepared on first use, then memory-mapped from the cache.

    Args:
        dataset: The dataset.
        source: Where its examples come from, see `Dataset.find`.
        seed: Random seed of the val split, if it is taken from train.
        fraction: Share of the train split to keep, see `datasets.splits.part_of`; val and test
            remain the same.

    Raises:
        UserError: A split is missing, empty or too small, or an example, which is named, cannot be
            read.
    """
    if not {"train", "test"} <= set(source.examples) <= {"train", "val", "test"}:
        raise UserError(
            f"{source.description}: its splits are {', '.join(source.examples) or 'none'}; "
            "expected train, test and, unless it is taken from train, val"
        )
    for split, count in source.examples.items():
        if count < 1:
            raise UserError(
                f"{source.description}: the {split} split is empty; expected at least 1 example"
            )
    fingerprint = fingerprint_of(dataset, source)  # first: fails early on a bad embeddings path
    kind = inputs.of(dataset)
    folder = files.home() / "data" / _folder_name(dataset, source)

    def write(temporary: pathlib.Path) -> None:
        # Of texts, whose length is not known, only their number.
        size = np.dtype(getattr(kind, "dtype", "uint8")).itemsize * math.prod(dataset.input_shape)
        disk.require(folder, sum(source.examples.values()) * size, f"preparing {dataset.name}")
        for split in source.examples:
            kind.write(temporary, dataset.name, source, split)

    arrays = files.open_or_write(folder, lambda: _open(folder, source, kind), write)
    # Splits by time, or given by the user, are not compared with a division at random.
    at_random = source.groups and not source.times and "val" not in source.examples
    given = {
        split: _as_labels(dataset.select_label(labels), source)
        for split, (_, labels) in arrays.items()
    }
    if dataset.corrections:
        given = dataset.corrections.corrected(given, source, dataset.label_names)
    splits = {
        split: Split(
            column,
            given[split],
            np.arange(len(column)),
            groups=source.groups(split) if at_random and source.groups else None,
            names=functools.partial(source.names_of, split),
        )
        for split, (column, _) in arrays.items()
    }
    if dataset.val_fraction and "val" not in splits:
        parts = _cut_val(splits["train"], source, dataset.val_fraction, seed)
        splits = {**parts, "test": splits["test"]}
    if dataset.train_examples:
        splits["train"] = _take_some(splits["train"], dataset.train_examples, seed)
    if fraction < 1:
        splits["train"] = splits["train"].part(fraction, seed)
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
        has_factors=source.kind in dataset.kinds_with_factors,
        look=source.look,
    )


def divided_anew(
    data: Data, dataset: Dataset, pool: Split, rows: Mapping[str, np.ndarray], folder: pathlib.Path
) -> Data:
    """Returns data with other splits, without test; vocabularies and the like are fitted to them.

    Args:
        data: The prepared data.
        dataset: The dataset that they were prepared from.
        pool: The examples to divide, see `Data.with_val_in_train`.
        rows: Rows of `pool` by the name of the split; what is fitted, is fitted to "train".
        folder: Folder in which the fitted arrays are cached.
    """
    column: Any = pool.column.raw
    raw = dataclasses.replace(pool, column=column)
    splits = {name: dataclasses.replace(raw, rows=some) for name, some in rows.items()}
    fitted = _fit(dataset, inputs.of(dataset), folder / "inputs", splits)
    return dataclasses.replace(data, splits=fitted)


def _fit(
    dataset: Dataset, kind: Input, folder: pathlib.Path, splits: dict[str, Split]
) -> dict[str, Split]:
    """Adds to the splits what is fitted to the train split, such as a vocabulary."""
    train = splits["train"]
    # Splits that were taken from one array share it.
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
    """Converts integer labels to int32, float labels to float32; refuses others."""
    inputs.check_labels(labels, source)
    return labels.astype(np.float32 if labels.dtype.kind == "f" else np.int32)


def fingerprint_of(dataset: Dataset, source: Source) -> str:
    """Returns a hash of the prepared arrays, which changes with their content or preparation.

    Raises:
        UserError: The file of word vectors cannot be read.
    """
    parts = _raw_parts(dataset, source)
    if dataset.train_examples:
        parts.append(f"{dataset.train_examples} training examples")
    if dataset.corrections:
        parts.append(dataset.corrections.content)
    return _digest(parts + inputs.of(dataset).fingerprint_parts())


def _raw_parts(dataset: Dataset, source: Source) -> list[Any]:
    parts = [dataset.name, source.kind, source.identity, dataset.input_shape, PREPARATION_VERSION]
    return [*parts, f"JPEG {JPEG_VERSION}"] if source.has_jpeg else parts


def _digest(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _folder_name(dataset: Dataset, source: Source) -> str:
    """Names the folder of the written arrays; what is fitted to them later is stored elsewhere."""
    parts = _raw_parts(dataset, source) + inputs.of(dataset).written_parts()
    return f"{dataset.name}-{source.kind}-{_digest(parts)[:16]}"


def _open(folder: pathlib.Path, source: Source, kind: Input) -> dict[str, Any] | None:
    """Opens the prepared arrays; None if they are incomplete."""
    arrays = {
        split: (kind.open(folder, split), inputs.load_array(folder / f"{split}_labels.npy"))
        for split in source.examples
    }
    whole = all(
        len(column) == len(labels) == source.examples[split]
        for split, (column, labels) in arrays.items()
    )
    return arrays if whole else None


def _cut_val(train: Split, source: Source, fraction: float, seed: int) -> dict[str, Split]:
    """Takes val from train, see `datasets.splits.divide`."""
    groups = source.groups("train") if source.groups else None
    times = source.times("train") if source.times else None
    train_rows, val_rows = divide(train.labels, fraction, seed, groups, times)
    return {
        "train": dataclasses.replace(train, rows=train_rows),
        "val": dataclasses.replace(train, rows=val_rows),
    }


def _take_some(train: Split, count: int, seed: int) -> Split:
    """Takes `count` examples of train: the same for the same seed, stratified by class."""
    if count > len(train):
        raise UserError(
            f"train_examples={count}: the train split has only {len(train):,} examples; "
            "0 takes all of them"
        )
    if count == len(train):
        return train
    from sklearn.model_selection import train_test_split

    labels = train.labels[train.rows]
    # Only classes can be stratified.
    stratify = labels if labels.ndim == 1 and labels.dtype.kind == "i" else None
    try:
        rows, _ = train_test_split(
            train.rows, train_size=count, random_state=seed, stratify=stratify
        )
    except ValueError as error:  # a class with too few examples, or a part for too few classes
        raise UserError(
            f"train_examples={count}: {len(train):,} training examples cannot be divided with "
            f"every class in both parts: {error}; use more examples of each class"
        ) from None
    return dataclasses.replace(train, rows=np.sort(rows))


def count_shared(first: Split, second: Split) -> int:
    """Counts the inputs of `second` that also occur, value for value, in `first`."""
    known = first.column.digests(first.rows)
    return int(np.isin(second.column.digests(second.rows), known).sum())
