"""Loads an export for inference with TensorFlow only, without Keras."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from .. import files, inputs
from ..datasets.columns import Column, from_lines, unescape
from ..disk import without_patterns
from ..errors import UserError, first_line, nearest
from ..inputs.tables import COLUMNS_FILE
from ..inputs.texts import TEXT_COLUMN_FILE
from .answers import find_wrong
from .scanning import check_graph
from .versions import SERVING, check_version, version_folder

# What tells the task of an export by itself: an output, or this file beside labels.txt.
_TASKS = {"value": "regression", "code": "reconstruction", "prediction_set": "classification"}
TASK_FILE = "task.txt"

# Examples of one call: images, and texts or rows, of which fewer if they are long.
PREDICT_BATCH, ROWS_BATCH, TEXT_BYTES = 64, 1024, 2**18


def load(
    folder: str | os.PathLike, *, version: int | None = None, trust: bool = False
) -> "SavedModel":
    """Loads an export for inference with TensorFlow only, without Keras.

    The export is checked first, see `scanning.check_graph`: a SavedModel is a program, and loading
    one that somebody else has made can run it.

    Args:
        folder: A run's folder, or a SavedModel folder with the same signatures.
        version: One of the run's versions, the 2 of `serving/2`; None for the latest.
        trust: Whether to load it without this check.

    Returns:
        A `SavedModel`; a `SavedAutoencoder` if the export has the endpoint `decode`.

    Raises:
        UserError: The folder contains no export, or a damaged one, or one that contains an
            operation that is not known to be harmless.

    Example:
        model = kpipe.load("saved_models/celeba_gender")
        model.predict(images)["label"]
    """
    folder = pathlib.Path(folder)
    model_folder = version_folder(folder, version)
    # Damage is told as damage; but whoever plants a model plants a manifest.
    check_version(folder, model_folder)
    if not trust:
        check_graph(model_folder)
    try:
        with without_patterns(model_folder) as readable:
            loaded = tf.saved_model.load(str(readable))
        signatures = dict(loaded.signatures)
        columns = from_lines(_asset(model_folder, COLUMNS_FILE))
        spec = None
        if not columns:
            ((_, spec),) = signatures["serving_default"].structured_input_signature[1].items()
        names = _asset(model_folder, "labels.txt")
        text_column = unescape("".join(_asset(model_folder, TEXT_COLUMN_FILE)))
    except Exception as error:  # damaged files raise errors of many types
        raise UserError(
            f"{model_folder}: cannot be loaded as an export of kpipe "
            f"({first_line(error, 120)}); export it again"
        ) from error
    kind = SavedAutoencoder if "decode" in signatures else SavedModel
    task = _task_of(folder, model_folder, signatures["serving_default"].structured_outputs)
    return kind(model_folder, tuple(names), spec, columns, text_column, task, signatures, loaded)


def _task_of(folder: pathlib.Path, model: pathlib.Path, outputs: Iterable[str]) -> str:
    """Finds the task of a version, which may be another one than that of the run's latest."""
    path = folder / "run.json"
    content = files.read_json(path) if path.is_file() else {}
    record = content if isinstance(content, Mapping) else {}
    task = str(record.get("task", ""))
    if task and model in (folder, folder / SERVING / str(record.get("version", 1))):
        return task
    found = [task for output, task in _TASKS.items() if output in outputs]
    if found := [*found, *_asset(model, TASK_FILE)]:
        return found[0]
    # An older kpipe wrote no such file; several labels are rarely followed by one.
    return task if task == "multilabel" and "probabilities" in outputs else ""


def _asset(folder: pathlib.Path, name: str) -> list[str]:
    """Reads the lines of a text file next to the graph; none if there is no such file."""
    path = folder / "assets" / name
    return path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []


