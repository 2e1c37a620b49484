"""Seconds of training of a pipeline's variants on the same examples, measured alternately.

    python benchmarks/variants.py imdb_sentiment architecture=simple_rnn,gru,lstm
    python benchmarks/variants.py mnist_mlp num_layers=0,1,2,3,4 --data real --data-dir DIR
    python benchmarks/variants.py cifar10_mlp optimizer=adamw,adam,sgd --examples 8192

Keys with several values give the variants, every combination one. Each round trains each variant
on the same examples once, under the plan that a run of it would take; what is reported is the
median over the rounds, as milliseconds a step, as seconds of an epoch over the whole train split,
validation not counted, and as a multiple of the first variant's.
"""

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable, Mapping

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from kpipe.experiments.experiment import Experiment
from kpipe.experiments.running import open_experiment
from kpipe.training import batches, choose_plan, make_train_function


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name")
    parser.add_argument("overrides", nargs="*", metavar="key=value,value")
    parser.add_argument("--data", default="auto")
    parser.add_argument("--data-dir")
    parser.add_argument("--examples", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_intermixed_args()
    overrides = dict(word.split("=", 1) for word in given.overrides)

    def opened(keys: Mapping[str, object]) -> Experiment:
        source = {"data": given.data, "data_dir": given.data_dir}
        return open_experiment(given.name, keys, **source, seed=0, several=True)

    choices = opened(overrides).settings.choices
    variants = {}
    for values in itertools.product(*choices.values()):
        chosen = dict(zip(choices, values, strict=True))
        name = " ".join(f"{key}={value}" for key, value in chosen.items()) or "defaults"
        variants[name] = prepare(opened(overrides | chosen), given.examples)
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(given.rounds + 1):  # the first one compiles
        for name, (train, _, _) in variants.items():
            seconds[name].append(train())
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    for name, (_, parameters, steps) in variants.items():
        print(
            f"  {name:40} {1000 * medians[name]:8.2f} ms a step "
            f"{steps * medians[name]:8.2f} s an epoch "
            f"{medians[name] / next(iter(medians.values())):6.2f} of the first's "
            f"{parameters:12,} parameters"
        )


def prepare(experiment: Experiment, examples: int) -> tuple[Callable[[], float], int, int]:
    """A function that trains a variant and gives seconds a step; parameters; steps an epoch."""
    prepared, trainer = experiment.prepare(), experiment.trainer
    split = prepared.train.at(np.arange(min(examples, len(prepared.train))))
    model, _ = experiment.build_model(prepared)
    plan = choose_plan(model, len(prepared.train), trainer.batch_size, trainer.epochs)
    stack = int(plan.removeprefix("fused:")) if plan.startswith("fused:") else 1
    schedule = batches.Schedule(len(split), trainer.batch_size, stack)
    elements = batches.training_batches(split, schedule, prepared.augmentation, 0, 0, 1)
    spec = elements.element_spec
    train_function = make_train_function(model, plan, spec, schedule.full_batch)

    def train() -> float:
        started = time.perf_counter()
        for inputs, labels in elements:
            logs = train_function(inputs, labels)
        float(logs["loss"])
        return (time.perf_counter() - started) / schedule.steps_per_epoch

    steps = batches.Schedule(len(prepared.train), trainer.batch_size, 1).steps_per_epoch
    return train, model.count_params(), steps


if __name__ == "__main__":
    main()
