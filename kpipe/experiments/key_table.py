"""Tables of a pipeline's keys, as shown by `kpipe run NAME --help`.

    python -m kpipe.experiments.key_table

writes keys.json, the tables of the bundled pipelines, because declaring keys builds models, which
needs TensorFlow and takes seconds. A table is used only if its pipeline's code has not changed.
"""

import hashlib
import json
import pathlib
import tempfile
from collections.abc import Iterable
from typing import Any

from .. import files
from ..errors import UserError
from . import catalogue, light
from .beside import find

# Keys of pipelines for own data whose defaults follow from the number of examples.
_OF_SIZE = ("architecture", "decay_steps", "epochs", "patience")
TABLES = pathlib.Path(__file__).with_name("keys.json")


def read(path: pathlib.Path) -> list[list[str]] | None:
    """Returns the rows of `keys.describe` for a pipeline file; None if that needs TensorFlow.

    They come from the bundled tables, from those that `declare` has cached, or from
    `light.describe`.
    """
    table = _bundled().get(path.stem, {})
    if table.get("code_sha256") == catalogue.read(path).code_sha256:
        return table["rows"]
    try:
        cached: Any = files.read_json(_cached(path))
        return cached["rows"]
    except (TypeError, KeyError, UserError):  # missing, damaged, or of an older kpipe
        return light.describe(path)


def declare(path: pathlib.Path) -> list[list[str]]:
    """Returns the same rows by importing TensorFlow, and caches them."""
    from . import keys, modules

    own = path.stem in catalogue.OWN_DATA and path.parent == catalogue.folder()
    with tempfile.TemporaryDirectory() as folder:
        data, overrides = _example(path.stem, pathlib.Path(folder)) if own else (None, {})
        described = keys.describe(modules.load(path, data=data)[0], overrides)
    rows = [list(row) for row in described]
    for row in rows if own else ():
        if row[0] in _OF_SIZE:
            row[1] = "by the number of examples"
    try:
        cached = _cached(path)
        files.make_folder(cached.parent)
        files.write_json(cached, {"rows": rows})
    except (OSError, UserError):  # no home folder, or a full disk: the rows are still shown
        pass
    return rows


def _example(kind: str, folder: pathlib.Path) -> tuple[pathlib.Path, dict[str, str]]:
    """Writes the least data that a pipeline for own data declares its keys with."""
    if kind == "image_folder":
        from PIL import Image

        for i in range(6):
            (folder / "ab"[i % 2]).mkdir(exist_ok=True)
            Image.new("RGB", (8, 8), (40 * i, 0, 0)).save(folder / "ab"[i % 2] / f"{i}.png")
        return folder, {}
    file = folder / "table.csv"
    rows = (f"{i},some words and number {i},{'ab'[i % 2]}\n" for i in range(12))
    file.write_text("number,text,target\n" + "".join(rows))
    return file, {"target": "target", **({"text": "text"} if kind == "text_table" else {})}


def names_of(name: str | None) -> set[str]:
    """Returns the keys of a bundled pipeline; empty if there is no such pipeline."""
    rows = _bundled().get(name, {}).get("rows", [[]])
    return {row[0] for row in rows[1:]}


def write(paths: Iterable[pathlib.Path], tables: pathlib.Path = TABLES) -> None:
    """Writes the tables of some pipelines, one line per row."""
    parts = []
    for path in paths:
        rows = ",\n".join(f"   {json.dumps(row, ensure_ascii=False)}" for row in declare(path))
        digest = catalogue.read(path).code_sha256
        parts.append(
            f' "{path.stem}": {{\n  "code_sha256": "{digest}",\n  "rows": [\n{rows}\n  ]\n }}'
        )
    files.write_bytes(tables, ("{\n" + ",\n".join(parts) + "\n}\n").encode())


def _bundled() -> dict:
    try:
        return json.loads(TABLES.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _cached(path: pathlib.Path) -> pathlib.Path:
    """Returns the cache file of `declare`, named after the code of the pipeline and of kpipe."""
    digest = hashlib.sha256()
    beside = {path, *path.parent.glob("*.py"), *find(path).values()}
    for file in (*sorted(beside), *sorted(catalogue.PACKAGE.rglob("*.py"))):
        digest.update(file.read_bytes())
    return files.home() / "help" / f"{path.stem}-{digest.hexdigest()[:16]}.json"


if __name__ == "__main__":
    write(catalogue.find(name) for name in (*catalogue.names(), *catalogue.OWN_DATA))
