"""Proves that a run's SavedModel reproduces the trained model, without Keras and kpipe.

    python -P proof.py RUN_FOLDER TEST_INPUTS.npy ...

replays the cases in golden.npz through the run's SavedModel and prints one JSON line. It is run as
a script, and needs TensorFlow and NumPy only. `golden.py` defines a case. Without files of test
inputs, cases that need them are left out.

Inputs of the test split are one array; texts are two, their bytes and the position at which each
text ends; tables are an array of numbers and one for each other column.
"""

import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

sys.modules["keras"] = sys.modules["kpipe"] = None  # type: ignore[assignment]  # from here on

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

TEST_BATCH = 512
DIFFERENT = 1.0  # difference of outputs that cannot be compared: missing, another shape, NaN

Batch = tuple[Mapping[str, Any], Callable[[str], np.ndarray]]


def main(folder: pathlib.Path, *test_files: pathlib.Path) -> dict:
    """Replays all cases; returns what was compared and whether all of it agrees."""
    started = time.monotonic()
    endpoints = tf.saved_model.load(str(_export_of(folder))).signatures
    arrays = _Arrays(folder, test_files)
    listed = "cases" in arrays
    cases = json.loads(str(arrays["cases"])) if listed else _cases_of_format_1(arrays, endpoints)
    if not test_files:
        cases = [case for case in cases if not _needs_test_inputs(case)]
    differences: dict[str, float] = {}
    passed = labels_agree = True
    for case in cases:
        difference, same_words = _replay(case, endpoints, arrays)
        name = case["endpoint"] + (" on the test split" if case["test"] else "")
        differences[name] = max(differences.get(name, 0.0), difference)
        labels_agree &= same_words
        passed &= same_words and difference <= case["tolerance"]
    return {
        "passed": bool(passed),
        "max_difference": max(differences.values()),
        "tolerance": max(case["tolerance"] for case in cases),
        "differences": differences,
        "labels_agree": bool(labels_agree),
        "compared": list(dict.fromkeys(case["about"] for case in cases if case["about"])),
        "batches": sorted({size for case in cases for size in case["batches"] if case["main"]}),
        "test_examples": arrays.num_test if test_files else None,
        "undecided": int(np.sum(~arrays["decided"])) if "decided" in arrays else 0,
        "seconds": round(time.monotonic() - started, 2),
    }


def _export_of(folder: pathlib.Path) -> pathlib.Path:
    """Returns the folder of the run's export, which is not served before it is proven."""
    record = folder / "run.json"
    version = json.loads(record.read_text()).get("version", 1) if record.is_file() else 1
    places = [folder / name / str(version) for name in ("unproven", "serving")]
    return next((place for place in places if place.is_dir()), places[-1])


def _needs_test_inputs(case: Mapping) -> bool:
    keys = [*case["given"].values()]
    keys += [c[name] or "" for c in case["expected"] for name in ("array", "rows", "error")]
    return any(key.split("/")[0] == "test" for key in keys)


def _cases_of_format_1(arrays: "_Arrays", endpoints: Mapping) -> list[dict]:
    """Lists the cases of a golden.npz of format 1, which has arrays of fixed names only."""
    sources = {"texts": "texts", "bytes": "files", "code": "code"}
    cases = []
    for name, endpoint in endpoints.items():
        (argument,) = endpoint.structured_input_signature[1]
        prefix, images = "file_" * (argument == "bytes"), "certain" in arrays
        expected = []
        for output in endpoint.structured_outputs:
            array = prefix + {"label": "labels"}.get(output, output)
            # Outputs that follow from a choice between almost equal probabilities.
            chosen = images and name != "decode" and output in ("code", "reconstruction")
            rows = f"{prefix}certain" if chosen else None
            if array in arrays:
                expected.append(
                    {"output": output, "array": array, "rows": rows, "columns": None, "error": None}
                )
        cases.append(
            {
                "endpoint": name,
                "given": {argument: sources.get(argument, "inputs")},
                "expected": expected,
                "tolerance": 1e-4 if images else 1e-5,
                "batches": [1, 8] if prefix else [1, 7, 64],
                "test": False,
                "main": not prefix,
                "complete": False,
                "follows": {},
                "about": "8 encoded files" if prefix else "",
            }
        )
    return cases


