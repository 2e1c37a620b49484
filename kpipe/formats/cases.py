"""What a converted model must answer: the golden cases of its run, and the test split."""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from .. import files
from ..datasets.columns import TableRows
from ..errors import UserError
from ..export import read_npz
from ..inputs.encoding import BATCH, Encoder, from_json
from ..inputs.tables import ENCODING_FILE
from ..inputs.tokens import Vectorizer
from .source import DEFAULT, ENCODED, TOKENS, Source

ORIGINALS = ("squared_error", "reconstruction")  # an array of predictions.npz, and its output


@dataclasses.dataclass(frozen=True)
class Array:
    """Rows of a .npy file or of an array.

    Attributes:
        values: The file, or an array.
        column: One of its columns; None for all.
        rows: int (n,), the rows, in their order; None for all.
    """

    values: pathlib.Path | np.ndarray
    column: int | None = None
    rows: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Check:
    """What an output is compared with.

    Attributes:
        output: Name of the output; of images that have originals, their squared error.
        expected: One row per example.
        rows: bool (n,), the rows that are compared; None for all.
        columns: Number of leading columns that are compared; None for all.
    """

    output: str
    expected: np.ndarray
    rows: np.ndarray | None = None
    columns: int | None = None


@dataclasses.dataclass(frozen=True)
class Replay:
    """Inputs of an endpoint, and what it must answer.

    Attributes:
        endpoint: Name of the endpoint.
        given: Its inputs by argument.
        checks: What is compared.
        sizes: Sizes of the batches; () for the test split.
        originals: Images by the output that reconstructs them, whose squared error is compared.
        order: int (n,), positions in the test split in the order of replay.
    """

    endpoint: str
    given: Mapping[str, Array]
    checks: Sequence[Check]
    sizes: tuple[int, ...] = ()
    originals: Mapping[str, Array] = dataclasses.field(default_factory=dict)
    order: np.ndarray | None = None

    @property
    def on_test(self) -> bool:
        return not self.sizes


def test_files(source: Source) -> list[pathlib.Path]:
    """Returns the prepared arrays of the run's test split; [] if they do not exist any more."""
    paths = [files.home() / name for name in source.run.record.data.test_files]
    return paths if all(path.is_file() for path in paths) else []


def replays(source: Source, arrays_of_test: Sequence[pathlib.Path]) -> list[Replay]:
    """Builds what is replayed through a converted model.

    Args:
        source: What was converted.
        arrays_of_test: Result of `test_files`; [] leaves the test split out.

    Raises:
        UserError: The run has no golden cases, of one of an older kpipe.
    """
    path = source.run.folder / "golden.npz"
    golden = read_npz(path)
    if golden is None or "cases" not in golden:
        raise UserError(
            f"{path}: has no cases that a converted model could be compared with; train the run "
            "again with --fresh"
        )
    return list(_Cases(source, golden, arrays_of_test).replays())


class _Cases:
    def __init__(
        self,
        source: Source,
        golden: Mapping[str, np.ndarray],
        arrays_of_test: Sequence[pathlib.Path],
    ):
        self.source, self.golden, self.files = source, golden, arrays_of_test
        self.predictions = source.run.predictions
        self.rows = self.predictions["index"]
        self.listed: list[dict] = json.loads(str(golden["cases"]))

    def replays(self) -> Iterator[Replay]:
        for endpoint in self.source.endpoints:
            names = {endpoint.name, *((DEFAULT,) if endpoint.name in (TOKENS, ENCODED) else ())}
            for case in self.listed:
                if case["test"] and case["endpoint"] in names and self.files:
                    yield self._on_test(case, endpoint.name)
                elif not case["test"] and case["endpoint"] == endpoint.name:
                    yield Replay(
                        endpoint.name,
                        {a: Array(self.golden[key]) for a, key in case["given"].items()},
                        self._checks(case),
                        tuple(case["batches"]),
                    )

    def _on_test(self, case: dict, endpoint: str) -> Replay:
        order = np.arange(len(self.rows))
        if endpoint == case["endpoint"]:
            given = {argument: self._find(key) for argument, key in case["given"].items()}
        else:
            (argument,) = next(e.specs for e in self.source.endpoints if e.name == endpoint)
            values = self._tokens() if endpoint == TOKENS else self._encoded()
            given = {argument: Array(values)}
            if endpoint == TOKENS:  # texts of similar length together: a batch has its longest one
                order = np.argsort((values != 0).sum(axis=1), kind="stable")
        checks = self._checks(case)
        recorded, output = ORIGINALS
        originals = {c["output"]: self._find(c["error"]) for c in case["expected"] if c["error"]}
        if endpoint == "reconstruct":
            originals = {output: next(iter(given.values()))}
            sure = self.predictions["certain"]
            checks.append(Check(output, self.predictions[recorded], sure))
        return Replay(endpoint, given, checks, originals=originals, order=order)

    def _checks(self, case: Mapping) -> list[Check]:
        outputs = next(
            e.outputs
            for e in self.source.endpoints
            if e.name == case["endpoint"] or e.name in (TOKENS, ENCODED)
        )
        return [
            Check(
                c["output"],
                self._array(c["array"]),
                None if c["rows"] is None else self._array(c["rows"]),
                c["columns"],
            )
            for c in case["expected"]
            if c["output"] in outputs  # not words
        ]

    def _array(self, key: str) -> np.ndarray:
        kind, _, name = key.partition("/")
        return self.predictions[name] if kind == "predictions" else self.golden[key]

    def _find(self, key: str) -> Array:
        """Returns inputs of the test split, "test/FILE/COLUMN", or a recorded array."""
        kind, *place = key.split("/")
        if kind != "test":
            return Array(self._array(key))
        file = int(place[0]) if place else 0
        column = int(place[1]) if len(place) > 1 else None
        return Array(self.files[file], column, self.rows)

    def _tokens(self) -> np.ndarray:
        """Converts the texts of the test split to token ids, int32 (n, longest)."""
        content, ends = (np.load(path, mmap_mode="r") for path in self.files)
        starts = np.concatenate([[0], ends[:-1]])
        length = self.source.run.record.data.about["sequence_length"]
        vectorizer = Vectorizer(self.source.asset("vocabulary.txt"), length)
        convert = tf.function(vectorizer, input_signature=[tf.TensorSpec((None,), tf.string)])
        tokens = np.zeros((len(self.rows), length), np.int32)
        for start in range(0, len(self.rows), BATCH):
            part = self.rows[start : start + BATCH]
            texts = [content[starts[row] : ends[row]].tobytes() for row in part]
            ids = convert(tf.constant(texts)).numpy()
            tokens[start : start + len(part), : ids.shape[1]] = ids
        return tokens

    def _encoded(self) -> np.ndarray:
        """Encodes the rows of the test split, float32 (n, size)."""
        columns, fit = from_json(self.source.asset(ENCODING_FILE))
        encoder = Encoder(columns, fit)
        numbers, *words = (np.load(path, mmap_mode="r") for path in self.files)
        parts = []
        for start in range(0, len(self.rows), BATCH):
            part = self.rows[start : start + BATCH]
            rows = TableRows(numbers[part], [values[part] for values in words])
            parts.append(encoder(tf.constant(rows.numbers), list(map(tf.constant, rows.words))))
        return np.concatenate(parts)
