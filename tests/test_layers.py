import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from scipy import integrate, stats

from kpipe import gradients, layers, losses, models
from kpipe.errors import UserError
from kpipe.training import Trainer, weights_sha256
from kpipe.training.loop import Loop

PARTS = (slice(0, 2), slice(2, 5))  # of probabilities of a latent with 2 and one with 3 classes
RATE = keras.optimizers.schedules.PolynomialDecay


def numpy(values):
    return keras.ops.convert_to_numpy(values)


@pytest.mark.parametrize(("mean", "log_var"), [(0.0, 0.0), (1.0, 0.0), (-2.0, 1.5), (0.3, -3.0)])
def test_the_divergence_from_the_normal_is_the_integral(mean, log_var):
    given, prior = stats.norm(mean, np.exp(log_var / 2)), stats.norm()

    def integrand(x):
        return given.pdf(x) * (given.logpdf(x) - prior.logpdf(x))

    expected, _ = integrate.quad(integrand, *given.interval(1 - 1e-12))
    assert float(layers.kl_to_normal(mean, log_var)) == pytest.approx(expected, abs=1e-6)


def test_the_divergence_from_the_normal_is_by_hand():
    # (4 + 1 - 1 - 0) / 2, and (0 + e^2 - 1 - 2) / 2
    divergence = layers.kl_to_normal(np.array([[2.0, 0.0]]), np.array([[0.0, 2.0]]))
    np.testing.assert_allclose(numpy(divergence), [[2.0, (np.exp(2) - 3) / 2]], rtol=1e-6)


@pytest.mark.parametrize("classes", [2, 10, 40])
def test_the_divergence_from_the_uniform_is_scipys(classes):
    random = np.random.default_rng(classes)
    logits = random.normal(0, 3, (5, classes)).astype("float32")
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = stats.entropy(probabilities, np.full((5, classes), 1 / classes), axis=1)
    np.testing.assert_allclose(numpy(layers.kl_to_uniform(logits)), expected, atol=1e-5)
    np.testing.assert_allclose(numpy(layers.kl_to_uniform(logits + 7)), expected, atol=1e-5)


def test_a_certain_class_holds_ln_n_and_an_open_one_nothing():
    logits = np.array([[1000.0, 0, 0, 0], [5, 5, 5, 5]], "float32")
    np.testing.assert_allclose(numpy(layers.kl_to_uniform(logits)), [np.log(4), 0], atol=1e-6)


def test_a_capacity_rises_linearly_and_stays():
    capacity = layers.linear_capacity(5.0, 25_000)
    values = [float(capacity(step)) for step in (0, 1, 12_500, 25_000, 99_000)]
    np.testing.assert_allclose(values, [0, 5 / 25_000, 2.5, 5, 5], rtol=1e-5, atol=1e-6)


def test_a_limited_capacity_has_the_same_slope_up_to_its_limit():
    limit = float(np.log(10))
    capacity = layers.linear_capacity(5.0, 1000, limit=limit)
    values = [float(capacity(step)) for step in (100, 460, 461, 1000)]
    np.testing.assert_allclose(values, [0.5, 2.3, limit, limit], rtol=1e-5)


