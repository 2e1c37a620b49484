"""What TFDS prepared: its splits, their sizes, and which of its files is damaged."""

import pathlib
from collections.abc import Mapping

from ..errors import UserError


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
        files = list(zip(map(pathlib.Path, info.filepaths), info.shard_lengths, strict=True))
    except Exception:  # TFDS passes on errors of many types; the caller tells of the folder
        return ""
    for path, expected in files:
        if not path.is_file():
            return f"{path} is missing"
        with open(path, "rb") as file:
            if file.read(64).startswith(b"version https://git-lfs"):
                return f"{path} is a Git LFS pointer instead of the file: git lfs pull"
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
