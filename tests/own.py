"""Data of one's own, as a stranger's pipeline file would make them."""

import hashlib

import numpy as np

from kpipe.data import Data, Split
from kpipe.datasets import Augmentation, Dataset, Source
from kpipe.datasets.base import from_arrays
from kpipe.inputs import Rows

CENTRES = np.random.default_rng(99).normal(size=(10, 5)) * 2


def dataset(splits, label_names=("a", "b", "c"), *, name="mine", val_fraction=0.2, **options):
    """A dataset of arrays: `splits` are inputs and labels by the names train, val and test."""
    arrays = {split: (np.asarray(x), np.asarray(y)) for split, (x, y) in splits.items()}
    content = b"".join(part.tobytes() for pair in arrays.values() for part in pair)
    sizes = {split: len(labels) for split, (_, labels) in arrays.items()}
    inputs, _ = arrays["train"]
    source = Source(
        kind="real",
        description=f"my {name}",
        identity=hashlib.sha256(content).hexdigest(),
        examples=sizes,
        official=False,
        read=lambda split: from_arrays(f"{name} {split}", *arrays[split]),
    )
    return Dataset(
        name=name,
        version="1.0.0",
        input_shape=() if inputs.dtype.kind in "OS" else inputs.shape[1:],
        label_names=tuple(label_names),
        official_examples=sizes,
        fixed=source,
        val_fraction=0.0 if "val" in splits else val_fraction,
        **options,
    )


def blobs(count, classes=3, seed=0):
    """float32 (count, 5) points about the centre of their class, and int64 labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    points = CENTRES[labels] + random.normal(size=(count, 5))
    return points.astype("float32"), labels.astype("int64")


def pictures(count, channels=1, seed=0):
    """uint8 (count, 8, 8, channels) images with stripes at a place of their class's own."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, count)
    images = random.integers(0, 60, (count, 8, 8, channels)).astype("uint8")
    for image, label in zip(images, labels, strict=True):
        image[:, label::3] += 150
    return images, labels.astype("int64")


def texts(count, classes=2, seed=0, words=("good", "bad")):
    """Texts as UTF-8 of one word's repetitions, and the word's number as the label."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, count)
    written = [" ".join([words[label]] * 3).encode() for label in labels]
    return np.array(written, dtype=object), labels


def split_of(inputs, labels, **options):
    """All examples of two arrays."""
    return Split(Rows(inputs), labels, np.arange(len(labels)), **options)


def data_of(label_names=("a", "b", "c"), augmentation=None, **splits):
    """Data of these splits, without files."""
    return Data(
        name="mine",
        kind="real",
        official=False,
        description="",
        fingerprint="1",
        label_names=label_names,
        input_shape=splits["train"].inputs.shape[1:],
        augmentation=augmentation or Augmentation(),
        splits=splits,
    )


def both(make, *arguments, change=lambda inputs, labels: (inputs, labels), **options):
    """Splits train and test of a function of these, each changed in the same way."""
    return {
        "train": change(*make(100, *arguments, **options)),
        "test": change(*make(40, *arguments, seed=1, **options)),
    }
