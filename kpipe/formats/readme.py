"""README.md of a converted model: what it is, how it is called, how inputs are made."""

from collections.abc import Mapping
from typing import Any

from . import FORMATS
from .source import Endpoint, Source
from .words import CODE

_IMPORTS = {
    "litert": "from ai_edge_litert.interpreter import Interpreter  # pip install ai-edge-litert\n",
    "onnx": "import onnxruntime  # pip install onnxruntime\n",
    "openvino": "import openvino  # pip install openvino\n",
}
_LOADING = {
    "litert": """\
interpreter = Interpreter("{file}")
model = interpreter.get_signature_runner("{endpoint}")
outputs = model({arguments})
""",
    "onnx": """\
model = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
names = [output.name for output in model.get_outputs()]
outputs = dict(zip(names, model.run(names, {given})))
""",
    "openvino": """\
# Without the hint it computes in bfloat16 where the processor has it, with errors of 1e-3.
config = {{"INFERENCE_PRECISION_HINT": "f32"}}
model = openvino.Core().compile_model("{file}", "CPU", config)
outputs = model({given})
""",
}
_ABOUT = {
    "images": (
        "Images are uint8, (n, height, width, channels), white is 255: crop the central box of "
        "these proportions and resize it with antialiasing, as `kpipe predict` does."
    ),
    "texts": (
        "`tokens` are ids of words, int32 (n, length), padded with 0 on the right. The id of a "
        "word is its line in vocabulary.txt, from 0; of unknown words, and of a text without "
        "words, it is 1. tokens.json says how a text is divided into words, here in Python; pad "
        f"with `np.array([tokens(text)], np.int32)`:\n\n```python{CODE}```"
    ),
    "table": (
        "Each column is an argument, float32 (n,), NaN if missing; columns.txt has argument, name "
        "and kind of each, separated by tabs. Booleans are 0 or 1."
    ),
    "encoded table": (
        "The input is an encoded row: its columns contain words or dates, which this format cannot "
        "convert. encoding.json says how: `values` are the parts of a row in their order. A "
        "number's value is (x - mean) / deviation, with the median if x is missing, clipped to "
        "+-limit, and its missing part 1 if it is; a date's x is the days since its median (which "
        "is in seconds since 1970), 0 if missing. Its cycles are sine and cosine of 2 pi times the "
        "share of the year that has passed, of the week from Monday, and of the day, 0 if missing. "
        "The id of a category is 0 if missing, 1 if it is not in the vocabulary, else its place "
        "there, from 0, + 2."
    ),
    "arrays": "The input is what the network was trained on, unchanged.",
}
_OUTPUTS = {
    "probabilities": "of each label, in the order of labels.txt",
    "calibrated": "the same after temperature scaling, fitted to val",
    "prediction_set": "classes that together contain the true one in 90 % of the cases",
    "value": "the predicted number, in the unit of the labels",
    "code": "the code of an image",
    "reconstruction": "an image, white is 1",
    "kl": "information of each latent, in nats",
}


def readme(source: Source, content: Mapping[str, Any]) -> str:
    """Writes README.md.

    Args:
        source: What was converted.
        content: The content of export.json.
    """
    record = source.run.record
    what = FORMATS[content["format"]][0]
    quantized = f", quantized to {content['quantize']}" if content["quantize"] else ""
    parts = [
        f"# {record.pipeline}: {what}{quantized}\n",
        f"Converted by `kpipe export` from the SavedModel of a run of {record.pipeline}, and "
        "compared with the trained model. export.json has the measurements, manifest.json the "
        "SHA-256 of each file.\n",
    ]
    for endpoint in source.endpoints:
        file = content["endpoints"][endpoint.name]["file"]
        several = len(source.endpoints) > 1
        title = f"`{endpoint.name}`, in this folder" if several else "In this folder"
        parts.append(f"{title}:\n\n```python\n{_code(endpoint, content, file)}```\n")
    parts.append(_ABOUT[source.kind] + "\n")
    outputs = dict.fromkeys(name for endpoint in source.endpoints for name in endpoint.outputs)
    parts.append("Outputs:\n")
    parts.append("".join(f"- `{name}`{_explained(name)}\n" for name in outputs))
    return "\n".join(parts)


def _explained(name: str) -> str:
    return f": {_OUTPUTS[name]}" if name in _OUTPUTS else ""


def _code(endpoint: Endpoint, content: Mapping[str, Any], file: str) -> str:
    """Writes Python code that calls an endpoint with zeros."""
    values = {}
    for name, spec in endpoint.specs.items():
        sizes = [1, *(size or 8 for size in spec.shape[1:])]
        shape = f"({', '.join(map(str, sizes))}{',' * (len(sizes) == 1)})"
        values[name] = f"np.zeros({shape}, np.{spec.dtype.name})"
    lines = "".join(f'    "{name}": {value},\n' for name, value in values.items())
    labels = "probabilities" in endpoint.outputs and content["task"] == "classification"
    imports = "import pathlib\n\n" if labels else ""
    third = sorted([_IMPORTS[content["format"]], "import numpy as np\n"], key=str.split)
    code = f"{imports}{''.join(third)}\ngiven = {{\n{lines}}}\n"
    call = _LOADING[content["format"]]
    code += call.format(file=file, endpoint=endpoint.name, arguments="**given", given="given")
    if labels:
        code += 'labels = pathlib.Path("labels.txt").read_text(encoding="utf-8").split("\\n")\n'
        code += 'print(labels[outputs["probabilities"][0].argmax()])\n'
    else:
        code += f'print(outputs["{endpoint.outputs[-1]}"].shape)\n'
    return code
