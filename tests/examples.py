"""What tests of examples share: code found in docstrings and in Markdown, run and compared."""

import ast
import builtins
import collections
import contextlib
import dataclasses
import doctest
import io
import math
import pathlib
import re
import textwrap
import tokenize

import numpy as np
import pytest

from kpipe.errors import UserError

ROOT = pathlib.Path(__file__).parent.parent


@dataclasses.dataclass(frozen=True)
class Example:
    """Python code that a reader is shown.

    Attributes:
        name: "kpipe.layers.kl_to_normal", or "README.md:37".
        path: The file that it is in.
        line: Line of its first line there.
        code: What is shown.
        module: The module whose names it may use; "" for a page.
    """

    name: str
    path: pathlib.Path
    line: int
    code: str
    module: str = ""


def of_docstrings():
    """The `Example:` sections of all docstrings of kpipe, public or private."""
    for path in sorted((ROOT / "kpipe").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for name, node in _documented(ast.parse(path.read_text()), module):
            lines = ast.get_docstring(node).split("\n")
            for start in [
                i for i, line in enumerate(lines, 1) if line in ("Example:", "Examples:")
            ]:
                code = textwrap.dedent("\n".join(_indented(lines[start:])))
                yield Example(name, path, node.body[0].lineno + start, code, module)


def _documented(node, name):
    """A module, its classes and functions that have docstrings, with their names."""
    inner = (ast.ClassDef, ast.FunctionDef)
    if isinstance(node, (ast.Module, *inner)) and ast.get_docstring(node):
        yield name, node
    for child in ast.iter_child_nodes(node):
        yield from _documented(child, f"{name}.{child.name}" if isinstance(child, inner) else name)


def _indented(lines):
    for line in lines:
        if line and not line.startswith(" "):
            return
        yield line


def of_page(path):
    """The Python blocks of a Markdown page."""
    for language, line, code in blocks(path):
        if language == "python":
            yield Example(f"{path.relative_to(ROOT)}:{line}", path, line, code)


def blocks(path):
    """The blocks of a Markdown page, fenced or indented: language, first line, content."""
    fence, start, content = None, 0, []
    for number, line in enumerate([*path.read_text().split("\n"), ""], 1):
        if fence is None and line.startswith("```"):
            fence, start = line.removeprefix("```"), number + 1
        elif fence is not None and line == "```":
            yield fence, start, "\n".join(content)
            fence, content = None, []
        elif fence is not None:
            content.append(line)
        elif line.startswith("    "):
            start = start if content else number
            content.append(line[4:])
        elif content:
            yield "", start, "\n".join(content)
            content = []


def prose(path):
    """A Markdown page without its fenced and indented blocks."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.S | re.M)
    return re.sub(r"^    .*$", "", text, flags=re.M)


def free_names(example):
    """The names that an example uses before it defines them."""
    code = example.code
    if code.startswith(">>>"):
        code = "".join(part.source for part in doctest.DocTestParser().get_examples(code))
    free, defined = set(), set(dir(builtins))
    for statement in ast.parse(code).body:
        used, bound = set(), set()
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                (used if isinstance(node.ctx, ast.Load) else bound).add(node.id)
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                bound.add(node.name)
            elif isinstance(node, ast.arg):
                bound.add(node.arg)
            elif isinstance(node, ast.alias):
                bound.add((node.asname or node.name).partition(".")[0])
        targets = [n for target in getattr(statement, "targets", ()) for n in ast.walk(target)]
        # z = f(z) uses a z from before.
        free |= used - defined - (bound - {getattr(n, "id", "") for n in targets})
        defined |= bound
    return free


def run(example, names):
    """Runs an example, and compares what its comments say with what their lines give.

    Args:
        example: With `>>>`, as doctest reads it, or without.
        names: Values of the names that it does not define.

    Returns:
        All names with their values.

    Raises:
        AssertionError: A line gives another value, or False.
    """
    names, where = {**names, "__name__": "example"}, str(example.path)
    if example.code.startswith(">>>"):
        test = doctest.DocTestParser().get_doctest(
            example.code, names, example.name, where, example.line
        )
        with np.printoptions(legacy="1.25"):  # 0.5 and not np.float32(0.5)
            doctest.DebugRunner(optionflags=doctest.ELLIPSIS).run(test, clear_globs=False)
        return names
    said = {line: text for line, text, is_alone in comments(example.code) if not is_alone}
    for statement in ast.parse(example.code).body:
        comment = said.get(statement.end_lineno)
        # Tracebacks show the line of the docstring or the page.
        ast.increment_lineno(statement, example.line - 1)
        if isinstance(statement, ast.Expr):
            code = ast.fix_missing_locations(ast.Expression(statement.value))
            value = eval(compile(code, where, "eval"), names)
            assert value is not False, f"{example.name}: {ast.unparse(statement)} is False"
        else:
            exec(compile(ast.Module([statement], []), where, "exec"), names)
            value = _assigned(statement, names)
        check = comment and claim(comment)
        if check:
            assert check(value, names), f"{example.name}: expected {comment}, got {value!r}"
    return names


_EXTRA = re.compile(r"""pip install (?:-e )?["'](?:\.|kpipe)\[([\w-]+)\]""")


@contextlib.contextmanager
def extras_may_be_missing():
    """Skips the test if the block ends since an optional extra is not installed, and only then."""
    try:
        yield
    except (UserError, doctest.UnexpectedException) as error:
        cause = error.exc_info[1] if isinstance(error, doctest.UnexpectedException) else error
        extra = _EXTRA.search(str(cause)) if isinstance(cause, UserError) else None
        if not extra:
            raise
        pytest.skip(f"the extra {extra[1]} is missing")


def _assigned(statement, names):
    targets = getattr(statement, "targets", [])
    return names.get(getattr(targets[0], "id", "")) if len(targets) == 1 else None


def comments(code):
    """The comments of code: line, text, and whether it is alone on its line."""
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            alone = not token.line[: token.start[1]].strip()
            yield token.start[0], token.string.lstrip("# "), alone


def claim(comment):
    """What a comment says of its line: a function of the value and the names; None for words.

    It says something if it is a value (`[0.5]`, `{"train": 353, "val": ...}`), if it names parts of
    one (`value 0.9, low 0.596`), or if it is `equals EXPRESSION`.
    """
    if comment.startswith("equals "):
        code = comment.removeprefix("equals ")
        return lambda value, names: _close(_plain(eval(code, names)), _plain(value))
    pairs = re.fullmatch(r"(?:[a-z_]\w* -?[\d.]+(?:, |$))+", comment)
    if pairs:
        parts = dict(pair.split(" ") for pair in comment.split(", "))
        wanted = {name: ast.literal_eval(number) for name, number in parts.items()}
        return lambda value, _: _same(wanted, {name: value[name] for name in wanted})
    try:
        wanted = ast.literal_eval(comment)
    except (SyntaxError, ValueError):
        return None
    return lambda value, _: _same(wanted, value)


def _plain(value):
    """A value of lists, dicts, words and numbers: arrays and tensors become lists."""
    if isinstance(value, collections.abc.Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if hasattr(value, "__array__"):
        return _plain(np.asarray(value).tolist())
    return value


def _same(wanted, value):
    """Whether a value is the written one, `...` being any value."""
    wanted, value = _plain(wanted), _plain(value)
    if wanted is ...:
        return True
    if isinstance(wanted, dict) and isinstance(value, dict):
        return wanted.keys() == value.keys() and all(_same(wanted[k], value[k]) for k in wanted)
    if isinstance(wanted, list) and isinstance(value, list):
        return len(wanted) == len(value) and all(map(_same, wanted, value))
    if {type(wanted), type(value)} <= {int, float}:
        decimals = len(repr(wanted).partition(".")[2])
        rounded = decimals >= 3 and round(value, decimals) == wanted
        return rounded or math.isclose(wanted, value, rel_tol=1e-6)
    return type(wanted) is type(value) and wanted == value


def _close(first, second):
    """Whether two values are equal, numbers up to rounding in float32."""
    try:
        return np.allclose(first, second, rtol=1e-5, atol=1e-6)
    except (TypeError, ValueError):
        return first == second
