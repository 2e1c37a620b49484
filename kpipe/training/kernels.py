"""Single TensorFlow kernels for what Keras composes of many operations.

A training step spends much of its time in chains of small operations: Adam is twelve for every
weight, batch normalization about twenty, an LSTM thirty for every word. Where TensorFlow has one
kernel for the whole chain, the plan "kernels" uses it: the same formulas, equal to those of Keras
to rounding. Only layers and optimizers of exactly these classes are affected, and only while the
training step is traced; validation, export and the plan "graph" compute as Keras does.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from .optimizer_kernels import OPTIMIZERS
from .optimizing import parts


@contextlib.contextmanager
def single_kernels(model: keras.Model) -> Iterator[None]:
    """Lets a model's layers and optimizer use single kernels while its step is traced."""
    with contextlib.ExitStack() as stack:
        # Private: the public `layers` does not contain the layers inside of layers.
        everything = [*model._flatten_layers(), *parts(model.optimizer)]
        for part in {id(part): part for part in everything}.values():
            if type(part) not in _METHODS:
                continue
            name, function = _METHODS[type(part)]
            if name not in vars(part):  # the user's own
                # Not through Keras' own __setattr__, which would track the function as a weight.
                original = getattr(part, name)
                object.__setattr__(part, name, _bound(function, part, original))
                stack.callback(object.__delattr__, part, name)
        # With this Keras computes the binary cross-entropy of a sigmoid.
        replace(stack, tf.nn, "sigmoid_cross_entropy_with_logits", _binary_crossentropy)
        yield


def replace(stack: contextlib.ExitStack, module: Any, name: str, function: Callable) -> None:
    """Replaces a function of a module until the stack is left."""
    stack.callback(setattr, module, name, getattr(module, name))
    setattr(module, name, function)


def _custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """Types TensorFlow's decorator."""
    return tf.custom_gradient(function)


def _bound(function: Callable, part: Any, original: Callable) -> Callable:
    def method(*args: Any, **options: Any) -> Any:
        return function(part, original, *args, **options)

    return method


# Each gets the layer, Keras' own method for what the kernel cannot do, and its arguments.


