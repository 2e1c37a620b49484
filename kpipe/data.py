"""Data: raw examples are prepared once, into memory-mapped arrays, and cut into splits."""

import dataclasses
import hashlib
import json
import pathlib
import time

import numpy as np
import tensorflow as tf

from . import files
from .datasets import Augmentation, Dataset, Source, Vectorization
from .errors import UserError
from .inputs import texts
from .inputs.images import add_noise, decode_image, fit_image
from .inputs.texts import Texts

SPLITS = ("train", "val", "test")
# Parts of the fingerprint: raise them when the prepared arrays change.
PREPARATION_VERSION = 2
VECTORIZATION_VERSION = 2


@dataclasses.dataclass(frozen=True)
class Split:
    """One split: rows of memory-mapped arrays.

    Attributes:
        inputs: uint8 (n_all, height, width, channels), float32 (n_all, size), or token ids of
            texts, int32 (n_all, longest), padded with 0 on the right; shared by the splits cut
            from it.
        labels: int32 (n_all,), or 0 and 1 (n_all, num_labels).
        rows: int64 (n,), the rows that belong to this split.
        texts: What the token ids were made of.
        lengths: int32 (n_all,), tokens of every text before it was cut.
        reconstructs: Whether the images themselves are to be learned, and not the labels.
        noise: Of what the network is given in place of the images, see `Dataset`.
    """

    inputs: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    texts: Texts | None = None
    lengths: np.ndarray | None = None
    reconstructs: bool = False
    noise: float = 0.0

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: np.ndarray, trim: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and labels at positions 0 to n - 1 of this split.

        Args:
            positions: int (m,).
            trim: Whether texts are padded to the longest of these, instead of all.
        """
        rows = self.rows[positions]
        inputs = self.inputs[rows]
        if self.texts is not None and trim and len(rows):
            inputs = inputs[:, : self.lengths[rows].max()]
        return inputs, self.labels[rows]

    def take_pairs(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Inputs at positions of this split, without noise, and what is to be learned of them."""
        inputs, labels = self.take(positions)
        return inputs, inputs if self.reconstructs else labels

    def take_texts(self, positions: np.ndarray) -> list[str]:
        """The texts at positions of this split."""
        return [text.decode(errors="replace") for text in self.texts.take(self.rows[positions])]

    def shortest_first(self) -> np.ndarray:
        """Positions in an order in which few texts pay for a long one; of other inputs as is."""
        if self.texts is None:
            return np.arange(len(self))
        return np.argsort(self.lengths[self.rows], kind="stable")

    def at(self, positions: np.ndarray) -> "Split":
        """The split of some of the examples, or of all in another order."""
        return dataclasses.replace(self, rows=self.rows[positions])

    def joined(self, other: "Split") -> "Split":
        """The examples of both."""
        if self.inputs is other.inputs:  # cut from one array
            rows = np.sort(np.concatenate([self.rows, other.rows]))
            return dataclasses.replace(self, rows=rows)
        parts = [split.take(np.arange(len(split)), trim=False) for split in (self, other)]
        inputs, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
        texts = lengths = None
        if self.texts is not None:
            texts = Texts.of([*self.texts.take(self.rows), *other.texts.take(other.rows)])
            lengths = np.concatenate([self.lengths[self.rows], other.lengths[other.rows]])
        return dataclasses.replace(
            self,
            inputs=inputs,
            labels=labels,
            rows=np.arange(len(labels)),
            texts=texts,
            lengths=lengths,
        )

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """All examples once and in order, as (inputs, targets) batches; the last may be short.

        Noise is the same each time.
        """

        def read(start):
            inputs, labels = self.gather(tf.range(start, tf.minimum(start + batch_size, len(self))))
            return self.pair(inputs, labels, tf.stack([-1, start]))

        starts = tf.data.Dataset.range(0, len(self), batch_size)
        return starts.map(read, num_parallel_calls=2).prefetch(2)

    def pair(self, inputs: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tuple:
        """What the network is given, with noise drawn from the seed, and what it is to give."""
        if not self.reconstructs:
            return inputs, labels
        return add_noise(inputs, self.noise, seed), inputs

    def gather(self, positions: tf.Tensor, trim: bool = True) -> tuple[tf.Tensor, tf.Tensor]:
        """`take` as a step of a tf.data pipeline."""
        dtypes = (self.inputs.dtype, self.labels.dtype)
        inputs, labels = tf.numpy_function(lambda at: self.take(at, trim), [positions], dtypes)
        shape = (None,) if self.texts is not None else self.inputs.shape[1:]
        return (
            tf.ensure_shape(inputs, (None, *shape)),
            tf.ensure_shape(labels, (None, *self.labels.shape[1:])),
        )


@dataclasses.dataclass(frozen=True)
class Data:
    """The prepared splits of one dataset, and what they are."""

    name: str
    kind: str
    official: bool
    description: str
    fingerprint: str
    label_names: tuple[str, ...]
    input_shape: tuple[int, ...]
    augmentation: Augmentation
    splits: dict[str, Split]
    vocabulary: tuple[str, ...] | None = None  # of texts: the word of each token id
    has_factors: bool = False  # whether labels are all that an image was made of

    def with_val_in_train(self) -> "Data":
        """The same data with train and val as one train split, and no val."""
        both = self.train.joined(self.val)
        return dataclasses.replace(self, splits={"train": both, "test": self.test})

    @property
    def multilabel(self) -> bool:
        """Whether an example has several labels, each 0 or 1, instead of one class."""
        return self.train.labels.ndim == 2

    @property
    def reconstructs(self) -> bool:
        """Whether the images themselves are what is to be learned."""
        return self.train.reconstructs

    @property
    def sequence_length(self) -> int | None:
        """Tokens of the longest text after cutting."""
        return self.train.inputs.shape[1] if self.vocabulary else None

    @property
    def examples(self) -> dict[str, int]:
        return {name: len(split) for name, split in self.splits.items()}

    @property
    def train(self) -> Split:
        return self.splits["train"]

    @property
    def val(self) -> Split | None:
        return self.splits.get("val")

    @property
    def test(self) -> Split:
        return self.splits["test"]


def prepare(dataset: Dataset, source: Source, seed: int = 0) -> Data:
    """The dataset's arrays, made on first use and memory-mapped from the cache afterwards.

    Args:
        dataset: What the examples are.
        source: Where they come from, see `Dataset.find`.
        seed: Chooses the rows of val, where it is cut from train.

    Raises:
        UserError: A split is empty or too small, or an image cannot be decoded; it is named.
    """
    for split, count in source.examples.items():
        if not count:
            raise UserError(f"{source.description}: 0 examples in its {split} split; need some")
    fingerprint = fingerprint_of(dataset, source)  # first: it tells a wrong path of word vectors
    folder = files.home() / "data" / _folder_name(dataset, source)
    arrays = _open(folder, source) or _write(folder, dataset, source)
    splits = {
        split: Split(
            inputs,
            dataset.select_label(labels).astype(np.int32),
            np.arange(len(labels)),
            reconstructs=dataset.reconstructs,
            noise=dataset.noise,
        )
        for split, (inputs, labels) in arrays.items()
    }
    if dataset.val_fraction:
        splits = {**_cut_val(splits["train"], dataset.val_fraction, seed), "test": splits["test"]}
    if dataset.train_examples:
        splits["train"] = _take_some(splits["train"], dataset.train_examples, seed)
    vocabulary = None
    if dataset.is_text:
        vocabulary, splits = _vectorize(folder, dataset.vectorization, splits)
    return Data(
        name=dataset.name,
        kind=source.kind,
        official=source.official,
        description=source.description,
        fingerprint=fingerprint,
        label_names=dataset.label_names,
        input_shape=dataset.input_shape,
        augmentation=dataset.augmentation,
        splits=splits,
        vocabulary=vocabulary,
        has_factors=source.kind in dataset.factors,
    )


def fingerprint_of(dataset: Dataset, source: Source) -> str:
    """Names the prepared arrays: another content or preparation has another name.

    Raises:
        UserError: The file of word vectors cannot be read.
    """
    parts = [dataset.name, source.kind, source.identity, dataset.input_shape, PREPARATION_VERSION]
    if dataset.train_examples:
        parts.append(f"{dataset.train_examples} training examples")
    if dataset.is_text:
        parts += [*_vectorization_key(dataset.vectorization)]
        if dataset.vectorization.embeddings:
            parts.append(_sha256_of_embeddings(dataset.vectorization.embeddings))
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _vectorization_key(vectorization: Vectorization) -> tuple[int, ...]:
    return vectorization.vocabulary_size, vectorization.max_length, VECTORIZATION_VERSION


def _sha256_of_embeddings(path: str) -> str:
    try:
        return files.sha256(pathlib.Path(path).expanduser())
    except OSError as error:
        raise UserError(
            f"embeddings={path}: {error.strerror}; expected a GloVe or word2vec text file"
        ) from None


def _folder_name(dataset: Dataset, source: Source) -> str:
    """Of the prepared arrays; of texts the raw ones, whatever is made of them afterwards."""
    raw = dataclasses.replace(dataset, vectorization=None, train_examples=0)
    return f"{dataset.name}-{source.kind}-{fingerprint_of(raw, source)[:16]}"


def _open(folder: pathlib.Path, source: Source) -> dict | None:
    """The prepared arrays, or None when they are missing or not whole."""
    try:
        arrays = {
            split: (_open_inputs(folder, split), _load(folder / f"{split}_labels.npy"))
            for split in source.examples
        }
    except (OSError, ValueError):
        return None
    whole = all(
        len(inputs) == len(labels) == source.examples[split]
        for split, (inputs, labels) in arrays.items()
    )
    return arrays if whole else None


def _load(path: pathlib.Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _open_inputs(folder: pathlib.Path, split: str) -> np.ndarray | Texts:
    inputs, ends = _load(folder / f"{split}_inputs.npy"), folder / f"{split}_ends.npy"
    return Texts(inputs, _load(ends)) if ends.is_file() else inputs


def _write(folder: pathlib.Path, dataset: Dataset, source: Source) -> dict:
    files.make_folder(folder.parent)
    files.remove_leftovers(folder.parent)
    with files.new_folder(folder) as temporary:
        write = _write_texts if dataset.is_text else _write_split
        for split in source.examples:
            write(temporary, dataset, source, split)
    return _open(folder, source)


def _write_texts(folder: pathlib.Path, dataset: Dataset, source: Source, split: str) -> None:
    """Writes the texts as they are: their bytes in one array, the end of each in another."""
    count, content, labels = source.examples[split], [], []
    for example in source.read(split).prefetch(2).as_numpy_iterator():
        content.append(example["input"])
        labels.append(example["label"])
    if len(labels) != count:
        raise UserError(
            f"{source.description}: {split} holds {len(labels)} of {count} examples; "
            "prepare it again"
        )
    written = Texts.of(content)
    np.save(folder / f"{split}_inputs.npy", written.content)
    np.save(folder / f"{split}_ends.npy", written.ends)
    np.save(folder / f"{split}_labels.npy", np.array(labels))


def _write_split(folder: pathlib.Path, dataset: Dataset, source: Source, split: str) -> None:
    count, shape = source.examples[split], dataset.input_shape

    def prepare_one(example):
        value = example["input"]
        if not dataset.is_image:
            value = tf.ensure_shape(tf.cast(value, tf.float32), shape)
        elif value.dtype == tf.string:
            value = decode_image(value, shape)
        else:
            value = fit_image(value, shape)
        return value, example["label"]

    examples = source.read(split)
    batches = examples.map(prepare_one, num_parallel_calls=tf.data.AUTOTUNE).batch(256).prefetch(2)
    inputs = np.lib.format.open_memmap(
        folder / f"{split}_inputs.npy",
        mode="w+",
        dtype=np.uint8 if dataset.is_image else np.float32,
        shape=(count, *shape),
    )
    labels, written, started = [], 0, time.monotonic()
    try:
        for input_batch, label_batch in batches.as_numpy_iterator():
            if written + len(input_batch) > count:
                raise UserError(f"{source.description}: {split} holds more than {count} examples")
            inputs[written : written + len(input_batch)] = input_batch
            labels.append(label_batch)
            written += len(input_batch)
            _report_progress(dataset.name, split, written, count, started)
    except tf.errors.OpError as error:
        raise _name_culprit(examples, prepare_one, error) from None
    if written < count:
        raise UserError(
            f"{source.description}: {split} holds {written} of {count} examples; prepare it again"
        )
    inputs.flush()
    np.save(folder / f"{split}_labels.npy", np.concatenate(labels))


def _report_progress(name: str, split: str, done: int, count: int, started: float) -> None:
    """A line every 10 % once the preparation takes more than a few seconds."""
    seconds = time.monotonic() - started
    if seconds > 5 and done * 10 // count != max(0, done - 256) * 10 // count:
        left = seconds / done * (count - done)
        print(f"preparing {name} {split}: {done:,} of {count:,}, {left:.0f} s left", flush=True)


def _name_culprit(examples: tf.data.Dataset, prepare_one, error: tf.errors.OpError) -> Exception:
    """tf.data does not say which file it failed on: reads again, one by one, and says so."""
    for example in examples:
        try:
            prepare_one(example)
        except tf.errors.OpError:
            name = example["name"].numpy().decode()
            missing = example["input"].dtype == tf.string and not len(example["input"].numpy())
            what = "is missing or empty" if missing else "is not an image that can be decoded"
            return UserError(f"{name} {what}; replace it, or take it out of the lists")
    return error


def _cut_val(train: Split, fraction: float, seed: int) -> dict[str, Split]:
    """Cuts val from train: the same rows for the same seed, stratified by class."""
    train_rows, val_rows = _cut(train, seed, test_size=fraction)
    return {
        "train": dataclasses.replace(train, rows=train_rows),
        "val": dataclasses.replace(train, rows=val_rows),
    }


def _take_some(train: Split, count: int, seed: int) -> Split:
    """So many examples of train: the same for the same seed, stratified by class."""
    if count > len(train):
        raise UserError(
            f"train_examples={count}: the train split has {len(train):,}; 0 takes all of them"
        )
    if count == len(train):
        return train
    rows, _ = _cut(train, seed, train_size=count)
    return dataclasses.replace(train, rows=rows)


def _cut(split: Split, seed: int, **sizes) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import train_test_split

    labels = split.labels[split.rows]
    stratify = labels if labels.ndim == 1 else None
    try:
        parts = train_test_split(split.rows, random_state=seed, stratify=stratify, **sizes)
    except ValueError as error:  # a class with too few examples, or a part for too few classes
        wanted = ", ".join(f"{name}={size}" for name, size in sizes.items())
        raise UserError(
            f"{len(split):,} training examples cannot be cut with every class in both parts "
            f"({wanted}): {error}; take more examples of each"
        ) from None
    return np.sort(parts[0]), np.sort(parts[1])


def _vectorize(
    raw: pathlib.Path, vectorization: Vectorization, splits: dict[str, Split]
) -> tuple[tuple[str, ...], dict[str, Split]]:
    """The vocabulary of the train split alone, and the splits as token ids; both are cached."""
    rows = splits["train"].rows
    key = [*_vectorization_key(vectorization), hashlib.sha256(rows.tobytes()).hexdigest()]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    folder = raw.with_name(f"{raw.name}-tokens-{digest[:16]}")
    # Splits that were cut from one array share it.
    names = {id(split.inputs): name for name, split in reversed(splits.items())}
    read = {name: splits[name].inputs for name in names.values()}
    vocabulary, tokens = texts.open_tokens(folder, read) or texts.write_tokens(
        folder, read, rows, vectorization.vocabulary_size, vectorization.max_length
    )
    vectorized = {}
    for name, split in splits.items():
        ids, lengths = tokens[names[id(split.inputs)]]
        vectorized[name] = dataclasses.replace(
            split, inputs=ids, texts=split.inputs, lengths=lengths
        )
    return vocabulary, vectorized


def count_shared(first: Split, second: Split) -> int:
    """How many inputs of `second` stand byte for byte in `first` as well."""

    def digests(split: Split) -> list[bytes]:
        inputs = split.inputs if split.texts is None else split.texts
        return [hashlib.blake2b(inputs[row], digest_size=16).digest() for row in split.rows]

    known = set(digests(first))
    return sum(digest in known for digest in digests(second))
