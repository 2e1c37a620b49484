"""Properties of an optimizer that the loop needs, for plain optimizers and wrappers of others."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf


def parts(optimizer: keras.optimizers.Optimizer) -> list[keras.optimizers.Optimizer]:
    """Returns the optimizers that update weights, unwrapped from loss scaling and `MultiOptimizer`.

    Example:
        parts(keras.optimizers.LossScaleOptimizer(adam))  # equals [adam]
    """
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return parts(optimizer.inner_optimizer)
    if isinstance(optimizer, keras.optimizers.MultiOptimizer):
        return list(optimizer.optimizers)
    return [optimizer]


def learning_rates(optimizer: keras.optimizers.Optimizer) -> dict[str, float]:
    """Returns the current learning rates, by the names that Keras' callbacks use in logs."""
    rates = {
        part.name: float(keras.ops.convert_to_numpy(part.learning_rate))
        for part in parts(optimizer)
    }
    if len(rates) == 1:
        return {"learning_rate": next(iter(rates.values()))}
    return {f"learning_rate_{name}": rate for name, rate in rates.items()}


def with_rate(
    optimizer: keras.optimizers.Optimizer,
    rate: float | keras.optimizers.schedules.LearningRateSchedule,
) -> keras.optimizers.Optimizer:
    """Returns a new optimizer with the same settings but another learning rate.

    Args:
        optimizer: An optimizer, not a `MultiOptimizer`.
        rate: Learning rate, or its schedule.

    Example:
        with_rate(keras.optimizers.AdamW(1e-3, weight_decay=0.05), 1e-4)
    """
    (plain,) = parts(optimizer)
    copy = type(plain).from_config({**plain.get_config(), "learning_rate": rate})
    # Private: variables without weight decay are not part of the config.
    pattern = getattr(plain, "_exclude_from_weight_decay_pattern", None)
    if pattern is not None:
        copy.exclude_from_weight_decay(var_names=[pattern.pattern])
    return copy


def averages(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether the final weights differ from the trained ones, as with `use_ema=True`."""
    plain = keras.optimizers.Optimizer.finalize_variable_values
    return any(
        part.use_ema or type(part).finalize_variable_values is not plain
        for part in parts(optimizer)
    )


@contextlib.contextmanager
def final_weights(model: keras.Model) -> Iterator[None]:
    """Temporarily sets a model's weights to those with which training would end now.

    They are those of `Optimizer.finalize_variable_values`, which `Model.fit` calls at its end: with
    `use_ema=True` the exponential moving average (Polyak and Juditsky 1992), otherwise unchanged.
    """
    if not averages(model.optimizer):
        yield
        return
    trained = [tf.identity(variable.value) for variable in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, trained, strict=True):
            variable.assign(value)
