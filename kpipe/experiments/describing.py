"""Descriptions for the record of a run: the experiment, and its model."""

import dataclasses
import os
import pathlib
import types
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from .. import environment, files, tasks
from ..data import Data, Split
from ..errors import UserError
from ..measures.dead_units import dead_units
from ..measures.verdict import Target, verdict
from ..records import (
    DataRecord,
    LayerRecord,
    Metrics,
    ModelRecord,
    Record,
    TargetRecord,
    describe_difference,
)
from ..training import leaf_layers
from . import catalogue, objects
from .experiment import Experiment

# Fields that must be equal for an existing run to be resumed or, if finished, reported.
IDENTITY = (
    *("pipeline", "hyperparameters", "trainer", "seed", "shards"),
    *("code_sha256", "continued_from"),
)
# The same, of which records of an older kpipe do not say anything.
LATER = ("dtype_policy", "callbacks")
# Properties of a machine that can change the last bits of a training.
BITS = ("processor", "gpus", "intra_op_threads", "inter_op_threads", "onednn", "deterministic_ops")


def new_record(
    experiment: Experiment,
    function: str = "run",
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **options: object,
) -> Record:
    """Returns the record of what begins now: a run, or what another function of kpipe does.

    `options` are those of the function that a run has not, or that mean something else there.
    """
    entry = objects.entry(experiment.module)
    added = callback_names(callbacks)
    dataset, source = experiment.dataset, experiment.source
    return Record(
        pipeline=experiment.name,
        task=tasks.name_of(experiment.task),
        title=entry.title,
        command=environment.command() or _call(experiment, function, added, options),
        headline=experiment.task.HEADLINE,
        overrides=experiment.settings.overrides,
        hyperparameters=experiment.hyperparameters,
        trainer=experiment.trainer.settings(),
        seed=experiment.seed,
        budget=experiment.budget,
        code_sha256=entry.code_sha256,
        modules=entry.modules,
        training_sha256=entry.training_sha256,
        contents=_contents(experiment),
        versions=environment.versions(),
        machine=environment.machine(),
        data=DataRecord(
            name=dataset.name,
            kind=source.kind,
            official=source.official,
            description=source.description,
            label_names=tuple(dataset.label_names),
            get_real="" if source.kind == "own" else real_data_command(experiment.module),
        ),
        origin=_origin(experiment),
        dtype_policy=experiment.dtype_policy,
        callbacks=added,
        shards=experiment.shards,
    )


def callback_names(callbacks: Sequence[keras.callbacks.Callback]) -> list[str]:
    """Returns the types of a caller's callbacks, without those that kpipe adds itself."""
    kinds = [type(callback) for callback in callbacks]
    return [kind.__name__ for kind in kinds if not kind.__module__.startswith("kpipe.")]


def _contents(experiment: Experiment) -> dict[str, str]:
    """Returns the hashes of the files that keys name; of a run's folder it is that of its model."""
    found = {}
    for key, value in experiment.hyperparameters.items():
        if isinstance(value, str) and value:
            path = os.path.expanduser(value)
            for file in (path, os.path.join(path, "model.keras")):
                if os.path.isfile(file):  # False for any text
                    found[key] = files.sha256(pathlib.Path(file))
    return found


def _origin(experiment: Experiment) -> dict[str, str | None]:
    """Returns what the experiment can be opened with again, wherever the caller is then."""
    module, corrections = experiment.module, experiment.dataset.corrections
    given = getattr(module, "path", None)
    if given is None or module.__name__ in catalogue.names():
        given = getattr(module, "__file__", None)
    name = None  # of what was in memory: a DataFrame, or an object
    if isinstance(given, (str, pathlib.Path)):
        bundled = pathlib.Path(given).parent == catalogue.folder()
        name = module.__name__ if bundled else os.path.abspath(given)
    return {
        "name": name,
        "data_dir": os.path.abspath(experiment.data_dir) if experiment.data_dir else None,
        "corrections": os.path.abspath(corrections.path) if corrections else None,
    }


def arguments(experiment: Experiment, overrides: Mapping[str, object]) -> dict[str, Any]:
    """Returns the arguments with which another process opens the same experiment.

    Raises:
        UserError: It is of an object in memory.
    """
    origin = _origin(experiment)
    if origin["name"] is None:
        raise UserError(
            f"{experiment.name} is in memory, where other processes cannot read it; write it to a "
            "file, or leave out jobs and cluster"
        )
    kind = experiment.source.kind
    return {
        "name": origin["name"],
        "overrides": dict(overrides),
        "data": kind if kind in ("real", "sample") else "auto",
        "data_dir": origin["data_dir"],
        "seed": experiment.seed,
        "plan": experiment.plan,
        "dtype_policy": experiment.dtype_policy,
        "several": True,
    }


def _call(
    experiment: Experiment, function: str, callbacks: Sequence[str], more: dict[str, object]
) -> str:
    """Writes the call of a function of kpipe, as it is recorded outside the command line."""
    settings = experiment.settings
    several = {key: ",".join(map(str, values)) for key, values in settings.choices.items()}
    options: dict[str, object]
    options = {"seed": experiment.seed, "plan": experiment.plan, "budget": experiment.budget}
    options["data"] = "sample" if experiment.source.kind == "sample" else None
    options |= {"shards": experiment.shards, "precision": experiment.precision}
    corrections = experiment.dataset.corrections
    options["corrections"] = str(corrections.path) if corrections else None
    given = {**settings.overrides, **several, **{k: v for k, v in (options | more).items() if v}}
    said = "".join(f", {key}={value!r}" for key, value in given.items())
    if callbacks:
        said += f", callbacks=[{', '.join(f'{name}(...)' for name in callbacks)}]"
    return f"kpipe.{function}({_argument(experiment.module)}{said})"


