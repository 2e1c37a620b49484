"""The profile of training steps, and the operations of a step."""

import keras
import numpy as np
import pytest

from kpipe import models
from kpipe.training import profiling
from kpipe.training.flops import step_flops


def test_operations_are_counted_as_by_hand():
    dense = models.mlp((5,), 5, units=(10, 7))
    forward = [2 * 5 * 10, 2 * 10 * 7, 2 * 7 * 5]
    assert step_flops(dense, 64) == 64 * (3 * sum(forward) - forward[0])
    images = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(images)
    x = keras.layers.Conv2DTranspose(2, 3, strides=2, padding="same")(x)
    forward = [2 * 8 * 8 * 9 * 3 * 4, 2 * 8 * 8 * 9 * 4 * 2]
    assert step_flops(keras.Model(images, x), 2) == 2 * (3 * sum(forward) - forward[0])


@pytest.mark.parametrize("kind", ["lstm", "attention"])
def test_operations_of_texts_depend_on_their_length(kind):
    if kind == "lstm":
        model = models.recurrent(2, vocabulary_size=9, embedding_dim=4, units=(3,))
        forward = [2 * 10 * (4 * 12 + 3 * 12), 2 * 3 * 2]
    else:
        options = {"embedding_dim": 4, "num_heads": 2, "feedforward_units": 5, "max_length": 10}
        model = models.transformer(2, vocabulary_size=9, **options)
        attention = 2 * 10 * (4 * 4 * 4 + 10 * 2 * (2 + 2))
        forward = [attention, 2 * 10 * 4 * 5, 2 * 10 * 5 * 4, 2 * 4 * 2]
    assert step_flops(model, 6, length=10) == 6 * (3 * sum(forward) - forward[0])


@pytest.mark.parametrize("plan", ["kernels", "fused:4"])
def test_a_profile_adds_up_and_changes_nothing(digits, small_model, tmp_path, monkeypatch, plan):
    monkeypatch.setattr(profiling, "SECONDS", 0.2)
    monkeypatch.setattr(profiling, "PEAK_SIZE", 64)
    model = small_model(dropout=0.5)
    model.optimizer.build(model.trainable_variables)
    before = [variable.numpy() for variable in [*model.variables, *model.optimizer.variables]]
    found = profiling.profile(model, digits, plan, 32, folder=tmp_path)
    assert list(found.milliseconds) == [
        "waiting for data",
        "forward",
        "backward",
        "optimizer and metrics",
        "between steps",
    ]
    assert all(time >= 0 for time in found.milliseconds.values())
    assert found.rate == pytest.approx(step_flops(model, 32) / 1e6 / found.total)
    assert [*tmp_path.rglob("*.xplane.pb")]
    after = [variable.numpy() for variable in [*model.variables, *model.optimizer.variables]]
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    lines = found.table().splitlines()
    assert lines[0] == f"profile of a training step, plan {plan}:"
    assert len(lines) == 8
