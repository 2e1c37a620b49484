"""The scan of a folder of images: each file is read and decoded once, and then remembered."""

import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from ... import files
from ...errors import UserError, first_line
from .dialect import stamp_of
from .image_files import (
    is_decoded_by_graph,
    is_transparent,
    open_image,
    orientation,
    upright,
    why_unreadable,
)
from .near_copies import COLORS, SIDE, near_copies

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# Raise it when what a scan remembers changes.
VERSION = 3

ENDINGS = tuple(".jpg .jpeg .jpe .jfif .png .bmp .dib .gif .webp .tif .tiff .avif".split())
LARGE = 2**24  # pixels
_LARGE_LOCK = threading.Lock()
_IGNORED = ("thumbs.db", "desktop.ini", "__macosx")  # and all that begins with a dot
_GREY_MODES = ("1", "L", "LA", "La")


class File(NamedTuple):
    """A file as listed: its path relative to the folder with "/", and what changes with it."""

    path: str
    size: int
    changed: int  # time in ns, see `dialect.stamp`


class Listing(NamedTuple):
    """What a folder contains, in an order that does not depend on the file system.

    Attributes:
        images: All image files.
        others: Number of other files by ending.
        empty: Folders without any image in or below them.
    """

    images: tuple[File, ...]
    others: tuple[tuple[str, int], ...]
    empty: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Scan:
    """What is known of each of n image files; arrays and lists have their order.

    Attributes:
        formats: "JPEG" or "PNG, 16 bits"; "" if unreadable.
        converted: Conversions that are needed, besides those between grey and RGB.
        reasons: Why a file cannot be read; "" if it can.
        digests: uint8 (n, 32), SHA-256 of the content.
        shapes: int32 (n, 2), width and height as shown.
        grey: bool (n,).
        as_is: bool (n,), whether `inputs.images.decode_image` decodes the file as it is.
        thumbnails: uint8 (n, SIDE, SIDE).
        colors: uint8 (n, COLORS, COLORS, 3).
    """

    formats: list[str]
    converted: list[list[str]]
    reasons: list[str]
    digests: "np.ndarray"
    shapes: "np.ndarray"
    grey: "np.ndarray"
    as_is: "np.ndarray"
    thumbnails: "np.ndarray"
    colors: "np.ndarray"


_LISTS = ("formats", "converted", "reasons")
_ARRAYS = ("digests", "shapes", "grey", "as_is", "thumbnails", "colors")


def list_images(folder: pathlib.Path) -> Listing:
    """Lists all images in and below a folder; links are followed, but not in a circle."""
    images: list[File] = []
    others: Counter[str] = Counter()
    empty = []

    def visit(path: str, relative: str, above: frozenset[tuple[int, int]]) -> bool:
        """Whether there is an image in or below the folder."""
        found = False
        for entry in os.scandir(path):
            if entry.name.startswith(".") or entry.name.lower() in _IGNORED:
                continue
            name = f"{relative}{entry.name}"
            ending = os.path.splitext(entry.name)[1].lower()
            try:
                status, is_folder = entry.stat(), entry.is_dir()
            except OSError:  # a link to nothing or to itself; as an image it is unreadable
                status, is_folder = os.lstat(entry.path), False
            if is_folder:
                key = (status.st_dev, status.st_ino)
                inside = key in above or visit(entry.path, f"{name}/", above | {key})
                found |= inside
            if is_folder and (inside or ending not in ENDINGS):
                continue
            if ending in ENDINGS:  # an empty folder named as an image is one that is unreadable
                found = True
                images.append(File(name, *stamp_of(status)))
            else:
                others[ending or "no ending"] += 1
        if not found and os.path.splitext(path)[1].lower() not in ENDINGS:
            empty.append(relative.rstrip("/"))
        return found

    try:
        status = os.stat(folder)
        visit(str(folder), "", frozenset({(status.st_dev, status.st_ino)}))
    except OSError as error:
        raise UserError(
            f"{error.filename}: {error.strerror}; expected a folder with one folder of images a "
            "class"
        ) from None
    return Listing(tuple(sorted(images)), tuple(sorted(others.items())), tuple(sorted(empty)))


