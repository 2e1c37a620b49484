"""Explains the answers of an export."""

import dataclasses
import math
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import UserError, nearest
from ..export.golden import read_given
from ..export.loading import SavedModel
from ..export.versions import SERVING
from ..inputs import Examples
from ..inputs.images import decode_image
from ..inputs.tokens import UNKNOWN_ID
from . import rows, words
from .attribution import STEPS, can_integrate, grad_cam, integrated_gradients
from .explanation import (
    ARRAY,
    ERASURE,
    GRAD_CAM,
    IMAGE,
    INTEGRATED,
    LOG_ODDS,
    METHODS,
    PROBABILITY,
    RELATIVE,
    TABLE,
    TEXT,
    VALUE,
    Explanation,
)
from .network import Network

DEFAULT, TOKENS = "serving_default", "serving_tokens"
SAME = 1e-4  # largest difference of the answers to a text and to its token ids
GOLDEN = "golden.npz"
BLACK = "a black image"


def explain(
    model: SavedModel,
    examples: Examples,
    *,
    target: str | None = None,
    methods: Sequence[str] = (),
) -> list[Explanation]:
    """Explains what the answers of an export hang on.

    It needs no Keras model and no training data: the export itself is differentiated. It can be
    called by several threads.

    Args:
        model: Result of `kpipe.load`.
        examples: Result of `model.read_files`.
        target: The label that is explained; by default the most probable one of each example.
        methods: Some of `methods_of(model)`; by default all of them.

    Returns:
        For each example one explanation by each method.

    Raises:
        UserError: The model has no labels or value to explain, or target or method is unknown.

    Example:
        model = kpipe.load("saved_models/cifar10_cnn")
        explain(model, model.read_files([pathlib.Path("frog.png")]))[0].effects  # Grad-CAM
    """
    subject = _subject_of(model)
    for method in methods:
        if method not in subject.methods:
            known = nearest(method, subject.methods)
            raise UserError(f"no method {method!r} for this model of {subject.kind}s; {known}")
    if target is not None and target not in subject.targets:
        if subject.output == "value":
            raise UserError(f"target {target!r}: a regression has no labels; leave it out")
        raise UserError(f"no label {target!r}; {nearest(target, subject.targets)}")
    column = None if target is None else subject.targets.index(target)
    ways: dict[str, Callable[..., list[Explanation]]]
    ways = {IMAGE: _image, TEXT: _text, TABLE: _row, ARRAY: _array}
    explain_one = ways[subject.kind]
    given = pixels_of(model, examples) if subject.kind == IMAGE else examples.values
    found = []
    for i in range(len(examples.names)):
        found += explain_one(model, subject, _take(given, i), column, tuple(methods))
    return found


def methods_of(model: SavedModel) -> tuple[str, ...]:
    """Returns the methods that can explain a model, in the order in which they are shown.

    Raises:
        UserError: The model has no labels or value to explain.
    """
    return _subject_of(model).methods


def kind_of(model: SavedModel) -> str:
    """Returns what a model takes: "image", "text", "table" or "array"."""
    spec = model.input_spec
    if spec is None:
        return TABLE
    if spec.dtype == tf.string:
        return TEXT
    return IMAGE if spec.shape.rank == 4 else ARRAY


