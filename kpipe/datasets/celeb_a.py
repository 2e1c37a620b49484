"""CelebA: 202,599 aligned faces with 40 attributes (Liu et al., ICCV 2015)."""

import functools
import hashlib
import pathlib
import zipfile
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .. import files
from ..errors import UserError, first_line
from .base import Dataset, Source, from_arrays
from .own.image_files import read_image, readable
from .samples import faces

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

IMAGES = "img_align_celeba"
ATTRIBUTES_FILE = "list_attr_celeba.txt"
PARTITION_FILE = "list_eval_partition.txt"
# SHA-256 of what kpipe reads, from the checksums of celeb_a in TFDS 4.9.
ORIGINAL_FILES = {
    f"{IMAGES}.zip": "46fb89443c578308acf364d7d379fe1b9efb793042c0af734b6112e4fd3a8c74",
    ATTRIBUTES_FILE: "f0e5da289d5ccf75ffe8811132694922b60f2af59256ed362afa03fefba324d0",
    PARTITION_FILE: "fc955bcb3ef8fbdf7d5640d9a8693a8431b5f2ee291a5c1449a1549e7e073fe7",
}
# What TFDS downloads; sizes in bytes, from the same.
FIVE_FILES = {
    f"{IMAGES}.zip": 1_443_490_838,
    ATTRIBUTES_FILE: 26_721_026,
    PARTITION_FILE: 2_836_386,
    "list_landmarks_align_celeba.txt": 12_156_055,
    "identity_CelebA.txt": 3_424_458,
}
LARGEST = 2**26  # bytes of an encoded image in the zip file
OFFICIAL_EXAMPLES = {"train": 162_770, "val": 19_867, "test": 19_962}
SPLITS = ("train", "val", "test")  # the partition file's 0, 1, 2
SAMPLE_EXAMPLES = {"train": 3000, "val": 1000, "test": 2000}


def celeba(attribute: str | None = "Male", image_size: int = 32) -> Dataset:
    """CelebA faces as uint8 (image_size, image_size, 3) images; the label is one attribute.

    The central square of the aligned image is resized. Official splits. Real data are TFDS'
    `celeb_a`, or in the data folder or its `downloads/manual` the original attribute and partition
    lists with `img_align_celeba.zip` or the unpacked folder. The sample is 6,000 drawn faces.

    Args:
        attribute: One of the 40 names in `faces.ATTRIBUTES`; None for all 40 as labels.
        image_size: Pixels on a side.

    Raises:
        ValueError: There is no such attribute.

    Example:
        datasets.celeba("Smiling").label_names  # ("not Smiling", "Smiling")
    """
    if attribute is None:
        label_names, select_label = tuple(faces.ATTRIBUTES), lambda labels: labels
    elif attribute in faces.ATTRIBUTES:
        column = faces.ATTRIBUTES.index(attribute)
        label_names, select_label = (
            (f"not {attribute}", attribute),
            lambda labels: labels[:, column],
        )
    else:
        raise ValueError(f"attribute={attribute!r}: expected one of {', '.join(faces.ATTRIBUTES)}")
    return Dataset(
        name="celeb_a",
        version="2.1.0",
        input_shape=(image_size, image_size, 3),
        label_names=label_names,
        official_examples=OFFICIAL_EXAMPLES,
        official_download_size=sum(FIVE_FILES.values()),
        host="drive.google.com",
        make_sample=_drawn_faces,
        find_manual=_find_manual,
        tfds_splits={"train": "train", "val": "validation", "test": "test"},
        label=_stack_attributes,
        select_label=select_label,
        kinds_with_factors=("sample",) if attribute is None else (),
        manual_help=(
            f"put {', '.join(ORIGINAL_FILES)} in DIR/downloads/manual and pass --data-dir DIR"
        ),
    )


def _stack_attributes(example: Mapping[str, Any]) -> "tf.Tensor":
    import tensorflow as tf

    return tf.stack([tf.cast(example["attributes"][name], tf.uint8) for name in faces.ATTRIBUTES])


def _drawn_faces() -> Source:
    return Source(
        kind="sample",
        description="6,000 faces drawn by kpipe, no photographs",
        identity=files.sha256(pathlib.Path(faces.__file__)),  # other code, other faces
        examples=SAMPLE_EXAMPLES,
        official=False,
        read=_read_drawn_faces,
    )