def test_sampling_gives_the_mean_at_inference_and_draws_in_training():
    mean = np.tile(np.array([[1.0, -2.0]], "float32"), (20_000, 1))
    log_var = np.tile(np.array([[0.0, np.log(4.0)]], "float32"), (20_000, 1))
    layer = layers.Sampling(seed=3)
    np.testing.assert_array_equal(numpy(layer(mean, log_var)), mean)
    drawn = numpy(layer(mean, log_var, training=True))
    for column, (center, deviation) in enumerate([(1.0, 1.0), (-2.0, 2.0)]):
        assert stats.kstest(drawn[:, column], stats.norm(center, deviation).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 0.03
    again = numpy(layer(mean, log_var, training=True))
    assert (again != drawn).all()
    np.testing.assert_array_equal(
        numpy(layers.Sampling(seed=3)(mean, log_var, training=True)), drawn
    )


def test_gradients_pass_a_draw_by_its_mean_and_its_deviation():
    import tensorflow as tf

    mean, log_var = tf.Variable([[0.5]]), tf.Variable([[2.0]])
    with tf.GradientTape() as tape:
        z = layers.Sampling(seed=0)(mean, log_var, training=True)
    of_mean, of_log_var = tape.gradient(z, [mean, log_var])
    assert of_mean.numpy() == 1.0
    np.testing.assert_allclose(of_log_var, (z - mean) / 2, rtol=1e-6)  # d e^(v/2) / dv


def test_gumbel_softmax_is_the_most_probable_class_at_inference():
    logits = np.array([[[0.0, 2, 1], [9, -9, 3]]], "float32")
    chosen = numpy(layers.GumbelSoftmax()(logits))
    np.testing.assert_array_equal(chosen, [[[0, 1, 0], [1, 0, 0]]])


@pytest.mark.parametrize("temperature", [0.1, 0.67, 5.0])
def test_the_largest_of_a_drawn_vector_is_distributed_as_the_classes(temperature):
    probabilities = np.array([0.1, 0.2, 0.7])
    logits = np.tile(np.log(probabilities).astype("float32"), (20_000, 1))
    drawn = numpy(layers.GumbelSoftmax(temperature, seed=1)(logits, training=True))
    np.testing.assert_allclose(drawn.sum(axis=1), 1, atol=1e-5)
    counts = np.bincount(drawn.argmax(axis=1), minlength=3)
    assert stats.chisquare(counts, 20_000 * probabilities).pvalue > 1e-3


def test_a_low_temperature_is_nearly_one_hot_and_a_high_one_is_not():
    logits = np.zeros((1000, 4), "float32")
    cold, warm = (
        numpy(layers.GumbelSoftmax(t, seed=1)(logits, training=True)).max(axis=1).mean()
        for t in (0.01, 100.0)
    )
    assert cold > 0.98 and warm < 0.3


def test_a_temperature_can_follow_the_steps():
    layer = layers.GumbelSoftmax(RATE(5.0, 2, end_learning_rate=0.01), seed=1)
    logits = np.zeros((500, 4), "float32")
    warmth = [numpy(layer(logits, training=True)).max(axis=1).mean() for _ in range(3)]
    assert warmth[0] < 0.7 and warmth[1] > 0.95 and warmth[2] > 0.95  # 2.505, 0.01, 0.01
    assert int(layer.step.value) == 3


@pytest.mark.parametrize("temperature", [0, -1.0])
def test_a_temperature_that_is_not_above_0_is_refused(temperature):
    with pytest.raises(ValueError, match="expected a number above 0"):
        layers.GumbelSoftmax(temperature)


def test_a_weighted_divergence_is_added_to_the_loss():
    layer = layers.KLRegularization(4.0, name="continuous")
    code = np.arange(4.0).reshape(2, 2).astype("float32")
    kl = np.array([[1.0, 0.5], [3.0, 0.5]], "float32")
    np.testing.assert_array_equal(numpy(layer(code, kl, training=True)), code)
    assert float(layer.losses[0]) == 4 * 2.5
    result = layer.divergence.result()
    assert {name: float(value) for name, value in result.items()} == {
        "continuous_kl": 2.5,
        "continuous_kl/0": 2.0,
        "continuous_kl/1": 0.5,
    }


def test_a_divergence_is_drawn_to_a_capacity_that_rises_with_the_steps():
    layer = layers.KLRegularization(10.0, layers.linear_capacity(4.0, 4), name="discrete")
    kl = np.full((2, 1), 2.5, "float32")
    seen = []
    for training in (True, True, False, True, True, True):
        layer._clear_losses()
        layer(kl, kl, training=training)
        seen.append(float(layer.losses[0]))
    # |1 - 2.5|, |2 - 2.5|, the same at inference, |3 - 2.5|, |4 - 2.5| from then on
    np.testing.assert_allclose(seen, [15, 5, 5, 5, 15, 15], rtol=1e-6)
    assert float(layer.divergence.result()["discrete_capacity"]) == 4.0
    assert int(layer.step.value) == 5


def losses_of(layer, steps, *arguments):
    """The loss that a layer adds in each step; `steps` says which are training."""
    seen = []
    for training in steps:
        layer._clear_losses()
        layer(*arguments, training=training)
        seen.append(float(layer.losses[0]))
    return seen


@pytest.mark.parametrize(
    ("capacity", "expected"),
    [
        (None, [2.5, 5, 10, 7.5, 10, 10]),
        (0.5, [2, 4, 8, 6, 8, 8]),
        # |1 - 2.5|, |2 - 2.5|, the same at inference, |3 - 2.5|, |4 - 2.5| from then on
        (layers.linear_capacity(4.0, 4), [1.5, 1, 2, 1.5, 6, 6]),
    ],
    ids=["no capacity", "a capacity", "a rising capacity"],
)
def test_a_weight_rises_over_the_training_steps_and_is_whole_at_inference(capacity, expected):
    layer = layers.KLRegularization(4.0, capacity, warmup_steps=4)
    kl = np.full((2, 1), 2.5, "float32")
    found = losses_of(layer, (True, True, False, True, True, True), kl, kl)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert int(layer.step.value) == 5


def information(sizes, **options):
    """A layer, and a function that calls it with probabilities (batch, sum of sizes)."""
    options = {"weight": 1.0, "name": "d", **options}
    layer = layers.InformationRegularization(sizes, **options)
    ends = np.cumsum(sizes)[:-1]

    def call(probabilities, training=True):
        q = ops.convert_to_tensor(probabilities, "float32")
        parts = ops.split(q, [int(end) for end in ends], axis=-1) if len(sizes) > 1 else [q]
        kl = ops.stack([layers.kl_to_uniform(ops.log(part + 1e-30)) for part in parts], axis=-1)
        layer._clear_losses()
        return layer(q, kl, q, training=training)

    return layer, call


def test_the_information_of_discrete_latents_is_by_hand_and_their_mean_that_of_earlier_batches():
    layer, call = information((2, 3), weight=10.0, capacity=0.4, momentum=0.75)
    random = np.random.default_rng(0)
    mean = np.array([1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3])
    for training in (True, True, False, True):
        q = np.hstack([random.dirichlet(np.ones(2), 6), random.dirichlet(np.ones(3), 6)])
        np.testing.assert_allclose(call(q, training), q, rtol=1e-6)  # the code as it is
        nats = sum(stats.entropy(row[part], mean[part]) for row in q for part in PARTS) / 6
        assert float(layer.losses[0]) == pytest.approx(10 * abs(0.4 - nats), rel=1e-4)
        if training:
            mean = 0.75 * mean + 0.25 * q.mean(axis=0)
        np.testing.assert_allclose(layer.mean.value, mean, rtol=1e-5)
        layer.information.reset_state()
        call(q, training=False)
        nats = sum(stats.entropy(row[part], mean[part]) for row in q for part in PARTS) / 6
        assert float(layer.information.result()) == pytest.approx(nats, rel=1e-4)
    assert layer.information.name == "d_information"


def test_a_latent_with_one_class_for_all_images_has_no_information_and_one_that_divides_them_ln_n():
    one, three = np.eye(3)[np.zeros(6, int)], np.eye(3)[np.arange(6) % 3]
    for rows, expected in ((one, 0.0), (three, np.log(3))):
        layer, call = information((3,), momentum=0.5)
        for _ in range(40):
            call(rows)
        assert float(layer.losses[0]) == pytest.approx(expected, abs=1e-5)
        # Its divergence is ln 3 in both.
        assert float(layer.divergence.result()["d_kl"]) == pytest.approx(np.log(3), rel=1e-5)


def test_a_latent_that_has_become_one_class_is_driven_to_the_capacity():
    def after(make):
        random = np.random.default_rng(1)
        layer, logits = make(), tf.constant(random.normal([2.0, 0, 0], 0.5, (12, 3)), "float32")
        for _ in range(100):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                q = ops.softmax(logits)
                given = [q, layers.kl_to_uniform(logits)[:, None]]
                given += [q] * isinstance(layer, layers.InformationRegularization)
                layer._clear_losses()
                layer(*given, training=True)
                loss = layer.losses[0]
            logits -= 6 * tape.gradient(loss, logits)
        q = numpy(ops.softmax(logits))
        return np.mean([stats.entropy(row, q.mean(axis=0)) for row in q])

    assert after(lambda: layers.KLRegularization(1.0, 0.8)) < 0.05
    assert after(lambda: layers.InformationRegularization((3,), capacity=0.8)) > 0.5


def of_two_latents():
    """A model of a latent with 2 and one with 3 classes, and its last layer."""
    inputs = keras.Input((5,))
    parts = [keras.layers.Dense(size)(inputs) for size in (2, 3)]
    q = ops.concatenate([ops.softmax(part) for part in parts], axis=-1)
    kl = ops.stack([layers.kl_to_uniform(part) for part in parts], axis=-1)
    regularize = layers.InformationRegularization((2, 3), weight=3.0, capacity=1.0)
    regularize.build((None, 5), (None, 2), (None, 5))
    regularize.mean.assign([0.9, 0.1, 0.2, 0.7, 0.1])
    return keras.Model(inputs, regularize(q, kl, q)), regularize


def test_the_gradient_of_the_information_is_right():
    model, _ = of_two_latents()
    x = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    result = gradients.check(model, "mean_squared_error", x, np.zeros((6, 5), "float32"), samples=4)
    assert result.passed, result.rows()


def test_a_model_with_information_is_saved_with_its_mean(tmp_path):
    model, layer = of_two_latents()
    model.compile("sgd", "mean_squared_error", run_eagerly=True)
    x = np.random.default_rng(0).normal(size=(6, 5)).astype("float32")
    before = numpy(layer.mean)
    model.train_on_batch(x, np.zeros((6, 5)))
    assert not np.allclose(numpy(layer.mean), before)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.layers[-1].mean, layer.mean)
    losses = [m.evaluate(x, np.zeros((6, 5)), verbose=0) for m in (model, loaded)]
    assert losses[0] == losses[1]


