"""Texts: conversion from strings to token ids."""

import codecs
import contextlib
import dataclasses
import hashlib
import itertools
import json
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from .. import files, formatting
from ..datasets import Augmentation, Source, Vectorization
from ..datasets.columns import escape
from ..errors import UserError
from ..models import load_embeddings
from . import ngrams
from .appending import appended
from .arrays import Endpoints, Given, Serve, digests, load_array
from .augmentation import drop_words
from .refusals import check_labels, incomplete, unreadable_source
from .rows_on_disk import Joined, take_rows
from .tokens import UNKNOWN_ID, JoinedTexts, Texts, Vectorizer, open_tokens, write_tokens

# Part of the fingerprint: raise it when the token ids change.
VECTORIZATION_VERSION = 2
PIECE = 1024  # texts that are written at once

TEXT_COLUMN_FILE = "text_column.txt"  # asset that names the column of texts in a user's file


@dataclasses.dataclass(frozen=True)
class Tokens:
    """Texts as token ids, one row per example.

    Attributes:
        values: int32 (n, longest), padded with 0 on the right.
        lengths: int32 (n,), number of tokens of every text before truncation.
        texts: The texts that the token ids were computed from.
    """

    values: np.ndarray
    lengths: np.ndarray
    texts: Texts | JoinedTexts

    def __len__(self) -> int:
        return len(self.values)

    @property
    def row_shape(self) -> tuple[int | None, ...]:
        """Shape of one input in a batch; its length is that of the longest text of the batch."""
        return (None,)

    @property
    def raw(self) -> Texts | JoinedTexts:
        """What an `Input` is fitted to: the texts."""
        return self.texts

    def take(self, rows: np.ndarray, trim: bool = True) -> np.ndarray:
        """Returns the token ids of some rows, padded to the longest of them, or else of all."""
        ids = take_rows(self.values, rows)
        return ids[:, : self.lengths[rows].max()] if trim and len(rows) else ids

    def digests(self, rows: np.ndarray) -> np.ndarray:
        """Returns a hash of each of some texts, uint64, with which duplicates are counted."""
        return digests(self.texts[row] for row in rows)

    def strings(self, rows: np.ndarray) -> list[str]:
        """Returns the texts of some rows."""
        return [text.decode(errors="replace") for text in self.texts.take(rows)]

    def shortest_first(self, rows: np.ndarray) -> np.ndarray:
        """Returns an order of the positions of `rows` that needs little padding."""
        return np.argsort(self.lengths[rows], kind="stable")

    def joined(self, rows: np.ndarray, other: "Tokens", other_rows: np.ndarray) -> "Tokens":
        """Concatenates some rows of this column and some of another."""
        values: Any = Joined((self.values, rows), (other.values, other_rows))
        return Tokens(
            values,
            np.concatenate([self.lengths[rows], other.lengths[other_rows]]),
            JoinedTexts((self.texts, rows), (other.texts, other_rows)),
        )

    @property
    def files(self) -> list[pathlib.Path]:
        """The files that contain the texts, for the proof."""
        assert isinstance(self.texts, Texts)  # a proof is of one split, never of joined ones
        arrays = (self.texts.content, self.texts.ends)
        return [pathlib.Path(array.filename) for array in arrays]  # type: ignore[attr-defined]


