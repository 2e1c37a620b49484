"""A head on cached features, then fine-tuning: the same network in less time, exactly resumed."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from kpipe import Trainer, models, optimizers
from kpipe.data import Split
from kpipe.datasets import Augmentation
from kpipe.errors import UserError
from kpipe.inputs import Rows
from kpipe.training import features, weights_sha256
from kpipe.training.optimizing import with_rate


@pytest.fixture(scope="module")
def few(digits):
    """96 training and 40 validation digits."""
    sizes = {"train": 96, "val": 40}
    cut = {k: dataclasses.replace(s, rows=s.rows[: sizes[k]]) for k, s in _seen(digits).items()}
    return dataclasses.replace(digits, splits={**digits.splits, **cut})


def _seen(data):
    return {name: split for name, split in data.splits.items() if name != "test"}


@pytest.fixture(autouse=True)
def own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("KPIPE_HOME", str(tmp_path / "home"))


def network(frozen=True, optimizer="adam", dropout=0.3, seed=0, eager=True):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    model = models.cnn(
        (28, 28, 1), 10, filters=(4,), pooling="average", dense_units=0, dropout=dropout
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):  # statistics that matter
            layer.moving_variance.assign([0.1, 0.2, 0.3, 0.4])
    models.backbone(model).trainable = not frozen
    options = {"metrics": ["accuracy"], "run_eagerly": eager}  # quicker than to trace few steps
    model.compile(optimizer, "sparse_categorical_crossentropy", **options)
    return model


def train(model, data, folder=None, **settings):
    settings = {"epochs": 2, "batch_size": 32, "patience": 0, **settings}
    return Trainer(checkpoint_seconds=0.0, **settings).fit(model, data, folder=folder)


def without_times(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history.rows]


def test_a_head_on_cached_features_learns_what_the_whole_frozen_network_learns(few, tmp_path):
    whole, parts = network(eager=False), network(eager=False)
    expected = train(whole, few, cache_features=False)
    history = train(parts, few, cache_features=True)
    assert history.feature_seconds > 0 and expected.feature_seconds is None
    for one, other in zip(without_times(history), without_times(expected), strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    for one, other in zip(parts.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_features_are_computed_once_for_all_heads_and_divisions_of_the_same_rows(
    few, capsys, monkeypatch
):
    first = features.cached(network(), few)
    assert "computing the features of 136 examples" in capsys.readouterr().out
    train_rows, val_rows = few.train.rows, few.val.rows
    moved = dataclasses.replace(
        few,
        splits={
            "train": dataclasses.replace(few.train, rows=np.r_[val_rows, train_rows[:56]]),
            "val": dataclasses.replace(few.val, rows=train_rows[56:]),
            "test": few.test,
        },
    )
    second = features.cached(network(optimizer="sgd", dropout=0.0), moved)
    assert second.seconds == first.seconds and not capsys.readouterr().out
    np.testing.assert_array_equal(
        second.data.val.take(np.arange(40))[0], first.data.train.take(np.arange(56, 96))[0]
    )
    for split, whole in ((second.data.train, moved.train), (first.data.val, few.val)):
        taken, labels = split.take(np.arange(40))
        np.testing.assert_array_equal(labels, whole.take(np.arange(40))[1])
        model = models.backbone(network())
        np.testing.assert_allclose(taken, model(whole.take(np.arange(40))[0]), atol=1e-6)
    features.cached(network(seed=1), few)  # other weights
    other = Rows(255 - few.train.inputs)  # the same rows of other inputs
    splits = {k: dataclasses.replace(s, column=other) for k, s in few.splits.items()}
    features.cached(network(), dataclasses.replace(few, splits=splits))
    assert capsys.readouterr().out.count("computing the features") == 2


def test_train_and_val_of_files_of_their_own_have_their_own_features(few):
    def own(split):
        inputs, labels = split.take(np.arange(40))
        return Split(Rows(inputs), labels, np.arange(40))

    train, val = own(few.train), own(few.val)
    data = dataclasses.replace(few, splits={**few.splits, "train": train, "val": val})
    seen = features.cached(network(), data).data
    expected = models.backbone(network())(val.take(np.arange(40))[0])
    np.testing.assert_allclose(seen.val.take(np.arange(40))[0], expected, atol=1e-6)


def test_test_is_never_touched(few):
    untouchable = dataclasses.replace(few.test, column=None)
    data = dataclasses.replace(few, splits={**few.splits, "test": untouchable})
    assert features.cached(network(), data).data.test is untouchable


def test_a_damaged_cache_is_computed_again(few, tmp_path):
    expected = features.cached(network(), few).data.train.inputs.copy()
    (folder,) = (path for path in (tmp_path / "home/features").iterdir() if path.is_dir())
    (folder / "features.npy").write_bytes(b"half")
    np.testing.assert_array_equal(features.cached(network(), few).data.train.inputs, expected)


@pytest.mark.parametrize("setting", ["cache_features", "fine_tune"])
def test_a_backbone_that_learns_is_refused(few, setting):
    with pytest.raises(UserError, match=f"{setting}=true requires a frozen backbone, but 3 weig"):
        train(network(frozen=False), few, **{setting: True})
    model = models.mlp((28, 28, 1), 10)
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(UserError, match=f"{setting}=true: model 'mlp' has no layer 'features'"):
        train(model, few, **{setting: True})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fine_tune": True, "retrain": True}, "fine_tune=true and retrain=true exclude"),
        ({"cache_features": True, "sample_weight": lambda x, y: y}, "would get features"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(few, settings, message):
    with pytest.raises(UserError, match=message):
        Trainer(**settings).check(network(), 96)


def test_augmentation_waits_for_fine_tuning_and_a_line_says_so(few, capsys):
    data = dataclasses.replace(few, augmentation=Augmentation(shift=2))
    seen = features.cached(network(), data).data
    assert seen.augmentation == Augmentation()
    assert "features are computed from images that are not augmented" in capsys.readouterr().out


def test_fine_tuning_trains_all_but_batch_normalization_and_keeps_the_best_epoch(few, tmp_path):
    model = network()
    before = {layer.name: layer.get_weights() for layer in model.layers}
    data = dataclasses.replace(few, augmentation=Augmentation(shift=1))
    history = train(
        model,
        data,
        tmp_path / "run",
        cache_features=True,
        fine_tune=True,
        fine_tune_epochs=3,
        fine_tune_rate=0.01,
    )
    assert [row["epoch"] for row in history.rows] == [1, 2, 3, 4, 5]
    assert [row["step"] for row in history.rows] == [3, 6, 9, 12, 15]
    assert (history.frozen_epochs, history.step) == (2, 15)
    losses = [row["val_loss"] for row in history.rows]
    assert history.best_epoch == 1 + int(np.argmin(losses)) > 2
    assert model.evaluate(few.val.batches(40), verbose=0)[0] == pytest.approx(min(losses), rel=1e-5)
    moved = {
        layer.name
        for layer in model.layers
        if any((a != b).any() for a, b in zip(before[layer.name], layer.get_weights(), strict=True))
    }
    assert moved == {"block0_0_conv", "probabilities"}


def test_fine_tuning_that_does_not_help_is_undone(few, capsys):
    model, frozen = network(), network()
    expected = train(frozen, few)
    history = train(model, few, fine_tune=True, fine_tune_epochs=1, fine_tune_rate=0.9)
    assert history.best_epoch == expected.best_epoch <= 2 and len(history.rows) == 3
    assert weights_sha256(model) == weights_sha256(frozen)
    assert "the frozen one is kept" in capsys.readouterr().out


def test_callbacks_see_the_whole_network_and_can_stop_it(few):
    model, seen = network(), []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(self.model)
            self.model.stop_training = True

    trainer = Trainer(epochs=3, batch_size=32, cache_features=True)
    history = trainer.fit(model, few, callbacks=[Watch()])
    assert seen == [model] and history.stopped_by == "callback"


class _Killed(Exception):
    pass


def both_phases(data, folder, kill_at=None):
    """Two epochs of the head, then one of fine-tuning: weights, history and best epoch."""
    model, steps = network(), iter(range(1, 100))

    def count(batch, logs=None):
        if next(steps) == kill_at:
            raise _Killed

    trainer = Trainer(
        epochs=2,
        batch_size=32,
        checkpoint_seconds=0.0 if kill_at else 20.0,
        cache_features=True,
        fine_tune=True,
        fine_tune_epochs=1,
    )
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=count)
    history = trainer.fit(model, data, folder=folder, callbacks=[callback])
    return weights_sha256(model), without_times(history), history.best_epoch


@pytest.fixture(scope="module")
def augmented(few):
    return dataclasses.replace(few, augmentation=Augmentation(shift=1))


@pytest.fixture(scope="module")
def whole(augmented, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KPIPE_HOME", str(tmp_path_factory.mktemp("home")))
        return both_phases(augmented, tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize(  # on features, and in fine-tuning
    "step", [pytest.param(4, marks=pytest.mark.slow), 8]
)
def test_a_training_that_was_killed_in_either_phase_ends_with_the_same_bits(
    augmented, whole, tmp_path, step
):
    with pytest.raises(_Killed):
        both_phases(augmented, tmp_path / "run", step)
    assert both_phases(augmented, tmp_path / "run") == whole
    if step == 8:  # after its end, before the export
        assert both_phases(augmented, tmp_path / "run") == whole


def test_the_optimizer_of_fine_tuning_has_the_same_settings_but_its_rate():
    adamw = keras.optimizers.AdamW(1e-3, weight_decay=0.05, beta_1=0.8)
    adamw.exclude_from_weight_decay(var_names=optimizers.NOT_DECAYED)
    copy = with_rate(adamw, 1e-4)
    assert (copy.weight_decay, copy.beta_1) == (0.05, 0.8)
    assert float(copy.learning_rate) == pytest.approx(1e-4)
    weights = [keras.Variable([1.0], name=name) for name in ("kernel", "bias", "gamma")]
    copy.build(weights)
    assert [bool(copy._use_weight_decay(weight)) for weight in weights] == [True, False, False]


def test_old_settings_are_recorded_as_before_and_new_ones_only_if_used():
    assert not {name for name in Trainer().settings() if name.startswith(("cache", "fine"))}
    used = Trainer(cache_features=True, fine_tune=True).settings()
    assert used["cache_features"] and used["fine_tune_epochs"] == 10
    json.dumps(used)
