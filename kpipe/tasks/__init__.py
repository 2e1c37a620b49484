"""Tasks: each is a module with the same functions, from checks to measures, export and report."""

import importlib
import pathlib
from collections.abc import Collection
from types import ModuleType

from ..errors import UserError, nearest
from ..records import read_record

# Name of a task: what is learned.
TASKS = {
    "classification": "one class per example",
    "multilabel": "several labels per example, each 0 or 1",
    "regression": "one number per example",
    "reconstruction": "the input itself, through a code",
}
# Output that identifies the task of an export without a record: the task.
_OUTPUTS = {"value": "regression", "code": "reconstruction", "probabilities": "classification"}
# Names in runs of format 1: their current names.
_CURRENT = {"multi-label classification": "multilabel"}


def find(name: str) -> ModuleType:
    """Finds the module of a task.

    Args:
        name: Name of the task, as in a pipeline's `task = "classification"`.

    Raises:
        UserError: The task is unknown; the message suggests the nearest name.

    Example:
        find("regression").HEADLINE  # "mae"
    """
    name = _CURRENT.get(name, name)
    if name not in TASKS:
        listed = (f"{known!r} ({meaning})" for known, meaning in TASKS.items())
        raise UserError(f"no task {name!r}; {nearest(name, TASKS, listed)}")
    return importlib.import_module(f".{name}", __package__)


def name_of(task: ModuleType) -> str:
    """Returns the name of a task."""
    return task.__name__.rpartition(".")[2]


def answering(folder: pathlib.Path, outputs: Collection[str]) -> ModuleType:
    """Finds the task whose `answer` describes a model's outputs.

    Args:
        folder: Folder of a run, or of a SavedModel.
        outputs: Names of the model's outputs.

    Raises:
        UserError: No task has such outputs.
    """
    path = folder / "run.json"
    if path.is_file():
        return find(read_record(path).task)
    for output, task in _OUTPUTS.items():
        if output in outputs:
            return find(task)
    known = ", ".join(_OUTPUTS)
    raise UserError(f"{folder}: outputs are {', '.join(outputs)}; expected one of {known}")
