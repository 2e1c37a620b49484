"""Arrays: vectors and other numbers of fixed shape, passed to the network unchanged."""

import dataclasses
import hashlib
import pathlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from .. import files
from ..datasets import Augmentation, Source
from ..errors import UserError
from .refusals import check_labels, incomplete, unreadable_source, unusable_examples
from .rows_on_disk import Joined, blocks, take_rows

PROOF_BATCHES = (1, 7, 64)

Serve = Callable[[Any], dict[str, tf.Tensor]]
# A dict of specs is one argument of the function, and several of the signature.
Endpoints = dict[str, tuple[Serve, tf.TensorSpec | dict[str, tf.TensorSpec]]]


class Given(NamedTuple):
    """Inputs of an endpoint in a proof, and the corresponding inputs of the network.

    Attributes:
        endpoint: A signature of the SavedModel.
        argument: Name of the endpoint's argument; not used if `values` are named.
        values: Inputs of the endpoint: an array, a list of bytes, or several of these by name.
        inputs: The same inputs in the form that the network takes.
        batches: Sizes of the batches in which they are replayed.
        about: Description of unusual inputs, for people; "" for ordinary ones.
    """

    endpoint: str
    argument: str
    values: np.ndarray | list[bytes] | dict[str, Any]
    inputs: np.ndarray
    batches: tuple[int, ...] = PROOF_BATCHES
    about: str = ""

    @property
    def named(self) -> dict[str, Any]:
        """The endpoint's inputs by argument."""
        return self.values if isinstance(self.values, dict) else {self.argument: self.values}


@dataclasses.dataclass(frozen=True)
class Rows:
    """Inputs of one shape, one row per example.

    Attributes:
        values: (n, ...), in the form that the network takes; memory-mapped if from the cache.
        lengths: None, because all rows have the same length.
    """

    values: np.ndarray
    lengths: None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        """Shape of one input in a batch."""
        return self.values.shape[1:]

    @property
    def raw(self) -> "Rows":
        """What an `Input` is fitted to: the same rows."""
        return self

    def take(self, rows: np.ndarray, trim: bool = True) -> np.ndarray:
        """Returns the inputs of some rows."""
        return take_rows(self.values, rows)

    def digests(self, rows: np.ndarray) -> np.ndarray:
        """Returns a hash of each of some rows, uint64, with which duplicates are counted."""
        parts = blocks(self.values, rows)
        return digests(np.ascontiguousarray(row).tobytes() for part in parts for row in part)

    def shortest_first(self, rows: np.ndarray) -> np.ndarray:
        """Returns an order of the positions of `rows` that needs little padding."""
        return np.arange(len(rows))

    def joined(self, rows: np.ndarray, other: "Rows", other_rows: np.ndarray) -> "Rows":
        """Concatenates some rows of this column and some of another."""
        return Rows(Joined((self.values, rows), (other.values, other_rows)))  # type: ignore[arg-type]

    @property
    def files(self) -> list[pathlib.Path]:
        """The files that contain the values, for the proof."""
        return [pathlib.Path(self.values.filename)]  # type: ignore[attr-defined]


