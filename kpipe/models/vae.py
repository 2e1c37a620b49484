"""Variational autoencoders with continuous and discrete latents."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ..layers import (
    GumbelSoftmax,
    InformationRegularization,
    KLRegularization,
    Sampling,
    Schedule,
    kl_to_normal,
    kl_to_uniform,
    linear_capacity,
)
from .autoencoder import build_decoder, encode

# Filters of the published encoders and decoders, by image size in pixels.
JOINT_VAE_FILTERS = {32: (32, 64, 64), 64: (32, 32, 64, 64)}
JOINT_VAE_DECODER_FILTERS = {32: (32, 32), 64: (64, 32, 32)}

DISCRETE_TERMS = ("divergence", "information")  # what a discrete capacity limits

# Lead in probability of the most probable class that rounding cannot reverse.
SAFE_MARGIN = 1e-4


@dataclasses.dataclass(frozen=True)
class Latents:
    """Structure of a code: continuous values, then each discrete latent one-hot.

    Attributes:
        continuous: Number of continuous latents.
        discrete: Number of classes of each discrete latent.
        has_prior: Whether codes can be sampled, from N(0, 1) and uniformly.
    """

    continuous: int
    discrete: tuple[int, ...]
    has_prior: bool

    @property
    def size(self) -> int:
        """Number of values in a code."""
        return self.continuous + sum(self.discrete)

    def blocks(self, values: np.ndarray) -> list[np.ndarray]:
        """Splits columns into those of each discrete latent, (n, classes).

        Args:
            values: float (n, sum of classes).
        """
        return np.split(values, np.cumsum(self.discrete)[:-1], axis=1) if self.discrete else []

    def classes(self, code: np.ndarray) -> np.ndarray:
        """Returns the class of each discrete latent: int (n, discrete latents).

        Args:
            code: float (n, size).
        """
        chosen = [block.argmax(axis=1) for block in self.blocks(code[:, self.continuous :])]
        return np.stack(chosen, axis=1) if chosen else np.zeros((len(code), 0), int)

    def is_decided(self, encoded: Mapping[str, np.ndarray]) -> np.ndarray:
        """Whether the best class of every discrete latent leads by a safe margin: bool (n,).

        Args:
            encoded: Outputs of the encoder.
        """
        decided = np.ones(len(encoded["code"]), dtype=bool)
        for block in self.blocks(encoded["probabilities"]) if self.discrete else []:
            first, second = np.sort(block, axis=1)[:, -2:].T[::-1]
            decided &= first - second > SAFE_MARGIN
        return decided


def latents(model: keras.Model) -> Latents:
    """Returns the structure of an autoencoder's codes.

    Args:
        model: Model built by `autoencoder`, `vae` or `joint_vae`.

    Example:
        latents(joint_vae((32, 32, 1), 4, discrete=(10, 2))).discrete  # (10, 2)
    """
    encoded = model.get_layer("encoder").output
    discrete = [
        size
        for layer in model.layers
        if isinstance(layer, GumbelSoftmax)
        for size in [layer.output.shape[-1]] * layer.output.shape[-2]
    ]
    continuous = encoded["code"].shape[-1] - sum(discrete)
    return Latents(continuous, tuple(discrete), "z_mean" in encoded)


def vae(
    input_shape: Sequence[int],
    latent_dim: int,
    *,
    units: Sequence[int] = (256, 128, 64),
    filters: Sequence[int] = (),
    activation: str = "leaky_relu",
    beta: float = 1.0,
    warmup_steps: int = 0,
    name: str = "vae",
) -> keras.Model:
    """Builds a variational autoencoder (Kingma and Welling, 2014), dense or convolutional.

    Its loss is that of the reconstruction, an argument of `compile`, plus beta times the KL
    divergence of the code from N(0, 1), which the model adds (Higgins et al., 2017, equation 4).

    Args:
        input_shape: (height, width, channels) of the uint8 images; 0..255 becomes 0..1.
        latent_dim: Number of continuous latents.
        units: Widths of the encoder's dense layers; the decoder mirrors them.
        filters: Filters of 4x4 convolutions with stride 2 before them; empty for a dense network.
        activation: Activation of the hidden layers: any Keras name. "leaky_relu" has Keras' slope
            0.2.
        beta: Weight of the KL divergence; with 1 the loss is the bound on the likelihood.
        warmup_steps: Training steps in which this weight rises from 0 (Bowman et al., 2016).
        name: Name of the model; its parts are "encoder" and "decoder".

    Raises:
        ValueError: Height or width cannot be halved as often as there are `filters`.

    Returns:
        Uncompiled model, see `joint_vae`.

    Example:
        model = vae((28, 28, 1), 2)
        model.compile("adam", loss=losses.bernoulli)
    """
    images = keras.Input(input_shape, dtype="uint8", name="images")
    encoder = _encoder(images, encode(images, units, filters, activation), latent_dim, ())
    decoder = build_decoder(
        latent_dim,
        input_shape,
        units=tuple(reversed(units)),
        filters=filters,
        decoder_filters=tuple(reversed(filters[:-1])),
        activation=activation,
    )
    regularize = KLRegularization(beta, warmup_steps=warmup_steps, name="continuous")
    return _join(encoder, decoder, (), regularize, None, 0.67, name)


def joint_vae(
    input_shape: Sequence[int],
    continuous: int = 10,
    *,
    discrete: Sequence[int] = (10,),
    weight: float = 1.0,
    continuous_capacity: tuple[float, int] | None = None,
    discrete_capacity: tuple[float, int] | None = None,
    discrete_term: str = "divergence",
    temperature: float | Schedule = 0.67,
    name: str = "joint_vae",
) -> keras.Model:
    """Builds a JointVAE: continuous and discrete latents with rising capacities (Dupont, 2018).

    Its loss is the reconstruction's plus weight |C - KL| for continuous and for discrete latents
    (equation 7); without capacities it is plus weight KL, which without discrete latents is the
    beta-VAE of Higgins et al. (2017). Layers and constants are those of the published code.

    Args:
        input_shape: (32, 32, channels) or (64, 64, channels) of the uint8 images; 0..255 becomes
            0..1.
        continuous: Number of continuous latents, at least 1.
        discrete: Number of classes of each discrete latent, such as (10,), (40,) or (2,) * 40; ()
            for none.
        weight: gamma with capacities, beta without.
        continuous_capacity: Capacity in nats, and number of steps in which it rises from 0; None
            for no capacity.
        discrete_capacity: The same for all discrete latents together, whose KL is at most the sum
            of ln n.
        discrete_term: What the discrete capacity limits: "divergence" from the uniform
            distribution, as published, or "information", see `layers.InformationRegularization`.
        temperature: Temperature of the Gumbel-softmax: a number or a Keras schedule.
        name: Name of the model; its parts are "encoder" and "decoder".

    Raises:
        ValueError: `discrete_term` is unknown, there is no published network for the size, or too
            few latents or classes.

    Returns:
        Uncompiled model from uint8 (batch, *input_shape) to {"reconstruction": float32 (batch,
        *input_shape)}. Codes are sampled in training only. Its layer "encoder" is a model to
        `code`, float32 (batch, continuous + sum of classes), the most probable code: means, then
        each discrete latent one-hot; `z_mean` and `z_log_var` (batch, continuous); `kl` (batch,
        latents) in nats; and with discrete latents `logits` and `probabilities` (batch, sum of
        classes). Its layer "decoder" is a model from such a code.

    Example:
        model = joint_vae((32, 32, 1), 10, weight=30.0,
                          continuous_capacity=(5.0, 25_000), discrete_capacity=(5.0, 25_000))
        model.compile("adam", loss=losses.bernoulli)
    """
    height, width, _ = input_shape
    if height != width or height not in JOINT_VAE_FILTERS:
        raise ValueError(f"input_shape={tuple(input_shape)}: expected 32x32 or 64x64 pixels")
    if continuous < 1 or any(size < 2 for size in discrete):
        raise ValueError(
            f"continuous={continuous}, discrete={tuple(discrete)}: expected at least 1 continuous "
            "latent, and at least 2 classes of each discrete one"
        )
    if discrete_term not in DISCRETE_TERMS:
        known = " or ".join(DISCRETE_TERMS)
        raise ValueError(f"discrete_term={discrete_term!r}: expected {known}")
    filters = JOINT_VAE_FILTERS[height]
    images = keras.Input(input_shape, dtype="uint8", name="images")
    features = encode(images, (256,), filters, "relu")
    encoder = _encoder(images, features, continuous, discrete)
    decoder = build_decoder(
        continuous + sum(discrete),
        input_shape,
        units=(256,),
        filters=filters,
        decoder_filters=JOINT_VAE_DECODER_FILTERS[height],
        activation="relu",
    )
    capacity = linear_capacity(*continuous_capacity) if continuous_capacity else None
    regularize_continuous = KLRegularization(weight, capacity, name="continuous")
    regularize_discrete = None
    if discrete:
        limit = sum(map(math.log, discrete))
        capacity = linear_capacity(*discrete_capacity, limit=limit) if discrete_capacity else None
        options: dict[str, Any] = {"weight": weight, "capacity": capacity, "name": "discrete"}
        regularize_discrete = (
            InformationRegularization(discrete, **options)
            if discrete_term == "information"
            else KLRegularization(**options)
        )
    return _join(
        encoder, decoder, discrete, regularize_continuous, regularize_discrete, temperature, name
    )


def discrete_sizes(text: str) -> tuple[int, ...]:
    """Parses the classes of each discrete latent: "10", "40x2" for forty of two, "10+2", "none".

    Args:
        text: Numbers of classes in this format.

    Raises:
        ValueError: The text has another format.

    Example:
        discrete_sizes("10+3x2")  # (10, 2, 2, 2)
    """
    if text == "none":
        return ()
    sizes: list[int] = []
    for part in text.split("+"):
        count, times, size = part.rpartition("x")
        numbers = [size, count] if times else [size]
        if not all(n.isdecimal() and int(n) for n in numbers) or int(size) < 2:
            raise ValueError(
                f"discrete={text}: expected the classes of the discrete latents, such as 10, 40x2 "
                "(forty of two), 10+2 or none"
            )
        sizes += [int(size)] * (int(count) if times else 1)
    return tuple(sizes)


def _encoder(
    images: keras.KerasTensor,
    features: keras.KerasTensor,
    continuous: int,
    discrete: Sequence[int],
) -> keras.Model:
    """Builds the model from images to the distribution of their code and the most probable code."""

    def head(size: int, name: str) -> keras.KerasTensor:
        return keras.layers.Dense(size, dtype="float32", name=name)(features)

    z_mean, z_log_var = head(continuous, "z_mean"), head(continuous, "z_log_var")
    kl, code = [kl_to_normal(z_mean, z_log_var)], [z_mean]
    outputs: dict[str, keras.KerasTensor] = {}
    if discrete:
        logits = head(sum(discrete), "logits")
        blocks = _blocks(logits, discrete)
        kl += [kl_to_uniform(block) for block in blocks]
        # argmax takes the first of several equally probable classes.
        code += [_flat(_most_probable(block)) for block in blocks]
        probabilities = _concatenate([_flat(ops.softmax(block, axis=-1)) for block in blocks])
        outputs = {"logits": logits, "probabilities": probabilities}
    outputs |= {
        "code": _concatenate(code),
        "z_mean": z_mean,
        "z_log_var": z_log_var,
        "kl": _concatenate(kl),
    }
    return keras.Model(images, outputs, name="encoder")


def _join(
    encoder: keras.Model,
    decoder: keras.Model,
    discrete: Sequence[int],
    regularize_continuous: KLRegularization,
    regularize_discrete: KLRegularization | None,
    temperature: float | Schedule,
    name: str,
) -> keras.Model:
    """Builds the whole network: encoder, sampled code with KL penalty, decoder."""
    inputs = keras.Input(encoder.inputs[0].shape[1:], dtype="uint8", name="images")
    encoded = encoder(inputs)
    continuous, kl = encoded["z_mean"].shape[-1], encoded["kl"]
    z = Sampling(name="sampling")(encoded["z_mean"], encoded["z_log_var"])
    code = [regularize_continuous(z, kl[:, :continuous])]
    if regularize_discrete is not None:
        drawn = [
            _flat(GumbelSoftmax(temperature, name=f"gumbel_softmax_{i}")(block))
            for i, block in enumerate(_blocks(encoded["logits"], discrete))
        ]
        given = [_concatenate(drawn), kl[:, continuous:]]
        if isinstance(regularize_discrete, InformationRegularization):
            given.append(encoded["probabilities"])
        code.append(regularize_discrete(*given))
    return keras.Model(inputs, decoder(_concatenate(code)), name=name)


def _blocks(logits: keras.KerasTensor, discrete: Sequence[int]) -> list[keras.KerasTensor]:
    """Splits logits by runs of latents with equal class counts, (batch, latents, classes)."""
    blocks, start = [], 0
    for size, group in itertools.groupby(discrete):
        count = len(list(group))
        stop = start + count * size
        blocks.append(ops.reshape(logits[:, start:stop], (-1, count, size)))
        start = stop
    return blocks


def _most_probable(block: keras.KerasTensor) -> keras.KerasTensor:
    return ops.one_hot(ops.argmax(block, axis=-1), block.shape[-1], dtype=block.dtype)


def _flat(block: keras.KerasTensor) -> keras.KerasTensor:
    return ops.reshape(block, (-1, math.prod(block.shape[1:])))


def _concatenate(parts: Sequence[keras.KerasTensor]) -> keras.KerasTensor:
    return parts[0] if len(parts) == 1 else ops.concatenate(parts, axis=-1)
