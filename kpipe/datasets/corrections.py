"""The table of suspects: examples whose label may be wrong, and what a person says of them."""

import csv
import io
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from .. import files
from ..errors import UserError
from .own.dialect import find_dialect, open_file

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
    dialect = find_dialect(path)
    suspects = []
    with open_file(path, dialect.encoding) as file:
        reader = csv.reader(file, delimiter=dialect.separator)
        try:
            head = [cell.strip() for cell in next(reader, [])]
            places = [head.index(name) for name in Suspect._fields]
            for cells in filter(any, reader):
                values = [unescaped(cells[place]) for place in places]
                first, second = (float(value.replace(",", ".")) for value in values[3:5])
                example, given, suggested, _, _, correct, content = values
                row = (example, given, suggested, first, second, correct.strip(), content)
                suspects.append(Suspect(*row))
        except (ValueError, IndexError, csv.Error):
            raise UserError(
                f"{path}:{max(reader.line_num, 1)}: not a row of a suspects.csv; expected the "
                f"columns {', '.join(Suspect._fields)}"
            ) from None
    return suspects


def _escaped(cell: str) -> str:
    """Adds an apostrophe before what a spreadsheet would calculate; `unescaped` removes it."""
    return f"'{cell}" if cell.lstrip("'").startswith(_FORMULA) else cell


def unescaped(cell: str) -> str:
    """Returns a cell as it was before it was written."""
    escaped = cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA)
    return cell[1:] if escaped else cell