def test_the_divergence_is_a_mean_over_examples_not_over_batches():
    metric = layers.Divergence("z", 2, has_capacity=False)
    metric.update_state(np.array([[1.0, 0.0]] * 3, "float32"))
    metric.update_state(np.array([[5.0, 4.0]], "float32"))
    assert float(metric.result()["z_kl/0"]) == 2.0
    assert float(metric.result()["z_kl"]) == 3.0
    metric.reset_state()
    assert float(metric.result()["z_kl"]) == 0.0


@pytest.mark.parametrize(
    "layer",
    [
        layers.Sampling(seed=3),
        layers.GumbelSoftmax(RATE(1.0, 10, end_learning_rate=0.5), seed=3),
        layers.KLRegularization(3.0, layers.linear_capacity(5.0, 10)),
        layers.KLRegularization(3.0, 2.0),
        layers.KLRegularization(3.0, 2.0, warmup_steps=7),
        layers.InformationRegularization((2, 5), 0.8, weight=3.0, capacity=2.0),
    ],
)
def test_layers_are_the_same_after_saving(layer):
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(copy) is type(layer) and copy.get_config() == layer.get_config()
    given = {k: v for k, v in vars(layer).items() if isinstance(v, (int, float, tuple))}
    assert given == {k: vars(copy)[k] for k in given}


