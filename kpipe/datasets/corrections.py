"""The table of suspects: examples whose label may be wrong, and what a person says of them."""

import csv
import dataclasses
import io
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .. import files
from ..errors import UserError, nearest
from .own.dialect import find_dialect, open_file
from .source import Source

if TYPE_CHECKING:
    import numpy as np

# A spreadsheet takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Suspect(NamedTuple):
    """An example whose label is probably wrong.

    Attributes:
        example: Its name, see `Source.names_of`.
        given_label: The label that it has.
        suggested_label: The most probable other label.
        given_probability: Probability of the given label.
        suggested_probability: Probability of the suggested one.
        correct_label: What a person wrote: the label that it should have; "" if nothing.
        content: A text, or the values of a row; "" of an image.
    """

    example: str
    given_label: str
    suggested_label: str
    given_probability: float
    suggested_probability: float
    correct_label: str = ""
    content: str = ""


def write_suspects(path: pathlib.Path, suspects: Sequence[Suspect]) -> None:
    """Writes a CSV file for spreadsheets, the surest suspect first."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(("rank", *Suspect._fields))
    for rank, suspect in enumerate(suspects, 1):
        cells = (f"{it:.4f}" if isinstance(it, float) else _escaped(it) for it in suspect)
        writer.writerow((rank, *cells))
    files.write_bytes(path, buffer.getvalue().encode("utf-8-sig"))  # as Excel expects


def read_suspects(path: pathlib.Path) -> list[Suspect]:
    """Reads a table of suspects; a spreadsheet may have saved it with other separators.

    Raises:
        UserError: The file is missing, or no table of suspects; the message names file and line.
    """
    return [suspect for _, suspect in _read(path)]


@dataclasses.dataclass(frozen=True)
class Corrections:
    """Labels that a person corrected, by the name of the example.

    Attributes:
        path: The file that they were read from.
        rows: Line, example, given and correct label of each.
    """

    path: pathlib.Path
    rows: tuple[tuple[int, str, str, str], ...]

    @property
    def content(self) -> list[tuple[str, str]]:
        """What changes the labels: each example with its correct label."""
        return sorted((example, correct) for _, example, _, correct in self.rows)

    def corrected(
        self, labels: "dict[str, np.ndarray]", source: Source, label_names: Sequence[str]
    ) -> "dict[str, np.ndarray]":
        """Returns the labels of train and val with the correct ones.

        Args:
            labels: int (n,) classes of each split; those of test stay.
            source: The source, which names the examples.
            label_names: Name of each class.

        Raises:
            UserError: There is no such example or label, or its label is another one than when the
                file was written; the message names file and line.
        """
        splits = [split for split in labels if split != "test"]
        places = {
            name: (split, row)
            for split in splits
            for row, name in enumerate(source.names_of(split))
        }
        result = {**labels, **{split: labels[split].copy() for split in splits}}
        classes = {name: i for i, name in enumerate(label_names)}
        for line, example, given, correct in self.rows:
            where = f"{self.path}:{line}: {example}"
            if example not in places:
                raise UserError(
                    f"{where}: no such example in {' or '.join(splits)}; expected those of "
                    f"{source.description}: check the labels again"
                )
            split, row = places[example]
            if (now := label_names[labels[split][row]]) != given:
                raise UserError(
                    f"{where} has the label {now}, not {given}: the data have changed since the "
                    "labels were checked; check them again"
                )
            if correct not in classes:
                raise UserError(
                    f"{where}: correct_label {correct!r} is no label; {nearest(correct, classes)}"
                )
            result[split][row] = classes[correct]
        return result


def read_corrections(path: str | os.PathLike[str]) -> Corrections:
    """Reads the rows of a suspects.csv whose `correct_label` is filled in.

    Raises:
        UserError: The file cannot be read, no label is filled in, or an example is named twice.
    """
    path = pathlib.Path(path).expanduser()
    rows: dict[str, tuple[int, str, str, str]] = {}
    for line, it in _read(path):
        if it.correct_label:
            if it.example in rows:
                raise UserError(
                    f"{path}:{line}: {it.example} is also in line {rows[it.example][0]}; expected "
                    "each example once"
                )
            rows[it.example] = (line, it.example, it.given_label, it.correct_label)
    if not rows:
        raise UserError(f"{path}: the column correct_label is empty; write labels into it")
    return Corrections(path, tuple(rows.values()))


def _read(path: pathlib.Path) -> Iterator[tuple[int, Suspect]]:
    """Yields the first line of each row, and its content."""
    if path.suffix.lower() != ".csv":
        raise UserError(f"{path}: expected a suspects.csv, as kpipe check-labels writes it")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    dialect = find_dialect(path)
    with open_file(path, dialect.encoding) as file:
        reader, line = csv.reader(file, delimiter=dialect.separator), 1
        try:
            head = [cell.strip() for cell in next(reader, [])]
            places = [head.index(name) for name in Suspect._fields]
            line = reader.line_num + 1
            for cells in reader:
                if any(cells):
                    values = [unescaped(cells[place]) for place in places]
                    first, second = (float(value.replace(",", ".")) for value in values[3:5])
                    example, given, suggested, _, _, correct, content = values
                    row = (example, given, suggested, first, second, correct.strip(), content)
                    yield line, Suspect(*row)
                line = reader.line_num + 1
        except (ValueError, IndexError, csv.Error):
            raise UserError(
                f"{path}:{line}: not a row of a suspects.csv; expected the columns "
                f"{', '.join(Suspect._fields)}"
            ) from None


def _escaped(cell: str) -> str:
    """Adds an apostrophe before what a spreadsheet would calculate; `unescaped` removes it."""
    return f"'{cell}" if cell.lstrip("'").startswith(_FORMULA) else cell


def unescaped(cell: str) -> str:
    """Returns a cell as it was before it was written."""
    escaped = cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA)
    return cell[1:] if escaped else cell
