"""The files of keras-tuner, which writes them in place, made atomic and checked."""

import contextlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

from keras_tuner.src import utils

from . import files, manifest


@contextlib.contextmanager
def checked_json() -> Iterator[None]:
    """Within the block keras-tuner writes JSON atomically, with a checksum, which it compares."""

    def save(path: str, content: dict) -> str:
        files.write_bytes(pathlib.Path(path), manifest.seal(content, allow_nan=True))
        return json.dumps(content)

    with (
        mock.patch.object(utils, "save_json", save),
        mock.patch.object(utils, "load_json", lambda path: files.read_json(pathlib.Path(path))),
    ):
        yield


def check_whole(folder: pathlib.Path) -> None:
    """Refuses a folder of keras-tuner from which a file is missing; without trials it is new.

    Raises:
        UserError: A file is missing or damaged; the message names it.
    """
    if not any(folder.glob("trial_*")):
        return
    oracle: Any = files.read_json(folder / "oracle.json")
    for trial in oracle["start_order"]:
        files.read_json(folder / f"trial_{trial}" / "trial.json")
    if oracle["end_order"]:  # without it keras-tuner starts over
        files.read_json(folder / "tuner0.json")
