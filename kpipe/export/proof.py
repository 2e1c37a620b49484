"""Proves that a run's SavedModel gives what the trained model gave: without Keras and kpipe.

    python -P proof.py RUN_FOLDER TEST_INPUTS.npy

reads golden.npz and predictions.npz of the run, replays them through its SavedModel and prints
one JSON line. It is run as a file of its own, and needs TensorFlow and NumPy alone.
"""

import json
import pathlib
import sys
import time
from collections.abc import Callable

sys.modules["keras"] = sys.modules["kpipe"] = None  # from here on neither can be imported

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

TOLERANCE = 1e-5
# Of an image from an image, a fortieth of a grey level: the last bits of a code, which hang on the
# size of a batch, are enlarged by a steep decoder.
IMAGE_TOLERANCE = 1e-4
BATCHES = (1, 7, 64)
TEST_BATCH = 512


def main(folder: pathlib.Path, test_inputs: pathlib.Path) -> dict:
    """Replays everything; the result says what was compared and whether all of it agrees."""
    started = time.monotonic()
    model = tf.saved_model.load(str(folder / "serving" / "1"))
    golden = np.load(folder / "golden.npz", allow_pickle=False)
    predictions = np.load(folder / "predictions.npz", allow_pickle=False)
    prove = prove_autoencoder if "encode" in model.signatures else prove_classifier
    result = prove(model, golden, predictions, test_inputs)
    return {**result, "seconds": round(time.monotonic() - started, 2)}


def prove_classifier(model, golden, predictions, test_inputs: pathlib.Path) -> dict:
    """Probabilities and labels, from inputs, from texts and from encoded files."""
    signature = model.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]

    differences, labels_agree = [], True

    def compare(signature, name: str, given: list | np.ndarray, size: int, prefix: str = ""):
        nonlocal labels_agree
        outputs = signature(**{name: tf.constant(given[:size])})
        differences.append(_difference(outputs, golden[f"{prefix}probabilities"][:size]))
        labels_agree &= _same_labels(outputs, golden[f"{prefix}labels"][:size])

    written, encoded = _unpack(golden, "texts"), _unpack(golden, "files")
    for size in BATCHES:
        compare(signature, name, written or golden["inputs"], size)
        if written:
            compare(model.signatures["serving_tokens"], "tokens", golden["inputs"], size)
    for size in (1, len(encoded)) if encoded else ():
        compare(model.signatures["serving_bytes"], "bytes", encoded, size, "file_")

    rows, truth, expected = (predictions[k] for k in ("index", "label", "probabilities"))
    order, read = _open_test(test_inputs, rows)
    correct = 0
    for start in range(0, len(rows), TEST_BATCH):
        part = order[start : start + TEST_BATCH]
        outputs = signature(**{name: tf.constant(read(rows[part]))})
        differences.append(_difference(outputs, expected[part]))
        correct += _count_correct(outputs["probabilities"].numpy(), truth[part])
    expected_correct = _count_correct(expected, truth)

    difference = max(differences)
    return {
        "passed": difference <= TOLERANCE and labels_agree and correct == expected_correct,
        "max_difference": difference,
        "tolerance": TOLERANCE,
        "labels_agree": labels_agree,
        "batches": list(BATCHES),
        "encoded_files": len(encoded),
        "texts": len(written),
        "test_correct": correct,
        "expected_correct": expected_correct,
        "test_examples": len(rows),
    }


