"""Tasks: what is learned, measured, exported and reported. A module each, with the same names."""

import difflib
import importlib
from types import ModuleType

from ..errors import UserError

# Name: what is learned.
TASKS = {
    "classification": "one class an example",
    "multilabel": "several labels an example, each 0 or 1",
    "regression": "a number an example",
    "reconstruction": "the input itself, through a code",
}
# Names in runs of format 1.
_FORMER = {"multi-label classification": "multilabel"}


def find(name: str) -> ModuleType:
    """The module of a task.

    Args:
        name: As in `task = "classification"` of a pipeline.

    Raises:
        UserError: There is none; the known ones and the nearest are named.

    Example:
        find("regression").HEADLINE  # "mae"
    """
    name = _FORMER.get(name, name)
    if name not in TASKS:
        close = difflib.get_close_matches(name, TASKS, n=1)
        offer = f"did you mean {close[0]!r}? " if close else ""
        known = ", ".join(f"{known!r} ({meaning})" for known, meaning in TASKS.items())
        raise UserError(f"no task {name!r}; {offer}known: {known}")
    return importlib.import_module(f".{name}", __package__)