@dataclasses.dataclass(frozen=True, repr=False)
class SavedModel:
    """A loaded export.

    Attributes:
        folder: The folder that it was loaded from.
        label_names: One per class; () if it outputs no labels.
        input_spec: Name, shape and dtype of the input of `predict`; None for a table.
        columns: The columns of a table that it takes; () for other inputs.
        text_column: Column of the texts in files that are tables, or "".
        task: Name of the task, see `kpipe.tasks`; "" if it is not known.
    """

    folder: pathlib.Path
    label_names: tuple[str, ...]
    input_spec: tf.TensorSpec | None
    columns: tuple[Column, ...]
    text_column: str
    task: str
    _signatures: Mapping[str, Any]
    _loaded: object  # keeps the variables alive

    def __repr__(self) -> str:
        spec = self.input_spec
        given = f"{len(self.columns)} columns"
        if spec is not None:
            given = f"{spec.name} {spec.dtype.name} {tuple(spec.shape)}"
        outputs = ", ".join(sorted(self.outputs))
        return f"{type(self).__name__} in {self.folder}: {given} -> {outputs}"

    @property
    def exclusive(self) -> bool:
        """Whether it is known that `probabilities` sum to 1: an example has one class."""
        return self.task == "classification"

    @property
    def signatures(self) -> Mapping[str, Any]:
        """The functions of the export by name, such as `serving_default`."""
        return self._signatures

    @functools.cached_property
    def outputs(self) -> frozenset[str]:
        """The names of the outputs of `predict`."""
        return frozenset(self._signatures["serving_default"].structured_outputs)

    @functools.cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The word of each token id; () if it does not take texts."""
        return tuple(_asset(self.folder, "vocabulary.txt"))

    def signature(self, name: str) -> Any:
        """Returns a signature as a concrete function.

        Raises:
            UserError: The export has no such signature.
        """
        if name not in self._signatures:
            raise UserError(
                f"{self.folder}: no signature {name!r}; {nearest(name, self._signatures)}"
            )
        return self._signatures[name]

    def call(self, name: str, inputs: Any) -> dict[str, np.ndarray]:
        """Calls a signature, in batches, and checks its answers, see `predict`.

        Args:
            name: Name of the signature.
            inputs: One array or list; for several arguments a dict of them.
        """
        return self._call(name, inputs)

    def predict(self, examples: Any) -> dict[str, np.ndarray]:
        """Predicts for inputs of the model's shape.

        Args:
            examples: uint8 images (n, height, width, channels), float32 features (n, size), n
                texts, or for a table a DataFrame or a dict of columns by name, see `columns`;
                further columns are ignored, and values may be missing.

        Returns:
            For a classifier `probabilities`, float32 (n, num_classes), and `label`, str (n,); if
            it is calibrated also `calibrated`, float32 (n, num_classes), and unless an example has
            several labels `prediction_set`, bool (n, num_classes). For a regression `value`,
            float32 (n,); for an autoencoder `reconstruction` and `code`.

        Raises:
            ValueError: Shape or dtype differ, a number is not finite, or a column is missing;
                TensorFlow itself would silently convert.
            UserError: An answer is not finite, or no probabilities; the message names the row.
        """
        return self._call("serving_default", self._check(examples))

    def _check(self, examples: Any) -> Any:
        if self.input_spec is None:
            return inputs.check_rows(examples, self.columns)
        return inputs.check(examples, self.input_spec)

    def predict_files(self, paths: Sequence[str | os.PathLike]) -> dict[str, np.ndarray]:
        """Predicts for files: images of any size, lines of text, or tables.

        Raises:
            UserError: A file cannot be read; the message names it.
        """
        return self.predict_examples(self.read_files([pathlib.Path(path) for path in paths]))

    def read_files(
        self, paths: Sequence[pathlib.Path], texts: Sequence[str] = ()
    ) -> inputs.Examples:
        """Reads inputs from files, see `inputs.read_examples`.

        Raises:
            UserError: A file cannot be read; the message names it.
        """
        return inputs.read_examples(
            paths, self.input_spec, texts, columns=self.columns, text_column=self.text_column
        )

    def pieces(
        self,
        paths: Iterable[pathlib.Path | inputs.Bad],
        texts: Sequence[str] = (),
        *,
        keep_bad: bool = False,
    ) -> Iterator[inputs.Piece]:
        """Yields inputs from files in pieces, see `inputs.pieces`."""
        return inputs.pieces(
            paths,
            self.input_spec,
            texts,
            columns=self.columns,
            text_column=self.text_column,
            keep_bad=keep_bad,
        )

    def predict_examples(self, examples: inputs.Examples) -> dict[str, np.ndarray]:
        """Predicts for examples read by `inputs.read_examples`.

        Raises:
            UserError: The model does not accept such files, or a file cannot be decoded.
        """
        if self.input_spec is not None and examples.endpoint not in self._signatures:
            shape = tuple(self.input_spec.shape[1:])
            raise UserError(
                f"{self.folder}: this model takes {self.input_spec.name} of shape {shape}, not "
                "files; use kpipe.load(FOLDER).predict(ARRAY)"
            )
        return self._call(examples.endpoint, examples.values, examples.explain, examples.names)

    def _call(
        self,
        name: str,
        given: np.ndarray | list[bytes] | dict[str, Any],
        explain: Callable[[int, int], UserError] | None = None,
        names: Sequence[str] = (),
    ) -> dict[str, np.ndarray]:
        signature = self._signatures[name]
        if not isinstance(given, dict):
            (argument,) = signature.structured_input_signature[1]
            given = {argument: given}
        parts = []
        batches, order = _batches(given, name, self.input_spec)
        for start, stop in batches:
            try:
                batch = {key: tf.constant(_rows(v, order, start, stop)) for key, v in given.items()}
                parts.append(signature(**batch))
            except tf.errors.OpError:
                if explain is None:
                    raise
                raise explain(start, stop) from None
        outputs = self._join(signature, parts)
        if order is not None:
            back = np.argsort(order)
            outputs = {key: values[back] for key, values in outputs.items()}
        if wrong := find_wrong(outputs, self.exclusive):
            row, problem = wrong
            place = names[row] if names else f"row {row}"
            raise UserError(f"{place}: {problem}; look for extreme values in it, or train again")
        return outputs

    def _join(self, signature: Any, parts: Sequence[Mapping]) -> dict[str, np.ndarray]:
        joined = {}
        for name, spec in signature.structured_outputs.items():
            values = [part[name].numpy() for part in parts]
            if spec.dtype == tf.string:
                joined[name] = np.array([word.decode() for some in values for word in some], str)
            elif values:
                joined[name] = np.concatenate(values)
            else:
                joined[name] = np.zeros((0, *spec.shape[1:]), spec.dtype.as_numpy_dtype)
        return joined


def _batches(
    given: Mapping[str, Any], endpoint: str, spec: tf.TensorSpec | None
) -> tuple[list[tuple[int, int]], np.ndarray | None]:
    """Divides examples into batches; texts of similar length together, since they are padded.

    Returns:
        Start and end of each batch, and the order of the examples; None if it is their own.
    """
    values = next(iter(given.values()))
    count, is_default = len(values), endpoint == "serving_default"
    if not (is_default and spec is not None and spec.dtype == tf.string):
        # Images of codes are as large as others.
        is_rows = is_default and (spec is None or len(spec.shape) < 3)
        size = ROWS_BATCH if is_rows else PREDICT_BATCH
        return [(start, min(start + size, count)) for start in range(0, count, size)], None
    lengths = np.fromiter(map(len, values), np.int64, count)
    order = np.argsort(lengths, kind="stable")
    batches, start = [], 0
    while start < count:
        stop = min(start + ROWS_BATCH, count)
        while (
            stop - start > PREDICT_BATCH and (stop - start) * lengths[order[stop - 1]] > TEXT_BYTES
        ):
            stop = start + max(PREDICT_BATCH, (stop - start) // 2)
        batches.append((start, stop))
        start = stop
    return batches, order


def _rows(values: Any, order: np.ndarray | None, start: int, stop: int) -> Any:
    if order is None:
        return values[start:stop]
    return [values[i] for i in order[start:stop]]


@dataclasses.dataclass(frozen=True, repr=False)
class SavedAutoencoder(SavedModel):
    """The loaded export of an autoencoder.

    Example:
        model = kpipe.load("saved_models/mnist_vae")
        model.decode(model.encode(images)["code"])  # equals model.reconstruct(images)
    """

    @property
    def code_size(self) -> int:
        """Number of values in a code."""
        ((_, spec),) = self._signatures["decode"].structured_input_signature[1].items()
        return int(spec.shape[1])

    def encode(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Encodes images.

        Args:
            images: uint8 (n, height, width, channels).

        Returns:
            `code`, float32 (n, code_size); for a variational autoencoder also `z_mean`,
            `z_log_var`, `kl` in nats, and `probabilities` and `logits` of discrete latents.

        Raises:
            ValueError: Shape or dtype differ; TensorFlow itself would silently convert.
        """
        return self._call("encode", self._check(images))

    def decode(self, code: np.ndarray) -> np.ndarray:
        """Decodes codes to images, float32 (n, height, width, channels), white is 1.

        Args:
            code: float32 (n, code_size).

        Raises:
            ValueError: Shape or dtype differ.
        """
        spec = tf.TensorSpec((None, self.code_size), tf.float32, name="code")
        return self._call("decode", inputs.check(code, spec))["reconstruction"]

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """Reconstructs images: float32 (n, height, width, channels), white is 1."""
        return self.predict(images)["reconstruction"]
