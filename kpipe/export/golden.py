"""Cases that an export must reproduce, `golden.npz`: what the model in memory gave.

Every case names an endpoint, what it is given and what it must give: `proof.py` replays all of them
in one loop, and knows nothing else of the model.
"""

import dataclasses
import io
import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from .. import files

TOLERANCE = 1e-5
TEST = "test"  # the test split's inputs, in the files that the proof is given


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What an output of an endpoint is compared with.

    Attributes:
        output: Its name.
        expected: An array, numbers or words; or the name of one in predictions.npz, for a case on
            the test split.
        rows: bool (n,), the rows that are compared, or the name of such an array in
            predictions.npz; None: all.
        columns: Only so many of the first columns are compared; None: all.
        error: For images: their mean squared error from these is compared, and not they themselves.
    """

    output: str
    expected: np.ndarray | str
    rows: np.ndarray | str | None = None
    columns: int | None = None
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Case:
    """An endpoint, what it is given and what it must give.

    Attributes:
        endpoint: A signature of the SavedModel.
        given: By argument: an array, a list of bytes, `TEST`, or the name of an array in
            predictions.npz.
        expected: What is compared.
        tolerance: The largest difference allowed, in units of 1 or of the largest expected value.
        batches: Sizes of the batches; the test split is replayed in large ones.
        complete: Whether all outputs of the endpoint are among the expected ones.
        follows: Output -> (endpoint, argument): the output equals what that endpoint makes of this
            one's output of that name.
        about: What the inputs are, for people; "" for what is ordinary.
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
        folder: The run's.
        cases: At least one on the test split.
        decided: bool (n,), test examples whose answer does not depend on the last bit; their
            number is reported.
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


class _Store:
    """Arrays under names, each kept once however many cases use it."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.keys: dict[int, str] = {}
        self.kept: list[object] = []  # an id is that of one object as long as this exists

    def key(self, value: np.ndarray | list[bytes] | str) -> str:
        if isinstance(value, str):
            return value if value == TEST else f"predictions/{value}"
        if id(value) not in self.keys:
            name = self.keys[id(value)] = f"array{len(self.keys)}"
            self.kept.append(value)
            if isinstance(value, list):  # strings of bytes would need pickle
                self.arrays[name] = np.frombuffer(b"".join(value), dtype=np.uint8)
                self.arrays[f"{name}_sizes"] = np.array([len(content) for content in value])
            else:
                self.arrays[name] = value
        return self.keys[id(value)]


def write_npz(path: pathlib.Path, **arrays: np.ndarray) -> None:
    """`numpy.savez_compressed` under a temporary name first."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # no array has an option's name
    files.write_bytes(path, buffer.getvalue())
