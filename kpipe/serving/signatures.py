"""The signatures of an export: what a request may contain, and what it is answered."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2

from ..datasets.columns import Column, arguments_of
from ..export.loading import SavedModel
from ..export.versions import GRAPH

DEFAULT = "serving_default"
BYTES = "serving_bytes"


@dataclasses.dataclass(frozen=True)
class Signature:
    """A function of an export.

    Attributes:
        name: Its name, such as "serving_default".
        inputs: Shape and dtype of each argument; the first dimension is that of examples.
        outputs: The same of each output.
        columns: Of a table: the column of each argument; else {}.
        encoded: Whether it takes encoded image files.
        longest: Largest size of a dimension that the model leaves open, such as the tokens of a
            text: time and memory grow with it.
    """

    name: str
    inputs: Mapping[str, tf.TensorSpec]
    outputs: Mapping[str, tf.TensorSpec]
    columns: Mapping[str, Column] = dataclasses.field(default_factory=dict)
    encoded: bool = False
    longest: int = 1024

    @property
    def arguments(self) -> Mapping[str, str]:
        """Argument by each name that a request may use: the argument, or its column's name."""
        named = {column.name: argument for argument, column in self.columns.items()}
        return named | {argument: argument for argument in self.inputs}


def signatures_of(model: SavedModel, longest: int) -> dict[str, Signature]:
    """Returns the signatures of a loaded export by name.

    Args:
        model: The export.
        longest: See `Signature`.
    """
    columns = dict(zip(arguments_of(model.columns), model.columns, strict=True))
    found = {}
    for name, function in model.signatures.items():
        inputs = function.structured_input_signature[1]
        found[name] = Signature(
            name,
            {argument: inputs[argument] for argument in (columns or sorted(inputs))},
            dict(sorted(function.structured_outputs.items())),
            columns,
            name == BYTES,
            longest,
        )
    return found


def definitions(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the signatures of a SavedModel in the JSON form of TensorFlow Serving.

    Args:
        folder: Folder of the SavedModel.
    """
    content = saved_model_pb2.SavedModel.FromString((folder / GRAPH).read_bytes())
    options = {"preserving_proto_field_name": True, "always_print_fields_with_no_presence": True}
    return {
        name: json_format.MessageToDict(definition, **options)
        for name, definition in content.meta_graphs[0].signature_def.items()
    }
