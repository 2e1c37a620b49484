"""What the loss learns from: mixed examples and smoothed labels, against numbers by hand."""

import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from own import blobs, data_of, split_of
from scipy import stats

from kpipe import Trainer, gradients, models
from kpipe.datasets import Augmentation, Vectorization
from kpipe.errors import UserError
from kpipe.experiments import catalogue, keys, modules
from kpipe.inputs import InputTargets, TableInput, TextInput
from kpipe.training import Devices, Schedule, training_batches, weights_sha256
from kpipe.training.supervision import Supervision, supervise
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
    assert (ratio > 0).all() and (ratio < 1).all() and len(np.unique(ratio)) == 8
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


def test_of_mixed_examples_each_part_has_its_own_weight():
    """The loss is r w_i loss(x, y_i) + (1 - r) w_j loss(x, y_j), which is linear in the target."""
    inputs, classes = placed(2, 3), np.array([[0, 1, 2], [2, 2, 0]], np.int32)
    options = {"mixup": 1.0, "label_smoothing": 0.1, "classes": 3}
    mixed, targets, weights = of_batch(inputs, classes, weigh=by_class({2: 5.0, 0: 0.0}), **options)
    given = np.array([[0, 1, 5], [5, 5, 0]], np.float32)
    ratio = mixed[:, range(3), range(3)]
    np.testing.assert_array_equal(mixed, of_batch(inputs, classes, **options)[0])
    parts = ratio * given, (1 - ratio) * following(given)
    np.testing.assert_allclose(weights, parts[0] + parts[1], atol=1e-5)
    smooth = 0.9 * np.eye(3)[classes] + 0.1 / 3
    expected = parts[0][..., None] * smooth + parts[1][..., None] * following(smooth)
    np.testing.assert_allclose(weights[..., None] * targets, expected, atol=1e-5)
    *_, targets, weights = of_batch(inputs, classes, weigh=by_class({0: 0, 1: 0, 2: 0}), **options)
    assert not weights.any() and np.isfinite(targets).all()


def test_an_alpha_too_small_for_float32_is_refused(few):
    with pytest.raises(UserError, match=r"mixup=0.01: expected 0 for none, or 0.05 to 100"):
        supervise(network(), few.train, None, 0.01, 0.0)


def test_without_settings_a_batch_is_as_it_is():
    inputs, classes = placed(1, 3), np.array([[0, 1, 2]], np.int32)
    found = of_batch(inputs, classes)
    assert len(found) == 2 and found[1].dtype == np.int32
    np.testing.assert_array_equal(found[0], inputs)


# --- training ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def few():
    """96 training and 40 validation examples, vectors of 3 classes."""
    points, labels = blobs(136)
    whole = split_of(points, labels.astype(np.int32))
    return data_of(train=whole.at(np.arange(96)), val=whole.at(np.arange(96, 136)))


def network(loss=CROSSENTROPY, *, seed=0, logits=False, optimizer="sgd", eager=False, **options):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    own = {k: options.pop(k) for k in ("dropout", "l2") if k in options}
    model = models.mlp((5,), 3, units=(8,), **own)
    if logits:
        model = keras.Model(model.inputs[0], keras.layers.Dense(3)(model.layers[-2].output))
    model.compile(optimizer, loss, metrics=["accuracy"], run_eagerly=eager, **options)
    return model


def train(model, data, *, plan="graph", folder=None, callbacks=(), devices=None, **settings):
    settings = {"epochs": 1, "batch_size": 32, "patience": 0, **settings}
    trainer = Trainer(checkpoint_seconds=0.0, **settings)
    more = {"plan": plan, "folder": folder, "callbacks": callbacks, "devices": devices}
    return trainer.fit(model, data, **more)


def columns(history):
    return {name: values for name, values in history.columns.items() if name != "seconds"}


