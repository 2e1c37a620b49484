"""Seconds per training step of imdb_sentiment's five architectures on the same reviews, in turns.

    python benchmarks/text_architectures.py [--data-dir DIR] [--examples N] [--rounds N]

Each round trains each architecture on the same batches once; what is reported is the median over
the rounds, and its ratio to the bidirectional LSTM.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras_tuner
import numpy as np

from kpipe import batches, catalogue, data, pipeline
from kpipe.loop import make_train_function

BATCH_SIZE = 64


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir")
    parser.add_argument("--examples", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    module = pipeline.load_module(catalogue.find("imdb_sentiment"))
    dataset = module.load_data(keras_tuner.HyperParameters())
    prepared = data.prepare(dataset, dataset.find("auto", given.data_dir))
    split = prepared.train.at(np.arange(min(given.examples, len(prepared.train))))
    schedule = batches.Schedule(len(split), BATCH_SIZE)
    models, functions = {}, {}
    for name in module.ARCHITECTURES:
        hp = keras_tuner.HyperParameters()
        hp.values["architecture"] = name
        models[name] = module.build_model(hp)
        functions[name] = make_train_function(models[name], 1)
    seconds = {name: [] for name in functions}
    for _ in range(given.rounds + 1):  # the first one compiles
        for name, train in functions.items():
            epoch = batches.training_batches(split, schedule, prepared.augmentation, 0, 0, 1)
            started = time.perf_counter()
            for inputs, labels in epoch:
                logs = train(inputs, labels)
            float(logs["loss"])
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    print(f"{dataset.name}, {len(split):,} texts, up to {prepared.sequence_length} tokens")
    for name, median in medians.items():
        print(
            f"  {name:20} {1000 * median / schedule.steps_per_epoch:7.1f} ms a step  "
            f"{median / medians['bidirectional_lstm']:5.2f} of the bidirectional LSTM's  "
            f"{models[name].count_params():,} parameters"
        )


if __name__ == "__main__":
    main()
