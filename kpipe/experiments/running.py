"""Runs a pipeline by its name: finds it, applies overrides, finds the data."""

import os
import pathlib
import textwrap
from collections.abc import Mapping, Sequence

import keras

from .. import environment
from ..datasets import Dataset, Source
from ..errors import UserError
from ..runs import Run
from . import catalogue, keys, modules
from .execution import Execution
from .experiment import Experiment, callers_dtype_policy
from .folders import exclusive, run_folder, set_aside


@callers_dtype_policy()
def run(
    name: str,
    *,
    seed: int = 0,
    data: str = "auto",
    data_dir: str | os.PathLike | None = None,
    out: str | os.PathLike = "saved_models",
    plan: str | None = None,
    budget: float | None = None,
    fresh: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **overrides: object,
) -> Run:
    """Trains, evaluates, exports and proves a pipeline, or resumes or reports its run.

    Args:
        name: Of a bundled pipeline, or a path to a file of your own.
        seed: Of the weights, the order of the examples, augmentation, dropout and the val split.
        data: "real", "sample", or "auto": real if it is on the disk.
        data_dir: TFDS' data folder.
        out: The run's folder is made in it.
        plan: "graph" or "fused:K"; by default a fixed rule, see `training.choose_plan`.
        budget: Seconds after which training stops.
        fresh: Train anew; an existing run is kept under another name.
        callbacks: More Keras callbacks. A resumed run does not know what they remembered.
        **overrides: Values of the pipeline's keys.

    Returns:
        The finished run: `run.model`, `run.history`, `run.metrics`.

    Raises:
        UserError: Something given is wrong; one line says what.
        RunError: The run failed, or its export differs from the trained model.

    Example:
        run = kpipe.run("mnist_mlp", learning_rate=3e-3)
    """
    experiment = open_experiment(
        name, overrides, data=data, data_dir=data_dir, seed=seed, plan=plan, budget=budget
    )
    options = {"plan": plan, "budget": budget and f"{budget:g}s"}
    folder = run_folder(
        pathlib.Path(out),
        experiment.name,
        experiment.source.kind,
        seed,
        experiment.settings.overrides,
        options,
    )
    with exclusive(folder):
        if fresh:
            set_aside(folder)
        return Execution(experiment, folder, callbacks).run()


def open_experiment(
    name: str,
    overrides: Mapping[str, object],
    *,
    data: str,
    data_dir: str | os.PathLike | None,
    seed: int,
    plan: str | None = None,
    budget: float | None = None,
    several: bool = False,
) -> Experiment:
    """A pipeline with its keys resolved and its data found; a banner says what they are.

    `several` allows a key several values, for a search; everything else is as in `run`.

    Raises:
        UserError: Something given is wrong; one line says what.
    """
    _check_plan(plan)
    environment.check_keras()
    environment.fix_threads()
    module, policy = modules.load(catalogue.find(name))
    found = None
    if data != "real":  # what may be downloaded waits until all keys are known to be right
        found = keys.load_dataset(module, overrides).find(data, data_dir)
    sample = found is not None and found.kind == "sample"
    settings = keys.resolve(module, overrides, sample=sample)
    if settings.choices and not several:
        key, values = next(iter(settings.choices.items()))
        raise UserError(f"{key}={','.join(map(str, values))}: several values need --search")
    if found is None or sample:  # a sample's defaults can change what is drawn
        found = settings.dataset.find(data, data_dir)
    _show_banner(name, settings.dataset, found)
    return Experiment(
        module=module,
        settings=settings,
        dataset=settings.dataset,
        source=found,
        seed=seed,
        plan=plan,
        budget=budget,
        dtype_policy=policy,
    )


def _check_plan(plan: str | None) -> None:
    """Refuses anything but "graph" and "fused:K"."""
    if plan in (None, "graph"):
        return
    count = plan.removeprefix("fused:")
    if not plan.startswith("fused:") or not count.isdigit() or not 2 <= int(count) <= 64:
        raise UserError(f"--plan {plan}: expected graph, or fused:K with K from 2 to 64")


def _show_banner(name: str, dataset: Dataset, source: Source) -> None:
    """Says what the data are, unmissably if they are not the official ones."""
    if source.kind == "real" and source.official:
        print(f"data: {source.description}", flush=True)
        return
    if source.kind == "sample":
        text = (
            f"SAMPLE DATA, not {dataset.name}: {source.description}. The numbers show that the "
            "code runs, and nothing about the real data.\n"
            f"For those: kpipe run {name} --data real"
            f"{', or ' * bool(dataset.manual_help)}{dataset.manual_help}"
        )
    else:
        text = (
            f"NOT THE OFFICIAL DATA: {source.description}, of other sizes than {dataset.name}'s. "
            "Results cannot be compared with published ones."
        )
    lines = [line for part in text.split("\n") for line in textwrap.wrap(part, 88)]
    print("\n".join(["=" * 88, *lines, "=" * 88]), flush=True)
