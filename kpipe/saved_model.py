"""An export, loaded for inference: TensorFlow alone, no Keras."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from . import files
from .errors import UserError
from .images import decode_image

PREDICT_BATCH = 64


def load(folder: str | os.PathLike) -> "SavedModel":
    """Loads an export for inference: TensorFlow alone, no Keras.

    Args:
        folder: A run's folder, or a SavedModel folder with the same signatures.

    Raises:
        UserError: There is no export, or it is damaged.

    Example:
        model = kpipe.load("saved_models/celeba_gender")
        model.predict(images)["label"]
    """
    folder = pathlib.Path(folder)
    model_folder = folder / "serving" / "1" if (folder / "serving").is_dir() else folder
    if not (model_folder / "saved_model.pb").is_file():
        raise UserError(
            f"{folder}: no SavedModel there; expected a run's folder, with serving/1 in it"
        )
    _check_manifest(folder)
    try:
        loaded = tf.saved_model.load(str(model_folder))
        signatures = loaded.signatures
        signature = signatures["serving_default"]
        ((_, spec),) = signature.structured_input_signature[1].items()
        names = (model_folder / "assets" / "labels.txt").read_text().splitlines()
        encoded = signatures.get("serving_bytes")
    except Exception as error:  # what a damaged file raises has many types
        raise UserError(
            f"{model_folder}: cannot be loaded as an export of kpipe "
            f"({str(error).splitlines()[0][:120]}); export it again"
        ) from error
    return SavedModel(model_folder, tuple(names), spec, signature, encoded, loaded)


def _check_manifest(folder: pathlib.Path) -> None:
    """Compares the export with the SHA-256 that the run noted, where it did."""
    path = folder / "manifest.json"
    if not path.is_file():
        return
    try:
        expected = json.loads(path.read_text())["files"]
    except (ValueError, KeyError):
        raise UserError(f"{path}: not a readable manifest; train or export again") from None
    for name, entry in expected.items():
        if not name.startswith("serving/"):
            continue
        file = folder / name
        if not file.is_file() or files.sha256(file) != entry["sha256"]:
            raise UserError(
                f"{file} is {'damaged or changed' if file.is_file() else 'missing'}: "
                "it differs from manifest.json; export it again"
            )


@dataclasses.dataclass(frozen=True)
class SavedModel:
    """A loaded export.

    Attributes:
        folder: Where it was loaded from.
        label_names: One per class.
        input_spec: Name, shape and dtype of what `predict` takes.
    """

    folder: pathlib.Path
    label_names: tuple[str, ...]
    input_spec: tf.TensorSpec
    _signature: object
    _bytes: object | None  # only for images
    _loaded: object  # keeps the variables alive

    @property
    def takes_texts(self) -> bool:
        return self.input_spec.dtype == tf.string

    def predict(self, inputs: np.ndarray | Sequence[str]) -> dict[str, np.ndarray]:
        """Probabilities and labels of inputs of the model's shape.

        Args:
            inputs: uint8 images (n, height, width, channels), float32 features (n, size), or n
                texts.

        Returns:
            `probabilities`, float32 (n, num_classes), and `label`, str (n,).

        Raises:
            ValueError: Shape or dtype differ. TensorFlow itself would convert in silence.
        """
        spec = self.input_spec
        if self.takes_texts:
            return self._predict_texts(inputs)
        inputs = np.asarray(inputs)
        if inputs.dtype != spec.dtype.as_numpy_dtype or inputs.shape[1:] != spec.shape[1:]:
            expected = f"{spec.dtype.name} (n, {', '.join(map(str, spec.shape[1:]))})"
            raise ValueError(
                f"{spec.name} are {inputs.dtype} {inputs.shape}; expected {expected}"
                f"{' with values 0 to 255' * (spec.dtype == tf.uint8)}"
            )
        return self._in_batches(inputs)

    def _predict_texts(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        if isinstance(texts, (str, bytes, Mapping)):
            raise ValueError(f"texts are one {type(texts).__name__}; expected a list of them")
        texts = list(texts)
        for i, text in enumerate(texts):
            if not isinstance(text, (str, bytes)):
                raise ValueError(f"texts[{i}] is {type(text).__name__}; expected str")
        # A lone surrogate, such as the command line makes of a broken byte, is no UTF-8.
        encoded = [t if isinstance(t, bytes) else t.encode("utf-8", "replace") for t in texts]
        return self._in_batches(encoded)

    def _in_batches(self, inputs: np.ndarray | list) -> dict[str, np.ndarray]:
        parts = [
            self._signature(
                **{self.input_spec.name: tf.constant(inputs[start : start + PREDICT_BATCH])}
            )
            for start in range(0, len(inputs), PREDICT_BATCH)
        ]
        return self._join(parts)

    def predict_files(self, paths: Sequence[str | os.PathLike]) -> dict[str, np.ndarray]:
        """The same for JPEG or PNG files of any size.

        Raises:
            UserError: A file cannot be read as an image; it is named. Or the model takes none.
        """
        if self._bytes is None:
            what = (
                "texts"
                if self.takes_texts
                else f"{self.input_spec.name} of shape {tuple(self.input_spec.shape[1:])}"
            )
            raise UserError(
                f"{self.folder}: this model takes {what}, no image files; "
                f"use kpipe.load(FOLDER).predict({'TEXTS' if self.takes_texts else 'ARRAY'})"
            )
        contents = [_read_file(pathlib.Path(path)) for path in paths]
        parts = []
        for start in range(0, len(contents), PREDICT_BATCH):
            batch = contents[start : start + PREDICT_BATCH]
            try:
                parts.append(self._bytes(bytes=tf.constant(batch)))
            except tf.errors.OpError:
                raise self._unreadable(paths[start : start + PREDICT_BATCH], batch) from None
        return self._join(parts)

    def _unreadable(self, paths: Sequence, contents: Sequence[bytes]) -> UserError:
        bad = []
        for path, content in zip(paths, contents, strict=True):
            try:
                decode_image(tf.constant(content), tuple(self.input_spec.shape[1:]))
            except tf.errors.OpError:
                bad.append(str(path))
        return UserError(f"{', '.join(bad)}: cannot be read as a JPEG or PNG image")

    def _join(self, parts: list[dict]) -> dict[str, np.ndarray]:
        if not parts:
            empty = np.zeros((0, len(self.label_names)), np.float32)
            return {"probabilities": empty, "label": np.array([], dtype=str)}
        probabilities = np.concatenate([part["probabilities"].numpy() for part in parts])
        labels = [label.decode() for part in parts for label in part["label"].numpy()]
        return {"probabilities": probabilities, "label": np.array(labels)}


def _read_file(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
