"""Runs a pipeline: finds its file, applies overrides, finds the data."""

import dataclasses
import os
import pathlib
import textwrap
import types
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras

from .. import environment, files
from ..datasets import Dataset, Source
from ..datasets.corrections import Corrections, read_corrections
from ..errors import UserError, resumable
from ..formatting import counted
from ..records import Run
from ..report import look_lines
from ..training import check_plan
from . import keys, modules, objects, own
from .continuing import arguments_of, open_continuation
from .describing import real_data_command
from .execution import Execution
from .experiment import Experiment
from .folders import run_folder, starting_over
from .launching import connected, tell
from .session import own_session

if TYPE_CHECKING:
    import pandas

PRECISIONS = ("float32", "mixed_bfloat16")


@resumable()
@own_session()
def run(
    name: "str | os.PathLike | pandas.DataFrame | types.ModuleType | object" = None,
    *,
    seed: int = 0,
    data: str = "auto",
    data_dir: str | os.PathLike | None = None,
    out: str | os.PathLike = "saved_models",
    plan: str | None = None,
    budget: float | None = None,
    fresh: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    corrections: str | os.PathLike | None = None,
    continue_from: str | os.PathLike | None = None,
    devices: int | str | None = None,
    shards: int | None = None,
    hosts: Sequence[str] = (),
    precision: str | None = None,
    profile: bool = False,
    **overrides: object,
) -> Run:
    """Trains, evaluates, exports and verifies a pipeline; resumes or reports an existing run.

    Args:
        name: Name of a bundled pipeline, or path to your own file; or your own data: a folder with
            one folder of images per class, a file with texts or a table, or a pandas DataFrame; or
            a pipeline itself, as in a notebook: a module, or an object or a dict with `task`,
            `load_data`, `build_model`, `build_trainer` and perhaps `name`.
        seed: Random seed of weights, example order, augmentation, dropout and the val split.
        data: "real", "sample", or "auto": real data if found on disk, else the sample.
        data_dir: Folder of the TFDS datasets.
        out: Folder for results, in which the run's folder is created.
        plan: "graph", "kernels" or "fused:K", or "auto" for the fastest of them on the first
            batches; by default a fixed rule, see `training.choose_plan`.
        budget: Seconds after which training stops.
        fresh: Whether to start over; an existing run is renamed and kept.
        callbacks: Additional Keras callbacks. A resumed run restores only the state named in
            `training.callbacks.STATE`. An existing run with callbacks of other types is refused.
        corrections: A suspects.csv of `kpipe.check_labels` with correct labels filled in, which
            train and val get instead of theirs.
        continue_from: Folder of a finished run, which is continued up to `epochs` in a folder of
            its own, from the exact state in which it ended. Pipeline, data, seed, plan and keys are
            its own; `name` is only needed for what was in memory. `patience` may be larger.
        devices: Number of processes, or "all" for one a GPU, that divide every batch among
            themselves; each has the bits of any other number with the same `shards`.
        shards: Number of parts of a batch; by default the number of devices of all hosts.
        hosts: HOST or HOST:PORT of every machine, this one first; on each other one the command is
            `kpipe run ... --hosts A,B --host-index 1`.
        precision: "float32" or "mixed_bfloat16", Keras' dtype policy of the layers; by default
            that of the pipeline, which is float32 unless it sets another. The exported model
            computes in float32.
        profile: Whether to measure first where the time of a training step goes, see
            `training.profiling.profile`, with a trace for TensorBoard in the run's logs.
        **overrides: Values of the pipeline's keys.

    Returns:
        The finished run: `run.model`, `run.history`, `run.metrics`.

    Raises:
        UserError: An argument is wrong; the message is one line.
        RunError: The run failed, or its export differs from the trained model.

    Example:
        run = kpipe.run("mnist_mlp", learning_rate=3e-3)
        run = kpipe.run("houses.csv", target="price")
        run = kpipe.run(continue_from="saved_models/mnist_mlp", epochs=60)
    """
    continued = None if continue_from is None else open_continuation(continue_from)
    given: dict[str, Any] = {"name": name, "overrides": overrides, "seed": seed, "data": data}
    given |= {"data_dir": data_dir, "plan": plan, "corrections": corrections}
    given |= {"precision": precision}
    if continued:
        again = arguments_of(continued.record, continued.folder, name)
        given = again | {"overrides": again["overrides"] | overrides}
        given["data_dir"] = data_dir or again["data_dir"]
        shards = given["shards"] or None if shards is None else shards
    if (devices or hosts) and (callbacks or not isinstance(given["name"], (str, os.PathLike))):
        raise UserError(
            "devices: other processes cannot have callbacks or what is in memory; expected the "
            "name of a pipeline or a path"
        )
    if profile and (devices or shards or hosts):
        raise UserError("--profile measures undivided steps; leave out devices, shards and hosts")
    with connected(devices, shards, hosts) as group:
        given |= {"budget": budget, "shards": group.shards if group else 0}
        experiment = open_experiment(**given)
        if continued:
            continued.check(experiment, callbacks)
        epochs, count = continued and continued.epochs, experiment.shards or None
        folder = run_folder(pathlib.Path(out), experiment, continued=epochs, shards=count)
        with files.lock(folder, wait=False), starting_over(folder) as set_aside:
            return Execution(
                experiment,
                folder,
                callbacks,
                set_aside if fresh else None,
                continued,
                group,
                lambda record: tell(group, {**given, **_found(experiment)}, record),
                profile,
            ).run()


