"""What the loss learns from: weights of examples, mixed examples and smoothed labels."""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..data import Split
from ..errors import UserError
from ..inputs import ArrayInput, ImageInput, InputTargets
from .weighting import Weigh

SMALLEST_MIXUP = 0.05  # gamma variables of a smaller alpha are below the smallest float32


@dataclasses.dataclass(frozen=True)
class Supervision:
    """What a training step gets besides the examples; validation gets the examples alone.

    Attributes:
        weigh: Function from the network's inputs and targets to weights of examples, or None.
        mixup: alpha of the mixing of examples, see `Trainer`; 0 for none.
        label_smoothing: Share of a label that all classes divide; 0 for none.
        classes: Number of classes, if a label is one of them; 0 for other targets.
        are_labels: Whether other targets are labels, 0 or 1; otherwise they are numbers.
    """

    weigh: Weigh | None = None
    mixup: float = 0.0
    label_smoothing: float = 0.0
    classes: int = 0
    are_labels: bool = False

    @property
    def softens(self) -> bool:
        """Whether targets are no longer the labels."""
        return bool(self.mixup or self.label_smoothing)

    def of_batch(
        self, inputs: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Returns the parts of a training batch, in a tf.data pipeline.

        Zhang et al. (2018), equation 1, with a ratio for every example: x = r x_i + (1 - r) x_j and
        y = r y_i + (1 - r) y_j, where j is the next example of the batch. With weights w the shares
        of the two losses are r w_i and (1 - r) w_j: the mixed example's weight is their sum, and y
        is divided by it. Szegedy et al. (2016), section 7: a label becomes 1 - s + s/k for its
        class, and s/k for the k - 1 others.

        Args:
            inputs: (steps, batch, ...).
            targets: (steps, batch) or (steps, batch, labels).
            seed: int64 (2,).

        Returns:
            Inputs, targets and, with `weigh`, weights, float32 (steps, batch). Targets of classes
            are float32 (steps, batch, classes) if they are softened.
        """
        weights = () if self.weigh is None else (self._weights(inputs, targets),)
        if self.classes and self.softens:
            targets = tf.one_hot(targets, self.classes)
        if self.label_smoothing:
            parts = self.classes or 2  # of a label that is 0 or 1
            smooth = self.label_smoothing
            targets = tf.cast(targets, tf.float32) * (1 - smooth) + smooth / parts
        if self.mixup:
            # The ratio of two gamma variables is a beta variable.
            alpha, count = tf.constant(self.mixup, tf.float32), tf.shape(inputs)[:2]
            shape = tf.concat([count, [2]], 0)
            drawn = tf.random.stateless_gamma(shape, seed, alpha) + 1e-30
            ratio = drawn[..., 0] / tf.reduce_sum(drawn, -1)
            inputs, targets = _mixed(inputs, ratio), tf.cast(targets, tf.float32)
            if weights:
                first, second = ratio * weights[0], (1 - ratio) * tf.roll(weights[0], -1, axis=1)
                weights = (first + second,)
                # Without any weight the targets are of no consequence, but must be numbers.
                ratio = tf.where(weights[0] > 0, first / weights[0], ratio)
            targets = _mixed(targets, ratio)
        return (inputs, targets, *weights)

    def _weights(self, inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """Applies `weigh`, which expects a batch without steps."""
        assert self.weigh is not None
        steps = tf.shape(targets)[:2]
        flat = (tf.reshape(p, tf.concat([[-1], tf.shape(p)[2:]], 0)) for p in (inputs, targets))
        return tf.reshape(tf.cast(self.weigh(*flat), tf.float32), steps)

    @contextlib.contextmanager
    def learned_by(self, model: keras.Model) -> Iterator[None]:
        """Lets a model learn softened targets; those of val remain labels."""
        if not self.softens:
            yield
            return
        own = {}
        if self.classes:
            own["compute_loss"] = _loss_of_shares(model)
        if self.classes or self.are_labels:
            own["compute_metrics"] = _metrics_of_labels(model, bool(self.classes))
        for name, function in own.items():
            # Not through Keras' own __setattr__, which would track the function.
            object.__setattr__(model, name, function)
        try:
            yield
        finally:
            for name in own:
                object.__delattr__(model, name)


PLAIN = Supervision()


def supervise(
    model: keras.Model, train: Split, weigh: Weigh | None, mixup: float, label_smoothing: float
) -> Supervision:
    """Returns what a Trainer's settings ask for, for these examples.

    Raises:
        UserError: Inputs, targets or the loss of the model cannot be mixed or smoothed.
    """
    if not (mixup or label_smoothing):
        return Supervision(weigh)
    asked = f"mixup={mixup}" if mixup else f"label_smoothing={label_smoothing}"
    if 0 < mixup < SMALLEST_MIXUP:
        raise UserError(f"mixup={mixup}: expected 0 for none, or {SMALLEST_MIXUP} to 100")
    if isinstance(train.targets, InputTargets):
        raise UserError(f"{asked}: targets are the inputs themselves; use it with labels only")
    mixes = isinstance(train.input, ImageInput) or (
        type(train.input) is ArrayInput and train.inputs.dtype.kind == "f"
    )
    if mixup and not mixes:
        raise UserError(
            f"mixup={mixup}: a mean of two {train.input.name} is not one; expected images or "
            "vectors of floats: use mixup=0"
        )
    inputs, targets = train.take_pairs(np.arange(1))
    are_labels = targets.dtype.kind in "iu"
    is_class = are_labels and targets.ndim == 1
    if label_smoothing and not are_labels:
        raise UserError(
            f"label_smoothing={label_smoothing}: targets are numbers, not classes; use "
            "label_smoothing=0"
        )
    classes = _classes(model, inputs, asked) if is_class else 0
    return Supervision(weigh, mixup, label_smoothing, classes, are_labels)


def _classes(model: keras.Model, inputs: np.ndarray, asked: str) -> int:
    """Returns the number of classes of a model that can learn shares of them.

    Raises:
        UserError: Its loss or its outputs are others.
    """
    if _from_logits(model) is None:
        names = ", ".join(map(_name_of, keras.tree.flatten(getattr(model, "loss", None))))
        raise UserError(
            f"{asked} with loss={names}: of whole numbers as labels, expected "
            "'sparse_categorical_crossentropy' without ignore_class and loss_weights, which is "
            "defined between classes too; labels that are no classes must be floats"
        )
    for name in ("train_step", "compute_loss"):
        if getattr(type(model), name) is not getattr(keras.Model, name):
            raise UserError(f"{asked}: {model.name} has a {name} of its own, which expects labels")
    if not (outputs := getattr(model, "outputs", None)):  # a subclassed model has none
        outputs = keras.tree.flatten(model(keras.Input(inputs.shape[1:], dtype=inputs.dtype.name)))
    if len(outputs) != 1:
        raise UserError(f"{asked}: {model.name} has {len(outputs)} outputs; expected one")
    return int(outputs[0].shape[-1])


def _name_of(loss: Any) -> str:
    return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)


def _mixed(values: tf.Tensor, ratio: tf.Tensor) -> tf.Tensor:
    """Mixes every example with the next one of its batch, the last with the first."""
    shape = tf.concat([tf.shape(ratio), [1] * (values.shape.rank - 2)], 0)
    ratio, given = tf.reshape(ratio, shape), tf.cast(values, tf.float32)
    mixed = ratio * given + (1 - ratio) * tf.roll(given, -1, axis=1)
    if values.dtype.is_integer:
        mixed = tf.round(mixed)
    return tf.cast(mixed, values.dtype)


def _from_logits(model: keras.Model) -> bool | None:
    """Whether the loss is the cross-entropy of logits, or of probabilities; None for others."""
    losses = keras.tree.flatten(getattr(model, "loss", None))
    compiled = getattr(model, "_compile_config", None)  # private in Keras 3
    if len(losses) != 1 or (compiled and compiled.config.get("loss_weights")):
        return None
    if isinstance(losses[0], str):
        try:
            losses = [keras.losses.get(losses[0])]
        except ValueError:
            return None
    loss = losses[0]
    if loss is keras.losses.sparse_categorical_crossentropy:
        return False
    if type(loss) is keras.losses.SparseCategoricalCrossentropy and loss.ignore_class is None:
        return bool(loss.from_logits)
    return None


def _is_soft(targets: Any, outputs: Any) -> bool:
    return bool(targets.dtype.is_floating and targets.shape.rank == outputs.shape.rank)


def _loss_of_shares(model: keras.Model) -> Any:
    """Returns `compute_loss` of a cross-entropy for targets that are shares of the classes."""
    original = model.compute_loss
    (loss,) = keras.tree.flatten(model.loss)
    reduction = getattr(loss, "reduction", "sum_over_batch_size")
    soft = keras.losses.CategoricalCrossentropy(bool(_from_logits(model)), reduction=reduction)

    def compute_loss(
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        (outputs,) = keras.tree.flatten(y_pred)
        if not _is_soft(y, outputs):
            return original(x, y, y_pred, sample_weight, training=training)
        terms = [soft(y, outputs, sample_weight), *map(keras.ops.sum, model.losses)]
        return sum(terms[1:], terms[0])

    return compute_loss


def _metrics_of_labels(model: keras.Model, are_classes: bool) -> Any:
    """Returns `compute_metrics` with the nearest labels instead of softened ones."""
    original = model.compute_metrics

    def compute_metrics(x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if not are_classes:
            y = tf.round(y)
        elif _is_soft(y, keras.tree.flatten(y_pred)[0]):
            y = tf.argmax(y, axis=-1, output_type=tf.int32)
        return original(x, y, y_pred, sample_weight)

    return compute_metrics