def pixels_of(model: SavedModel, examples: Examples) -> np.ndarray:
    """Decodes images as the model does: uint8 (n, height, width, channels).

    Args:
        model: A model of images.
        examples: Encoded files, or pixels.

    Raises:
        UserError: A file cannot be decoded; the message names it.
    """
    if examples.endpoint == DEFAULT:
        return np.asarray(examples.values)
    assert model.input_spec is not None
    shape, images = tuple(model.input_spec.shape[1:]), []
    for i, content in enumerate(examples.values):
        try:
            images.append(decode_image(tf.constant(content), shape).numpy())
        except tf.errors.OpError:
            if examples.explain is None:
                raise
            raise examples.explain(i, i + 1) from None
    return np.stack(images) if images else np.zeros((0, *shape), np.uint8)


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is kept of an export, so that the next explanation is quick.

    Attributes:
        kind: What it takes.
        output: The output that is explained.
        targets: The labels; "value" of a regression.
        methods: The methods that can explain it.
        network: Its frozen graph; None of a table, whose columns have no gradient.
        vocabulary: The id of each word.
        fields: The columns of a table, or the numbers of an array.
        background: Rows whose values replace those of a row, and in words where they are from.
    """

    kind: str
    output: str
    targets: tuple[str, ...]
    methods: tuple[str, ...]
    network: Network | None
    vocabulary: Mapping[str, int]
    fields: Mapping[str, rows.Field]
    background: tuple[rows.Rows, str] | None


# It must not refer to its key, a signature of the model, so that a model can be freed.
_KNOWN: weakref.WeakKeyDictionary[Any, Subject] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


def _subject_of(model: SavedModel) -> Subject:
    signature = model.signature(DEFAULT)
    with _LOCK:
        if signature not in _KNOWN:
            _KNOWN[signature] = _make_subject(model)
        return _KNOWN[signature]


def _make_subject(model: SavedModel) -> Subject:
    outputs = ("calibrated", "probabilities", "value")
    output = next((name for name in outputs if name in model.outputs), "")
    if not output or "reconstruction" in model.outputs:
        given = ", ".join(sorted(model.outputs))
        raise UserError(
            f"{model.folder}: its answers are {given}; expected a model that predicts labels or a "
            "value, which alone are explained"
        )
    kind, fields, network = kind_of(model), dict[str, rows.Field](), None
    if kind == TABLE:
        fields = rows.fields_of(model.columns)
    else:
        network = Network(model.signature(TOKENS if kind == TEXT else DEFAULT), output)
        if kind == ARRAY:
            fields = rows.fields_of_array(network.shape)
    return Subject(
        kind=kind,
        output=output,
        targets=model.label_names or ("value",),
        methods=_methods(kind, network),
        network=network,
        vocabulary={word: i for i, word in enumerate(model.vocabulary)},
        fields=fields,
        background=_background(model, fields) if fields else None,
    )


def _methods(kind: str, network: Network | None) -> tuple[str, ...]:
    """Returns the methods that fit a kind of input, and the graph."""
    places = {IMAGE: 2, TEXT: 1}.get(kind, 0)
    fits = {
        GRAD_CAM: lambda: network is not None and network.last_features is not None,
        INTEGRATED: lambda: network is not None and can_integrate(network, places),
        ERASURE: lambda: (
            kind != ARRAY or network is None or math.prod(network.shape) <= rows.MAX_NUMBERS
        ),
    }
    return tuple(method for method in METHODS[kind] if fits[method]())


def _background(
    model: SavedModel, fields: Mapping[str, rows.Field]
) -> tuple[rows.Rows, str] | None:
    """Reads the rows of the run's golden.npz, which are of its val split; None without them."""
    if model.folder.parent.name != SERVING:
        return None
    given = read_given(model.folder.parents[1] / GOLDEN, DEFAULT)
    if given is None:
        return None
    if model.columns:
        if given.keys() != fields.keys():  # of another version of the export
            return None
        found = {name: _as_values(fields[name], given[name]) for name in fields}
    else:
        (values,) = given.values()
        if np.shape(values)[1:] != tuple(model.input_spec.shape[1:]):  # type: ignore[union-attr]
            return None
        found = dict(zip(fields, np.reshape(values, (len(values), -1)).T, strict=True))
    count = len(next(iter(found.values())))
    return found, f"{count} rows of val"


def _as_values(field: rows.Field, values: Any) -> np.ndarray:
    return np.asarray(values, np.float32 if field.is_number else object)


def _take(values: Any, i: int) -> Any:
    """Returns one example, in a batch."""
    if isinstance(values, dict):
        return {name: some[i : i + 1] for name, some in values.items()}
    return values[i : i + 1]


def _image(
    model: SavedModel, subject: Subject, pixels: np.ndarray, column: int | None, methods: tuple
) -> list[Explanation]:
    assert subject.network is not None
    column = int(subject.network.score(pixels)[0].argmax()) if column is None else column
    return explain_image(
        subject.network, pixels, column, subject.targets[column], methods or subject.methods
    )


