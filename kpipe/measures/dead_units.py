"""Units of a ReLU that are 0 for every example: they answer nothing, and learn nothing more."""

import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ..data import Split

EXAMPLES = 1000
BATCH = 100


def dead_units(model: keras.Model, split: Split) -> dict[str, tuple[int, int]]:
    """Counts the units of each ReLU that are 0 for each of up to 1,000 examples.

    The gradient of such a unit's weights is 0 for these examples, so no further training on them
    changes it (Maas et al., 2013, section 2). A unit of a convolution is a filter.

    Args:
        model: A functional model; layers of models within it are included.
        split: Examples, usually of train; they are evenly spaced, and not augmented.

    Returns:
        Dead units and all units of each layer with a ReLU, by the layer's name, in the order of the
        model; {} of a subclassed model, whose layers are not known.

    Example:
        for layer, (dead, units) in dead_units(model, data.train).items():
            print(f"{layer}: {dead} of {units} units are dead")
    """
    if not isinstance(model, keras.Model) or not getattr(model, "inputs", None):
        return {}
    outputs = dict(_outputs(model))
    if not outputs:
        return {}
    positions = np.linspace(0, len(split) - 1, min(EXAMPLES, len(split))).astype(int)
    network = keras.Model(model.inputs, outputs)
    largest: dict[str, np.ndarray] = {}
    for start in range(0, len(positions), BATCH):
        inputs, _ = split.take(positions[start : start + BATCH])
        for name, values in network.predict_on_batch(inputs).items():
            units = np.asarray(values).reshape(-1, values.shape[-1]).max(axis=0)
            largest[name] = np.maximum(largest.get(name, units), units)
    # A network with several outputs returns them in the order of their names.
    return {name: (int(np.sum(largest[name] <= 0)), len(largest[name])) for name in outputs}


def _outputs(model: keras.Model) -> Sequence[tuple[str, keras.KerasTensor]]:
    """Returns the outputs of all layers that end with a ReLU, as tensors of the model."""
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model) and len(getattr(layer, "inputs", None) or ()) == 1:
            if inside := dict(_outputs(layer)):
                # Called anew: tensors inside a model are not tensors of the one around it.
                values = keras.Model(layer.inputs[0], inside)(_given_to(layer, model))
                found += [(f"{layer.name}/{name}", values[name]) for name in inside]
        elif _is_relu(layer):
            found.append((layer.name, layer.output))
    return found


def _given_to(layer: keras.Layer, model: keras.Model) -> keras.KerasTensor:
    """Returns what a model calls a layer with; its own `input` is a tensor inside."""
    # Private: Keras has no other way. Other models may call the layer too.
    graph: Any = getattr(model, "_functional", model)  # that of a Sequential
    nodes = itertools.chain(*graph._nodes_by_depth.values())
    return next(node for node in nodes if node.operation is layer).input_tensors[0]


def _is_relu(layer: keras.Layer) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return not layer.negative_slope and not layer.threshold
    return getattr(layer, "activation", None) is keras.activations.relu