@functools.lru_cache(maxsize=4)
def scan(folder: pathlib.Path, images: tuple[File, ...]) -> "tuple[Scan, np.ndarray]":
    """Reads all images, or what an earlier scan remembered of those that did not change.

    Args:
        folder: The folder, as an absolute path.
        images: Its files, see `list_images`.

    Returns:
        The scan, and its pairs of copies, int64 (m, 2).
    """
    key = hashlib.sha256(str(folder).encode(errors="surrogateescape")).hexdigest()[:16]
    cache = files.home() / "looks" / f"images-{key}"

    def open_it() -> "tuple[Scan, np.ndarray] | None":
        known = _open(cache)
        return known[1:] if known and known[0] == images else None

    def write(temporary: pathlib.Path) -> None:
        import numpy as np

        # An older scan still knows the files that did not change.
        known = _open(cache) if files.is_intact(cache) else None
        rows = {file: row for row, file in enumerate(known[0])} if known else {}
        new = [file for file in images if file not in rows]
        scanned = _join([known[1]] if known else [], _read(folder, new))
        rows |= {file: len(rows) + row for row, file in enumerate(new)}
        chosen = [rows[file] for file in images]
        result: dict[str, Any] = {
            name: [getattr(scanned, name)[row] for row in chosen] for name in _LISTS
        }
        arrays = {name: getattr(scanned, name)[chosen] for name in _ARRAYS}
        content = {"version": VERSION, "files": [list(file) for file in images], **result}
        files.write_json(temporary / "files.json", content)
        copies = _copies(Scan(**result, **arrays))
        np.savez(temporary / "images.npz", copies=copies, **arrays)

    return files.open_or_write(cache, open_it, write)


def _open(cache: pathlib.Path) -> "tuple[tuple[File, ...], Scan, np.ndarray] | None":
    import numpy as np

    content: Any = files.read_json(cache / "files.json")
    if content["version"] != VERSION:
        return None
    with np.load(cache / "images.npz", allow_pickle=False) as arrays:
        lists: dict[str, Any] = {name: content[name] for name in _LISTS}
        scanned = Scan(**lists, **{name: arrays[name] for name in _ARRAYS})
        return tuple(File(*file) for file in content["files"]), scanned, arrays["copies"]


def _read(folder: pathlib.Path, images: list[File]) -> Iterator[dict[str, Any]]:
    """Reads images with threads; prints a line every 10 % if that takes more than a few seconds."""
    started, count = time.monotonic(), len(images)
    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 1)) as pool:
        for done, known in enumerate(pool.map(lambda file: _read_one(folder, file), images), 1):
            seconds = time.monotonic() - started
            if seconds > 5 and done * 10 // count != (done - 1) * 10 // count:
                left = seconds / done * (count - done)
                print(
                    f"looking at {folder.name}: {done:,} of {count:,}, {left:.0f} s left",
                    flush=True,
                )
            yield known


def _read_one(folder: pathlib.Path, file: File) -> dict[str, Any]:
    import numpy as np

    known: dict[str, Any] = {
        "formats": "",
        "converted": [],
        "reasons": "",
        "digests": bytes(32),
        "shapes": (0, 0),
        "grey": False,
        "as_is": False,
        "thumbnails": np.zeros((SIDE, SIDE), np.uint8),
        "colors": np.zeros((COLORS, COLORS, 3), np.uint8),
    }
    path = folder / file.path
    try:
        if path.exists() and not path.is_file():  # reading a pipe or a device may never end
            return {**known, "reasons": "not a file but a folder, pipe or device"}
        content = path.read_bytes()
    except OSError as error:
        return {**known, "reasons": error.strerror or "cannot be read"}
    try:
        with open_image(content) as image, _memory_for(image):
            return {
                **known,
                **_describe(image, content),
                "digests": hashlib.sha256(content).digest(),
            }
    except Exception as error:  # Pillow raises errors of many types for damaged files
        return {**known, "reasons": why_unreadable(content) or first_line(error)}