# --- losses -----------------------------------------------------------------------------------


def test_reconstruction_losses_are_by_hand():
    images = np.array([[[[0, 255, 51]]], [[[255, 255, 255]]]], "uint8")  # 0, 1, 0.2; 1, 1, 1
    given = np.array([[[[0.5, 0.25, 0.5]]], [[[1.0, 0.5, 0.5]]]], "float32")
    ln2 = np.log(2)
    expected = [ln2 + 2 * ln2 + ln2, 0 + 2 * ln2]  # p = 0.5 costs ln 2 whatever the grey
    np.testing.assert_allclose(numpy(losses.bernoulli(images, given)), expected, atol=1e-5)
    thirds = numpy(losses.bernoulli_mean_of_channels(images, given))
    np.testing.assert_allclose(thirds, np.array(expected) / 3, atol=1e-5)
    squares = [(0.25 + 0.5625 + 0.09) / 3, 0.5 / 3]
    np.testing.assert_allclose(numpy(losses.squared_error(images, given)), squares, atol=1e-6)


def test_the_published_reduction_is_the_mean_times_height_and_width():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (3, 8, 6, 3), "uint8")
    given = random.uniform(0.1, 0.9, images.shape).astype("float32")
    grey = images / 255
    entropy = -grey * np.log(given) - (1 - grey) * np.log(1 - given)
    published = entropy.mean(axis=(1, 2, 3)) * 8 * 6
    loss = losses.bernoulli_mean_of_channels
    np.testing.assert_allclose(numpy(loss(images, given)), published, rtol=1e-5)


