"""Writes the SavedModel of a run, and runs its proof."""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from .. import files
from ..disk import without_patterns
from ..errors import RunError
from .golden import Case
from .versions import SERVING
from .warming import write_requests


class Endpoints(NamedTuple):
    """The signatures of a SavedModel.

    Attributes:
        signatures: Function and input spec of each signature, by name. With a dict of specs the
            function takes a dict, and the signature one argument for each.
        resources: Keras models whose variables and tables the functions use.
        assets: Lists of words for people, written as text files next to the graph.
    """

    signatures: Mapping[
        str,
        tuple[Callable[..., dict[str, tf.Tensor]], tf.TensorSpec | dict[str, tf.TensorSpec]],
    ]
    resources: Sequence[keras.Model]
    assets: Mapping[str, Sequence[str]]


def export(
    folder: pathlib.Path,
    endpoints: Endpoints,
    place: str = f"{SERVING}/1",
    name: str = "",
    cases: Sequence[Case] = (),
) -> None:
    """Writes a SavedModel atomically.

    Args:
        folder: The run's folder.
        endpoints: The result of a task's `endpoints`.
        place: Its folder in that one, `unproven/N` for one that `publish` moves.
        name: Name of the model in the requests of TensorFlow Serving's warm-up.
        cases: The golden cases, from which these are made.
    """
    archive = keras.export.ExportArchive()
    for resource in endpoints.resources:
        archive.track(resource)
    for endpoint, (function, signature) in endpoints.signatures.items():
        archive.add_endpoint(endpoint, function, input_signature=[signature])
    path = folder / place
    files.make_folder(path.parent)
    files.remove_leftovers(path.parent)  # of a kill during an export
    with files.new_folder(path) as temporary:
        archive.write_out(str(temporary), verbose=False)
        (temporary / "assets").mkdir(exist_ok=True)
        for asset, words in endpoints.assets.items():
            lines = "".join(f"{word}\n" for word in words)
            (temporary / "assets" / asset).write_text(lines, encoding="utf-8")
        write_requests(temporary, name, cases)


def prove(folder: pathlib.Path, test_files: Sequence[pathlib.Path]) -> dict[str, Any]:
    """Runs proof.py on an export in a fresh process; returns the fields of `records.ProofRecord`.

    Args:
        folder: The run's folder.
        test_files: Files of the arrays of the test split's inputs; without them, cases on the test
            split are left out.

    Raises:
        RunError: The process failed.
    """
    script = pathlib.Path(__file__).with_name("proof.py")
    # -P keeps the script's folder, which is inside kpipe, off the import path.
    command = [sys.executable, "-P", str(script)]
    with without_patterns(folder) as readable:
        done = subprocess.run(
            [*command, str(readable), *map(str, test_files)],
            capture_output=True,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RunError(f"{folder}: the proof of the export crashed: {lines[-1]}") from None
