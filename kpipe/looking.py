"""Looks at a user's data, without training anything."""

import os
import pathlib
from typing import TYPE_CHECKING

from . import environment, files
from .datasets import Look
from .errors import UserError
from .experiments import keys, modules, own
from .report import look_lines, write_look

if TYPE_CHECKING:
    import pandas


def look(
    data: "str | os.PathLike | pandas.DataFrame",
    *,
    out: str | os.PathLike = "saved_models",
    **overrides: object,
) -> Look:
    """Looks at your own data as a run would: prints what was found, and writes a page.

    Args:
        data: A folder with one folder of images per class, a file with texts or a table, or a
            pandas DataFrame.
        out: Folder for results, in which NAME-look.html is written.
        **overrides: Keys that say how to read the data, such as `target`.

    Raises:
        UserError: The data cannot be used for training; the message is one line.

    Example:
        look("houses.csv", target="price").task  # "regression"
    """
    if not own.is_data(data):
        raise UserError(f"look at {data}: a pipeline; expected your own folder or file")
    environment.check_keras()
    pipeline = own.find(data, overrides)
    module, _ = modules.load(*pipeline)
    found = keys.load_dataset(module, overrides, complete=True).find().look
    assert found is not None
    print("\n".join(look_lines(found)), flush=True)
    folder = pathlib.Path(out)
    files.make_folder(folder)
    path = write_look(found, folder / f"{pipeline.name}-look.html")
    print(f"the whole look: {path}", flush=True)
    return found
