"""Checks the gradients of a pipeline."""

import os
import pathlib
import time

import keras
import numpy as np

from . import files, gradients
from .errors import UserError
from .experiments.folders import run_folder
from .experiments.keys import parse_number
from .experiments.running import open_experiment
from .experiments.session import own_session
from .figures import style
from .figures.gradients import gradient_check
from .formatting import counted, duration


@own_session()
def check_gradients(
    name: object,
    *,
    seed: int = 0,
    data: str = "auto",
    data_dir: str | os.PathLike | None = None,
    out: str | os.PathLike = "saved_models",
    examples: int = 3,
    samples: int = 20,
    **overrides: object,
) -> gradients.GradientCheck:
    """Checks the gradient of a pipeline's loss before training; prints a table, draws a figure.

    Args:
        name: A pipeline, by name, file or itself, or your own data; see `kpipe.run`.
        seed: Random seed of the weights and of the tests.
        data: "real", "sample", or "auto": real data if found on disk, else the sample.
        data_dir: Folder of the TFDS datasets.
        out: Folder for results; NAME-gradients in it contains gradients.png and gradients.json.
        examples: Number of training examples; with more of them a step crosses more ReLU kinks.
        samples: Entries to check in each variable, see `gradients.check`.
        **overrides: Values of the pipeline's keys.

    Raises:
        UserError: An argument is wrong; the message is one line.

    Example:
        assert check_gradients("mnist_mlp", activation="tanh").passed
    """
    samples = parse_number("samples", samples, 1, 1_000_000_000, integer=True)
    experiment = open_experiment(name, overrides, data=data, data_dir=data_dir, seed=seed)
    prepared = experiment.prepare()
    examples = parse_number("examples", examples, 1, len(prepared.train), integer=True)
    model, _ = experiment.build_model(prepared)
    experiment.task.check(model, prepared)
    x, y = prepared.train.take_pairs(np.arange(examples))
    pipeline = experiment.name
    folder = run_folder(pathlib.Path(out), experiment, "-gradients")
    with files.lock(folder, wait=False):
        try:
            result = gradients.check(
                model,
                model.loss,
                x,
                y,
                samples=samples,
                seed=experiment.seed,
                progress=_RowPrinter(model),
            )
        except ValueError as error:
            raise UserError(f"{pipeline}: {' '.join(str(error).split())}") from None
        files.make_folder(folder)
        files.write_json(folder / "gradients.json", result.to_json())
        files.write_bytes(folder / "gradients.png", style.to_png(gradient_check(result, pipeline)))
    verdict = "correct for all of them"
    if all(variable.slopes[0] == "flat" for variable in result.variables):
        verdict = "0 for all of them: the loss depends on none"
    if not result.passed:
        names = [v.name for v in result.variables if v.verdict == result.verdict]
        verdict = f"{result.verdict} in {', '.join(names)}"
    count = counted(len(result.variables), "variable")
    print(
        f"the gradient of {pipeline}, {count}, is {verdict}; figure: {folder / 'gradients.png'}",
        flush=True,
    )
    return result


class _RowPrinter:
    """Prints the table of a gradient check row by row, with one estimate of the time left."""

    ESTIMATE_AFTER = 5.0  # seconds

    def __init__(self, model: keras.Model):
        variables = model.trainable_variables
        self.count, self.done, self.estimated = len(variables), 0, False
        name = max((len(variable.path) for variable in variables), default=8)
        self.widths = [name, 12, *map(len, gradients.HEADING[2:])]
        self.started = time.monotonic()

    def __call__(self, variable: gradients.VariableCheck) -> None:
        if not self.done:
            self._print(gradients.HEADING)
        self._print(variable.row())
        self.done += 1
        seconds = time.monotonic() - self.started
        left = seconds / self.done * (self.count - self.done)
        if not self.estimated and seconds > self.ESTIMATE_AFTER and left > self.ESTIMATE_AFTER:
            self.estimated = True
            print(f"{self.done} of {self.count} variables; about {duration(left)} more", flush=True)

    def _print(self, row: tuple[str, ...]) -> None:
        print("  ".join(map(str.ljust, row, self.widths)).rstrip(), flush=True)
