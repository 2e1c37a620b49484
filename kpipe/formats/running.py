"""Runs converted models without Keras and kpipe, and without TensorFlow, unless speed is compared.

    python -P running.py JOB.json

is run as a script, and needs NumPy and the runtime of the format only. A job is

- {"format", "models", "outputs", "replays", "answers"}: replays inputs and writes the answers;
- {"format", "models", "outputs", "endpoint", "given", "sizes", "saved_model"}: times an endpoint of
  the converted model and of the SavedModel in turns, and prints a JSON line.

`models` and `outputs` are the file and the outputs of each endpoint. Inputs are .npy files.
"""

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

sys.modules["keras"] = sys.modules["kpipe"] = None  # type: ignore[assignment]  # from here on

import numpy as np  # noqa: E402

TOKENS = "serving_tokens"  # the endpoint of texts
TEST_BATCH = 256
ROUNDS, ROUND_SECONDS = 9, 0.05  # of a measurement of time

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


def load_litert(path: str, endpoint: str, outputs: list[str], threads: int | None) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=threads)
    runner = interpreter.get_signature_runner(endpoint)

    def run(given: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        assert interpreter is not None  # it must live as long as its runner
        return runner(**given)

    return run


def load_onnx(path: str, endpoint: str, outputs: list[str], threads: int | None) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads:
        options.intra_op_num_threads = options.inter_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda given: dict(zip(outputs, session.run(outputs, dict(given)), strict=True))


def load_openvino(path: str, endpoint: str, outputs: list[str], threads: int | None) -> Run:
    import openvino

    # By default it computes in bfloat16 where the processor has it, with errors of 1e-3.
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    compiled = openvino.Core().compile_model(path, "CPU", config)

    def run(given: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        answers = compiled(dict(given))
        return {name: answers[name] for name in outputs}

    return run


LOADERS = {"litert": load_litert, "onnx": load_onnx, "openvino": load_openvino}


def replay(job: Mapping[str, Any]) -> None:
    """Replays inputs, and writes the answers as .npz: "REPLAY/SIZE/OUTPUT"; size 0 is the whole."""
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    models: dict[str, Run] = {}
    answers: dict[str, np.ndarray] = {}
    for i, each in enumerate(job["replays"]):
        name = each["endpoint"]
        if name not in models:
            path, outputs = job["models"][name], job["outputs"][name]
            models[name] = LOADERS[job["format"]](path, name, outputs, None)
        given = {argument: _Rows(*place) for argument, place in each["given"].items()}
        originals = {output: _Rows(*place) for output, place in each["originals"].items()}
        for size in each["sizes"] or [0]:
            parts: dict[str, list] = {}
            for part in [np.arange(size)] if size else _parts(np.load(each["order"])):
                batch = {argument: _batch(rows[part], name) for argument, rows in given.items()}
                for output, values in models[name](batch).items():
                    if output in originals:
                        values = _squared_error(values, originals[output][part])
                    parts.setdefault(output, []).append(np.array(values))
            joined = {f"{i}/{size}/{output}": np.concatenate(p) for output, p in parts.items()}
            answers |= joined
    np.savez(job["answers"], **answers)  # type: ignore[arg-type]  # no answer has an option's name


class _Rows:
    """A .npy file, or a column of it, or some of its rows in an order."""

    def __init__(self, path: str, column: int | None = None, rows: str | None = None):
        values: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        self.values = values if column is None else values[:, column]
        self.rows = None if rows is None else np.load(rows)

    def __getitem__(self, positions: Any) -> np.ndarray:
        return self.values[positions if self.rows is None else self.rows[positions]]


def _parts(order: np.ndarray) -> list[np.ndarray]:
    return [order[start : start + TEST_BATCH] for start in range(0, len(order), TEST_BATCH)]


def _batch(values: np.ndarray, endpoint: str) -> np.ndarray:
    """Returns a batch in memory; texts, which are padded with 0, as long as the longest of them."""
    values = np.ascontiguousarray(values)
    if endpoint == TOKENS:
        used = np.flatnonzero((values != 0).any(axis=0))
        values = np.ascontiguousarray(values[:, : used[-1] + 1 if used.size else 1])
    return values


def _squared_error(images: np.ndarray, originals: np.ndarray) -> np.ndarray:
    """Returns the mean squared error of each image; white is 1."""
    axes = tuple(range(1, images.ndim))
    return np.mean(np.square(originals / 255 - images), axis=axes)


def measure(job: Mapping[str, Any]) -> dict[str, list[float]]:
    """Times the SavedModel and the converted model in turns, both with one thread.

    Returns:
        Milliseconds an example by size of the batch: of the SavedModel, of the converted model.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    name = job["endpoint"]
    signature = tf.saved_model.load(job["saved_model"]).signatures[name]
    converted = LOADERS[job["format"]](job["models"][name], name, job["outputs"][name], 1)
    found = {}
    for size in job["sizes"]:
        batch = {a: _batch(_Rows(*place)[:size], name) for a, place in job["given"].items()}
        tensors = {argument: tf.constant(values) for argument, values in batch.items()}

        def saved_model(tensors: Mapping[str, Any] = tensors) -> None:
            for value in signature(**tensors).values():
                value.numpy()

        def other(batch: Mapping[str, np.ndarray] = batch) -> None:
            converted(batch)

        seconds = _in_turns([saved_model, other])
        found[str(size)] = [round(1000 * each / size, 5) for each in seconds]
    return found


def _in_turns(functions: list[Callable[[], None]]) -> list[float]:
    """Returns the median seconds of a call of each function."""
    counts = []
    for function in functions:
        function()  # builds what is built once
        started = time.perf_counter()
        function()
        counts.append(max(1, math.ceil(ROUND_SECONDS / (time.perf_counter() - started))))
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(ROUNDS):
        for function, count, seconds in zip(functions, counts, times, strict=True):
            started = time.perf_counter()
            for _ in range(count):
                function()
            seconds.append((time.perf_counter() - started) / count)
    return [statistics.median(seconds) for seconds in times]


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        given = json.load(file)
    if "replays" in given:
        replay(given)
    else:
        print(json.dumps(measure(given)))
