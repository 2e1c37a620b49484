"""What is no answer never leaves the house: not finite, or no probabilities."""

import dataclasses
import re

import numpy as np
import pytest
import tensorflow as tf

import kpipe
from kpipe.errors import RunError, UserError
from kpipe.export.answers import find_wrong
from kpipe.tasks import classification, multilabel

ROW = 3
WRONG = {
    "NaN": (np.full(10, np.nan), "probabilities contains NaN or infinity"),
    "infinity": ([np.inf, *[0] * 9], "probabilities contains NaN or infinity"),
    "logits": ([2.5, -1.5, *[0] * 8], "probabilities contains 2.5; expected 0 to 1"),
    "sigmoids": ([0.9, 0.8, *[0] * 8], "probabilities sum to 1.7; expected 1"),
}


class Answering:
    """A signature whose answer to one row is changed."""

    def __init__(self, signature, values):
        self.signature, self.values = signature, values
        self.structured_outputs = signature.structured_outputs
        self.structured_input_signature = signature.structured_input_signature

    def __call__(self, **given):
        outputs = dict(self.signature(**given))
        probabilities = outputs["probabilities"].numpy()
        probabilities[ROW] = self.values
        return outputs | {"probabilities": tf.constant(probabilities)}


@pytest.fixture(scope="module")
def loaded(finished_run):
    return kpipe.load(finished_run.folder)


@pytest.mark.parametrize("kind", WRONG)
def test_a_row_without_probabilities_is_named(kind, loaded, digits, tmp_path):
    values, problem = WRONG[kind]
    signatures = {name: Answering(one, values) for name, one in loaded._signatures.items()}
    model = dataclasses.replace(loaded, _signatures=signatures)
    images, _ = digits.test.take(np.arange(5))
    with pytest.raises(UserError, match=re.escape(f"row {ROW}: the model's {problem}")):
        model.predict(images)
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(tf.io.encode_png(image).numpy())
    with pytest.raises(UserError, match=re.escape(f"{paths[ROW]}: the model's {problem}")):
        model.predict_files(paths)


@pytest.mark.parametrize("kind", WRONG)
def test_a_model_without_probabilities_is_not_exported(kind, finished_run):
    values, problem = WRONG[kind]
    probabilities = finished_run.predictions["probabilities"].copy()
    probabilities[ROW] = values
    arrays = {"probabilities": probabilities}
    with pytest.raises(RunError, match=re.escape(f"test example {ROW}: the model's {problem}")):
        classification.endpoints(finished_run.model, finished_run.data, arrays)
    if kind != "sigmoids":  # labels of their own need not sum to 1
        with pytest.raises(RunError, match=f"test example {ROW}"):
            multilabel.endpoints(finished_run.model, finished_run.data, arrays)


def test_a_number_that_is_not_finite_is_no_answer():
    assert find_wrong({"value": np.array([1.0, np.inf])}, False)[0] == 1
    assert find_wrong({"reconstruction": np.full((2, 4, 4, 1), 0.5)}, False) is None
    assert find_wrong({"probabilities": np.zeros((0, 3)), "label": np.array([], str)}, True) is None


def test_float16_may_round():
    rounded = np.float16([[0.3335, 0.3335, 0.3335]])
    assert find_wrong({"probabilities": rounded}, True) is None
