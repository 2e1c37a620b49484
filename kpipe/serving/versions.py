"""The versions of one model: found on disk, checked, loaded beside the others, then served."""

import concurrent.futures
import dataclasses
import gc
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from ..errors import UserError, first_line
from ..export.answers import find_wrong
from ..export.golden import read_given
from ..export.loading import SavedModel, load
from ..export.versions import GRAPH, SERVING, versions_of
from ..inputs.images import encode_png
from ..manifest import NAME as MANIFEST
from .batching import Batcher, Queue
from .describing import describe, longest_of
from .limits import Limits
from .signatures import DEFAULT, Signature, definitions, signatures_of

Stamp = tuple[
    Any, ...
]  # names, sizes and times of a folder's files: another one is another content


@dataclasses.dataclass(frozen=True, eq=False)
class Version:
    """A version that is loaded and warmed up.

    Attributes:
        number: The 1 of `serving/1`.
        model: The loaded export.
        signatures: What it takes and answers.
        batcher: Computes requests.
        definitions: The signatures in the JSON form of TensorFlow Serving.
        about: What a page needs to know of it, see `describing.describe`.
        stamp: Of the files that were loaded.
    """

    number: int
    model: SavedModel
    signatures: Mapping[str, Signature]
    batcher: Batcher
    definitions: Mapping[str, Any]
    about: Mapping[str, Any]
    stamp: Stamp


@dataclasses.dataclass(frozen=True)
class Settings:
    """How models are served.

    Attributes:
        limits: What a request may cost.
        keep: Number of versions that are served at once, the newest ones.
        trust: Whether models are loaded without checking their operations.
    """

    limits: Limits = dataclasses.field(default_factory=Limits)
    keep: int = 2
    trust: bool = False


