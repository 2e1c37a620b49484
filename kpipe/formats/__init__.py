"""Other formats of a finished run's SavedModel, each proven to answer as the trained model did."""

import importlib.util

from ..errors import UserError, nearest

# Name of a format -> its name for people, and the packages of its extra.
FORMATS = {
    "litert": ("LiteRT", ("ai_edge_litert",)),
    "onnx": ("ONNX", ("onnx", "onnxruntime", "tf2onnx")),
    "openvino": ("OpenVINO", ("openvino",)),
}
QUANTIZATIONS = ("int8",)

__all__ = ["FORMATS", "QUANTIZATIONS", "require"]


def require(format: str, quantize: str | None = None) -> None:
    """Checks that a format is known and its packages are installed, before any work.

    Args:
        format: One of `FORMATS`.
        quantize: "int8" or None.

    Raises:
        UserError: One of both is unknown, or a package is missing.

    Example:
        from kpipe import formats
        formats.require("onnx")
    """
    if format not in FORMATS:
        raise UserError(f"no format {format!r}; {nearest(format, FORMATS)}")
    if quantize not in (None, *QUANTIZATIONS):
        raise UserError(f"no quantization {quantize!r}; {nearest(str(quantize), QUANTIZATIONS)}")
    name, packages = FORMATS[format]
    if quantize and format == "openvino":
        raise UserError(
            "--format openvino --quantize int8: OpenVINO quantizes with another package, NNCF; use "
            "--format onnx --quantize int8, which OpenVINO reads"
        )
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(
            f'{name} needs {", ".join(missing)}: pip install -e ".[{format}]", or "kpipe[{format}]"'
        )
