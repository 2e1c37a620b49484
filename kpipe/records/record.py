"""The record of a run, `run.json`: settings, data, environment and results."""

import dataclasses
import pathlib
import types
import typing
from collections.abc import Mapping
from typing import Any

from .. import files, manifest
from ..errors import UserError

# Increased when the content of a run's files changes; older runs remain readable.
FORMAT_VERSION = 4


@dataclasses.dataclass(kw_only=True)
class DataRecord:
    """The data of a run.

    Attributes:
        name: Name of the dataset.
        kind: "real", "sample", or "own" for a user's own files.
        official: Whether sizes agree with the published ones.
        description: Description of the source, for people.
        label_names: One per class or label.
        get_real: Command that uses the real data.
        examples: Number of examples in each split.
        fingerprint: Hash that changes when the prepared arrays do.
        test_openings: How often this pipeline's test split was opened on this machine.
        duplicates: Number of test examples that also occur in train.
        usage: Arguments of `kpipe predict`: "IMAGE ...".
        test_files: Files with the prepared inputs of test, relative to $KPIPE_HOME.
        about: Facts about the inputs, such as the size of a vocabulary.
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
    test_files: list[str] = dataclasses.field(default_factory=list)
    about: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(kw_only=True)
class LayerRecord:
    """One layer; `formula` shows how its parameters are counted: "3 × 3 × 3 × 32 + 32"."""

    name: str
    type: str
    output_shape: list[Any]
    parameters: int
    formula: str = ""


@dataclasses.dataclass(kw_only=True)
class ModelRecord:
    """A model's layers, from input to output.

    Attributes:
        dead_units: Of the trained model, dead units and all units of each layer with a ReLU, see
            `measures.dead_units`.
    """

    name: str
    parameters: int
    trainable_parameters: int
    layers: list[LayerRecord] = dataclasses.field(default_factory=list)
    dead_units: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(kw_only=True)
class TrainingRecord:
    """The course of training; `stopped_by` and the last three are those of `training.History`."""

    epochs: int
    best_epoch: int
    steps: int = 0
    stopped_by: str | None = None
    retrained_epochs: int | None = None
    retrained_examples: int | None = None
    retraining_seconds: float | None = None
    feature_seconds: float | None = None
    frozen_epochs: int | None = None
    waiting_seconds: float | None = None


@dataclasses.dataclass(kw_only=True)
class CalibrationRecord:
    """What was fitted to val, with the network of the best epoch, before any retraining.

    Attributes:
        temperature: The temperature that divides the logarithms of probabilities.
        threshold: Largest 1 - p of a class in a prediction set; None for several labels.
        examples: Number of val examples.
        weights_sha256: The weights of that network.
    """

    temperature: float
    threshold: float | None = None
    examples: int = 0
    weights_sha256: str = ""


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
    """The result of an export's proof, see `export.proof`.

    Attributes:
        passed: Whether the export equals the trained model in all cases.
        max_difference: Largest difference of all cases.
        tolerance: Largest difference allowed.
        differences: Largest difference of each endpoint.
        labels_agree: Whether all words, such as predicted labels, are equal.
        compared: Inputs of the cases: "8 encoded files".
        batches: Sizes of the batches.
        test_examples: Number of test examples that were replayed.
        undecided: Number of test examples whose choice was not compared, because it depends on the
            last bit.
        seconds: Duration of the proof.
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
        pipeline: Name of the pipeline.
        task: Name of a module in `kpipe.tasks`.
        title: First line of the pipeline's docstring.
        command: The command line.
        status: "unfinished", "finished" or "proof failed".
        headline: Main metric of the task.
        overrides: Keys that differ from their defaults.
        hyperparameters: Active keys and their values.
        trainer: Fields of the `Trainer`.
        plan: Execution plan of training.
        plan_milliseconds: Of a plan that was chosen by `--plan auto`: milliseconds per step of all
            plans that were timed.
        profile: Of a run with `--profile`: milliseconds of the parts of a training step, its
            "gflop", and the "peak" of this machine in GFLOP/s, see `training.profiling`.
        budget: Seconds after which training stops.
        code_sha256: SHA-256 of the pipeline's code, with that of its modules.
        modules: SHA-256 of the code of each module beside the pipeline's file, by path.
        training_sha256: SHA-256 of the same code without figures.
        contents: SHA-256 of each file that is the value of a key, such as weights, by key.
        versions: Versions of Python and of packages.
        machine: Properties of the machine that can change the last bits, or the time.
        version: Number of the run's export, the 1 of `serving/1`.
        times: Duration of each stage in seconds.
        finished: When the run was finished, in ISO 8601 with the time zone.
        problems: What was left out because it failed, a line each; the same command completes it.
        details: Facts that a task records, such as the latents of an autoencoder.
        origin: What was given to `kpipe.run`: `name`, the pipeline or an absolute path, None for an
            object in memory; `data_dir` and `corrections`, absolute paths.
        continued_from: The run that this one continues: its number of epochs and weights_sha256.
        dtype_policy: Keras' global dtype policy with which the model was built, like `callbacks`
            None in records of an older kpipe.
        callbacks: Types of the additional callbacks.
        search: Of the run of a search's best trial: "folder" and "tuner" of the search, "trial" and
            how many "trials" there were, "objective", its "value", "low" and "high" in the trial,
            and "how" the run got its weights.
        shards: Number of shards of a batch, by whatever number of devices; 0 for none.
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
    plan_milliseconds: dict[str, float] = dataclasses.field(default_factory=dict)
    profile: dict[str, Any] = dataclasses.field(default_factory=dict)
    budget: float | None = None
    code_sha256: str = ""
    modules: dict[str, str] = dataclasses.field(default_factory=dict)
    training_sha256: str = ""
    contents: dict[str, str] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    machine: dict[str, Any] = dataclasses.field(default_factory=dict)
    data: DataRecord = dataclasses.field(default_factory=DataRecord)
    target: TargetRecord | None = None
    proof: ProofRecord | None = None
    model: ModelRecord | None = None
    training: TrainingRecord | None = None
    calibration: CalibrationRecord | None = None
    weights_sha256: str | None = None
    version: int = 1
    times: dict[str, float] = dataclasses.field(default_factory=dict)
    finished: str | None = None
    problems: list[str] = dataclasses.field(default_factory=list)
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    origin: dict[str, str | None] = dataclasses.field(default_factory=dict)
    continued_from: dict[str, Any] | None = None
    dtype_policy: str | None = None
    callbacks: list[str] | None = None
    search: dict[str, Any] | None = None
    shards: int = 0

    def __repr__(self) -> str:
        options = "".join(f", {key}={value}" for key, value in self.overrides.items())
        where = f"{self.data.name} ({self.data.kind})"
        return f"Record of {self.pipeline} on {where}: {self.status}, seed={self.seed}{options}"

    def to_json(self) -> dict[str, Any]:
        """Returns the record as plain JSON values, with `details` and `data.about` merged in."""
        content = dataclasses.asdict(self)
        data = content["data"]
        content["data"] = data | data.pop("about")
        return content | content.pop("details")

    @classmethod
    def from_json(cls, content: object, path: pathlib.Path | str = "run.json") -> "Record":
        """Reads the content of a `run.json`, of this version or an older one.

        Raises:
            UserError: A value is missing or has another type, or kpipe is too old for the file.
        """
        if isinstance(content, Mapping):
            version = content.get("format_version", FORMAT_VERSION)
            if isinstance(version, int) and version > FORMAT_VERSION:
                raise UserError(
                    f"{path}: written by a newer kpipe (format {version}; expected at most "
                    f"{FORMAT_VERSION}); update kpipe"
                )
        try:
            return _read(cls, content)
        except TypeError as error:
            raise UserError(
                f"{path}: not the record of a run ({error}); run again with --fresh"
            ) from None