def prove_autoencoder(model, golden, predictions, test_inputs: pathlib.Path) -> dict:
    """All endpoints: encode, decode, reconstruct, the default and that of encoded files.

    Where two classes of a discrete latent are as good as equally probable, its one-hot code depends
    on the last bit. There the means are compared, and the image with what `decode` makes of the
    code beside it, in place of the code and the image that were noted.
    """
    endpoints, differences = model.signatures, {}
    apart = {"inputs", "certain", "reconstruction"}
    known = {k for k in golden if k not in apart and not k.startswith(("file_", "files"))}
    # Of a code these columns hang on no choice.
    continuous = golden["z_mean"].shape[1] if "z_mean" in known else golden["code"].shape[1]

    def compare(name: str, given: dict, expected, prefix: str = "", size: int | None = None):
        outputs = endpoints[name](**{key: tf.constant(value) for key, value in given.items()})
        certain = expected[f"{prefix}certain"][:size]
        if name == "encode" and set(outputs) != known:
            differences[name] = 1.0
        if name not in ("encode", "decode"):
            # An image follows from the code beside it, whichever of two classes that has.
            own = endpoints["decode"](code=outputs["code"])["reconstruction"].numpy()
            given_back = outputs["reconstruction"].numpy()
            follows = _relative_difference(given_back, own, slice(None))
            means = outputs["code"].numpy()[:, :continuous]
            wanted = expected[f"{prefix}code"][:size][:, :continuous]
            differences[name] = max(
                differences.get(name, 0.0),
                follows,
                _relative_difference(means, wanted, slice(None)),
            )
        for key, values in outputs.items():
            if f"{prefix}{key}" not in expected:
                continue
            wanted = expected[f"{prefix}{key}"][:size]
            # What is decoded from a given code depends on no choice.
            chosen = key == "code" or (key == "reconstruction" and name != "decode")
            rows = certain if chosen else slice(None)
            worst = _relative_difference(values.numpy(), wanted, rows)
            differences[name] = max(differences.get(name, 0.0), worst)

    for size in BATCHES:
        images = {"images": golden["inputs"][:size]}
        for name in ("serving_default", "encode", "reconstruct"):
            compare(name, images, golden, size=size)
        compare("decode", {"code": golden["code"][:size]}, golden, size=size)
    encoded = _unpack(golden, "files")
    for size in (1, len(encoded)):
        compare("serving_bytes", {"bytes": encoded[:size]}, golden, "file_", size)

    rows = predictions["index"]
    order, read = _open_test(test_inputs, rows)
    errors = []
    for start in range(0, len(rows), TEST_BATCH):
        part = order[start : start + TEST_BATCH]
        images = read(rows[part])
        expected = {key: predictions[key][part] for key in ("code", "certain")}
        for name in ("encode", "reconstruct"):
            compare(name, {"images": images}, expected)
        decoded = endpoints["decode"](code=tf.constant(expected["code"]))["reconstruction"]
        errors.append(np.mean(np.square(images / 255 - decoded.numpy()), axis=(1, 2, 3)))
    errors = np.concatenate(errors)
    test = _relative_difference(errors, predictions["squared_error"], slice(None))
    differences["test split"] = test
    exact = ("encode", "decode", "test split")
    return {
        "passed": all(
            difference <= (TOLERANCE if name in exact else IMAGE_TOLERANCE)
            for name, difference in differences.items()
        ),
        "max_difference": max(differences.values()),
        "tolerance": IMAGE_TOLERANCE,
        "exact_tolerance": TOLERANCE,
        "differences": differences,
        "batches": list(BATCHES),
        "encoded_files": len(encoded),
        "test_examples": len(rows),
        "uncertain_codes": int(np.sum(~predictions["certain"])),
    }


def _relative_difference(values: np.ndarray, expected: np.ndarray, rows) -> float:
    """The largest, in units of 1 or of the largest expected value if that is more."""
    if values.shape != expected.shape or not np.isfinite(values).all():
        return 1.0
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    return float(np.max(np.abs(values - expected)[rows], initial=0.0)) / scale


def _unpack(golden, name: str) -> list[bytes]:
    """The encoded images or the texts among the golden inputs; none where there are none."""
    if name not in golden:
        return []
    content, sizes = golden[name].tobytes(), golden[f"{name}_sizes"]
    return [content[end - size : end] for end, size in zip(np.cumsum(sizes), sizes, strict=True)]


def _open_test(path: pathlib.Path, rows: np.ndarray) -> tuple[np.ndarray, Callable]:
    """The order in which the test split is replayed, and what reads some of its rows."""
    inputs = np.load(path, mmap_mode="r", allow_pickle=False)
    ends = path.with_name(path.name.replace("inputs", "ends"))
    if not ends.is_file():
        return np.arange(len(rows)), lambda rows: inputs[rows]
    ends = np.load(ends, allow_pickle=False)
    starts = np.concatenate([[0], ends[:-1]])
    # Texts of like length together: a batch is padded to its longest.
    order = np.argsort((ends - starts)[rows], kind="stable")
    return order, lambda rows: [inputs[starts[row] : ends[row]].tobytes() for row in rows]


def _count_correct(probabilities: np.ndarray, truth: np.ndarray) -> int:
    """Right answers: one an example, or with several labels one for each of them."""
    said = probabilities > 0.5 if truth.ndim == 2 else probabilities.argmax(axis=1)
    return int(np.sum(said == truth))


def _difference(outputs: dict, expected: np.ndarray) -> float:
    probabilities = outputs["probabilities"].numpy()
    if probabilities.shape != expected.shape or not np.isfinite(probabilities).all():
        return 1.0  # the largest that a probability can be off
    return float(np.max(np.abs(probabilities - expected)))


def _same_labels(outputs: dict, expected: np.ndarray) -> bool:
    return [label.decode() for label in outputs["label"].numpy()] == list(expected)


if __name__ == "__main__":
    print(json.dumps(main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))))
