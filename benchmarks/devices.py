"""Data-parallel training: time of a step and equality, for shards and processes on this machine.

Each line is a process group of its own: one process with undivided steps, one process with all
shards, and as many processes as shards. All have the same number of threads in total, as far as
it can be divided.

    python benchmarks/devices.py [--shards 2] [--steps 60]
"""

import argparse
import json
import os
import subprocess
import sys
import time

BUILDERS = ("mlp", "cnn")


def main() -> None:
    """Prints a table, a row for each network and number of processes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--rank", type=str, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rank:
        _train(given, json.loads(given.rank))
        return
    print("| network | processes | shards | ms/step | weights |")
    print("|---|---|---|---|---|")
    for name in BUILDERS:
        for processes, shards in ((1, 0), (1, given.shards), (given.shards, given.shards)):
            rows = _group(given, name, processes, shards)
            print(
                f"| {name} | {processes} | {shards or 'undivided'} | {rows[0]['ms']:.1f} | "
                f"{', '.join(sorted({row['sha256'][:10] for row in rows}))} |",
                flush=True,
            )


def _group(given: argparse.Namespace, name: str, processes: int, shards: int) -> list[dict]:
    ports = [23100 + (os.getpid() + i) % 800 for i in range(processes)]
    about = {"name": name, "shards": shards}
    about["addresses"] = [f"127.0.0.1:{port}" for port in ports] if processes > 1 else []
    options = ["--steps", str(given.steps), "--batch-size", str(given.batch_size)]
    started = []
    for rank in range(processes):
        word = json.dumps({**about, "rank": rank})
        command = [sys.executable, __file__, *options, "--rank", word]
        started.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        )
    return [json.loads(each.communicate()[0].splitlines()[-1]) for each in started]


def _train(given: argparse.Namespace, about: dict) -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras
    import numpy as np
    import tensorflow as tf

    from kpipe import environment, models
    from kpipe.training import Devices, make_train_function, weights_sha256
    from kpipe.training.shards import make_sharded_train_function

    environment.fix_threads(max(1, about["shards"]))
    devices = Devices(max(1, about["shards"]), about["rank"], about["addresses"])
    devices.connect()
    keras.utils.set_random_seed(0)
    build = models.mlp if about["name"] == "mlp" else models.cnn
    model = build((28, 28, 1), 10, dropout=0.2)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    size, random = given.batch_size, np.random.default_rng(0)
    x = tf.constant(random.integers(0, 256, (1, size, 28, 28, 1), np.uint8))
    y = tf.constant(random.integers(0, 10, (1, size), np.int32))
    model.test_on_batch(x[0, :1], y[0, :1])
    model.reset_metrics()
    model.optimizer.build(model.trainable_variables)
    spec = [tf.TensorSpec((1, None, *part.shape[2:]), part.dtype) for part in (x, y)]
    step = (
        make_sharded_train_function(model, devices, spec, size)
        if about["shards"]
        else make_train_function(model, "graph", spec, size)
    )
    times = []
    for _ in range(given.steps):
        started = time.perf_counter()
        float(step(x, y)["loss"])
        times.append(time.perf_counter() - started)
    devices.leave()
    median = float(np.median(times[5:]))
    print(json.dumps({"ms": 1000 * median, "sha256": weights_sha256(model)}))


if __name__ == "__main__":
    main()
