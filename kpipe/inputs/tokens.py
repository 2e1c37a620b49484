"""Conversion of texts to token ids: one function, used in preparation and in the export."""

import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

import keras
import numpy as np
import tensorflow as tf

from .. import files
from ..errors import UserError
from .appending import appended
from .arrays import load_array

PADDING, UNKNOWN = "", "[UNK]"  # the words of the ids 0 and 1
UNKNOWN_ID = 1
# Share of the train texts that are not truncated, if `max_length` allows it.
WHOLE = 0.99
BATCH = 512

# RE2 patterns and what replaces them, applied in this order to lowercased texts; non-ASCII letters
# are kept.
RULES = (
    (r"<br\s*/?>|</?[a-z][^<>]*>", " "),  # markup
    (r"https?://\S+|\bwww\.\w\S*", " http "),
    (r"@[\p{L}\p{M}\p{N}_]+", " @user "),
    ("[\ufe00-\ufe0f\u200d]", ""),  # how an emoji is drawn
    ("[\u2019\u2018\u00b4`]", "'"),
    (r"\s?&?#39;", "'"),  # remains of HTML's &#39; in AG News
    (r"(?:&|\b)(?:quot|amp|lt|gt);", " "),
    # Keeps letters, marks, digits, symbols such as emoji, and ! and ?, which express sentiment.
    ("[^\\p{L}\\p{M}\\p{N}\\p{So}\U0001f3fb-\U0001f3ff'@!?]+", " "),
    # Separate words, even where no spaces are written.
    (r"([!?\p{So}\p{Han}\p{Hiragana}\p{Katakana}])", r" \1 "),
    (r"(^|\s)'+", " "),  # quotes, not the apostrophe in don't; two rules, since one space can
    (r"'+(\s|$)", " "),  # end a word and begin the next
)


def standardize(texts: tf.Tensor) -> tf.Tensor:
    """Lowercases texts and separates words and signs by spaces; empty texts become "[UNK]".

    Args:
        texts: string (n,), UTF-8; invalid bytes become spaces.

    Example:
        standardize(tf.constant(["<b>Don't</b> panic!"]))  # [" don't panic ! "]
    """
    texts = tf.strings.unicode_transcode(
        texts, "UTF-8", "UTF-8", replacement_char=ord(" "), replace_control_characters=True
    )
    texts = tf.strings.lower(texts, encoding="utf-8")
    for pattern, replacement in RULES:
        texts = tf.strings.regex_replace(texts, pattern, replacement)
    return tf.where(tf.strings.strip(texts) == "", UNKNOWN, texts)


