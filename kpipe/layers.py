"""Layers of variational autoencoders; they depend on Keras only.

Their loss terms are in nats per example, averaged over the batch. None needs a custom training
step: `KLRegularization` adds its term with `add_loss` and counts steps in a weight, which is saved
and restored like any other.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

Schedule = keras.optimizers.schedules.LearningRateSchedule
Tensor = Any  # a symbolic tensor, or one of any backend: Keras has no common type
Shape = Sequence[Any]  # of ints, None where a size is not known yet
_register = keras.saving.register_keras_serializable("kpipe")


def kl_to_normal(z_mean: Tensor, z_log_var: Tensor) -> Tensor:
    """KL divergence of N(mean, variance) from N(0, 1), in nats for each latent.

    Kingma and Welling (2014), appendix B: (mean^2 + variance - 1 - ln variance) / 2.

    Args:
        z_mean: float (..., latents).
        z_log_var: float (..., latents), natural logarithm of the variance.

    Returns:
        float (..., latents), at least 0.

    Example:
        kl_to_normal(np.array([1.0]), np.array([0.0]))  # [0.5]
    """
    return 0.5 * (ops.square(z_mean) + ops.exp(z_log_var) - 1.0 - z_log_var)


def kl_to_uniform(logits: Tensor) -> Tensor:
    """KL divergence of a categorical distribution from the uniform one, in nats.

    ln n minus the entropy: 0 where all n classes are equally likely, ln n where one is certain.
    Dupont (2018), section 3: it bounds the capacity of a discrete latent.

    Args:
        logits: float (..., n), logarithms of the probabilities up to a constant.

    Returns:
        float (...), from 0 to ln n.

    Example:
        kl_to_uniform(np.array([0.0, -100.0]))  # equals np.log(2)
    """
    log_probabilities = ops.log_softmax(logits, axis=-1)
    entropy = -ops.sum(ops.exp(log_probabilities) * log_probabilities, axis=-1)
    return ops.log(ops.cast(logits.shape[-1], logits.dtype)) - entropy


def linear_capacity(maximum: float, steps: float, limit: float | None = None) -> Schedule:
    """Returns a capacity that rises linearly from 0 to `maximum` within `steps`, then stays there.

    Dupont (2018), equation 7. It is Keras' `PolynomialDecay`, upwards.

    Args:
        maximum: The final capacity in nats.
        steps: Batches until it is reached.
        limit: Capacity in nats at which the rise stops: the KL of n classes is at most ln n.

    Example:
        linear_capacity(5.0, 25_000)(12_500)  # 2.5
    """
    end = maximum if limit is None else min(maximum, limit)
    steps = steps * end / maximum if maximum else steps
    return keras.optimizers.schedules.PolynomialDecay(0.0, steps, end_learning_rate=end)


@_register
class Sampling(keras.layers.Layer):
    """Draws from N(mean, variance) in training, and returns the mean at inference.

    The draw is mean + deviation * noise, so that gradients pass: Kingma and Welling (2014),
    section 2.4.

    Args:
        seed: Seed of the noise; by default it follows `keras.utils.set_random_seed`.
        options: Keras' layer options, such as `name` and `dtype`.

    Example:
        z = Sampling()(z_mean, z_log_var)  # both (batch, latents)
    """

    def __init__(self, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, z_mean: Tensor, z_log_var: Tensor, training: bool = False) -> Tensor:
        if not training:
            return z_mean
        noise = keras.random.normal(ops.shape(z_mean), dtype=z_mean.dtype, seed=self.seed_generator)
        return z_mean + ops.exp(0.5 * z_log_var) * noise

    def compute_output_shape(self, z_mean_shape: Shape, z_log_var_shape: Shape) -> Shape:
        return z_mean_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


class _Stepwise(keras.layers.Layer):
    """A layer with a value that follows a schedule over the training steps."""

    def build_step(self) -> None:
        # A weight, so that checkpoints contain it.
        self.step = self.add_weight(
            name="step", shape=(), dtype="int64", initializer="zeros", trainable=False
        )

    def at_step(self, value: float | Schedule, training: bool, dtype: str) -> Tensor:
        """Returns a number as it is, or a schedule's value at this step; the first step is 1."""
        if not isinstance(value, Schedule):
            return ops.cast(value, dtype)
        if training:
            self.step.assign_add(1)
        return ops.cast(value(self.step), dtype)


