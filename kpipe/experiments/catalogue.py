"""Which pipelines there are and what they say of themselves, read without running them."""

import ast
import dataclasses
import difflib
import hashlib
import json
import pathlib
from collections.abc import Mapping

from ..errors import UserError

PACKAGE = pathlib.Path(__file__).parent.parent


@dataclasses.dataclass(frozen=True)
class Entry:
    """A pipeline file as its text tells: docstring and the literals `task`, `data`, `target`.

    `code_sha256` changes when the code does, and not with comments and docstrings.
    """

    name: str
    path: pathlib.Path
    docstring: str
    task: str
    data: str
    target: str
    code_sha256: str

    @property
    def title(self) -> str:
        return self.docstring.strip().split("\n", 1)[0]


def folder() -> pathlib.Path:
    """The bundled pipelines: installed as kpipe.pipelines, in a checkout beside kpipe."""
    installed = PACKAGE / "pipelines"
    return installed if installed.is_dir() else PACKAGE.parent / "pipelines"


def names() -> list[str]:
    """The names of the bundled pipelines: their file names."""
    files = folder().glob("[!_]*.py")
    return sorted(path.stem for path in files if path.stem != "run")


def find(name: str) -> pathlib.Path:
    """The file of a pipeline, by its name or by a path that ends in .py.

    Raises:
        UserError: There is none; the nearest name is offered.
    """
    if name.endswith(".py"):
        path = pathlib.Path(name)
        if not path.is_file():
            raise UserError(f"{name}: no such file; expected a pipeline file or a name")
        return path
    if name not in names():
        raise UserError(f"no pipeline {name!r}; {nearest(name, names())}")
    return folder() / f"{name}.py"


def nearest(word: str, known: list[str]) -> str:
    """What an error offers in place of an unknown word."""
    close = difflib.get_close_matches(word, known, n=1)
    offer = f"did you mean {close[0]!r}? " if close else ""
    return f"{offer}known: {', '.join(known)}"


def read(path: pathlib.Path) -> Entry:
    """Reads a pipeline's docstring and literals.

    Raises:
        UserError: It is not Python; file and line are named.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError) as error:
        line = getattr(error, "lineno", None)
        where = f"{path}:{line}" if line else path
        raise UserError(f"{where}: not a Python file ({getattr(error, 'msg', error)})") from None
    literals = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }

    def text(name: str) -> str:
        value = literals.get(name)
        return str(value.value) if isinstance(value, ast.Constant) and value.value else "-"

    return Entry(
        name=path.stem,
        path=path,
        docstring=ast.get_docstring(tree) or "",
        task=text("task"),
        data=text("data"),
        target=_target(literals.get("target")),
        code_sha256=hashlib.sha256(_code(tree).encode()).hexdigest(),
    )


def _code(tree: ast.Module) -> str:
    """What a pipeline does, without its comments and docstrings: editing those is no change."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _target(call: ast.expr | None) -> str:
    if not isinstance(call, ast.Call):
        return "-"
    nodes = dict(zip(("metric", "at_least", "source"), call.args, strict=False))
    nodes |= {keyword.arg: keyword.value for keyword in call.keywords}
    try:
        target = {name: ast.literal_eval(node) for name, node in nodes.items()}
        return describe_target(target)
    except (KeyError, ValueError, TypeError):
        return "-"


def describe_target(target: Mapping) -> str:
    """Accuracy >= 98.25 %, or log_loss <= 0.05."""
    if target.get("at_least") is None:
        return f"{target['metric']} <= {target['at_most']:g}"
    if not target["metric"].endswith("accuracy"):
        return f"{target['metric']} >= {target['at_least']:g}"
    return f"{target['metric']} >= {100 * target['at_least']:g} %"


def last_result(name: str, out: pathlib.Path) -> str:
    """The newest finished run of a pipeline in `out`, in a few words."""
    newest = None
    for path in out.glob(f"{name}*/run.json"):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            headline = json.loads((path.parent / "metrics.json").read_text(encoding="utf-8"))
            if record["pipeline"] != name or record["status"] != "finished":
                continue
            name_of, value = _headline(record, headline)
            kind = record["data"]["kind"]
        except (OSError, ValueError, KeyError, TypeError):  # unfinished, or not ours
            continue
        if newest is None or path.stat().st_mtime > newest[0]:
            newest = (path.stat().st_mtime, f"{name_of} {value} ({kind} data)")
    return newest[1] if newest else "-"


def _headline(record: Mapping, metrics: Mapping) -> tuple[str, str]:
    """The metric that a run is named by: accuracy, the target's, or PSNR."""
    if "accuracy" in metrics:
        return "accuracy", f"{100 * metrics['accuracy']['value']:.2f} %"
    name = (record["target"] or {"metric": "psnr"})["metric"]
    return name, f"{metrics[name]['value']:.4g}"


def table(out: pathlib.Path) -> str:
    """All bundled pipelines: name, task, data, target, last result."""
    rows = [("pipeline", "task", "data", "target", "last result")]
    for name in names():
        entry = read(folder() / f"{name}.py")
        rows.append((name, entry.task, entry.data, entry.target, last_result(name, out)))
    return align(rows)


def align(rows: list[tuple[str, ...]]) -> str:
    """Rows of text in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)
