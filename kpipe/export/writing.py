"""SavedModel out, and its proof."""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from .. import files
from ..errors import RunError
from ..inputs.images import decode_image
from ..inputs.texts import UNKNOWN_ID, Vectorizer
from ..models import latents


def export(
    model,
    label_names: Sequence[str],
    folder: pathlib.Path,
    *,
    multilabel: bool = False,
    vectorizer: Vectorizer | None = None,
) -> None:
    """Writes the SavedModel `folder`/serving/1 with labels in its assets, all or nothing.

    Signatures: `serving_default` takes the model's input by its name, `images`, uint8
    (n, height, width, channels), or `features`, float32 (n, size). For images there is also
    `serving_bytes`, which takes `bytes`, string (n,): JPEG or PNG files of any size. For texts
    `serving_default` takes `texts`, string (n,), UTF-8 of any length, and `serving_tokens` takes
    `tokens`, int32 (n, length), padded with 0 on the right. All give `probabilities`, float32
    (n, num_classes), and `label`, string (n,).

    Args:
        model: Keras model from one input to {"probabilities": ...}.
        label_names: One per class.
        folder: The run's.
        multilabel: Whether each label stands for itself, see `name_labels`.
        vectorizer: Makes the token ids of a model of texts; it goes into the graph.
    """
    (model_input,) = model.inputs
    shape = tuple(model_input.shape[1:])

    def serve(inputs):
        probabilities = model(inputs, training=False)["probabilities"]
        # A constant in the graph: a lookup table would read a file when it is loaded.
        names = tf.constant(list(label_names))
        if multilabel:
            likely = probabilities > 0.5
            every = tf.broadcast_to(names, tf.shape(probabilities))
            label = tf.strings.reduce_join(
                tf.ragged.boolean_mask(every, likely), axis=1, separator=", "
            )
        else:
            label = tf.gather(names, tf.argmax(probabilities, axis=1))
        return {"probabilities": probabilities, "label": label}

    def serve_texts(texts):
        return serve(vectorizer(texts))

    def serve_tokens(tokens):
        # As `vectorizer` has it: cut, and at least one unknown word.
        tokens = tokens[:, : vectorizer.max_length]
        return serve(tf.concat([tf.maximum(tokens[:, :1], UNKNOWN_ID), tokens[:, 1:]], axis=1))

    spec = tf.TensorSpec((None, *shape), model_input.dtype, name=model_input.name)
    endpoints = {"serving_default": (serve, spec)}
    tracked = [model]
    if vectorizer:
        tracked.append(vectorizer.model)  # its lookup table
        texts_spec = tf.TensorSpec((None,), tf.string, name="texts")
        endpoints = {
            "serving_default": (serve_texts, texts_spec),
            "serving_tokens": (serve_tokens, spec),
        }
    elif len(shape) == 3:
        endpoints["serving_bytes"] = _from_bytes(serve, shape)
    assets = {"labels.txt": label_names}
    if vectorizer:  # for people; the graph has its own
        assets["vocabulary.txt"] = vectorizer.vocabulary
    _write(folder, tracked, endpoints, assets)


def export_autoencoder(model, folder: pathlib.Path) -> None:
    """Writes the SavedModel `folder`/serving/1 of an autoencoder, all or nothing.

    Signatures, all deterministic: `encode` takes `images`, uint8 (n, height, width, channels), and
    gives what the model's encoder does, among it `code`, float32 (n, size). `decode` takes such a
    `code` and gives `reconstruction`, float32 (n, height, width, channels). `reconstruct`, which is
    `serving_default` as well, takes `images` and gives both; `serving_bytes` does so from `bytes`,
    string (n,), JPEG or PNG files of any size.

    Args:
        model: Keras model with layers "encoder" and "decoder", see `models.autoencoder`.
        folder: The run's.
    """
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")
    shape = tuple(encoder.inputs[0].shape[1:])

    def encode(images):
        return encoder(images, training=False)

    def decode(code):
        return decoder(code, training=False)

    def reconstruct(images):
        code = encode(images)["code"]
        return {**decode(code), "code": code}

    images = tf.TensorSpec((None, *shape), tf.uint8, name="images")
    code = tf.TensorSpec((None, *decoder.inputs[0].shape[1:]), tf.float32, name="code")
    endpoints = {
        "serving_default": (reconstruct, images),
        "encode": (encode, images),
        "decode": (decode, code),
        "reconstruct": (reconstruct, images),
        "serving_bytes": _from_bytes(reconstruct, shape),
    }
    _write(folder, [encoder, decoder], endpoints, {})


def _from_bytes(serve: Callable, shape: tuple[int, int, int]) -> tuple[Callable, tf.TensorSpec]:
    """The same endpoint for encoded images of any size."""

    def serve_bytes(bytes):
        images = tf.map_fn(
            lambda content: decode_image(content, shape),
            bytes,
            fn_output_signature=tf.TensorSpec(shape, tf.uint8),
        )
        return serve(images)

    return serve_bytes, tf.TensorSpec((None,), tf.string, name="bytes")


def _write(
    folder: pathlib.Path,
    tracked: Sequence,
    endpoints: Mapping[str, tuple[Callable, tf.TensorSpec]],
    assets: Mapping[str, Sequence[str]],
) -> None:
    """The SavedModel of some endpoints, with lists of words in its assets."""
    import keras

    archive = keras.export.ExportArchive()
    for resource in tracked:
        archive.track(resource)
    for name, (function, signature) in endpoints.items():
        archive.add_endpoint(name, function, input_signature=[signature])
    files.make_folder(folder / "serving")
    with files.new_folder(folder / "serving" / "1") as temporary:
        archive.write_out(str(temporary), verbose=False)
        (temporary / "assets").mkdir(exist_ok=True)
        for name, words in assets.items():
            lines = "".join(f"{word}\n" for word in words)
            (temporary / "assets" / name).write_text(lines, encoding="utf-8")


