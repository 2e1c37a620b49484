"""LiteRT, formerly TensorFlow Lite: phones, browsers, microcontrollers."""

import pathlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import UserError
from .source import Endpoint, Source, write_saved_model

MODEL = "model.tflite"


def refuse(source: Source, quantize: str | None) -> None:
    """Refuses what the converter cannot do, by what the graph contains.

    Raises:
        UserError: It cannot be converted; the message says why, and what to do.
    """
    for endpoint in source.endpoints:
        loops = {"While", "StatelessWhile"} & endpoint.operations()
        if loops:
            raise UserError(
                f"{source.run.folder}: its recurrent layers are loops over texts of any length, "
                "whose lists of tensors LiteRT does not have; use --format onnx or openvino, or "
                "train another architecture"
            )
    if quantize and "table" in source.kind:
        raise UserError(
            f"{source.run.folder}: LiteRT's int8 has one scale for all columns of a table, which "
            "leaves no digits for those of small numbers; use --format onnx --quantize int8"
        )


def write(
    source: Source, folder: pathlib.Path, calibration: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, str]:
    """Writes one file with a signature for each endpoint; signatures share their weights.

    Args:
        source: What is converted.
        folder: Where to.
        calibration: Inputs by endpoint and argument, for int8; {} for float32.

    Returns:
        The file of each endpoint.
    """
    import tensorflow as tf

    write_saved_model(source.endpoints, folder / "saved_model")
    names = [endpoint.name for endpoint in source.endpoints]
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(folder / "saved_model"), signature_keys=names
    )
    if calibration:
        # Weights per channel, activations by the calibration; what has no int8 kernel, and inputs
        # and outputs, remain as they are.
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: _rows(source.endpoints, calibration)
    with warnings.catch_warnings():
        # TensorFlow 2.21's own calibrator is built on it.
        warnings.filterwarnings("ignore", r"\s*Warning: tf\.lite\.Interpreter is deprecated")
        content = converter.convert()
    (folder / MODEL).write_bytes(content)
    return dict.fromkeys(names, MODEL)


def _rows(
    endpoints: Sequence[Endpoint], calibration: Mapping[str, Mapping[str, np.ndarray]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for endpoint in endpoints:
        given = calibration[endpoint.name]
        for row in range(len(next(iter(given.values())))):
            yield endpoint.name, {name: values[row : row + 1] for name, values in given.items()}
