"""Explains the answers of an export."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import UserError, nearest
from ..export.loading import SavedModel
from ..inputs import Examples
from ..inputs.tokens import UNKNOWN_ID
from . import rows, words
from .attribution import integrated_gradients
from .explanation import (
    ARRAY,
    ERASURE,
    IMAGE,
    LOG_ODDS,
    PROBABILITY,
    TABLE,
    TEXT,
    VALUE,
    Explanation,
)
from .images import explain_image, pixels_of
from .subject import DEFAULT, Subject, subject_of

SAME = 1e-4  # largest difference of the answers to a text and to its token ids


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
        model = kpipe.load("saved_models/imdb_sentiment")
        explain(model, model.read_files([], ["a wonderful film"]))[0].to_json()["words"]
    """
    subject = subject_of(model)
    methods = tuple(dict.fromkeys(methods))
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
        found += explain_one(model, subject, _take(given, i), column, methods)
    return found


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

    row = {name: rows.as_values(subject.fields[name], row[name]) for name in subject.fields}
    chosen = int(score(row)[0].argmax()) if column is None else column

    def score_and_odds(changed: rows.Rows) -> np.ndarray:
        scores = score(changed)
        odds = rows.log_odds(scores, chosen)
        return np.stack([scores[:, chosen], odds], axis=1)

    return [_erased(subject, score_and_odds, row, chosen, TABLE)]


def _array(
    model: SavedModel, subject: Subject, values: np.ndarray, column: int | None, methods: tuple
) -> list[Explanation]:
    network = subject.network
    assert network is not None
    values = np.asarray(values, network.dtype.as_numpy_dtype)
    column = int(network.score(values)[0].argmax()) if column is None else column
    row = dict(zip(subject.fields, values.reshape(-1, 1), strict=True))

    def score_and_odds(changed: rows.Rows) -> np.ndarray:
        stacked = np.stack(list(changed.values()), axis=1)
        return network.score_and_odds(stacked.reshape(-1, *network.shape), column)

    found = []
    for method in methods or subject.methods:
        if method == ERASURE:
            found.append(_erased(subject, score_and_odds, row, column, ARRAY))
            continue
        background, baseline, where = subject.background, np.zeros_like(values), "zeros"
        if background:
            means = [some.mean(axis=0) for some in background.rows.values()]
            baseline = np.reshape(means, values.shape).astype(values.dtype)
            where = f"the mean of {background.said(rows.count_of(background.rows))}"
        result = integrated_gradients(network, values, baseline, column, values.ndim - 1)
        found.append(
            Explanation(
                ARRAY,
                method,
                subject.targets[column],
                result.score,
                VALUE if subject.output == "value" else PROBABILITY,
                where,
                result.effects.ravel(),
                tuple(field.name for field in subject.fields.values()),
                tuple(float(value) for value in values.ravel()),
                baseline_score=result.baseline_score,
                error=result.error,
            )
        )
    return found


def _erased(
    subject: Subject, score_and_odds: rows.Score, row: rows.Rows, column: int, kind: str
) -> Explanation:
    """Explains the answer to a row by replacing each value in turn."""
    where = "each value missing"
    background: rows.Rows = rows.missing(subject.fields)
    if subject.background:
        background = rows.some_for(subject.background.rows)
        said = subject.background.said(rows.count_of(background))
        where = f"each value replaced by those of {said}"
    is_value = subject.output == "value"
    found = rows.replace_each(score_and_odds, row, background, is_value)
    values = (rows.shown(field, row[name][0]) for name, field in subject.fields.items())
    return Explanation(
        kind,
        ERASURE,
        subject.targets[column],
        found.score,
        VALUE if is_value else LOG_ODDS,
        where,
        found.effects,
        tuple(field.name for field in subject.fields.values()),
        tuple(values),
        tuple(found.without.tolist()),
    )
