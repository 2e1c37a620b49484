"""Parts of a TensorFlow graph: what ends it, what it needs, and batches that fit into memory."""

import math
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import special

_UNCHANGED = {"Identity", "Reshape", "Squeeze", "ExpandDims", "StopGradient", "CheckNumerics"}
# A batch's examples, and its numbers: 4 MiB where it is given, and up to 100 times that within.
BATCH, BATCH_NUMBERS = 64, 2**20
LARGE = 1000  # numbers of a constant
SINGLE = "1 - p and p of a single sigmoid"


def extract(definition: Any, wanted: Collection[str]) -> Any:
    """Returns the part of a graph that some nodes need: not that of labels as words."""
    nodes = {node.name: node for node in definition.node}
    needed, waiting = set[str](), list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            # "name", "name:1", or "^name" of what only comes before.
            waiting += [given.lstrip("^").split(":")[0] for given in nodes[name].input]
    part = tf.compat.v1.GraphDef(library=definition.library, versions=definition.versions)
    part.node.extend(node for name, node in nodes.items() if name in needed)
    return part


def take_weights(definition: Any) -> dict[str, tf.Tensor]:
    """Takes large constants out of a graph, so that several functions share them.

    Returns:
        The constants by the name of their tensor, for which the graph has placeholders now.
    """
    taken = {}
    for node in definition.node:
        if node.op != "Const":
            continue
        value = tf.make_ndarray(node.attr["value"].tensor)
        if value.dtype.kind == "f" and value.size > LARGE:
            taken[f"{node.name}:0"] = tf.constant(value)
            node.op = "Placeholder"
            del node.attr["value"]
            node.attr["shape"].shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
    return taken


def in_batches(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Splits arrays into batches of a size that fits into memory; none are one empty batch."""
    largest = max(math.prod(array.shape[1:]) for array in arrays)
    size = max(1, min(BATCH, BATCH_NUMBERS // max(1, largest)))
    for start in range(0, max(1, len(arrays[0])), size):
        yield tuple(array[start : start + size] for array in arrays)


def places_of(tensor: Any) -> int:
    """Returns height times width of images; 0 if they are not known."""
    if tensor.shape.rank != 4 or None in tensor.shape[1:3]:
        return 0
    return math.prod(tensor.shape[1:3])


def averages_places(operation: Any) -> bool:
    """Whether an operation is the mean, or the sum, over all places of images, and nothing else."""
    if not operation.inputs or places_of(operation.inputs[0]) < 2:
        return False
    if operation.type in ("Mean", "Sum"):
        axes = tf.get_static_value(operation.inputs[1])
        return axes is not None and sorted(np.ravel(axes) % 4) == [1, 2]
    size = operation.inputs[0].shape[1:3]
    return (
        operation.type == "AvgPool"
        and places_of(operation.outputs[0]) == 1
        and all(k >= n for k, n in zip(operation.get_attr("ksize")[1:3], size, strict=True))
    )


def without_changes_of_shape(tensor: Any) -> Any:
    while tensor.op.type in _UNCHANGED:
        tensor = tensor.op.inputs[0]
    return tensor


def activation(result: Any) -> tuple[str, Any]:
    """Returns "Softmax", "Sigmoid", `SINGLE` or "", and what this function is applied to."""
    source = without_changes_of_shape(result)
    if source.op.type in ("Softmax", "Sigmoid"):
        return source.op.type, source.op.inputs[0]
    if source.op.type == "ConcatV2":
        last = without_changes_of_shape(source.op.inputs[-2])  # before the axis
        if last.op.type == "Sigmoid":
            return SINGLE, last.op.inputs[0]
    return "", None


def odds_of(kind: str, logits: np.ndarray, column: int) -> np.ndarray:
    """Returns ln(p / (1 - p)) of a column, from what a function of that kind is applied to."""
    if kind == SINGLE:
        return logits[:, 0] if column else -logits[:, 0]
    if kind == "Softmax":
        others = np.delete(logits, column, axis=1)
        return logits[:, column] - special.logsumexp(others, axis=1)
    return logits[:, column]


def column_of(outputs: list[Any], column: Any) -> Any:
    values = tf.reshape(outputs[0], (tf.shape(outputs[0])[0], -1))
    return tf.gather(values, column, axis=1)
