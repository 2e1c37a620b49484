"""A pipeline given as an object: a module, or the functions of a notebook's cells."""

import ast
import pathlib
import re
import sys
import types
from collections.abc import Mapping
from typing import Any

import keras

from ..errors import UserError
from . import beside, catalogue, modules
from .identity import code_of, sha256_of, shape_of

UNNAMED = "notebook"  # name of the runs of an object without a name


def is_pipeline(given: object) -> bool:
    """Whether an argument of `kpipe.run` is a pipeline itself, not its name, and not data."""
    if isinstance(given, (types.ModuleType, types.SimpleNamespace, Mapping)):
        return True
    return any(callable(getattr(given, name, None)) for name in modules.FUNCTIONS)


def load(given: Any) -> tuple[types.ModuleType, str]:
    """Returns an object as a module, to be used like that of a file.

    Args:
        given: A module, or an object or a dict with `task`, `load_data`, `build_model` and
            `build_trainer`, and perhaps `name`, `description`, `plots`, `target` and other names
            that a pipeline file can have.

    Returns:
        A module with the same names, and the current global Keras dtype policy.

    Raises:
        UserError: A part is missing, or the file of a module, or of one that it imports from beside
            it, was edited after its import.
    """
    names = _names(given)
    name = _name(given, names)
    module = types.ModuleType(name, str(names.get("description") or names.get("__doc__") or ""))
    file = names.get("__file__") if isinstance(given, types.ModuleType) else None
    vars(module).update({k: v for k, v in names.items() if not k.startswith("__")})
    if file:
        vars(module)["__file__"] = str(file)
        _check_file(pathlib.Path(file), given)
        for name, path in beside.find(pathlib.Path(file)).items():
            if getattr(sys.modules.get(name), "__file__", None) == str(path):
                _check_file(path, sys.modules[name])
    modules.check(module, modules.place_of(module))
    return module, keras.config.dtype_policy().name


def _names(given: Any) -> dict[str, Any]:
    """Returns the attributes of an object, including those of its class, except `object`'s."""
    if isinstance(given, Mapping):
        return {str(key): value for key, value in given.items()}
    if isinstance(given, (types.ModuleType, types.SimpleNamespace)):
        return dict(vars(given))
    names = [name for name in dir(given) if not name.startswith("__")]
    return {**{name: getattr(given, name) for name in names}, "__doc__": given.__doc__}


def _name(given: Any, names: Mapping[str, Any]) -> str:
    """Returns the name of the runs: the attribute `name`, or that of the module."""
    name = names.get("name")
    if name is None and isinstance(given, types.ModuleType):
        name = given.__name__.rpartition(".")[2].replace("__main__", UNNAMED)
    name = UNNAMED if name is None else name
    if not isinstance(name, str) or not re.fullmatch(r"[^\W_][\w.+ -]*", name) or len(name) > 80:
        raise UserError(
            f"name={name!r} of the pipeline: expected a word that can be the name of a folder, "
            'such as "my_pipeline"'
        )
    return name


def _check_file(path: pathlib.Path, module: types.ModuleType) -> None:
    """Checks that a module is what its file says: the file identifies the run's code.

    Functions are compared by their compiled code, constants where the file has literals.

    Raises:
        UserError: They differ, since the file or the module was changed after the import.
    """
    catalogue.read(path)  # a syntax error is reported with its line
    text = path.read_text(encoding="utf-8")
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, differs = node.targets[0].id, False
            try:
                differs = getattr(module, name, None) != ast.literal_eval(node.value)
            except ValueError:  # not a literal
                continue
            if differs is True:
                raise _changed(path, name, module)
    for code in compile(text, str(path), "exec", dont_inherit=True).co_consts:
        if isinstance(code, types.CodeType):
            live = getattr(module, code.co_name, None)
            if not isinstance(live, types.FunctionType) or live.__module__ != module.__name__:
                continue  # a class, or a decorated function
            if shape_of(live.__code__) != shape_of(code):
                raise _changed(path, code.co_name, module)


def _changed(path: pathlib.Path, name: str, module: types.ModuleType) -> UserError:
    return UserError(
        f"{path}: {name} differs from that of the imported module {module.__name__}; "
        f"importlib.reload({module.__name__}) reads the file again"
    )


def entry(module: types.ModuleType) -> catalogue.Entry:
    """Describes the pipeline of a module: that of its file, or of the object that it was."""
    file = getattr(module, "__file__", None)
    if file:
        return catalogue.read(pathlib.Path(file))
    home = str(getattr(module.build_model, "__module__", "__main__"))
    parts = {}
    for name, value in sorted(vars(module).items()):
        if not name.startswith("__") and name not in ("name", "description"):
            # Imported from elsewhere the three functions are still the pipeline's own.
            its = getattr(value, "__module__", home) if name in modules.FUNCTIONS else home
            parts[name] = code_of(value, str(its))
    return catalogue.Entry(
        name=module.__name__,
        docstring=module.__doc__ or "",
        task=str(getattr(module, "task", "-")),
        data=str(getattr(module, "data", "-")),
        target="-",
        code_sha256=sha256_of(parts),
        training_sha256=sha256_of({name: parts[name] for name in parts if name != "plots"}),
    )