def _batch_normalization(
    self: Any, keras_call: Callable, inputs: Any, training: bool | None = None, mask: Any = None
) -> Any:
    last = self.axis in (-1, inputs.shape.rank - 1)
    plain = last and mask is None and not self.renorm and not self.synchronized
    if not (training and self.trainable and plain and inputs.dtype in (tf.float32, tf.bfloat16)):
        return keras_call(inputs, training=training, mask=mask)
    x, channels = tf.cast(inputs, tf.float32), inputs.shape[-1]
    if x.shape.rank != 4:
        x = tf.reshape(x, (-1, 1, 1, channels))
    y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=x,
        scale=self.gamma.value if self.scale else tf.ones((channels,)),
        offset=self.beta.value if self.center else tf.zeros((channels,)),
        mean=tf.zeros((0,)),
        variance=tf.zeros((0,)),
        epsilon=self.epsilon,
    )
    count = tf.cast(tf.size(x) // channels, tf.float32)
    # The kernel returns the unbiased variance; Keras averages the variance of the batch itself.
    variance *= (count - 1) / count
    for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
        moving.assign(moving * self.momentum + value * (1.0 - self.momentum))
    return tf.cast(tf.reshape(y, tf.shape(inputs)), self.compute_dtype)


def _binary_crossentropy(labels: Any, logits: Any, name: str | None = None) -> tf.Tensor:
    return _crossentropy_of_logits(tf.convert_to_tensor(labels), tf.convert_to_tensor(logits))


@_custom_gradient
def _crossentropy_of_logits(labels: tf.Tensor, logits: tf.Tensor) -> Any:
    """-labels ln s - (1 - labels) ln(1 - s) of s = sigmoid(logits), and the gradient s - labels.

    TensorFlow derives the gradient from each of nine operations; s is known to the network.
    """
    positive = tf.nn.relu(logits) - logits * labels
    loss = positive + tf.math.log1p(tf.exp(-tf.abs(logits)))

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return -logits * upstream, (tf.sigmoid(logits) - labels) * upstream

    return loss, gradient


def _einsum_dense(self: Any, keras_call: Callable, inputs: Any, training: Any = None) -> Any:
    left, _, output = self.equation.partition("->")
    source, _, kernel = left.partition(",")
    common = sum(letter in source for letter in kernel)
    free, summed, new = source[:-common], source[-common:], kernel[common:]
    if kernel != summed + new or output != free + new or not common:
        return keras_call(inputs, training=training)
    weights = tf.cast(tf.convert_to_tensor(self.kernel), inputs.dtype)
    width = 1
    for size in weights.shape[:common]:
        width *= size
    shape = tf.concat([tf.shape(inputs)[: len(free)], weights.shape[common:]], 0)
    x = tf.matmul(tf.reshape(inputs, (-1, width)), tf.reshape(weights, (width, -1)))
    if self.bias is not None:
        x = tf.nn.bias_add(x, tf.reshape(tf.cast(self.bias, x.dtype), (-1,)))
    x = tf.reshape(x, shape)
    x.set_shape([*inputs.shape[: len(free)], *weights.shape[common:]])
    return x if self.activation is None else self.activation(x)


def _lstm(
    self: Any,
    keras_loop: Callable,
    sequences: Any,
    initial_state: Any,
    mask: Any,
    training: bool = False,
) -> Any:
    cell = self.cell
    plain = (
        cell.activation is keras.activations.tanh
        and cell.recurrent_activation is keras.activations.sigmoid
        and not (cell.recurrent_dropout or self.unroll or self.zero_output_for_mask)
        and not (self.return_state or self.stateful)
        and sequences.dtype == tf.float32
    )
    if not plain:
        return keras_loop(sequences, initial_state, mask, training=training)
    mask = mask[0] if isinstance(mask, list | tuple) else mask
    if training and cell.dropout:
        sequences *= cell.get_dropout_mask(sequences[:, 0, :])[:, tf.newaxis]
    if self.go_backwards:
        sequences = sequences[:, ::-1]
        mask = None if mask is None else mask[:, ::-1]
    if mask is not None:
        # A masked step leaves the state as it is: the others move to the front.
        order = tf.argsort(tf.cast(tf.logical_not(mask), tf.int32), stable=True)
        sequences = tf.gather(sequences, order, batch_dims=1)
    bias = cell.bias if cell.use_bias else tf.zeros((4 * cell.units,))
    weights = map(tf.convert_to_tensor, (cell.kernel, cell.recurrent_kernel, bias))
    outputs = tf.transpose(_lstm_steps(sequences, *weights, *initial_state), (1, 0, 2))
    if mask is None:
        last = outputs[:, -1]
    else:
        # Row 0 is the output before the first step that is not masked.
        outputs = tf.pad(outputs, ((0, 0), (1, 0), (0, 0)))
        read = tf.cumsum(tf.cast(mask, tf.int32), axis=1)
        last = tf.gather(outputs, read[:, -1], batch_dims=1)
        if self.return_sequences:
            outputs = tf.gather(outputs, read, batch_dims=1)
    # The states are not used.
    return last, outputs if self.return_sequences else last[:, tf.newaxis], list(initial_state)


@_custom_gradient
def _lstm_steps(
    x: tf.Tensor,
    kernel: tf.Tensor,
    recurrent: tf.Tensor,
    bias: tf.Tensor,
    h: tf.Tensor,
    c: tf.Tensor,
) -> Any:
    """Outputs of an LSTM (Hochreiter and Schmidhuber, 1997; gates in Keras' order i, f, g, o).

    Only what depends on the step before is computed step by step: one product forwards and one
    backwards. All gradients of weights are products over all steps at once.

    Args:
        x: float32 (batch, steps, features).
        kernel: float32 (features, 4 units).
        recurrent: float32 (units, 4 units).
        bias: float32 (4 units,).
        h: Output before the first step, float32 (batch, units).
        c: State before the first step, float32 (batch, units).

    Returns:
        float32 (steps, batch, units), and the function of its gradient.
    """
    units, features = recurrent.shape[0], kernel.shape[0]
    steps, batch = tf.shape(x)[1], tf.shape(x)[0]
    rows = tf.reshape(tf.transpose(x, (1, 0, 2)), (-1, features))
    # tanh(g) = 2 sigmoid(2 g) - 1, so that one operation computes all gates.
    double = tf.repeat(tf.constant([1.0, 1.0, 2.0, 1.0]), units)
    inputs = tf.reshape(tf.matmul(rows, kernel * double) + bias * double, (steps, batch, 4 * units))
    doubled = recurrent * double

    def array() -> tf.TensorArray:
        return tf.TensorArray(tf.float32, steps)

    def forwards(t: Any, h: Any, c: Any, gates: Any, states: Any) -> tuple:
        gate = tf.sigmoid(inputs[t] + tf.matmul(h, doubled))
        i, f, g, o = tf.split(gate, 4, 1)
        c = f * c + i * (g + g - 1.0)
        return t + 1, o * tf.tanh(c), c, gates.write(t, gate), states.write(t, c)

    *_, gate_array, state_array = tf.while_loop(
        lambda t, *_: t < steps, forwards, (0, h, c, array(), array()), parallel_iterations=1
    )
    i, f, g, o = tf.split(gate_array.stack(), 4, 2)
    g, states = g + g - 1.0, state_array.stack()
    squashed = tf.tanh(states)
    outputs = o * squashed

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
        before = tf.concat([c[tf.newaxis], states[:-1]], 0)
        to_state = o * (1 - squashed * squashed)
        slopes = tf.concat(
            [g * i * (1 - i), before * f * (1 - f), i * (1 - g * g), squashed * o * (1 - o)], 2
        )
        transposed = tf.transpose(recurrent)

        def backwards(t: Any, dh: Any, dc: Any, gates: Any) -> tuple:
            dh += upstream[t]
            dc += dh * to_state[t]
            gate = tf.concat([dc, dc, dc, dh], 1) * slopes[t]
            return t - 1, tf.matmul(gate, transposed), dc * f[t], gates.write(t, gate)

        none = tf.zeros((batch, units))
        _, dh, dc, gate_array = tf.while_loop(
            lambda t, *_: t >= 0, backwards, (steps - 1, none, none, array()), parallel_iterations=1
        )
        gates = tf.reshape(gate_array.stack(), (-1, 4 * units))
        past = tf.reshape(tf.concat([h[tf.newaxis], outputs[:-1]], 0), (-1, units))
        to_inputs = tf.reshape(tf.matmul(gates, kernel, transpose_b=True), (steps, batch, features))
        return (
            tf.transpose(to_inputs, (1, 0, 2)),
            tf.matmul(rows, gates, transpose_a=True),
            tf.matmul(past, gates, transpose_a=True),
            tf.reduce_sum(gates, 0),
            dh,
            dc,
        )

    return outputs, gradient


def _attention(
    self: Any,
    keras_attention: Callable,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any = None,
    training: bool | None = None,
    return_attention_scores: bool = False,
    use_causal_mask: bool = False,
) -> Any:
    dropped = bool(self._dropout and training)
    keys_only = attention_mask is None or (
        attention_mask.shape.rank == 3 and attention_mask.shape[1] == 1
    )
    if (
        not keys_only
        or use_causal_mask
        or return_attention_scores
        or query.shape.rank != 4
        or query.dtype != tf.float32
    ):
        return keras_attention(
            query,
            key,
            value,
            attention_mask=attention_mask,
            training=training,
            return_attention_scores=return_attention_scores,
            **({"use_causal_mask": True} if use_causal_mask else {}),
        )
    query, key, value = (tf.transpose(part, (0, 2, 1, 3)) for part in (query, key, value))
    query *= self._inverse_sqrt_key_dim
    if attention_mask is not None:
        # A further column of the product adds the mask to the scores. Where nothing may be read,
        # nothing is learned.
        allowed = tf.cast(attention_mask, tf.float32)[:, tf.newaxis]  # (batch, 1, 1, keys)
        query *= tf.reduce_max(allowed, -1, keepdims=True)
        query = tf.concat([query, tf.ones_like(query[..., :1])], -1)
        hidden = tf.transpose((allowed - 1) * 1e9, (0, 1, 3, 2))
        hidden = tf.broadcast_to(hidden, tf.shape(key[..., :1]))
        key = tf.concat([key, hidden], -1)
    if dropped:
        scores = tf.nn.softmax(tf.matmul(query, key, transpose_b=True))
        context = tf.matmul(self._dropout_layer(scores, training=training), value)
    else:
        context = _attend(query, key, value)
    return tf.transpose(context, (0, 2, 1, 3)), None


@_custom_gradient
def _attend(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor) -> Any:
    """softmax(query key^T) value, with few passes over the scores when differentiated.

    The sum over keys of probability times its gradient equals that of context times its gradient:
    Dao et al. (2022), FlashAttention, appendix B.2. Subtracting it is a column of the product.
    """
    scores = tf.nn.softmax(tf.matmul(query, key, transpose_b=True))
    context = tf.matmul(scores, value)

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        shared = tf.reduce_sum(upstream * context, -1, keepdims=True)
        left = tf.concat([upstream, -shared], -1)
        right = tf.concat([value, tf.ones_like(value[..., :1])], -1)
        logits = scores * tf.matmul(left, right, transpose_b=True)
        return (
            tf.matmul(logits, key),
            tf.matmul(logits, query, transpose_a=True),
            tf.matmul(scores, upstream, transpose_a=True),
        )

    return context, gradient


_METHODS: dict[type, tuple[str, Callable]] = {
    **OPTIMIZERS,
    layers.BatchNormalization: ("call", _batch_normalization),
    layers.EinsumDense: ("call", _einsum_dense),
    layers.LSTM: ("inner_loop", _lstm),
    layers.MultiHeadAttention: ("_compute_attention", _attention),
}
