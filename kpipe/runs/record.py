"""The record of a run, `run.json`: what was run, on what, and what came of it."""

import dataclasses
import pathlib
import types
import typing
from collections.abc import Mapping
from typing import Any

from .. import files
from ..errors import UserError

# Raised when the content of a run's files changes; older runs stay readable.
FORMAT_VERSION = 2


@dataclasses.dataclass(kw_only=True)
class DataRecord:
    """What a run was trained and tested on.

    Attributes:
        name: The dataset's.
        kind: "real" or "sample".
        official: Whether sizes agree with the published ones.
        description: What was found, for people.
        label_names: One per class or label.
        get_real: The command that uses the real data.
        examples: Their number in each split.
        fingerprint: Changes when the prepared arrays do.
        test_openings: How often this pipeline's test split was opened on this machine.
        duplicates: Test examples that also occur in train.
        usage: What `kpipe predict` is given: "IMAGE ...".
        about: What an input records about itself, such as the size of a vocabulary.
    """

    name: str = ""
    kind: str = ""
    official: bool = False
    description: str = ""
    label_names: tuple[str, ...] = ()
    get_real: str = ""
    examples: dict[str, int] = dataclasses.field(default_factory=dict)
    fingerprint: str | None = None
    test_openings: int | None = None
    duplicates: int | None = None
    usage: str = ""
    about: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(kw_only=True)
class LayerRecord:
    """One layer; `formula` says how its parameters are counted: "3 × 3 × 3 × 32 + 32"."""

    name: str
    type: str
    output_shape: list[Any]
    parameters: int
    formula: str = ""


@dataclasses.dataclass(kw_only=True)
class ModelRecord:
    """A model's layers, from input to output."""

    name: str
    parameters: int
    trainable_parameters: int
    layers: list[LayerRecord] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(kw_only=True)
class TrainingRecord:
    """How training went; `stopped_by` is "epochs", "early stopping" or "budget"."""

    epochs: int
    best_epoch: int
    steps: int = 0
    stopped_by: str | None = None
    retrained_epochs: int | None = None
    retrained_examples: int | None = None
    retraining_seconds: float | None = None


@dataclasses.dataclass(kw_only=True)
class TargetRecord:
    """The target of an experiment, and how its metric compares with it."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    source: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: str = ""


@dataclasses.dataclass(kw_only=True)
class ProofRecord:
    """What the proof of an export compared, see `export.proof`.

    Attributes:
        passed: Whether the export equals the trained model in all cases.
        max_difference: The largest of any case.
        tolerance: What is allowed at most.
        differences: The largest difference of each endpoint.
        labels_agree: Whether all words, such as the predicted labels, are the same.
        compared: What the cases were made of: "8 encoded files".
        batches: Sizes of the batches.
        test_examples: Examples of the test split that were replayed.
        undecided: Test examples of which no choice was compared, since it depends on the last bit.
        seconds: Time that it took.
    """

    passed: bool
    max_difference: float
    tolerance: float = 1e-5
    differences: dict[str, float] = dataclasses.field(default_factory=dict)
    labels_agree: bool = True
    compared: list[str] = dataclasses.field(default_factory=list)
    batches: list[int] = dataclasses.field(default_factory=list)
    test_examples: int | None = None
    undecided: int = 0
    seconds: float | None = None


@dataclasses.dataclass(kw_only=True)
class Record:
    """The content of `run.json`.

    Attributes:
        pipeline: Its name.
        task: The name of a module in `kpipe.tasks`.
        title: First line of the pipeline's docstring.
        command: The command line.
        status: "unfinished", "finished" or "proof failed".
        headline: The metric by which the run is known.
        overrides: Keys that differ from their defaults.
        hyperparameters: Active keys and their values.
        trainer: Fields of the `Trainer`.
        plan: The execution plan of training.
        budget: Seconds after which training stops.
        code_sha256: Of the pipeline's code.
        versions: Of Python and its packages.
        machine: What of the machine can change the last bits, or the time.
        times: Seconds of each part of the run.
        finished: When, in ISO 8601 with the time zone.
        details: What a task records about itself, such as the latents of an autoencoder.
    """

    format_version: int = FORMAT_VERSION
    pipeline: str
    task: str = ""
    title: str = ""
    command: str = ""
    status: str = "unfinished"
    headline: str = ""
    overrides: dict[str, Any] = dataclasses.field(default_factory=dict)
    hyperparameters: dict[str, Any] = dataclasses.field(default_factory=dict)
    trainer: dict[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    plan: str | None = None
    budget: float | None = None
    code_sha256: str = ""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    machine: dict[str, Any] = dataclasses.field(default_factory=dict)
    data: DataRecord = dataclasses.field(default_factory=DataRecord)
    target: TargetRecord | None = None
    proof: ProofRecord | None = None
    model: ModelRecord | None = None
    training: TrainingRecord | None = None
    weights_sha256: str | None = None
    times: dict[str, float] = dataclasses.field(default_factory=dict)
    finished: str | None = None
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The record as plain JSON values, with `details` and `data.about` spread out."""
        content = dataclasses.asdict(self)
        data = content["data"]
        content["data"] = data | data.pop("about")
        return content | content.pop("details")

    @classmethod
    def from_json(cls, content: object, path: pathlib.Path | str = "run.json") -> "Record":
        """Reads the content of a `run.json`, of this version or an older one.

        Raises:
            UserError: Something is missing, of another type, or of a newer version of kpipe.
        """
        if isinstance(content, Mapping):
            version = content.get("format_version", FORMAT_VERSION)
            if isinstance(version, int) and version > FORMAT_VERSION:
                raise UserError(
                    f"{path}: written by a newer kpipe (format {version}, known: up to "
                    f"{FORMAT_VERSION}); update kpipe"
                )
        try:
            return _read(cls, content)
        except TypeError as error:
            raise UserError(f"{path}: not a readable record ({error}); use --fresh") from None


