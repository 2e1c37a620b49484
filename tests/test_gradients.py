import concurrent.futures
import json
import pathlib
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from kpipe import checking, cli, gradients, models
from kpipe.errors import UserError
from kpipe.experiments import catalogue, keys, modules
from kpipe.figures.gradients import gradient_check
from kpipe.gradients import taylor
from kpipe.models import resnet

LIKELIHOOD = "sparse_categorical_crossentropy"


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)


def images(count=3, shape=(4, 4, 1), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype("uint8")


def vectors(count=4, size=5, seed=0):
    return np.random.default_rng(seed).standard_normal((count, size)).astype("float32")


LABELS = np.array([0, 2, 1, 1])


def squared_loss():
    return modules.load(catalogue.find("mnist_mlp"))[0].squared_loss


# --- what is right passes ----------------------------------------------------------------------


ACTIVATIONS = ("relu", "leaky_relu", "tanh", "sigmoid", "linear")
INITIALIZERS = ("random_normal", "glorot_normal", "glorot_uniform")


# Every activation with each loss and with one of the initializers; the slow ones add the others.
@pytest.mark.parametrize("loss", ["likelihood", "squared"])
@pytest.mark.parametrize(
    ("activation", "initializer"),
    [
        pytest.param(activation, initializer, marks=[pytest.mark.slow] * (i % 3 != j))
        for i, activation in enumerate(ACTIVATIONS)
        for j, initializer in enumerate(INITIALIZERS)
    ],
)
def test_every_activation_start_and_loss_of_the_documents_is_right(activation, initializer, loss):
    model = models.mlp(
        (4, 4, 1), 3, units=(6, 5), activation=activation, initializer=initializer, l2=1e-3
    )
    loss = squared_loss() if loss == "squared" else LIKELIHOOD
    result = gradients.check(model, loss, images(), LABELS[:3], samples=8)
    assert result.passed, result.rows()
    for variable in result.variables:
        assert variable.error < 1e-6 and variable.transpose_error < 1e-6
        assert variable.slopes == pytest.approx((1, 2), abs=0.05)


# One example is enough: mnist_vae has the same way of sampling, and has two.
ONE_EXAMPLE = ("celeba_joint_vae", "dsprites_joint_vae", "mnist_joint_vae", "one_example")

# Their layers and losses are those of others, which are always checked: mnist_joint_vae,
# cifar10_cnn as it is documented, mnist_mlp, gmm; recurrent layers and one of the eight residual
# blocks of cifar10_transfer below.
AS_OTHERS = (
    *("celeba_attributes", "celeba_gender", "celeba_joint_vae", "cifar10_mlp", "cifar10_transfer"),
    *("dsprites_joint_vae", "emotion_rnn", "grocery_cnn", "mnist_vae", "peaks", "swiss_roll"),
)
ARCHITECTURES_AS_OTHERS = ("tuned", "deep")

# Beside the defaults: the smallest networks with the same layers.
SMALL = {
    "ag_news_mlp": [{"embedding_dim": 8, "units_1": 8, "units_2": 8}],
    "celeba_attributes": [{"filters": 8, "num_blocks": 2, "dense_units": 8}],
    "celeba_gender": [{"filters": 8, "num_blocks": 2, "dense_units": 8}],
    "celeba_joint_vae": [{"discrete": "2x2", "continuous": 3}],
    "cifar10_autoencoder": [{"latent_dim": 4}, {"latent_dim": 4, "architecture": "deep"}],
    "cifar10_cnn": [
        {"filters": 8, "num_blocks": 2, "architecture": name} for name in ("simple", "tuned")
    ],
    "cifar10_mlp": [{"units_1": 16, "units_2": 8, "units_3": 8}],
    "cifar10_transfer": [{"filters": 8, "stem": "imagenet"}],
    "diabetes_mlp": [{"units": 8}, {"num_layers": 0}],
    "dsprites_joint_vae": [{"drawn_sprites": 140, "capacity": "none", "continuous": 3}],
    "emotion_rnn": [
        {"embedding_dim": 8, "architecture": "simple_rnn", "units": 8},
        {"embedding_dim": 8, "architecture": "gru", "units": 8},
        {"embedding_dim": 8, "architecture": "lstm", "units": 8},
        {"embedding_dim": 8, "architecture": "bidirectional_lstm", "units": 8},
    ],
    "gmm": [{}, {"recipe": "wide"}, {"num_layers": 0}],
    "grocery_cnn": [{"filters": 8, "image_size": 32, "num_blocks": 2}],
    "imdb_sentiment": [{"embedding_dim": 8, "architecture": "transformer", "num_heads": 2}],
    "logic_gates": [{}, {"hidden_units": 0}],
    "mnist_joint_vae": [{"continuous": 3}],
    "mnist_mlp": [{"units_1": 16, "units_2": 8}],
    "mnist_vae": [{}],
    "one_example": [{}],
    "peaks": [{}],
    "swiss_roll": [{}],
}


def test_every_pipeline_is_checked():
    assert sorted(SMALL) == catalogue.names() and all(SMALL.values())


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        pytest.param(
            name,
            keys,
            marks=[pytest.mark.slow]
            * (name in AS_OTHERS or keys.get("architecture") in ARCHITECTURES_AS_OTHERS),
        )
        for name in SMALL
        for keys in SMALL[name]
    ],
)
def test_the_gradients_of_every_pipeline_are_right(name, keys, tmp_path):
    options = {"data": "sample", "out": tmp_path, "samples": 2}
    options["examples"] = 1 if name in ONE_EXAMPLE else 2
    result = checking.check_gradients(name, **options, **keys)
    assert result.passed, result.rows()
    assert all(variable.errors.size for variable in result.variables)


