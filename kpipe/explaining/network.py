"""A function of TensorFlow as a graph that can be cut, and differentiated where it is cut.

An export takes bytes and integers, which have no gradient. Its graph is frozen and imported again,
with new inputs in place of tensors further inside: the first floats that are computed from the
pixels, the embeddings of the words, or the activations of the last convolution. No Keras is needed,
and an export and a network in memory are differentiated by the same code.
"""

import functools
import graphlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from scipy import special
from tensorflow.python.framework import ops
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from .graphs import (
    SINGLE,
    activation,
    averages_places,
    column_of,
    extract,
    in_batches,
    odds_of,
    places_of,
    take_weights,
)
from .rows import log_odds

# Operations whose result depends on the shape of their input only.
_OF_SHAPE = {"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"}
_CONVOLUTIONS = {"Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput"}
SAME = 1e-3  # largest difference of a probability and that of its log-odds


class Network:
    """A frozen function with one input, and the gradients of one of its outputs.

    Args:
        function: A concrete function, such as a signature of a SavedModel, with one input.
        output: Name of the output that is explained, float32 (n, k), or (n,) of a regression.

    Example:
        model = kpipe.load("saved_models/mnist_mlp")  # keeps the variables alive
        network = Network(model.signature("serving_default"), "probabilities")
        network.score(images)[0].argmax()
    """

    def __init__(self, function: Any, output: str):
        # While loops stay functions, since gradients of lowered ones are not implemented.
        frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
        self.output = output
        self._graph = frozen.graph
        (self._input,) = frozen.inputs
        structure = tf.nest.flatten({name: name for name in function.structured_outputs})
        outputs = dict(zip(structure, frozen.outputs, strict=True))
        self._result: Any = outputs[output]
        # Calibrated probabilities are computed from these, whose softmax or sigmoid can be found.
        self._uncalibrated: Any = outputs.get("probabilities", self._result)
        wanted = {self._result.op.name, self._uncalibrated.op.name}
        self._definition = extract(self._graph.as_graph_def(), wanted)
        self._weights = take_weights(self._definition)
        self.shape, self.dtype = tuple(self._input.shape[1:]), self._input.dtype
        self._lock, self._made = threading.Lock(), dict[str, Callable[..., Any]]()

    def score(self, inputs: np.ndarray) -> np.ndarray:
        """Computes the output, float32 (n, k), k = 1 for a regression."""
        function = self._once("score", lambda: self._function([], [self._result.name]))
        inputs = np.asarray(inputs, self.dtype.as_numpy_dtype)
        values = [np.asarray(function(tf.constant(part))[0]) for (part,) in in_batches(inputs)]
        joined = np.concatenate(values)
        return joined.reshape(len(inputs), -1)

    def score_and_odds(self, inputs: np.ndarray, column: int) -> np.ndarray:
        """Computes a column of the output, and its log-odds; of a value twice the value.

        The log-odds are computed from what softmax or sigmoid are applied to, if it is found: a
        float32 probability near 1 is too coarse.

        Returns:
            float64 (n, 2).
        """
        if self.output == "value":
            return np.repeat(self.score(inputs)[:, column, None].astype(np.float64), 2, axis=1)
        kind, logits, factor = self._odds_from
        names = [self._result.name, *([logits] if kind else [])]
        function = self._once("odds", lambda: self._function([], names))
        inputs = np.asarray(inputs, self.dtype.as_numpy_dtype)
        parts = [function(tf.constant(part)) for (part,) in in_batches(inputs)]
        scores, *found = (
            np.concatenate([np.asarray(value, np.float64) for value in values])
            for values in zip(*parts, strict=True)
        )
        scores = scores.reshape(len(inputs), -1)
        odds = log_odds(scores, column)
        if found:
            exact = odds_of(kind, found[0].reshape(len(inputs), -1) * factor, column)
            if np.allclose(special.expit(exact), scores[:, column], atol=SAME):
                odds = exact
        return np.stack([scores[:, column], odds], axis=1)

    # --- where it is cut ----------------------------------------------------------------------

    @functools.cached_property
    def first_floats(self) -> tuple[str, ...]:
        """Names of the first tensors with a gradient: the input, or what is computed from it."""
        if self._input.dtype.is_floating:
            return (self._input.name,)
        discrete, smooth, found = {self._input.name}, set[str](), []
        for operation in self._between:
            if operation.type in _OF_SHAPE:
                continue
            names = {tensor.name for tensor in operation.inputs}
            for tensor in operation.outputs:
                if names & smooth:
                    smooth.add(tensor.name)
                elif names & discrete and tensor.dtype.is_floating:
                    smooth.add(tensor.name)
                    found.append(tensor.name)
                elif names & discrete:
                    discrete.add(tensor.name)
        return tuple(found)

    @functools.cached_property
    def last_features(self) -> str | None:
        """Name of the activations of the last convolution; None without one.

        They are float (n, height, width, channels) with more than one place, and everything that
        the output knows of the input passes through them. If a mean over all places follows, it is
        what this mean is taken of; otherwise it has the size of the convolution, before pooling.
        """
        operations, output = self._between, self._result.name
        convolutions = [
            operation
            for operation in operations
            if operation.type in _CONVOLUTIONS and places_of(operation.outputs[0]) > 1
        ]
        if not convolutions:
            return None
        last = convolutions[-1]
        if (averaged := self._averaged_after(last)) is not None:
            return averaged
        wanted = last.outputs[0].shape[1:3]
        for operation in reversed(operations[operations.index(last) :]):
            for tensor in operation.outputs:
                fits = tensor.dtype.is_floating and tensor.shape.rank == 4
                fits = fits and tensor.shape[1:3] == wanted and tensor.name != output
                if fits and self._is_passed_by_all(tensor):
                    return tensor.name
        return None

    @functools.cached_property
    def features_are_rectified(self) -> bool:
        """Whether `last_features` are rectified only after the pooling that follows them.

        ReLU and max pooling can be exchanged: what is below 0 has no effect.
        """
        kinds = [operation.type for operation in self._after_features]
        return "Relu" in kinds and set(kinds[: kinds.index("Relu")]) <= {"MaxPool"}

    @functools.cached_property
    def features_are_pooled(self) -> bool:
        """Whether only the mean of `last_features` over all places is used.

        Then no place has weights of its own.
        """
        operations = self._after_features
        return bool(operations) and averages_places(operations[0])

    def _averaged_after(self, convolution: Any) -> str | None:
        """Name of what is averaged over all its places, and not used otherwise; or None."""
        for operation in self._between[self._between.index(convolution) :]:
            if averages_places(operation):
                tensor = operation.inputs[0]
                if self._users(tensor.name) == [operation] and self._is_passed_by_all(tensor):
                    return str(tensor.name)
        return None

    @functools.cached_property
    def _after_features(self) -> list[Any]:
        """The operations that follow `last_features`, up to the first whose result is no image."""
        name, found = self.last_features, list[Any]()
        while name:
            users = self._users(name)
            if len(users) != 1:
                return found
            found.append(users[0])
            result = users[0].outputs[0]
            name = result.name if result.shape.rank == 4 else None
        return found

    def _users(self, name: str) -> list[Any]:
        """The operations that use the values of a tensor."""
        users = [op for op in self._between if any(t.name == name for t in op.inputs)]
        return [op for op in users if op.type not in _OF_SHAPE]

    @functools.cached_property
    def _between(self) -> list[Any]:
        """The operations on the way from input to output, each after those that it needs."""
        needed, waiting = dict[str, list[str]](), [self._result.op]
        while waiting:
            operation = waiting.pop()
            if operation.name not in needed:
                before = [tensor.op for tensor in operation.inputs]
                needed[operation.name] = [other.name for other in before]
                waiting += before
        reached, found = {self._input.op.name}, []
        for name in graphlib.TopologicalSorter(needed).static_order():
            if not reached.isdisjoint(needed[name]):
                reached.add(name)
                found.append(self._graph.get_operation_by_name(name))
        return found

    def _is_passed_by_all(self, removed: Any) -> bool:
        """Whether no way from input to output leads around a tensor, other than by shapes."""
        reached = {self._input.name}
        for operation in self._between:
            if operation.type in _OF_SHAPE:
                continue
            if any(tensor.name in reached for tensor in operation.inputs):
                reached |= {t.name for t in operation.outputs if t.name != removed.name}
        return self._result.name not in reached

    @functools.cached_property
    def mirrors(self) -> bool:
        """Whether an example becomes several rows: its answer is a mean over mirrored images."""
        shape = [1, *(size or 1 for size in self.shape)]
        example = tf.zeros(shape, self.dtype)
        values = self._function([], list(self.first_floats))(example)
        return any(len(value) != 1 for value in values)

    def can_differentiate(self, names: Sequence[str]) -> bool:
        """Whether all operations between some tensors and the output have a gradient."""
        reached = set(names)
        for operation in self._between:
            # A list of floats, as a loop over words collects them, is a variant.
            smooth = [t for t in operation.outputs if t.dtype.is_floating or t.dtype == tf.variant]
            if not smooth or reached.isdisjoint(tensor.name for tensor in operation.inputs):
                continue
            try:
                gradient = ops.get_gradient_function(operation)
            except LookupError:
                return False
            if gradient is not None:  # of a rounding: 0 everywhere
                reached |= {tensor.name for tensor in smooth}
        return self._result.name in reached

    def shape_of(self, name: str) -> tuple[int | None, ...]:
        """Returns the shape of a tensor, with None for what is not known; () if nothing is."""
        shape = self._graph.get_tensor_by_name(name).shape
        return () if shape.rank is None else tuple(shape)

    # --- what is computed there ---------------------------------------------------------------

    def values_at(self, inputs: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        """Computes tensors by name."""
        if list(names) == [self._input.name]:
            return [inputs]
        function = self._once(f"values {names}", lambda: self._function([], names))
        return [np.asarray(value) for value in function(tf.constant(inputs))]

    def gradients(
        self, inputs: np.ndarray, names: Sequence[str], values: Sequence[np.ndarray], column: int
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Computes the output and its gradients at given values of some tensors.

        Args:
            inputs: One example, (1, ...), from which all else is computed.
            names: Names of the tensors.
            values: Their values, (n, ...).
            column: Which of the k values of the output.

        Returns:
            The output's column, (n,), and its gradient for each tensor, like `values`.
        """

        def differentiate(given: list[tf.Tensor], column: tf.Tensor, outputs: list) -> list:
            score = tf.gather(tf.reshape(outputs[0], (tf.shape(given[0])[0], -1)), column, axis=1)
            slopes = tf.gradients(score, given, unconnected_gradients="zero")
            return [score, *slopes]

        function = self._once(
            f"gradients {names}", lambda: self._function(names, [self._result.name], differentiate)
        )
        repeated = np.repeat(inputs, len(values[0]), axis=0)
        parts = [
            [np.asarray(value) for value in function(*map(tf.constant, part), column)]
            for part in in_batches(repeated, *values)
        ]
        score, *slopes = (np.concatenate(some) for some in zip(*parts, strict=True))
        return score, list(slopes)

    def slopes_of_logit(self, inputs: np.ndarray, name: str, column: int) -> list[np.ndarray]:
        """Computes a tensor, and the gradient of the output before softmax or sigmoid for it."""
        names, logit = self._logits()

        def differentiate(given: list[tf.Tensor], column: tf.Tensor, outputs: list) -> list:
            score = logit(outputs, column)
            return tf.gradients(score, given, unconnected_gradients="zero")

        function = self._once(f"logit {name}", lambda: self._function([name], names, differentiate))
        (values,) = self.values_at(inputs, [name])
        (slopes,) = function(tf.constant(inputs), tf.constant(values), column)
        return [values, np.asarray(slopes)]

    def _logits(self) -> tuple[list[str], Callable[[list[Any], tf.Tensor], tf.Tensor]]:
        """Finds what softmax or sigmoid are applied to; returns its names, and a column of it.

        Elsewhere it is the value itself or, of probabilities, their logarithm.
        """
        result: Any = self._uncalibrated
        kind, before = activation(result)
        if kind == SINGLE:

            def of_single(outputs: list[Any], column: Any) -> Any:
                return (2.0 * tf.cast(column, tf.float32) - 1.0) * column_of(outputs, 0)

            return [before.name], of_single
        if kind:
            return [before.name], column_of
        if self.output == "value":
            return [result.name], column_of
        return [result.name], lambda outputs, c: tf.math.log(column_of(outputs, c) + 1e-30)

    @functools.cached_property
    def _odds_from(self) -> tuple[str, str, float]:
        """The function that ends the output, the tensor before it, and a factor of that.

        Calibrated probabilities are computed from the logarithms of others, which are coarse near 0
        and 1: what these are computed from is taken, times the inverse of the temperature.
        """
        kind, before = activation(self._uncalibrated)
        calibrated, scaled = activation(self._result)
        if self._result is not self._uncalibrated and calibrated:
            factors = [tf.get_static_value(tensor) for tensor in scaled.op.inputs]
            known = [float(f) for f in factors if f is not None and np.ndim(f) == 0]
            if not kind or scaled.op.type != "Mul" or len(known) != 1:
                return calibrated, scaled.name, 1.0
            return kind, before.name, known[0]
        return kind, before.name if kind else "", 1.0

    def _function(
        self,
        cut: Sequence[str],
        wanted: Sequence[str],
        then: Callable[[list, Any, list], list] | None = None,
    ) -> Callable[..., Any]:
        """Builds a function of the input, and of the tensors `cut`, to the tensors `wanted`.

        Args:
            cut: Names of tensors that are given.
            wanted: Names of tensors that are computed.
            then: Function from the given ones, a column and the computed ones to the results; the
                function built takes a column as well.
        """
        specs = [tf.TensorSpec((None, *self.shape), self.dtype)]
        for name in cut:
            tensor = self._graph.get_tensor_by_name(name)
            specs.append(tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype))
        if then:
            specs.append(tf.TensorSpec((), tf.int32))

        def compute(given: Any, *others: Any) -> list:
            inside = list(others[: len(cut)])
            replaced = {name: tf.identity(weight) for name, weight in self._weights.items()}
            replaced |= {self._input.name: given, **dict(zip(cut, inside, strict=True))}
            outputs = tf.graph_util.import_graph_def(self._definition, replaced, list(wanted))
            return then(inside, others[-1], outputs) if then else outputs

        graph = tf.function(compute, input_signature=specs, autograph=False)
        return graph.get_concrete_function()

    def _once(self, key: str, make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
        """Returns a function that is made when it is first asked for."""
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]