def explain_image(
    network: Network,
    pixels: np.ndarray,
    column: int,
    target: str,
    methods: Sequence[str],
    steps: Sequence[int] = STEPS,
) -> list[Explanation]:
    """Explains the answer to an image.

    Args:
        network: From pixels to scores.
        pixels: One image, (1, height, width, channels).
        column: Which value of the output.
        target: Its name.
        methods: "grad_cam" or "integrated_gradients".
        steps: See `integrated_gradients`.
    """
    found = []
    unit = VALUE if network.output == "value" else PROBABILITY
    for method in methods:
        if method == GRAD_CAM:
            score = float(network.score(pixels)[0, column])
            heat = grad_cam(network, pixels, column)
            found.append(Explanation(IMAGE, method, target, score, RELATIVE, "", heat))
            continue
        result = integrated_gradients(network, pixels, np.zeros_like(pixels), column, 2, steps)
        found.append(
            Explanation(
                IMAGE,
                method,
                target,
                result.score,
                unit,
                BLACK,
                result.effects,
                baseline_score=result.baseline_score,
            )
        )
    return found


def _text(
    model: SavedModel, subject: Subject, texts: list[bytes], column: int | None, methods: tuple
) -> list[Explanation]:
    network, (text,) = subject.network, texts
    assert network is not None
    found = words.split(text)
    tokens = np.array([subject.vocabulary.get(word, UNKNOWN_ID) for word in found], np.int32)
    tokens = tokens[: words.length_read(network, tokens)]
    scores = network.score(tokens[None])[0]
    expected = model.call(DEFAULT, [text])[subject.output].reshape(-1)
    if np.abs(scores - expected).max() > SAME * max(1.0, float(np.abs(expected).max())):
        raise UserError(
            f"{model.folder}: its vocabulary is not that of its graph; expected the export of a run"
        )
    column = int(scores.argmax()) if column is None else column
    target, methods = subject.targets[column], methods or subject.methods
    return words.explain_words(network, tokens, found[: len(tokens)], column, target, methods)


def _row(
    model: SavedModel, subject: Subject, row: rows.Rows, column: int | None, methods: tuple
) -> list[Explanation]:
    def score(changed: rows.Rows) -> np.ndarray:
        values = model.call(DEFAULT, changed)[subject.output]
        return values.reshape(len(values), -1)

    row = {name: _as_values(subject.fields[name], row[name]) for name in subject.fields}
    if column is None:
        column = int(score(row)[0].argmax())
    return [_erased(subject, score, row, column, TABLE)]


def _array(
    model: SavedModel, subject: Subject, values: np.ndarray, column: int | None, methods: tuple
) -> list[Explanation]:
    network = subject.network
    assert network is not None
    values = np.asarray(values, network.dtype.as_numpy_dtype)
    column = int(network.score(values)[0].argmax()) if column is None else column
    row = dict(zip(subject.fields, values.reshape(-1, 1), strict=True))

    def score(changed: rows.Rows) -> np.ndarray:
        stacked = np.stack(list(changed.values()), axis=1)
        return network.score(stacked.reshape(-1, *network.shape))

    found = []
    for method in methods or subject.methods:
        if method == ERASURE:
            found.append(_erased(subject, score, row, column, ARRAY))
            continue
        background, where = subject.background or ({}, "")
        baseline = np.zeros_like(values)
        if background:
            means = [some.mean(axis=0) for some in background.values()]
            baseline = np.reshape(means, values.shape).astype(values.dtype)
        result = integrated_gradients(network, values, baseline, column, values.ndim - 1)
        found.append(
            Explanation(
                ARRAY,
                method,
                subject.targets[column],
                result.score,
                VALUE if subject.output == "value" else PROBABILITY,
                f"the mean of {where}" if background else "zeros",
                result.effects.ravel(),
                tuple(field.name for field in subject.fields.values()),
                tuple(float(value) for value in values.ravel()),
                baseline_score=result.baseline_score,
            )
        )
    return found


def _erased(
    subject: Subject, score: rows.Score, row: rows.Rows, column: int, kind: str
) -> Explanation:
    """Explains the answer to a row by replacing each value in turn."""
    background, where = subject.background or (rows.missing(subject.fields), "")
    before, without = rows.replace_each(score, row, background, column)
    is_value = subject.output == "value"
    difference = before - without if is_value else rows.log_odds(before) - rows.log_odds(without)
    values = (rows.shown(field, row[name][0]) for name, field in subject.fields.items())
    return Explanation(
        kind,
        ERASURE,
        subject.targets[column],
        before,
        VALUE if is_value else LOG_ODDS,
        f"each value replaced by those of {where}" if where else "each value missing",
        difference,
        tuple(field.name for field in subject.fields.values()),
        tuple(values),
        tuple(without.tolist()),
    )
