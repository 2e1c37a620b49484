"""The code of functions that are in no file, and the values that it depends on, as one hash.

It changes with what a pipeline computes: with the functions of an object, the functions, classes
and constants of a notebook's other cells that these name, defaults and the variables of a closure.
It does not change with comments and docstrings, nor with names that are not used.
"""

import ast
import dataclasses
import dis
import functools
import hashlib
import inspect
import json
import pathlib
import textwrap
import types
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import catalogue


def sha256_of(content: object) -> str:
    """Returns the SHA-256 of what `code_of` returns, in hexadecimal."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def code_of(value: Any, module: str, seen: tuple[int, ...] = ()) -> Any:
    """Describes a value by the code and the data that it consists of.

    Args:
        value: Any value. Functions and classes are described by their code if they are the caller's
            own; others, like objects of unknown types, only by their names.
        module: Name of the module whose functions are the caller's own, besides `__main__`.
        seen: The ids of what contains this value: a function can name itself.

    Returns:
        Lists, text and numbers, for `sha256_of`.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (float, complex, bytes, range, pathlib.PurePath, np.generic, np.dtype)):
        return repr(value)  # a NaN, too
    if id(value) in seen:
        return "itself"
    seen = (*seen, id(value))

    def describe(part: Any) -> Any:
        return code_of(part, module, seen)

    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(describe, value)]
    if isinstance(value, (set, frozenset)):
        return ["set", *sorted(json.dumps(describe(item)) for item in value)]
    if isinstance(value, Mapping):
        return ["dict", *([describe(key), describe(item)] for key, item in value.items())]
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return ["array", str(value.dtype), list(value.shape), digest]
    if isinstance(value, functools.partial):
        return ["partial", *map(describe, (value.func, value.args, value.keywords))]
    if isinstance(value, (types.MethodType, staticmethod, classmethod)):
        return describe(value.__func__)
    if isinstance(value, property):
        return ["property", describe(value.fget)]
    if isinstance(value, types.ModuleType):
        return ["module", value.__name__]
    named = value if hasattr(value, "__qualname__") else type(value)
    name = [str(getattr(named, "__module__", "")), named.__qualname__]
    if name[0] in ("__main__", module):
        if isinstance(value, types.FunctionType):
            return _of_function(value, seen)
        if isinstance(value, type):
            parts = {k: v for k, v in vars(value).items() if not k.startswith("__") or callable(v)}
            return ["class", *map(describe, value.__bases__), describe(parts)]
        return [describe(type(value)), describe(getattr(value, "__dict__", {}))]
    if dataclasses.is_dataclass(value) or isinstance(value, types.SimpleNamespace):
        return [*name, describe(dict(getattr(value, "__dict__", {})))]
    return name


def _of_function(function: types.FunctionType, seen: tuple[int, ...]) -> list:
    module = str(function.__module__)
    wrapped = getattr(function, "__wrapped__", None)  # by a decorator
    closure = dict(zip(function.__code__.co_freevars, _cells(function), strict=True))
    used = {
        name: function.__globals__[name]
        for name in sorted(_globals(function.__code__))
        if name in function.__globals__
    }
    values = (function.__defaults__, function.__kwdefaults__, closure, used, wrapped)
    parts = (code_of(value, module, seen) for value in values)
    return ["function", _source(function) or shape_of(function.__code__), *parts]


def _cells(function: types.FunctionType) -> list:
    """Returns the variables of a closure; an empty one is None."""
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not yet assigned
            found.append(None)
    return found


def _globals(code: types.CodeType) -> set[str]:
    """Returns the names of the global variables that code reads, nested functions included."""
    read = ("LOAD_GLOBAL", "LOAD_NAME")
    found = {step.argval for step in dis.get_instructions(code) if step.opname in read}
    return found.union(*(_globals(c) for c in code.co_consts if isinstance(c, types.CodeType)))


def _source(function: types.FunctionType) -> str:
    """Returns a function's code as text, without comments and docstrings.

    Returns "" if there is none, such as for a lambda, or if it is not what runs, since a file was
    edited after its import.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return ""
    (node, *others) = tree.body
    code = function.__code__
    if others or not isinstance(node, ast.FunctionDef):
        return ""
    if code.co_freevars:  # they are variables of a function around it
        around = ast.parse(f"def _({', '.join(code.co_freevars)}): pass").body[0]
        assert isinstance(around, ast.FunctionDef)
        around.body = [node]
        tree.body = [around]
    compiled = compile(ast.fix_missing_locations(tree), "", "exec", dont_inherit=True)
    if shape_of(code) not in map(shape_of, _nested(compiled)):
        return ""
    return catalogue.without_docstrings(ast.Module([node], []))


def _nested(code: types.CodeType) -> list[types.CodeType]:
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return inner + [deeper for c in inner for deeper in _nested(c)]


def shape_of(code: types.CodeType) -> list:
    """Describes compiled code without its file, its lines and its docstrings."""
    constants = list(code.co_consts)
    if constants and isinstance(constants[0], str):  # the docstring, if there is one
        constants[0] = None
    return [
        code.co_name,
        code.co_code.hex(),
        code.co_argcount,
        code.co_kwonlyargcount,
        code.co_posonlyargcount,
        code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS | inspect.CO_GENERATOR),
        list(code.co_names),
        list(code.co_varnames),
        list(code.co_freevars),
        [shape_of(c) if isinstance(c, types.CodeType) else _constant(c) for c in constants],
    ]


def _constant(value: object) -> str:
    """Writes a constant of compiled code; a set has no order."""
    return f"set {sorted(map(repr, value))}" if isinstance(value, frozenset) else repr(value)