class Served:
    """A run that is served under a name, with its newest versions.

    `update` runs in a thread; the event loop reads `versions`, a dict that is never changed but
    replaced, so that a request sees the old one or the new one. A request that has a `Version`
    keeps it until it is answered.

    Args:
        name: Name of the model in URLs.
        folder: The run's folder, or that of a SavedModel.
        settings: How it is served.
        queue: Counts what is waiting.
        pool: Threads in which TensorFlow computes.
        say: Prints a line of the log.
    """

    def __init__(
        self,
        name: str,
        folder: pathlib.Path,
        settings: Settings,
        queue: Queue,
        pool: concurrent.futures.Executor,
        say: Callable[[str], None] = print,
    ) -> None:
        self.name = name
        self.folder = folder
        self.versions: Mapping[int, Version] = {}
        self.refused: Mapping[int, str] = {}  # why, by version
        self.loading: int | None = None
        self._settings = settings
        self._queue = queue
        self._pool = pool
        self._say = say
        self._tried: dict[int, Stamp] = {}  # what was refused
        self._seen: dict[int, Stamp] | None = None  # at the last look
        self._on_disk: frozenset[int] = frozenset()

    @property
    def latest(self) -> Version | None:
        """The version that answers if none is named: the newest one that is still on disk."""
        versions = self.versions
        there = self._on_disk & versions.keys() or versions.keys()
        return versions[max(there)] if there else None

    def update(self) -> None:
        """Looks for versions; loads those that are new, and frees those that are old.

        A version is loaded once its files have not changed since the last look, so that one that is
        being copied is not tried. One that is refused is tried again when its files change.
        """
        found = {number: _stamp(self._path(number)) for number in self._numbers()}
        kept = self._load_newest(found, found if self._seen is None else self._seen)
        self._seen, self._on_disk = found, frozenset(found)
        self.refused = {n: why for n, why in self.refused.items() if n in found}
        # What has vanished from disk is served only as long as nothing else is there.
        wanted = kept or sorted(self.versions)[-self._settings.keep :]
        old = sorted(self.versions.keys() - set(wanted))
        if old:
            self.versions = {n: version for n, version in self.versions.items() if n in wanted}
            self._say(f"{self.name}: version {', '.join(map(str, old))} is not served any more")
            gc.collect()  # a graph and its functions hold one another

    def _load_newest(self, found: Mapping[int, Stamp], before: Mapping[int, Stamp]) -> list[int]:
        """Loads what is new of the newest versions; returns those of them that are served."""
        kept: list[int] = []
        for number in sorted(found, reverse=True):
            if len(kept) == self._settings.keep:
                break
            stamp, loaded = found[number], self.versions.get(number)
            is_new = loaded is None or loaded.stamp != stamp
            is_tried = self._tried.get(number) == self._at(stamp)
            if is_new and not is_tried and stamp == before.get(number):
                is_new = not self._try(number, stamp)
            if loaded is not None or not is_new:
                kept.append(number)
        return kept

    def _try(self, number: int, stamp: Stamp) -> bool:
        """Loads a version and serves it; says why if it cannot be."""
        self.loading = number
        try:
            version = self._load(number, stamp)
        except UserError as error:
            self._tried[number] = self._at(stamp)
            self.refused = {**self.refused, number: str(error)}
            self._say(f"{self.name}: version {number} is refused: {error}")
            return False
        finally:
            self.loading = None
        self._tried.pop(number, None)
        self.refused = {n: why for n, why in self.refused.items() if n != number}
        self.versions = {**self.versions, number: version}
        takes, outputs = version.about["input"], ", ".join(version.about["outputs"])
        what = " ".join([takes["kind"], " × ".join(map(str, takes.get("shape", ())))]).strip()
        self._say(f"{self.name}: version {number} is served: {what} -> {outputs}")
        return True

    def _load(self, number: int, stamp: Stamp) -> Version:
        """Loads a version and computes one example with each of its signatures.

        Raises:
            UserError: It is damaged, forbidden, or answers no finite numbers.
        """
        alone = not versions_of(self.folder)
        settings, path = self._settings, self._path(number)
        try:
            model = load(self.folder, version=None if alone else number, trust=settings.trust)
            longest = longest_of(self.folder)
            signatures = signatures_of(model, longest)
            golden = self.folder / "golden.npz"
            given = {name: read_given(golden, name, unusual=True) or {} for name in signatures}
            _warm_up(model, signatures, given)
            limits, functions = settings.limits, model.signatures
            batcher = Batcher(functions, model.exclusive, limits, self._queue, self._pool)
            about = describe(self.folder, number, model, signatures, given[DEFAULT])
            listed = definitions(path)
        except UserError:
            raise
        except Exception as error:  # files that vanish or are damaged raise errors of many types
            raise UserError(f"{path}: cannot be served ({first_line(error, 120)})") from error
        return Version(number, model, signatures, batcher, listed, about, stamp)

    def _numbers(self) -> list[int]:
        if (self.folder / SERVING).is_dir():
            return versions_of(self.folder)
        return [1] if (self.folder / GRAPH).is_file() else []

    def _path(self, number: int) -> pathlib.Path:
        path = self.folder / SERVING / str(number)
        return path if path.is_dir() else self.folder

    def _at(self, stamp: Stamp) -> Stamp:
        """A version's stamp with that of the run's manifest, which may be what was wrong."""
        return stamp, _entry(self.folder / MANIFEST)


def _warm_up(
    model: SavedModel, signatures: Mapping[str, Signature], given: Mapping[str, Mapping[str, Any]]
) -> None:
    """Computes one example with each signature, since the first one takes longer.

    Raises:
        UserError: An answer is not finite.
    """
    for name, signature in signatures.items():
        one = {
            argument: _first(given[name].get(argument), spec, signature)
            for argument, spec in signature.inputs.items()
        }
        outputs = model.signatures[name](**one)
        wrong = find_wrong({key: value.numpy() for key, value in outputs.items()}, model.exclusive)
        if wrong:
            raise UserError(f"{model.folder}: {name}: {wrong[1]} for an ordinary example")


def _first(golden: Any, spec: tf.TensorSpec, signature: Signature) -> tf.Tensor:
    """Returns the first golden example of an argument, or else zeros."""
    shape = [1, *(size or 1 for size in spec.shape[1:])]
    if golden is not None:
        first = tf.constant(golden[:1])
        if first.dtype == spec.dtype and spec.shape.is_compatible_with(first.shape):
            return first
    if signature.encoded:
        return tf.constant([encode_png(tf.zeros((1, 1, 1)))])
    if spec.dtype == tf.string:
        return tf.fill(shape, "")
    if spec.name == "probabilities":
        return tf.fill(shape, 1 / shape[-1])
    return tf.cast(tf.fill(shape, int(spec.dtype == tf.int32)), spec.dtype)


def _stamp(folder: pathlib.Path) -> Stamp:
    try:
        names = sorted(folder.rglob("*"))
    except OSError:
        return ()
    return tuple((path.name, *_entry(path)) for path in names)


def _entry(path: pathlib.Path) -> Stamp:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns
