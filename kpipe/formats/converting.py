"""Converts a run's SavedModel to another format: checks, converts, proves, measures, publishes."""

import contextlib
import dataclasses
import datetime
import importlib
import os
import pathlib
import re
import shutil
import sys
import tempfile
import types
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

import numpy as np

from .. import __version__, files, formatting, manifest
from ..errors import RunError, UserError, first_line
from ..experiments.session import own_session
from . import FORMATS, require, words
from .again import RECORD, read_export
from .calibration import examples_of
from .cases import replays, test_files
from .proving import (
    DERIVED,
    ON_TEST,
    TOLERANCE,
    Converted,
    Proof,
    compare,
    explain,
    prove,
    time_both,
)
from .readme import readme
from .source import EXPORTS, Source, open_source
from .telling import table

ASSETS = ("labels.txt", "vocabulary.txt", "columns.txt", "encoding.json")
# Packages whose versions are recorded.
_VERSIONS = ("tensorflow", "ai-edge-litert", "onnx", "onnxruntime", "tf2onnx", "openvino")


@dataclasses.dataclass(frozen=True, repr=False)
class Conversion:
    """The result of `convert`; `repr` is the table that `kpipe export` prints.

    Attributes:
        folder: Its folder, with the model, README.md and what belongs to it.
        content: The content of export.json.
    """

    folder: pathlib.Path
    content: Mapping[str, Any]

    def __repr__(self) -> str:
        return "\n".join([f"{self.folder}:", *table(self.content)])


@own_session()
def convert(
    folder: str | os.PathLike,
    format: str,
    *,
    quantize: str | None = None,
    out: str | os.PathLike | None = None,
    fresh: bool = False,
    trust: bool = False,
) -> Conversion:
    """Converts a finished run's SavedModel to another format, and proves the result.

    In a process that has neither Keras nor TensorFlow it is replayed on the golden cases and on the
    test split. A float32 model that differs from the trained one is not written; of an int8 model
    the difference of the main metric is measured.

    Args:
        folder: Folder of the run.
        format: "litert", "onnx" or "openvino".
        quantize: "int8" for 8-bit weights and activations, with scales chosen by examples of val,
            for which the data must be there; None for float32.
        out: Folder in which a folder such as `onnx` or `litert-int8` is written; by default
            `exports` in that of the run.
        fresh: Whether to replace an existing one.
        trust: Whether to load a SavedModel without checking its operations.

    Returns:
        What was written; or what was there, if it was converted from the same SavedModel.

    Raises:
        UserError: An argument is wrong, a package is missing, or the model cannot be converted.
        RunError: The converter failed, or the converted model differs from the trained one.

    Example:
        kpipe.convert("saved_models/mnist_mlp", "onnx")
    """
    require(format, quantize)
    source = open_source(folder, trust)
    name = f"{format}-{quantize}" if quantize else format
    where = source.run.folder / EXPORTS if out is None else pathlib.Path(out).expanduser()
    target = where / name
    if not target.exists():  # fails before the folder is made
        _refuse(source, format, quantize)
    files.make_folder(where)
    with files.lock(target, wait=False):
        files.remove_leftovers(where, name)
        if target.exists() and not fresh:
            result = _existing(target, source)
            print(f"exists already, of the same SavedModel; --fresh replaces it\n{result}")
            return result
        if target.exists() and not (target / RECORD).is_file():
            raise UserError(f"{target} exists but is not an export; use --out or rename it")
        _refuse(source, format, quantize)
        result = _convert(source, format, quantize, target)
    print(result, flush=True)
    return result


def _module(format: str) -> types.ModuleType:
    return importlib.import_module(f".to_{format}", __package__)


def _refuse(source: Source, format: str, quantize: str | None) -> None:
    """Refuses what is known not to work, before any work."""
    if quantize and source.kind == "texts":
        raise UserError(
            f"{source.run.folder}: {quantize} has scales for inputs of one shape; texts have any "
            "length, and the large negative numbers of attention masks leave 8 bits no digits for "
            "the rest: leave out --quantize"
        )
    _module(format).refuse(source, quantize)


def _existing(target: pathlib.Path, source: Source) -> Conversion:
    content: Any = read_export(target)
    if content["source_sha256"] != source.digest():
        raise UserError(
            f"{target} was converted from another SavedModel; --fresh replaces it, --out DIR keeps "
            "both"
        )
    return Conversion(target, content)


