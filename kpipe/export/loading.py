"""An export, loaded for inference: TensorFlow alone, no Keras."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from .. import files
from ..errors import UserError
from ..inputs.images import decode_image

PREDICT_BATCH = 64


def load(folder: str | os.PathLike) -> "SavedModel | SavedAutoencoder":
    """Loads an export for inference: TensorFlow alone, no Keras.

    Args:
        folder: A run's folder, or a SavedModel folder with the same signatures.

    Returns:
        A `SavedModel`, or of an autoencoder's run a `SavedAutoencoder`.

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
        if "encode" in signatures:
            ((_, spec),) = signatures["encode"].structured_input_signature[1].items()
            ((_, code),) = signatures["decode"].structured_input_signature[1].items()
            return SavedAutoencoder(model_folder, spec, code.shape[1], dict(signatures), loaded)
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
        return self._in_batches(_check(inputs, spec))

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
        return self._join(_call_on_files(self._bytes, paths, self.input_spec))

    def _join(self, parts: list[dict]) -> dict[str, np.ndarray]:
        if not parts:
            empty = np.zeros((0, len(self.label_names)), np.float32)
            return {"probabilities": empty, "label": np.array([], dtype=str)}
        probabilities = np.concatenate([part["probabilities"].numpy() for part in parts])
        labels = [label.decode() for part in parts for label in part["label"].numpy()]
        return {"probabilities": probabilities, "label": np.array(labels)}


@dataclasses.dataclass(frozen=True)
class SavedAutoencoder:
    """The loaded export of an autoencoder.

    Attributes:
        folder: Where it was loaded from.
        input_spec: Name, shape and dtype of the images.
        code_size: Length of a code.

    Example:
        model = kpipe.load("saved_models/mnist_vae")
        model.decode(model.encode(images)["code"])  # what model.reconstruct(images) gives
    """

    folder: pathlib.Path
    input_spec: tf.TensorSpec
    code_size: int
    _signatures: Mapping
    _loaded: object  # keeps the variables alive

    takes_texts = False

    def encode(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The codes of images, and what else the encoder gives.

        Args:
            images: uint8 (n, height, width, channels).

        Returns:
            `code`, float32 (n, code_size), and of a variational autoencoder `z_mean`, `z_log_var`,
            `kl` in nats, and `probabilities` and `logits` of discrete latents.

        Raises:
            ValueError: Shape or dtype differ. TensorFlow itself would convert in silence.
        """
        return self._in_batches("encode", _check(images, self.input_spec))

    def decode(self, code: np.ndarray) -> np.ndarray:
        """The images of codes: float32 (n, height, width, channels), white is 1.

        Args:
            code: float32 (n, code_size).

        Raises:
            ValueError: Shape or dtype differ.
        """
        spec = tf.TensorSpec((None, self.code_size), tf.float32, name="code")
        return self._in_batches("decode", _check(code, spec))["reconstruction"]

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """The images given back: float32 (n, height, width, channels), white is 1."""
        return self.predict(images)["reconstruction"]

    def predict(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """`reconstruction` and `code` of images."""
        return self._in_batches("reconstruct", _check(images, self.input_spec))

    def predict_files(self, paths: Sequence[str | os.PathLike]) -> dict[str, np.ndarray]:
        """The same for JPEG or PNG files of any size.

        Raises:
            UserError: A file cannot be read as an image; it is named.
        """
        return self._join(
            "reconstruct", _call_on_files(self._signatures["serving_bytes"], paths, self.input_spec)
        )

    def _in_batches(self, name: str, inputs: np.ndarray) -> dict[str, np.ndarray]:
        signature = self._signatures[name]
        ((key, _),) = signature.structured_input_signature[1].items()
        starts = range(0, len(inputs), PREDICT_BATCH)
        return self._join(
            name,
            [signature(**{key: tf.constant(inputs[i : i + PREDICT_BATCH])}) for i in starts],
        )

    def _join(self, name: str, parts: list[dict]) -> dict[str, np.ndarray]:
        outputs = self._signatures[name].structured_outputs
        if not parts:
            return {key: np.zeros((0, *spec.shape[1:]), "f4") for key, spec in outputs.items()}
        return {key: np.concatenate([part[key].numpy() for part in parts]) for key in outputs}


def _check(inputs: np.ndarray, spec: tf.TensorSpec) -> np.ndarray:
    """Inputs as an array of the very dtype and shape."""
    inputs = np.asarray(inputs)
    if inputs.dtype != spec.dtype.as_numpy_dtype or inputs.shape[1:] != spec.shape[1:]:
        expected = f"{spec.dtype.name} (n, {', '.join(map(str, spec.shape[1:]))})"
        raise ValueError(
            f"{spec.name} are {inputs.dtype} {inputs.shape}; expected {expected}"
            f"{' with values 0 to 255' * (spec.dtype == tf.uint8)}"
        )
    return inputs


def _call_on_files(signature, paths: Sequence[str | os.PathLike], spec: tf.TensorSpec) -> list:
    """What a signature gives for the content of files, batch by batch."""
    contents = [_read_file(pathlib.Path(path)) for path in paths]
    parts = []
    for start in range(0, len(contents), PREDICT_BATCH):
        batch = contents[start : start + PREDICT_BATCH]
        try:
            parts.append(signature(bytes=tf.constant(batch)))
        except tf.errors.OpError:
            raise _unreadable(paths[start : start + PREDICT_BATCH], batch, spec) from None
    return parts


def _unreadable(paths: Sequence, contents: Sequence[bytes], spec: tf.TensorSpec) -> UserError:
    bad = []
    for path, content in zip(paths, contents, strict=True):
        try:
            decode_image(tf.constant(content), tuple(spec.shape[1:]))
        except tf.errors.OpError:
            bad.append(str(path))
    return UserError(f"{', '.join(bad)}: cannot be read as a JPEG or PNG image")


def _read_file(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
