"""Modules that a pipeline file imports from beside it: they belong to its code."""

import ast
import importlib
import pathlib
import sys
from collections.abc import Iterator

from ..errors import UserError

_FOLDERS: set[pathlib.Path] = set()  # of the pipelines whose modules this process has imported


def find(path: pathlib.Path, tree: ast.Module | None = None) -> dict[str, pathlib.Path]:
    """Finds the modules and packages that a file imports from its folder, directly or through them.

    Imports are read from the text, also those within functions; kpipe itself is left out.

    Args:
        path: The file.
        tree: A part of its code, to look only for what that imports.

    Returns:
        The files by the names of the modules: {"net.layers": Path("net/layers.py")}, sorted.

    Raises:
        UserError: One of them is not a Python file; the message names file and line.
    """
    found: dict[str, pathlib.Path] = {}
    waiting = [("", path)]
    while waiting:
        package, importer = waiting.pop()
        part = tree if tree and importer == path else parse(importer)
        for name in _imported(part, package):
            parts = name.split(".")
            if parts[0] in ("kpipe", *sys.builtin_module_names):
                continue
            for end in range(1, len(parts) + 1):
                place, module = path.parent.joinpath(*parts[:end]), ".".join(parts[:end])
                as_package, as_file = place / "__init__.py", place.with_name(f"{place.name}.py")
                file = as_package if as_package.is_file() else as_file
                if module in found or file == path or not file.is_file():
                    continue
                found[module] = file
                inside = module if file == as_package else ".".join(parts[: end - 1])
                waiting.append((inside, file))
    return dict(sorted(found.items()))


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    """Yields names of modules that code in a package may import; some are names within modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".") if package else []
            base = parts[: len(parts) - node.level + 1] if node.level else []
            base += node.module.split(".") if node.module else []
            yield from (".".join([*base, alias.name]) for alias in node.names if alias.name != "*")
            if base:
                yield ".".join(base)


def parse(path: pathlib.Path) -> ast.Module:
    """Reads the code of a file.

    Raises:
        UserError: It is not a Python file; the message names file and line.
    """
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}:{line}" if line else path
        raise UserError(f"{where}: not a Python file ({getattr(error, 'msg', error)})") from None


def without_plots(tree: ast.Module) -> ast.Module:
    """Returns the code of the training: without `plots`, and functions that nothing else uses.

    `highest`, what others have reached, is left out as well.
    """
    removed = [node for node in tree.body if _names(node) in ({"plots"}, {"highest"})]
    kept = [node for node in tree.body if node not in removed]
    while True:
        optional = _used(removed) | {
            node.name
            for node in kept
            if isinstance(node, ast.FunctionDef) and not node.decorator_list
        }
        optional -= _used(kept) | {"load_data", "build_model", "build_trainer"}
        useless = [
            node
            for node in kept
            if isinstance(node, (ast.FunctionDef, ast.Import, ast.ImportFrom))
            and _names(node) <= optional
        ]
        if not useless:
            return ast.Module(kept, [])
        removed += useless
        kept = [node for node in kept if node not in useless]


def _names(node: ast.stmt) -> set[str]:
    """Returns the names that a definition, an import or an assignment of a module defines."""
    if isinstance(node, ast.FunctionDef):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _used(nodes: list[ast.stmt]) -> set[str]:
    found = (name for node in nodes for name in ast.walk(node) if isinstance(name, ast.Name))
    return {name.id for name in found if isinstance(name.ctx, ast.Load)}


def import_anew(path: pathlib.Path) -> None:
    """Lets a pipeline file import the modules beside it, as they are now.

    What this process has imported of them before is forgotten, also for a pipeline elsewhere.

    Raises:
        UserError: A module of the same name was imported from elsewhere.
    """
    folder = str(path.parent.absolute())
    _FOLDERS.add(path.parent.resolve())
    for name, file in find(path).items():
        known = sys.modules.get(name)
        where = getattr(known, "__file__", None)
        if where and not _FOLDERS & {*pathlib.Path(where).resolve().parents}:
            raise UserError(
                f"{file}: another module {name} is imported already, {where}; rename the file"
            )
        sys.modules.pop(name, None)
    if folder in sys.path:
        sys.path.remove(folder)
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
