"""The execution plan: how the operations of a training step are computed.

"graph" is the step as `Model.fit` traces it, equal to it bit by bit. "kernels" is the same graph
with single TensorFlow kernels for long chains of operations, see `kernels`. "fused:K" is one XLA
program of K steps, in a loop.
"""

import math

import keras
import tensorflow as tf

from ..errors import UserError

# Layers that consist of matrix products and elementwise maps, which XLA fuses. Its convolutions on
# a CPU are half as fast as TensorFlow's, and texts of different lengths would each be compiled.
FUSIBLE_LAYERS = frozenset(
    "InputLayer Rescaling Flatten Reshape Dense Activation ReLU LeakyReLU Dropout "
    "BatchNormalization GaussianNoise Sampling KLRegularization".split()
)
# A further program is compiled in a second, which shorter runs do not save.
FUSED_MIN_STEPS = 2000
MAX_FUSED_STEPS = 1024
# Limits of one program: between two of them a run is saved, or stopped. With 256 steps what lies
# between them is 1 % of the smallest networks' time.
FUSED_STEPS = 256
FUSED_FLOP = 1e10  # 0.1 s on two cores
FUSED_VALUES = 1e7  # of the inputs
# A loop of fewer steps saves nothing.
LEAST_FUSED_STEPS = 4


def choose_plan(model: keras.Model, num_examples: int, batch_size: int, epochs: int) -> str:
    """Chooses the execution plan by a fixed rule, never by a timing.

    The rule depends on layer types, sizes, steps and the device. A model compiled with
    `run_eagerly` or `steps_per_execution` always runs as a graph plan, and on a GPU, where nothing
    was measured, every model does.
    """
    if model.run_eagerly or model.steps_per_execution > 1:
        return "graph"
    if tf.config.get_visible_devices("GPU"):
        return "graph"
    per_epoch = num_examples // batch_size
    fusible = all(type(layer).__name__ in FUSIBLE_LAYERS for layer in leaf_layers(model))
    if fusible and per_epoch * epochs >= FUSED_MIN_STEPS:
        steps = _steps_of_program(model, per_epoch, batch_size)
        if steps >= LEAST_FUSED_STEPS:
            return f"fused:{steps}"
    return "kernels"


def _steps_of_program(model: keras.Model, per_epoch: int, batch_size: int) -> int:
    """Returns the steps of a program: at most the limits, so that few are left over in an epoch."""
    weights = model.count_params()
    inputs = getattr(model, "inputs", None) or []  # a subclassed model has none
    values = max(1, sum(math.prod(size or 1 for size in part.shape[1:]) for part in inputs))
    most = min(
        FUSED_STEPS,
        per_epoch,
        # Forwards and twice backwards, a multiplication and an addition for every weight.
        int(FUSED_FLOP / max(6 * weights * batch_size, 1)),
        int(FUSED_VALUES / (values * batch_size)),
    )
    return min(range(most, most // 2, -1), key=lambda steps: per_epoch % steps, default=0)


def check_plan(plan: str, several: bool = False) -> None:
    """Refuses anything but "graph", "kernels", "fused:K" and "auto", see `timing.fastest_plan`.

    Args:
        plan: The plan.
        several: Whether several trainings are compared, which need the same plan.

    Raises:
        UserError: The plan has another form.
    """
    if plan == "auto" and several:
        raise UserError(
            "plan auto: it can differ between trainings, which are compared; use graph, kernels or "
            "fused:K, or no plan"
        )
    word, _, count = str(plan).partition(":")
    fused = word == "fused" and count.isdecimal() and 2 <= int(count) <= MAX_FUSED_STEPS
    if plan not in ("graph", "kernels", "auto") and not fused:
        raise UserError(
            f"plan {plan}: expected graph, kernels, auto, or fused:K with K from 2 to "
            f"{MAX_FUSED_STEPS}"
        )


def fused_steps(plan: str, model: keras.Model) -> int:
    """Returns the number of steps in one XLA program; 1 for the other plans.

    Raises:
        UserError: The plan has another form, or the model was compiled with options that contradict
            it.
    """
    check_plan(plan)
    if plan == "graph":
        return 1
    if model.run_eagerly or model.steps_per_execution > 1:
        how = "run_eagerly=True" if model.run_eagerly else "steps_per_execution"
        raise UserError(
            f"the plan {plan} and compile({how}) contradict each other; use the plan graph, or "
            f"compile without {how}"
        )
    return 1 if plan == "kernels" else int(plan.removeprefix("fused:"))


def leaf_layers(model: keras.Model) -> list[keras.Layer]:
    """Returns the layers of a model; nested models are replaced by their layers without inputs."""
    leaves = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            inner = leaf_layers(layer)
            leaves += [leaf for leaf in inner if not isinstance(leaf, keras.layers.InputLayer)]
        else:
            leaves.append(layer)
    return leaves
