"""What the loss learns from: mixed examples and smoothed labels, against numbers by hand."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from own import blobs
from scipy import stats

from kpipe import Trainer, gradients, models
from kpipe.data import Split
from kpipe.datasets import Augmentation
from kpipe.errors import UserError
from kpipe.experiments import catalogue, keys, modules
from kpipe.inputs import InputTargets, Rows
from kpipe.training import Devices, Schedule, training_batches, weights_sha256
from kpipe.training.supervision import Supervision
from kpipe.training.weighting import by_class

CROSSENTROPY = "sparse_categorical_crossentropy"
SEED = tf.constant([3, 4], tf.int64)


def of_batch(inputs, targets, seed=SEED, **settings):
    """The parts of a batch as NumPy arrays."""
    given = tf.constant(inputs), tf.constant(targets)
    return [part.numpy() for part in Supervision(**settings).of_batch(*given, seed)]


def placed(steps, count):
    """float32 inputs (steps, count, count), of which each says its own place."""
    return np.tile(np.eye(count, dtype=np.float32), (steps, 1, 1))


def following(values):
    """The next of each, and the first after the last."""
    return values[:, [*range(1, values.shape[1]), 0]]


# --- a batch by hand --------------------------------------------------------------------------


def test_a_smoothed_class_keeps_its_share_and_all_classes_divide_the_rest():
    inputs, targets = placed(2, 2), np.array([[0, 2], [1, 1]], np.int32)
    same, smoothed = of_batch(inputs, targets, label_smoothing=0.3, classes=3)
    np.testing.assert_array_equal(same, inputs)
    assert smoothed.dtype == np.float32
    expected = [[[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]], [[0.1, 0.8, 0.1], [0.1, 0.8, 0.1]]]
    np.testing.assert_allclose(smoothed, expected, atol=1e-7)


def test_a_smoothed_label_of_several_is_nearer_to_a_half():
    labels = np.array([[[0, 1, 1]]], np.int32)
    _, smoothed = of_batch(placed(1, 1), labels, label_smoothing=0.1, are_labels=True)
    np.testing.assert_allclose(smoothed, [[[0.05, 0.95, 0.95]]], atol=1e-7)


def test_a_mixed_example_is_as_much_of_the_next_in_inputs_as_in_targets():
    inputs, classes = placed(2, 4), np.array([[0, 1, 2, 1], [2, 2, 0, 1]], np.int32)
    mixed, targets = of_batch(inputs, classes, mixup=1.0, classes=3)
    ratio = mixed[:, range(4), range(4)][..., None]
    assert (0 < ratio).all() and (ratio < 1).all() and len(np.unique(ratio)) == 8
    np.testing.assert_allclose(mixed, ratio * inputs + (1 - ratio) * following(inputs), atol=1e-6)
    one_hot = np.eye(3)[classes]
    expected = ratio * one_hot + (1 - ratio) * following(one_hot)
    np.testing.assert_allclose(targets, expected, atol=1e-6)
    # Smoothing and mixing are linear, and commute.
    both = of_batch(inputs, classes, mixup=1.0, label_smoothing=0.3, classes=3)
    np.testing.assert_array_equal(both[0], mixed)
    np.testing.assert_allclose(both[1], 0.7 * expected + 0.1, atol=1e-6)


@pytest.mark.parametrize(
    ("targets", "are_labels"),
    [
        (np.array([[[0, 1], [1, 1], [1, 0]]], np.int32), True),
        (np.array([[0.5, -2.0, 7.0]], np.float32), False),
        (np.array([[[0.5, 1.0], [-2.0, 3.0], [7.0, 0.0]]], np.float32), False),
    ],
    ids=["several labels", "a number", "several numbers"],
)
def test_labels_and_numbers_are_mixed_as_they_are(targets, are_labels):
    mixed, found = of_batch(placed(1, 3), targets, mixup=0.5, are_labels=are_labels)
    ratio = mixed[:, range(3), range(3)].reshape(1, 3, *[1] * (targets.ndim - 2))
    assert found.dtype == np.float32 and found.shape == targets.shape
    expected = ratio * targets + (1 - ratio) * following(targets)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bytes_are_mixed_and_rounded():
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 4, 4, 2)).astype(np.uint8)
    mixed, shares = of_batch(images, np.array([[0, 1, 2]], np.int32), mixup=1.0, classes=3)
    ratio = shares[:, range(3), range(3)].reshape(1, 3, 1, 1, 1)
    exact = ratio * images.astype(np.float32) + (1 - ratio) * following(images)
    assert mixed.dtype == np.uint8
    # Where rounding of ratio or product does not decide.
    sure = abs(exact % 1 - 0.5) > 1e-3
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(mixed[sure], np.rint(exact)[sure])


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_ratios_have_a_beta_distribution_and_follow_their_seed(alpha):
    def ratios(seed):
        inputs = np.tile(np.array([[[1.0], [0.0]]], np.float32), (2000, 1, 1))
        key = tf.constant([seed, 0], tf.int64)
        mixed, _ = of_batch(inputs, np.zeros((2000, 2), np.float32), key, mixup=alpha)
        return mixed[:, 0, 0]

    first = ratios(0)
    assert stats.kstest(first, stats.beta(alpha, alpha).cdf).pvalue > 0.01
    np.testing.assert_array_equal(first, ratios(0))
    assert not np.array_equal(first, ratios(1))


def test_weights_are_those_of_the_unmixed_examples():
    inputs, classes = placed(2, 3), np.array([[0, 1, 2], [2, 2, 0]], np.int32)
    weigh = by_class({2: 5.0})
    *_, weights = of_batch(inputs, classes, weigh=weigh, mixup=1.0, label_smoothing=0.1, classes=3)
    np.testing.assert_array_equal(weights, [[1, 1, 5], [5, 5, 1]])


def test_without_settings_a_batch_is_as_it_is():
    inputs, classes = placed(1, 3), np.array([[0, 1, 2]], np.int32)
    found = of_batch(inputs, classes)
    assert len(found) == 2 and found[1].dtype == np.int32
    np.testing.assert_array_equal(found[0], inputs)


# --- training ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def few(digits):
    """128 training and 64 validation digits."""
    sizes = {"train": 128, "val": 64}
    cut = {name: digits.splits[name].at(np.arange(n)) for name, n in sizes.items()}
    return dataclasses.replace(digits, splits={**digits.splits, **cut})


def network(loss=CROSSENTROPY, *, seed=0, logits=False, dropout=0.0, optimizer="sgd", **options):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    model = models.mlp((28, 28, 1), 10, units=(8,), dropout=dropout, l2=options.pop("l2", 0.0))
    if logits:
        hidden = model.layers[-2].output
        model = keras.Model(model.inputs[0], keras.layers.Dense(10)(hidden))
    model.compile(optimizer, loss, metrics=["accuracy"], **options)
    return model


def train(model, data, *, plan="graph", folder=None, callbacks=(), devices=None, **settings):
    settings = {"epochs": 1, "batch_size": 32, "patience": 0, **settings}
    trainer = Trainer(checkpoint_seconds=0.0, **settings)
    more = {"plan": plan, "folder": folder, "callbacks": callbacks, "devices": devices}
    return trainer.fit(model, data, **more)


def from_logits():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({}, {"mixup": 0.4}),
        ({"l2": 0.1}, {"label_smoothing": 0.2, "class_weight": {3: 5.0, 1: 0.0}}),
        ({"loss": from_logits, "logits": True}, {"mixup": 1.0, "label_smoothing": 0.1}),
    ],
    ids=["mixing", "smoothing with penalties and weights", "both with logits"],
)
def test_the_loss_of_a_step_is_the_cross_entropy_with_the_softened_labels(few, options, settings):
    options = {k: v() if callable(v) else v for k, v in options.items()}
    model = network(run_eagerly=True, **options)  # quicker than to trace a step
    weights = settings.get("class_weight")
    given = Supervision(
        by_class(weights) if weights else None,
        settings.get("mixup", 0.0),
        settings.get("label_smoothing", 0.0),
        classes=10,
    )
    schedule = Schedule(len(few.train), len(few.train))
    batches = training_batches(few.train, schedule, few.augmentation, 0, 0, 1, given)
    x, y, *w = (part[0].numpy() for part in next(iter(batches)))
    outputs = model.predict_on_batch(x)
    outputs = np.asarray(outputs["probabilities"] if isinstance(outputs, dict) else outputs, float)
    if options.get("logits"):
        outputs = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    each = -np.sum(y * np.log(outputs), axis=1) * (w[0] if w else 1.0)
    kernels = [v.numpy() for v in model.trainable_variables if v.name == "kernel"]
    penalties = options.get("l2", 0.0) * sum(np.sum(np.square(k, dtype=float)) for k in kernels)
    history = train(model, few, batch_size=len(few.train), **settings)
    row = history.rows[0]
    assert row["loss"] == pytest.approx(each.mean() + penalties, rel=1e-5)
    # Metrics count labels: the nearest ones.
    assert row["accuracy"] == pytest.approx((outputs.argmax(1) == y.argmax(1)).mean())
    # The loss of val is that of the labels, as without these settings.
    plain = model.evaluate(few.val.batches(64), verbose=0, return_dict=True)
    assert row["val_loss"] == pytest.approx(plain["loss"], rel=1e-6)
    assert row["val_accuracy"] == plain["accuracy"]


def columns(history):
    return {name: values for name, values in history.columns.items() if name != "seconds"}


BOTH = {"mixup": 0.4, "label_smoothing": 0.1}


@pytest.mark.parametrize(
    ("plan", "settings"), [("kernels", BOTH), ("fused:2", {"label_smoothing": 0.1})]
)
def test_every_plan_learns_the_same_softened_labels(few, plan, settings):
    graph, other = network(), network()
    expected, found = train(graph, few, **settings), train(other, few, plan=plan, **settings)
    for name, values in columns(expected).items():
        np.testing.assert_allclose(found.columns[name], values, rtol=1e-4)
    for one, two in zip(graph.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_a_step_in_shards_learns_them_as_an_undivided_one(few):
    whole, divided = network(), network()
    expected, found = train(whole, few, **BOTH), train(divided, few, devices=Devices(2), **BOTH)
    for name, values in columns(expected).items():
        np.testing.assert_allclose(found.columns[name], values, rtol=1e-4)
    for one, two in zip(whole.get_weights(), divided.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


class KeepAt(keras.callbacks.Callback):
    """Copies what a kill in a step would leave."""

    def __init__(self, step, folder, kept):
        super().__init__()
        self.step, self.folder, self.kept, self.seen = step, folder, kept, 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.seen == self.step:
            shutil.copytree(self.folder / "checkpoints", self.kept / "checkpoints")
        self.seen += 1


def test_a_training_killed_in_its_middle_ends_with_the_same_bits(few, tmp_path):
    settings = {**BOTH, "epochs": 2}
    whole, keep = network(dropout=0.5), KeepAt(6, tmp_path / "a", tmp_path / "b")
    history = train(whole, few, folder=tmp_path / "a", callbacks=[keep], **settings)
    resumed = network(dropout=0.5, seed=9)
    rest = train(resumed, few, folder=tmp_path / "b", **settings)
    assert rest.resumed_at == 6
    assert weights_sha256(resumed) == weights_sha256(whole)
    assert columns(rest) == columns(history)


def test_the_model_is_afterwards_as_before(few):
    class Stops(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            assert {"compute_loss", "compute_metrics"} <= vars(self.model).keys()
            raise InterruptedError

    model = network(run_eagerly=True)
    before = vars(model).keys() - {"train_function", "test_function"}
    with pytest.raises(InterruptedError):
        train(model, few, callbacks=[Stops()], **BOTH)
    train(model, few, **BOTH)
    assert vars(model).keys() - {"train_function", "test_function"} == before
    assert not {"compute_loss", "compute_metrics"} & vars(model).keys()


def test_a_head_on_cached_features_learns_them_too(few, tmp_path, monkeypatch):
    monkeypatch.setenv("KPIPE_HOME", str(tmp_path))

    def cnn():
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
        options = {"pooling": "average", "dense_units": 0}
        model = models.cnn((28, 28, 1), 10, filters=(4,), batch_norm=False, **options)
        models.backbone(model).trainable = False
        model.compile("sgd", CROSSENTROPY, metrics=["accuracy"], run_eagerly=True)
        return model

    # Smoothing does not touch the inputs: the same as through the backbone.
    smooth = {"label_smoothing": 0.2}
    through = train(cnn(), few, **smooth)
    cached = train(cnn(), few, cache_features=True, **smooth)
    plain = train(cnn(), few, cache_features=True)
    np.testing.assert_allclose(cached.columns["loss"], through.columns["loss"], rtol=1e-5)
    assert cached.columns["loss"][0] != plain.columns["loss"][0]
    model = cnn()
    mixed = train(model, few, cache_features=True, mixup=1.0)
    assert np.isfinite(mixed.columns["loss"]).all()
    assert mixed.columns["loss"] not in (cached.columns["loss"], plain.columns["loss"])


def test_regression_is_mixed_with_any_loss(few):
    points, _ = blobs(64)
    labels = points.sum(axis=1)
    split = Split(Rows(points), labels, np.arange(64))
    data = dataclasses.replace(few, splits={"train": split}, augmentation=Augmentation())
    keras.utils.set_random_seed(0)
    model = models.mlp((5,), 1, units=(), output="value")
    model.compile("sgd", "mean_squared_error", run_eagerly=True)
    given = Supervision(mixup=1.0)
    batches = training_batches(split, Schedule(64, 64), data.augmentation, 0, 0, 1, given)
    x, y = (part[0].numpy() for part in next(iter(batches)))
    values = np.asarray(model.predict_on_batch(x)["value"])[:, 0]
    row = train(model, data, batch_size=64, mixup=1.0, monitor="loss").rows[0]
    assert row["loss"] == pytest.approx(np.mean((values - y) ** 2), rel=1e-5)


def test_the_gradient_of_softened_labels_is_right():
    """The gradient of what the model computes, in float64."""
    x = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1)).astype(np.uint8)
    y = of_batch(x[None], np.array([[0, 2, 1]], np.int32), mixup=1.0, label_smoothing=0.1, classes=10)
    model = network()
    with Supervision(mixup=1.0, classes=10).learned_by(model):
        def loss(targets, outputs):
            return model.compute_loss(y=targets, y_pred=outputs)

        result = gradients.check(model, loss, y[0][0], y[1][0], samples=4)
    assert result.passed, result.rows()


# --- settings ---------------------------------------------------------------------------------


def test_they_are_keys_of_every_pipeline_and_recorded_only_if_set():
    module = modules.load(catalogue.find("logic_gates"))[0]
    given = keys.resolve(module, {"mixup": "0.2", "label_smoothing": "0.1"})
    assert given.trainer.settings()["mixup"] == 0.2
    assert given.trainer.settings()["label_smoothing"] == 0.1
    assert given.overrides == {"mixup": 0.2, "label_smoothing": 0.1}
    assert not {"mixup", "label_smoothing"} & keys.resolve(module, {}).trainer.settings().keys()
    for key, value, expected in (
        ("mixup", "-1", "expected a number from 0 to 100"),
        ("label_smoothing", "1", r"expected a number from 0 to 0\.9"),
        ("mixup", "much", "expected a number"),
    ):
        with pytest.raises(UserError, match=f"{key}={value}: {expected}") as raised:
            keys.resolve(module, {key: value})
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "settings", [{"mixup": -0.1}, {"mixup": 101}, {"label_smoothing": -0.1}, {"label_smoothing": 1}]
)
def test_values_out_of_range_are_refused(settings):
    (name,) = settings
    with pytest.raises(UserError, match=rf"Trainer\({name}=.*\): expected a number from 0 to"):
        Trainer(**settings)
