"""Reads a converted model again, and replays it."""

import importlib.util
import pathlib
from typing import Any

from .. import files, formatting, manifest
from ..errors import RunError, UserError
from . import FORMATS
from .cases import replays, test_files
from .proving import TOLERANCE, Converted, explain, prove
from .source import open_source

RECORD = "export.json"
# Package that runs a format; a converter is not needed.
RUNTIMES = {"litert": "ai_edge_litert", "onnx": "onnxruntime", "openvino": "openvino"}


def read_export(folder: pathlib.Path) -> dict[str, Any]:
    """Checks the files of a converted model against its manifest, and returns its record.

    Args:
        folder: Its folder.

    Raises:
        UserError: It is none, or a file is missing, damaged or changed; the message names it.
    """
    if not (folder / RECORD).is_file():
        raise UserError(f"{folder} exists but is not an export; use --out or rename it")
    manifest.check(folder, remedy="--fresh replaces it")
    content: Any = files.read_json(folder / RECORD)
    if not isinstance(content, dict) or content.get("format") not in FORMATS:
        raise UserError(f"{folder / RECORD}: not the record of an export; --fresh replaces it")
    return content


def find_change(run: pathlib.Path, folder: pathlib.Path, trust: bool) -> tuple[str, bool]:
    """Verifies a converted model: its files, and unless it is quantized its answers.

    Args:
        run: The folder of the run.
        folder: That of the converted model.
        trust: Whether to load the run's SavedModel without checking its operations.

    Returns:
        What was found, and whether it is a problem.
    """
    try:
        content = read_export(folder)
        unlisted = _unlisted(folder)
        if unlisted:
            return f"files not written by kpipe export: {', '.join(unlisted)}", True
        if content["quantize"]:
            return f"all files are as written; {content['quantize']} is not replayed", False
        if importlib.util.find_spec(RUNTIMES[content["format"]]) is None:
            missing = RUNTIMES[content["format"]]
            return f"all files are as written; not replayed, since {missing} is missing", False
        source = open_source(run, trust)
        if content["source_sha256"] != source.digest():
            return "converted from another SavedModel; kpipe export --fresh replaces it", True
        models = {name: entry["file"] for name, entry in content["endpoints"].items()}
        listed = manifest.read(folder / manifest.NAME)
        if outside := [file for file in models.values() if file not in listed]:
            return f"{RECORD} names {outside[0]!r}, which is not a file of it", True
        outputs = {name: entry["outputs"] for name, entry in content["endpoints"].items()}
        converted = Converted(content["format"], folder, models, outputs)
        proof = prove(source, converted, replays(source, test_files(source)))
    except (UserError, RunError) as error:
        return str(error), True
    worst = formatting.small(proof.worst[1])
    if proof.worst[1] <= TOLERANCE:
        return f"answers as the trained model did: largest difference {worst}", False
    return f"{explain(proof)} from the trained model", True


def _unlisted(folder: pathlib.Path) -> list[str]:
    listed = manifest.read(folder / manifest.NAME)
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name not in listed and name != manifest.NAME)
