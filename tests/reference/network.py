"""What training must give: a feed-forward network in float64 NumPy with its own backward pass.

It shares no code with kpipe, Keras and TensorFlow. Weights are a list W_1, b_1, ..., W_L, b_L, the
kernels W (inputs, units); of a batch x (n, inputs) with one-hot labels y

    a_0 = x;  z_i = a_{i-1} W_i + b_i;  a_i = f(z_i) for i < L;  p = softmax(z_L)
    likelihood:  loss = -1/n sum y log p
    squared:     loss = 1/(2n) sum (p - y)^2
    both:        loss += l1 sum |W_i| + l2 sum W_i^2, over all kernels and no biases

Backward, with d_i for the derivative of the loss by z_i, softmax's Jacobian being diag(p) - p p':

    likelihood:  d_L = (p - y) / n
    squared:     d_L = p * (e - sum(e * p)) with e = (p - y) / n, the sum over an example's classes
    d_i = (d_{i+1} W_{i+1}') * f'(z_i)
    dW_i = a_{i-1}' d_i + l1 sign(W_i) + 2 l2 W_i;  db_i = d_i summed over the batch
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

Weights = list[np.ndarray]
Batch = tuple[np.ndarray, np.ndarray]

# Keras' leaky_relu; TensorFlow's operation holds it as float32, whatever it is given.
SLOPE = float(np.float32(0.2))
# f(z), and f'(z) from z and a = f(z); at a kink the derivative from the left.
ACTIVATIONS = {
    "relu": (lambda z: np.maximum(z, 0), lambda z, a: np.where(z > 0, 1.0, 0.0)),
    "leaky_relu": (lambda z: np.maximum(z, SLOPE * z), lambda z, a: np.where(z > 0, 1.0, SLOPE)),
    "tanh": (np.tanh, lambda z, a: 1 - a**2),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z, a: a * (1 - a)),
    "linear": (lambda z: z, lambda z, a: np.ones_like(z)),
}
LOSSES = ("likelihood", "squared")


@dataclasses.dataclass(frozen=True)
class Network:
    """The loss as a function of weights and a batch.

    Attributes:
        activation: Activation of the hidden layers, one of `ACTIVATIONS`.
        loss: One of `LOSSES`.
        l1: Factor of the kernels' absolute values.
        l2: Factor of the kernels' squares.
    """

    activation: str = "tanh"
    loss: str = "likelihood"
    l1: float = 0.0
    l2: float = 0.0

    def forward(self, weights: Weights, inputs: np.ndarray) -> tuple[Weights, Weights]:
        """z_1 to z_L, and a_0 to a_L with a_L = p."""
        function, _ = ACTIVATIONS[self.activation]
        sums, outputs = [], [np.asarray(inputs, np.float64)]
        for kernel, bias in _layers(weights):
            sums.append(outputs[-1] @ kernel + bias)
            outputs.append(function(sums[-1]))
        powers = np.exp(sums[-1] - np.max(sums[-1], axis=1, keepdims=True))
        outputs[-1] = powers / np.sum(powers, axis=1, keepdims=True)
        return sums, outputs

    def loss_and_gradients(
        self, weights: Weights, inputs: np.ndarray, labels: np.ndarray
    ) -> tuple[float, Weights]:
        """The mean loss of the batch with its penalties, and its derivative by every weight."""
        _, derivative = ACTIVATIONS[self.activation]
        sums, outputs = self.forward(weights, inputs)
        p, n = outputs[-1], len(inputs)
        y = np.eye(p.shape[1])[labels]
        if self.loss == "likelihood":
            loss = -np.sum(y * np.log(p)) / n
            d = (p - y) / n
        else:
            loss = np.sum((p - y) ** 2) / (2 * n)
            e = (p - y) / n
            d = p * (e - np.sum(e * p, axis=1, keepdims=True))
        gradients = []
        for i, (kernel, _) in reversed(list(enumerate(_layers(weights)))):
            loss += self.l1 * np.sum(np.abs(kernel)) + self.l2 * np.sum(kernel**2)
            penalty = self.l1 * np.sign(kernel) + 2 * self.l2 * kernel
            gradients = [outputs[i].T @ d + penalty, np.sum(d, axis=0), *gradients]
            if i:
                d = (d @ kernel.T) * derivative(sums[i - 1], outputs[i])
        return float(loss), gradients


def _layers(weights: Weights) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(zip(weights[::2], weights[1::2], strict=True))


# --- training ------------------------------------------------------------------------------------


@dataclasses.dataclass
class Sgd:
    """m = momentum m - rate g; w = w + m, as Keras writes it: the rate is inside the momentum."""

    momentum: float = 0.0
    velocities: Weights | None = None

    def update(self, weights: Weights, gradients: Weights, rate: float) -> Weights:
        """The weights after one step."""
        before = self.velocities or [0.0] * len(weights)
        steps = zip(before, gradients, strict=True)
        self.velocities = [self.momentum * m - rate * g for m, g in steps]
        return [w + m for w, m in zip(weights, self.velocities, strict=True)]


@dataclasses.dataclass
class Adam:
    """Adam, and AdamW where `weight_decay` is not 0; t counts the steps from 1.

    m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2. Then Kingma and Ba's Algorithm 1 has

        w = w - rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon)

    and the faster form at the end of its section 2, which is Keras', with another epsilon,

        w = w - rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon)

    so that an epsilon of the first is epsilon sqrt(1 - b2^t) of the second. Before, AdamW takes
    rate weight_decay w from kernels and not from biases, rate being the current one.

    Attributes:
        epsilon: A number, or a function of t.
        form: "paper" or "keras": the place of epsilon.
    """

    epsilon: float | Callable[[int], float] = 1e-7
    form: str = "keras"
    weight_decay: float = 0.0
    b1: float = 0.9
    b2: float = 0.999
    t: int = 0
    means: Weights | None = None
    squares: Weights | None = None

    def update(self, weights: Weights, gradients: Weights, rate: float) -> Weights:
        """The weights after one step."""
        b1, b2 = self.b1, self.b2
        zeros = [np.zeros_like(w) for w in weights]
        means, squares = self.means or zeros, self.squares or zeros
        self.t += 1
        self.means = [b1 * m + (1 - b1) * g for m, g in zip(means, gradients, strict=True)]
        self.squares = [b2 * v + (1 - b2) * g**2 for v, g in zip(squares, gradients, strict=True)]
        decays = [self.weight_decay, 0.0] * (len(weights) // 2)
        return [
            w - rate * decay * w - rate * self.direction(m, v)
            for w, decay, m, v in zip(weights, decays, self.means, self.squares, strict=True)
        ]

    def direction(self, m: np.ndarray, v: np.ndarray) -> np.ndarray:
        """What a rate of 1 takes from a weight."""
        first, second = 1 - self.b1**self.t, 1 - self.b2**self.t
        epsilon = self.epsilon(self.t) if callable(self.epsilon) else self.epsilon
        if self.form == "paper":
            return (m / first) / (np.sqrt(v / second) + epsilon)
        return math.sqrt(second) / first * m / (np.sqrt(v) + epsilon)


def exponential(rate: float, decay: float = 0.0) -> Callable[[int], float]:
    """The schedule rate exp(-decay step); without decay the rate is constant."""
    return lambda step: rate * math.exp(-decay * step)


def average(parts: Sequence[Weights], sizes: Sequence[int] | None = None) -> Weights:
    """The mean of several batches' gradients: Keras' equal one, or the one by `sizes`."""
    return [np.average(same, axis=0, weights=sizes) for same in zip(*parts, strict=True)]


def train(
    network: Network,
    optimizer: Sgd | Adam,
    rate: Callable[[int], float],
    weights: Weights,
    batches: Iterable[Batch],
    accumulate: int = 1,
) -> Iterator[tuple[float, Weights]]:
    """Loss before and weights after every batch.

    As in Keras every `accumulate` batches make one update, by the equal mean of their gradients,
    and `rate` is asked with the number of batches before, not of updates.
    """
    parts = []
    for step, (inputs, labels) in enumerate(batches):
        loss, gradients = network.loss_and_gradients(weights, inputs, labels)
        parts.append(gradients)
        if len(parts) == accumulate:
            weights = optimizer.update(weights, average(parts), rate(step))
            parts = []
        yield loss, weights