@dataclasses.dataclass(frozen=True)
class TextInput:
    """Inputs that are texts of any length.

    Attributes:
        vectorization: How texts become token ids.
        vocabulary: The word of each id, once fitted.
        length: Number of tokens kept of a text, once fitted.
    """

    vectorization: Vectorization
    vocabulary: tuple[str, ...] = ()
    length: int = 0

    name: ClassVar[str] = "texts"
    usage: ClassVar[str] = '--text "A TEXT"'

    def write(self, folder: pathlib.Path, dataset_name: str, source: Source, split: str) -> None:
        """Writes the unchanged texts in pieces: their bytes in one array, their ends in another.

        Raises:
            UserError: The source has fewer or more examples than declared.
        """
        labels = []
        pieces = source.pieces(split) if source.pieces else _read(source, split)
        with (
            appended(folder / f"{split}_inputs.npy", "uint8") as content,
            appended(folder / f"{split}_ends.npy", "int64") as ends,
        ):
            for some, their_labels in pieces:
                texts = Texts.of(some)
                ends.append(content.length + texts.ends)
                content.append(texts.content)
                labels.append(their_labels)
        if ends.length != source.examples[split]:
            raise incomplete(source, split, ends.length)
        joined = np.concatenate(labels)
        check_labels(joined, source)
        np.save(folder / f"{split}_labels.npy", joined)

    def open(self, folder: pathlib.Path, split: str) -> Texts:
        arrays = (load_array(folder / f"{split}_{part}.npy") for part in ("inputs", "ends"))
        return Texts(*arrays)

    def fitted(
        self, folder: pathlib.Path, columns: Mapping[str, Texts], train_rows: np.ndarray
    ) -> "tuple[TextInput, Mapping[str, Tokens]]":
        """Fits the vocabulary to the train rows only, converts all texts to token ids, caches both.

        Args:
            folder: Folder of the prepared texts.
            columns: The texts by name; the vocabulary comes from "train".
            train_rows: Rows of "train" that belong to the train split.
        """
        key = [*self._key(), hashlib.sha256(train_rows.tobytes()).hexdigest()]
        digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
        tokens_folder = folder.with_name(f"{folder.name}-tokens-{digest[:16]}")
        vocabulary, arrays = files.open_or_write(
            tokens_folder,
            lambda: open_tokens(tokens_folder, columns),
            lambda temporary: write_tokens(
                temporary,
                columns,
                train_rows,
                self.vectorization.vocabulary_size,
                self.vectorization.max_length,
            ),
        )
        tokens = {
            name: Tokens(values, lengths, columns[name])
            for name, (values, lengths) in arrays.items()
        }
        length = tokens["train"].values.shape[1]
        return dataclasses.replace(self, vocabulary=vocabulary, length=length), tokens

    def _key(self) -> tuple[int, ...]:
        settings = self.vectorization
        return settings.vocabulary_size, settings.max_length, VECTORIZATION_VERSION

    def fingerprint_parts(self) -> list[Any]:
        """Returns what changes the token ids or their initial vectors.

        Raises:
            UserError: The file of word vectors cannot be read.
        """
        parts: list[Any] = [*self._key()]
        path = self.vectorization.embeddings
        if path:
            try:
                parts.append(files.sha256(pathlib.Path(path).expanduser()))
            except OSError as error:
                raise UserError(
                    f"embeddings={path}: {error.strerror}; expected a GloVe or word2vec text file"
                ) from None
        return parts

    def written_parts(self) -> list[Any]:
        """Returns nothing: `write` writes unchanged texts."""
        return []

    def augment(self, inputs: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor) -> tf.Tensor:
        return drop_words(inputs, augmentation, seed, UNKNOWN_ID)

    def initialize(self, model: keras.Model) -> dict[str, Any]:
        """Initializes the embedding with the dataset's word vectors, if it has any.

        Returns:
            `embeddings`: the result of `models.load_embeddings`, and the file.

        Raises:
            UserError: The file cannot be read or does not fit; the message names file and line.
        """
        path = self.vectorization.embeddings
        if not path:
            return {}
        try:
            coverage = load_embeddings(model, path, self.vocabulary)
        except ValueError as error:
            raise UserError(str(error)) from None
        print(
            f"{path}: vectors for {coverage['found']:,} of the {coverage['words']:,} words "
            f"({100 * coverage['coverage']:.1f} %); the others are initialized randomly",
            flush=True,
        )
        return {"embeddings": {"file": path, **coverage}}

    def adapt(self, model: keras.Model, train: Any) -> None:
        """Fits what a model takes from the train split before training: the weights of n-grams."""
        if ngrams.has_ngrams(model):
            ngrams.fit(model, train)

    def describe(self, column: Tokens, rows: np.ndarray) -> dict[str, Any]:
        """Prints and returns vocabulary size, length and share of truncated training texts."""
        cut = float(np.mean(column.lengths[rows] > self.length))
        print(
            f"texts: vocabulary of {len(self.vocabulary):,} words, first {self.length} tokens of "
            f"each text; {100 * cut:.1f} % of the training texts are longer",
            flush=True,
        )
        return {
            "vocabulary": len(self.vocabulary),
            "sequence_length": self.length,
            "cut_texts": cut,
        }

    def facts(self, about: Mapping[str, Any]) -> list[tuple[str, str]]:
        """Returns vocabulary, length and word vectors for the report."""
        size, length = (formatting.count(about[key]) for key in ("vocabulary", "sequence_length"))
        cut = formatting.percent(about["cut_texts"])
        found = [
            (
                "Texts",
                f"{size} words, the first {length} tokens; {cut} of the training texts are longer",
            )
        ]
        if vectors := about.get("embeddings"):
            coverage = formatting.percent(vectors["coverage"])
            found.append(("Word vectors", f"from {vectors['file']}, for {coverage} of the words"))
        return found

    @property
    def vectorizer(self) -> Vectorizer:
        return Vectorizer(self.vocabulary, self.length)

    def endpoints(self, serve: Serve, spec: tf.TensorSpec) -> tuple[Endpoints, list[Any]]:
        """Returns `serving_default` for texts of any length, `serving_tokens` for token ids."""
        vectorizer = self.vectorizer

        def serve_texts(texts: tf.Tensor) -> dict[str, tf.Tensor]:
            return serve(vectorizer(texts))

        def serve_tokens(tokens: tf.Tensor) -> dict[str, tf.Tensor]:
            # As the vectorizer's output: truncated, and with at least one unknown word.
            tokens = tokens[:, : self.length]
            return serve(tf.concat([tf.maximum(tokens[:, :1], UNKNOWN_ID), tokens[:, 1:]], axis=1))

        endpoints = {
            "serving_default": (serve_texts, tf.TensorSpec((None,), tf.string, name="texts")),
            "serving_tokens": (serve_tokens, spec),
        }
        return endpoints, [vectorizer.model]  # its lookup table

    @property
    def assets(self) -> dict[str, Sequence[str]]:
        """The vocabulary for people, since the graph contains its own, and the column of texts."""
        column = self.vectorization.text_column
        named = {TEXT_COLUMN_FILE: [escape(column)]} if column else {}
        return {"vocabulary.txt": self.vocabulary, **named}

    def golden(self, column: Tokens, rows: np.ndarray, argument: str) -> list[Given]:
        """Returns texts, including unusual ones, and token ids."""
        ordinary = column.strings(rows)
        odd = odd_texts(ordinary)
        texts = [*odd, *(text.encode() for text in ordinary[len(odd) :])]
        tokens = self.vectorizer(tf.constant(texts)).numpy()
        about = f"{len(texts)} texts (some empty, very long or in many scripts)"
        return [
            Given("serving_default", "texts", texts, tokens, about=about),
            Given("serving_tokens", argument, tokens, tokens, about="token ids"),
        ]


