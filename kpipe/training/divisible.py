"""What a training step must be so that shards can compute it, and its loss without side effects."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..data import Split
from ..errors import UserError
from ..layers import Divergence
from .weighting import Weigh

ELSE = "train without --devices and --shards"


def check(model: keras.Model, shards: int, batch_size: int, plan: str = "graph") -> None:
    """Refuses models whose step cannot be divided.

    Raises:
        UserError: The message says why.
    """
    if plan != "graph":
        raise UserError(f"plan {plan}: steps that are divided into shards need the plan graph")
    if batch_size % shards:
        below = batch_size // shards * shards
        near = " or ".join(str(n) for n in (below, below + shards) if n)
        raise UserError(f"batch_size={batch_size} is no multiple of {shards} shards; use {near}")
    for name in ("train_step", "compute_loss", "compute_metrics"):
        own = name in vars(model)  # set on the object
        if own or getattr(type(model), name) is not getattr(keras.Model, name):
            raise UserError(
                f"{model.name} has a {name} of its own, which cannot be divided into shards; {ELSE}"
            )
    if model.run_eagerly:
        raise UserError(f"{model.name} is compiled with run_eagerly=True: {ELSE}")
    if not model.trainable_variables:
        raise UserError(f"{model.name} has no trainable weights: {ELSE}")
    if any(v.overwrite_with_gradient for v in model.trainable_variables):
        raise UserError(f"{model.name} has weights that are set by their gradients: {ELSE}")
    if any(v.dtype == "float64" for v in model.trainable_variables):
        raise UserError(f"{model.name} has weights of type float64, expected float32: {ELSE}")
    for layer in model._flatten_layers():
        if getattr(layer, "synchronized", False):
            raise UserError(
                f"{model.name}: {layer.name} is synchronized, but shards are normalized by "
                f"themselves; use synchronized=False, or {ELSE}"
            )
    for metric in inner_metrics(model):
        if type(metric) not in (keras.metrics.Mean, keras.metrics.Sum, Divergence):
            raise UserError(
                f"{model.name} has a metric {metric.name} ({type(metric).__name__}) in a layer; "
                f"expected Mean or Sum, which can be added over shards; {ELSE}"
            )


def check_mean(model: keras.Model, train: Split, weigh: Weigh | None) -> None:
    """Checks that the loss of examples is the mean of the losses of its parts.

    Three examples are evaluated together, and divided into two and one. This refuses sums over the
    batch, and what compares examples with one another.

    Args:
        model: Compiled model with built variables.
        train: The training examples.
        weigh: Weights of examples, or None.

    Raises:
        UserError: The loss is something else.
    """
    examples = train.take_pairs(np.arange(min(3, len(train))))
    # Unequal, so that a mean over weights is found out.
    weights = [np.array([0.5, 1.0, 2.0], np.float32)[: len(train)]] if weigh else []

    def loss(begin: int, end: int) -> float:
        batch = [tf.constant(part[begin:end]) for part in (*examples, *weights)]
        return float(stateless_loss(model, *batch, training=False)[1])

    if len(train) < 3:
        return
    whole, divided = loss(0, 3), (2 * loss(0, 2) + loss(2, 3)) / 3
    if not np.isclose(whole, divided, rtol=1e-4, atol=1e-6, equal_nan=True):
        raise UserError(
            f"{model.name}: the loss of three examples ({whole:.6g}) is not the mean of its parts "
            f"({divided:.6g}), so that shards would train another network: a loss or a layer's "
            f"add_loss sums over the batch, is masked, or compares its examples; {ELSE}"
        )


def stateless_loss(
    model: keras.Model,
    x: Any,
    y: Any,
    weights: Any = None,
    *,
    training: bool,
    mapping: Sequence[tuple[Any, Any]] = (),
) -> tuple[Any, tf.Tensor, Callable[[Any], Any]]:
    """Returns outputs, loss and a function: the new value of a variable, None if it has none."""
    # Keras looks for regularized weights in the scope only.
    regularized = [v for v in model.trainable_variables if v.regularizer is not None]
    mapping = [*mapping, *((v, tf.convert_to_tensor(v.value)) for v in regularized)]
    with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
        before = dict(scope.state_mapping)
        outputs = model(x, training=training) if model._call_has_training_arg else model(x)
        loss = model._compute_loss(
            x=x, y=y, y_pred=outputs, sample_weight=weights, training=training
        )

    def new(variable: Any) -> Any:
        value = scope.get_current_value(variable)
        return None if value is before.get(id(variable)) else value

    return outputs, loss, new


def inner_metrics(model: keras.Model) -> list[keras.metrics.Metric]:
    """The metrics that are updated during the forward pass: those of layers, of several losses."""
    outer = (model._loss_tracker, model._compile_metrics)
    return [metric for metric in model.metrics if not any(metric is other for other in outer)]


def check_random(model: keras.Model, graph: Any) -> None:
    """Refuses random numbers of TensorFlow's own, which follow the number of processes."""
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    for node in nodes:
        kernel = node.op.startswith("CudnnRNN")  # has seeds for a dropout that Keras leaves out
        own = node.op.startswith("Stateful") and not node.op.endswith("PartitionedCall")
        if own or ("seed2" in node.attr and not kernel):
            raise UserError(
                f"{model.name} draws random numbers with {node.op}, which no shard can "
                f"repeat; use keras.random with a SeedGenerator, or {ELSE}"
            )


def nearest_divisors(number: int, near: int) -> list[int]:
    """Returns the largest divisor of `number` up to `near`, and the smallest from `near`."""
    near = min(near, number)
    below = next(d for d in range(near, 0, -1) if number % d == 0)
    above = next(d for d in range(near, number + 1) if number % d == 0)
    return sorted({below, above})
