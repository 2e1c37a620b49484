"""Folders that TFDS prepared: their splits, and which file is damaged.

TFDS checks the examples only. Its JSON and lists of labels are noted at first use, in $KPIPE_HOME;
the files of examples are compared with the sizes in dataset_info.json.
"""

import hashlib
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from .. import files, manifest
from ..errors import UserError

_FRAME = 16  # bytes of a TFRecord besides the example
_POINTER = b"version https://git-lfs"


def default_data_dir() -> pathlib.Path:
    """Returns $TFDS_DATA_DIR, by default ~/tensorflow_datasets; without a home, in $KPIPE_HOME."""
    try:
        return pathlib.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    except RuntimeError:  # no HOME and an unknown user id, as in a container
        return files.home() / "tensorflow_datasets"


def check_no_rest(folder: pathlib.Path, name: str) -> None:
    """Refuses a dataset whose dataset_info.json is missing; what TFDS is writing is not looked at.

    Args:
        folder: Folder of the dataset, without a version that could be read.
        name: Name of the dataset.

    Raises:
        UserError: There are files of examples.
    """
    for path in sorted(folder.glob("*/*.tfrecord*")):
        if "incomplete" not in path.parent.name:
            missing = path.with_name("dataset_info.json")
            raise UserError(f"{missing} is missing, {path.name} is there; prepare {name} again")


def check_descriptions(folder: pathlib.Path, name: str, new: bool = False) -> None:
    """Compares the files that describe a dataset with those of its first use.

    Args:
        folder: Folder of the dataset's version, with dataset_info.json.
        name: Name of the dataset.
        new: Whether it was just prepared, so that an older note is about other files.

    Raises:
        UserError: A file is missing, damaged or changed; the message names it.
    """
    if not new and (note := _note(folder, name)).is_file():
        remedy = f"prepare {name} again, or, if it is right, remove {note}"
        manifest.check(folder, note=note, remedy=remedy)


def note_descriptions(folder: pathlib.Path, name: str) -> None:
    """Notes the digests of the files that describe a dataset; they could be read."""
    found = [path for path in folder.glob("*") if path.suffix in (".json", ".txt")]
    note = _note(folder, name)
    try:
        files.make_folder(note.parent)
        files.write_json(note, {"folder": str(folder), **manifest.describe(folder, found)})
    except (OSError, ValueError, UserError):  # a home that cannot be written; the data can be read
        pass


def _note(folder: pathlib.Path, name: str) -> pathlib.Path:
    digest = hashlib.sha256(str(folder.absolute()).encode(errors="surrogateescape")).hexdigest()
    return files.home() / "datasets" / f"{name}-{digest[:16]}.json"


def check_examples(folder: pathlib.Path, name: str, info: Mapping[str, Any]) -> None:
    """Compares the files of examples with the content of dataset_info.json.

    Raises:
        UserError: A file is missing, cut, empty or a Git LFS pointer; the message names it.
    """
    if info.get("name", name) != name:
        raise UserError(
            f"{folder / 'dataset_info.json'}: its name is {info['name']!r}; expected {name!r}"
        )
    if info.get("fileFormat", "tfrecord") != "tfrecord":
        return
    for part in info["splits"]:
        counts, kind = list(map(int, part["shardLengths"])), part["name"]
        shards = [
            folder / f"{name}-{kind}.tfrecord-{i:05d}-of-{len(counts):05d}"
            for i in range(len(counts))
        ]
        if not any(path.exists() for path in shards) and any(folder.glob(f"*-{kind}.*")):
            continue  # named in another way
        for path, count in zip(shards, counts, strict=True):
            if not path.is_file():
                raise UserError(f"{path} is missing; prepare {name} again")
            size = path.stat().st_size
            if size < _FRAME * count:
                is_pointer = _is_pointer(path)
                what = "a Git LFS pointer: fetch it with git lfs pull" if is_pointer else "cut off"
                raise UserError(
                    f"{path} is {what}: it has {size:,} bytes for {count:,} examples; or prepare "
                    f"{name} again"
                )
        size = sum(path.stat().st_size for path in shards)
        expected = int(part.get("numBytes", 0)) + _FRAME * sum(counts)
        if "numBytes" in part and size != expected:
            where = f"one of {shards[0]} to {shards[-1]}" if len(shards) > 1 else str(shards[0])
            raise UserError(
                f"{where} is cut off or changed: {size:,} bytes instead of {expected:,}; prepare "
                f"{name} again"
            )


def _is_pointer(path: pathlib.Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(_POINTER)) == _POINTER


def damaged_shard(folder: pathlib.Path, split: str) -> str:
    """Returns the first damaged file of a split and what is wrong with it; "" if all are whole.

    TensorFlow's errors do not name the file. TFRecord has a checksum of each record; the number of
    records is in dataset_info.json.

    Args:
        folder: Folder that TFDS prepared.
        split: TFDS' name of the split.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    try:
        info = tfds.builder_from_directory(folder).info.splits[split]
        shards = list(zip(map(pathlib.Path, info.filepaths), info.shard_lengths, strict=True))
    except Exception:  # TFDS passes on errors of many types; the caller tells of the folder
        return ""
    for path, expected in shards:
        if not path.is_file():
            return f"{path} is missing"
        if _is_pointer(path):
            return f"{path} is a Git LFS pointer: fetch it with git lfs pull"
        count = 0
        try:
            for _ in tf.data.TFRecordDataset(str(path)):
                count += 1
        except tf.errors.OpError as error:
            reason = "is cut off" if "truncated" in str(error) else "is damaged"
            return f"{path} {reason} at record {count + 1} of {expected}"
        if count != expected:
            return f"{path} has {count} of {expected} records"
    return ""


def stores_jpeg(folder: pathlib.Path) -> bool:
    """Whether the first example contains a JPEG file; TFDS need not note how images are encoded."""
    try:
        with open(min(folder.glob("*.tfrecord*")), "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            return b"\xff\xd8\xff" in file.read(min(size, 2**26))
    except (OSError, ValueError):  # no or a damaged file, which is refused when it is read
        return False


def usual_splits(sizes: Mapping[str, int]) -> dict[str, str]:
    """Maps our splits to those of a dataset that TFDS prepared.

    Without test, validation is test, since results on it can be compared with those of others; with
    neither, test is the last fifth of train.
    """
    if "train" not in sizes:
        raise UserError(f"TFDS prepared {', '.join(sizes) or 'no splits'}; expected train")
    if "test" in sizes:
        val = {"val": "validation"} if "validation" in sizes else {}
        return {"train": "train", **val, "test": "test"}
    if "validation" in sizes:
        return {"train": "train", "test": "validation"}
    return {"train": "train[:80%]", "test": "train[80%:]"}


def count_examples(split: str, sizes: Mapping[str, int]) -> int:
    """Counts the examples of a split such as "train", "train[90:95]" or "train[:80%]", as TFDS."""
    name, _, bounds = split.rstrip("]").partition("[")
    start, _, stop = bounds.partition(":")

    def position(bound: str) -> int:
        return round(int(bound[:-1]) * sizes[name] / 100) if bound.endswith("%") else int(bound)

    try:
        return len(range(sizes[name])[position(start or "0") : position(stop or "100%")])
    except (KeyError, ValueError):
        raise UserError(
            f"tfds_splits: {split!r}; expected one of {', '.join(sizes)}, or a part such as "
            "train[:80%]"
        ) from None


def version_key(path: pathlib.Path) -> list[int]:
    """Orders files in folders named after versions: 10.0.0 is after 9.0.0."""
    return [int(part) if part.isdigit() else -1 for part in path.parent.name.split(".")]