def _read(source: Source, split: str) -> Iterator[tuple[list[bytes], np.ndarray]]:
    """Reads a source that has single examples in pieces."""
    try:
        for batch in source.read(split).batch(PIECE).prefetch(2).as_numpy_iterator():
            yield batch["input"].tolist(), batch["label"]
    except tf.errors.OpError as error:
        raise unreadable_source(source, split, error) from None


def odd_texts(texts: Sequence[str]) -> list[bytes]:
    """Makes unusual texts that a service may receive: empty, very long, mixed scripts, not UTF-8.

    Args:
        texts: Ordinary texts.
    """
    odd = [
        "",
        " \t\n",
        "...",
        " ".join(texts) * 4,
        texts[0].upper(),
        "so happy \N{SMILING FACE WITH SMILING EYES}\N{SMILING FACE WITH SMILING EYES}!!! "
        "\N{HEAVY BLACK HEART}\ufe0f \N{WOMAN}\u200d\N{WOMAN}\u200d\N{GIRL}",
        "\N{CRYING FACE}",
        "Das war großartig, très émouvant, очень хорошо",
        "東京タワー는 멋지다 क्षत्रिय مرحبا بالعالم",
        "[UNK] <br /><b>markup</b> &quot;quoted&quot; it #39;s http://example.org @name #tag",
        "x" * 5000,
    ]
    return [*(text.encode() for text in odd), b"\xff\xfe broken \x00 bytes \xc3"]


@contextlib.contextmanager
def open_lines(path: pathlib.Path) -> Iterator[Iterator[bytes]]:
    """Yields the lines of a file, one text each; "-" is standard input.

    Raises:
        UserError: The file cannot be read; the message names it.
    """
    try:
        with contextlib.ExitStack() as stack:
            is_input = str(path) == "-"
            file = sys.stdin.buffer if is_input else stack.enter_context(open(path, "rb"))
            # Not splitlines: a form feed or U+2028 within a text does not end a line of a file.
            lines = (line.removesuffix(b"\n").removesuffix(b"\r") for line in file)
            first = (line.removeprefix(codecs.BOM_UTF8) for line in itertools.islice(lines, 1))
            yield itertools.chain(first, lines)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def decode_line(line: bytes, file: str, row: int) -> str:
    """Decodes a line of a file.

    Raises:
        UserError: It is not UTF-8; the message names line and byte.
    """
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{file}:{row}: not UTF-8 at byte {error.start} of the line; expected one text per line"
        ) from None


def encode_texts(texts: Any) -> list[bytes]:
    """Encodes texts as UTF-8.

    Raises:
        ValueError: `texts` is not a list of texts.
    """
    if isinstance(texts, (str, bytes, Mapping)):
        raise ValueError(f"texts is a {type(texts).__name__}; expected a list of str")
    texts = list(texts)
    for i, text in enumerate(texts):
        if not isinstance(text, (str, bytes)):
            raise ValueError(f"texts[{i}] is {type(text).__name__}; expected str")
    # Lone surrogates, which the command line makes of invalid bytes, cannot be encoded as UTF-8.
    return [t if isinstance(t, bytes) else t.encode("utf-8", "replace") for t in texts]
