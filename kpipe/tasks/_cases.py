"""Predictions of a split, and the cases that an export must reproduce."""

import dataclasses
from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from ..data import Data, Split
from ..export import TEST, Case, Comparison
from ..inputs import TableInput


def predict(model: keras.Model, split: Split, name: str) -> np.ndarray:
    """Computes an output for all examples of a split, in their order."""
    order = split.shortest_first()
    answers = model.predict(split.at(order).batches(512), verbose=0)[name]
    values = np.empty_like(answers)
    values[order] = answers
    return values


def golden_rows(data: Data) -> tuple[Split, np.ndarray]:
    """Chooses 64 rows with which the export is verified: of val, or of train if there is no val."""
    split = data.val or data.train
    return split, split.rows[np.resize(np.arange(len(split)), 64)]


def golden_cases(
    model: keras.Model,
    data: Data,
    output: str,
    compare: Callable[[np.ndarray], list[Comparison]],
    on_test: list[Comparison],
    follows: Mapping[str, tuple[str, str]] | None = None,
) -> list[Case]:
    """Builds cases of a model from examples to answers.

    Args:
        model: Result of `inference_model`.
        data: Data; cases use rows of val, and the whole test split.
        output: Name of the output.
        compare: Function from values of the output to what the export must answer.
        on_test: What the export must answer on the test split.
        follows: The rule of further outputs, see `Case.follows`.
    """
    split, rows = golden_rows(data)
    spec = input_spec(model, data)
    cases, rule = [], follows or {}
    for given in data.input.golden(split.column, rows, spec.name):  # type: ignore[arg-type]
        expected = compare(model.predict(given.inputs, verbose=0)[output])
        case = Case(given.endpoint, given.named, expected, batches=given.batches, follows=rule)
        cases.append(dataclasses.replace(case, about=given.about))
    cases.append(Case("serving_default", test_split(data, spec), on_test, follows=rule))
    return cases


def golden_answers(
    model: keras.Model,
    data: Data,
    output: str,
    on_test: np.ndarray,
    words: Callable[[np.ndarray], np.ndarray],
    decided: Callable[[np.ndarray], np.ndarray],
    follows: Mapping[str, tuple[str, str]],
) -> tuple[list[Case], np.ndarray]:
    """Builds cases of a model with probabilities and label words that follow from them.

    Args:
        model: Result of `inference_model`.
        data: Data; cases use rows of val, and the whole test split.
        output: Name of the output.
        on_test: Values of the output on the test split.
        words: Function from the output to the label words.
        decided: Function from the output to a mask of labels that do not depend on the last bit.
        follows: The rule of further outputs, see `Case.follows`.

    Returns:
        The cases, and the mask of decided test examples.
    """

    def compare(values: np.ndarray) -> list[Comparison]:
        label = Comparison("label", words(values), rows=decided(values))
        return [Comparison(output, values), label]

    sure = decided(on_test)
    recorded = [Comparison(output, output), Comparison("label", words(on_test), rows=sure)]
    return golden_cases(model, data, output, compare, recorded, follows), sure


def input_spec(model: keras.Model, data: Data) -> tf.TensorSpec:
    """Returns the spec of the model's input, with the dtype of the data."""
    (tensor,) = model.inputs
    automatic = tensor.name.startswith(("keras_tensor", "input_layer"))
    name = data.input.name if automatic else tensor.name
    return tf.TensorSpec((None, *tensor.shape[1:]), data.train.inputs.dtype, name=name)


def test_split(data: Data, spec: tf.TensorSpec) -> dict[str, str]:
    """Returns where the proof finds the test split, by argument of `serving_default`."""
    if isinstance(data.input, TableInput):
        return data.input.places
    signatures, _ = data.input.endpoints(lambda inputs: {}, spec)
    _, given = signatures["serving_default"]
    return {given.name: TEST}  # type: ignore[union-attr]  # only tables have several arguments
