"""AG News: titles and descriptions of news in four topics (Zhang et al., 2015), from TFDS."""

import functools

from . import sentences
from .base import Dataset, Vectorization, generated

LABELS = ("World", "Sports", "Business", "Sci/Tech")
SAMPLE_EXAMPLES = {"train": 2000, "test": 600}


def ag_news(
    vocabulary_size: int = 20_000,
    max_length: int = 128,
    embeddings: str = "",
    val_fraction: float = 0.1,
    train_examples: int = 0,
) -> Dataset:
    """News, title and description joined, as texts with a topic from 0 to 3.

    TFDS' ag_news_subset, 120,000 train and 7,600 test texts; what it calls supervised leaves the
    title out. The stand-in is 2,600 news made up by `sentences.news`.

    Args:
        vocabulary_size: See `Vectorization`, also for the next two.
        max_length: Tokens.
        embeddings: Path to word vectors.
        val_fraction: Share of train that becomes val.
        train_examples: Train on so many of the others; 0: on all.
    """
    return Dataset(
        name="ag_news_subset",
        version="1.0.0",
        input_shape=(),
        label_names=LABELS,
        official_examples={"train": 120_000, "test": 7600},
        official_download_size=11_784_327,
        host="drive.google.com",
        make_sample=functools.partial(
            generated,
            sentences.news,
            SAMPLE_EXAMPLES,
            f"{sum(SAMPLE_EXAMPLES.values()):,} news made up by sentences.news",
        ),
        input=_join_title,
        tfds_splits={"train": "train", "test": "test"},
        val_fraction=val_fraction,
        train_examples=train_examples,
        vectorization=Vectorization(vocabulary_size, max_length, embeddings),
    )


def _join_title(example):
    import tensorflow as tf

    return tf.strings.join([example["title"], example["description"]], separator=" ")
