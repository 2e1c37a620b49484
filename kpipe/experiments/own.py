"""A user's own data: the pipeline for a folder, a file or a DataFrame."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..errors import UserError
from . import catalogue

_PACKED = (".gz", ".bz2", ".xz")


class Found(NamedTuple):
    """A pipeline, by name or for data.

    Attributes:
        file: The pipeline's file.
        name: Name of its runs.
        data: A user's folder, file or DataFrame, which the module gets as `path`; None if the
            pipeline finds its own data.
    """

    file: pathlib.Path
    name: str
    data: Any = None


def is_data(name: object) -> bool:
    """Whether an argument of `kpipe run` is data: not a pipeline's name, and not a .py file."""
    if not isinstance(name, (str, os.PathLike)):
        return True
    text = os.fspath(name)
    if not text or text.endswith(".py") or text in catalogue.names() + list(catalogue.OWN_DATA):
        return False
    path = pathlib.Path(text).expanduser()
    return path.exists() or bool({"/", os.sep} & set(text)) or bool(path.suffix)


def find(name: object, overrides: Mapping[str, object]) -> Found:
    """Finds a pipeline by its name or file, or the one for a user's data.

    Args:
        name: Name of a bundled pipeline, path of a pipeline file, of a folder of images or of a
            file with a table or texts, or a DataFrame.
        overrides: Keys; `text` names the column of the texts, so that a file is no table.

    Raises:
        UserError: There is no such pipeline, file or folder, or no pipeline for such data.
    """
    if not is_data(name):
        assert isinstance(name, (str, os.PathLike))
        check_name(name)
        file = catalogue.find(name)
        return Found(file, file.stem)
    from .. import datasets  # imports NumPy

    if isinstance(name, (str, os.PathLike)):
        data: Any = pathlib.Path(name).expanduser()
        label = data.resolve().name
        if data.is_file():
            label = label.removesuffix(data.suffix if data.suffix in _PACKED else "")
            label = pathlib.Path(label).stem
    else:
        import pandas

        if not isinstance(name, pandas.DataFrame):
            raise UserError(
                f"{type(name).__name__} is no pipeline and no data; expected a name, a path, a "
                "pandas DataFrame, or an object with load_data, build_model and build_trainer"
            )
        data, label = name, "dataframe"
    kind = datasets.kind_of(data, overrides)
    return Found(catalogue.folder() / f"{kind}.py", label, data)


def check_name(name: str | os.PathLike) -> None:
    """Refuses a pipeline for own data that is given without data."""
    if os.fspath(name) in catalogue.OWN_DATA:
        given = "FOLDER" if os.fspath(name) == "image_folder" else "FILE target=COLUMN"
        raise UserError(f"{name} is the pipeline for your own data: give them, kpipe run {given}")
