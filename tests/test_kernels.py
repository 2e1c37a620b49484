"""Single kernels compute what Keras' chains of operations compute."""

import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, optimizers
from scipy import stats

from kpipe import models
from kpipe.training import optimizer_kernels, steps
from kpipe.training.kernels import single_kernels
from kpipe.training.steps import make_train_function

RNN = {"return_sequences": True}
RANDOM = np.random.RandomState(0)
TOKENS = RANDOM.randint(1, 9, (8, 7))
TOKENS[2, 4:] = TOKENS[3, :3] = TOKENS[4, 2:4] = 0  # padding at the end, at the start, within
TOKENS[5] = 0  # an empty text
IMAGES = RANDOM.randint(0, 256, (8, 8, 8, 3)).astype(np.uint8)
VECTORS = RANDOM.randn(8, 6).astype(np.float32)


@pytest.fixture(autouse=True)
def kernels_for_small_weights(monkeypatch):
    monkeypatch.setattr(optimizer_kernels, "LEAST_VALUES", 0)


def sequences(*inner):
    """A classifier of sequences, in which 0 is padding."""
    tokens = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(tokens)
    for layer in inner:
        x = layer(x)
    return keras.Model(tokens, layers.Dense(3, activation="softmax")(x))


def attention():
    tokens = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 4)(tokens)
    seen = keras.ops.expand_dims(keras.ops.not_equal(tokens, 0), 1)
    y = layers.MultiHeadAttention(2, 3)(x, x, attention_mask=seen)
    x = layers.GlobalAveragePooling1D()(layers.Add()([x, y]))
    return keras.Model(tokens, layers.Dense(3, activation="softmax")(x))


def normalized(shape, *inner):
    return keras.Sequential([keras.Input(shape), *inner, layers.Dense(3, activation="softmax")])


MODELS = {
    "cnn": (lambda: models.cnn((8, 8, 3), 3, filters=(4,), dense_units=0), IMAGES),
    "batch_normalization of vectors": (
        lambda: normalized(
            (6,), layers.Dense(5), layers.BatchNormalization(center=False, scale=False)
        ),
        VECTORS,
    ),
    "lstm": (lambda: sequences(layers.LSTM(5)), TOKENS),
    "two directions": (
        lambda: sequences(
            layers.Bidirectional(layers.LSTM(3, **RNN)), layers.LSTM(4, use_bias=False)
        ),
        TOKENS,
    ),
    "lstm without padding": (
        lambda: normalized((6, 4), layers.LSTM(5, go_backwards=True)),
        RANDOM.randn(8, 6, 4).astype(np.float32),
    ),
    "attention": (attention, TOKENS),
}


def gradients(model, inputs, labels):
    """Traces the function of the loss and all gradients of a training step."""

    @tf.function
    def program():
        with tf.GradientTape() as tape:
            outputs = tf.nest.flatten(model(inputs, training=True))[0]
            loss = keras.losses.SparseCategoricalCrossentropy()(labels, outputs)
        weights = [weight.value for weight in model.trainable_variables]
        return [loss, *map(tf.convert_to_tensor, tape.gradient(loss, weights))]

    return program.get_concrete_function()


