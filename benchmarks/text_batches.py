"""Seconds per epoch of a recurrent network on texts, by batching method, measured alternately.

    python benchmarks/text_batches.py [--data-dir DIR] [--examples N] [--rounds N]

Contenders: every batch padded to the length of all; batches in random order, padded to their own
longest; and kpipe's pools of like length. Each round runs each contender once; what is reported is
the median over the rounds, its ratio to the first, and how many places of the batches are padding.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from kpipe import data, datasets, models
from kpipe.training import batches, make_train_function

BATCH_SIZE = 64


def contenders(prepared: data.Data) -> dict[str, tf.data.Dataset]:
    """The batches of an epoch, all made by a tf.data pipeline that gathers rows."""
    split = prepared.train
    schedule = batches.Schedule(len(split), BATCH_SIZE)
    order = tf.constant(np.random.default_rng(0).permutation(len(split)))
    starts = tf.data.Dataset.range(0, len(split), BATCH_SIZE)

    def by_chance(trim: bool) -> tf.data.Dataset:
        def read(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            inputs, labels = split.gather(order[start : start + BATCH_SIZE], trim)
            return inputs[None], labels[None]

        return starts.map(read, num_parallel_calls=2).prefetch(2)

    return {
        "all padded alike": by_chance(trim=False),
        "random, own longest": by_chance(trim=True),
        "pools of like length": batches.training_batches(
            split, schedule, prepared.augmentation, 0, 0, 1
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir")
    parser.add_argument("--examples", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    for dataset in (datasets.imdb_reviews(), datasets.ag_news(), datasets.tweet_emotions()):
        prepared = data.prepare(dataset, dataset.find("auto", given.data_dir))
        some = prepared.train.at(np.arange(min(given.examples, len(prepared.train))))
        prepared.splits["train"] = some
        model = models.recurrent(len(prepared.label_names), embedding_dim=64, bidirectional=True)
        model.compile("adam", "sparse_categorical_crossentropy")
        made = contenders(prepared)
        spec = made["pools of like length"].element_spec
        train = make_train_function(model, "graph", spec, BATCH_SIZE)
        seconds: dict[str, list[float]] = {name: [] for name in made}
        for _ in range(given.rounds + 1):  # the first one compiles
            for name, epoch in made.items():
                started = time.perf_counter()
                for inputs, labels in epoch:
                    logs = train(inputs, labels)
                float(logs["loss"])
                seconds[name].append(time.perf_counter() - started)
        print(f"{dataset.name}, {len(some):,} texts, up to {prepared.sequence_length} tokens")
        first = statistics.median(seconds["all padded alike"][1:])
        for name, epoch in made.items():
            places = sum(int(np.size(inputs)) for inputs, _ in epoch)
            assert some.column.lengths is not None  # of texts
            words = int(np.minimum(some.column.lengths[some.rows], prepared.sequence_length).sum())
            median = statistics.median(seconds[name][1:])
            print(
                f"  {name:22} {median:7.2f} s  {first / median:5.2f} times as fast  "
                f"{100 * (1 - words / places):4.1f} % padding"
            )


if __name__ == "__main__":
    main()
