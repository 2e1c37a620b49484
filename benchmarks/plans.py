"""Times the training step of every pipeline under its plan, against the step that Keras traces.

    python benchmarks/plans.py [--data-dir DIR] [--pipelines mnist_mlp,gmm] [--turns 9]

Both run in turns in one process, on the first batches of the pipeline's own data: models, batch
sizes and dropout are those that a user gets. Printed: the plan, ms a step, and how many times as
fast the plan is, with the 90 % interval of the median.
"""

import argparse
import contextlib
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from run import ratio

from kpipe import quiet

TURN = 0.4  # seconds
ROOT = pathlib.Path(__file__).resolve().parent.parent


def main() -> None:
    known = [path.stem for path in sorted((ROOT / "pipelines").glob("*.py"))]
    # The last three need a path to a user's own data.
    others = ("__init__", "run", "image_folder", "table", "text_table")
    names = [name for name in known if name not in others]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", default=None, help="folder of real data; else the samples")
    parser.add_argument("--pipelines", default=",".join(names), metavar="A,B")
    parser.add_argument("--turns", type=int, default=9)
    given = parser.parse_args()
    quiet.move_logs()
    print("| pipeline | plan | ms a step | of Keras | times as fast |\n|---|---|---|---|---|")
    for name in given.pipelines.split(","):
        print(row(name, given.data_dir, given.turns), flush=True)


def row(name: str, data_dir: str | None, turns: int) -> str:
    from kpipe.experiments.running import open_experiment
    from kpipe.training import choose_plan

    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        experiment = open_experiment(name, {}, data="auto", data_dir=data_dir, seed=0)
        data = experiment.prepare()
        batch_size = min(experiment.trainer.batch_size, len(data.train))
        model, _ = experiment.build_model(data)
        plan = choose_plan(model, len(data.train), batch_size, experiment.trainer.epochs)
        steps = {
            plan: step(model, data, plan, batch_size),
            "graph": step(experiment.build_model(data)[0], data, "graph", batch_size),
        }
    counts: dict[str, int] = {}
    seconds: dict[str, list[float]] = {}
    for which, run in steps.items():
        started = time.perf_counter()
        run(3)
        counts[which] = max(1, int(3 * TURN / (time.perf_counter() - started)))
        seconds[which] = []
        run(counts[which])
    for turn in range(turns):
        for which, run in list(steps.items())[:: 1 if turn % 2 else -1]:
            started = time.perf_counter()
            done = run(counts[which])
            seconds[which].append((time.perf_counter() - started) / done)
    found = ratio(seconds["graph"], seconds[plan])
    own, keras = (1000 * float(np.median(seconds[which])) for which in (plan, "graph"))
    interval = f"{found['median']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"
    return f"| {name}, {data.kind} | {plan} | {own:.3g} | {keras:.3g} | {interval} |"


def step(model: Any, data: Any, plan: str, batch_size: int) -> Callable[[int], int]:
    """Returns a function that runs the program so many times, and returns the number of steps."""
    import tensorflow as tf

    from kpipe.training import make_train_function
    from kpipe.training.plan import fused_steps
    from kpipe.training.steps import create_variables

    stack = fused_steps(plan, model)
    pairs = data.train.take_pairs(np.arange(stack * batch_size) % len(data.train))
    batch = [
        tf.constant(np.reshape(part, (stack, batch_size, *np.shape(part)[1:]))) for part in pairs
    ]
    create_variables(model, tuple(part[0][:1] for part in batch))
    specs = [tf.TensorSpec((None, None, *part.shape[2:]), part.dtype) for part in batch]
    train = make_train_function(model, plan, specs, batch_size)
    train(*batch)

    def run(count: int) -> int:
        for _ in range(count):
            logs = train(*batch)
        float(logs["loss"])
        return count * stack

    return run


if __name__ == "__main__":
    main()
