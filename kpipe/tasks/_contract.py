"""Contract between model, data and task, checked on a few examples before training."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..data import Data
from ..errors import RunError, UserError, first_line
from ..export.answers import PROBABILITIES, TOLERANCE, find_wrong

EXAMPLES = 4  # size of the dry batch

# Function from one output to another, of Keras layers only: saved models do not need kpipe.
Transform = Callable[[Any], Any]


def dry_batch(model: keras.Model, data: Data) -> Any:
    """Returns the model's outputs for a few training examples.

    Raises:
        UserError: The model does not accept the inputs.
    """
    inputs = inputs_of(model)
    if len(inputs) > 1:
        names = ", ".join(tensor.name for tensor in inputs)
        raise UserError(
            f"{model.name} takes {len(inputs)} inputs ({names}); expected one, "
            f"{_given(data)}: join them in load_data, or split them inside the model"
        )
    x, _ = data.train.take_pairs(_dry_positions(data))
    for tensor in inputs:
        wanted = tuple(tensor.shape[1:])
        fits = len(wanted) == x.ndim - 1 and all(
            size in (None, given) for size, given in zip(wanted, x.shape[1:], strict=True)
        )
        if not fits:
            raise UserError(
                f"{model.name} takes {per_example(wanted)} ({tensor.name}); expected "
                f"{_given(data)}: change the model's Input or the dataset"
            )
    try:
        outputs = _as_graph(lambda x: model(x, training=False))(x)
    except Exception as error:  # layers raise errors of many types
        raise UserError(
            f"{model.name} cannot process {_given(data)}: {first_line(error)}; "
            "change build_model or load_data so that they fit"
        ) from error
    if _is_mixed(model) and not inputs:
        raise UserError(
            f"{model.name} is a subclassed model in mixed precision, which cannot be exported in "
            "float32; build it with keras.Model(inputs, outputs), or train it in float32"
        )
    return outputs


def _as_graph(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a graph, as in training: some functions with custom gradients cannot run eagerly."""
    return tf.function(tf.autograph.experimental.do_not_convert(function))


