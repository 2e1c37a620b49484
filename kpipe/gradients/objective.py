"""A model's loss in float64, as a function of its variables and inputs."""

import contextlib
import inspect
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def as_model(model: keras.Layer, x: object) -> keras.Model:
    """Returns the built model; a layer is wrapped in a model.

    Raises:
        ValueError: `model` is neither.
    """
    if isinstance(model, keras.Model):
        if not model.built:
            model(keras.tree.map_structure(np.asarray, x))
        return model
    if not isinstance(model, keras.Layer):
        raise ValueError(f"model={model!r}: expected a Keras model or layer")
    inputs = keras.tree.map_structure(
        lambda a: keras.Input(batch_shape=np.shape(a), dtype=str(np.asarray(a).dtype)), x
    )
    return keras.Model(inputs, model(inputs), name=model.name)


_LOCK = threading.RLock()


@contextlib.contextmanager
def in_float64(model: keras.Model) -> Iterator[None]:
    """Makes all layers, casts and losses compute in float64 until the block ends.

    It affects the whole process: one thread at a time, and no other thread should train.
    """
    with _LOCK, contextlib.ExitStack() as changes:
        _change_to_float64(model, changes)
        yield


def _change_to_float64(model: keras.Model, changes: contextlib.ExitStack) -> None:
    """Sets private attributes: public ones do not reach everything that casts, docs/design.md."""

    def change(owner: object, attribute: str, value: object) -> None:
        changes.callback(setattr, owner, attribute, getattr(owner, attribute))
        setattr(owner, attribute, value)

    changes.callback(keras.config.set_floatx, keras.config.floatx())
    keras.config.set_floatx("float64")
    policy = keras.DTypePolicy("float64")
    for layer in model._flatten_layers():
        change(layer, "_dtype_policy", policy)
        # A Sequential in a model casts to the dtype of its input layer.
        if isinstance(layer, keras.layers.InputLayer) and keras.backend.is_float_dtype(layer.dtype):
            change(layer, "_dtype", "float64")
        if not isinstance(layer, keras.Model):
            continue
        # A functional model casts its inputs and tensors of its graph.
        for tensor in getattr(layer, "inputs", None) or ():
            if keras.backend.is_float_dtype(tensor.dtype):
                change(tensor, "_dtype", "float64")
        for operation in getattr(layer, "operations", ()):
            dtype = getattr(operation, "dtype", None)
            if isinstance(operation, keras.Layer) or not isinstance(dtype, str):
                continue
            if keras.backend.is_float_dtype(dtype):
                change(operation, "dtype", "float64")
    for variable in model.variables:  # a StatelessScope casts to their dtype
        if keras.backend.is_float_dtype(variable.dtype):
            change(variable, "_dtype", "float64")
    # All loss objects, including those inside a function or a layer.
    change(keras.losses.Loss, "dtype", property(lambda loss: "float64"))


