"""IMDB reviews: 50,000 film reviews with their sentiment (Maas et al., 2011), from TFDS."""

import functools

from . import sentences
from .base import Dataset, Vectorization, generated

LABELS = ("negative", "positive")
SAMPLE_EXAMPLES = {"train": 2000, "test": 600}


def imdb_reviews(
    vocabulary_size: int = 20_000,
    max_length: int = 256,
    embeddings: str = "",
    val_fraction: float = 0.1,
) -> Dataset:
    """Film reviews as texts with the label 0, negative, or 1, positive.

    25,000 train and 25,000 test reviews. The stand-in is 2,600 reviews made up by
    `sentences.reviews`.

    Args:
        vocabulary_size: See `Vectorization`, also for the next two.
        max_length: Tokens.
        embeddings: Path to word vectors.
        val_fraction: Share of train that becomes val.
    """
    return Dataset(
        name="imdb_reviews",
        config="plain_text",
        version="1.0.0",
        input_shape=(),
        label_names=LABELS,
        official_examples={"train": 25_000, "test": 25_000},
        official_download_size=84_125_825,
        host="ai.stanford.edu",
        make_sample=functools.partial(
            generated,
            sentences.reviews,
            SAMPLE_EXAMPLES,
            f"{sum(SAMPLE_EXAMPLES.values()):,} reviews made up by sentences.reviews",
        ),
        input=lambda example: example["text"],
        tfds_splits={"train": "train", "test": "test"},
        val_fraction=val_fraction,
        vectorization=Vectorization(vocabulary_size, max_length, embeddings),
    )