# --- the step is part of a run's state --------------------------------------------------------


def joint_vae(seed=0):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    model = models.joint_vae(
        (32, 32, 1),
        2,
        discrete=(3,),
        weight=5.0,
        continuous_capacity=(3.0, 6),
        discrete_capacity=(1.0, 6),
        discrete_term="information",
        temperature=layers.linear_capacity(2.0, 6),
    )
    # Eagerly, since to trace it takes longer; its state is kept in the same variables.
    metrics = [losses.reconstruction_metric(losses.bernoulli)]
    model.compile("adam", losses.bernoulli, metrics=metrics, run_eagerly=True)
    return model


@pytest.fixture(scope="module")
def shown_digits():
    """A few digits of 32x32 pixels to be reconstructed."""
    import dataclasses

    from kpipe import data, datasets

    dataset = datasets.mnist(image_size=32).as_autoencoder_data()
    prepared = data.prepare(dataset, dataset.find("sample"), seed=0)
    splits = {name: split.at(np.arange(96)) for name, split in prepared.splits.items()}
    return dataclasses.replace(prepared, splits=splits)


def test_the_steps_of_capacity_and_temperature_survive_a_kill(shown_digits, tmp_path, monkeypatch):
    trainer = Trainer(
        epochs=2, batch_size=32, monitor="val_reconstruction", patience=0, checkpoint_seconds=0.0
    )

    class Keep(keras.callbacks.Callback):
        """Copies what a kill in the fifth step would leave."""

        seen = 0

        def on_train_batch_end(self, batch, logs=None):
            self.seen += 1
            if self.seen == 5:
                for name in ("resumed", "forgetful"):
                    kept = tmp_path / name / "checkpoints"
                    shutil.copytree(tmp_path / "whole" / "checkpoints", kept)

    whole = joint_vae()
    history = trainer.fit(whole, shown_digits, folder=tmp_path / "whole", callbacks=[Keep()])
    assert history.columns["continuous_capacity"] == pytest.approx([1.5, 3.0])

    def weights_resumed(folder):
        model = joint_vae(seed=9)
        assert trainer.fit(model, shown_digits, folder=folder).resumed_at == 4
        return weights_sha256(model)

    assert weights_resumed(tmp_path / "resumed") == weights_sha256(whole)
    # The control: begins to count anew.
    restore = Loop._restore

    def without_steps(self):
        restore(self)
        for layer in self.model.layers:
            if hasattr(layer, "step"):
                layer.step.assign(0)

    monkeypatch.setattr(Loop, "_restore", without_steps)
    assert weights_resumed(tmp_path / "forgetful") != weights_sha256(whole)


def test_a_divergence_is_no_metric_to_monitor(shown_digits):
    """Keras does not know whether it should rise or fall."""
    model = models.vae((32, 32, 1), 2, units=(8,))
    model.compile("adam", losses.bernoulli)
    trainer = Trainer(epochs=1, monitor="val_continuous_kl")
    with pytest.raises(UserError, match=r"Keras does not know whether it should rise or fall"):
        trainer.fit(model, shown_digits)


def test_a_negative_warmup_of_the_weight_is_refused():
    with pytest.raises(ValueError, match=r"warmup_steps=-5: expected 0 or more"):
        layers.KLRegularization(warmup_steps=-5)
