"""Imports a pipeline file."""

import importlib.util
import pathlib
import sys
import traceback
import types
from collections.abc import Sequence
from typing import Any

import keras

from .. import tasks
from ..datasets import Dataset
from ..errors import UserError, first_line, nearest
from ..measures import Target
from . import beside, catalogue

AUTO = "auto"  # a pipeline whose task follows from its data
FUNCTIONS = ("load_data", "build_model", "build_trainer")


def load(path: pathlib.Path, name: str = "", data: Any = None) -> tuple[types.ModuleType, str]:
    """Imports a pipeline file under its own name, and anew the modules that it has beside it.

    Args:
        path: The file.
        name: The module's name; by default that of the file.
        data: A user's data, which the module gets as `path`; None to set nothing.

    Returns:
        The module, and the global Keras dtype policy that the file sets.

    Raises:
        UserError: The file cannot be imported, or has no task or not all functions; the message
            names file and line. Or a module beside it is hidden by another one.
    """
    catalogue.read(path)  # a syntax error is reported with its line
    spec = importlib.util.spec_from_file_location(name or path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    folder = pathlib.Path(str(module.__file__)).parent
    if folder != catalogue.folder():  # the names of bundled pipelines must not hide modules
        beside.import_anew(path)
        if getattr(sys.modules.get(path.stem, module), "__file__", None) == module.__file__:
            sys.modules[path.stem] = module  # dataclasses look up their module there
    before, no_bytecode = keras.config.dtype_policy().name, sys.dont_write_bytecode
    # Bytecode is taken for that of a file edited within the same second.
    sys.dont_write_bytecode = True
    try:
        spec.loader.exec_module(module)
        policy = keras.config.dtype_policy().name
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        code = {file.absolute() for file in (path, *beside.find(path).values())}
        own = [frame for frame in frames if pathlib.Path(frame.filename).absolute() in code]
        line = (own or frames)[-1]  # of the pipeline, even if Keras raised the error
        raise UserError(
            f"{line.filename}:{line.lineno}: {type(error).__name__}: {first_line(error)}; fix the "
            "pipeline file"
        ) from error
    finally:
        sys.dont_write_bytecode = no_bytecode
        keras.config.set_dtype_policy(before)
    check(module, str(path))
    if data is not None:
        vars(module)["path"] = data
    return module, policy


def check(module: types.ModuleType, where: str) -> None:
    """Checks that a module has what a pipeline needs.

    Raises:
        UserError: A function or the task is missing, or there is no such task; the message begins
            with `where`.
    """
    for function in FUNCTIONS:
        if not callable(getattr(module, function, None)):
            raise UserError(f"{where}: no function {function}(hp); add it, a pipeline needs it")
    if not isinstance(getattr(module, "task", None), str):
        known = ", ".join(f'"{name}"' for name in tasks.TASKS)
        raise UserError(f"{where}: no task; add the line task = NAME, with one of {known}")
    try:
        if module.task != AUTO:
            tasks.find(module.task)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def place_of(module: types.ModuleType) -> str:
    """Returns the file of a pipeline, for an error; of an object the name."""
    return getattr(module, "__file__", None) or f"the pipeline {module.__name__}"


def choose_task(module: types.ModuleType, dataset: Dataset) -> None:
    """Sets the task of a pipeline with `task = "auto"` to that of its data.

    Raises:
        UserError: The dataset has none.
    """
    if module.task == AUTO:
        if not dataset.task:
            raise UserError(f'{place_of(module)}: task = "auto", but {dataset.name} has no task')
        vars(module)["task"] = dataset.task


def check_target(module: types.ModuleType, label_names: Sequence[str]) -> None:
    """Checks that the metric of a pipeline's `target`, if it has one, is measured by its task.

    Raises:
        UserError: It is not; the message suggests the nearest name.
    """
    target = getattr(module, "target", None)
    if target is None:
        return
    if not isinstance(target, Target):
        raise UserError(
            f"{place_of(module)}: target is {type(target).__name__}; expected a kpipe.Target"
        )
    names = tasks.find(module.task).metric_names(label_names)
    if target.metric not in names:
        listed = (name for name in names if "/" not in name)
        raise UserError(
            f"{place_of(module)}: no metric {target.metric!r} for the target; "
            f"{nearest(target.metric, names, listed)}"
        )
