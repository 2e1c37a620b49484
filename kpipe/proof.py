"""Proves that a run's SavedModel gives what the trained model gave: without Keras and kpipe.

    python -P proof.py RUN_FOLDER TEST_INPUTS.npy

reads golden.npz and predictions.npz of the run, replays them through its SavedModel and prints
one JSON line. It is run as a file of its own, and needs TensorFlow and NumPy alone.
"""

import json
import pathlib
import sys
import time

sys.modules["keras"] = sys.modules["kpipe"] = None  # from here on neither can be imported

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

TOLERANCE = 1e-5
BATCHES = (1, 7, 64)
TEST_BATCH = 512


def main(folder: pathlib.Path, test_inputs: pathlib.Path) -> dict:
    """Replays everything; the result says what was compared and whether all of it agrees."""
    started = time.monotonic()
    model = tf.saved_model.load(str(folder / "serving" / "1"))
    signature = model.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    golden = np.load(folder / "golden.npz", allow_pickle=False)

    differences, labels_agree = [], True
    for size in BATCHES:
        outputs = signature(**{name: tf.constant(golden["inputs"][:size])})
        differences.append(_difference(outputs, golden["probabilities"][:size]))
        labels_agree &= _same_labels(outputs, golden["labels"][:size])
    encoded = _encoded_files(golden)
    for size in (1, len(encoded)) if encoded else ():
        outputs = model.signatures["serving_bytes"](bytes=tf.constant(encoded[:size]))
        differences.append(_difference(outputs, golden["file_probabilities"][:size]))
        labels_agree &= _same_labels(outputs, golden["file_labels"][:size])

    predictions = np.load(folder / "predictions.npz", allow_pickle=False)
    inputs = np.load(test_inputs, mmap_mode="r", allow_pickle=False)
    rows, truth, expected = (predictions[k] for k in ("index", "label", "probabilities"))
    correct = 0
    for start in range(0, len(rows), TEST_BATCH):
        part = slice(start, start + TEST_BATCH)
        outputs = signature(**{name: tf.constant(inputs[rows[part]])})
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
        "test_correct": correct,
        "expected_correct": expected_correct,
        "test_examples": len(rows),
        "seconds": round(time.monotonic() - started, 2),
    }


def _encoded_files(golden) -> list[bytes]:
    """The encoded images among the golden inputs; none where the model takes no images."""
    if "files" not in golden:
        return []
    content, sizes = golden["files"].tobytes(), golden["file_sizes"]
    return [content[end - size : end] for end, size in zip(np.cumsum(sizes), sizes, strict=True)]


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
