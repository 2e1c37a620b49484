"""Rewrites what Keras puts into a graph and other formats do not have, without changing its values.

Keras' `argmax` makes -0 the smallest number below 0 first, for which it looks at the sign's bit:
`where(equal(x, 0) and less(bitwise_and(bitcast(x), sign), 0), -tiny, x)`. LiteRT has no bitwise
operations of this kind, ONNX and OpenVINO no bitcast. Without this step the largest value is the
same; only among a largest 0 and -0 another of both is found.
"""

from typing import Any

import tensorflow as tf

# From the condition of the selection to x: the operation, and which of its inputs leads on.
_SIGN = (("LogicalAnd", 1), ("Less", 0), ("BitwiseAnd", 0), ("Bitcast", 0))


def without_signs_of_zero(frozen: Any) -> Any:
    """Returns a frozen function without that step; the function itself if there is none.

    Args:
        frozen: Concrete function without variables.
    """
    graph = frozen.graph.as_graph_def()
    nodes = {node.name: node for node in graph.node}
    found = False
    for node in graph.node:
        if node.op == "SelectV2" and _is_step(node, nodes):
            value = node.input[2]
            node.op = "Identity"
            del node.input[:]
            node.input.append(value)
            found = True
    if not found:
        return frozen

    def imported() -> None:
        tf.import_graph_def(graph, name="")

    names = [[tensor.name for tensor in tensors] for tensors in (frozen.inputs, frozen.outputs)]
    return tf.compat.v1.wrap_function(imported, []).prune(*names)


def _is_step(node: Any, nodes: dict[str, Any]) -> bool:
    """Whether a selection replaces -0 alone, and else returns its argument."""
    at = node.input[0]
    for operation, place in _SIGN:
        made = nodes.get(at.partition(":")[0])
        if made is None or made.op != operation:
            return False
        at = made.input[place]
    return at.partition(":")[0] == node.input[2].partition(":")[0]
