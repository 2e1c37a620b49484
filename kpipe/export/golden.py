"""Cases that an export must reproduce, `golden.npz`: inputs and outputs of the trained model.

Every case names an endpoint, its inputs and its expected outputs: `proof.py` replays all of them in
one loop, and knows nothing else about the model.
"""

import dataclasses
import hashlib
import io
import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from .. import files
from ..errors import first_line

TOLERANCE = 1e-5
# The test split's inputs, in files that are arguments of the proof; "test/1" are those in file 1,
# "test/0/3" those in column 3 of file 0.
TEST = "test"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The comparison of an endpoint's output with an expected array.

    Attributes:
        output: Name of the output.
        expected: Array of numbers or words; for a case on the test split, the name of an array in
            predictions.npz.
        rows: bool (n,), the rows to compare, or the name of such an array in predictions.npz; None
            for all.
        columns: Number of leading columns to compare; None for all.
        error: For images: the originals. The output's mean squared error from them is compared
            with `expected`, instead of the output itself.
    """

    output: str
    expected: np.ndarray | str
    rows: np.ndarray | str | None = None
    columns: int | None = None
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Case:
    """An endpoint with its inputs and expected outputs.

    Attributes:
        endpoint: A signature of the SavedModel.
        given: Inputs by argument: an array, a list of bytes, `TEST` or a part of it, or the name of
            an array in predictions.npz.
        expected: Comparisons of the outputs.
        tolerance: Largest difference allowed: absolute, or relative to the largest expected value
            if that exceeds 1.
        batches: Sizes of the batches; () for the test split, which is replayed in large batches.
        complete: Whether `expected` and `follows` must cover all outputs of the endpoint.
        follows: Output -> (endpoint, argument): the output must equal that of the other endpoint,
            applied to this case's output of that name.
        about: Description of unusual inputs, for people; "" for ordinary ones.
    """

    endpoint: str
    given: Mapping[str, np.ndarray | list[bytes] | str]
    expected: Sequence[Comparison]
    tolerance: float = TOLERANCE
    batches: tuple[int, ...] = ()
    complete: bool = True
    follows: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    about: str = ""

    @property
    def on_test(self) -> bool:
        return not self.batches


def write_golden(
    folder: pathlib.Path, cases: Sequence[Case], decided: np.ndarray | None = None
) -> None:
    """Writes golden.npz.

    Args:
        folder: The run's folder.
        cases: The cases, at least one of them on the test split.
        decided: bool (n,), test examples whose answer does not depend on the last bit; the number
            of the others is reported.
    """
    store = _Store()
    listed = [
        {
            "endpoint": case.endpoint,
            "given": {name: store.key(value) for name, value in case.given.items()},
            "expected": [
                {
                    "output": comparison.output,
                    "array": store.key(comparison.expected),
                    "rows": None if comparison.rows is None else store.key(comparison.rows),
                    "columns": comparison.columns,
                    "error": comparison.error,
                }
                for comparison in case.expected
            ],
            "tolerance": case.tolerance,
            "batches": case.batches,
            "test": case.on_test,
            "main": not case.about,
            "complete": case.complete,
            "follows": case.follows,
            "about": case.about,
        }
        for case in cases
    ]
    arrays = {"cases": np.array(json.dumps(listed)), **store.arrays}
    if decided is not None:
        arrays["decided"] = decided
    write_npz(folder / "golden.npz", **arrays)


def read_given(
    path: pathlib.Path, endpoint: str, *, unusual: bool = False
) -> dict[str, np.ndarray | list[bytes]] | None:
    """Reads the ordinary inputs of an endpoint, by argument; None if there are none.

    Args:
        path: A golden.npz.
        endpoint: A signature of the SavedModel.
        unusual: Whether unusual inputs are read if there are no ordinary ones.
    """
    arrays = read_npz(path) or {}
    cases = json.loads(str(arrays["cases"])) if "cases" in arrays else []
    found = [case for case in cases if case["endpoint"] == endpoint and not case["test"]]
    for case in sorted(found, key=lambda case: not case.get("main")):
        if case.get("main") or unusual:
            return {name: _restored(arrays, key) for name, key in case["given"].items()}
    return None


def _restored(arrays: Mapping[str, np.ndarray], key: str) -> np.ndarray | list[bytes]:
    """Returns an array, or the list of bytes that was stored as one."""
    if (sizes := arrays.get(f"{key}_sizes")) is None:
        return arrays[key]
    ends = np.cumsum(sizes)
    content = arrays[key].tobytes()
    return [content[end - size : end] for size, end in zip(sizes, ends, strict=True)]


class _Store:
    """Named arrays, each stored once even if several cases use it."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.keys: dict[int, str] = {}
        self.kept: list[object] = []  # an id is unique only while its object exists

    def key(self, value: np.ndarray | list[bytes] | str) -> str:
        if isinstance(value, str):
            return value if value.split("/")[0] == TEST else f"predictions/{value}"
        if id(value) not in self.keys:
            name = self.keys[id(value)] = f"array{len(self.keys)}"
            self.kept.append(value)
            if isinstance(value, list):  # byte strings would need pickle
                self.arrays[name] = np.frombuffer(b"".join(value), dtype=np.uint8)
                self.arrays[f"{name}_sizes"] = np.array([len(content) for content in value])
            else:
                self.arrays[name] = value
        return self.keys[id(value)]


def write_npz(path: pathlib.Path, **arrays: np.ndarray) -> None:
    """Writes arrays as `numpy.savez_compressed` does, but atomically.

    The SHA-256 of the file becomes the comment of the archive, which is its end.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # no array has an option's name
    files.write_bytes(path, _with_digest(buffer.getvalue()))


def read_npz(path: pathlib.Path, then: str = "") -> dict[str, np.ndarray] | None:
    """Reads what `write_npz` wrote; None if it is missing or damaged.

    Args:
        path: The file.
        then: What is done if it is damaged; a line says so.
    """
    try:
        raw = path.read_bytes()
        without_digest = raw[: -_DIGEST - 2] + b"\0\0"
        if raw[-22:-18] != b"PK\5\6" and raw != _with_digest(without_digest):
            raise ValueError("its digest differs")
        with np.load(io.BytesIO(raw), allow_pickle=False) as content:
            return dict(content)
    except FileNotFoundError:
        return None
    except Exception as error:  # damaged files raise errors of many types
        if then:
            print(f"{path} is damaged ({first_line(error)}); {then}", flush=True)
        return None


_DIGEST = 64  # characters


def _with_digest(archive: bytes) -> bytes:
    """Adds its SHA-256 to a zip archive, as the comment; before it stands the comment's length."""
    digest = hashlib.sha256(archive).hexdigest().encode()
    return archive[:-2] + _DIGEST.to_bytes(2, "little") + digest
