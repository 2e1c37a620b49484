"""A frozen backbone: its features computed once, the head trained on them, then fine-tuning."""

import dataclasses
import functools
import hashlib
import json
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .. import files
from ..data import Data, Split
from ..datasets import Augmentation
from ..errors import UserError, first_line
from ..inputs import ArrayInput, Column, InputTargets, Rows, load_array, whitening
from ..models.transfer import backbone
from .checkpoint import weights_sha256
from .optimizing import with_rate

BATCH = 64  # examples of one pass through the backbone


@dataclasses.dataclass(frozen=True)
class Cached:
    """The training of a head on features.

    Attributes:
        head: The model from the layer "features" to its outputs; it shares layers and optimizer.
        data: The data with features as inputs, float32 (n, size), and without augmentation.
        seconds: How long the features took to compute, now or when they were cached, without
            compiling.
    """

    head: keras.Model
    data: Data
    seconds: float


def frozen_backbone(model: keras.Model, setting: str) -> keras.Model:
    """Returns the part of a model up to its layer "features".

    Args:
        model: A compiled model.
        setting: The setting that requires it, for error messages.

    Raises:
        UserError: There is no such layer, or a weight before it is trainable.
    """
    try:
        found = backbone(model)
    except (ValueError, AttributeError) as error:
        raise UserError(f"{setting}: {first_line(error)}") from None
    if count := len(found.trainable_weights):
        raise UserError(
            f"{setting} requires a frozen backbone, but {count} weights of {model.name} before "
            "its layer 'features' are trainable; use freeze=true, or "
            "models.backbone(model).trainable = False"
        )
    return found


def cached(model: keras.Model, data: Data) -> Cached:
    """Computes the features of train and val, or opens them in $KPIPE_HOME/features.

    A folder belongs to the backbone's weights and layers, and the inputs of train and val together:
    runs with other heads, settings, labels or divisions of the same examples share it.

    Args:
        model: Compiled model with a frozen backbone.
        data: Data, of which the train and val splits are used; never test.

    Raises:
        UserError: The backbone is not frozen, or the model cannot be divided at "features".
    """
    frozen = frozen_backbone(model, "cache_features=true")
    if isinstance(data.targets, InputTargets):
        raise UserError("cache_features=true: the targets are the inputs; use cache_features=false")
    splits = {name: split for name, split in data.splits.items() if name != "test"}
    if data.augmentation.in_training:
        print(
            "features are computed from images that are not augmented; augmentation applies only "
            "to fine-tuning",
            flush=True,
        )
    seconds, columns = 0.0, {}
    for column in {id(split.inputs): split.column for split in splits.values()}.values():
        own = [split.rows for split in splits.values() if split.inputs is column.values]
        rows = np.unique(np.concatenate(own))
        folder = files.home() / "features" / _digest(frozen, column, rows)
        values, took = files.open_or_write(
            folder,
            lambda folder=folder: _open(folder),  # type: ignore[misc]
            lambda temporary, column=column, rows=rows: _write(  # type: ignore[misc]
                temporary, frozen, column, rows
            ),
        )
        columns[id(column.values)] = values, rows
        seconds += took

    def on_features(split: Split) -> Split:
        values, rows = columns[id(split.inputs)]
        return dataclasses.replace(
            split,
            column=Rows(values),
            labels=split.labels[rows],
            rows=np.searchsorted(rows, split.rows),
            input=ArrayInput(values.shape[1:]),
            groups=None,
            names=None if split.names is None else functools.partial(_named, split.names, rows),
        )

    seen = dataclasses.replace(
        data,
        splits={**data.splits, **{name: on_features(split) for name, split in splits.items()}},
        augmentation=Augmentation(),
    )
    return Cached(_head(model, frozen), seen, seconds)


def _named(names: Callable[[], Sequence[str]], rows: np.ndarray) -> list[str]:
    of_all = names()
    return [of_all[row] for row in rows]