def read_record(path: pathlib.Path) -> Record:
    """Reads the record of a run from its `run.json`.

    Raises:
        UserError: The file is missing or damaged; the message names it.
    """
    return Record.from_json(files.read_json(path), path)


def check_files(folder: pathlib.Path, record: Record, *names: str) -> None:
    """Compares files of a finished run with its manifest.

    Raises:
        UserError: A file is missing, damaged or changed, or the manifest is missing: it is written
            last, since format 4 also after a run was begun again.
    """
    if (folder / manifest.NAME).is_file():
        manifest.check(folder, *names, remedy="run again with --fresh")
    elif record.format_version >= 4:
        raise UserError(
            f"{folder / manifest.NAME} is missing: the run was not completed, or not copied whole; "
            f"it is completed by: {record.command}"
        )


# Classes that keep unknown keys, and the field that contains them.
_OPEN = {"Record": "details", "DataRecord": "about"}


def _read(cls: type, content: object) -> Any:
    """Reads an instance of a dataclass from JSON; TypeError if a value has another type."""
    if not isinstance(content, Mapping):
        raise TypeError(f"{type(content).__name__} instead of an object")
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
    """Converts a JSON value to a type used in this module."""
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
            raise TypeError(f"true or false instead of {wanted.__name__}")
        return value
    expected = getattr(origin or wanted, "__name__", wanted)
    raise TypeError(f"{type(value).__name__} instead of {expected}")


def describe_difference(existing: Record, record: Record, key: str) -> str:
    """Describes how two records differ in a field, for an error message."""
    if key == "code_sha256":
        then, now = existing.modules, record.modules
        edited = sorted(
            name for name in then.keys() | now.keys() if then.get(name) != now.get(name)
        )
        return ": ".join(filter(None, ["the code was edited", ", ".join(edited)]))
    old, new = getattr(existing, key), getattr(record, key)
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted(n for n in old.keys() | new.keys() if old.get(n) != new.get(n))
        return ", ".join(f"{n}={old.get(n)}, now {new.get(n)}" for n in names)
    if isinstance(old, list) and isinstance(new, list):
        old, new = (", ".join(map(str, names)) or "none" for names in (old, new))
    return f"{old}, now {new}"
