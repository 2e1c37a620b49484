"""Token ids of texts: one function from a string to them, in preparation and in the export."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from .. import files

PADDING, UNKNOWN = "", "[UNK]"  # the words of the ids 0 and 1
UNKNOWN_ID = 1
# Share of the train texts that are kept whole, where `max_length` allows it.
WHOLE = 0.99
BATCH = 512

# RE2, in this order; what is not written in ASCII stays.
_RULES = (
    (r"<br\s*/?>|</?[a-z][^<>]*>", " "),  # markup
    (r"https?://\S+|\bwww\.\w\S*", " http "),
    (r"@[\p{L}\p{M}\p{N}_]+", " @user "),
    ("[\ufe00-\ufe0f\u200d]", ""),  # how an emoji is drawn
    ("[\u2019\u2018\u00b4`]", "'"),
    (r"\s?&?#39;", "'"),  # what is left of HTML's &#39; in AG News
    (r"(?:&|\b)(?:quot|amp|lt|gt);", " "),
    # Letters, marks, digits, symbols such as emoji, and what tells a mood.
    ("[^\\p{L}\\p{M}\\p{N}\\p{So}\U0001f3fb-\U0001f3ff'@!?]+", " "),
    # Words of their own, also where no spaces are written.
    (r"([!?\p{So}\p{Han}\p{Hiragana}\p{Katakana}])", r" \1 "),
    (r"(^|\s)'+", " "),  # quotes, not the apostrophe in don't; two rules, since one space can
    (r"'+(\s|$)", " "),  # end a word and begin the next
)


def standardize(texts: tf.Tensor) -> tf.Tensor:
    """Lower case, words and signs between spaces; an empty text becomes one unknown word.

    Args:
        texts: string (n,), UTF-8; bytes that are none become spaces.

    Example:
        standardize(tf.constant(["<b>Don't</b> panic!"]))  # [" don't panic ! "]
    """
    texts = tf.strings.unicode_transcode(
        texts, "UTF-8", "UTF-8", replacement_char=ord(" "), replace_control_characters=True
    )
    texts = tf.strings.lower(texts, encoding="utf-8")
    for pattern, replacement in _RULES:
        texts = tf.strings.regex_replace(texts, pattern, replacement)
    return tf.where(tf.strings.strip(texts) == "", UNKNOWN, texts)


@dataclasses.dataclass(frozen=True)
class Texts:
    """Many texts in two arrays that can be memory-mapped: no pickles, and one file for all.

    Attributes:
        content: uint8, the texts as UTF-8, one after the other.
        ends: int64 (n,), where each ends in it.
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
        """The texts of some rows, as UTF-8."""
        return [self[row] for row in rows]


class Vectorizer:
    """Texts to token ids: the one way, for training and in the exported graph.

    Args:
        vocabulary: The word of each id; it begins with `PADDING` and `UNKNOWN`.
        max_length: Tokens of a text that are kept, from its start; None keeps all.
    """

    def __init__(self, vocabulary: Sequence[str], max_length: int | None = None):
        self.vocabulary, self.max_length = tuple(vocabulary), max_length
        layer = keras.layers.TextVectorization(
            standardize=standardize, vocabulary=list(vocabulary)[2:]
        )
        # A functional model is what Keras exports whole, the lookup table with it.
        inputs = keras.Input((), dtype="string", name="texts")
        self.model = keras.Model(inputs, layer(inputs), name="vectorizer")

    def __call__(self, texts: tf.Tensor) -> tf.Tensor:
        """int32 (n, length of the longest), padded with 0 on the right."""
        return tf.cast(self.model(texts)[:, : self.max_length], tf.int32)


def adapt(texts: Texts, rows: np.ndarray, vocabulary_size: int) -> tuple[str, ...]:
    """The vocabulary of some texts by Keras' TextVectorization: most frequent words first.

    Args:
        texts: All of them.
        rows: Those of the train split.
        vocabulary_size: At most so many, padding and the unknown word included.
    """
    layer = keras.layers.TextVectorization(vocabulary_size, standardize=standardize)
    for start in range(0, len(rows), BATCH):
        layer.update_state(tf.constant(texts.take(rows[start : start + BATCH])))
    layer.finalize_state()
    return tuple(map(str, layer.get_vocabulary()))


def choose_length(lengths: np.ndarray, max_length: int) -> int:
    """Tokens that are kept: enough for `WHOLE` of the texts, at most `max_length`.

    Args:
        lengths: Tokens of every train text.
        max_length: The limit.
    """
    return int(min(max_length, max(1, np.quantile(lengths, WHOLE, method="higher"))))


def write_tokens(
    folder: pathlib.Path,
    texts: Mapping[str, Texts],
    train_rows: np.ndarray,
    vocabulary_size: int,
    max_length: int,
) -> tuple[tuple[str, ...], dict]:
    """Makes token ids of texts and writes them, all or nothing; what `open_tokens` then gives.

    Args:
        folder: Becomes theirs.
        texts: By name; those of "train" are where the vocabulary and the length come from.
        train_rows: Those of the train split among them.
        vocabulary_size: See `adapt`.
        max_length: See `choose_length`.
    """
    vocabulary = adapt(texts["train"], train_rows, vocabulary_size)
    vectorizer = Vectorizer(vocabulary)
    flat = {name: _flat_tokens(vectorizer, some) for name, some in texts.items()}
    longest = choose_length(flat["train"][1][train_rows], max_length)
    with files.new_folder(folder) as temporary:
        for name, (tokens, lengths) in flat.items():
            np.save(temporary / f"{name}_tokens.npy", _pad(tokens, lengths, longest))
            np.save(temporary / f"{name}_lengths.npy", lengths)
        files.write_json(temporary / "vocabulary.json", vocabulary)
    written = open_tokens(folder, texts)
    assert written is not None
    return written


def open_tokens(
    folder: pathlib.Path, texts: Mapping[str, Texts]
) -> tuple[tuple[str, ...], dict] | None:
    """The vocabulary, and by name token ids, int32 (n, longest), and lengths before cutting.

    None where they are missing or not whole.
    """
    try:
        vocabulary = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        arrays = {
            name: tuple(
                np.load(folder / f"{name}_{part}.npy", mmap_mode="r", allow_pickle=False)
                for part in ("tokens", "lengths")
            )
            for name in texts
        }
    except (OSError, ValueError):
        return None
    whole = all(len(arrays[name][0]) == len(some) for name, some in texts.items())
    return (tuple(vocabulary), arrays) if whole else None


def _flat_tokens(vectorizer: Vectorizer, texts: Texts) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of all texts, one after the other, and how many each has."""
    function = tf.function(vectorizer, input_signature=[tf.TensorSpec((None,), tf.string)])
    tokens, lengths = [], []
    for start in range(0, len(texts), BATCH):
        rows = range(start, min(start + BATCH, len(texts)))
        padded = function(tf.constant(texts.take(rows))).numpy()
        tokens.append(padded[padded != 0])
        lengths.append(np.count_nonzero(padded, axis=1).astype(np.int32))
    return np.concatenate(tokens), np.concatenate(lengths)


def _pad(tokens: np.ndarray, lengths: np.ndarray, longest: int) -> np.ndarray:
    """int32 (n, longest): every text cut, or filled with 0 on the right."""
    place = np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    padded = np.zeros((len(lengths), longest), np.int32)
    padded[np.arange(longest) < lengths[:, None]] = tokens[place < longest]
    return padded