def assert_alike(one, two):
    """Histories and weights are equal up to rounding; each is a history and its model."""
    for name, values in columns(one[0]).items():
        np.testing.assert_allclose(two[0].columns[name], values, rtol=1e-4)
    for a, b in zip(one[1].get_weights(), two[1].get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


BOTH = {"mixup": 0.4, "label_smoothing": 0.1}
LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
SUM = keras.losses.SparseCategoricalCrossentropy(reduction="sum")


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({}, {"mixup": 0.4}),
        ({"loss": SUM}, {"mixup": 0.4}),
        ({"l2": 0.1}, {"label_smoothing": 0.2, "class_weight": {2: 5.0, 1: 0.0}}),
        ({"loss": LOGITS, "logits": True}, BOTH),
    ],
    ids=["mixing", "mixing with a sum", "smoothing with penalties and weights", "both with logits"],
)
def test_the_loss_of_a_step_is_the_cross_entropy_with_the_softened_labels(few, options, settings):
    model, count = network(eager=True, **options), len(few.train)
    weights = settings.get("class_weight")
    amounts = [settings.get(name, 0.0) for name in BOTH]
    given = Supervision(weights and by_class(weights), *amounts, classes=3)
    batches = training_batches(few.train, Schedule(count, count), Augmentation(), 0, 0, 1, given)
    x, y, *w = (part[0].numpy() for part in next(iter(batches)))
    outputs = model.predict_on_batch(x)
    outputs = np.asarray(outputs if options.get("logits") else outputs["probabilities"], float)
    if options.get("logits"):
        outputs = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    each = -np.sum(y * np.log(outputs), axis=1) * (w[0] if w else 1.0)
    kernels = [v.numpy() for v in model.trainable_variables if v.name == "kernel"]
    penalties = options.get("l2", 0.0) * sum(np.sum(np.square(k, dtype=float)) for k in kernels)
    row = train(model, few, batch_size=count, **settings).rows[0]
    total = each.sum() if model.loss is SUM else each.mean()
    assert row["loss"] == pytest.approx(total + penalties, rel=1e-5)
    # Metrics count labels: the nearest ones.
    assert row["accuracy"] == pytest.approx((outputs.argmax(1) == y.argmax(1)).mean())
    # The loss of val is that of its labels.
    plain = model.evaluate(few.val.batches(64), verbose=0, return_dict=True)
    assert row["val_loss"] == pytest.approx(plain["loss"], rel=1e-6)
    assert row["val_accuracy"] == plain["accuracy"]


def test_every_step_and_every_seed_draws_ratios_of_its_own(few):
    def ratios(seed):
        given = Schedule(96, 32), Augmentation(), seed, 0, 2, Supervision(mixup=1.0, classes=3)
        return [
            targets[0].numpy().max(axis=1) for _, targets in training_batches(few.train, *given)
        ]

    steps = ratios(0)
    drawn = [set(row[row < 1].tolist()) for row in [*steps, *ratios(1)]]  # of different classes
    assert len(drawn) == 12 and len(set.union(*drawn)) == sum(map(len, drawn)) > 200
    np.testing.assert_array_equal(steps, ratios(0))


@pytest.mark.parametrize(
    ("plan", "settings"),
    [
        ("kernels", BOTH),
        # Other plans draw for one step, and this one for all of a program: as in augmentation.
        pytest.param("fused:2", {"label_smoothing": 0.1}, id="fused"),
    ],
)
def test_every_plan_learns_the_same_softened_labels(few, plan, settings):
    graph, other = network(), network()
    expected, found = train(graph, few, **settings), train(other, few, plan=plan, **settings)
    assert_alike((expected, graph), (found, other))


def test_a_step_in_shards_learns_them_as_an_undivided_one(few):
    whole, divided = network(), network()
    expected, found = train(whole, few, **BOTH), train(divided, few, devices=Devices(2), **BOTH)
    assert_alike((expected, whole), (found, divided))


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
    whole, keep = network(dropout=0.5), KeepAt(4, tmp_path / "a", tmp_path / "b")
    history = train(whole, few, folder=tmp_path / "a", callbacks=[keep], **settings)
    resumed = network(dropout=0.5, seed=9)
    rest = train(resumed, few, folder=tmp_path / "b", **settings)
    assert rest.resumed_at == 4
    assert weights_sha256(resumed) == weights_sha256(whole)
    assert columns(rest) == columns(history)