def _read_drawn_faces(split: str) -> "tf.data.Dataset":
    images, attributes = _paint_all()
    first = sum(SAMPLE_EXAMPLES[s] for s in SPLITS[: SPLITS.index(split)])
    rows = slice(first, first + SAMPLE_EXAMPLES[split])
    return from_arrays(f"drawn face {split}", images[rows], attributes[rows].astype("uint8"))


@functools.lru_cache(maxsize=1)
def _paint_all() -> tuple["np.ndarray", "np.ndarray"]:
    return faces.paint(sum(SAMPLE_EXAMPLES.values()), seed=0)


# --- the user's own files ---------------------------------------------------------------------


def _find_manual(data_dir: pathlib.Path) -> Source | None:
    """Finds the zip file or the unpacked folder, with the two lists; None if neither exists."""
    for folder in (data_dir, data_dir / "downloads" / "manual"):
        archive, unpacked = folder / f"{IMAGES}.zip", folder / IMAGES
        if unpacked.is_dir():
            return _manual_source(folder, unpacked, official=_lists_are_official(folder))
        if archive.exists():
            _check_original_files(folder)
            return _manual_source(folder, archive, official=True)
    return None


def _check_original_files(folder: pathlib.Path) -> None:
    for name in ORIGINAL_FILES:
        path, size = folder / name, FIVE_FILES[name]
        if not path.is_file():
            raise UserError(f"{path} is missing; expected {', '.join(ORIGINAL_FILES)}")
        start = _start(path)
        if path.suffix == ".zip" and not start.startswith(b"PK"):
            is_page = start.lstrip().lower().startswith((b"<!doctype html", b"<html"))
            raise UserError(
                f"{path} is not a zip file{' but an HTML page' if is_page else ''}; download it in "
                "a browser, where the host can ask for confirmation"
            )
        if path.stat().st_size != size:
            raise UserError(
                f"{path} has {path.stat().st_size:,} bytes; expected {size:,}: download it again"
            )
    for name in (ATTRIBUTES_FILE, PARTITION_FILE):
        _check_original(folder / name)


def _check_original(path: pathlib.Path) -> None:
    """Refuses a file whose SHA-256 is not that of the original."""
    stat = path.stat()
    if _sha256(path, stat.st_size, stat.st_mtime_ns) != ORIGINAL_FILES[path.name]:
        raise UserError(f"{path} is not the original, by its SHA-256: download it again")


@functools.lru_cache(maxsize=8)
def _sha256(path: pathlib.Path, size: int, time: int) -> str:
    return files.sha256(path)


