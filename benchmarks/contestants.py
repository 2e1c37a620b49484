"""The contestants: each trains a workload in a process of its own, an epoch at a time."""

import contextlib
import math
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

CHECKED_STEPS = 5
Run = Callable[[], None]  # trains for an epoch


def serve(connection: Connection, name: str, workload: str) -> None:
    """Answers "losses" with running means of the first losses; or trains, as `Turns` is told."""
    try:
        contestant = CONTESTANTS[name]
        if connection.recv() == "losses":
            connection.send(contestant.losses(workload))
            return
        contestant(workload, Turns(connection)).run()
    except EOFError:  # the end
        pass


class Turns:
    """Waits for its turn, before an epoch, and reports its seconds at the end of the last."""

    def __init__(self, connection: Connection):
        self.connection, self.left = connection, 0
        self.began = 0.0

    def next_epoch(self) -> None:
        if self.left:
            self.left -= 1
            if self.left:
                return
            seconds = time.perf_counter() - self.began
            self.connection.send((seconds, _peak()))
        self.left = self.connection.recv()
        self.began = time.perf_counter()


def _peak() -> int:
    """Returns the largest resident memory in bytes; getrusage's includes that of the parent."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


class Keras:
    """Plain Keras as a good user writes it: cached, shuffled, batched and prefetched."""

    def __init__(self, workload: str, turns: Turns):
        import keras
        from workloads import WORKLOADS

        self.workload, self.turns = WORKLOADS[workload], turns
        self.model, self.data = self.workload.model(), self.workload.data()
        self.callback = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: turns.next_epoch()
        )

    def run(self) -> None:
        import tensorflow as tf

        examples = len(self.data[0])
        dataset = tf.data.Dataset.from_tensor_slices(self.data).cache().shuffle(examples)
        dataset = dataset.batch(self.workload.batch_size).prefetch(tf.data.AUTOTUNE)
        options = {"verbose": 0, "shuffle": False, "callbacks": [self.callback]}
        self.model.fit(dataset, epochs=1_000_000, **options)

    @staticmethod
    def losses(workload: str) -> list[float]:
        model, batches = _first(workload)
        with _without_noise():
            found = [model.train_on_batch(*batch, return_dict=True)["loss"] for batch in batches]
        return running(found)


class Kpipe(Keras):
    """kpipe's Trainer, with the plan that its rule chooses."""

    def run(self) -> None:
        from kpipe import Trainer
        from kpipe.data import Data, Split
        from kpipe.datasets import Augmentation
        from kpipe.inputs import ImageInput, InputTargets, LabelTargets, Rows
        from kpipe.inputs.arrays import ArrayInput

        inputs, targets = self.data
        shape = inputs.shape[1:]
        images = inputs.dtype == np.uint8
        split = Split(
            Rows(inputs),
            np.zeros(len(inputs), np.int32) if targets is inputs else targets,
            np.arange(len(inputs)),
            ImageInput(shape) if images else ArrayInput(shape, str(inputs.dtype)),
            InputTargets() if targets is inputs else LabelTargets(),
        )
        data = Data("random", "own", False, "", "", (), shape, Augmentation(), {"train": split})
        trainer = Trainer(
            epochs=1_000_000, batch_size=self.workload.batch_size, monitor="loss", patience=0
        )
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            trainer.fit(self.model, data, callbacks=[self.callback])

    @staticmethod
    def losses(workload: str) -> list[float]:
        import tensorflow as tf

        from kpipe.training import choose_plan, make_train_function

        model, batches = _first(workload)
        with _without_noise():
            model.optimizer.build(model.trainable_variables)
            model.test_on_batch(*(part[:1] for part in batches[0]))
            model.reset_metrics()
            size = len(batches[0][0])
            plan = choose_plan(model, 100 * size, size, epochs=1_000)
            stack = CHECKED_STEPS if plan.startswith("fused") else 1
            plan = f"fused:{stack}" if stack > 1 else plan
            spec = [tf.TensorSpec((None, None, *part.shape[1:]), part.dtype) for part in batches[0]]
            train, found = make_train_function(model, plan, spec, size), []
            for start in range(0, CHECKED_STEPS, stack):
                parts = zip(*batches[start : start + stack], strict=True)
                batch = [tf.constant(np.stack(part)) for part in parts]
                found.append(float(train(*batch)["loss"]))
            return found  # running means


