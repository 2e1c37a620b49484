"""What a page or a client needs to know of a model, from its run and its export."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import files, formatting
from ..datasets.columns import Column
from ..errors import UserError
from ..explaining import methods_of
from ..export.loading import SavedAutoencoder, SavedModel
from ..measures.calibration import COVERAGE
from ..records import Record, read_record
from .signatures import BYTES, DEFAULT, Signature

MAX_CHOICES = 50  # values of a category that a page offers
_LONGEST = 1024  # tokens of a text, if the run does not say

_KINDS = {"own": "your own data", "sample": "sample data", "real": "real data"}


def longest_of(folder: pathlib.Path) -> int:
    """Returns the largest number of tokens of a text that the model of a run was trained with."""
    record = _record(folder)
    found = record.data.about.get("sequence_length") if record else None
    return found if isinstance(found, int) and found > 0 else _LONGEST


def describe(
    folder: pathlib.Path,
    number: int,
    model: SavedModel,
    signatures: Mapping[str, Signature],
    examples: Mapping[str, Any],
) -> dict[str, Any]:
    """Describes a version of a model in JSON values.

    Args:
        folder: The run's folder.
        number: The version.
        model: The loaded export.
        signatures: Its signatures.
        examples: Ordinary values of a table's columns by argument; {} if none are known.
    """
    record = _record(folder)
    outputs = sorted(model.outputs)
    own = record if record and record.version == number else None  # else of another version
    latents = own.details.get("latents") if own else None
    return {
        "version": number,
        "task": model.task or ("classification" if "probabilities" in outputs else ""),
        "title": record.title if record else "",
        "data": f"{record.data.name} ({_KINDS.get(record.data.kind, '?')})" if record else "",
        "headline": _headline(folder, own) if own else None,
        "input": _input(signatures, examples),
        "outputs": outputs,
        "labels": list(model.label_names),
        "calibrated": "calibrated" in outputs,
        "coverage": COVERAGE if "prediction_set" in outputs else None,
        "code_size": model.code_size if isinstance(model, SavedAutoencoder) else None,
        "latents": latents if isinstance(latents, Mapping) else None,
        "signatures": list(signatures),
        "explains": _methods(model),
    }


def _methods(model: SavedModel) -> list[str]:
    """Returns the methods that can explain a model; none of an autoencoder."""
    try:
        return list(methods_of(model))
    except UserError:
        return []


def _record(folder: pathlib.Path) -> Record | None:
    path = folder / "run.json"
    try:
        return read_record(path) if path.is_file() else None
    except UserError:  # the export is served without its description
        return None


def _headline(folder: pathlib.Path, record: Record) -> dict[str, Any] | None:
    """Returns the main metric of a run with its interval; None if it is not known."""
    try:
        metrics: Any = files.read_json(folder / "metrics.json")
        target = record.target.metric if record.target else None
        name = formatting.headline(target, record.headline, metrics)
        found = metrics[name]
        return {"name": name} | {key: found.get(key) for key in ("value", "low", "high", "n")}
    except (UserError, KeyError, TypeError, AttributeError):
        return None


def _input(signatures: Mapping[str, Signature], examples: Mapping[str, Any]) -> dict[str, Any]:
    signature = signatures[DEFAULT]
    if signature.columns:
        names = signature.arguments
        columns = [
            _column(column, argument, examples.get(argument), names)
            for argument, column in signature.columns.items()
        ]
        return {"kind": "table", "columns": columns}
    (spec,) = signature.inputs.values()
    if spec.dtype.name == "string":
        return {"kind": "text"}
    kind = "image" if BYTES in signatures else "array"
    return {"kind": kind, "shape": spec.shape.as_list()[1:]}


def _column(
    column: Column, argument: str, examples: Any, names: Mapping[str, str]
) -> dict[str, Any]:
    """Describes a column; choices of a category are those among the examples."""
    known = [value for value in examples if value not in (b"",)] if examples is not None else []
    if column.is_number:
        known = [float(value) for value in known if np.isfinite(value)]
    else:
        known = [value.decode(errors="replace") for value in known]
    is_own = names[column.name] == argument
    return {
        "name": column.name if is_own else argument,
        "argument": argument,
        "kind": column.kind,
        "choices": sorted(set(known))[:MAX_CHOICES] if column.kind == "category" else None,
        "example": known[0] if known else None,
    }
