"""The plan "auto" times plans on copies of the state, within its share of the training's time."""

import keras
import numpy as np
import pytest

from kpipe import Trainer
from kpipe.errors import UserError
from kpipe.training import timing


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KPIPE_HOME", str(tmp_path))
    return tmp_path


def network(build, dropout=0.5):
    model = build("adam", dropout=dropout)
    model.optimizer.build(model.trainable_variables)
    return model


def test_timing_changes_nothing_and_is_kept(digits, small_model, home, monkeypatch):
    monkeypatch.setattr(timing, "LEAST_SECONDS", 0.0)
    model = network(small_model)
    state = [*model.variables, *model.optimizer.variables]
    before = [variable.numpy() for variable in state]
    plan, times = timing.fastest_plan(model, digits, 64, epochs=100_000)
    assert set(times) == {"graph", "kernels", "fused:8", "fused:20"}
    assert plan == min(times, key=times.get)
    for variable, value in zip(state, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    (path,) = (home / "plans").iterdir()
    changed = path.stat().st_mtime_ns
    again = timing.fastest_plan(network(small_model), digits, 64, epochs=100_000)
    assert again == (plan, times)
    assert path.stat().st_mtime_ns == changed
    path.write_text("damaged")
    assert timing._read(path) == {}  # so that it is written again


def test_a_run_of_less_than_two_minutes_follows_the_rule(digits, small_model, home):
    model = small_model()
    assert timing.fastest_plan(model, digits, 64, epochs=1) == ("kernels", {})
    assert not (home / "plans").exists()


def test_without_time_to_compare_the_rule_holds_and_nothing_is_kept(
    digits, small_model, home, monkeypatch
):
    """Else a short run would decide for all later ones."""
    monkeypatch.setattr(timing, "LEAST_SECONDS", 0.0)
    assert timing.fastest_plan(small_model(), digits, 64, epochs=1) == ("kernels", {})
    assert not (home / "plans").exists()


def test_a_training_can_choose_its_plan(digits, small_model, home):
    history = Trainer(epochs=2, batch_size=512).fit(small_model(), digits, plan="auto")
    assert len(history.rows) == 2
    keras.utils.clear_session()


def test_trainings_that_are_compared_have_the_same_plan():
    from kpipe import compare

    with pytest.raises(UserError, match="plan auto: it can differ between trainings"):
        compare("mnist_mlp", loss="likelihood,squared", plan="auto", data="sample")