def read_record(path: pathlib.Path) -> Record:
    """The record of a run from its `run.json`.

    Raises:
        UserError: The file is missing or damaged; it is named.
    """
    return Record.from_json(files.read_json(path), path)


# A class whose unknown keys are kept, and the field that keeps them.
_OPEN = {"Record": "details", "DataRecord": "about"}


def _read(cls: type, content: object) -> Any:
    """An instance of a dataclass from JSON; TypeError where something has another type."""
    if not isinstance(content, Mapping):
        raise TypeError(f"{type(content).__name__} in place of an object")
    types_of = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    kept = _OPEN.get(cls.__name__)
    values = {}
    for name in fields.keys() & content.keys() - {kept}:
        try:
            values[name] = _convert(types_of[name], content[name])
        except TypeError as error:
            raise TypeError(f"{name}: {error}") from None
    for name, field in fields.items():
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise TypeError(f"{name} is missing")
    if kept:
        values[kept] = {k: v for k, v in content.items() if k not in fields}
    return cls(**values)


def _convert(wanted: Any, value: object) -> Any:
    """A JSON value as a type that this module uses."""
    if wanted is Any:
        return value
    if isinstance(wanted, types.UnionType):
        options = [option for option in typing.get_args(wanted) if option is not types.NoneType]
        return None if value is None else _convert(options[0], value)
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (list, tuple) and isinstance(value, (list, tuple)):
        return origin(_convert(arguments[0], item) for item in value)
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _convert(arguments[1], item) for key, item in value.items()}
    if dataclasses.is_dataclass(wanted):
        return _read(typing.cast(type, wanted), value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(wanted, type) and isinstance(value, wanted):
        if wanted is not bool and isinstance(value, bool):
            raise TypeError(f"true or false in place of {wanted.__name__}")
        return value
    expected = getattr(origin or wanted, "__name__", wanted)
    raise TypeError(f"{type(value).__name__} in place of {expected}")


def describe_difference(standing: Record, record: Record, key: str) -> str:
    """In which way two records differ in a field, for an error message."""
    old, new = getattr(standing, key), getattr(record, key)
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(n for n in old.keys() | new.keys() if old.get(n) != new.get(n))
        return ", ".join(f"{n}={old.get(n)}, now {new.get(n)}" for n in names)
    return "the file was edited" if key == "code_sha256" else f"{old}, now {new}"
