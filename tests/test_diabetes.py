"""The diabetes data: which rows are where, and the constants that networks standardize them by."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes

from kpipe import datasets
from kpipe.datasets.diabetes import DEVIATIONS, FEATURES, MEANS


@pytest.fixture(scope="module")
def splits():
    """Inputs and values of train and test, as the source reads them."""
    source = datasets.diabetes().find()
    read = {name: list(source.read(name).as_numpy_iterator()) for name in source.examples}
    return {
        name: tuple(np.stack([example[key] for example in examples]) for key in ("input", "label"))
        for name, examples in read.items()
    }


def test_diabetes_is_real_and_official_without_any_folder(tmp_path):
    dataset = datasets.diabetes(val_fraction=0.25)
    for kind in ("auto", "real", "sample"):
        source = dataset.find(kind, tmp_path)
        assert (source.kind, source.official) == ("real", True)
    assert source.examples == dataset.official_examples == {"train": 353, "test": 89}
    assert dataset.input_shape == (10,) and dataset.label_names == ("disease progression",)
    assert dataset.val_fraction == 0.25


def test_train_and_test_are_the_442_rows_in_their_own_units(splits):
    inputs, values = load_diabetes(return_X_y=True, scaled=False)
    for part, (x, y) in splits.items():
        assert x.dtype == y.dtype == np.float32
        assert (len(x), len(y)) == (datasets.diabetes().official_examples[part],) * 2
    found = np.concatenate([np.column_stack(part) for part in splits.values()])
    expected = np.column_stack([inputs, values]).astype(np.float32)
    np.testing.assert_array_equal(np.unique(found, axis=0), np.unique(expected, axis=0))
    assert len(np.unique(found, axis=0)) == 442  # no row is in both, or twice


def test_the_test_rows_never_change(splits):
    # The sums of the rows that train_test_split(test_size=0.2, random_state=0) takes of the table.
    assert splits["test"][1].sum() == 13_726
    assert splits["train"][1].sum() == 53_517
    assert splits["test"][1][:5].tolist() == [75, 138, 101, 179, 171]


def test_the_same_data_have_the_same_identity():
    first, second = datasets.diabetes(), datasets.diabetes(val_fraction=0.1)
    assert first.find().identity == second.find().identity


def test_the_constants_are_those_of_the_training_rows_alone(splits):
    inputs = splits["train"][0].astype(float)
    assert len(FEATURES) == len(MEANS) == len(DEVIATIONS) == 10
    np.testing.assert_allclose(MEANS, inputs.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(DEVIATIONS, inputs.std(axis=0), rtol=1e-6)
