"""ONNX, for ONNX Runtime and many others, converted by tf2onnx.

Keras' own `model.export(format="onnx")` calls tf2onnx as well, on a Keras model; here it is given
the graph of the SavedModel. tf2onnx 1.17 works with NumPy 2 and protobuf 7.
"""

import logging
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from .source import Endpoint, Source

OPSET = 18  # the newest that tf2onnx 1.17 writes
# What int8 quantizes: matrix products. All else, such as a table's columns, remains float32.
QUANTIZED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def refuse(source: Source, quantize: str | None) -> None:
    """Refuses nothing: all that exports of kpipe contain has been converted."""


def write(
    source: Source, folder: pathlib.Path, calibration: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, str]:
    """Writes a file for each endpoint; see `to_litert.write`."""
    import onnx

    files = {}
    for endpoint in source.endpoints:
        name = "model" if len(source.endpoints) == 1 else endpoint.name
        files[endpoint.name] = f"{name}.onnx"
        model = _convert(endpoint)
        onnx.checker.check_model(model, full_check=True)
        if calibration:
            model = _quantize(model, folder, calibration[endpoint.name])
        onnx.helper.set_model_props(model, {"kpipe": source.run.record.pipeline})
        (folder / files[endpoint.name]).write_bytes(model.SerializeToString(deterministic=True))
    return files


def _convert(endpoint: Endpoint) -> Any:
    import tf2onnx

    inputs = [tensor.name for tensor in endpoint.frozen.inputs]
    outputs = [tensor.name for tensor in endpoint.frozen.outputs]
    names = [*endpoint.specs, *endpoint.outputs]
    logger = logging.getLogger("tf2onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        model, _ = tf2onnx.convert.from_graph_def(
            endpoint.frozen.graph.as_graph_def(),
            name=endpoint.name,
            input_names=inputs,
            output_names=outputs,
            opset=OPSET,
            custom_op_handlers={"OneHot": (_one_hot, [])},
            tensors_to_rename=dict(zip([*inputs, *outputs], names, strict=True)),
        )
    finally:
        logger.setLevel(level)
    _name_axes(model)
    return model


def _one_hot(context: Any, node: Any, name: str, arguments: list) -> None:
    """Converts OneHot; tf2onnx 1.17 lacks that of booleans, here a comparison with each class."""
    import onnx
    from tf2onnx.graph_builder import GraphBuilder
    from tf2onnx.onnx_opset.tensor import OneHot

    if context.get_dtype(node.output[0]) != onnx.TensorProto.BOOL:
        OneHot.any_version_after9(OPSET, context, node)
        return
    depth = int(node.inputs[1].get_tensor_value())
    classes = context.make_const(f"{name}_classes", np.arange(depth, dtype=np.int64)).output[0]
    index = context.make_node("Cast", [node.input[0]], attr={"to": onnx.TensorProto.INT64}).output[
        0
    ]
    index = GraphBuilder(context).make_unsqueeze({"data": index, "axes": [-1]})
    shapes, dtypes, outputs = node.output_shapes, node.output_dtypes, list(node.output)
    context.remove_node(node.name)
    context.make_node("Equal", [index, classes], outputs=outputs, shapes=shapes, dtypes=dtypes)


def _name_axes(model: Any) -> None:
    """Names the axes of any size, which tf2onnx numbers."""
    for value in (*model.graph.input, *model.graph.output):
        for place, axis in enumerate(value.type.tensor_type.shape.dim):
            if not axis.dim_value:
                axis.dim_param = "length" if place else "batch"


def _quantize(model: Any, folder: pathlib.Path, given: Mapping[str, np.ndarray]) -> Any:
    """Quantizes weights per channel, and activations by the calibration, as ONNX Runtime does."""
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    whole, prepared, written = (folder / f"{part}.part.onnx" for part in ("a", "b", "c"))
    whole.write_bytes(model.SerializeToString())
    quant_pre_process(whole, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(
        prepared,
        written,
        _Reader(_rows(given)),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=list(QUANTIZED),
        per_channel=True,
    )
    quantized = onnx.load(written)
    for path in (whole, prepared, written):
        path.unlink()
    return quantized


class _Reader:
    """Rows of the calibration, as ONNX Runtime asks for them."""

    def __init__(self, rows: Iterator[dict[str, np.ndarray]]):
        self.rows = rows

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.rows, None)


def _rows(given: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    for row in range(len(next(iter(given.values())))):
        yield {name: values[row : row + 1] for name, values in given.items()}
