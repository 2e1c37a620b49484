"""Reads the keys of a pipeline file without TensorFlow and Keras, in under a second.

    python -c "from kpipe.experiments import light; light.main()" FILE

runs the file in a process in which those packages are mocks: any attribute, call or sum of a mock
is another mock. The keys are either read correctly or not at all: a file that inspects a mock (in a
condition, a loop, a text, a number), or passes `hp` to one, fails.
"""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import pathlib
import subprocess
import sys
import types
from collections.abc import Sequence

# Packages that take long to import and that a pipeline's keys do not depend on.
STAND_INS = frozenset(
    "keras keras_hub tensorflow tensorflow_datasets sklearn scipy matplotlib grpc "
    "keras_tuner.src.backend kpipe.figures kpipe.gradients kpipe.layers kpipe.losses "
    "kpipe.models".split()
)
# keras-tuner's keys are real; the other imports of its packages are skipped.
EMPTY_PACKAGES = frozenset(
    "keras_tuner keras_tuner.engine keras_tuner.src keras_tuner.src.engine".split()
)
TIMEOUT = 20  # seconds; a file that takes longer is read with TensorFlow


def describe(path: pathlib.Path) -> list[list[str]] | None:
    """Returns the rows of `keys.describe`, or None if they depend on TensorFlow.

    Example:
        rows = describe(pathlib.Path("my_experiment.py"))
    """
    code = (
        "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); "
        "from kpipe.experiments import light; light.main()"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(sys.path), str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=True,
        )
        return json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def main() -> None:
    """Prints the rows of the file given on the command line, as JSON."""
    path = pathlib.Path(sys.argv[1])
    with contextlib.redirect_stdout(sys.stderr):  # the file's own output
        sys.meta_path.insert(0, _Finder())
        _import_keys()
        from . import keys

        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec and spec.loader
        sys.path.insert(0, str(path.parent))  # modules beside the file
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(path.stem, module)  # dataclasses look up their module there
        spec.loader.exec_module(module)
        rows = keys.describe(module)
    print(json.dumps(rows))


def _import_keys() -> None:
    """Imports keras-tuner's keys and no other part of it."""
    import keras_tuner

    tuner_keys = importlib.import_module("keras_tuner.engine.hyperparameters")
    vars(keras_tuner).update(HyperParameters=tuner_keys.HyperParameters)
    # Keras' serialization copies conditions; they never change, so no copy is needed.
    conditions = importlib.import_module("keras_tuner.src.engine.conditions")
    vars(conditions).update(serialize=_same, deserialize=_same)


def _same(condition: object) -> object:
    return condition


class _StandIn:
    """A mock, whose attributes and results are mocks; inspecting its value raises TypeError."""

    def __init__(self, *arguments: object, **options: object) -> None:
        _refuse_keys([*arguments, *options.values()])

    def __getattr__(self, name: str) -> "_StandIn":
        if name.startswith("__"):
            raise AttributeError(name)
        return _StandIn()

    def __call__(self, *arguments: object, **options: object) -> "_StandIn":
        return _StandIn(*arguments, **options)

    def __mro_entries__(self, bases: tuple) -> tuple[type]:
        return (_StandIn,)  # the base of a class that inherits from a mock


def _combined(*_: object) -> _StandIn:
    return _StandIn()


def _unknown(*_: object) -> None:
    raise TypeError("the keys depend on the value of a mock")


_SUMS = "getitem or ror neg pow matmul add radd sub rsub mul rmul truediv rtruediv"
_LOOKS = "bool eq ne lt le gt ge iter len contains str repr format int float index"
for _name in _SUMS.split():
    setattr(_StandIn, f"__{_name}__", _combined)
for _name in _LOOKS.split():
    setattr(_StandIn, f"__{_name}__", _unknown)


def _refuse_keys(values: list) -> None:
    """Refuses `hp`, and functions that use it: a mock would not declare their keys."""
    for value in values:
        inside = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
        names = {kind.__name__ for part in [value, *inside] for kind in type(part).__mro__}
        if "HyperParameters" in names:
            raise TypeError("the keys depend on the declarations of a mock")


class _StandInModule(types.ModuleType):
    def __getattr__(self, name: str) -> _StandIn:
        if name.startswith("__"):
            raise AttributeError(name)
        return _StandIn()


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds mocks, and packages of which only named modules are imported."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        parts = fullname.split(".")
        parents = {".".join(parts[: i + 1]) for i in range(len(parts))}
        if parents & STAND_INS:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        if fullname in EMPTY_PACKAGES:
            found = importlib.machinery.PathFinder.find_spec(fullname, path)
            if found is not None:
                found.loader = self
            return found
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return None if spec.name in EMPTY_PACKAGES else _StandInModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Does nothing: a mock has no content, and an empty package stays empty."""
