"""Seconds per training step of the mnist_mlp network, measured alternately.

    python benchmarks/training_speed.py [--rounds N]

Contenders: `Model.fit` on NumPy arrays and on a shuffled tf.data pipeline, kpipe's graph and fused
plans, and PyTorch where it is installed. Each round runs each contender once; what is reported is
the median over the rounds and its ratio to `Model.fit` on arrays. The images are random: speed does
not depend on what they show.
"""

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from kpipe import models
from kpipe.data import Split
from kpipe.datasets import Augmentation
from kpipe.inputs import ImageInput, Rows
from kpipe.training import Schedule, make_train_function, training_batches

BATCH_SIZE, STEPS = 128, 160
EXAMPLES = BATCH_SIZE * STEPS
Epoch = Callable[[], object]  # trains for an epoch


def keras_model() -> keras.Model:
    model = models.mlp((28, 28, 1), 10, dropout=0.3)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def keras_fit(images: np.ndarray, labels: np.ndarray) -> Epoch:
    model = keras_model()
    return lambda: model.fit(images, labels, batch_size=BATCH_SIZE, verbose=0)


def keras_fit_dataset(images: np.ndarray, labels: np.ndarray) -> Epoch:
    model = keras_model()
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    dataset = dataset.shuffle(EXAMPLES).batch(BATCH_SIZE).prefetch(2)
    return lambda: model.fit(dataset, verbose=0, shuffle=False)


def kpipe_plan(stack: int) -> Callable[[np.ndarray, np.ndarray], Epoch]:
    def contender(images: np.ndarray, labels: np.ndarray) -> Epoch:
        model = keras_model()
        model.optimizer.build(model.trainable_variables)
        model.test_on_batch(images[:1], labels[:1])
        split = Split(Rows(images), labels, np.arange(EXAMPLES), ImageInput((28, 28, 1)))
        schedule = Schedule(EXAMPLES, BATCH_SIZE, stack)
        batches = training_batches(split, schedule, Augmentation(), 0, 0, epochs=1)
        train = make_train_function(model, stack, batches.element_spec, BATCH_SIZE)

        def epoch() -> None:
            for batch in batches:
                logs = train(*batch)
            float(logs["loss"])

        return epoch

    return contender


def torch_loop(images: np.ndarray, labels: np.ndarray) -> Epoch:
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    sizes = [784, 900, 450]
    layers = [torch.nn.Flatten()]
    for a, b in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(a, b), torch.nn.ReLU(), torch.nn.Dropout(0.3)]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(450, 10))
    optimizer = torch.optim.Adam(model.parameters())
    images, labels = torch.from_numpy(images), torch.from_numpy(labels).long()

    def epoch() -> None:
        for rows in torch.randperm(EXAMPLES).split(BATCH_SIZE):
            optimizer.zero_grad()
            scores = model(images[rows].float() / 255)
            torch.nn.functional.cross_entropy(scores, labels[rows]).backward()
            optimizer.step()

    return epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (EXAMPLES, 28, 28, 1), dtype=np.uint8)
    labels = random.randint(0, 10, EXAMPLES).astype(np.int32)
    contenders = {
        "Model.fit, arrays": keras_fit,
        "Model.fit, tf.data": keras_fit_dataset,
        "kpipe graph": kpipe_plan(1),
        "kpipe fused:8": kpipe_plan(8),
    }
    try:
        import torch  # noqa: F401

        contenders["PyTorch"] = torch_loop
    except ImportError:
        print("PyTorch is not installed and left out")
    epochs = {name: contender(images, labels) for name, contender in contenders.items()}
    seconds: dict[str, list[float]] = {name: [] for name in epochs}
    for epoch in epochs.values():  # compiles
        epoch()
    for _ in range(rounds):
        for name, epoch in epochs.items():
            started = time.perf_counter()
            epoch()
            seconds[name].append(time.perf_counter() - started)
    first = seconds["Model.fit, arrays"]
    for name, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(first, times, strict=True))
        step = 1000 * statistics.median(times) / STEPS
        print(f"{name:20} {step:7.2f} ms a step, {ratio:5.2f} times as fast as Model.fit on arrays")


if __name__ == "__main__":
    main()
