"""Single TensorFlow kernels for the updates of optimizers, see `kernels`."""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import optimizers

# Smaller weights are updated by Keras: TensorFlow hands a kernel to another thread, which takes
# longer than Adam's twelve operations on a few numbers. Measured: 0.51 ms a step instead of 0.43.
LEAST_VALUES = 10_000


def _left_to_keras(variable: Any) -> bool:
    return variable.dtype != "float32" or math.prod(variable.shape) < LEAST_VALUES


def _handle(variable: Any) -> tf.Tensor:
    return (variable.value if isinstance(variable, keras.Variable) else variable).handle


# Each gets the optimizer, Keras' own method for what the kernel cannot do, and its arguments.


def _adam(self: Any, keras_update: Callable, gradient: Any, variable: Any, rate: Any) -> None:
    if _left_to_keras(variable) or self.amsgrad or not (self.beta_1 and self.beta_2):
        return keras_update(gradient, variable, rate)
    index = self._get_variable_index(variable)
    mean, square = self._momentums[index], self._velocities[index]
    beta_1, beta_2 = self.beta_1, self.beta_2
    step = tf.cast(self.iterations + 1, tf.float32)  # a tensor or a variable
    powers = {
        "beta1_power": tf.pow(tf.constant(beta_1, tf.float32), step),
        "beta2_power": tf.pow(tf.constant(beta_2, tf.float32), step),
    }
    if isinstance(gradient, tf.IndexedSlices):
        # Of a word that occurs several times in a batch, Keras squares each gradient and adds the
        # squares, instead of squaring the sum. So the rows of the words get their gradients here,
        # divided by what the kernel multiplies the moments with, and the kernel zeros.
        for moment, beta, values in (
            (mean, beta_1, gradient.values),
            (square, beta_2, tf.square(gradient.values)),
        ):
            updates = values * ((1 - beta) / beta)
            tf.raw_ops.ResourceScatterAdd(
                resource=_handle(moment), indices=gradient.indices, updates=updates
            )
        gradient = tf.zeros(variable.shape)
    tf.raw_ops.ResourceApplyAdam(
        var=_handle(variable),
        m=_handle(mean),
        v=_handle(square),
        **powers,
        lr=tf.cast(rate, tf.float32),
        beta1=beta_1,
        beta2=beta_2,
        epsilon=self.epsilon,
        grad=tf.convert_to_tensor(gradient),
    )
    return None


def _sgd(self: Any, keras_update: Callable, gradient: Any, variable: Any, rate: Any) -> None:
    if _left_to_keras(variable):
        return keras_update(gradient, variable, rate)
    gradient, rate = tf.convert_to_tensor(gradient), tf.cast(rate, tf.float32)
    if self.momentum == 0:
        tf.raw_ops.ResourceApplyGradientDescent(var=_handle(variable), alpha=rate, delta=gradient)
        return None
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=_handle(variable),
        accum=_handle(self.momentums[self._get_variable_index(variable)]),
        lr=rate,
        grad=gradient,
        momentum=self.momentum,
        use_nesterov=self.nesterov,
    )
    return None


OPTIMIZERS: dict[type, tuple[str, Callable]] = {
    optimizers.Adam: ("update_step", _adam),
    optimizers.AdamW: ("update_step", _adam),
    optimizers.SGD: ("update_step", _sgd),
}
