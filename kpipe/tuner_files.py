"""The files of keras-tuner, which writes them in place, made atomic and checked."""

import contextlib
import io
import json
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import keras
from keras.src.saving import saving_lib
from keras_tuner.src import utils

from . import files, manifest


class _WeightsStore(saving_lib.H5IOStore):
    """A file of weights that is built in memory: HDF5 crashes where it cannot write to a disk."""

    def __init__(self, path_or_io: Any, archive: Any = None, mode: str = "r") -> None:
        in_memory = mode == "w" and archive is None
        self.path, self.built = path_or_io, io.BytesIO() if in_memory else None
        super().__init__(self.built or path_or_io, archive, mode)

    def close(self) -> None:
        super().close()
        if self.built:
            files.write_bytes(pathlib.Path(self.path), self.built.getvalue())


@contextlib.contextmanager
def whole_files() -> Iterator[None]:
    """Within the block keras-tuner writes files atomically, and JSON with a checksum."""

    def save(path: str, content: dict) -> str:
        files.write_bytes(pathlib.Path(path), manifest.seal(content, allow_nan=True))
        return json.dumps(content)

    with (
        mock.patch.object(utils, "save_json", save),
        mock.patch.object(utils, "load_json", lambda path: files.read_json(pathlib.Path(path))),
        mock.patch.object(saving_lib, "H5IOStore", _WeightsStore),
    ):
        yield


def check_whole(folder: pathlib.Path) -> None:
    """Refuses a folder of keras-tuner from which a file is missing; without trials it is new.

    A trial that was noted while the process was killed, before the oracle noted it too, is removed:
    keras-tuner would count it and never train it. It is created again with the same values.

    Raises:
        UserError: A file is missing or damaged; the message names it.
    """
    if not any(folder.glob("trial_*")):
        return
    oracle: Any = files.read_json(folder / "oracle.json")
    for path in folder.glob("trial_*"):
        if path.name.removeprefix("trial_") not in oracle["start_order"]:
            shutil.rmtree(path)
    for trial in oracle["start_order"]:
        files.read_json(folder / f"trial_{trial}" / "trial.json")
    if oracle["end_order"]:  # without it keras-tuner starts over
        files.read_json(folder / "tuner0.json")


def note_weights(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Writes a manifest beside the weights that keras-tuner's callbacks saved."""
    for weights in (pathlib.Path(c.filepath) for c in callbacks if hasattr(c, "filepath")):
        files.write_manifest(weights.parent, [weights])  # trial.json changes, and has its own


def check_weights(folder: pathlib.Path) -> None:
    """Compares the weights of a trial with their manifest; an older kpipe wrote none.

    Raises:
        UserError: They are damaged; the message names the file.
    """
    if (folder / manifest.NAME).is_file():
        manifest.check(folder)
