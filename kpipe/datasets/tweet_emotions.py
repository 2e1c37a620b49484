"""Tweets with an emotion: two CSV files of a course, read by a TFDS builder of ours."""

import functools
import pathlib

from .. import files
from . import sentences
from .base import Dataset, Vectorization, generated

LABELS = ("happiness", "neutral", "sadness")
# SHA-256 of the files, as found in a public copy.
CSV_FILES = {
    "trainEmotions.csv": "c53b7fa8d9b0fa3da96ba380998ef284e2c1e30bbfec73c8b41cc906cf8fe9d9",
    "testEmotions.csv": "bf43a8178985add29afae12ad19d9e26f65b05023707aae47553f4cce9877c5e",
}
MANUAL_FOLDER = "emotions_technion"  # below the data folder's downloads/manual
SAMPLE_EXAMPLES = {"train": 2000, "test": 600}


def tweet_emotions(
    vocabulary_size: int = 10_000,
    max_length: int = 64,
    embeddings: str = "",
    val_fraction: float = 0.1,
) -> Dataset:
    """Tweets as texts with an emotion: 0 happiness, 1 neutral, 2 sadness.

    14,504 train and 4,837 test tweets. Real data are the course's trainEmotions.csv and
    testEmotions.csv, columns emotion and content, in the data folder's
    `downloads/manual/emotions_technion`. The stand-in is 2,600 tweets made up by
    `sentences.tweets`.

    Args:
        vocabulary_size: See `Vectorization`, also for the next two.
        max_length: Tokens.
        embeddings: Path to word vectors.
        val_fraction: Share of train that becomes val.
    """
    return Dataset(
        name="tweet_emotions",
        version="1.0.0",
        input_shape=(),
        label_names=LABELS,
        official_examples={"train": 14_504, "test": 4837},
        official_download_size=0,
        host="",
        make_sample=functools.partial(
            generated,
            sentences.tweets,
            SAMPLE_EXAMPLES,
            f"{sum(SAMPLE_EXAMPLES.values()):,} tweets made up by sentences.tweets",
        ),
        input=lambda example: example["text"],
        tfds_splits={"train": "train", "test": "test"},
        make_builder=_builder,
        manual_files=tuple(f"{MANUAL_FOLDER}/{name}" for name in CSV_FILES),
        val_fraction=val_fraction,
        vectorization=Vectorization(vocabulary_size, max_length, embeddings),
        manual_help=(
            f"put {' and '.join(CSV_FILES)} into DIR/downloads/manual/{MANUAL_FOLDER} and say "
            "--data-dir DIR"
        ),
    )


def _builder(data_dir: pathlib.Path, manual: pathlib.Path):
    from .builders import TweetEmotions  # imports TFDS

    folder = manual / MANUAL_FOLDER
    official = all(files.sha256(folder / name) == digest for name, digest in CSV_FILES.items())
    return TweetEmotions(folder, LABELS, official=official, data_dir=data_dir)