def _found(experiment: Experiment) -> dict[str, Any]:
    """Returns what an experiment has that was not given, or is this process' own."""
    kind = experiment.source.kind
    data = kind if kind in ("real", "sample") else "auto"
    return {"data": data, "dtype_policy": experiment.dtype_policy}


def open_experiment(
    name: object,
    overrides: Mapping[str, object],
    *,
    data: str,
    data_dir: str | os.PathLike | None,
    seed: int,
    plan: str | None = None,
    budget: float | None = None,
    several: bool = False,
    corrections: str | os.PathLike | None = None,
    dtype_policy: str | None = None,
    precision: str | None = None,
    shards: int = 0,
) -> Experiment:
    """Resolves a pipeline's keys, finds its data, and prints a banner that describes the data.

    `shards` is 0 for undivided steps, `several` allows several values per key, for a search, and
    `dtype_policy` is Keras' global one, if not that of the caller; all others are those of `run`.

    Raises:
        UserError: An argument is wrong; the message is one line.
    """
    if plan is not None:
        check_plan(plan, several)
    if precision not in (None, *PRECISIONS):
        raise UserError(f"precision {precision}: expected {' or '.join(PRECISIONS)}")
    seed = keys.parse_number("seed", seed, 0, 2**31 - 1, integer=True)
    if budget is not None:
        budget = keys.parse_number("budget", budget, 0.001, 1e9, integer=False)
    corrected = None if corrections is None else read_corrections(corrections)
    environment.check_keras()
    environment.fix_threads(shards or 1)
    if dtype_policy is not None:
        keras.config.set_dtype_policy(dtype_policy)
    if objects.is_pipeline(name):
        module, policy = objects.load(name)
    else:
        pipeline = own.find(name, overrides)
        if pipeline.data is not None and (data != "auto" or data_dir is not None):
            option = f"--data {data}" if data != "auto" else f"--data-dir {data_dir}"
            raise UserError(f"{option} is for bundled datasets; {pipeline.name} is your own data")
        module, policy = modules.load(*pipeline)
    found = None
    if data != "real":  # a download starts only after all keys are checked
        found = keys.load_dataset(module, overrides).find(data, data_dir)
    sample = found is not None and found.kind == "sample"
    settings = keys.resolve(module, overrides, sample=sample)
    modules.choose_task(module, settings.dataset)
    modules.check_target(module, settings.dataset.label_names)
    if settings.choices and not several:
        key, values = next(iter(settings.choices.items()))
        raise UserError(
            f"{key}={','.join(map(str, values))}: several values need --search or --compare"
        )
    if found is None or sample:  # a sample's defaults can change the generated data
        found = settings.dataset.find(data, data_dir)
    _show_banner(real_data_command(module), settings.dataset, found)
    if corrected is not None:
        settings, found = _with_corrections(module.task, settings, found, corrected)
    return Experiment(
        module=module,
        settings=settings,
        source=found,
        seed=seed,
        plan=plan,
        budget=budget,
        dtype_policy=precision or policy,
        precision=precision,
        data_dir=data_dir,
        shards=shards,
    )


def vary(experiment: Experiment, overrides: Mapping[str, object], seed: int) -> Experiment:
    """Returns an experiment with other values of its keys, such as those of a trial, and seed.

    Args:
        experiment: The experiment.
        overrides: All values that differ from the defaults, not only the other ones.
        seed: The seed.

    Raises:
        UserError: The values do not go together, or the data that they choose are not found.
    """
    kind = experiment.source.kind
    settings = keys.resolve(experiment.module, overrides, sample=kind == "sample")
    # A key can choose the source, so that each trial finds its own.
    found = settings.dataset.find(kind, experiment.data_dir)
    return dataclasses.replace(experiment, settings=settings, source=found, seed=seed)


def _with_corrections(
    task: str, settings: keys.Settings, source: Source, corrections: Corrections
) -> tuple[keys.Settings, Source]:
    """Returns settings and source with corrected labels, and says how many."""
    if task != "classification":
        raise UserError(f"--corrections is for classes; the task is {task}")
    count = counted(len(corrections.rows), "label")
    print(f"corrected: {count} of train and val, by {corrections.path}", flush=True)
    dataset = dataclasses.replace(settings.dataset, corrections=corrections)
    description = f"{source.description}, {count} corrected by {corrections.path.name}"
    source = dataclasses.replace(source, description=description)
    return dataclasses.replace(settings, dataset=dataset), source


def _show_banner(get_real: str, dataset: Dataset, source: Source) -> None:
    """Prints a description of the data, in a box if they are not the official ones."""
    if source.look is not None:
        print("\n".join(look_lines(source.look)), flush=True)
        return
    if source.kind == "own" or (source.kind == "real" and source.official):
        print(f"data: {source.description}", flush=True)
        return
    if source.kind == "sample":
        text = (
            f"SAMPLE DATA, not {dataset.name}: {source.description}. The numbers show that the "
            "code runs; they say nothing about the real data.\n"
            f"For real data: {get_real}"
            f"{', or ' * bool(dataset.manual_help)}{dataset.manual_help}"
        )
    else:
        text = (
            f"NOT THE OFFICIAL DATA: {source.description}, whose sizes differ from those of "
            f"{dataset.name}. Results cannot be compared with published ones."
        )
    lines = [line for part in text.split("\n") for line in textwrap.wrap(part, 88)]
    print("\n".join(["=" * 88, *lines, "=" * 88]), flush=True)