@_register
class GumbelSoftmax(_Stepwise):
    """Draws from a categorical distribution in training, as nearly one-hot as gradients allow.

    softmax((logits + g) / temperature) with Gumbel noise g: Jang et al. (2017), equation 2;
    Maddison et al. (2017). At inference it is the one-hot vector of the most probable class.

    Args:
        temperature: Above 0, a number or a Keras schedule over the training steps; the nearer to 0,
            the nearer to one-hot.
        seed: Seed of the noise; by default it follows `keras.utils.set_random_seed`.
        options: Keras' layer options, such as `name` and `dtype`.

    Raises:
        ValueError: The temperature is not above 0.

    Example:
        c = GumbelSoftmax(temperature=0.67)(logits)  # (batch, latents, classes)
    """

    def __init__(
        self, temperature: float | Schedule = 0.67, seed: int | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.temperature = _from_config(temperature)
        if not isinstance(self.temperature, Schedule) and not self.temperature > 0:
            raise ValueError(f"temperature={temperature!r}: expected a number above 0")
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, logits_shape: Shape) -> None:
        self.build_step()

    def call(self, logits: Tensor, training: bool = False) -> Tensor:
        if not training:
            return ops.one_hot(ops.argmax(logits, axis=-1), logits.shape[-1], dtype=logits.dtype)
        # Above 0, whose logarithm is infinite.
        drawn = keras.random.uniform(
            ops.shape(logits), minval=1e-7, dtype=logits.dtype, seed=self.seed_generator
        )
        noise = -ops.log(-ops.log(drawn))
        temperature = self.at_step(self.temperature, training, logits.dtype)
        # Softmax ignores the constant up to which logits are known.
        return ops.softmax((logits + noise) / temperature, axis=-1)

    def compute_output_shape(self, logits_shape: Shape) -> Shape:
        return logits_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "temperature": _to_config(self.temperature),
            "seed": self.seed,
        }


