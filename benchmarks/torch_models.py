"""The same networks in PyTorch, with the weights of the Keras models."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import torch
from torch import nn
from torch.nn import functional
from workloads import EPSILON

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # of a batch


class Network(nn.Module):
    """A network with the loss of a batch.

    Args:
        weights: Weights of the Keras model, in its order.
    """

    def __init__(self, weights: Iterator[Any]):
        super().__init__()
        self.weights = weights

    def loss(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(self(inputs), targets)

    def dense(self, bias: bool = True) -> nn.Linear:
        kernel = self._next()
        layer = nn.Linear(*kernel.shape, bias=bias)
        return _set(layer, kernel.T, self._next() if bias else None)

    def convolution(
        self, bias: bool = True, stride: int = 1, transposed: bool = False
    ) -> nn.Module:
        kernel = self._next()  # (height, width, in, out), transposed (..., out, in)
        size, padding = kernel.shape[0], (kernel.shape[0] - 1) // 2
        kind = nn.ConvTranspose2d if transposed else nn.Conv2d
        a, b = kernel.shape[2:]
        inner, outer = (b, a) if transposed else (a, b)
        layer = kind(inner, outer, size, stride=stride, padding=padding, bias=bias)
        order = (3, 2, 0, 1)
        return _set(layer, kernel.permute(order), self._next() if bias else None)

    def _next(self) -> torch.Tensor:
        return torch.from_numpy(next(self.weights).copy())


def _set(layer: Any, weight: torch.Tensor, bias: torch.Tensor | None) -> Any:
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


class Mlp(Network):
    def __init__(self, weights: Iterator[Any], layers: int, activation: nn.Module, scaled: bool):
        super().__init__(weights)
        self.scaled, parts = scaled, []
        for _ in range(layers):
            parts += [self.dense(), activation]
        self.layers = nn.Sequential(*parts, self.dense())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        x = inputs.flatten(1)
        return self.layers(x.float() / 255 if self.scaled else x)


class Cnn(Network):
    def __init__(self, weights: Iterator[Any], batch_norm: bool):
        super().__init__(weights)
        parts: list[nn.Module] = []
        for i in range(8):
            parts.append(self.convolution(bias=not batch_norm))
            if batch_norm:
                gamma, beta, *_ = (self._next() for _ in range(4))
                parts.append(_set(nn.BatchNorm2d(len(gamma), eps=1e-3, momentum=0.1), gamma, beta))
            if i % 2:
                parts.append(nn.MaxPool2d(2))
            parts.append(nn.ReLU())
        self.layers, self.average = nn.Sequential(*parts), batch_norm
        self.head = self.dense()
        self.to(memory_format=torch.channels_last)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        x = self.layers(inputs.permute(0, 3, 1, 2).float() / 127.5 - 1)
        x = x.permute(0, 2, 3, 1)  # Keras' order
        return self.head(x.mean((1, 2)) if self.average else x.flatten(1))


class Lstm(Network):
    def __init__(self, weights: Iterator[Any]):
        super().__init__(weights)
        self.embedding = nn.Embedding.from_pretrained(self._next(), freeze=False)
        kernel, recurrent, bias = (self._next() for _ in range(3))
        self.lstm = nn.LSTM(len(kernel), len(recurrent), batch_first=True)
        with torch.no_grad():
            self.lstm.weight_ih_l0.copy_(kernel.T)
            self.lstm.weight_hh_l0.copy_(recurrent.T)
            self.lstm.bias_ih_l0.copy_(bias)
            self.lstm.bias_hh_l0.zero_()
        self.lstm.bias_hh_l0.requires_grad_(False)  # Keras has one bias
        self.head = self.dense()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(self.embedding(inputs))[0][:, -1])


class Transformer(Network):
    heads = 4

    def __init__(self, weights: Iterator[Any]):
        super().__init__(weights)
        self.embedding = nn.Embedding.from_pretrained(self._next(), freeze=False)
        self.positions = nn.Embedding.from_pretrained(self._next(), freeze=False)
        width = self.embedding.embedding_dim
        self.norm_1 = self._norm()
        query, key, value = ([self._next(), self._next()] for _ in range(3))
        self.attention = nn.MultiheadAttention(width, self.heads, batch_first=True)
        out = [self._next(), self._next()]
        with torch.no_grad():
            kernels = [kernel.reshape(width, width).T for kernel, _ in (query, key, value)]
            self.attention.in_proj_weight.copy_(torch.cat(kernels))
            biases = [bias.reshape(width) for _, bias in (query, key, value)]
            self.attention.in_proj_bias.copy_(torch.cat(biases))
            self.attention.out_proj.weight.copy_(out[0].reshape(width, width).T)
            self.attention.out_proj.bias.copy_(out[1])
        self.norm_2 = self._norm()
        self.feedforward = nn.Sequential(self.dense(), nn.ReLU(), self.dense())
        self.norm_3 = self._norm()
        self.head = self.dense()

    def _norm(self) -> nn.LayerNorm:
        gamma, beta = self._next(), self._next()
        return _set(nn.LayerNorm(len(gamma), eps=1e-6), gamma, beta)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        x = self.embedding(inputs) + self.positions(torch.arange(inputs.shape[1]))
        y = self.norm_1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.feedforward(self.norm_2(x))
        return self.head(self.norm_3(x).mean(1))


class Autoencoder(Network):
    def __init__(self, weights: Iterator[Any]):
        super().__init__(weights)
        slope, parts = nn.LeakyReLU(0.2), []
        for i in range(9):
            parts += [self.dense(), nn.Identity() if i == 4 else slope]
        self.layers = nn.Sequential(*parts[:-1], nn.Sigmoid())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layers(inputs.flatten(1).float() / 255)

    def loss(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return functional.mse_loss(self(inputs), targets.flatten(1).float() / 255)


class JointVae(Network):
    """Dupont (2018), as in `kpipe.models.joint_vae`; `noise` can be left out for comparison."""

    noise = True
    step = 0

    def __init__(self, weights: Iterator[Any]):
        super().__init__(weights)
        parts: list[nn.Module] = []
        for _ in range(4):
            parts += [self.convolution(stride=2), nn.ReLU()]
        self.convolutions, self.features = nn.Sequential(*parts), self.dense()
        self.logits, self.mean, self.log_var = self.dense(), self.dense(), self.dense()
        parts = [self.dense(), nn.ReLU(), self.dense(), nn.ReLU()]
        self.dense_part, parts = nn.Sequential(*parts), []
        for _ in range(4):
            parts += [self.convolution(stride=2, transposed=True), nn.ReLU()]
        self.decoder = nn.Sequential(*parts[:-1])
        self.to(memory_format=torch.channels_last)

    def loss(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        images = inputs.permute(0, 3, 1, 2).float() / 255
        x = self.convolutions(images).permute(0, 2, 3, 1).flatten(1)
        x = functional.relu(self.features(x))
        mean, log_var, logits = self.mean(x), self.log_var(x), self.logits(x)
        z, c = mean, logits
        if self.noise:
            z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
            c = logits - torch.log(-torch.log(torch.rand_like(logits).clamp_min(1e-7)))
        c = torch.softmax(c / 0.67, -1)
        x = self.dense_part(torch.cat([z, c], -1)).reshape(len(images), 4, 4, 64)
        pixels = self.decoder(x.permute(0, 3, 1, 2))
        error = functional.binary_cross_entropy_with_logits(pixels, images, reduction="none")
        reconstruction = error.mean(1).sum((1, 2)).mean()
        kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).mean(0).sum()
        logs = torch.log_softmax(logits, -1)
        entropy = -(logs.exp() * logs).sum(-1).mean()
        kl_discrete = torch.log(torch.tensor(10.0)) - entropy
        self.step += 1
        rise = min(self.step / 100_000, 1)
        limit = min(10.0 * rise, float(torch.log(torch.tensor(10.0))))
        return reconstruction + 100 * ((30 * rise - kl).abs() + (limit - kl_discrete).abs())


NETWORKS: dict[str, Callable[[Iterator[Any]], Network]] = {
    "gmm": lambda weights: Mlp(weights, 2, nn.Tanh(), scaled=False),
    "mnist": lambda weights: Mlp(weights, 2, nn.ReLU(), scaled=True),
    "cnn": lambda weights: Cnn(weights, batch_norm=False),
    "cnn_normalized": lambda weights: Cnn(weights, batch_norm=True),
    "lstm": Lstm,
    "transformer": Transformer,
    "autoencoder": Autoencoder,
    "joint_vae": JointVae,
}


def network(name: str, model: keras.Model) -> Network:
    """Builds the network of a workload with the weights of its Keras model."""
    weights = [weight for weight in model.weights if not weight.path.endswith("/step")]
    return NETWORKS[name](iter([weight.numpy() for weight in weights]))


def optimizer(name: str, network: Network) -> torch.optim.Optimizer:
    """Builds the optimizer of a workload, with the settings of the Keras model."""
    if name == "gmm":
        return torch.optim.SGD(network.parameters(), lr=0.1)
    if name.startswith("cnn"):
        parameters = dict(network.named_parameters())
        groups = [
            {"params": [p for p in parameters.values() if p.dim() > 1], "weight_decay": 0.05},
            {"params": [p for p in parameters.values() if p.dim() <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=1e-3, eps=EPSILON)
    rate = 5e-4 if name == "joint_vae" else 1e-3
    return torch.optim.Adam(network.parameters(), lr=rate, eps=EPSILON)
