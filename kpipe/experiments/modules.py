"""Imports a pipeline file."""

import importlib.util
import pathlib
import traceback
import types

import keras

from .. import tasks
from ..errors import UserError
from . import catalogue


def load(path: pathlib.Path) -> tuple[types.ModuleType, str]:
    """Imports a pipeline file under its own name.

    Returns:
        The module, and the global Keras dtype policy that the file sets.

    Raises:
        UserError: The file cannot be imported, or has no task or not all functions; the message
            names file and line.
    """
    catalogue.read(path)  # a syntax error is reported with its line
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    before = keras.config.dtype_policy().name
    try:
        spec.loader.exec_module(module)
        policy = keras.config.dtype_policy().name
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"{line.filename}:{line.lineno}: {type(error).__name__}: {error}; fix the pipeline file"
        ) from error
    finally:
        keras.config.set_dtype_policy(before)
    for function in ("load_data", "build_model", "build_trainer"):
        if not callable(getattr(module, function, None)):
            raise UserError(f"{path}: no function {function}(hp); add it, a pipeline needs it")
    if not isinstance(getattr(module, "task", None), str):
        known = ", ".join(f'"{name}"' for name in tasks.TASKS)
        raise UserError(f"{path}: no task; add the line task = NAME, with one of {known}")
    try:
        tasks.find(module.task)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return module, policy
