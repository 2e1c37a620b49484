"""Tasks: each is a module with the same functions, from checks to measures, export and report."""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from ..errors import UserError, nearest

if TYPE_CHECKING:
    from ..export.loading import SavedModel

# Name of a task: what is learned.
TASKS = {
    "classification": "one class per example",
    "multilabel": "several labels per example, each 0 or 1",
    "regression": "one number per example",
    "reconstruction": "the input itself, through a code",
}
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


def answering(model: "SavedModel") -> ModuleType:
    """Finds the task whose `answer` describes a model's outputs.

    Args:
        model: A loaded export; one with probabilities whose task is not known is a classifier.

    Raises:
        UserError: No task has such outputs.
    """
    task = model.task or ("classification" if "probabilities" in model.outputs else "")
    if not task:
        raise UserError(
            f"{model.folder}: outputs are {', '.join(sorted(model.outputs))}; expected value, code "
            "or probabilities"
        )
    return find(task)
