"""A user's own images: one folder a class."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import unicodedata
from typing import TYPE_CHECKING

from ...errors import UserError
from ..base import Dataset
from ..look import Look
from ..source import Source
from ..splits import divide
from .cells import class_name
from .dialect import stamp_of
from .division import check_fractions
from .image_files import read_image, readable
from .image_look import Labelled, describe
from .image_scan import File, Listing, list_images, scan

if TYPE_CHECKING:
    import numpy as np
    import tensorflow as tf

# Part of the identity: raise it when `readable` gives other pixels.
_READING = 1

NAMED = 100  # unreadable files that an error names; bad_files.csv has all
# Names of folders above those of the classes, in any letter case.
_SPLITS = {"train": "train", "training": "train"} | {"test": "test", "testing": "test"}
_SPLITS |= dict.fromkeys(("val", "valid", "validation"), "val")
# Endings of images that Pillow does not read: those of phones and cameras.
_UNKNOWN = tuple(".heic .heif .jxl .dng .cr2 .cr3 .nef .arw .raw".split())
_EXPECTED = "expected one folder of images a class, or such folders below train/ and test/"


def image_folder(
    path: str | os.PathLike[str],
    *,
    image_size: int = 64,
    channels: int | None = None,
    test_fraction: float = 0.2,
    val_fraction: float = 0.15,
    split_seed: int = 0,
    skip_bad: int = 0,
) -> Dataset:
    """A user's own images as uint8 (image_size, image_size, channels), with a class label.

    A class is a folder that directly contains images; its name is its path below `path`. Folders
    train, test and, if there is one, val (or validation) above them are the splits; otherwise test
    is cut from all images, always in the same way, and val from train by the run's seed. Copies of
    an image, exact or near, are on one side of a cut. The central square of an image is resized.

    Args:
        path: The folder.
        image_size: Pixels on a side.
        channels: 1 for grey or 3 for RGB; by default 1 if all images are grey.
        test_fraction: Share of the test split, unless there is a folder test.
        val_fraction: Share of train that becomes val, unless there is a folder val.
        split_seed: Random seed of the test split.
        skip_bad: Number of unreadable files that may be left out.

    Raises:
        UserError: The folder does not contain such images; a class is empty or has fewer than 3
            different images; more than `skip_bad` files cannot be read, which are named; or an
            argument is out of range.

    Example:
        datasets.image_folder("photos", image_size=96)
    """
    if image_size < 1 or channels not in (None, 1, 3):
        raise UserError(
            f"image_size={image_size}, channels={channels}: expected a size of at least 1, and "
            "1 (grey) or 3 (RGB) channels"
        )
    check_fractions(test_fraction, val_fraction)
    folder = pathlib.Path(os.path.expanduser(path)).resolve()
    listing = list_images(folder)
    options = _Options(image_size, channels, test_fraction, split_seed, skip_bad)
    channels, source, look = _find(folder, listing, options)
    return Dataset(
        name=look.name,
        input_shape=(image_size, image_size, channels),
        label_names=tuple(look.classes),
        fixed=lambda: source,
        task="classification",
        val_fraction=0.0 if "val" in source.examples else val_fraction,
    )


@dataclasses.dataclass(frozen=True)
class _Options:
    image_size: int
    channels: int | None
    test_fraction: float
    split_seed: int
    skip_bad: int


# A pipeline makes its dataset several times.
@functools.lru_cache(maxsize=8)
def _find(folder: pathlib.Path, listing: Listing, options: _Options) -> tuple[int, Source, Look]:
    import numpy as np

    images, others = listing.images, _listed(listing.others)
    splits, classes = _places(folder, images, others)
    if listing.empty:
        raise UserError(
            f"{folder}: no image in {', '.join(listing.empty)} (files in {folder.name} that are no "
            f"images: {others or 'none'}); every class needs images: add some, or remove the folder"
        )
    label_names = tuple(sorted(set(classes)))  # by code points, whatever the locale
    if len(label_names) < 2:
        raise UserError(f"{folder}: one class only, {label_names[0]}; expected two or more folders")
    scanned, pairs = scan(folder, images)
    bad = [row for row, reason in enumerate(scanned.reasons) if reason]
    unreadable = tuple((images[row].path, scanned.reasons[row]) for row in bad)
    if len(bad) > options.skip_bad:
        listed = "; ".join(f"{name}: {reason}" for name, reason in unreadable[:NAMED])
        listed += f"; and {len(bad) - NAMED:,} more" if len(bad) > NAMED else ""
        raise UserError(
            f"{folder}: {len(bad)} of {len(images)} files cannot be read: {listed}; replace or "
            f"remove them, or leave them out with skip_bad={len(bad)}"
        )
    labels = np.searchsorted(label_names, classes).astype(np.int64)
    known = Labelled(folder, images, scanned, pairs, label_names, labels)
    good = np.setdiff1d(np.arange(len(images)), bad)
    rows: dict[str, np.ndarray] = {
        split: good[np.array(splits)[good] == split]
        for split in ("train", "val", "test")
        if split in splits
    }
    _check_classes(known, rows)
    divided = "by the folders " + ", ".join(rows)
    if "test" not in rows:
        divided = "at random, stratified by class"
        train, test = divide(
            labels[good], options.test_fraction, options.split_seed, known.groups[good]
        )
        rows = {"train": good[train], "test": good[test]}
    channels = options.channels or (1 if scanned.grey[good].all() else 3)
    look = describe(known, rows, (options.image_size, options.image_size, channels))
    unknown = _listed(tuple(some for some in listing.others if some[0] in _UNKNOWN))
    lost = (f"Images that cannot be read were left out: {unknown}; save them as JPEG.",)
    left_out = (f"Other files were left out: {others}.",) if others else ()
    look = dataclasses.replace(
        look,
        divided=divided,
        unreadable=unreadable,
        notes=(*look.notes, *left_out),
        warnings=(*look.warnings, *(lost if unknown else ())),
    )
    return channels, _source(known, rows, look), look


def _places(
    folder: pathlib.Path, images: tuple[File, ...], others: str
) -> tuple[list[str], list[str]]:
    """Returns split and class of each image; all splits are "train" if there are no folders."""
    if not images:
        beside = f" (other files: {others})" if others else ""
        raise UserError(f"{folder}: no image in it or below{beside}; {_EXPECTED}")
    tops = {file.path.split("/")[0] for file in images if "/" in file.path}
    known = {top: _SPLITS[top.lower()] for top in tops if top.lower() in _SPLITS}
    found = sorted(known.values())
    if {"train", "test"} & set(known.values()):
        if tops - set(known):
            raise UserError(
                f"{folder}: {sorted(tops - set(known))[0]}/ is beside {sorted(known)[0]}/; expected"
                " only train/, test/ and, if there is one, val/: move it, or rename the splits"
            )
        if not {"train", "test"} <= set(found) or len(found) > len(set(found)):
            raise UserError(
                f"{folder}: the splits are {', '.join(sorted(known))}; expected train/, test/ and,"
                " if there is one, val/, once each; without them, test is cut from all images: move"
                " the folders of the classes up"
            )
    else:
        known = {}
    splits, classes = [], []
    for file in images:
        *parents, name = file.path.split("/")
        split = known[parents[0]] if parents and known else "train"
        place = "/".join(parents[1:] if known else parents)
        if not place:
            where = folder / parents[0] if parents else folder
            raise UserError(f"{where}: {name} is in no folder of a class; {_EXPECTED}")
        splits.append(split)
        # A file system may store accents as characters of their own.
        classes.append(class_name(unicodedata.normalize("NFC", place)))
    return splits, classes


def _check_classes(known: Labelled, rows: "dict[str, np.ndarray]") -> None:
    """Refuses classes from which nothing can be learned."""
    import numpy as np

    # Train becomes train, and val and test if these are not given.
    needed = 1 + ("val" not in rows) + ("test" not in rows)
    train = rows["train"]
    for label, name in enumerate(known.label_names):
        of_class = train[known.labels[train] == label]
        different = len(np.unique(known.groups[of_class]))
        where = "" if needed == 3 else " in train"
        if not different:
            raise UserError(
                f"{known.folder}: the class {name} has no image in train; expected the same "
                "folders in every split: name them alike, or remove the class"
            )
        if different < needed:
            copies = f" ({len(of_class)} with copies)" if len(of_class) > different else ""
            raise UserError(
                f"{known.folder}: the class {name} has {different} different "
                f"image{'s' * (different != 1)}{where}{copies};"
                f" expected at least {needed}: add images, or remove the class"
            )


def _listed(others: tuple[tuple[str, int], ...]) -> str:
    return ", ".join(f"{count:,} {ending}" for ending, count in others)


def _source(known: Labelled, rows: "dict[str, np.ndarray]", look: Look) -> Source:
    identity = hashlib.sha256(json.dumps([_READING, known.label_names]).encode())
    for split, of_split in rows.items():
        identity.update(split.encode())
        identity.update(known.scan.digests[of_split].tobytes())
        for numbers in (known.labels, known.groups):  # the groups decide what becomes val
            identity.update(numbers[of_split].astype("<i8").tobytes())

    def read(split: str) -> "tf.data.Dataset":
        images = [known.images[row] for row in rows[split]]
        as_is, labels = known.scan.as_is[rows[split]], known.labels[rows[split]]
        return _read(known.folder, images, as_is, labels)

    return Source(
        kind="own",
        description=f"{sum(look.examples.values()):,} images in {known.folder}",
        identity=identity.hexdigest(),
        examples=look.examples,
        official=False,
        read=read,
        groups=lambda split: known.groups[rows[split]],
        look=look,
        names=lambda split: [known.images[row].path for row in rows[split]],
        has_jpeg=any(kind.startswith("JPEG") for kind in known.scan.formats),
    )


def _read(
    folder: pathlib.Path, images: list[File], as_is: "np.ndarray", labels: "np.ndarray"
) -> "tf.data.Dataset":
    """Reads files one by one, so that a folder may be larger than memory."""
    import tensorflow as tf

    changed = [file.path for file in images if not _is_unchanged(folder, file)]
    if changed:
        raise UserError(
            f"{folder}: {len(changed)} images changed or were removed since the folder was looked "
            f"at, such as {changed[0]}; run again"
        )

    def converted(path: bytes) -> bytes:
        # As bytes: TensorFlow 2.21 never frees what an array of objects holds.
        return readable(read_image(pathlib.Path(os.fsdecode(path))))

    def example(
        name: "tf.Tensor", path: "tf.Tensor", as_is: "tf.Tensor", label: "tf.Tensor"
    ) -> dict[str, "tf.Tensor"]:
        # Most files stay as they are: read without Python, for whose lock threads would wait.
        content = tf.cond(
            as_is,
            lambda: tf.io.read_file(path),
            lambda: tf.numpy_function(converted, [path], tf.string),
        )
        return {"name": name, "input": tf.ensure_shape(content, ()), "label": label}

    paths = [str(folder / file.path) for file in images]
    names = [path.encode(errors="replace") for path in paths]
    slices = (names, [os.fsencode(path) for path in paths], as_is, labels)
    return tf.data.Dataset.from_tensor_slices(slices).map(
        example, num_parallel_calls=tf.data.AUTOTUNE
    )


def _is_unchanged(folder: pathlib.Path, file: File) -> bool:
    try:
        status = os.stat(folder / file.path)
    except OSError:
        return False
    return stamp_of(status) == (file.size, file.changed)
