"""class_weight=balanced: every class has the same total weight in the loss."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from kpipe import Trainer
from kpipe.data import Split
from kpipe.errors import UserError
from kpipe.experiments import catalogue, keys, modules
from kpipe.inputs import Rows
from kpipe.training import weighting

UNEVEN = np.repeat([0, 2, 3], [70, 5, 25]).astype(np.int32)  # no example of class 1


def split_of(labels):
    return Split(Rows(np.zeros((len(labels), 2), np.float32)), labels, np.arange(len(labels)))


def test_balanced_weights_are_those_of_scikit_learn():
    classes = np.unique(UNEVEN)
    expected = compute_class_weight("balanced", classes=classes, y=UNEVEN)
    assert weighting.balanced(UNEVEN) == dict(zip(classes, expected, strict=True))


def test_weights_count_the_rows_of_train_and_those_of_val_once_it_is_joined():
    trainer, labels = Trainer(class_weight="balanced"), np.array([0, 2])
    every = split_of(UNEVEN)
    train, val = every.at(np.arange(72)), every.at(np.arange(72, 75))
    for split, count, twos in ((train, 72, 2), (train.joined(val), 75, 5)):
        expected = [count / (2 * 70), count / (2 * twos)]
        np.testing.assert_allclose(
            weighting.chosen(trainer.class_weight, None, split)(None, labels), expected, rtol=1e-6
        )


@pytest.mark.parametrize(
    ("labels", "shape"),
    [(np.zeros((9, 4), np.int32), r"int32 \(n, 4\)"), (np.zeros(9, np.float32), r"float32 \(n,\)")],
)
def test_labels_without_classes_are_refused_in_one_line(labels, shape, small_model):
    trainer = Trainer(class_weight="balanced")
    with pytest.raises(UserError, match=rf"class_weight with targets {shape}.*none") as raised:
        trainer.check(small_model(), len(labels), split_of(labels))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("given", ["even", 2, True])
def test_other_weights_are_refused(given, small_model):
    with pytest.raises(UserError, match=f"class_weight={given!r}: expected balanced, none, or"):
        Trainer(class_weight=given).check(small_model(), 9)


def test_they_exclude_weights_of_ones_own(small_model):
    trainer = Trainer(class_weight="balanced", sample_weight=lambda x, y: y)
    with pytest.raises(UserError, match="exclude each other"):
        trainer.check(small_model(), 9)


def test_it_is_a_key_of_every_pipeline_and_recorded_only_if_set():
    module = modules.load(catalogue.find("logic_gates"))[0]
    given = keys.resolve(module, {"class_weight": "balanced"})
    assert given.trainer.settings()["class_weight"] == "balanced"
    assert given.overrides == {"class_weight": "balanced"}
    plain = keys.resolve(module, {"class_weight": "none"})
    assert plain.trainer == keys.resolve(module, {}).trainer and not plain.overrides
    assert "class_weight" not in plain.trainer.settings()
    several = keys.resolve(module, {"class_weight": "none,balanced"})
    assert several.choices == {"class_weight": ["none", "balanced"]}
    with pytest.raises(UserError, match="class_weight=even: expected one of none, balanced"):
        keys.resolve(module, {"class_weight": "even"})
    rows = {row[0]: row[1:] for row in keys.describe(module)}
    assert rows["class_weight"] == ("none", "none, balanced", "")