def check_loss(model: keras.Model, data: Data, outputs: Any) -> None:
    """Computes the loss of a dry batch; a model that is not compiled has none.

    Args:
        model: The built model.
        data: The data; a few training examples are used.
        outputs: Result of `dry_batch`.

    Raises:
        UserError: The loss does not accept the outputs or the targets.
    """
    if not model.compiled:
        return
    x, y = data.train.take_pairs(_dry_positions(data))

    def compute(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        # Recomputes the outputs: losses added by layers belong to the graph of their call.
        y_pred = model(x, training=False)
        return model.compute_loss(x=x, y=y, y_pred=y_pred, training=False)

    try:
        _as_graph(compute)(x, y)
    except Exception as error:  # losses raise errors of many types
        raise UserError(
            f"the loss of {model.name} cannot compare outputs {_describe(outputs)} with "
            f"targets of shape {per_example(y.shape[1:])}, {y.dtype}: {first_line(error)}; "
            "change loss, outputs or labels so that they fit"
        ) from error
    model.reset_metrics()


def _dry_positions(data: Data) -> np.ndarray:
    return np.arange(min(EXAMPLES, len(data.train)))


def one_output(model: keras.Model, outputs: Any, name: str) -> tuple[str | None, np.ndarray]:
    """Finds the output of that name, or the only one; returns its name or None, and its values.

    Raises:
        UserError: There are several outputs, and none has that name.
    """
    if isinstance(outputs, (list, tuple)) and len(outputs) == 1:
        outputs = outputs[0]
    if not isinstance(outputs, (dict, list, tuple)):
        return None, np.asarray(outputs, dtype=np.float32)
    if isinstance(outputs, dict):
        key = name if name in outputs else next(iter(outputs), "")
        if name in outputs or len(outputs) == 1:
            return key, np.asarray(outputs[key], dtype=np.float32)
    raise UserError(
        f"{model.name} has the outputs {_describe(outputs)}; expected one output, or one named "
        f"{name!r}: keras.Model(inputs, {{{name!r}: ...}})"
    )


def takes_logits(model: keras.Model, output: str | None) -> bool:
    """Whether the loss of an output applies softmax or sigmoid itself: `from_logits=True`."""
    loss = model.loss
    if isinstance(loss, dict):
        loss = loss.get(output)
    elif isinstance(loss, (list, tuple)) and len(loss) == 1:
        loss = loss[0]
    options = getattr(loss, "keywords", None) or getattr(loss, "_fn_kwargs", None) or {}
    return bool(getattr(loss, "from_logits", options.get("from_logits", False)))


def probabilities_of(model: keras.Model, data: Data, *, exclusive: bool) -> Transform | None:
    """Returns the function that converts the model's output to probabilities, one per label name.

    It is None if the output already is probabilities.

    Args:
        model: The built model.
        data: Data with one label name for each probability.
        exclusive: Whether an example has one label, so that a row sums to 1.

    Raises:
        UserError: The output cannot be converted; the message is one line and suggests a fix.
    """
    names = data.label_names
    outputs = dry_batch(model, data)
    output, values = one_output(model, outputs, "probabilities")
    single = exclusive and len(names) == 2 and values.shape[1:] in ((1,), ())
    if values.shape[1:] != (len(names),) and not single:
        raise UserError(
            f"{model.name} outputs {per_example(values.shape[1:])} per example; expected "
            f"{len(names)} probabilities, one for each label name ({list_names(names)}): change "
            "its last layer"
        )
    check_loss(model, data, outputs)
    logits = takes_logits(model, output)
    if single:

        def two(output: Any) -> Any:
            probability = keras.layers.Reshape((1,), dtype="float32")(output)
            if logits:
                probability = _activate("sigmoid")(probability)
            return keras.layers.Concatenate(dtype="float32")([1 - probability, probability])

        transform: Transform | None = two
    elif logits:
        transform = _activate("softmax" if exclusive else "sigmoid")
    else:
        transform = None
    checked = values if transform is None else np.asarray(transform(values))
    _check_probabilities(model, checked, exclusive)
    return transform


def _activate(activation: str) -> Transform:
    return lambda output: keras.layers.Activation(activation, dtype="float32")(output)


def _check_probabilities(model: keras.Model, values: np.ndarray, exclusive: bool) -> None:
    activation = "softmax" if exclusive else "sigmoid"
    mend = f'end the model with activation="{activation}", or set from_logits=True in its loss'
    if not np.isfinite(values).all():
        raise UserError(
            f"{model.name} outputs NaN or infinity for training examples; look for a division by 0 "
            "or a logarithm in its layers"
        )
    if values.min() < -TOLERANCE or values.max() > 1 + TOLERANCE:
        raise UserError(
            f"{model.name} outputs {values.min():.3g} to {values.max():.3g}; expected "
            f"probabilities: {mend}"
        )
    sums = values.sum(axis=1)
    if exclusive and np.abs(sums - 1).max() > TOLERANCE:
        worst = sums[np.abs(sums - 1).argmax()]
        raise UserError(
            f"{model.name} outputs probabilities that sum to {worst:.3g}; expected 1: {mend}; if "
            'an example can have several labels, set task = "multilabel"'
        )


def check_answers(arrays: Mapping[str, np.ndarray], *, exclusive: bool) -> None:
    """Checks the probabilities of the test split, before the model is exported.

    Args:
        arrays: Content of predictions.npz.
        exclusive: Whether an example has one label, so that a row sums to 1.

    Raises:
        RunError: They are not finite, not between 0 and 1, or do not sum to 1; the message names
            the test example.
    """
    answers = {name: arrays[name] for name in PROBABILITIES if name in arrays}
    if wrong := find_wrong(answers, exclusive):
        row, problem = wrong
        raise RunError(f"test example {row}: {problem}; the model is not exported")


def inference_model(
    model: keras.Model, data: Data, name: str, transform: Transform | None
) -> keras.Model:
    """Builds the model that is evaluated and exported: one output of that name, in float32.

    It shares its layers with the trained model, and is the trained model if nothing changes. With
    `Augmentation.flip_at_test` its output is the mean over each image and its mirror image.

    Args:
        model: The trained model.
        data: Data with the model's inputs.
        name: Name of the output.
        transform: Function applied to the model's output, see `probabilities_of`; None for none.
    """
    whole = _with_one_output(model, data, name, transform)
    return _over_mirrored(whole, name) if data.augmentation.flip_at_test else whole


def _over_mirrored(model: keras.Model, name: str) -> keras.Model:
    images = keras.Input(model.inputs[0].shape[1:], dtype=model.inputs[0].dtype, name="images")
    # One batch of twice the size, so that the graph contains each layer once.
    both = keras.ops.concatenate([images, keras.ops.flip(images, axis=2)], axis=0)
    plain, mirrored = keras.ops.split(model(both)[name], 2, axis=0)
    return keras.Model(images, {name: (plain + mirrored) / 2}, name=model.name)


def _with_one_output(
    model: keras.Model, data: Data, name: str, transform: Transform | None
) -> keras.Model:
    if _is_mixed(model):
        model = _in_float32(model)
    if inputs := inputs_of(model):
        # A Sequential has `outputs` only.
        outputs = model.outputs[0] if isinstance(model, keras.Sequential) else model.output
        if transform is None and isinstance(outputs, dict) and name in outputs:
            return model
    else:
        shape, dtype = data.train.column.row_shape, data.train.inputs.dtype.name
        inputs = [keras.Input(shape, dtype=dtype, name=data.input.name)]
        outputs = model(inputs[0])
    if isinstance(outputs, (list, tuple)):
        outputs = outputs[0]
    elif isinstance(outputs, dict):
        outputs = outputs[name] if name in outputs else next(iter(outputs.values()))
    if transform is not None:
        outputs = transform(outputs)
    outputs = keras.layers.Activation("linear", dtype="float32")(outputs)
    return keras.Model(inputs[0], {name: outputs}, name=model.name)


def inputs_of(model: keras.Model) -> list[Any]:
    """The model's symbolic inputs; none of a subclassed model."""
    return list(getattr(model, "inputs", None) or ())


def _is_mixed(model: keras.Model) -> bool:
    """Whether a layer computes in a precision other than float32."""
    layers = model._flatten_layers(include_self=False)
    return any(layer.compute_dtype != "float32" for layer in layers if layer.weights)


def _in_float32(model: keras.Model) -> keras.Model:
    """Copies a mixed-precision model; the copy computes in float32."""

    def copy(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        # An operation of keras.ops is no layer, and the dtype of a cast is its own.
        if isinstance(layer, keras.Layer) and not isinstance(layer, keras.layers.InputLayer):
            config["dtype"] = "float32"
        return type(layer).from_config(config)

    clone = keras.models.clone_model(model, clone_function=copy)
    clone.set_weights(model.get_weights())
    return clone


def _given(data: Data) -> str:
    inputs = data.train.inputs
    return f"{data.input.name} of shape {per_example(data.train.column.row_shape)}, {inputs.dtype}"


def per_example(shape: Sequence[int | None]) -> str:
    """Writes the shape of one example's values."""
    if tuple(shape) in ((), (1,)):
        return "one number"
    return f"({', '.join('any' if size is None else str(size) for size in shape)})"


def _describe(outputs: Any) -> str:
    if isinstance(outputs, dict):
        return ", ".join(
            f"{name} {per_example(value.shape[1:])}" for name, value in outputs.items()
        )
    if isinstance(outputs, (list, tuple)):
        return ", ".join(per_example(value.shape[1:]) for value in outputs)
    return per_example(outputs.shape[1:])


def list_names(names: Sequence[str]) -> str:
    """Writes the first names."""
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