def test_a_residual_block_is_right():
    inputs = keras.Input((4, 4, 2))
    x = layers.GlobalAveragePooling2D()(resnet._block(inputs, 3, 2, "block"))
    model = keras.Model(inputs, layers.Dense(3, "softmax")(x))
    x = np.random.default_rng(0).standard_normal((4, 4, 4, 2)).astype("float32")
    result = gradients.check(model, LIKELIHOOD, x, LABELS, samples=2)
    assert result.passed, result.rows()


@pytest.mark.slow
@pytest.mark.parametrize("name", catalogue.names())
def test_the_gradients_of_every_pipeline_as_it_is_run_are_right(name, tmp_path):
    options = {"data": "sample", "out": tmp_path, "samples": 10}
    options["examples"] = 1 if name == "one_example" else 3
    result = checking.check_gradients(name, **options)
    assert result.passed, result.rows()


class Sampling(layers.Layer):
    """What a variational autoencoder samples, with its loss on the way to the output."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seed_generator = keras.random.SeedGenerator(0)

    def call(self, inputs):
        mean, log_variance = inputs
        kl = ops.square(mean) + ops.exp(log_variance) - 1 - log_variance
        self.add_loss(ops.mean(ops.sum(kl, axis=-1)) / 2)
        noise = keras.random.normal(ops.shape(mean), seed=self.seed_generator)
        return mean + ops.exp(log_variance / 2) * noise


def variational_autoencoder():
    """Two functional models in one: what the inner ones are given must stay float64 as well."""
    inputs = keras.Input((5,))
    x = layers.Dense(6, activation="tanh")(inputs)
    code = Sampling()([layers.Dense(2, name="mean")(x), layers.Dense(2, name="spread")(x)])
    encoder = keras.Model(inputs, code, name="encoder")
    codes = keras.Input((2,))
    decoder = keras.Model(codes, layers.Dense(5)(layers.Dense(6, "tanh")(codes)), name="decoder")
    return keras.Model(inputs, decoder(encoder(inputs)))


def test_sampling_layers_and_losses_that_layers_add_are_checked():
    model, x = variational_autoencoder(), vectors()
    result = gradients.check(model, "mean_squared_error", x, x)
    assert result.passed, result.rows()
    assert result.variables[-1].name == "input"
    alone = gradients.check(model, None, x)  # the loss that is added, and nothing else
    decoder = [v for v in alone.variables if v.name.startswith(("dense_1", "dense_2"))]
    assert alone.passed and all(v.slopes == ("flat", "flat") for v in decoder)


def test_normalization_dropout_and_noise_are_checked_as_in_training():
    model = keras.Sequential(
        [
            keras.Input((5,)),
            layers.GaussianNoise(0.1),
            layers.Dense(6),
            layers.BatchNormalization(),
            layers.Activation("tanh"),
            layers.LayerNormalization(),
            layers.Dropout(0.4),
            layers.Dense(3, activation="softmax"),
        ]
    )
    result = gradients.check(model, LIKELIHOOD, vectors(), LABELS)
    assert result.passed, result.rows()
    flat = [v.name for v in result.variables if v.slopes[0] == "flat"]
    assert flat == ["sequential/dense/bias"]  # batch normalization takes it away
    assert gradients.check(model, LIKELIHOOD, vectors(), LABELS, training=False).passed


def test_several_outputs_have_a_loss_each():
    inputs = keras.Input((5,))
    x = layers.Dense(4, activation="tanh")(inputs)
    model = keras.Model(inputs, {"one": layers.Dense(3)(x), "two": layers.Dense(1)(x)})
    targets = {"one": LABELS, "two": np.ones((4, 1))}
    one = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = {"one": one, "two": "mean_squared_error"}
    assert gradients.check(model, loss, vectors(), targets).passed
    assert one.dtype == "float32"
    with pytest.raises(ValueError, match="for 2 outputs; expected a dict or list"):
        gradients.check(model, "mean_squared_error", vectors(), LABELS)


def test_masked_time_steps_a_scalar_and_a_model_in_a_model_are_checked():
    class Scale(layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

        def call(self, x):
            return x * self.scale

    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, "tanh"), Scale()])
    model = keras.Sequential(
        [keras.Input((6, 3)), layers.Masking(), layers.LSTM(4), inner, layers.Dense(3, "softmax")]
    )
    x = np.random.default_rng(0).standard_normal((4, 6, 3)).astype("float32")
    x[:, 4:] = 0
    result = gradients.check(model, LIKELIHOOD, x, LABELS)
    assert result.passed, result.rows()
    assert () in [variable.shape for variable in result.variables]


@pytest.mark.parametrize(
    "layer",
    [
        layers.Dense(3, activation="gelu"),
        layers.Conv1D(2, 3, padding="same"),
        layers.GRU(3),
        layers.Bidirectional(layers.LSTM(2, return_sequences=True)),
        layers.GroupNormalization(1),
    ],
    ids=lambda layer: layer.name,
)
def test_a_layer_is_checked_alone(layer):
    x = np.random.default_rng(0).standard_normal((2, 4, 3)).astype("float32")
    result = gradients.check(layer, x=x)
    assert result.passed, result.rows()
    assert result.variables[-1].name == "input" and len(result.variables) > 1


@pytest.mark.parametrize(
    "loss", ["binary_crossentropy", "huber", "log_cosh", "kl_divergence", "poisson"]
)
def test_a_loss_is_checked_alone(loss):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.1, 0.9, (2, 4, 3))
    result = gradients.check(layers.Identity(), loss, x, y)
    assert result.passed and result.variables[0].slopes[0] == pytest.approx(1, abs=0.05)


# --- what is wrong is caught -------------------------------------------------------------------


class WrongDense(layers.Layer):
    """A dense layer whose gradient is multiplied, of its kernel, its bias or its input."""

    def __init__(self, units, kernel=1.0, bias=1.0, inputs=1.0, **options):
        super().__init__(**options)
        self.units, self.factors = units, (inputs, kernel, bias)

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")

    def call(self, x):
        @tf.custom_gradient
        def dense(x, kernel, bias):
            def backward(upstream):
                parts = (
                    tf.matmul(upstream, kernel, transpose_b=True),
                    tf.matmul(x, upstream, transpose_a=True),
                    tf.reduce_sum(upstream, 0),
                )
                return tuple(f * part for f, part in zip(self.factors, parts, strict=True))

            return tf.matmul(x, kernel) + bias, backward

        return dense(x, ops.convert_to_tensor(self.kernel), ops.convert_to_tensor(self.bias))


def wrong_network(activation="tanh", **factors):
    return keras.Sequential(
        [
            keras.Input((5,)),
            layers.Dense(6, activation=activation, name="first"),
            WrongDense(4, name="middle", **factors),
            layers.Activation(activation),
            layers.Dense(3, activation="softmax", name="last"),
        ]
    )


def failing(result):
    return {"/".join(v.name.split("/")[-2:]) for v in result.variables if not v.passed}


def test_the_same_layer_passes_when_its_gradient_is_right():
    result = gradients.check(wrong_network(), LIKELIHOOD, vectors(), LABELS)
    assert result.passed, result.rows()


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("part", ["kernel", "bias"])
def test_a_gradient_one_percent_off_is_caught_where_it_is_and_by_every_test(part, activation):
    model = wrong_network(activation, **{part: 1.01})
    result = gradients.check(model, LIKELIHOOD, vectors(), LABELS)
    assert failing(result) == {f"middle/{part}"}
    wrong = next(v for v in result.variables if not v.passed)
    assert wrong.error == pytest.approx(0.01 / 1.01, rel=1e-3)
    assert wrong.slopes == pytest.approx((1, 1), abs=0.05)
    entry, *others = wrong.reasons
    assert entry.startswith("gradient[") and others == ["Taylor test", "Jacobian-transpose test"]


def test_an_error_that_is_handed_down_is_caught_in_all_layers_below():
    result = gradients.check(wrong_network(inputs=1.01), LIKELIHOOD, vectors(), LABELS)
    assert failing(result) == {"first/kernel", "first/bias", "input"}


def test_an_error_of_a_hundred_thousandth_is_caught():
    result = gradients.check(wrong_network(bias=1 + 1e-5), LIKELIHOOD, vectors(), LABELS)
    assert failing(result) == {"middle/bias"}


def test_a_gradient_that_is_missing_or_not_finite_is_caught():
    missing = gradients.check(wrong_network(kernel=0.0), LIKELIHOOD, vectors(), LABELS)
    assert failing(missing) == {"middle/kernel"}
    infinite = gradients.check(wrong_network(bias=np.nan), LIKELIHOOD, vectors(), LABELS)
    assert failing(infinite) == {"middle/bias"}


class PartlyWrong(layers.Layer):
    """A scale for each unit; the gradient of one of them is wrong, or of those of few examples."""

    def __init__(self, factors, **options):
        super().__init__(**options)
        self.factors = tf.constant(factors, tf.float64)

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

    def call(self, x):
        @tf.custom_gradient
        def scaled(x, scale):
            def backward(upstream):
                factors = tf.cast(self.factors, x.dtype)
                return upstream * scale, tf.reduce_sum(upstream * x * factors, 0)

            return x * scale, backward

        return scaled(x, ops.convert_to_tensor(self.scale))


@pytest.mark.parametrize(
    "factors",
    [[[1.0] * 39 + [1.01]], [[1.0]] * 3 + [[1.01]], [[1.0] * 39 + [1.0005]]],
    ids=["one unit", "one example", "one unit, by little"],
)
def test_an_error_in_one_unit_or_one_example_alone_is_caught(factors):
    model = keras.Sequential(
        [keras.Input((5,)), layers.Dense(40, "tanh"), PartlyWrong(factors), layers.Dense(3)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    result = gradients.check(model, loss, vectors(), LABELS, samples=4)
    assert [name.split("/")[-1] for name in failing(result)] == ["scale"]


def test_an_input_at_a_threshold_hides_no_error():
    """Nudged by its last bit, padding of -1 is no padding: the loss jumps, which is no rounding."""
    model = keras.Sequential(
        [
            keras.Input((6, 3)),
            layers.Masking(-1.0),
            layers.LSTM(4),
            WrongDense(3, bias=2.0, name="middle"),
        ]
    )
    x = np.random.default_rng(0).standard_normal((4, 6, 3)).astype("float32")
    x[:, 4:] = -1
    result = gradients.check(model, None, x)
    assert failing(result) == {"middle/bias"}


def test_a_gradient_that_passes_through_rounding_is_wrong_and_not_a_cast():
    """The straight-through estimator: the loss does not change, and the gradient says it does."""
    through = layers.Lambda(lambda a: a + ops.stop_gradient(ops.round(a) - a))
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3), through, layers.Dense(2)])
    result = gradients.check(model, None, vectors())
    assert [v.verdict for v in result.variables[:2]] == ["WRONG", "WRONG"]


# --- kinks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_a_kink_is_recognised_and_is_no_error(activation):
    """On a black image, before training, every unit of every hidden layer is at its kink."""
    model = models.mlp((4, 4, 1), 3, units=(6, 5), activation=activation)
    x = images()
    x[0] = 0
    result = gradients.check(model, LIKELIHOOD, x, LABELS[:3])
    assert result.passed, result.rows()
    kinks = {v.name: v.kinks for v in result.variables}
    assert kinks["dense/bias"] >= 5 and kinks["dense_1/bias"] == 5
    assert kinks["probabilities/bias"] == kinks["dense/kernel"] == 0


def test_an_error_at_a_kink_is_still_an_error():
    model = wrong_network("relu", bias=1.01)
    x = np.zeros((4, 5), "float32")  # both layers are at their kinks, in every example
    result = gradients.check(model, LIKELIHOOD, x, LABELS)
    assert failing(result) == {"middle/bias"}


def test_max_pooling_is_no_error():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(4, 2),
            layers.GlobalMaxPooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    x = images(shape=(8, 8, 1))
    x[0, :4] = 0  # ties
    result = gradients.check(model, LIKELIHOOD, x, LABELS[:3])
    assert result.passed, result.rows()


def test_ties_of_a_max_pooling_in_its_input_are_kinks():
    """Beside the point the input must move as well, or all four of a window stay equal."""
    x = np.random.default_rng(0).standard_normal((2, 4, 4, 1)).astype("float32")
    x[0] = 0
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(3, "softmax"),
        ]
    )
    result = gradients.check(model, LIKELIHOOD, x, LABELS[:2], samples=32)
    assert result.passed, result.rows()
    assert result.variables[-1].kinks == 16


def test_a_scalar_is_a_single_unit():
    point = types.SimpleNamespace(gradients=[[np.array(2.0)]], values=[np.array(3.0)])
    direction = taylor._direction(point, 0, np.random.default_rng(0), one_unit=True)
    assert np.shape(direction) == () and direction > 0


def test_a_kink_close_by_does_not_spoil_the_difference():
    """|x| at a distance from its kink that is smaller than the first steps."""
    x = np.array([[1.0, 1e-4, -3e-5, 1e-7]])
    result = gradients.check(layers.Lambda(lambda a: ops.sum(ops.abs(a))), lambda y, out: out, x, x)
    (variable,) = result.variables
    assert variable.errors.size == 4 and variable.error < 1e-6 and variable.kinks == 0


# --- what it leaves, and what it refuses -------------------------------------------------------


def test_the_model_is_left_as_it_was():
    model = models.cnn((8, 8, 3), 3, filters=(4,), batch_norm=True, dropout=0.3)
    model.compile("adam", LIKELIHOOD)
    before = [(v.dtype, np.array(v)) for v in model.variables]
    x = images(shape=(8, 8, 3))
    answer = model.predict(x, verbose=0)["probabilities"]
    gradients.check(model, LIKELIHOOD, x, LABELS[:3], samples=2)
    assert keras.config.floatx() == "float32"
    assert all(layer.compute_dtype == "float32" for layer in model.layers)
    for (dtype, old), now in zip(before, model.variables, strict=True):
        assert now.dtype == dtype
        np.testing.assert_array_equal(old, now)
    np.testing.assert_array_equal(answer, model.predict(x, verbose=0)["probabilities"])
    model.fit(x, LABELS[:3], verbose=0)


def test_a_loss_that_a_function_holds_is_computed_in_float64():
    held = keras.losses.CategoricalCrossentropy()
    targets = np.eye(3, dtype="float32")[LABELS]
    result = gradients.check(
        models.mlp((5,), 3, units=(4,)), lambda y, p: 2 * held(y, p), vectors(), targets
    )
    assert result.passed, result.rows()
    assert held.dtype == "float32"


def test_checks_in_several_threads_leave_float32_behind():
    def check(seed):
        model = models.mlp((5,), 3, units=(4,))
        return gradients.check(model, LIKELIHOOD, vectors(), LABELS, seed=seed, samples=2)

    with concurrent.futures.ThreadPoolExecutor(3) as threads:
        assert all(result.passed for result in threads.map(check, range(3)))
    assert keras.config.floatx() == "float32"
    assert models.mlp((5,), 3).layers[-1].dtype == "float32"


def test_a_failure_leaves_the_model_as_it_was():
    model = models.mlp((5,), 3, units=())

    def broken(y, outputs):
        raise RuntimeError("broken loss")

    with pytest.raises(RuntimeError, match="broken loss"):
        gradients.check(model, broken, vectors(), LABELS)
    assert keras.config.floatx() == "float32" and model.layers[-1].compute_dtype == "float32"
    assert model.inputs[0].dtype == "float32"


def test_what_cannot_be_checked_is_refused():
    with pytest.raises(ValueError, match="x is missing"):
        gradients.check(layers.Dense(2))
    with pytest.raises(ValueError, match="no trainable variables and no float inputs"):
        gradients.check(layers.Flatten(), x=images())
    narrow = layers.Lambda(lambda a: tf.cast(a, tf.float32) * 2)
    with pytest.raises(ValueError, match="outputs float32; expected float64, which"):
        gradients.check(narrow, x=vectors())
    with pytest.raises(ValueError, match="expected a Keras model or layer"):
        gradients.check(np.tanh, x=vectors())
    noise = layers.Lambda(lambda a: a + tf.random.normal(tf.shape(a), dtype=a.dtype))
    with pytest.raises(ValueError, match=r"for the same variables .* add one to that layer"):
        gradients.check(noise, x=vectors())
    with pytest.raises(ValueError, match="y=None; expected the targets"):
        gradients.check(layers.Dense(2), "mse", vectors())
    with pytest.raises(ValueError, match="cannot be computed on x and y in float64: "):
        gradients.check(layers.Dense(2), {"a": "mse"}, vectors(), {"a": vectors(size=2)})


def test_what_a_layer_casts_to_float32_is_said_to_be_that():
    cast = layers.Lambda(lambda a: ops.cast(ops.cast(a, "float32"), "float64"))
    model = keras.Sequential([keras.Input((5,)), layers.Dense(3), cast, layers.Dense(2)])
    result = gradients.check(model, None, vectors())
    assert {(v.verdict, v.reasons) for v in result.variables[:2]} == {
        ("NOT CHECKED", ("something casts it to less than float64",))
    }
    assert result.verdict == "NOT CHECKED" and not result.passed
    assert result.variables[3].passed  # the last bias comes after it


def test_what_is_not_finite_is_written_as_json(tmp_path):
    result = gradients.check(wrong_network(bias=np.nan), LIKELIHOOD, vectors(), LABELS)
    json.dumps(result.to_json(), allow_nan=False)
    assert gradient_check(result, "wrong").axes


# --- the command -------------------------------------------------------------------------------

WRONG = '''"""A pipeline whose bias has a wrong gradient."""

import keras
import tensorflow as tf

from kpipe import Trainer, datasets

task = "classification"
data = "gmm"


@tf.custom_gradient
def wrong(bias):
    return tf.identity(bias), lambda upstream: FACTOR * upstream


class Shift(keras.layers.Layer):
    def build(self, shape):
        self.bias = self.add_weight(shape=(shape[-1],), name="bias")

    def call(self, x):
        return x + wrong(keras.ops.convert_to_tensor(self.bias))


def load_data(hp):
    return datasets.gmm(val_fraction=0.1)


def build_model(hp):
    inputs = keras.Input((5,))
    x = Shift(name="shift")(keras.layers.Dense(5, name="dense")(inputs))
    model = keras.Model(inputs, {"probabilities": keras.layers.Softmax()(x)})
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def build_trainer(hp):
    return Trainer()
'''


@pytest.mark.parametrize(("factor", "code"), [("1.0", 0), ("1.01", 1)])
def test_the_command_prints_a_table_draws_a_figure_and_says_it_with_its_exit_code(
    factor, code, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("mine.py").write_text(WRONG.replace("FACTOR", factor))
    assert cli.main(["check-gradients", "mine.py", "--data", "sample", "--out", "out"]) == code
    lines = capsys.readouterr().out.splitlines()
    table = [line for line in lines if line.startswith(("variable", "dense", "shift", "input"))]
    assert len(table) == 5
    assert [line.split()[0] for line in table if "WRONG" in line] == ["shift/bias"] * code
    assert ("is WRONG in shift/bias" in lines[-1]) == bool(code)
    folder = tmp_path / "out" / "mine-gradients-sample"
    assert (folder / "gradients.png").read_bytes().startswith(b"\x89PNG")
    content = json.loads((folder / "gradients.json").read_text())
    assert content["verdict"] == ("WRONG" if code else "ok") and len(content["variables"]) == 4


def test_a_loss_that_depends_on_nothing_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = WRONG.replace("FACTOR", "1.0").replace("Softmax()(x)", "Softmax()(0.0 * x)")
    pathlib.Path("mine.py").write_text(code)
    assert cli.main(["check-gradients", "mine.py", "--data", "sample", "--samples", "2"]) == 0
    assert "is 0 for all of them: the loss depends on none" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no pipeline given; expected one of"),
        (["mnist_mpl"], "did you mean 'mnist_mlp'"),
        (["gmm", "activation=relux"], "activation=relux: expected one of"),
        (["gmm", "activation=relu,tanh"], "several values need --search"),
        (["gmm", "seed=3"], "seed=3: not a key; use --seed"),
        (["gmm", "--examples", "0"], "expected an integer from 1"),
        (["gmm", "--examples", "99999999"], "expected an integer from 1 to"),
        (["gmm", "--data", "fake"], "expected real, sample or auto"),
        (["gmm", "--epochs", "3"], "--epochs: no such option"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(arguments, message, tmp_path, capsys):
    rest = ["--out", str(tmp_path)] if "--data" in arguments else ["--data", "sample"]
    assert cli.main(["check-gradients", *arguments, *rest]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_keys_that_a_pipeline_declares_reach_its_model(tmp_path):
    result = checking.check_gradients("gmm", data="sample", out=tmp_path, num_layers=0, samples=2)
    assert [v.name for v in result.variables][:2] == [
        "probabilities/kernel",
        "probabilities/bias",
    ]
    assert (tmp_path / "gmm-gradients-sample,num_layers=0").is_dir()
    module, _ = modules.load(catalogue.find("gmm"))
    with pytest.raises(UserError, match="no key 'no_such_key'"):
        keys.resolve(module, {"no_such_key": 1})
