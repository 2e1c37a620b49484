"""The page of `kpipe check-labels`: suspects of wrong labels, to look at."""

import base64
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from .. import files
from ..datasets.corrections import Suspect
from ..formatting import percent
from ..records import Record
from . import style
from .banner import data_banner
from .tables import escape, section, table, text

SHOWN = 96  # suspects
PAIRS = 12  # pairs of classes
LITTLE = 0.8  # agreement, below which suspects are mostly mistakes of the network
EXCERPT = 400  # characters of a text
SMALLEST = 96  # pixels of a picture's longer side; smaller ones are enlarged by whole factors

_STYLE = """
.facts, .banner { margin-top: 1rem; }
.gallery { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); }
.gallery figure { margin: 0; padding: .5rem; }
.gallery img { height: 8rem; object-fit: contain; image-rendering: pixelated; background: #fff; }
.gallery figcaption { margin-top: .3rem; overflow-wrap: anywhere; line-height: 1.35; }
.gallery b { color: #1c1e21; }
.suspects td:last-child { width: 58%; overflow-wrap: anywhere; }
.drawing { max-width: 42rem; margin-top: 2rem; }
"""


def sentence(found: Mapping[str, Any]) -> str:
    """Writes what was found: "Of 54,000 labels about 2,650 (4.9 %) are probably wrong".

    Args:
        found: `label_noise` of labels.json.
    """
    suspects, n = found["suspects"], found["examples"]
    share = f"({percent(suspects / n, 1)})"
    if not suspects:
        return f"Of {n:,} labels none is probably wrong"
    if found["agreement"] < LITTLE:
        return (
            f"Of {n:,} labels {suspects:,} {share} are suspects, many of them mistakes of the "
            f"networks, which agree with only {percent(found['agreement'], 1)} of the labels"
        )
    if suspects == 1:
        return f"Of {n:,} labels one {share} is probably wrong"
    return f"Of {n:,} labels about {suspects:,} {share} are probably wrong"


def to_picture(image: np.ndarray) -> bytes:
    """Returns an image, uint8 (height, width, 1 or 3), as a PNG file of a size to look at."""
    factor = max(1, SMALLEST // max(image.shape[:2]))
    enlarged = image.repeat(factor, axis=0).repeat(factor, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(enlarged.squeeze(axis=2) if image.shape[2] == 1 else enlarged).save(
        buffer, format="png"
    )
    return buffer.getvalue()


def write_labels(
    path: pathlib.Path,
    record: Record,
    suspects: Sequence[Suspect],
    pictures: Sequence[bytes] | None = None,
    drawing: bytes | None = None,
) -> pathlib.Path:
    """Writes the page, one HTML file that needs no network.

    Args:
        path: Path of the file.
        record: The record of the check, with `label_noise`.
        suspects: All suspects, the surest first; `SHOWN` of them are shown.
        pictures: PNG files of the suspects that are shown, if they are images.
        drawing: PNG file with all examples, if they are points of the plane.

    Returns:
        The path.
    """
    found = record.details["label_noise"]
    title = f"{record.pipeline}: check of the labels"
    parts = [
        f"<header><h1>{text(title)}</h1>\n<p class='lead'>{text(sentence(found))}.</p></header>",
        data_banner(record),
        _facts(record, found),
        section("Given and suggested label", _pairs(found)) if found["pairs"] else "",
        f'<section><figure class="drawing">{_image(drawing)}</figure></section>' if drawing else "",
        _gallery(suspects, pictures) if suspects else "",
        section("How to correct them", _advice()),
    ]
    page = style.PAGE.format(
        title=escape(title),
        icon=style.ICON,
        style=style.STYLE + _STYLE,
        body="\n".join(filter(None, parts)),
    )
    files.write_bytes(path, page.encode())
    return path


def _facts(record: Record, found: Mapping[str, Any]) -> str:
    facts = {
        "Data": record.data.description,
        "Examples": ", ".join(f"{n:,} {name}" for name, n in record.data.examples.items()),
        "Suspects": f"{found['suspects']:,}, of which {min(SHOWN, found['suspects']):,} below",
        "Labels that the networks predict": percent(found["agreement"], 1),
        "Predicted by": f"{found['folds']} networks, none trained on what it predicts",
        "Test": "not opened: its labels are not checked",
    }
    if found["unchecked"]:
        facts["Not checked, one example only"] = ", ".join(found["unchecked"])
    pairs = (f"<div><dt>{escape(k)}</dt><dd>{text(v)}</dd></div>" for k, v in facts.items())
    return f'<dl class="facts">{"".join(pairs)}</dl>'


def _pairs(found: Mapping[str, Any]) -> str:
    pairs = found["pairs"]
    rows = [(pair["given"], pair["suggested"], f"{pair['suspects']:,}") for pair in pairs[:PAIRS]]
    if len(pairs) > PAIRS:
        rest = sum(pair["suspects"] for pair in pairs[PAIRS:])
        rows.append((f"{len(pairs) - PAIRS} other pairs", "", f"{rest:,}"))
    return table(("given label", "suggested label", "suspects"), rows, look="layers")


def _gallery(suspects: Sequence[Suspect], pictures: Sequence[bytes] | None) -> str:
    """Writes the surest suspects, as pictures or as rows."""
    shown = suspects[:SHOWN]
    title = "The surest suspects" if len(suspects) > SHOWN else "The suspects"
    if pictures is None:
        rows = [
            (
                suspect.example,
                f"{suspect.given_label} → {suspect.suggested_label}",
                percent(suspect.suggested_probability, 0),
                _excerpt(suspect.content),
            )
            for suspect in shown
        ]
        head = ("example", "given → suggested", "probability", "content")
        return section(title, table(head, rows, look="suspects"))
    cards = "".join(
        f"<figure>{_image(picture)}<figcaption><b>{text(suspect.given_label)} → "
        f"{text(suspect.suggested_label)}</b> {text(percent(suspect.suggested_probability, 0))}<br>"
        f"{escape(suspect.example)}</figcaption></figure>"
        for suspect, picture in zip(shown, pictures, strict=True)
    )
    return section(title, f'<div class="gallery">{cards}</div>')


def _image(picture: bytes) -> str:
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(picture).decode()}">'


def _excerpt(content: str) -> str:
    words = " ".join(content.split())
    return f"{words[:EXCERPT]} …" if len(words) > EXCERPT else words


def _advice() -> str:
    return (
        "<p>suspects.csv lists all of them, the surest first. Write the right label into its "
        "column <b>correct_label</b>; leave it empty where the given label is right. A suspect is "
        "not a proof: decide by looking.</p>"
    )