def _replay(case: Mapping, endpoints: Mapping, arrays: "_Arrays") -> tuple[float, bool]:
    """Returns the largest difference of a case, and whether all words are equal."""
    if case["endpoint"] not in endpoints:
        return DIFFERENT, False
    call = endpoints[case["endpoint"]]
    worst, same_words = 0.0, True
    for given, expected in _batches(case, arrays):
        outputs = {name: value.numpy() for name, value in call(**_tensors(given)).items()}
        known = {c["output"] for c in case["expected"]} | set(case["follows"])
        if case["complete"] and set(outputs) != known:
            worst = DIFFERENT
        for comparison in case["expected"]:
            if comparison["output"] not in outputs:
                worst = DIFFERENT
                continue
            values: np.ndarray = outputs[comparison["output"]][..., : comparison["columns"]]
            if comparison["error"]:
                # Mean squared error of an image from its original; white is 1.
                images = expected(comparison["error"]) / 255
                values = np.mean(np.square(images - values), axis=(1, 2, 3))
            wanted: np.ndarray = expected(comparison["array"])[..., : comparison["columns"]]
            rows = expected(comparison["rows"]) if comparison["rows"] else slice(None)
            if wanted.dtype.kind == "U":
                words = [word.decode() for word in values[rows]]
                same_words &= values.shape == wanted.shape and words == list(wanted[rows])
            else:
                worst = max(worst, _relative_difference(values, wanted, rows))
        for output, (endpoint, argument) in case["follows"].items():
            # The explicit rule: an image equals `decode` applied to the code that came with it,
            # whichever of two almost equally probable classes the code has; and calibrated
            # probabilities equal `calibrate` applied to the probabilities that came with them.
            if endpoint not in endpoints or not {output, argument} <= outputs.keys():
                worst = DIFFERENT
                continue
            own = endpoints[endpoint](**_tensors({argument: outputs[argument]}))[output].numpy()
            worst = max(worst, _relative_difference(outputs[output], own, slice(None)))
    return worst, same_words


def _batches(case: Mapping, arrays: "_Arrays") -> Iterator[Batch]:
    """Yields batches of an endpoint's inputs, each with a lookup of any array's matching rows."""
    if not case["test"]:
        for size in case["batches"]:
            given = {name: arrays[key][:size] for name, key in case["given"].items()}
            yield given, lambda key, size=size: arrays[key][:size]  # type: ignore[misc]
        return
    for start in range(0, arrays.num_test, TEST_BATCH):
        part = arrays.order[start : start + TEST_BATCH]
        given = {name: arrays.test_rows(key, part) for name, key in case["given"].items()}
        yield given, lambda key, part=part: arrays.test_rows(key, part)  # type: ignore[misc]


def _tensors(given: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    return {name: tf.constant(value) for name, value in given.items()}


def _relative_difference(values: np.ndarray, expected: np.ndarray, rows: Any) -> float:
    """Returns the largest difference, relative to the largest expected value if that exceeds 1."""
    if values.shape != expected.shape or (values.dtype == bool) != (expected.dtype == bool):
        return DIFFERENT
    if values.dtype == bool:
        return DIFFERENT * bool(np.any((values != expected)[rows]))
    if not (np.isfinite(values).all() and np.isfinite(expected).all()):  # max hides a NaN
        return DIFFERENT
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    return float(np.max(np.abs(values - expected)[rows], initial=0.0)) / scale


class _Arrays:
    """The arrays of golden.npz, of predictions.npz ("predictions/NAME") and the test split."""

    def __init__(self, folder: pathlib.Path, test_files: tuple[pathlib.Path, ...]):
        self.arrays: dict[str, Any] = dict(np.load(folder / "golden.npz", allow_pickle=False))
        predictions = np.load(folder / "predictions.npz", allow_pickle=False)
        self.arrays |= {f"predictions/{name}": predictions[name] for name in predictions.files}
        # Byte strings are stored as one array of bytes and their sizes.
        for name in [name for name in self.arrays if f"{name}_sizes" in self.arrays]:
            stops = np.cumsum(self.arrays.pop(f"{name}_sizes"))
            content = self.arrays[name].tobytes()
            starts = [0, *stops[:-1]]
            self.arrays[name] = [content[a:b] for a, b in zip(starts, stops, strict=True)]
        self.rows = self.arrays["predictions/index"]
        self.num_test = len(self.rows)
        self.order = np.arange(self.num_test)
        self.test = [np.load(path, mmap_mode="r", allow_pickle=False) for path in test_files]
        self.ends = None
        if [array.dtype.kind for array in self.test] == ["u", "i"]:  # texts
            self.ends = self.test[1]
            self.starts = np.concatenate([[0], self.ends[:-1]])
            # Texts of similar length together: a batch is padded to its longest text.
            self.order = np.argsort((self.ends - self.starts)[self.rows], kind="stable")

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    def __getitem__(self, key: str) -> Any:
        return self.arrays[key]

    def test_rows(self, key: str, part: np.ndarray) -> Any:
        """Returns rows of an array that has one row per test example, or of the test inputs.

        Args:
            key: Name of an array; "test", or for tables "test/FILE" or "test/FILE/COLUMN".
            part: Positions in the test split.
        """
        kind, *place = key.split("/")
        if kind != "test":
            return self.arrays[key][part]
        rows = self.rows[part]
        if place:
            file, *column = map(int, place)
            return self.test[file][(rows, *column)]
        if self.ends is None:
            return self.test[0][rows]
        return [self.test[0][self.starts[row] : self.ends[row]].tobytes() for row in rows]


if __name__ == "__main__":
    print(json.dumps(main(*map(pathlib.Path, sys.argv[1:]))))