def _memory_for(image: "Image.Image") -> contextlib.AbstractContextManager[Any]:
    """Lets only one thread at a time decode a large image; a JPEG is decoded in part."""
    is_large = image.width * image.height > LARGE and image.format != "JPEG"
    return _LARGE_LOCK if is_large else contextlib.nullcontext()


def _describe(image: "Image.Image", content: bytes) -> dict[str, Any]:
    import numpy as np
    from PIL import Image

    kind = "JPEG" if image.format == "MPO" else image.format or ""
    width, height = image.size
    turned = orientation(image)
    is_deep = image.mode.startswith("I;16") or (kind == "PNG" and content[24:25] == b"\x10")
    is_grey = image.mode in _GREY_MODES or image.mode.startswith("I;16")
    reasons = {
        "turned as EXIF says": turned > 1,
        "transparent, on white": is_transparent(image),
        "16 bits to 8": is_deep,
        "1 bit to 8": image.mode == "1",
        "palette to RGB": image.mode in ("P", "PA"),
        "CMYK to RGB": image.mode == "CMYK",
        "first frame of several": kind != "JPEG" and getattr(image, "is_animated", False),
    }
    if kind == "JPEG":  # all of it is still read
        image.draft(None, (4 * SIDE, 4 * SIDE))
    pixels = upright(image)
    if pixels.mode == "RGBA":
        white = Image.new("RGBA", pixels.size, "white")
        white.alpha_composite(pixels)
        pixels = white.convert("RGB")
    is_large = min(pixels.size) >= SIDE
    resampling = Image.Resampling.BOX if is_large else Image.Resampling.BILINEAR
    small = pixels.resize((SIDE, SIDE), resampling).convert("RGB")
    return {
        "formats": kind + ", 16 bits" * is_deep,
        "converted": [reason for reason, holds in reasons.items() if holds],
        "shapes": (height, width) if turned > 4 else (width, height),
        "grey": is_grey,
        "as_is": is_decoded_by_graph(content),
        "thumbnails": np.asarray(small.convert("L")),
        "colors": np.asarray(small.resize((COLORS, COLORS), Image.Resampling.BOX)),
    }


def _join(known: list[Scan], new: Iterable[dict[str, Any]]) -> Scan:
    """Joins an older scan, if there is one, with new descriptions."""
    import numpy as np

    new = list(new)
    lists: dict[str, Any] = {
        name: [*(getattr(known[0], name) if known else []), *(one[name] for one in new)]
        for name in _LISTS
    }
    columns: dict[str, Any] = {
        "digests": np.array([np.frombuffer(one["digests"], np.uint8) for one in new], np.uint8),
        "shapes": np.array([one["shapes"] for one in new], np.int32),
        "grey": np.array([one["grey"] for one in new], bool),
        "as_is": np.array([one["as_is"] for one in new], bool),
        "thumbnails": np.array([one["thumbnails"] for one in new], np.uint8),
        "colors": np.array([one["colors"] for one in new], np.uint8),
    }
    for name, column in columns.items():
        parts = [getattr(scanned, name) for scanned in known] + [column] * bool(new)
        columns[name] = np.concatenate(parts)
    return Scan(**lists, **columns)


def _copies(scanned: Scan) -> "np.ndarray":
    """Returns pairs of exact and near copies among the readable images."""
    import numpy as np

    readable = np.flatnonzero([not reason for reason in scanned.reasons])
    if not len(readable):
        return np.empty((0, 2), np.int64)
    keys = scanned.digests[readable].copy().view("V32").ravel()
    _, firsts, members = np.unique(keys, return_index=True, return_inverse=True)
    exact = np.stack([readable[firsts][members], readable], axis=1)
    different = readable[np.sort(firsts)]
    near = different[near_copies(scanned.thumbnails[different], scanned.colors[different])]
    return np.concatenate([exact[exact[:, 0] != exact[:, 1]], near])
