"""Catalogue of the pipelines: their files, and their declarations, read without running them."""

import ast
import dataclasses
import hashlib
import itertools
import json
import os
import pathlib
import textwrap
from collections.abc import Collection, Sequence
from typing import Any

from .. import files, formatting, manifest
from ..errors import UserError, nearest
from . import beside

PACKAGE = pathlib.Path(__file__).parent.parent
# Pipelines for a user's own data, which are chosen by what the data are.
OWN_DATA = ("image_folder", "text_table", "table")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A parsed pipeline file: its docstring and its literals.

    `task`, `data` and `target` are what a run uses, `highest` the highest result known of others.

    `code_sha256` changes with the code, but not with comments and docstrings. It includes that of
    the modules that the file imports from beside it; `modules` is the hash of each, by file.
    `training_sha256` leaves out the figures, which a trained run can draw again.
    """

    name: str
    docstring: str
    task: str
    data: str
    target: str
    code_sha256: str
    modules: dict[str, str] = dataclasses.field(default_factory=dict)
    training_sha256: str = ""
    highest: str = formatting.MISSING

    @property
    def title(self) -> str:
        return self.docstring.strip().split("\n", 1)[0]


def folder() -> pathlib.Path:
    """Returns the folder of the bundled pipelines: kpipe/pipelines, or in a checkout pipelines."""
    installed = PACKAGE / "pipelines"
    return installed if installed.is_dir() else PACKAGE.parent / "pipelines"


def names() -> list[str]:
    """Returns the names of the bundled pipelines with data, which are their file names."""
    files = folder().glob("[!_]*.py")
    return sorted(path.stem for path in files if path.stem not in ("run", *OWN_DATA))


def find(name: str | os.PathLike[str]) -> pathlib.Path:
    """Finds the file of a pipeline by its name, or by a path that ends in .py.

    Raises:
        UserError: The pipeline does not exist; the message suggests the nearest name.
    """
    name = os.fspath(name)
    if name.endswith(".py"):
        path = pathlib.Path(name)
        if not path.is_file():
            raise UserError(f"{name}: no such file; expected a pipeline file or a name")
        return path
    if name not in [*names(), *OWN_DATA]:
        raise UserError(f"no pipeline, file or folder {name!r}; {nearest(name, names())}")
    return folder() / f"{name}.py"


def read(path: pathlib.Path) -> Entry:
    """Reads a pipeline's docstring and literals.

    Raises:
        UserError: It, or a module beside it, is not a Python file; the message names file and line.
    """
    tree = beside.parse(path)
    literals = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }

    def text(name: str, missing: str = "-") -> str:
        value = literals.get(name)
        return str(value.value) if isinstance(value, ast.Constant) and value.value else missing

    docstring = ast.get_docstring(tree) or ""
    training = beside.without_plots(tree)
    modules = _modules(path, tree)
    return Entry(
        name=path.stem,
        docstring=docstring,
        task=text("task"),
        data=text("data"),
        target=_target(literals.get("target")),
        highest=text("highest", formatting.MISSING),
        code_sha256=_with(modules, tree),
        modules=modules,
        training_sha256=_with(_modules(path, training), training),
    )


def _modules(path: pathlib.Path, tree: ast.Module) -> dict[str, str]:
    """Returns the hashes of the modules beside a file that a part of its code imports."""
    if path.parent == folder():
        return {}
    return {
        file.relative_to(path.parent).as_posix(): _sha256(beside.parse(file))
        for file in beside.find(path, tree).values()
    }


def _with(modules: dict[str, str], tree: ast.Module) -> str:
    code = _sha256(tree)
    if not modules:
        return code
    return hashlib.sha256(json.dumps([code, modules]).encode()).hexdigest()


def _sha256(tree: ast.Module) -> str:
    return hashlib.sha256(without_docstrings(tree).encode()).hexdigest()


def without_docstrings(tree: ast.Module) -> str:
    """Returns a pipeline's code without comments and docstrings: editing those is not a change.

    The docstrings are removed from the tree.
    """
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _target(call: ast.expr | None) -> str:
    if not isinstance(call, ast.Call):
        return "-"
    nodes = dict(zip(("metric", "at_least", "source"), call.args, strict=False))
    nodes |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    try:
        target = {name: ast.literal_eval(node) for name, node in nodes.items()}
        target.pop("source", None)
        return formatting.target(**target)
    except (KeyError, ValueError, TypeError):
        return "-"


def last_result(name: str, out: pathlib.Path, target: str = "-") -> str:
    """Writes the result of a pipeline's newest finished run in `out`: "98.66 % (real)".

    The metric's name is added if it differs from that of `target`, which is written by
    `formatting.target`.
    """
    paths = {path: path.stat().st_mtime for path in out.glob(f"{name}*/run.json")}
    for path in sorted(paths, key=lambda path: paths[path], reverse=True):
        try:
            record: Any = files.read_json(path)
            metrics: Any = files.read_json(path.parent / "metrics.json")
            if record["pipeline"] != name or record["status"] != "finished":
                continue
            of_target = (record["target"] or {}).get("metric")
            metric = formatting.headline(of_target, record.get("headline", ""), metrics)
            value = formatting.number(metric, metrics[metric]["value"])
            kind = record["data"]["kind"]
            if (path.parent / manifest.NAME).is_file():
                manifest.check(path.parent, "run.json", "metrics.json")
        except (UserError, ValueError, KeyError, TypeError, AttributeError):  # unfinished, damaged
            continue
        named = "" if target.split(" ", 1)[0] == metric else f"{metric} "
        return f"{named}{value} ({kind})"
    return "-"


def table(out: pathlib.Path, width: int | None = None) -> str:
    """Writes a table of the bundled pipelines: name, task, data, target, last result."""
    rows = [("pipeline", "task", "data", "target", "last result")]
    for name in names():
        entry = read(folder() / f"{name}.py")
        result = last_result(name, out, entry.target)
        rows.append((name, entry.task, entry.data, entry.target, result))
    return align(rows, width)


def align(
    rows: Sequence[Sequence[str]], width: int | None = None, whole: Collection[int] = (0,)
) -> str:
    """Aligns rows of text in columns.

    Args:
        rows: Rows with the same number of cells.
        width: Maximum width of a line in characters; cells are wrapped at spaces to fit, as few as
            possible.
        whole: Columns whose cells are not wrapped.
    """
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    words = [
        max(len(word) for cell in column for word in [*cell.split(), ""]) for column in columns
    ]

    def wrapped_if_narrower(i: int) -> int:
        return sum(len(cell) >= widths[i] for cell in columns[i])

    while width and sum(widths) + 2 * len(widths) - 2 > width:
        can_shrink = [i for i, size in enumerate(widths) if i not in whole and size > words[i]]
        if not can_shrink:
            break
        widths[min(can_shrink, key=wrapped_if_narrower)] -= 1
    lines = []
    for row in rows:
        cells = [
            textwrap.wrap(cell, size, break_on_hyphens=False) if len(cell) > size else [cell]
            for cell, size in zip(row, widths, strict=True)
        ]
        for parts in itertools.zip_longest(*cells, fillvalue=""):
            lines.append("  ".join(map(str.ljust, parts, widths)).rstrip())
    return "\n".join(lines)
