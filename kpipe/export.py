"""SavedModel out, its proof, and loading one for inference."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from . import files
from .data import decode_image
from .errors import RunError, UserError

PREDICT_BATCH = 64


def export(model, label_names: Sequence[str], folder: pathlib.Path) -> None:
    """Writes the SavedModel `folder`/serving/1 with labels in its assets, all or nothing.

    Signatures: `serving_default` takes `images`, uint8 (n, height, width, channels);
    `serving_bytes` takes `bytes`, string (n,): JPEG or PNG files of any size. Both give
    `probabilities`, float32 (n, num_classes), and `label`, string (n,).

    Args:
        model: Keras model from uint8 images to {"probabilities": ...}.
        label_names: One per class.
        folder: The run's.
    """
    import keras

    shape = tuple(model.input_shape[1:])

    def serve_images(images):
        probabilities = model(images, training=False)["probabilities"]
        # A constant in the graph: a lookup table would read a file when it is loaded.
        label = tf.gather(tf.constant(list(label_names)), tf.argmax(probabilities, axis=1))
        return {"probabilities": probabilities, "label": label}

    def serve_bytes(bytes):
        images = tf.map_fn(
            lambda content: decode_image(content, shape),
            bytes,
            fn_output_signature=tf.TensorSpec(shape, tf.uint8),
        )
        return serve_images(images)

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        serve_images,
        input_signature=[tf.TensorSpec((None, *shape), tf.uint8, name="images")],
    )
    archive.add_endpoint(
        "serving_bytes",
        serve_bytes,
        input_signature=[tf.TensorSpec((None,), tf.string, name="bytes")],
    )
    files.make_folder(folder / "serving")
    with files.new_folder(folder / "serving" / "1") as temporary:
        archive.write_out(str(temporary), verbose=False)
        assets = temporary / "assets"
        assets.mkdir(exist_ok=True)
        (assets / "labels.txt").write_text("".join(f"{name}\n" for name in label_names))


def write_golden(model, images: np.ndarray, label_names: Sequence[str], folder: pathlib.Path):
    """Writes golden.npz: inputs, and what the model in memory makes of them.

    Args:
        model: The trained Keras model.
        images: uint8 (64, height, width, channels), not from the test split.
        label_names: One per class.
        folder: The run's.
    """
    names = np.array(label_names)
    encoded = _encode_at_other_sizes(images[:8])
    shape = images.shape[1:]
    decoded = np.stack([decode_image(tf.constant(content), shape) for content in encoded])
    probabilities = model.predict(images, verbose=0)["probabilities"]
    file_probabilities = model.predict(decoded, verbose=0)["probabilities"]
    write_npz(
        folder / "golden.npz",
        images=images,
        probabilities=probabilities,
        labels=names[probabilities.argmax(axis=1)],
        # One array of bytes and the sizes: strings of bytes would need pickle.
        files=np.frombuffer(b"".join(encoded), dtype=np.uint8),
        file_sizes=np.array([len(content) for content in encoded]),
        file_probabilities=file_probabilities,
        file_labels=names[file_probabilities.argmax(axis=1)],
    )


def _encode_at_other_sizes(images: np.ndarray) -> list[bytes]:
    """JPEG and PNG in turn, each image larger, smaller, wider or higher than the model's."""
    encoded = []
    height, width = images.shape[1:3]
    for i, image in enumerate(images):
        size = (height * (i + 2) // 2, width * (8 - i + 2) // 2)
        pixels = tf.cast(tf.round(tf.image.resize(image, size)), tf.uint8)
        encode = tf.io.encode_png if i % 2 else tf.io.encode_jpeg
        encoded.append(encode(pixels).numpy())
    return encoded


def write_npz(path: pathlib.Path, **arrays: np.ndarray) -> None:
    """`numpy.savez_compressed` under a temporary name first."""
    import io

    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    files.write_bytes(path, buffer.getvalue())


def prove(folder: pathlib.Path, test_images: pathlib.Path) -> dict:
    """Runs proof.py on a run's export in a fresh process; its result.

    Raises:
        RunError: The process itself failed.
    """
    script = pathlib.Path(__file__).with_name("proof.py")
    # -P: the script's folder, which is kpipe's, stays off the import path.
    command = [sys.executable, "-P", str(script), str(folder), str(test_images)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RunError(f"{folder}: the proof of the export failed: {lines[-1]}") from None


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
        images, encoded = signatures["serving_default"], signatures["serving_bytes"]
        names = (model_folder / "assets" / "labels.txt").read_text().splitlines()
        shape = images.structured_input_signature[1]["images"].shape[1:]
    except Exception as error:  # what a damaged file raises has many types
        raise UserError(
            f"{model_folder}: cannot be loaded as an export of kpipe "
            f"({str(error).splitlines()[0][:120]}); export it again"
        ) from error
    return SavedModel(model_folder, tuple(names), tuple(shape), images, encoded, loaded)


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
        image_shape: (height, width, channels) that `predict` takes.
    """

    folder: pathlib.Path
    label_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    _images: object
    _bytes: object
    _loaded: object  # keeps the variables alive

    def predict(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Probabilities and labels of images of the model's size.

        Args:
            images: uint8 (n, height, width, channels).

        Returns:
            `probabilities`, float32 (n, num_classes), and `label`, str (n,).

        Raises:
            ValueError: Shape or dtype differ. TensorFlow itself would convert in silence.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != self.image_shape:
            raise ValueError(
                f"images are {images.dtype} {images.shape}; expected uint8 "
                f"(n, {', '.join(map(str, self.image_shape))}) with values 0 to 255"
            )
        parts = [
            self._images(images=tf.constant(images[start : start + PREDICT_BATCH]))
            for start in range(0, len(images), PREDICT_BATCH)
        ]
        return self._join(parts)

    def predict_files(self, paths: Sequence[str | os.PathLike]) -> dict[str, np.ndarray]:
        """The same for JPEG or PNG files of any size.

        Raises:
            UserError: A file cannot be read as an image; it is named.
        """
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
                decode_image(tf.constant(content), self.image_shape)
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