def _head(model: keras.Model, frozen: keras.Model) -> keras.Model:
    """Builds the model from features to outputs, compiled like the whole model."""
    if type(model).train_step is not keras.Model.train_step:
        raise UserError(
            f"cache_features=true: {model.name} has a train_step of its own; "
            "use cache_features=false"
        )
    try:
        head = keras.Model(frozen.output, model.output, name=f"{model.name}_head")
    except ValueError as error:
        raise UserError(
            f"cache_features=true: the outputs of {model.name} do not depend on its layer "
            f"'features' alone ({first_line(error)}); use cache_features=false"
        ) from None
    head.compile(**_compile_arguments(model))
    return head


def _compile_arguments(model: keras.Model) -> dict:
    """Returns the arguments with which a model was compiled, with its optimizer."""
    return {**model._compile_config.config, "optimizer": model.optimizer}  # private in Keras 3


def _digest(frozen: keras.Model, column: Column, rows: np.ndarray) -> str:
    """Hashes what features follow from; data, rows and splits do not say what the inputs are.

    Texts and tables are encoded by what was fitted to the train split, hence by the seed.
    """
    about = [weights_sha256(frozen), frozen.get_config(), tf.__version__, keras.__version__]
    digest = hashlib.sha256(json.dumps(about, default=str).encode())
    for begin in range(0, len(rows), BATCH):
        batch = column.take(rows[begin : begin + BATCH])
        digest.update(f"{batch.dtype} {batch.shape}".encode())
        digest.update(batch.tobytes())
    return digest.hexdigest()[:32]


def _open(folder: pathlib.Path) -> tuple[np.ndarray, float]:
    about: Any = files.read_json(folder / "about.json")
    return load_array(folder / "features.npy"), about["seconds"]


def _write(folder: pathlib.Path, frozen: keras.Model, column: Column, rows: np.ndarray) -> None:
    print(f"computing the features of {len(rows):,} examples, once", flush=True)
    first = column.take(rows[:BATCH])
    spec = tf.TensorSpec((None, *column.row_shape), first.dtype)
    compute = tf.function(lambda x: frozen(x, training=False), input_signature=[spec])
    compute(tf.constant(first))  # compiles, which an epoch through the backbone does once
    size = frozen.output.shape[1:]
    values = files.new_array(folder / "features.npy", dtype=np.float32, shape=(len(rows), *size))
    started = shown = time.monotonic()
    for begin in range(0, len(rows), BATCH):
        batch = column.take(rows[begin : begin + BATCH])
        values[begin : begin + BATCH] = compute(tf.constant(batch)).numpy()
        now, done = time.monotonic(), begin + len(batch)
        if now - shown > 20 and done < len(rows):
            shown, left = now, (now - started) / done * (len(rows) - done)
            print(f"features: {done:,} of {len(rows):,}, {left:.0f} s left", flush=True)
    values.flush()
    about = {"seconds": round(time.monotonic() - started, 4), "examples": len(rows)}
    files.write_json(folder / "about.json", about)


def unfreeze(model: keras.Model, rate: float, decay_steps: int) -> None:
    """Makes a frozen backbone trainable, and compiles the model anew.

    Except batch normalization, and whitening filters.

    Statistics and scales of batch normalization stay those of the data that the backbone was
    pretrained on: small batches would estimate them badly.

    Args:
        model: Compiled model with a frozen backbone.
        rate: Learning rate of the first step.
        decay_steps: Steps in which the rate falls to 0 by a cosine; 0 for a constant rate.
    """
    part = frozen_backbone(model, "fine_tune=true")
    part.trainable = False  # Keras 3.15 ignores a value that the new model already has
    part.trainable = True
    for layer in part._flatten_layers():
        is_fitted = layer.name == whitening.LAYER and isinstance(layer, keras.layers.Conv2D)
        if is_fitted or isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    schedule = keras.optimizers.schedules.CosineDecay(rate, decay_steps) if decay_steps else rate
    arguments = _compile_arguments(model)
    model.compile(**{**arguments, "optimizer": with_rate(model.optimizer, schedule)})
