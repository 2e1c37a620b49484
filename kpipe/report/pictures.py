"""Draws the figures of a report, writes them into its folder, and lays them out."""

import base64
import pathlib
import struct
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from .. import files, formatting
from ..figures import style
from .tables import section, text

Plot = Callable[[Any], Figure | bytes | None]  # of a run or a search

WIDE = 6  # inches; a wider figure spans both columns
CAPTION = 0.15  # height of a caption and of the space around it, in widths of a figure


class Picture(NamedTuple):
    """A drawn figure."""

    caption: str
    kind: str  # png or gif
    content: bytes
    ratio: float  # height over width
    wide: bool  # spans both columns


def draw(
    folder: pathlib.Path, subject: Any, plots: Iterable[Plot]
) -> tuple[list[Picture], list[str]]:
    """Draws the figures of a run or of a search.

    Args:
        folder: Its folder, which gets them in `figures`.
        subject: What is drawn: the run, the search.
        plots: See `report.write`.

    Returns:
        The pictures, and a line for each figure that failed.
    """
    folder = folder / "figures"
    files.make_folder(folder)
    pictures, failures = [], []
    for plot in plots:
        name = getattr(plot, "__name__", type(plot).__name__)
        picture = None
        try:
            picture = _picture(subject, plot, name)
        except Exception as error:  # a failing figure must not fail a trained and exported run
            failures.append(f"figure {name} failed: {_place_of(error, plot)}")
            print(failures[-1], flush=True)
        if picture:
            files.write_bytes(folder / f"{name}.{picture.kind}", picture.content)
            pictures.append(picture)
        for kind in {"png", "gif"} - {picture.kind if picture else None}:
            (folder / f"{name}.{kind}").unlink(missing_ok=True)  # from an earlier report
    return pictures, failures


def _picture(subject: Any, plot: Plot, name: str) -> Picture | None:
    caption = ((plot.__doc__ or "").strip() or formatting.words(name)).splitlines()[0]
    figure = plot(subject)
    if figure is None:
        return None
    if isinstance(figure, bytes):
        width, height = struct.unpack("<HH", figure[6:10])  # follow the signature
        return Picture(caption, "gif", figure, height / width, wide=False)
    if not isinstance(figure, Figure):
        kind = type(figure).__name__
        raise TypeError(f"it returned {kind}; expected a matplotlib Figure, bytes or None")
    content, (width, height) = style.to_png(figure), figure.get_size_inches()
    return Picture(caption, "png", content, height / width, wide=width > WIDE)


def _place_of(error: Exception, plot: Plot) -> str:
    """Writes an error in one line, with the last line in the figure's own file that led to it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = getattr(getattr(plot, "__code__", None), "co_filename", None)
    frame = next((frame for frame in reversed(frames) if frame.filename == own), frames[-1])
    said = " ".join(str(error).split())
    what = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return f"{what} ({pathlib.Path(frame.filename).name}, line {frame.lineno})"


def lay_out(pictures: Sequence[Picture], problems: Sequence[str]) -> str:
    """Writes the section of figures, wide ones last, and what was left out; "" if there is none."""
    cards = [
        f"""<figure{' class="wide"' if picture.wide else ""} style="order: {i}"><img
alt="{text(picture.caption)}"
src="data:image/{picture.kind};base64,{base64.b64encode(picture.content).decode()}">
<figcaption>{text(picture.caption)}</figcaption></figure>"""
        for i, picture in enumerate(pictures)
    ]
    narrow = {i: picture.ratio for i, picture in enumerate(pictures) if not picture.wide}
    body = ""
    if narrow:
        columns = "".join(
            f'<div class="column">{"".join(cards[i] for i in column)}</div>'
            for column in _columns(narrow)
        )
        body += f'<div class="figures">{columns}</div>'
    body += "".join(card for card, picture in zip(cards, pictures, strict=True) if picture.wide)
    body += "".join(f'<p class="bad">{text(problem)}</p>\n' for problem in problems)
    return section("Figures", body) if body else ""


def _columns(ratios: Mapping[int, float]) -> list[list[int]]:
    """Distributes figures over two columns of similar height, the first figure on the left.

    Args:
        ratios: Height over width of each figure, by its number.
    """
    columns: list[list[int]] = [[], []]
    heights = [0.0, 0.0]
    for i in sorted(ratios, key=lambda i: -ratios[i]):
        shorter = heights.index(min(heights))
        columns[shorter].append(i)
        heights[shorter] += ratios[i] + CAPTION
    return sorted((sorted(column) for column in columns if column), key=lambda column: column[0])
