"""The exact state of a run, in one atomic commit."""

import json
import pathlib
import shutil
from collections.abc import Mapping, Sequence

import tensorflow as tf

from .. import files
from ..errors import RunError

KEPT = 2  # the newest, and the one before it in case the newest cannot be read


class Checkpoints:
    """Numbered folders, each one commit: `step-N/` with tensors and `state.json`.

    `tf.train.Checkpoint` given a Keras model leaves out its seed generators; given the ordered
    variables themselves it leaves out nothing. A folder appears by renaming, after a sync: there
    is no moment at which a kill leaves a commit half there.

    Args:
        folder: Where the commits are kept.
        variables: Named, ordered lists of every tf.Variable that changes during the run.
    """

    def __init__(self, folder: pathlib.Path, variables: Mapping[str, Sequence[tf.Variable]]):
        self.folder = folder
        self._checkpoint = tf.train.Checkpoint(**{k: list(v) for k, v in variables.items()})

    def save(self, step: int, state: dict) -> None:
        """Commits all variables together with a state of plain JSON values."""
        files.make_folder(self.folder)
        with files.new_folder(self.folder / f"step-{step:012d}") as folder:
            self._checkpoint.write(str(folder / "variables"))
            (folder / "state.json").write_text(json.dumps(state))
        for old in self._commits()[:-KEPT]:
            shutil.rmtree(old)

    def restore(self) -> dict | None:
        """Sets all variables to the newest commit that can be read; its state, or None.

        Raises:
            RunError: There are commits and none can be read.
        """
        if not self.folder.is_dir():
            return None
        files.remove_leftovers(self.folder)
        commits = self._commits()
        for folder in reversed(commits):
            try:
                state = json.loads((folder / "state.json").read_text())
                self._checkpoint.read(str(folder / "variables")).assert_consumed()
            except (OSError, ValueError, IndexError, AssertionError, tf.errors.OpError):
                print(f"{folder} cannot be read; trying the commit before it", flush=True)
            else:
                return state
        if commits:
            raise RunError(
                f"{self.folder}: no checkpoint fits this model; --fresh trains from the start"
            )
        return None

    def _commits(self) -> list[pathlib.Path]:
        return sorted(self.folder.glob("step-*"))
