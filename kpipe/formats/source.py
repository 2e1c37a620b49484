"""What is converted: the endpoints of a run's SavedModel that take and return numbers."""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from .. import manifest
from ..errors import UserError
from ..export.loading import SavedModel, load
from ..records import Run, open_run
from .rewriting import without_signs_of_zero

EXPORTS = "exports"  # folder of a run
# Endpoints of an autoencoder. Files and texts are decoded outside: no other runtime has the same
# decoders and tables of words.
AUTOENCODER = ("encode", "decode", "reconstruct")
TOKENS, ENCODED, DEFAULT = "serving_tokens", "serving_encoded", "serving_default"


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """An endpoint without words: its inputs and outputs are numbers or booleans.

    Attributes:
        name: Name of the signature.
        specs: Its inputs by argument.
        outputs: Names of its outputs, without those that are words, such as `label`.
        frozen: Concrete function of the inputs, in their order, to the outputs, in the order of
            their names; variables are constants, and what is not used is left out.
    """

    name: str
    specs: Mapping[str, tf.TensorSpec]
    outputs: tuple[str, ...]
    frozen: Any

    def operations(self) -> frozenset[str]:
        """Returns the names of all operations that it executes."""
        graph = self.frozen.graph.as_graph_def()
        inside = (node for function in graph.library.function for node in function.node_def)
        return frozenset(node.op for node in (*graph.node, *inside))


@dataclasses.dataclass(frozen=True)
class Source:
    """A run's SavedModel, checked and loaded.

    Attributes:
        run: The run.
        model: Its SavedModel.
        endpoints: What is converted.
        kind: "images", "texts", "table", "encoded table" or "arrays".
    """

    run: Run
    model: SavedModel
    endpoints: tuple[Endpoint, ...]
    kind: str

    def size(self) -> int:
        """Returns the bytes of the SavedModel's graph and variables."""
        folder = self.model.folder
        paths = [folder / "saved_model.pb", *(folder / "variables").iterdir()]
        return sum(path.stat().st_size for path in paths)

    def digest(self) -> str:
        """Returns a hash of the SavedModel's files."""
        found = manifest.describe(self.model.folder, self.model.folder.rglob("*"))
        return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()

    def asset(self, name: str) -> list[str]:
        """Returns the lines of a text file beside the graph; none if there is no such file."""
        path = self.model.folder / "assets" / name
        return path.read_text(encoding="utf-8").split("\n")[:-1] if path.is_file() else []


def write_saved_model(endpoints: Iterable[Endpoint], folder: pathlib.Path) -> None:
    """Writes a SavedModel that has some endpoints and no others, for converters.

    Args:
        endpoints: The endpoints.
        folder: A new folder.
    """
    signatures = {
        endpoint.name: _traced(endpoint.frozen, endpoint.specs, endpoint.outputs)
        for endpoint in endpoints
    }
    tf.saved_model.save(tf.Module(), str(folder), signatures=signatures)


def open_source(folder: str | os.PathLike, trust: bool = False) -> Source:
    """Opens a finished run, checks its SavedModel and chooses the endpoints to convert.

    Args:
        folder: The run's folder.
        trust: Whether to load a SavedModel without checking its operations.

    Raises:
        UserError: It is not a finished run, its SavedModel is damaged or refused, or it has no
            endpoint that takes numbers.
    """
    run = open_run(folder)
    if run.record.status != "finished":
        raise UserError(
            f"{run.folder}: {run.record.status}; only an export that equals the trained model is "
            f"converted: {run.record.command}"
        )
    # The version that the golden cases belong to.
    model = load(run.folder, version=run.record.version, trust=trust)
    kind, names = _chosen(run.folder, model)
    return Source(run, model, tuple(_endpoints(model, names)), kind)


def _chosen(folder: pathlib.Path, model: SavedModel) -> tuple[str, Iterable[str]]:
    """Returns the kind of the inputs, and the endpoints that take numbers."""
    signatures = model.signatures
    if "decode" in signatures:
        return "images", AUTOENCODER
    if TOKENS in signatures:
        return "texts", (TOKENS,)
    if not any(spec.dtype == tf.string for spec in _specs(signatures[DEFAULT]).values()):
        images = model.input_spec is not None and model.input_spec.dtype == tf.uint8
        return "table" if model.columns else "images" if images else "arrays", (DEFAULT,)
    if ENCODED in signatures:
        return "encoded table", (ENCODED,)
    raise UserError(
        f"{folder}: its columns of words are encoded inside the graph, which other formats cannot "
        "do, and an older kpipe exported it; train it again with --fresh, and the network's own "
        "input is an endpoint as well"
    )


def _specs(signature: Any) -> dict[str, tf.TensorSpec]:
    return dict(signature.structured_input_signature[1])


def _endpoints(model: SavedModel, names: Iterable[str]) -> Iterator[Endpoint]:
    for name in names:
        signature = model.signatures[name]
        specs = _specs(signature)
        outputs = signature.structured_outputs
        numbers = tuple(sorted(o for o, spec in outputs.items() if spec.dtype != tf.string))
        frozen = convert_variables_to_constants_v2(
            _without_words(signature, specs, numbers), lower_control_flow=False
        )
        yield Endpoint(name, specs, numbers, without_signs_of_zero(frozen))


def _without_words(
    signature: Any, specs: Mapping[str, tf.TensorSpec], numbers: Iterable[str]
) -> Any:
    """Returns a signature as a concrete function that computes some of its outputs alone."""

    def call(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        answers = signature(**dict(zip(specs, tensors, strict=True)))
        return {name: answers[name] for name in numbers}

    return _concrete(call, specs)


def _traced(frozen: Any, specs: Mapping[str, tf.TensorSpec], outputs: tuple[str, ...]) -> Any:
    """Returns a frozen function with the names of its inputs and outputs."""

    def call(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(outputs, frozen(*tensors), strict=True))

    return _concrete(call, specs)


def _concrete(call: Callable[..., Any], specs: Mapping[str, tf.TensorSpec]) -> Any:
    named = [tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in specs.items()]
    return tf.function(call, autograph=False).get_concrete_function(*named)
