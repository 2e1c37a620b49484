"""Tasks: what is learned, measured, exported and reported. A module each, with the same names."""

import difflib
import importlib
import pathlib
from collections.abc import Collection
from types import ModuleType

from ..errors import UserError
from ..runs import read_record

# Name: what is learned.
TASKS = {
    "classification": "one class an example",
    "multilabel": "several labels an example, each 0 or 1",
    "regression": "a number an example",
    "reconstruction": "the input itself, through a code",
}
# An output by which an export without a record is recognized: its task.
_OUTPUTS = {"value": "regression", "code": "reconstruction", "probabilities": "classification"}
# Names in runs of format 1.
_CURRENT = {"multi-label classification": "multilabel"}


def find(name: str) -> ModuleType:
    """The module of a task.

    Args:
        name: As in `task = "classification"` of a pipeline.

    Raises:
        UserError: There is none; the known ones and the nearest are named.

    Example:
        find("regression").HEADLINE  # "mae"
    """
    name = _CURRENT.get(name, name)
    if name not in TASKS:
        close = difflib.get_close_matches(name, TASKS, n=1)
        offer = f"did you mean {close[0]!r}? " if close else ""
        known = ", ".join(f"{known!r} ({meaning})" for known, meaning in TASKS.items())
        raise UserError(f"no task {name!r}; {offer}known: {known}")
    return importlib.import_module(f".{name}", __package__)


def name_of(task: ModuleType) -> str:
    """The name of a task's module."""
    return task.__name__.rpartition(".")[2]


def answering(folder: pathlib.Path, outputs: Collection[str]) -> ModuleType:
    """The task whose `answer` puts a model's outputs into words.

    Args:
        folder: Of a run, or of a SavedModel alone.
        outputs: Their names.

    Raises:
        UserError: The outputs are those of no task.
    """
    path = folder / "run.json"
    if path.is_file():
        return find(read_record(path).task)
    for output, task in _OUTPUTS.items():
        if output in outputs:
            return find(task)
    known = ", ".join(_OUTPUTS)
    raise UserError(f"{folder}: gives {', '.join(outputs)}; expected one of {known}")
