"""Runs a pipeline by its name: finds it, applies overrides, finds the data."""

import importlib.util
import os
import pathlib
import textwrap
import traceback
import types
from collections.abc import Mapping

from .. import environment
from ..errors import UserError
from ..experiments import catalogue
from ..experiments import keys as hyperparameters
from .execution import Execution
from .runs import Run, exclusive, run_folder, set_aside


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
    **overrides,
) -> Run:
    """Trains, evaluates, exports and proves a pipeline, or resumes or reports its run.

    Args:
        name: Of a bundled pipeline, or a path to a file of your own.
        seed: Of the weights, the order of the examples, augmentation, dropout and the val split.
        data: "real", "sample", or "auto": real if it is on the disk.
        data_dir: TFDS' data folder.
        out: The run's folder is made in it.
        plan: "graph" or "fused:K" in place of the fixed rule.
        budget: Seconds of training after which it stops.
        fresh: Train anew; a folder that stands there is kept under another name.
        **overrides: Values of the pipeline's keys.

    Raises:
        UserError: Something given is wrong; one line says what.
        RunError: Training or proof failed; what was reached is kept.

    Example:
        run = kpipe.run("mnist_mlp", learning_rate=3e-3)
        run.metrics["accuracy"]
    """
    check_plan(plan)
    settings, dataset, source = open_pipeline(name, data, data_dir, overrides)
    options = {"budget": budget and f"{budget:g}s", "plan": plan}
    pipeline = settings.module.__name__
    folder = run_folder(pathlib.Path(out), pipeline, source.kind, settings, seed, options)
    with exclusive(folder):
        if fresh:
            set_aside(folder)
        return Execution(settings, dataset, source, seed, plan, budget, folder).run()


def open_pipeline(
    name: str,
    data: str,
    data_dir: str | os.PathLike | None,
    overrides: Mapping[str, object],
    *,
    several: bool = False,
) -> tuple:
    """A pipeline's settings, its dataset and where that comes from, which a banner tells.

    `several` allows a key several values, for a search; everything else is as in `run`.

    Raises:
        UserError: Something given is wrong; one line says what.
    """
    environment.check_keras()
    environment.fix_threads()
    module = load_module(catalogue.find(name))
    settings = hyperparameters.resolve(module, overrides)
    if settings.choices and not several:
        key, values = next(iter(settings.choices.items()))
        raise UserError(f"{key}={','.join(map(str, values))}: several values need --search")
    dataset = module.load_data(settings.hp)
    source = dataset.find(data, data_dir)
    if source.kind == "sample":
        settings = hyperparameters.for_sample(settings, overrides)
        dataset = module.load_data(settings.hp)
        source = dataset.find(data, data_dir)
    show_banner(name, dataset, source)
    return settings, dataset, source


def load_module(path: pathlib.Path) -> types.ModuleType:
    """Imports a pipeline file under its own name.

    Raises:
        UserError: It cannot be imported or lacks a function; file and line are named.
    """
    catalogue.read(path)  # a syntax error is told with its line
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        line = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"{line.filename}:{line.lineno}: {type(error).__name__}: {error}; mend the pipeline"
        ) from error
    for function in ("load_data", "build_model", "build_trainer"):
        if not callable(getattr(module, function, None)):
            raise UserError(f"{path}: has no {function}(hp); a pipeline needs it")
    return module


def check_plan(plan: str | None) -> None:
    """Refuses anything but "graph" and "fused:K"."""
    if plan in (None, "graph"):
        return
    count = plan.removeprefix("fused:")
    if not plan.startswith("fused:") or not count.isdigit() or not 2 <= int(count) <= 64:
        raise UserError(f"--plan {plan}: expected graph, or fused:K with K from 2 to 64")


def show_banner(name: str, dataset, source) -> None:
    """Says what the data are, unmissably if they are not the official ones."""
    if source.kind == "real" and source.official:
        print(f"data: {source.description}", flush=True)
        return
    if source.kind == "sample":
        text = (
            f"SAMPLE DATA, not {dataset.name}: {source.description}. The numbers say that the code "
            "runs, and nothing about the real data.\n"
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
