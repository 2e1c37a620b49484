"""Pretrained word vectors: initial values of an embedding, from a GloVe or word2vec text file."""

import codecs
import gzip
import os
import pathlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

EMBEDDING = "embedding"  # the layer that is initialized


def load_embeddings(
    model: keras.Model, path: str | os.PathLike[str], vocabulary: Sequence[str]
) -> dict[str, Any]:
    """Sets the vectors of the words in a file; other words keep their initial vectors.

    GloVe files (Pennington et al., 2014) have a line "word v1 ... vd" for each word; word2vec text
    files (Mikolov et al., 2013) begin with a line "words d". Files ending in ".gz" are unpacked. A
    word that the file contains only with capitals takes the first of these. Memory grows with the
    vocabulary, not with the file.

    Args:
        model: Model with a layer "embedding".
        path: Path of the file, UTF-8.
        vocabulary: The word of each token id, in lower case; 0 is padding and 1 the unknown word.

    Returns:
        `words`, the number of words in the vocabulary; `found`, how many of them the file contains;
        their share `coverage`; `file_words`, the number of words in the file; and `dim`, the width.

    Raises:
        ValueError: The file cannot be read, a line is malformed, its width differs from the
            embedding's, it contains none of the words, or the vocabulary is larger than the
            embedding. The model is unchanged in this case.

    Example:
        model = models.recurrent(2, vocabulary_size=len(vocabulary), embedding_dim=100)
        load_embeddings(model, "glove.6B.100d.txt", vocabulary)["coverage"]
    """
    path = pathlib.Path(path).expanduser()
    layer = model.get_layer(EMBEDDING)
    (vectors,) = layer.get_weights()
    if len(vocabulary) > len(vectors):
        raise ValueError(
            f"{len(vocabulary):,} words in the vocabulary, but the embedding has {len(vectors):,} "
            f"vectors; set vocabulary_size={len(vocabulary)}"
        )
    ids = {word: i for i, word in enumerate(vocabulary) if i >= 2}
    exact, by_case, count = set(), set(), 0
    for word, vector in _read(path, vectors.shape[1]):
        count += 1
        if word in ids:
            vectors[ids[word]] = vector
            exact.add(word)
            continue
        lower = word.lower()
        if lower in ids and lower not in exact and lower not in by_case:
            vectors[ids[lower]] = vector
            by_case.add(lower)
    found = len(exact | by_case)
    if not found:
        raise ValueError(f"{path}: contains none of the {len(ids):,} words of the vocabulary")
    layer.set_weights([vectors])
    return {
        "words": len(ids),
        "found": found,
        "coverage": found / len(ids),
        "file_words": count,
        "dim": vectors.shape[1],
    }


def _read(path: pathlib.Path, width: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the words of a file with their vectors, line by line."""
    promised, count, number = None, 0, 0
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                columns = line.rstrip(b" \r\n").removeprefix(codecs.BOM_UTF8).split(b" ")
                if number == 1 and len(columns) == 2 and all(c.isdigit() for c in columns):
                    promised, found = map(int, columns)  # word2vec's header
                    _check_width(path, number, found, width)
                    continue
                if number == 1:
                    _check_width(path, number, len(columns) - 1, width)
                yield _parse(path, number, columns, width)
                count += 1
    except (OSError, EOFError, zlib.error) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"{path}: {what}; expected a GloVe or word2vec text file") from None
    if promised is not None and promised != count:
        raise ValueError(
            f"{path}:1: expected {promised:,} vectors, the file contains {count:,}; get it again"
        )
    if not count:
        raise ValueError(f"{path}: contains no vectors; expected a GloVe or word2vec text file")


def _check_width(path: pathlib.Path, number: int, found: int, width: int) -> None:
    if not found:
        raise ValueError(f"{path}:{number}: expected a word and {width} numbers")
    if found != width:
        raise ValueError(
            f"{path}:{number}: vectors of {found} numbers, but the embedding has {width}; set "
            f"embedding_dim={found}"
        )


def _parse(
    path: pathlib.Path, number: int, columns: list[bytes], width: int
) -> tuple[str, np.ndarray]:
    try:
        # Some GloVe words contain spaces.
        word = b" ".join(columns[:-width]).decode()
        with np.errstate(over="ignore"):  # infinity is refused below
            vector = np.array(columns[-width:], dtype="S").astype(np.float32)
    except ValueError as error:  # UnicodeDecodeError is one
        what = "binary or not UTF-8" if isinstance(error, UnicodeDecodeError) else "no numbers"
        raise ValueError(
            f"{path}:{number}: {what}; expected a word and {width} numbers (a binary word2vec file "
            "must be converted to text)"
        ) from None
    too_many = len(columns) > width + 1 and all(map(_is_number, columns[1:-width]))
    if not word or len(vector) != width or too_many or not np.isfinite(vector).all():
        raise ValueError(
            f"{path}:{number}: a word and {len(columns) - 1} columns; expected a word and {width} "
            "finite numbers"
        )
    return word, vector


def _is_number(column: bytes) -> bool:
    try:
        float(column)
    except ValueError:
        return False
    return True
