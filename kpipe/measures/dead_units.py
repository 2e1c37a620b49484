"""Units of a ReLU that are 0 for every example: they answer nothing, and learn nothing more."""

import itertools
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
    outputs = _largest(model)
    if not outputs:
        return {}
    positions = np.linspace(0, len(split) - 1, min(EXAMPLES, len(split))).astype(int)
    network = keras.Model(model.inputs, outputs)
    largest: dict[str, np.ndarray] = {}
    for start in range(0, len(positions), BATCH):
        inputs, _ = split.take(positions[start : start + BATCH])
        for name, values in network.predict_on_batch(inputs).items():
            units = np.asarray(values).max(axis=0)
            largest[name] = np.maximum(largest.get(name, units), units)
    # A network with several outputs returns them in the order of their names.
    return {name: (int(np.sum(largest[name] <= 0)), len(largest[name])) for name in outputs}


def _largest(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """Returns the largest output of each unit that ends with a ReLU, over the places of an example.

    Each is a tensor of the model, (batch, units). A layer that is called several times is alive if
    it answers anything anywhere.
    """
    found: dict[str, keras.KerasTensor] = {}
    # Private: Keras has no other way to tell a model's own calls from those by other models.
    graph: Any = getattr(model, "_functional", model)  # that of a Sequential
    depths = sorted(graph._nodes_by_depth.items(), reverse=True)  # from inputs to outputs
    for node in itertools.chain(*(nodes for _, nodes in depths)):
        layer = node.operation
        inside: dict[str, keras.KerasTensor] = {}
        if isinstance(layer, keras.Model):
            if len(getattr(layer, "inputs", None) or ()) == 1 and (within := _largest(layer)):
                # Called anew: tensors inside a model are not tensors of the one around it.
                values = keras.Model(layer.inputs[0], within)(node.input_tensors[0])
                inside = {f"{layer.name}/{name}": values[name] for name in within}
        elif _is_relu(layer):
            output = node.output_tensors[0]  # of a recurrent layer, states may follow
            places = tuple(range(1, len(output.shape) - 1))
            inside = {layer.name: keras.ops.max(output, axis=places) if places else output}
        for name, tensor in inside.items():
            known = found.get(name)
            found[name] = tensor if known is None else keras.ops.maximum(known, tensor)
    return found


def _is_relu(layer: keras.Layer) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return not layer.negative_slope and not layer.threshold
    return getattr(layer, "activation", None) is keras.activations.relu