@_register
class KLRegularization(_Stepwise):
    """Returns a code unchanged, and adds the KL divergence of its latents to the loss.

    Without a capacity it adds weight * KL, beta of Higgins et al. (2017, equation 4); with one,
    weight * |C - KL|: Burgess et al. (2018, equation 8), Dupont (2018, equation 7). KL is the sum
    over the latents of the mean over the batch.

    Its metrics, in nats, are named after the layer: `NAME_kl`, `NAME_kl/0` and so on for each
    latent, and with a capacity `NAME_capacity`.

    Args:
        weight: beta or gamma, at least 0.
        capacity: Capacity in nats: a number, a Keras schedule over the training steps, or None.
        warmup_steps: Training steps in which the weight rises linearly to `weight` (Bowman et al.,
            2016); at inference it is always the whole. 0 for none.
        options: Keras' layer options, such as `name` and `dtype`.

    Raises:
        ValueError: `warmup_steps` is negative.

    Example:
        z = KLRegularization(weight=4.0, name="continuous")(z, kl_to_normal(z_mean, z_log_var))
    """

    def __init__(
        self,
        weight: float = 1.0,
        capacity: float | Schedule | None = None,
        warmup_steps: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps={warmup_steps}: expected 0 or more")
        self.weight, self.warmup_steps = weight, warmup_steps
        self.capacity = None if capacity is None else _from_config(capacity)

    def build(self, code_shape: Shape, kl_shape: Shape) -> None:
        self.build_step()
        self.divergence = Divergence(self.name, kl_shape[-1], self.capacity is not None)

    def call(self, code: Tensor, kl: Tensor, training: bool = False) -> Tensor:
        self._penalize(ops.sum(ops.mean(kl, axis=0)), kl, training)
        return code

    def _penalize(self, nats: Tensor, kl: Tensor, training: bool) -> None:
        """Adds weight * nats, or weight * |C - nats|, and counts the divergence."""
        weight, capacity = self.weight, None
        if self.capacity is not None:
            capacity = self.at_step(self.capacity, training, kl.dtype)
        if self.warmup_steps and training:
            if not isinstance(self.capacity, Schedule):  # which has counted the step
                self.step.assign_add(1)
            share = ops.cast(self.step, kl.dtype) / self.warmup_steps
            weight = weight * ops.minimum(share, 1.0)
        self.add_loss(weight * (nats if capacity is None else ops.abs(capacity - nats)))
        self.divergence.update_state(kl, capacity)

    def compute_output_shape(self, code_shape: Shape, kl_shape: Shape) -> Shape:
        return code_shape

    def get_config(self) -> dict[str, Any]:
        config = {
            **super().get_config(),
            "weight": self.weight,
            "capacity": None if self.capacity is None else _to_config(self.capacity),
        }
        return {**config, "warmup_steps": self.warmup_steps} if self.warmup_steps else config


@_register
class InformationRegularization(KLRegularization):
    """Drives the information of discrete latents to the capacity, instead of their divergence.

    The divergence from the uniform distribution is information plus the divergence of the mean:
    E[KL(q(c|x) || u)] = I(x; c) + KL(E[q(c|x)] || u) (Hoffman and Johnson, 2016). A latent that has
    the same certain class for every image reaches any capacity with the second term alone. This
    layer adds weight * |C - I|, of which such a latent gets nothing. It is kpipe's own.

    I is E[KL(q(c|x) || p)] with an exponential average over the training batches before as p, in
    place of the mean over all images: at least the information, and equal to it where p is that
    mean. p begins as the uniform distribution.

    Args:
        sizes: Number of classes of each latent.
        momentum: Share that the average keeps of itself at each step.
        options: Those of `KLRegularization`.

    Example:
        q = np.full((4, 10), 0.1, "float32")
        c = InformationRegularization(sizes=(10,), capacity=2.0)(q, np.zeros((4, 1), "float32"), q)
    """

    def __init__(self, sizes: Sequence[int], momentum: float = 0.9, **options: Any) -> None:
        super().__init__(**options)
        self.sizes, self.momentum = tuple(sizes), momentum

    # One argument more than those of the class above.
    def build(  # type: ignore[override]
        self, code_shape: Shape, kl_shape: Shape, probabilities_shape: Shape
    ) -> None:
        super().build(code_shape, kl_shape)
        uniform = [1 / size for size in self.sizes for _ in range(size)]
        self.mean = self.add_weight(
            name="mean",
            shape=(len(uniform),),
            initializer=lambda shape, dtype: ops.convert_to_tensor(uniform, dtype),
            trainable=False,
        )
        self.information = keras.metrics.Mean(name=f"{self.name}_information")

    def call(  # type: ignore[override]
        self, code: Tensor, kl: Tensor, probabilities: Tensor, training: bool = False
    ) -> Tensor:
        # Read before it is changed: a constant of this batch.
        mean, of_batch = ops.convert_to_tensor(self.mean), ops.mean(probabilities, axis=0)
        information, begin = ops.sum(ops.mean(kl, axis=0)), 0
        for size in self.sizes:
            part = slice(begin, begin + size)
            begin += size
            information -= ops.sum(of_batch[part] * ops.log(size * mean[part] + 1e-12))
        if training:
            average = self.momentum * mean + (1 - self.momentum) * of_batch
            self.mean.assign(ops.stop_gradient(average))
        self.information.update_state(information)
        self._penalize(information, kl, training)
        return code

    def compute_output_shape(  # type: ignore[override]
        self, code_shape: Shape, kl_shape: Shape, probabilities_shape: Shape
    ) -> Shape:
        return code_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sizes": self.sizes, "momentum": self.momentum}


class Divergence(keras.metrics.Metric):
    """Mean KL divergence of each latent over the examples, their sum, and the last capacity.

    Args:
        name: Prefix of the results' names.
        latents: Number of latents.
        has_capacity: Whether the results include the capacity.
    """

    def __init__(self, name: str, latents: int, has_capacity: bool) -> None:
        super().__init__(name=name)
        self.latents, self.has_capacity = latents, has_capacity
        self.sums = self.add_variable((latents,), "zeros", name="sums")
        self.count = self.add_variable((), "zeros", name="count")
        self.capacity = self.add_variable((), "zeros", name="capacity")

    def update_state(self, kl: Tensor, capacity: Tensor | None = None) -> None:
        self.sums.assign_add(ops.cast(ops.sum(kl, axis=0), self.sums.dtype))
        self.count.assign_add(ops.cast(ops.shape(kl)[0], self.count.dtype))
        if capacity is not None:
            self.capacity.assign(ops.cast(capacity, self.capacity.dtype))

    def result(self) -> dict[str, Tensor]:
        means = ops.divide_no_nan(self.sums, self.count)
        result = {f"{self.name}_kl": ops.sum(means)}
        if self.has_capacity:
            result[f"{self.name}_capacity"] = ops.convert_to_tensor(self.capacity)
        return result | {f"{self.name}_kl/{i}": means[i] for i in range(self.latents)}


def _to_config(value: float | Schedule) -> float | dict[str, Any]:
    return keras.saving.serialize_keras_object(value) if isinstance(value, Schedule) else value


def _from_config(value: float | Schedule | dict[str, Any]) -> float | Schedule:
    return keras.saving.deserialize_keras_object(value) if isinstance(value, dict) else value
