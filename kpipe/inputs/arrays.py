"""Arrays: vectors and other numbers of one shape, which a network takes as they are."""

import csv
import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ..datasets import Augmentation, Source
from ..errors import UserError

PROOF_BATCHES = (1, 7, 64)

Serve = Callable[[tf.Tensor], dict[str, tf.Tensor]]
Endpoints = dict[str, tuple[Serve, tf.TensorSpec]]


class Given(NamedTuple):
    """What an endpoint is given in a proof, and what the network takes in its place.

    Attributes:
        endpoint: A signature of the SavedModel.
        argument: The name of what it takes.
        values: An array, or a list of bytes.
        inputs: The same as the network takes it.
        batches: Sizes of the batches in which it is replayed.
        about: What it is, for people; "" for what is ordinary.
    """

    endpoint: str
    argument: str
    values: np.ndarray | list[bytes]
    inputs: np.ndarray
    batches: tuple[int, ...] = PROOF_BATCHES
    about: str = ""


@dataclasses.dataclass(frozen=True)
class Rows:
    """Inputs of one shape, a row an example.

    Attributes:
        values: (n, ...), as the network takes them; memory-mapped where they come from the cache.
        lengths: None: all are equally long.
    """

    values: np.ndarray
    lengths: None = None

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: np.ndarray, trim: bool = True) -> np.ndarray:
        """The inputs of some rows."""
        return self.values[rows]

    def content(self, row: int) -> bytes:
        """What is compared when duplicates are counted."""
        return np.ascontiguousarray(self.values[row]).tobytes()

    def shortest_first(self, rows: np.ndarray) -> np.ndarray:
        """An order of the positions of `rows` that wastes no padding."""
        return np.arange(len(rows))

    def joined(self, rows: np.ndarray, other: "Rows", other_rows: np.ndarray) -> "Rows":
        """Some rows of this one, then some of another."""
        return Rows(np.concatenate([self.take(rows), other.take(other_rows)]))

    @property
    def files(self) -> list[pathlib.Path]:
        """The files that hold the values, for the proof."""
        return [pathlib.Path(self.values.filename)]  # type: ignore[attr-defined]


@dataclasses.dataclass(frozen=True)
class ArrayInput:
    """Numbers of one shape.

    Attributes:
        shape: Of one example.
        dtype: "float32", or what `Dataset.input_dtype` says.
    """

    shape: tuple[int, ...] = ()
    dtype: str = "float32"

    # Of what an endpoint takes, where the model's input has no name of its own.
    name: ClassVar[str] = "features"
    usage: ClassVar[str] = "ROWS.csv"  # what `kpipe predict` is given

    def prepare_one(self, value: tf.Tensor) -> tf.Tensor:
        """An example from the source as the network takes it."""
        return tf.ensure_shape(tf.cast(value, self.dtype), self.shape)

    def write(self, folder: pathlib.Path, dataset_name: str, source: Source, split: str) -> None:
        """Writes `SPLIT_inputs.npy` and `SPLIT_labels.npy`.

        Raises:
            UserError: An example is not what it should be; it is named.
        """
        write_rows(self, folder, dataset_name, source, split)

    def check_values(self, values: np.ndarray, names: Callable[[int], str]) -> None:
        """Refuses what is no number; `names` says which example a position is."""
        bad = ~np.isfinite(values.astype(np.float64)).reshape(len(values), -1).all(axis=1)
        if bad.any():
            raise UserError(
                f"{names(int(bad.argmax()))} contains a value that is NaN or infinite "
                f"({int(bad.sum())} such examples here); replace it or leave the example out"
            )

    def explain(self, example: Mapping[str, tf.Tensor]) -> str:
        """Why `prepare_one` refused an example."""
        shape = tuple(example["input"].shape)
        return f"has shape {shape}; expected {self.shape} numbers"

    def open(self, folder: pathlib.Path, split: str) -> Rows:
        return Rows(load_array(folder / f"{split}_inputs.npy"))

    def fitted(
        self, folder: pathlib.Path, columns: Mapping[str, Rows], train_rows: np.ndarray
    ) -> "tuple[ArrayInput, Mapping[str, Rows]]":
        """Nothing is learned from the train split."""
        return self, columns

    def fingerprint_parts(self) -> list[Any]:
        """What of the preparation changes the arrays, beside shape and source."""
        return [] if self.dtype == "float32" else [self.dtype]

    def written_parts(self) -> list[Any]:
        """The part of these that changes what `write` writes."""
        return self.fingerprint_parts()

    def augment(self, inputs: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor) -> tf.Tensor:
        """Numbers are not changed."""
        return inputs

    def initialize(self, model: keras.Model) -> dict[str, Any]:
        """Gives a new model the start that the dataset names; what a record says about it."""
        return {}

    def describe(self, column: Rows, rows: np.ndarray) -> dict[str, Any]:
        """What a record says about the inputs."""
        return {}

    def facts(self, about: Mapping[str, Any]) -> list[tuple[str, str]]:
        """What a report says about the inputs.

        Args:
            about: See `describe` and `initialize`.
        """
        return []

    def endpoints(self, serve: Serve, spec: tf.TensorSpec) -> tuple[Endpoints, list[Any]]:
        """The signatures that take inputs, and what the export must track beside the model.

        Args:
            serve: From what the network takes to the outputs.
            spec: Of what the network takes.
        """
        return {"serving_default": (serve, spec)}, []

    @property
    def assets(self) -> dict[str, Sequence[str]]:
        """Lists of words that are written beside the graph, for people."""
        return {}

    def golden(self, column: Rows, rows: np.ndarray, argument: str) -> list[Given]:
        """Inputs that the export is to be proven with.

        Args:
            column: Of val.
            rows: 64 of its rows.
            argument: Name of the model's input.
        """
        values = column.take(rows)
        return [Given("serving_default", argument, values, values)]