class Torch:
    """A PyTorch loop."""

    def __init__(self, workload: str, turns: Turns):
        import torch
        from torch_models import network, optimizer
        from workloads import WORKLOADS

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.turns, self.batch_size = turns, WORKLOADS[workload].batch_size
        self.network = network(workload, WORKLOADS[workload].model())
        self.optimizer = optimizer(workload, self.network)
        inputs, targets = WORKLOADS[workload].data()
        self.inputs = torch.from_numpy(inputs)
        self.targets = self.inputs if targets is inputs else torch.from_numpy(targets).long()

    def run(self) -> None:
        import torch

        while True:
            self.turns.next_epoch()
            for rows in torch.randperm(len(self.inputs)).split(self.batch_size):
                self.step(self.inputs[rows], self.targets[rows])

    def step(self, inputs: Any, targets: Any) -> Any:
        self.optimizer.zero_grad()
        loss = self.network.loss(inputs, targets)
        loss.backward()
        self.optimizer.step()
        return loss

    @staticmethod
    def losses(workload: str) -> list[float]:
        import torch
        from workloads import EPSILON

        found = Torch(workload, Turns(None))  # type: ignore[arg-type]
        found.network.noise = False
        _, batches = _first(workload)
        losses = []
        for step, (inputs, targets) in enumerate(batches, start=1):
            for group in found.optimizer.param_groups:  # Keras divides it, too, by this root
                group["eps"] = EPSILON / math.sqrt(1 - 0.999**step)
            a = torch.from_numpy(inputs)
            b = a if targets is inputs else torch.from_numpy(targets).long()
            losses.append(found.step(a, b).item())
        return running(losses)


class NumPy:
    """The small network in NumPy: products, tanh and their derivatives, written out."""

    def __init__(self, workload: str, turns: Turns):
        from workloads import WORKLOADS

        self.turns, self.batch_size = turns, WORKLOADS[workload].batch_size
        weights = [weight.numpy() for weight in WORKLOADS[workload].model().weights]
        self.kernels, self.biases = weights[::2], weights[1::2]
        self.inputs, self.targets = WORKLOADS[workload].data()

    def run(self) -> None:
        random = np.random.RandomState(0)
        while True:
            self.turns.next_epoch()
            order = random.permutation(len(self.inputs))
            for start in range(0, len(order), self.batch_size):
                rows = order[start : start + self.batch_size]
                self.step(self.inputs[rows], self.targets[rows])

    def step(self, x: np.ndarray, labels: np.ndarray) -> float:
        rate = np.float32(0.1)
        kernels, biases, rows = self.kernels, self.biases, np.arange(len(x))
        hidden = [x]
        for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True):
            hidden.append(np.tanh(hidden[-1] @ kernel + bias))
        scores = hidden[-1] @ kernels[-1] + biases[-1]
        scores -= scores.max(1, keepdims=True)
        gradient = np.exp(scores)
        gradient /= gradient.sum(1, keepdims=True)
        loss = -np.log(gradient[rows, labels]).mean()
        gradient[rows, labels] -= 1
        gradient /= np.float32(len(x))
        for i in reversed(range(len(kernels))):
            inputs = hidden[i]
            before = gradient @ kernels[i].T * (1 - inputs * inputs) if i else None
            kernels[i] -= rate * (inputs.T @ gradient)
            biases[i] -= rate * gradient.sum(0)
            gradient = before
        return float(loss)

    @staticmethod
    def losses(workload: str) -> list[float]:
        found = NumPy(workload, Turns(None))  # type: ignore[arg-type]
        return running([found.step(*batch) for batch in _first(workload)[1]])


CONTESTANTS: dict[str, Any] = {"kpipe": Kpipe, "keras": Keras, "torch": Torch, "numpy": NumPy}


def running(losses: list[float]) -> list[float]:
    """Returns the means of the losses so far, which Keras shows."""
    return [float(np.mean(losses[: i + 1])) for i in range(len(losses))]


def _first(workload: str) -> tuple:
    """Returns the model, and the first batches, which all contestants get in the same order."""
    from workloads import WORKLOADS

    found = WORKLOADS[workload]
    inputs, targets = found.data(found.batch_size * CHECKED_STEPS)
    cuts = [slice(i * found.batch_size, (i + 1) * found.batch_size) for i in range(CHECKED_STEPS)]
    if targets is inputs:
        parts = [inputs[cut] for cut in cuts]
        return found.model(), [(part, part) for part in parts]
    return found.model(), [(inputs[cut], targets[cut]) for cut in cuts]


@contextlib.contextmanager
def _without_noise() -> Iterator[None]:
    """Replaces the draws of variational layers by constants, of which each code is its mean."""
    import keras

    def zeros(shape: Any, *args: Any, **options: Any) -> Any:
        return keras.ops.zeros(shape)

    def halves(shape: Any, *args: Any, **options: Any) -> Any:
        return keras.ops.full(shape, 0.5)

    with mock.patch("keras.random.normal", zeros), mock.patch("keras.random.uniform", halves):
        yield