@pytest.mark.parametrize("name", MODELS)
def test_layers_have_the_gradients_of_keras(name):
    build, inputs = MODELS[name]
    labels = RANDOM.randint(0, 3, len(inputs))
    model = build()
    model.compile("sgd", "sparse_categorical_crossentropy")
    start = model.get_weights()
    expected = gradients(model, inputs, labels)()
    statistics = [weight.numpy() for weight in model.non_trainable_variables]
    model.set_weights(start)
    with single_kernels(model):
        program = gradients(model, inputs, labels)
    for a, b in zip(expected, program(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    for weight, value in zip(model.non_trainable_variables, statistics, strict=True):
        np.testing.assert_allclose(weight, value, rtol=1e-5, atol=1e-6)


def test_the_crossentropy_of_a_sigmoid_has_a_gradient_of_few_operations():
    scores = keras.Input((5,))
    model = keras.Model(scores, layers.Activation("sigmoid")(scores))
    model.compile("sgd")
    x = np.array([[-100.0, -1.5, 0.0, 2.0, 100.0]])
    labels = np.array([[0.25, 1.0, 0.5, 0.0, 1.0]])

    @tf.function
    def program(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = keras.ops.binary_crossentropy(tf.constant(labels, tf.float32), model(inputs))
        return loss, tape.gradient(loss, inputs)

    own = tf.nn.sigmoid_cross_entropy_with_logits
    with single_kernels(model):
        traced = program.get_concrete_function(tf.TensorSpec((1, 5)))
    assert tf.nn.sigmoid_cross_entropy_with_logits is own
    loss, gradient = traced(tf.constant(x, tf.float32))
    np.testing.assert_allclose(loss, np.logaddexp(0, x) - x * labels, rtol=1e-6)
    np.testing.assert_allclose(gradient, 1 / (1 + np.exp(-x)) - labels, rtol=1e-6, atol=1e-7)
    assert "Select" not in {operation.type for operation in traced.graph.get_operations()}


@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param(optimizers.SGD(0.05), marks=pytest.mark.slow),
        pytest.param(optimizers.SGD(0.05, momentum=0.9), marks=pytest.mark.slow),
        optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        optimizers.Adam(optimizers.schedules.CosineDecay(0.01, 100)),
        pytest.param(optimizers.Adam(0.01, amsgrad=True), marks=pytest.mark.slow),
        optimizers.AdamW(0.01, weight_decay=0.1, clipnorm=0.1, use_ema=True),
        pytest.param(optimizers.Adam(0.01, gradient_accumulation_steps=4), marks=pytest.mark.slow),
    ],
    ids=lambda o: f"{o.name} {o.get_config().get('momentum', '')}",
)
def test_a_hundred_steps_end_as_those_of_keras(optimizer):
    inputs = RANDOM.randn(100, 16, 6).astype(np.float32)
    labels = RANDOM.randint(0, 3, (100, 16)).astype(np.int32)
    spec = [tf.TensorSpec((None, None, 6)), tf.TensorSpec((None, None), tf.int32)]
    config, ends = optimizers.serialize(optimizer), {}
    for plan in ("graph", "kernels", "fused:25"):
        keras.utils.set_random_seed(0)
        model = normalized((6,), layers.Dense(8, activation="tanh"))
        model.compile(
            optimizers.deserialize(config), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        model.optimizer.build(model.trainable_variables)
        model.test_on_batch(inputs[0], labels[0])
        model.reset_metrics()
        train = make_train_function(model, plan, spec, 16)
        stack = 25 if plan == "fused:25" else 1
        for i in range(0, 100, stack):
            logs = train(*map(tf.constant, (inputs[i : i + stack], labels[i : i + stack])))
        weights = [*model.get_weights(), *(v.numpy() for v in model.optimizer.variables)]
        ends[plan] = [*weights, float(logs["loss"]), float(logs["accuracy"])]
    for plan in ("kernels", "fused:25"):
        for a, b in zip(ends["graph"], ends[plan], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_small_weights_are_left_to_keras(optimizer, monkeypatch):
    monkeypatch.setattr(optimizer_kernels, "LEAST_VALUES", 100)
    model = normalized((6,), layers.Dense(20))  # 120, 20, 60 and 3 numbers
    model.compile(optimizer, "sparse_categorical_crossentropy")
    model.optimizer.build(model.trainable_variables)
    step = tf.function(lambda: model.train_step((tf.constant(VECTORS), tf.zeros(8))))
    with single_kernels(model):
        graph = step.get_concrete_function().graph
    kinds = [operation.type for operation in graph.get_operations()]
    assert sum(kind.startswith("ResourceApply") for kind in kinds) == 1


def test_words_that_occur_several_times_are_updated_as_by_keras():
    """Keras adds the squares of their gradients, instead of squaring the sum."""
    spec = [tf.TensorSpec((None, None, 7), tf.int32), tf.TensorSpec((None, None), tf.int32)]
    tokens = np.where(TOKENS == 0, 1, TOKENS)[np.newaxis].astype(np.int32)
    labels = RANDOM.randint(0, 3, (1, 8)).astype(np.int32)
    ends = []
    for plan in ("graph", "kernels"):
        keras.utils.set_random_seed(0)
        model = sequences(layers.LSTM(3))
        model.compile(optimizers.Adam(0.01), "sparse_categorical_crossentropy")
        model.optimizer.build(model.trainable_variables)
        train = make_train_function(model, plan, spec, 8)
        for _ in range(20):
            train(tf.constant(tokens), tf.constant(labels))
        ends.append([*model.get_weights(), *(v.numpy() for v in model.optimizer.variables)])
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_fused_programs_draw_other_numbers_for_each_seed_as_they_are_distributed():
    ones, seed = tf.ones((20_000,)), keras.random.SeedGenerator(3)
    begin = seed.state.numpy()

    @tf.function(jit_compile=True)
    def draw():
        return (
            keras.random.uniform((20_000,), seed=seed),
            keras.random.normal((20_000,), seed=seed),
            keras.random.truncated_normal((20_000,), seed=seed),
            keras.random.dropout(ones, 0.25, seed=seed),
        )

    with steps._threefry():
        program = draw.get_concrete_function()
    uniform, normal, truncated, dropped = (part.numpy() for part in program())
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    assert stats.kstest(normal, "norm").pvalue > 1e-3
    assert stats.kstest(truncated, stats.truncnorm(-2, 2).cdf).pvalue > 1e-3
    assert set(dropped) == {0.0, np.float32(4 / 3)}
    assert stats.binomtest(int((dropped == 0).sum()), 20_000, 0.25).pvalue > 1e-3
    assert abs(np.corrcoef(uniform, program()[0])[0, 1]) < 0.03
    seed.state.assign(begin)
    np.testing.assert_array_equal(uniform, program()[0])


def test_dropout_costs_a_fused_program_little():
    """With the generator that TensorFlow chooses, a step took ten times as long."""
    images, labels = np.ones((8, 128, 784), np.float32), np.zeros((8, 128), np.int32)
    batch = tf.constant(images), tf.constant(labels)
    spec = [tf.TensorSpec((None, None, 784)), tf.TensorSpec((None, None), tf.int32)]
    seconds = []
    for dropout in ([], [layers.Dropout(0.3)]):
        model = normalized((784,), layers.Dense(600, activation="relu"), *dropout)
        model.compile("sgd", "sparse_categorical_crossentropy")
        steps.create_variables(model, tuple(part[0][:1] for part in batch))
        train, times = make_train_function(model, "fused:8", spec, 128), []
        for _ in range(6):
            started = time.perf_counter()
            float(train(*batch)["loss"])
            times.append(time.perf_counter() - started)
        seconds.append(min(times))
    assert seconds[1] < 3 * seconds[0]


class Subclassed(layers.BatchNormalization):
    def call(self, inputs, training=None, mask=None):
        return inputs + 1.0


def test_layers_of_other_classes_and_the_time_after_tracing_are_left_alone():
    model = normalized((6,), Subclassed(), layers.BatchNormalization())
    model.compile("adam", "mse")
    own, other = model.layers[:2]
    with single_kernels(model):
        assert "call" in vars(other)
        assert "call" not in vars(own)
    assert not {"call", "update_step"} & {*vars(other), *vars(model.optimizer)}