def load_array(path: pathlib.Path) -> np.ndarray:
    """A memory-mapped array."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def write_rows(
    kind: Any, folder: pathlib.Path, dataset_name: str, source: Source, split: str
) -> None:
    """Writes the arrays of a split, example by example, through memory-mapped files."""
    count = source.examples[split]
    examples = source.read(split)

    def prepare(example: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        return kind.prepare_one(example["input"]), example["label"]

    inputs = np.lib.format.open_memmap(
        folder / f"{split}_inputs.npy", mode="w+", dtype=kind.dtype, shape=(count, *kind.shape)
    )
    labels, written, started = [], 0, time.monotonic()

    def name(position: int) -> str:
        example = next(iter(examples.skip(written + position).take(1)))
        return example["name"].numpy().decode()

    try:
        prepared = examples.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
        for input_batch, label_batch in prepared.batch(256).prefetch(2).as_numpy_iterator():
            if written + len(input_batch) > count:
                raise UserError(f"{source.description}: {split} holds more than {count} examples")
            kind.check_values(input_batch, name)
            inputs[written : written + len(input_batch)] = input_batch
            labels.append(label_batch)
            written += len(input_batch)
            _report_progress(dataset_name, split, written, count, started)
    except (tf.errors.OpError, ValueError) as error:
        raise _name_culprit(examples, kind, prepare, error) from None
    if written < count:
        raise incomplete(source, split, written)
    inputs.flush()
    np.save(folder / f"{split}_labels.npy", np.concatenate(labels))


def incomplete(source: Source, split: str, written: int) -> UserError:
    return UserError(
        f"{source.description}: {split} holds {written} of {source.examples[split]} examples; "
        "prepare it again"
    )


def _report_progress(name: str, split: str, done: int, count: int, started: float) -> None:
    """A line every 10 % once the preparation takes more than a few seconds."""
    seconds = time.monotonic() - started
    if seconds > 5 and done * 10 // count != max(0, done - 256) * 10 // count:
        left = seconds / done * (count - done)
        print(f"preparing {name} {split}: {done:,} of {count:,}, {left:.0f} s left", flush=True)


def _name_culprit(
    examples: tf.data.Dataset, kind: Any, prepare: Callable, error: Exception
) -> Exception:
    """tf.data does not say which example it failed on: reads again, one by one, and says so."""
    for example in examples:
        try:
            prepare(example)
        except (tf.errors.OpError, ValueError):
            return UserError(f"{example['name'].numpy().decode()} {kind.explain(example)}")
    return error


def read_table(path: pathlib.Path, spec: tf.TensorSpec) -> np.ndarray:
    """The rows of a CSV file of numbers, or of a NumPy file, as a model takes them.

    Args:
        path: `.npy`, or text with a row an example; a first line of names is skipped.
        spec: Of the model's input.

    Raises:
        UserError: The file cannot be read, or a row is not what the model takes; it is named.
    """
    expected = f"{' × '.join(map(str, spec.shape[1:])) or '1'} numbers a row"
    try:
        if path.suffix == ".npy":
            values = np.load(path, allow_pickle=False)
        else:
            with open(path, newline="", encoding="utf-8-sig") as file:
                values = np.array(list(_numbers(csv.reader(file), path, spec.shape[1])))
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected {expected}") from None
    if values.shape[1:] != tuple(spec.shape[1:]):
        raise UserError(f"{path}: shape {values.shape}; expected {expected}")
    return values.astype(spec.dtype.as_numpy_dtype)


def _numbers(
    rows: Iterator[Sequence[str]], path: pathlib.Path, width: int | None
) -> Iterator[list[float]]:
    for line, row in enumerate(rows, start=1):
        try:
            numbers = [float(cell) for cell in row]
        except ValueError:
            if line == 1:  # names of the columns
                continue
            raise UserError(f"{path}:{line}: not a number in {','.join(row)!r}") from None
        if width is not None and len(numbers) != width:
            raise UserError(f"{path}:{line}: {len(numbers)} numbers; expected {width}")
        yield numbers


def check_array(values: Any, spec: tf.TensorSpec) -> np.ndarray:
    """Inputs as an array of the very dtype and shape.

    Raises:
        ValueError: They have others, or a number is not finite.
    """
    values = np.asarray(values)
    if values.dtype != spec.dtype.as_numpy_dtype or values.shape[1:] != tuple(spec.shape[1:]):
        expected = f"{spec.dtype.name} (n, {', '.join(map(str, spec.shape[1:]))})"
        raise ValueError(
            f"{spec.name} are {values.dtype} {values.shape}; expected {expected}"
            f"{' with values 0 to 255' * (spec.dtype == tf.uint8)}"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise ValueError(f"{spec.name}[{row}] contains NaN or infinity; expected numbers")
    return values