@dataclasses.dataclass(frozen=True)
class Texts:
    """Many texts in two arrays that can be memory-mapped, without pickles.

    Attributes:
        content: uint8, the texts as UTF-8, concatenated.
        ends: int64 (n,), the position in `content` at which each text ends.
    """

    content: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> "Texts":
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        return cls(np.frombuffer(b"".join(texts), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> bytes:
        return self.content[self.ends[row - 1] if row else 0 : self.ends[row]].tobytes()

    def take(self, rows: Iterable[int]) -> list[bytes]:
        """Returns the texts of some rows, as UTF-8."""
        return [self[row] for row in rows]

    def size(self) -> int:
        """Returns the bytes of all texts."""
        return len(self.content)


class JoinedTexts:
    """Some texts, then some others, read when they are asked for.

    Args:
        parts: Texts and rows of each.
    """

    def __init__(self, *parts: "tuple[Texts | JoinedTexts, np.ndarray]"):
        self.parts = parts

    def __len__(self) -> int:
        return sum(len(rows) for _, rows in self.parts)

    def __getitem__(self, row: int) -> bytes:
        for texts, rows in self.parts:
            if row < len(rows):
                return texts[int(rows[row])]
            row -= len(rows)
        raise IndexError(f"text {row} beyond the last")

    def take(self, rows: Iterable[int]) -> list[bytes]:
        """Returns the texts of some rows, as UTF-8."""
        return [self[row] for row in rows]

    def size(self) -> int:
        return sum(texts.size() * len(rows) // max(1, len(texts)) for texts, rows in self.parts)


class Vectorizer:
    """Converts texts to token ids, in training and in the exported graph alike.

    Args:
        vocabulary: The word of each id; it begins with `PADDING` and `UNKNOWN`.
        max_length: Number of tokens kept of a text, from its start; None keeps all.
    """

    def __init__(self, vocabulary: Sequence[str], max_length: int | None = None):
        self.vocabulary, self.max_length = tuple(vocabulary), max_length
        layer = keras.layers.TextVectorization(
            standardize=standardize, vocabulary=list(vocabulary)[2:]
        )
        # Keras exports a functional model completely, including the lookup table.
        inputs = keras.Input((), dtype="string", name="texts")
        self.model = keras.Model(inputs, layer(inputs), name="vectorizer")

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """Returns int32 (n, length of the longest), padded with 0 on the right."""
        return tf.cast(self.model(texts)[:, : self.max_length], tf.int32)


def adapt(texts: Texts, rows: np.ndarray, vocabulary_size: int) -> tuple[str, ...]:
    """Computes a vocabulary with Keras' TextVectorization, most frequent words first.

    Args:
        texts: All texts.
        rows: Rows of the train split.
        vocabulary_size: Maximum size, including padding and the unknown word.

    Raises:
        UserError: The texts contain no words.
    """
    layer = keras.layers.TextVectorization(vocabulary_size, standardize=standardize)
    for start in range(0, len(rows), BATCH):
        layer.update_state(tf.constant(texts.take(rows[start : start + BATCH])))
    try:
        layer.finalize_state()
    except tf.errors.InvalidArgumentError:  # a table cannot be empty
        raise UserError(
            f"the {len(rows):,} texts of train contain no words; expected some: look at the texts, "
            "or at the column that they are read from"
        ) from None
    return tuple(map(str, layer.get_vocabulary()))


def choose_length(lengths: np.ndarray, max_length: int) -> int:
    """Chooses how many tokens are kept: enough for `WHOLE` of the texts, at most `max_length`.

    Args:
        lengths: Number of tokens of every train text.
        max_length: The limit.
    """
    return int(min(max_length, max(1, np.quantile(lengths, WHOLE, method="higher"))))


def write_tokens(
    folder: pathlib.Path,
    texts: Mapping[str, Texts],
    train_rows: np.ndarray,
    vocabulary_size: int,
    max_length: int,
) -> None:
    """Converts texts to token ids and writes them, for `open_tokens`.

    Args:
        folder: An empty folder.
        texts: Texts by name; vocabulary and length come from "train".
        train_rows: Rows of "train" that belong to the train split.
        vocabulary_size: See `adapt`.
        max_length: See `choose_length`.
    """
    vocabulary = adapt(texts["train"], train_rows, vocabulary_size)
    vectorizer = Vectorizer(vocabulary)
    with contextlib.ExitStack() as stack:
        # The length is known once all texts are converted, and their tokens may exceed the memory.
        flat = {name: stack.enter_context(tempfile.TemporaryFile(dir=folder)) for name in texts}
        lengths = {name: _write_flat(vectorizer, texts[name], flat[name]) for name in texts}
        longest = choose_length(lengths["train"][train_rows], max_length)
        for name in texts:
            _write_padded(folder / f"{name}_tokens.npy", flat[name], lengths[name], longest)
            np.save(folder / f"{name}_lengths.npy", lengths[name])
    files.write_json(folder / "vocabulary.json", vocabulary)


def open_tokens(
    folder: pathlib.Path, texts: Mapping[str, Texts]
) -> tuple[tuple[str, ...], dict] | None:
    """Opens the vocabulary and, by name, token ids (int32 (n, longest)) and untruncated lengths.

    Returns None if they are incomplete.
    """
    vocabulary: Any = files.read_json(folder / "vocabulary.json")
    arrays = {
        name: tuple(load_array(folder / f"{name}_{part}.npy") for part in ("tokens", "lengths"))
        for name in texts
    }
    whole = all(len(arrays[name][0]) == len(some) for name, some in texts.items())
    return (tuple(vocabulary), arrays) if whole else None


def _write_flat(vectorizer: Vectorizer, texts: Texts, file: IO[bytes]) -> np.ndarray:
    """Writes the tokens of all texts, one after another; returns the number of tokens of each."""
    function = tf.function(vectorizer, input_signature=[tf.TensorSpec((None,), tf.string)])
    lengths = []
    for start in range(0, len(texts), BATCH):
        rows = range(start, min(start + BATCH, len(texts)))
        padded = function(tf.constant(texts.take(rows))).numpy()
        file.write(padded[padded != 0].tobytes())
        lengths.append(np.count_nonzero(padded, axis=1).astype(np.int32))
    return np.concatenate(lengths)


def _write_padded(path: pathlib.Path, flat: IO[bytes], lengths: np.ndarray, longest: int) -> None:
    flat.seek(0)
    with appended(path, "int32", (longest,)) as array:
        for start in range(0, len(lengths), BATCH):
            some = lengths[start : start + BATCH]
            tokens = np.frombuffer(flat.read(4 * int(some.sum())), np.int32)
            array.append(_pad(tokens, some, longest))


def _pad(tokens: np.ndarray, lengths: np.ndarray, longest: int) -> np.ndarray:
    """Truncates or pads every text with 0 on the right: int32 (n, longest)."""
    place = np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    padded = np.zeros((len(lengths), longest), np.int32)
    padded[np.arange(longest) < lengths[:, None]] = tokens[place < longest]
    return padded
