"""Optimizers and learning-rate schedules from hyperparameters."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import keras_tuner

# Variables without weight decay, by a part of their path: kernels and embeddings are decayed.
NOT_DECAYED = ["bias", "gamma", "beta"]
OPTIMIZERS = ("sgd", "sgd_momentum", "adam", "adamw", "rmsprop")
SCHEDULES = ("constant", "exponential", "cosine", "stepwise")


def from_hyperparameters(
    hp: keras_tuner.HyperParameters,
    optimizer: str = "adam",
    *,
    learning_rate: float = 1e-3,
    momentum: float = 0.9,
    weight_decay: float = 0.004,
    schedule: str = "constant",
    decay_rate: float = 1e-4,
    decay_steps: int = 10_000,
    warmup_steps: int = 0,
    ema_momentum: float = 0.0,
    gradient_accumulation_steps: int = 1,
) -> keras.optimizers.Optimizer:
    """Builds the optimizer that `hp` names; the arguments are the defaults of its keys.

    Reduce-on-plateau is the Trainer's `reduce_lr_patience`.

    Args:
        hp: Hyperparameters, in which the keys are declared.
        optimizer: One of `OPTIMIZERS`.
        learning_rate: Learning rate of the first step.
        momentum: Momentum of sgd_momentum.
        weight_decay: Decoupled weight decay of adamw (Loshchilov and Hutter 2019); kernels only, no
            biases and no normalization.
        schedule: One of `SCHEDULES`, see `learning_rate_schedule`, also for the next two.
        decay_rate: Decay per step.
        decay_steps: Number of steps of a schedule.
        warmup_steps: Number of steps in which the learning rate rises from 0 (Goyal et al. 2017),
            of the schedules constant and cosine; 0 for none.
        ema_momentum: Share that the average of the weights keeps of itself at each step, such as
            0.999 for an average over about 1,000 steps; the average is validated, kept and exported
            (Polyak and Juditsky 1992; Keras' `use_ema`). 0 for no average.
        gradient_accumulation_steps: Number of batches averaged for each update.

    Raises:
        ValueError: A name is unknown, or a number out of range.

    Example:
        model.compile(from_hyperparameters(hp, "sgd", learning_rate=0.1), loss="mse")
    """
    name = hp.Choice("optimizer", list(OPTIMIZERS), default=optimizer)
    rate = hp.Float("learning_rate", 1e-5, 1.0, sampling="log", default=learning_rate)
    with hp.conditional_scope("optimizer", ["sgd_momentum"]):
        momentum = hp.Float("momentum", 0.0, 0.99, default=momentum)
    with hp.conditional_scope("optimizer", ["adamw"]):
        weight_decay = hp.Float("weight_decay", 1e-5, 0.1, sampling="log", default=weight_decay)
    schedule = hp.Choice("schedule", list(SCHEDULES), default=schedule)
    with hp.conditional_scope("schedule", ["exponential", "stepwise"]):
        decay_rate = hp.Float("decay_rate", 1e-6, 0.1, sampling="log", default=decay_rate)
    with hp.conditional_scope("schedule", ["cosine", "stepwise"]):
        decay_steps = hp.Int("decay_steps", 10, 1_000_000, sampling="log", default=decay_steps)
    # Fixed: no search turns them by itself. The first trades memory for time, and the others depend
    # on the number of steps.
    accumulation = hp.Fixed("gradient_accumulation_steps", gradient_accumulation_steps)
    momentum_of_average = hp.Fixed("ema_momentum", ema_momentum)
    with hp.conditional_scope("schedule", ["constant", "cosine"]):
        warmup_steps = hp.Fixed("warmup_steps", warmup_steps) or 0  # None with other schedules
    if accumulation < 1:
        raise ValueError(f"gradient_accumulation_steps={accumulation}: expected 1 or more")
    if not 0 <= momentum_of_average < 1:
        raise ValueError(
            f"ema_momentum={momentum_of_average}: expected less than 1, and 0 for no average"
        )

    common: dict[str, Any] = {
        "learning_rate": learning_rate_schedule(
            schedule, rate, decay_rate, decay_steps, warmup_steps
        ),
        # Keras expects None for one batch per update.
        "gradient_accumulation_steps": accumulation if accumulation > 1 else None,
    }
    if momentum_of_average:
        common |= {"use_ema": True, "ema_momentum": momentum_of_average}
    match name:
        case "sgd":
            return keras.optimizers.SGD(**common)
        case "sgd_momentum":
            return keras.optimizers.SGD(momentum=momentum, **common)
        case "adam":
            return keras.optimizers.Adam(**common)
        case "rmsprop":
            return keras.optimizers.RMSprop(**common)
        case "adamw":
            adamw = keras.optimizers.AdamW(weight_decay=weight_decay, **common)
            adamw.exclude_from_weight_decay(var_names=NOT_DECAYED)
            return adamw
    raise ValueError(f"optimizer={name!r}: expected one of {', '.join(OPTIMIZERS)}")


def learning_rate_schedule(
    schedule: str, rate: float, decay_rate: float, decay_steps: int, warmup_steps: int = 0
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate as a function of the step, which is a batch, as in Keras.

    Without gradient accumulation a step is an update; with it Keras' schedules still count batches,
    and an update uses the rate of its last batch.

    Args:
        schedule: "constant": `rate`. "exponential": rate * exp(-decay_rate * step). "stepwise": the
            same, but updated only every `decay_steps` steps. "cosine": from `rate` to 0 within
            `decay_steps` steps (Loshchilov and Hutter 2017, without restarts).
        rate: Learning rate of the first step.
        decay_rate: Decay per step of "exponential" and "stepwise"; the others ignore it.
        decay_steps: Steps of "stepwise" and "cosine", with the warm-up; the others ignore it.
        warmup_steps: Steps of "constant" and "cosine" in which the rate rises from 0.

    Raises:
        ValueError: `schedule` is unknown or has no warm-up, or the warm-up is negative or not
            shorter than the schedule.

    Example:
        learning_rate_schedule("cosine", 0.1, 0.0, 10_000)(5_000)  # 0.05
        learning_rate_schedule("constant", 0.1, 0.0, 0, warmup_steps=100)(50)  # 0.05
    """
    longest = decay_steps if schedule == "cosine" else math.inf
    if not 0 <= warmup_steps < longest:
        expected = "0 or more" if longest == math.inf else f"from 0 to less than {longest}"
        raise ValueError(f"warmup_steps={warmup_steps}: expected {expected}")
    if warmup_steps and schedule not in ("constant", "cosine"):
        raise ValueError(f"warmup_steps={warmup_steps} with schedule={schedule}: expected 0")
    match schedule:
        case "constant" if warmup_steps:
            # Keras' polynomial of power 1, upwards.
            return keras.optimizers.schedules.PolynomialDecay(
                0.0, warmup_steps, end_learning_rate=rate
            )
        case "constant":
            return rate
        case "exponential":
            # exp(-1) ** (step * decay_rate): exp(-decay_rate) ** step would lose digits in float32
            return keras.optimizers.schedules.ExponentialDecay(rate, 1 / decay_rate, math.exp(-1))
        case "stepwise":
            factor = math.exp(-decay_rate * decay_steps)
            return keras.optimizers.schedules.ExponentialDecay(
                rate, decay_steps, factor, staircase=True
            )
        case "cosine" if warmup_steps:
            return keras.optimizers.schedules.CosineDecay(
                0.0, decay_steps - warmup_steps, warmup_target=rate, warmup_steps=warmup_steps
            )
        case "cosine":
            return keras.optimizers.schedules.CosineDecay(rate, decay_steps)
    raise ValueError(f"schedule={schedule!r}: expected one of {', '.join(SCHEDULES)}")


def scale_learning_rate(
    optimizer: keras.optimizers.Optimizer,
    variables: Sequence[keras.Variable],
    factor: float,
    warmup_steps: int = 0,
) -> None:
    """Reduces the learning rate of some variables, such as those of a pretrained backbone.

    Scaling their gradients has no effect with Adam, whose steps do not depend on the gradients'
    scale. These variables have no weight decay, which would pull pretrained weights towards zero.
    The class of the optimizer stays the same, so that the model is saved and loaded as usual.

    Args:
        optimizer: An optimizer that is not built yet.
        variables: The variables whose learning rate is scaled.
        factor: Multiplier of their learning rate.
        warmup_steps: Number of updates at the start in which they do not change, while the head
            learns.

    Example:
        model = models.cnn((32, 32, 3), 10)
        backbone = models.backbone(model)
        scale_learning_rate(optimizer, backbone.trainable_variables, 0.1, warmup_steps=200)
    """
    if optimizer.weight_decay is not None:
        optimizer.exclude_from_weight_decay(var_list=variables, var_names=NOT_DECAYED)
    scaled = {id(variable.value) for variable in variables}
    update_step = optimizer.update_step

    def scaled_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
        if id(variable) in scaled or id(getattr(variable, "value", None)) in scaled:
            warm = keras.ops.cast(optimizer.iterations >= warmup_steps, learning_rate.dtype)
            learning_rate = learning_rate * factor * warm
        update_step(gradient, variable, learning_rate)

    optimizer.update_step = scaled_step  # type: ignore[method-assign]


def has_schedule(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether the optimizer's learning rate follows a schedule.

    Args:
        optimizer: Any Keras optimizer.

    Example:
        has_schedule(keras.optimizers.Adam(learning_rate_schedule("cosine", 0.1, 0.0, 10)))  # True
    """
    return isinstance(optimizer.get_config()["learning_rate"], dict)