@dataclasses.dataclass(frozen=True)
class ArrayInput:
    """Inputs that are arrays of fixed shape.

    Attributes:
        shape: Shape of one example.
        dtype: "float32", or `Dataset.input_dtype`.
    """

    shape: tuple[int, ...] = ()
    dtype: str = "float32"

    # Name of an endpoint's argument, if the model's input has no name.
    name: ClassVar[str] = "features"
    usage: ClassVar[str] = "ROWS.csv"  # arguments of `kpipe predict`

    def prepare_one(self, value: tf.Tensor) -> tf.Tensor:
        """Converts an example of the source to the form that the network takes.

        Raises:
            tf.errors.OpError: It has another shape, or numbers that a whole type does not have.
        """
        converted = tf.cast(value, self.dtype)
        if not converted.dtype.is_floating and value.dtype != converted.dtype:
            same = tf.reduce_all(tf.cast(converted, value.dtype) == value)  # NaN is not
            with tf.control_dependencies([tf.debugging.Assert(same, [self.dtype])]):
                converted = tf.identity(converted)
        return tf.ensure_shape(converted, self.shape)

    def write(self, folder: pathlib.Path, dataset_name: str, source: Source, split: str) -> None:
        """Writes `SPLIT_inputs.npy` and `SPLIT_labels.npy`, example by example.

        Raises:
            UserError: An example is invalid; the message names it.
        """
        count = source.examples[split]
        examples = source.read(split)

        def prepare(example: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
            return self.prepare_one(example["input"]), example["label"]

        inputs = files.new_array(
            folder / f"{split}_inputs.npy", dtype=self.dtype, shape=(count, *self.shape)
        )
        labels, written, started = [], 0, time.monotonic()

        def name(position: int) -> str:
            example = next(iter(examples.skip(written + position).take(1)))
            return example["name"].numpy().decode()

        try:
            prepared = examples.map(prepare, num_parallel_calls=tf.data.AUTOTUNE)
            for input_batch, label_batch in prepared.batch(256).prefetch(2).as_numpy_iterator():
                if written + len(input_batch) > count:
                    raise UserError(
                        f"{source.description}: {split} contains more than {count} examples; "
                        "prepare it again"
                    )
                self.check_values(input_batch, name)
                inputs[written : written + len(input_batch)] = input_batch
                labels.append(label_batch)
                written += len(input_batch)
                report_progress(dataset_name, split, written, count, started, len(input_batch))
        except (tf.errors.OpError, ValueError) as error:
            raise self._name_culprit(source, split, examples, prepare, error) from None
        if written < count:
            raise incomplete(source, split, written)
        inputs.flush()
        joined = np.concatenate(labels)
        check_labels(joined, source)
        np.save(folder / f"{split}_labels.npy", joined)

    def _name_culprit(
        self,
        source: Source,
        split: str,
        examples: tf.data.Dataset,
        prepare: Callable,
        error: Exception,
    ) -> UserError:
        """Finds the examples that failed, which tf.data does not report, by reading one by one."""
        found: dict[str, list[str]] = {}  # names by reason
        try:
            for example in examples:
                try:
                    prepare(example)
                except (tf.errors.OpError, ValueError):
                    name = example["name"].numpy().decode(errors="replace")
                    found.setdefault(self.explain(example), []).append(name)
        except (tf.errors.OpError, ValueError) as other:
            error = other
        return unusable_examples(found) if found else unreadable_source(source, split, error)

    def check_values(self, values: np.ndarray, names: Callable[[int], str]) -> None:
        """Refuses values that are not finite; `names` names the example at a position."""
        bad = ~np.isfinite(values.astype(np.float64)).reshape(len(values), -1).all(axis=1)
        if bad.any():
            raise UserError(
                f"{names(int(bad.argmax()))} contains NaN or infinity ({int(bad.sum())} such "
                "examples in this batch); expected finite numbers: replace it or remove the example"
            )

    def explain(self, example: Mapping[str, tf.Tensor]) -> str:
        """Describes why `prepare_one` refused an example."""
        shape = tuple(example["input"].shape)
        if shape != self.shape:
            return f"has shape {shape}; expected {self.shape} numbers"
        return (
            f"contains other numbers than those of {self.dtype}, the dataset's input_dtype; convert"
            " them, or use another input_dtype"
        )

    def open(self, folder: pathlib.Path, split: str) -> Rows:
        return Rows(load_array(folder / f"{split}_inputs.npy"))

    def fitted(
        self, folder: pathlib.Path, columns: Mapping[str, Rows], train_rows: np.ndarray
    ) -> "tuple[ArrayInput, Mapping[str, Rows]]":
        """Returns input and columns unchanged: nothing is fitted to the train split."""
        return self, columns

    def fingerprint_parts(self) -> list[Any]:
        """Returns the settings that change the arrays, besides shape and source."""
        return [] if self.dtype == "float32" else [self.dtype]

    def written_parts(self) -> list[Any]:
        """Returns those of `fingerprint_parts` that change the files written by `write`."""
        return self.fingerprint_parts()

    def augment(self, inputs: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor) -> tf.Tensor:
        """Returns the inputs unchanged: arrays are not augmented."""
        return inputs

    def initialize(self, model: keras.Model) -> dict[str, Any]:
        """Initializes a new model as the dataset requires; returns values for the record."""
        return {}

    def adapt(self, model: keras.Model, train: Any) -> None:
        """Fits what a new model takes from the train split before training: nothing."""

    def describe(self, column: Rows, rows: np.ndarray) -> dict[str, Any]:
        """Returns values about the inputs for the record."""
        return {}

    def facts(self, about: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Returns facts about the inputs for the report.

        Args:
            about: The results of `describe` and `initialize`.
        """
        return []

    def endpoints(self, serve: Serve, spec: tf.TensorSpec) -> tuple[Endpoints, list[Any]]:
        """Returns the signatures that take inputs, and resources to track besides the model.

        Args:
            serve: Function from the network's inputs to the outputs.
            spec: Spec of the network's input.
        """
        return {"serving_default": (serve, spec)}, []

    @property
    def assets(self) -> dict[str, Sequence[str]]:
        """Lists of words for people, written as text files next to the graph."""
        return {}

    def golden(self, column: Rows, rows: np.ndarray, argument: str) -> list[Given]:
        """Returns inputs with which the export is verified.

        Args:
            column: Inputs of the val split.
            rows: 64 rows of it.
            argument: Name of the model's input.
        """
        values = column.take(rows)
        return [Given("serving_default", argument, values, values)]


def digests(contents: Iterable[bytes]) -> np.ndarray:
    """Returns a 64-bit hash of each content: 8 bytes an example, of which there may be millions."""
    found = (hashlib.blake2b(content, digest_size=8).digest() for content in contents)
    return np.fromiter((int.from_bytes(digest) for digest in found), np.uint64)


def load_array(path: pathlib.Path) -> np.ndarray:
    """Opens an array memory-mapped."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def report_progress(
    name: str, split: str, done: int, count: int, started: float, last: int
) -> None:
    """Prints a line every 10 % once the preparation has taken more than a few seconds.

    Args:
        name: Name of the dataset.
        split: The split.
        done: Number of examples written.
        count: Number of all.
        started: When the split was begun.
        last: Number of examples written since the last call.
    """
    seconds = time.monotonic() - started
    if seconds > 5 and done * 10 // count != (done - last) * 10 // count:
        left = seconds / done * (count - done)
        print(f"preparing {name} {split}: {done:,} of {count:,}, {left:.0f} s left", flush=True)


def check_array(values: Any, spec: tf.TensorSpec) -> np.ndarray:
    """Returns inputs as an array, without any conversion of dtype or shape.

    Raises:
        ValueError: Dtype or shape differ from `spec`, or a number is not finite.
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
        raise ValueError(f"{spec.name}[{row}] contains NaN or infinity; expected finite numbers")
    return values