def test_the_model_is_afterwards_as_before(few):
    own = {"compute_loss", "compute_metrics"}

    class Stops(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            assert own <= vars(self.model).keys()
            raise InterruptedError

    model = network(eager=True)
    with pytest.raises(InterruptedError):
        train(model, few, callbacks=[Stops()], **BOTH)
    assert not own & vars(model).keys()
    train(model, few, **BOTH)
    assert not own & vars(model).keys()


def test_a_head_on_cached_features_learns_them_too(few, tmp_path, monkeypatch):
    monkeypatch.setenv("KPIPE_HOME", str(tmp_path))

    def frozen():
        model = network()
        inputs = keras.Input((5,))
        features = keras.layers.Dense(4, "tanh", name="features", trainable=False)(inputs)
        model = keras.Model(inputs, keras.layers.Dense(3, "softmax")(features))
        model.compile("sgd", CROSSENTROPY, metrics=["accuracy"], run_eagerly=True)
        return model

    def losses(**settings):
        return train(frozen(), few, **settings).columns["loss"]

    # Smoothing does not touch the inputs: the same as through the backbone.
    smoothed = losses(cache_features=True, label_smoothing=0.2)
    assert smoothed == pytest.approx(losses(label_smoothing=0.2), rel=1e-5)
    mixed, plain = losses(cache_features=True, mixup=1.0), losses(cache_features=True)
    assert np.isfinite(mixed).all() and len({*smoothed, *mixed, *plain}) == 3


def test_numbers_are_mixed_with_any_loss(few):
    points = few.train.inputs[:64]
    data = data_of(train=split_of(points, points.sum(axis=1)))
    keras.utils.set_random_seed(0)
    model = models.mlp((5,), 1, units=(), output="value")
    model.compile("sgd", "mean_squared_error", run_eagerly=True)
    given = Supervision(mixup=1.0)
    batches = training_batches(data.train, Schedule(64, 64), Augmentation(), 0, 0, 1, given)
    x, y = (part[0].numpy() for part in next(iter(batches)))
    values = np.asarray(model.predict_on_batch(x)["value"])[:, 0]
    row = train(model, data, batch_size=64, mixup=1.0).rows[0]
    assert row["loss"] == pytest.approx(np.mean((values - y) ** 2), rel=1e-5)


def test_metrics_of_several_labels_count_the_nearest_ones(few):
    labels = (few.train.inputs[:64, :2] > 0).astype(np.int32)
    data = data_of(train=split_of(few.train.inputs[:64], labels))
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2, "sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["binary_accuracy"], run_eagerly=True)
    outputs = np.asarray(model.predict_on_batch(data.train.inputs), float)
    smoothed = 0.8 * labels + 0.1
    row = train(model, data, batch_size=64, label_smoothing=0.2).rows[0]
    entropy = -smoothed * np.log(outputs) - (1 - smoothed) * np.log(1 - outputs)
    assert row["loss"] == pytest.approx(entropy.mean(), rel=1e-5)
    assert row["binary_accuracy"] == pytest.approx(((outputs > 0.5) == labels).mean())


def test_the_gradient_of_softened_labels_is_right(few):
    """That of the loss which a training step computes, in float64."""
    inputs, targets = few.train.take(np.arange(4))
    x, y = of_batch(inputs[None], targets[None], mixup=1.0, classes=3)
    model = network()
    with Supervision(mixup=1.0, classes=3).learned_by(model):

        def loss(targets, outputs):
            return model.compute_loss(y=targets, y_pred=outputs)

        result = gradients.check(model, loss, x[0], y[0], samples=4)
    assert result.passed, result.rows()


# --- settings ---------------------------------------------------------------------------------


def test_they_are_keys_of_every_pipeline_and_recorded_only_if_set():
    module = modules.load(catalogue.find("logic_gates"))[0]
    given = keys.resolve(module, {"mixup": "0.2", "label_smoothing": "0.1"})
    amounts = {"mixup": 0.2, "label_smoothing": 0.1}
    assert amounts.items() <= given.trainer.settings().items()
    assert given.overrides == amounts
    assert not amounts.keys() & keys.resolve(module, {}).trainer.settings().keys()
    for key, value, expected in (
        ("mixup", "-1", "expected a number from 0 to 100"),
        ("label_smoothing", "1", r"expected a number from 0 to 0\.9"),
        ("mixup", "much", "expected a number"),
    ):
        with pytest.raises(UserError, match=f"{key}={value}: {expected}") as raised:
            keys.resolve(module, {key: value})
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "values", "high"),
    [("mixup", [-0.1, 101], "100"), ("label_smoothing", [-0.1, 0.95], r"0\.9")],
)
def test_values_out_of_range_are_refused(name, values, high):
    for value in values:
        expected = rf"^Trainer\({name}={value}\): expected a number from 0 to {high}$"
        with pytest.raises(UserError, match=expected):
            Trainer(**{name: value})


