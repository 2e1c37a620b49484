"""A user's own tables, and texts in a table."""

import functools
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import UserError, nearest
from ..base import Dataset
from ..columns import as_rows, encoded_shape
from ..source import Source
from ..vectorization import Vectorization
from .cells import words
from .dialect import ENDINGS
from .division import SPLITS, check_fractions
from .examining import Examined, examine, where_of
from .profile import profile
from .reading import content_hash, frames
from .roles import Options, split_names

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# Input columns beside a text, up to which a file is one of texts.
_BESIDE_TEXT = 2


def table(
    data: "str | os.PathLike[str] | pd.DataFrame",
    *,
    target: "str | Sequence[str]",
    task: str = "",
    group: str = "",
    time: str = "",
    split: str = "",
    drop: "str | Sequence[str]" = "",
    test_fraction: float = 0.2,
    val_fraction: float = 0.15,
    split_seed: int = 0,
    skip_bad: int = 0,
) -> Dataset:
    """Rows of a table, in a file of any size or a DataFrame, with the column to predict.

    The columns' kinds are found in their values: numbers, booleans, categories and dates are
    inputs. Constants, columns that are almost empty, identifiers and texts are left out, and named
    in the source's `look`, as is a column that gives the target away. Equal rows are on the same
    side of every split.

    Args:
        data: CSV, TSV, Parquet or JSON lines; see `reading.frames`.
        target: Column to predict; or several of 0 and 1, "a,b".
        task: "classification", "regression" or "multilabel"; by default chosen by the target.
        group: Column whose rows of one value are never on both sides of a split, such as a patient.
        time: Column of dates or numbers; the latest rows become test and val.
        split: Column that divides the rows itself: train, val and test.
        drop: Columns to leave out, "a,b".
        test_fraction: Share of the rows that becomes test, unless `split` is given.
        val_fraction: Share of train that becomes val by the run's seed, unless `split` has val.
        split_seed: Random seed of test, whatever the run's seed.
        skip_bad: Number of unusable rows that may be left out; more are an error that lists them.

    Raises:
        UserError: The table cannot be read or used; the message names file, row and column.

    Example:
        datasets.table("houses.csv", target="price").find().examples
    """
    check_fractions(test_fraction, val_fraction)
    known = profile(data).columns
    options = Options(
        target=split_names(target, known),
        task=task,
        group=group,
        time=time,
        split=split,
        drop=split_names(drop, known),
        test_fraction=test_fraction,
        split_seed=split_seed,
        skip_bad=skip_bad,
    )
    examined = examine(data, options)
    return Dataset(
        input_shape=encoded_shape(examined.columns),
        columns=examined.columns,
        **_shared(data, examined, val_fraction, text=False),
    )


def text_table(
    data: "str | os.PathLike[str] | pd.DataFrame",
    *,
    target: "str | Sequence[str]",
    text: str = "",
    task: str = "",
    group: str = "",
    time: str = "",
    split: str = "",
    vocabulary_size: int = 20_000,
    max_length: int = 256,
    embeddings: str = "",
    test_fraction: float = 0.2,
    val_fraction: float = 0.15,
    split_seed: int = 0,
    skip_bad: int = 0,
) -> Dataset:
    """Texts in a column of a table, with the column to predict; other columns are left out.

    Args:
        data: See `table`, also for arguments that are not listed here.
        target: Column to predict.
        text: Column of the texts; by default the only one with texts.
        task: See `table`.
        group: See `table`.
        time: See `table`.
        split: See `table`.
        vocabulary_size: See `Vectorization`, also for the next two.
        max_length: Maximum number of tokens of a text.
        embeddings: Path to word vectors.
        test_fraction: See `table`.
        val_fraction: See `table`.
        split_seed: See `table`.
        skip_bad: See `table`.

    Raises:
        UserError: The table cannot be read or used; the message names file, row and column.

    Example:
        datasets.text_table("reviews.csv", text="body", target="rating")
    """
    check_fractions(test_fraction, val_fraction)
    known = profile(data).columns
    options = Options(
        target=split_names(target, known),
        task=task,
        group=group,
        time=time,
        split=split,
        text=text,
        test_fraction=test_fraction,
        split_seed=split_seed,
        skip_bad=skip_bad,
    )
    examined = examine(data, options, max_length)
    return Dataset(
        input_shape=(),
        vectorization=Vectorization(
            vocabulary_size, max_length, embeddings, text_column=examined.columns[0].name
        ),
        **_shared(data, examined, val_fraction, text=True),
    )


