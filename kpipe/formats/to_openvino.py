"""OpenVINO: Intel's processors, graphics and accelerators."""

import pathlib
from collections.abc import Mapping

import numpy as np

from .source import Source, write_saved_model


def refuse(source: Source, quantize: str | None) -> None:
    """Refuses nothing: it reads SavedModels, and int8 is refused by `formats.require`."""


def write(
    source: Source, folder: pathlib.Path, calibration: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, str]:
    """Writes a graph (.xml) and its weights (.bin) for each endpoint; see `to_litert.write`."""
    import openvino

    files = {}
    for endpoint in source.endpoints:
        name = "model" if len(source.endpoints) == 1 else endpoint.name
        files[endpoint.name] = f"{name}.xml"
        write_saved_model([endpoint], folder / "saved_model" / name)
        # Not openvino.convert_model: it calls the same reader, and sends statistics.
        model = openvino.Core().read_model(folder / "saved_model" / name)
        openvino.save_model(model, folder / files[endpoint.name], compress_to_fp16=False)
    return files