class Objective:
    """The loss, and a random projection of the outputs, as functions of variables and inputs.

    Everything else is fixed: integer inputs, the statistics of batch normalization, and the seeds
    of random layers, which therefore draw the same numbers at every evaluation.

    Attributes:
        values: Float64 arrays: the trainable variables, then the float inputs.
        names: The name of each value.
        evaluate: Function from such values to the loss and the projection, float64 (2,).
        differentiate: Function from such values to the gradients of both in every value.

    Raises:
        ValueError: There is no variable or float input, or the outputs are not float64.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: object,
        x: object,
        y: object,
        training: bool,
        rng: np.random.Generator,
    ) -> None:
        self.model, self.loss, self.y = model, loss, y
        self.options: dict[str, bool] = {}
        if "training" in inspect.signature(model.call).parameters:
            self.options["training"] = training
        self.others = [_float64(variable) for variable in model.non_trainable_variables]
        self.structure = x
        self.inputs = [np.asarray(part) for part in keras.tree.flatten(x)]
        declared = [tensor.dtype for tensor in getattr(model, "inputs", None) or self.inputs]
        self.free = [
            i
            for i, part in enumerate(self.inputs)
            if part.dtype.kind == "f" and keras.backend.is_float_dtype(str(declared[i]))
        ]
        self.count = len(model.trainable_variables)
        self.values = [np.array(_float64(v)) for v in model.trainable_variables]
        self.values += [self.inputs[i].astype("float64") for i in self.free]
        self.names = [variable.path for variable in model.trainable_variables]
        self.names += [f"input {i}" if len(self.inputs) > 1 else "input" for i in self.free]
        if not self.values:
            raise ValueError(
                f"model {model.name!r} has no trainable variables and no float inputs; expected "
                "one of them: there is no gradient to check"
            )
        outputs = self._floats(self._call(self.values)[0])
        narrow = sorted({o.dtype.name for o in outputs if o.dtype != tf.float64})
        if narrow or not outputs:
            raise ValueError(
                f"model {model.name!r} outputs {' and '.join(narrow) or 'no floats'}; expected "
                "float64, which differences need: remove the layer that casts its outputs"
            )
        self.projectors = [rng.standard_normal(o.shape) for o in outputs]
        specs = [tf.TensorSpec(value.shape, tf.float64) for value in self.values]
        self.evaluate = tf.function(self._both).get_concrete_function(specs)
        self.differentiate = tf.function(self._gradients).get_concrete_function(specs)

    def _call(self, values: Sequence[tf.Tensor]) -> tuple[Any, list[tf.Tensor]]:
        """Computes the outputs, and the losses added by layers."""
        inputs = list(self.inputs)
        for i, value in zip(self.free, values[self.count :], strict=True):
            inputs[i] = value
        x = keras.tree.pack_sequence_as(self.structure, [tf.convert_to_tensor(i) for i in inputs])
        outputs, _, added = self.model.stateless_call(
            list(values[: self.count]), self.others, x, return_losses=True, **self.options
        )
        return outputs, added

    @staticmethod
    def _floats(outputs: Any) -> list[tf.Tensor]:
        return [o for o in keras.tree.flatten(outputs) if o.dtype.is_floating]

    def _both(self, values: Sequence[tf.Tensor]) -> tf.Tensor:
        """Computes the loss and the projection, (2,)."""
        outputs, added = self._call(values)
        floats = self._floats(outputs)
        if self.loss is not None:
            total = _loss_of(self.loss, self.y, outputs)
        elif added:
            total = tf.zeros((), tf.float64)
        else:
            total = tf.add_n([tf.reduce_mean(tf.square(o)) / 2 for o in floats])
        total += tf.add_n([tf.reduce_sum(part) for part in added]) if added else 0.0
        pairs = zip(self.projectors, floats, strict=True)
        return tf.stack([total, tf.add_n([tf.reduce_sum(u * o) for u, o in pairs])])

    def _gradients(self, values: Sequence[tf.Tensor]) -> list[list[tf.Tensor]]:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(values)
            loss, projection = tf.unstack(self._both(values))
        zero = tf.UnconnectedGradients.ZERO
        return [
            [
                tf.convert_to_tensor(g)
                for g in tape.gradient(target, values, unconnected_gradients=zero)
            ]
            for target in (loss, projection)
        ]


def _float64(variable: keras.Variable) -> tf.Tensor:
    value = tf.convert_to_tensor(variable.value)
    return tf.cast(value, tf.float64) if value.dtype.is_floating else value


def _loss_of(loss: Any, y: Any, outputs: Any) -> tf.Tensor:
    """Computes the mean loss over the examples, summed over several outputs."""
    if isinstance(loss, dict):
        return tf.add_n([_loss_of(part, y[name], outputs[name]) for name, part in loss.items()])
    if isinstance(loss, (list, tuple)):
        return tf.add_n([_loss_of(*part) for part in zip(loss, y, outputs, strict=True)])
    several = keras.tree.flatten(outputs)
    if len(several) > 1:
        raise ValueError(
            f"loss={loss!r} for {len(several)} outputs; expected a dict or list with one for each"
        )
    if y is None:
        raise ValueError(f"loss={loss!r} and y=None; expected the targets of x")
    y = tf.convert_to_tensor(y)  # as in training, and as precise as the outputs
    y = tf.cast(y, tf.float64) if y.dtype.is_floating else y
    return tf.reduce_mean(keras.losses.get(loss)(y, several[0]))