def _argument(module: types.ModuleType) -> str:
    """Writes the first argument of `kpipe.run`; what is in memory only has the name of its runs."""
    path = getattr(module, "path", None)
    if path is not None and module.__name__ not in catalogue.names():
        return repr(str(path)) if isinstance(path, (str, pathlib.Path)) else module.__name__
    file = getattr(module, "__file__", None)
    if file is None:
        return module.__name__
    bundled = pathlib.Path(file).parent == catalogue.folder()
    return repr(module.__name__ if bundled else str(file))


def real_data_command(module: types.ModuleType) -> str:
    """Writes how a pipeline is run on real data: a command if it has a file, else a call."""
    if hasattr(module, "__file__"):
        return f"kpipe run {pathlib.Path(str(module.__file__)).stem} --data real"
    return f'kpipe.run({module.__name__}, data="real")'


NAMED = {"code_sha256": "code", "trainer": "trainer settings"}  # fields, in a message

# What can be done instead of going on with a run.
ELSE = "--fresh starts over and keeps it, --out DIR uses another folder"


def check_same(path: pathlib.Path, existing: Record, record: Record, hint: str = ELSE) -> None:
    """Refuses to resume or report an existing run, or search, with other settings, code or data.

    Args:
        path: File of the existing record.
        existing: The existing record.
        record: The record with the current settings; without a fingerprint, data are not compared.
        hint: What can be done instead.

    Raises:
        UserError: They differ; the message says in what.
    """
    what = f"{path.parent} contains a {path.stem}"
    unknown = [key for key in LATER if getattr(existing, key) is None]
    for key in (*IDENTITY, *LATER):
        if key not in unknown and getattr(existing, key) != getattr(record, key):
            difference = describe_difference(existing, record, key)
            raise UserError(f"{what} with different {NAMED.get(key, key)}: {difference}; {hint}")
    for key in existing.contents.keys() & record.contents.keys():  # a file may be deleted later
        if existing.contents[key] != record.contents[key]:
            value = record.hyperparameters[key]
            raise UserError(f"{what} with another content of {key}={value}: {hint}")
    then, now = existing.data.fingerprint, record.data.fingerprint
    if then and now and then != now:
        raise UserError(
            f"{what} on different data (fingerprint {then[:12]}, now {now[:12]}); {hint}"
        )


def check_same_bits(path: pathlib.Path, existing: Record, record: Record, hint: str = ELSE) -> None:
    """Refuses to go on with a training under other versions, threads or plan.

    Other properties of the machine, such as the number of its processors, change only times.

    Raises:
        UserError: They differ; the message says in what, and how to go on.
    """
    pairs: list[tuple[str, Any, Any]]
    pairs = [(k, existing.versions.get(k), now) for k, now in record.versions.items()]
    machine = {k: v for k, v in existing.machine.items() if v or "threads" not in k}  # 0: unknown
    pairs += [(key, machine.get(key), record.machine.get(key)) for key in BITS]
    pairs += [("plan", existing.plan, record.plan or existing.plan)]
    different = [
        f"{name} {then}, now {now}" for name, then, now in pairs if then not in (None, now)
    ]
    if different:
        raise UserError(
            f"{path.parent} was begun with {'; '.join(different)}: going on would give other last "
            "bits; use what it was begun with (TF_NUM_INTRAOP_THREADS and TF_NUM_INTEROP_THREADS "
            f"set threads); {hint}"
        )


def model_record(model: keras.Model, train: Split | None = None) -> ModelRecord:
    """Describes a model: its layers, from input to output, and how their parameters are counted.

    Args:
        model: The model.
        train: What it was trained on, once it was, for its dead units.
    """
    trainable = sum(weight.shape.num_elements() or 1 for weight in model.trainable_weights)
    return ModelRecord(
        name=model.name,
        parameters=model.count_params(),
        trainable_parameters=int(trainable),
        layers=[
            LayerRecord(
                name=layer.name,
                type=type(layer).__name__,
                output_shape=_output_shape(layer),
                parameters=layer.count_params(),
                formula=_formula(layer),
            )
            for layer in leaf_layers(model)
        ],
        dead_units=dead_units(model, train) if train else {},
    )


def target_record(target: Target, metrics: Metrics, data: Data) -> TargetRecord | None:
    """Compares a metric with its target; None, with a line, if this variant has no such metric."""
    if target.metric not in metrics:
        print(f"this variant has no {target.metric}: the target does not apply", flush=True)
        return None
    metric = metrics[target.metric]
    known: dict[str, Any] = dataclasses.asdict(target)
    known |= {key: metric[key] for key in ("value", "low", "high")}
    return TargetRecord(**known, verdict=verdict(target, metric, data.kind, data.official))


def _formula(layer: keras.Layer) -> str:
    """Writes how a layer's parameters are counted: "3 × 3 × 3 × 32 + 32", kernel and bias."""
    return " + ".join(" × ".join(map(str, weight.shape)) for weight in layer.weights)


def _output_shape(layer: keras.Layer) -> list:
    output = getattr(layer, "output", None) if layer._inbound_nodes else None
    return list(output.shape) if isinstance(output, keras.KerasTensor) else []
