"""What is kept of an export, so that the next explanation is quick."""

import dataclasses
import math
import threading
import weakref
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ..errors import UserError
from ..export.golden import read_given
from ..export.loading import SavedModel
from ..export.versions import SERVING
from ..formatting import counted
from ..records import read_record
from . import rows
from .attribution import can_integrate, can_localize
from .explanation import ARRAY, ERASURE, GRAD_CAM, IMAGE, INTEGRATED, METHODS, TABLE, TEXT
from .network import Network

DEFAULT, TOKENS = "serving_default", "serving_tokens"
GOLDEN, RECORD = "golden.npz", "run.json"


def methods_of(model: SavedModel) -> tuple[str, ...]:
    """Returns the methods that can explain a model, in the order in which they are shown.

    Raises:
        UserError: The model has no labels or value to explain.
    """
    return subject_of(model).methods


def kind_of(model: SavedModel) -> str:
    """Returns what a model takes: "image", "text", "table" or "array"."""
    spec = model.input_spec
    if spec is None:
        return TABLE
    if spec.dtype == tf.string:
        return TEXT
    return IMAGE if spec.shape.rank == 4 else ARRAY


class Background(NamedTuple):
    """Rows whose values replace those of a row.

    Attributes:
        rows: One array (n,) for each column; none of them is there twice.
        split: Where they are from, in words.
    """

    rows: rows.Rows
    split: str

    def said(self, count: int) -> str:
        """Writes which rows the first ones are."""
        return f"{counted(count, 'row')} of {self.split}"


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is kept of an export, so that the next explanation is quick.

    Attributes:
        kind: What it takes.
        output: The output that is explained.
        targets: The labels; "value" of a regression.
        methods: The methods that can explain it.
        network: Its frozen graph; None of a table, whose columns have no gradient.
        vocabulary: The id of each word.
        fields: The columns of a table, or the numbers of an array.
        background: Rows whose values replace those of a row.
    """

    kind: str
    output: str
    targets: tuple[str, ...]
    methods: tuple[str, ...]
    network: Network | None
    vocabulary: Mapping[str, int]
    fields: Mapping[str, rows.Field]
    background: Background | None


# It must not refer to its key, a signature of the model, so that a model can be freed.
_KNOWN: weakref.WeakKeyDictionary[Any, Subject] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


def subject_of(model: SavedModel) -> Subject:
    signature = model.signature(DEFAULT)
    with _LOCK:
        if signature not in _KNOWN:
            _KNOWN[signature] = _make_subject(model)
        return _KNOWN[signature]


def _make_subject(model: SavedModel) -> Subject:
    outputs = ("calibrated", "probabilities", "value")
    output = next((name for name in outputs if name in model.outputs), "")
    if not output or "reconstruction" in model.outputs:
        given = ", ".join(sorted(model.outputs))
        raise UserError(
            f"{model.folder}: its answers are {given}; expected a model that predicts labels or a "
            "value, which alone are explained"
        )
    kind, fields, network = kind_of(model), dict[str, rows.Field](), None
    if kind == TABLE:
        fields = rows.fields_of(model.columns)
    else:
        network = Network(model.signature(TOKENS if kind == TEXT else DEFAULT), output)
        if kind == ARRAY:
            fields = rows.fields_of_array(network.shape)
    methods = _methods(kind, network)
    if not methods:
        raise UserError(
            f"{model.folder}: its graph has operations without a gradient, or answers with the "
            "mean over mirrored images; expected a network that can be differentiated from its "
            "answer to its input: train it without flip_at_test"
        )
    return Subject(
        kind=kind,
        output=output,
        targets=model.label_names or ("value",),
        methods=methods,
        network=network,
        vocabulary={word: i for i, word in enumerate(model.vocabulary)},
        fields=fields,
        background=_background(model, fields) if fields else None,
    )


def _methods(kind: str, network: Network | None) -> tuple[str, ...]:
    """Returns the methods that fit a kind of input, and the graph."""
    places = {IMAGE: 2, TEXT: 1}.get(kind, 0)
    fits = {
        GRAD_CAM: lambda: network is not None and can_localize(network),
        INTEGRATED: lambda: network is not None and can_integrate(network, places),
        ERASURE: lambda: (
            kind != ARRAY or network is None or math.prod(network.shape) <= rows.MAX_NUMBERS
        ),
    }
    return tuple(method for method in METHODS[kind] if fits[method]())


def _background(model: SavedModel, fields: Mapping[str, rows.Field]) -> Background | None:
    """Reads the rows of the run's golden.npz; None without them.

    They are of val, or of train if there is no val, and are repeated there if they are fewer.
    """
    if model.folder.parent.name != SERVING:
        return None
    folder = model.folder.parents[1]
    given = read_given(folder / GOLDEN, DEFAULT)
    if given is None:
        return None
    if model.columns:
        if given.keys() != fields.keys():  # of another version of the export
            return None
        found = {name: rows.as_values(fields[name], given[name]) for name in fields}
    else:
        (values,) = given.values()
        if np.shape(values)[1:] != tuple(model.input_spec.shape[1:]):  # type: ignore[union-attr]
            return None
        found = dict(zip(fields, np.reshape(values, (len(values), -1)).T, strict=True))
    if not (folder / RECORD).is_file():
        return Background(found, "val or train")
    examples = read_record(folder / RECORD).data.examples
    split = "val" if examples.get("val") else "train"
    count = examples.get(split)
    return Background({name: values[:count] for name, values in found.items()}, split)