def _start(path: pathlib.Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(512)


def _lists_are_official(folder: pathlib.Path) -> bool:
    lists = (folder / ATTRIBUTES_FILE, folder / PARTITION_FILE)
    return all(path.is_file() and files.sha256(path) == ORIGINAL_FILES[path.name] for path in lists)


def _manual_source(folder: pathlib.Path, images: pathlib.Path, official: bool) -> Source:
    rows = _read_lists(folder)
    examples = {split: len(rows[split]) for split in SPLITS}
    lists = [(folder / name).read_bytes() for name in (ATTRIBUTES_FILE, PARTITION_FILE)]
    return Source(
        kind="real",
        description=f"CelebA from {images.name} and its lists",
        identity=_digest(*lists, *_stamps(images)),
        examples=examples,
        official=official and examples == OFFICIAL_EXAMPLES,
        read=lambda split: _read_manual(images, rows[split]),
        has_jpeg=True,
    )


def _stamps(images: pathlib.Path) -> Iterator[bytes]:
    """Yields name, size and time of every image file or of the archive; they change with it."""
    entries: Iterable[pathlib.Path] = images.iterdir() if images.is_dir() else [images]
    for entry in sorted(entries, key=lambda entry: entry.name):
        stat = entry.stat()
        yield f"{entry.name} {stat.st_size} {stat.st_mtime_ns}".encode()


def _digest(*contents: bytes) -> str:
    digests = b"".join(hashlib.sha256(content).digest() for content in contents)
    return hashlib.sha256(digests).hexdigest()


def _read_lists(folder: pathlib.Path) -> dict[str, list[tuple[str, list[int]]]]:
    """Reads the file names of each split, with their 40 attributes as 0 or 1.

    Raises:
        UserError: A list is missing or a line of it is malformed; the message names the line.
    """
    attributes: dict[str, list[int]] = {}
    order: list[int] = []  # columns, once the names are known
    for number, line in _lines(folder / ATTRIBUTES_FILE):
        words = line.split()
        if number == 1:  # the number of images
            continue
        if not order:
            if sorted(words) != sorted(faces.ATTRIBUTES):
                raise UserError(
                    f"{folder / ATTRIBUTES_FILE}:{number}: expected CelebA's 40 attribute names, "
                    f"found {len(words)} words"
                )
            order = [words.index(name) for name in faces.ATTRIBUTES]
            continue
        if len(words) != 41 or not set(words[1:]) <= {"1", "-1"}:
            raise UserError(
                f"{folder / ATTRIBUTES_FILE}:{number}: expected a file name and 40 values "
                f"of 1 or -1, found {line[:60]!r}"
            )
        _check_name(folder / ATTRIBUTES_FILE, number, words[0], attributes)
        attributes[words[0]] = [int(words[1 + i] == "1") for i in order]
    rows: dict[str, list[tuple[str, list[int]]]] = {split: [] for split in SPLITS}
    listed: set[str] = set()
    for number, line in _lines(folder / PARTITION_FILE):
        words = line.split()
        if len(words) != 2 or words[1] not in ("0", "1", "2"):
            raise UserError(
                f"{folder / PARTITION_FILE}:{number}: expected a file name and 0, 1 or 2, "
                f"found {line[:60]!r}"
            )
        if words[0] not in attributes:
            raise UserError(
                f"{folder / PARTITION_FILE}:{number}: {words[0]} has no line in {ATTRIBUTES_FILE}"
            )
        _check_name(folder / PARTITION_FILE, number, words[0], listed)
        listed.add(words[0])
        rows[SPLITS[int(words[1])]].append((words[0], attributes[words[0]]))
    return rows


def _check_name(path: pathlib.Path, number: int, name: str, known: Container[str]) -> None:
    """Refuses a file that is listed twice, or is not directly in the folder of the images."""
    if name in known:
        raise UserError(f"{path}:{number}: {name} is listed twice; download the list again")
    if {"/", "\\", "\0"} & set(name):
        raise UserError(
            f"{path}:{number}: {name!r} is not in the folder {IMAGES}; expected a file name"
        )


def _lines(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    number = 0
    if path.exists() and not path.is_file():  # reading a device may never end
        raise UserError(f"{path} is not a file; download it again")
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.decode()
    except UnicodeDecodeError:
        raise UserError(f"{path}:{number}: is not UTF-8 text; download it again") from None
    except OSError as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(f"{path} {reason}; put it in the folder of {IMAGES}") from None


def _read_manual(images: pathlib.Path, rows: list[tuple[str, list[int]]]) -> "tf.data.Dataset":
    """Streams the encoded images in order, from a folder or from the zip file."""
    import numpy as np
    import tensorflow as tf

    def from_folder() -> Iterator[dict[str, Any]]:
        for name, label in rows:
            path = images / name
            yield {"name": str(path), "input": readable(read_image(path)), "label": label}

    def from_archive() -> Iterator[dict[str, Any]]:
        for name, label in rows:
            member = f"{IMAGES}/{name}"
            try:
                with archive.open(member) as file:
                    content = file.read(LARGEST)  # the rest of a bomb stays packed
            except Exception:  # of many types for damaged members; the decoder's error names it
                content = b""
            yield {"name": f"{images}: {member}", "input": readable(content), "label": label}

    if not images.is_dir():
        _check_original(images)
        try:
            archive = zipfile.ZipFile(images)
        except Exception as error:  # of many types, even OSError, if it is damaged
            raise UserError(f"{images}: {first_line(error)}; download it again") from None
    return tf.data.Dataset.from_generator(
        from_folder if images.is_dir() else from_archive,
        output_signature={
            "name": tf.TensorSpec((), tf.string),
            "input": tf.TensorSpec((), tf.string),
            "label": tf.TensorSpec((40,), np.uint8),
        },
    )
