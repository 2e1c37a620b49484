"""The exact state of a run, in one atomic commit."""

import hashlib
import json
import pathlib
import shutil
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from .. import files, manifest
from ..disk import without_patterns
from ..errors import RunError, first_line

KEPT = 2  # the newest commit, and the previous one in case the newest cannot be read


class Checkpoints:
    """Numbered folders, one per commit: `step-N/` contains tensors and `state.json`.

    `tf.train.Checkpoint` omits the seed generators of a Keras model; given an ordered list of
    variables it omits nothing. A folder is renamed into place after a sync, so that a kill never
    leaves half a commit; it is read only if it equals its manifest.

    Args:
        folder: Folder of the commits.
        variables: Named, ordered lists of all tf.Variables that change during the run.
    """

    def __init__(self, folder: pathlib.Path, variables: Mapping[str, Sequence[tf.Variable]]):
        self.folder = folder
        self._checkpoint = tf.train.Checkpoint(**{k: list(v) for k, v in variables.items()})

    def save(self, step: int, state: dict) -> None:
        """Commits all variables, with a state of plain JSON values."""
        files.make_folder(self.folder)
        path = self.folder / f"step-{step:012d}"
        with files.new_folder(path) as folder:
            self._checkpoint.write(str(folder / "variables"))
            (folder / "state.json").write_text(json.dumps(state))
        for old in self._commits()[:-KEPT]:
            shutil.rmtree(old)

    def restore(self) -> dict | None:
        """Restores all variables from the newest readable commit; returns its state, or None.

        Raises:
            RunError: There are commits, but none can be read.
        """
        if not self.folder.is_dir():
            return None
        files.remove_leftovers(self.folder)
        commits = self._commits()
        older = not any((folder / manifest.NAME).is_file() for folder in commits)
        if older and commits:
            print(f"{commits[-1]} has no manifest.json: resuming from it unchecked", flush=True)
        for folder in reversed(commits):
            try:
                if not older:
                    manifest.check(folder)
                state = json.loads((folder / "state.json").read_text())
                with without_patterns(folder) as readable:
                    self._checkpoint.read(str(readable / "variables")).assert_consumed()
            except Exception as error:  # damaged files raise errors of many types
                print(
                    f"{folder} cannot be read ({first_line(error)}); trying the previous "
                    "checkpoint",
                    flush=True,
                )
            else:
                return state
        if commits:
            raise RunError(
                f"{self.folder}: no checkpoint can be read or fits the model; --fresh starts over"
            )
        return None

    def _commits(self) -> list[pathlib.Path]:
        return sorted(self.folder.glob("step-*"))


def weights_sha256(model: keras.Model) -> str:
    """Returns the SHA-256 of the bytes of all weights, in the model's order."""
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()