def name_labels(
    probabilities: np.ndarray, label_names: Sequence[str], multilabel: bool
) -> np.ndarray:
    """The most probable class of each row; of several labels those above 0.5, "Male, Young".

    Args:
        probabilities: (n, num_classes).
        label_names: One per class.
        multilabel: Whether each label stands for itself.

    Returns:
        str (n,).
    """
    if not multilabel:
        return np.array(label_names)[probabilities.argmax(axis=1)]
    rows = (zip(label_names, row > 0.5, strict=True) for row in probabilities)
    return np.array([", ".join(name for name, likely in row if likely) for row in rows], dtype=str)


def write_golden(
    model,
    inputs: np.ndarray,
    label_names: Sequence[str],
    folder: pathlib.Path,
    *,
    multilabel: bool = False,
    vectorizer: Vectorizer | None = None,
) -> None:
    """Writes golden.npz: inputs, and what the model in memory makes of them.

    Args:
        model: The trained Keras model.
        inputs: (64, ...), not from the test split; or 64 texts, of which the first are replaced by
            `odd_texts`.
        label_names: One per class.
        folder: The run's.
        multilabel: Whether each label stands for itself, see `name_labels`.
        vectorizer: Of a model of texts.
    """

    def expect(prefix: str, batch: np.ndarray) -> dict[str, np.ndarray]:
        probabilities = model.predict(batch, verbose=0)["probabilities"]
        labels = name_labels(probabilities, label_names, multilabel)
        return {f"{prefix}probabilities": probabilities, f"{prefix}labels": labels}

    texts = {}
    if vectorizer:
        odd = odd_texts(inputs)
        written = [*odd, *(text.encode() for text in inputs[len(odd) :])]
        texts = _join_bytes("texts", written)
        inputs = vectorizer(tf.constant(written)).numpy()
    arrays = {"inputs": inputs, **expect("", inputs), **texts}
    shape = inputs.shape[1:]
    if len(shape) == 3:
        encoded = _encode_at_other_sizes(inputs[:8])
        decoded = np.stack([decode_image(tf.constant(content), shape) for content in encoded])
        arrays |= {
            **_join_bytes("files", encoded),
            **expect("file_", decoded),
        }
    write_npz(folder / "golden.npz", **arrays)


def write_golden_autoencoder(model, images: np.ndarray, folder: pathlib.Path) -> None:
    """Writes golden.npz: images, and what encoder and decoder in memory make of them.

    Args:
        model: The trained Keras model, see `export_autoencoder`.
        images: uint8 (64, height, width, channels), not from the test split.
        folder: The run's.
    """
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")

    def expect(prefix: str, batch: np.ndarray) -> dict[str, np.ndarray]:
        encoded = encoder.predict(batch, verbose=0)
        decoded = decoder.predict(encoded["code"], verbose=0)
        expected = {**encoded, **decoded, "certain": latents(model).is_decided(encoded)}
        return {f"{prefix}{name}": values for name, values in expected.items()}

    files_at_other_sizes = _encode_at_other_sizes(images[:8])
    shape = images.shape[1:]
    decoded = [decode_image(tf.constant(content), shape) for content in files_at_other_sizes]
    write_npz(
        folder / "golden.npz",
        inputs=images,
        **expect("", images),
        **_join_bytes("files", files_at_other_sizes),
        **expect("file_", np.stack(decoded)),
    )


def odd_texts(texts: Sequence[str]) -> list[bytes]:
    """Texts that a service is sent one day: empty, very long, in every script, no UTF-8 at all.

    Args:
        texts: Ordinary ones.
    """
    odd = [
        "",
        " \t\n",
        "...",
        " ".join(texts) * 4,
        texts[0].upper(),
        "so happy \N{SMILING FACE WITH SMILING EYES}\N{SMILING FACE WITH SMILING EYES}!!! "
        "\N{HEAVY BLACK HEART}\ufe0f \N{WOMAN}\u200d\N{WOMAN}\u200d\N{GIRL}",
        "\N{CRYING FACE}",
        "Das war großartig, très émouvant, очень хорошо",
        "東京タワー는 멋지다 क्षत्रिय مرحبا بالعالم",
        "[UNK] <br /><b>markup</b> &quot;quoted&quot; it #39;s http://example.org @name #tag",
        "x" * 5000,
    ]
    return [*(text.encode() for text in odd), b"\xff\xfe broken \x00 bytes \xc3"]


def _join_bytes(name: str, contents: Sequence[bytes]) -> dict[str, np.ndarray]:
    """One array of bytes and the sizes: strings of bytes would need pickle."""
    return {
        name: np.frombuffer(b"".join(contents), dtype=np.uint8),
        f"{name}_sizes": np.array([len(content) for content in contents]),
    }


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


def prove(folder: pathlib.Path, test_inputs: pathlib.Path) -> dict:
    """Runs proof.py on a run's export in a fresh process; its result.

    Raises:
        RunError: The process itself failed.
    """
    script = pathlib.Path(__file__).with_name("proof.py")
    # -P: the script's folder, which is kpipe's, stays off the import path.
    command = [sys.executable, "-P", str(script), str(folder), str(test_inputs)]
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