def _shared(
    data: "str | os.PathLike[str] | pd.DataFrame",
    examined: Examined,
    val_fraction: float,
    text: bool,
) -> dict[str, Any]:
    """Returns the attributes of the dataset that tables and texts have in common."""
    look = examined.look
    return {
        "name": look.name,
        "label_names": examined.label_names,
        "task": look.task,
        "targets": "scaled labels" if look.task == "regression" else "labels",
        "val_fraction": 0.0 if "val" in look.examples else val_fraction,
        "fixed": functools.partial(_source, data, examined, profile(data).identity, text),
    }


def _source(
    data: "str | os.PathLike[str] | pd.DataFrame", examined: Examined, content: str, text: bool
) -> Source:
    def rows(name: str) -> "np.ndarray":
        return examined.codes == SPLITS.index(name)

    def check() -> None:
        if content_hash(data) != content:
            raise UserError(f"{where_of(data)}: has changed while it was read; start again")

    def pieces(name: str) -> Iterator[tuple[Any, "np.ndarray"]]:
        check()
        start, chosen = 0, rows(name)
        wanted = [column.name for column in examined.columns]
        for frame in frames(data, columns=wanted, unreadable=[]):
            here = chosen[start : start + len(frame)]
            labels = examined.labels[start : start + len(frame)][here]
            start += len(frame)
            if not here.any():
                continue
            frame = frame[here]
            if text:
                texts = words(frame[wanted[0]])
                yield [some.encode("utf-8", "replace") for some in texts], labels
            else:
                yield as_rows(frame, examined.columns, where_of(data)), labels
        check()

    groups, times = examined.groups, examined.times
    look = examined.look
    return Source(
        kind="own",
        description=f"{sum(look.examples.values()):,} {look.what} of {where_of(data)}",
        identity=examined.identity,
        examples=look.examples,
        official=False,
        pieces=pieces,
        groups=None if groups is None else lambda name: groups[rows(name)],
        times=None if times is None else lambda name: times[rows(name)],
        look=look,
        names=lambda name: [f"row {row + 1}" for row in rows(name).nonzero()[0]],
    )


def kind_of(
    data: "str | os.PathLike[str] | pd.DataFrame", overrides: Mapping[str, Any] | None = None
) -> str:
    """Returns what a user's data are: "image_folder", "text_table" or "table".

    A file is one of texts if `text` is given, or if it has one column of texts and at most two
    other columns that could be inputs.

    Args:
        data: A folder, a file or a DataFrame.
        overrides: What the user says about it, such as `target` and `text`.

    Raises:
        UserError: There is no such file, or it is of another kind.
    """
    overrides = overrides or {}
    if isinstance(data, (str, os.PathLike)):
        path = pathlib.Path(data).expanduser()
        if path.is_dir():
            return "image_folder"
        if not path.exists():
            folder = path.parent if path.parent.is_dir() else pathlib.Path()
            names = sorted({entry.name for entry in folder.iterdir()} - {path.name})
            offer = nearest(path.name, names, ["..."]).partition("known:")[0].rstrip()
            raise UserError(
                f"{path}: no such file or folder"
                f"{f'; {offer}' if offer else ''}; expected a folder of images, or a file that "
                f"ends with {', '.join(ENDINGS)}"
            )
    if overrides.get("text"):
        return "text_table"
    columns = profile(data).columns
    taken = {
        name
        for key in ("target", "group", "time", "split", "drop")
        for name in split_names(overrides.get(key, ""), columns)
    }
    kinds = [
        column.kind[0] for name, column in columns.items() if name not in taken and column.kind[0]
    ]
    texts = kinds.count("text")
    return "text_table" if texts == 1 and len(kinds) - texts <= _BESIDE_TEXT else "table"
