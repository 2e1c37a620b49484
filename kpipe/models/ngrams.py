"""A linear part of text networks: weights of n-grams, fitted before training."""

from typing import Any

import keras
from keras import layers, ops

# Layers that `inputs.ngrams.fit` sets: random numbers of the words, of which those of an n-gram are
# found; the fingerprint of the n-gram in each bucket; its weights.
HASH, PRINTS, WEIGHTS = "ngram_hash", "ngram_prints", "ngram_weights"
# A prime: fingerprints are below it. Sums of up to seven are exact in float32.
PRINT_RANGE = 2_097_143
BUCKETS = 2**20
LEAST_BUCKETS = 256
LONGEST = 7
SMALLEST = 1e-6  # sum of squares of a text without n-grams
# Share of the training examples that are learned without this part, so that the network learns
# them by itself: alone the part knows nearly all of them already.
LEFT_OUT = 0.9


def ngram_logits(
    tokens: keras.KerasTensor,
    num_classes: int,
    *,
    vocabulary_size: int,
    longest: int = 3,
    buckets: int = BUCKETS,
) -> keras.KerasTensor:
    """Builds the logits of a linear classifier of n-grams, whose weights are not trained.

    Every sequence of one to `longest` words that a text contains counts once. Its bucket and its
    fingerprint are sums of random numbers of its words (Zobrist, 1970; "tabulation hashing"): an
    n-gram that does not have the bucket's fingerprint counts nothing, so that unlike in fastText
    (Joulin et al., 2017) no rare n-gram is mistaken for another. The weights are those of naive
    Bayes and logistic regression, see `inputs.ngrams`; before they are fitted, all logits are 0.

    Args:
        tokens: Token ids, int32 (batch, length), padded with 0 on the right.
        num_classes: Number of logits.
        vocabulary_size: Number of token ids.
        longest: Words of the longest n-gram, 1 to 7.
        buckets: Number of buckets.

    Returns:
        float32 (batch, num_classes).

    Raises:
        ValueError: `longest` or `buckets` is out of range.
    """
    if not 1 <= longest <= LONGEST:
        raise ValueError(f"ngrams={longest}: expected 0 for none, or 1 to {LONGEST}")
    if buckets < LEAST_BUCKETS:
        raise ValueError(f"ngram_buckets={buckets}: expected {LEAST_BUCKETS} or more")

    def table(rows: int, columns: int, name: str) -> layers.Embedding:
        # float32: half precision would round the numbers.
        return layers.Embedding(
            rows,
            columns,
            embeddings_initializer="zeros",
            trainable=False,
            dtype="float32",
            name=name,
        )

    numbers = table(vocabulary_size, 2 * longest, HASH)(tokens)
    found, expected = [], []
    for size in range(1, longest + 1):
        total = sum_of_words(numbers, size)
        is_whole = ops.not_equal(tokens[:, size - 1 :], 0)
        bucket = 1 + ops.mod(total[..., 0], float(buckets - 1))
        found.append(ops.where(is_whole, ops.cast(bucket, "int32"), 0))
        expected.append(ops.mod(total[..., 1], float(PRINT_RANGE)))
    ids, prints = ops.concatenate(found, axis=1), ops.concatenate(expected, axis=1)
    known = ops.equal(table(buckets, 1, PRINTS)(ids)[..., 0], prints)
    ids = ops.sort(ops.where(known, ids, 0), axis=1)
    # The first of equal ids; bucket 0 is of unknown n-grams.
    before = ops.pad(ids[:, :-1], [[0, 0], [1, 0]])
    counted = ops.cast(ops.not_equal(ids, before), "float32")
    values = table(buckets, 2 * num_classes, WEIGHTS)(ids) * ops.expand_dims(counted, -1)
    sums = ops.sum(values, axis=1)
    squares = ops.maximum(sums[:, num_classes:], SMALLEST)
    return sums[:, :num_classes] / ops.sqrt(squares)


def sum_of_words(numbers: keras.KerasTensor, size: int) -> keras.KerasTensor:
    """Adds up the numbers of the words of each n-gram: by the word's place in it.

    Args:
        numbers: Numbers of each word, (batch, length, 2 x places): for the bucket, then for the
            fingerprint.
        size: Words of an n-gram.

    Returns:
        (batch, length - size + 1, 2); NumPy arrays give NumPy arrays.
    """
    places = numbers.shape[-1] // 2
    total: Any = 0
    for place in range(size):
        end = place - size + 1 or None
        total = total + numbers[:, place:end, place::places]
    return total