def refused(match, model, data, **settings):
    with pytest.raises(UserError, match=match) as raised:
        train(model, data, **settings)
    assert "\n" not in str(raised.value)


class Tripled(keras.Model):
    def compute_loss(self, *arguments, **options):
        return 3 * super().compute_loss(*arguments, **options)


def test_a_loss_that_is_not_defined_between_classes_is_refused(few):
    squared, smooth = "mean_squared_error", {"label_smoothing": 0.1}
    expected = "expected 'sparse_categorical_crossentropy' without ignore_class and loss_weights"
    said = rf"^mixup=0\.4 with loss={squared}: of whole numbers as labels, {expected}"
    refused(said, network(squared), few, mixup=0.4)
    refused(rf"^label_smoothing=0\.1 with loss={squared}", network(squared), few, **smooth)
    ignoring = keras.losses.SparseCategoricalCrossentropy(ignore_class=1)
    refused("with loss=SparseCategoricalCrossentropy: of whole", network(ignoring), few, **smooth)
    refused(expected, network(loss_weights=[2.0]), few, **smooth)
    model = network()
    own = Tripled(model.inputs[0], model.outputs[0])
    own.compile("sgd", CROSSENTROPY)
    refused("^label_smoothing=0.1: .* has a compute_loss of its own", own, few, **smooth)
    two = keras.Model(model.inputs[0], {"a": model.outputs[0], "b": model.layers[-2].output})
    two.compile("sgd", {"a": CROSSENTROPY})
    refused("has 2 outputs; expected one", two, few, **smooth)


def test_the_number_of_classes_of_a_subclassed_model_is_found(few):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3, "softmax")

        def call(self, points):
            return self.dense(points)

    model = Own()
    model.compile("sgd", CROSSENTROPY)
    assert Trainer(mixup=1.0).supervision(model, few.train).classes == 3


def test_inputs_and_targets_that_cannot_be_mixed_or_smoothed_are_refused(few):
    points, zeros = few.train.inputs[:9], np.zeros(9, np.int32)
    reconstructed = data_of(train=split_of(points, zeros, targets=InputTargets()))
    for settings in ({"mixup": 0.4}, {"label_smoothing": 0.1}):
        refused("targets are the inputs themselves", network(), reconstructed, **settings)
    numbers = data_of(train=split_of(points, zeros.astype(np.float32)))
    refused("^label_smoothing=0.1: targets are numbers", network(), numbers, label_smoothing=0.1)
    whole = np.zeros((9, 5), np.int32)
    texts, table = TextInput(Vectorization(10, 5)), TableInput(())
    for what, inputs, kind in (
        ("texts", whole, {"input": texts}),
        ("features", points, {"input": table}),
        ("features", whole, {}),
    ):
        data = data_of(train=split_of(inputs, zeros, **kind))
        message = rf"^mixup=0\.4: a mean of two {what} is not one; .*: use mixup=0$"
        refused(message, network(), data, mixup=0.4)