def _convert(source: Source, format: str, quantize: str | None, target: pathlib.Path) -> Conversion:
    what = f"{FORMATS[format][0]}{f' {quantize}' if quantize else ''}"
    arrays_of_test = test_files(source)
    given, calibrated = examples_of(source) if quantize else ({}, None)
    if quantize:  # they may have been prepared again
        arrays_of_test = test_files(source)
    listed = replays(source, arrays_of_test)
    with tempfile.TemporaryDirectory() as work:
        folder = pathlib.Path(work)
        print(f"converting {source.run.folder} to {what}", flush=True)
        models = _written(source, format, folder, given, what)
        outputs = {endpoint.name: list(endpoint.outputs) for endpoint in source.endpoints}
        converted = Converted(format, folder, models, outputs)
        print("replaying it in a process without Keras and TensorFlow", flush=True)
        proof = prove(source, converted, listed)
        if not quantize and not proof.worst[1] <= TOLERANCE:
            raise RunError(
                f"{source.run.folder}: as {what}, {explain(proof)}, more than "
                f"{formatting.small(TOLERANCE)}, from the trained model; nothing is written"
            )
        if bad := next((name for name, v in proof.answers.items() if not np.isfinite(v).all()), ""):
            raise RunError(f"{source.run.folder}: as {what}, {bad} contains NaN or infinity")
        content = {
            "format": format,
            "quantize": quantize,
            **_about(source),
            "endpoints": _endpoints(source, models),
            "bytes": sum(path.stat().st_size for path in _model_files(folder, models)),
            "savedmodel_bytes": source.size(),
            "calibration": calibrated,
            "proof": _proof(proof, quantize),
            "quality": compare(source.run, proof.answers) if proof.answers else {},
            "speed": time_both(source, converted, listed),
        }
        with files.new_folder(target) as temporary:
            for path in _model_files(folder, models):
                shutil.copyfile(path, temporary / path.name)
            for name in ASSETS:
                if (path := source.model.folder / "assets" / name).is_file():
                    shutil.copyfile(path, temporary / name)
            if source.kind == "texts":
                (temporary / words.FILE).write_text(words.to_json(source), encoding="utf-8")
            text = readme(source, content)
            (temporary / "README.md").write_text(text, encoding="utf-8")
            (temporary / RECORD).write_bytes(manifest.seal(content))
    return Conversion(target, content)


def _written(
    source: Source, format: str, folder: pathlib.Path, given: Mapping[str, Any], what: str
) -> dict[str, str]:
    try:
        with _without_output():
            return _module(format).write(source, folder, given)
    except Exception as error:  # converters raise errors of many types
        raise RunError(
            f"{source.run.folder}: cannot be converted to {what}: {_reason(error)}"
        ) from error


# What MLIR writes before the message of an error: where in the graph it is.
_PLACE = re.compile(r"^.*?\berror: (?:loc\(.*\): )?", re.MULTILINE)


def _reason(error: Exception) -> str:
    """Returns the first line of a converter's error that says what is wrong."""
    found = re.search(r"'tf\.\w+' op [^\n]*|No conversion rule found [^\n]*", str(error))
    return found[0] if found else _PLACE.sub("", first_line(error))


@contextlib.contextmanager
def _without_output() -> Iterator[None]:
    """Drops what a converter's C++ code writes to descriptors 1 and 2; its errors say it, too."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(descriptor) for descriptor in (1, 2)]
    try:
        with open(os.devnull, "wb") as nowhere:
            for descriptor in (1, 2):
                os.dup2(nowhere.fileno(), descriptor)
        yield
    finally:
        for descriptor, original in zip((1, 2), kept, strict=True):
            os.dup2(original, descriptor)
            os.close(original)


def _about(source: Source) -> dict[str, Any]:
    record = source.run.record
    versions = {"kpipe": __version__}
    for name in _VERSIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "pipeline": record.pipeline,
        "task": record.task,
        "kind": source.kind,
        "weights_sha256": record.weights_sha256,
        "source_sha256": source.digest(),
        "versions": versions,
        "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _endpoints(source: Source, models: Mapping[str, str]) -> dict[str, Any]:
    return {
        endpoint.name: {
            "file": models[endpoint.name],
            "inputs": {
                name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
                for name, spec in endpoint.specs.items()
            },
            "outputs": list(endpoint.outputs),
        }
        for endpoint in source.endpoints
    }


def _model_files(folder: pathlib.Path, models: Mapping[str, str]) -> list[pathlib.Path]:
    """Returns the files of the models; OpenVINO's weights are beside the graph."""
    paths = [folder / name for name in dict.fromkeys(models.values())]
    weights = [path.with_suffix(".bin") for path in paths]
    return [*paths, *(path for path in weights if path.is_file())]


def _is_derived(name: str) -> bool:
    return name.partition(".")[2].removesuffix(ON_TEST) in DERIVED


def _proof(proof: Proof, quantize: str | None) -> dict[str, Any]:
    # Of int8, what follows from the probabilities differs as they do, and sets by whole classes.
    compared = [d for name, d in proof.differences.items() if not (quantize and _is_derived(name))]
    return {
        "max_difference": max(compared),
        "tolerance": None if quantize else TOLERANCE,
        "differences": proof.differences,
        "batches": proof.batches,
        "test_examples": proof.test_examples,
    }
