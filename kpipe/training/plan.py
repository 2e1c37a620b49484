"""The execution plan: one step per graph, or several steps in one XLA program."""

import keras

from ..errors import UserError

# Layers that consist of matrix products and elementwise maps: with them several steps in one XLA
# program are faster on a CPU than the ordinary graph. Convolutions are slower in XLA's CPU code.
FUSIBLE_LAYERS = frozenset(
    "InputLayer Rescaling Flatten Reshape Dense Activation ReLU LeakyReLU Dropout "
    "BatchNormalization GaussianNoise Sampling KLRegularization".split()
)
FUSED_STEPS = 8
MAX_FUSED_STEPS = 64
# Compiling a fused program takes seconds, which shorter runs do not save.
FUSED_MIN_STEPS = 4000


def choose_plan(model: keras.Model, num_examples: int, batch_size: int, epochs: int) -> str:
    """Chooses the execution plan by a fixed rule of layer types and steps, never by a timing.

    A model compiled with `run_eagerly` or `steps_per_execution` always runs as a graph plan.
    """
    if model.run_eagerly or model.steps_per_execution > 1:
        return "graph"
    fusible = all(type(layer).__name__ in FUSIBLE_LAYERS for layer in leaf_layers(model))
    steps = num_examples // batch_size * epochs
    return f"fused:{FUSED_STEPS}" if fusible and steps >= FUSED_MIN_STEPS else "graph"


def check_plan(plan: str) -> None:
    """Refuses anything but "graph" and "fused:K".

    Raises:
        UserError: The plan has another form.
    """
    word, _, count = str(plan).partition(":")
    fused = word == "fused" and count.isdecimal() and 2 <= int(count) <= MAX_FUSED_STEPS
    if plan != "graph" and not fused:
        raise UserError(
            f"plan {plan}: expected graph, or fused:K with K from 2 to {MAX_FUSED_STEPS}"
        )


def fused_steps(plan: str, model: keras.Model) -> int:
    """Returns the number of steps in one XLA program; 1 for the graph plan.

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
    return int(plan.removeprefix("fused:"))


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
