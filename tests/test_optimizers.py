import keras
import keras_tuner
import numpy as np
import pytest
from keras_tuner.engine import hyperparameters as keras_tuner_parts
from own import data_of, split_of

from kpipe import Trainer, models, optimizers
from kpipe.errors import UserError
from kpipe.experiments import catalogue, keys, modules


def make(**values):
    hp = keras_tuner.HyperParameters()
    hp.values.update(values)
    return optimizers.from_hyperparameters(hp)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sgd", keras.optimizers.SGD),
        ("sgd_momentum", keras.optimizers.SGD),
        ("adam", keras.optimizers.Adam),
        ("adamw", keras.optimizers.AdamW),
        ("rmsprop", keras.optimizers.RMSprop),
    ],
)
def test_every_name_gives_its_keras_optimizer(name, expected):
    optimizer = make(optimizer=name, learning_rate=0.02)
    assert type(optimizer) is expected
    assert float(optimizer.learning_rate) == pytest.approx(0.02)
    momentum = 0.9 if name == "sgd_momentum" else 0.0
    assert getattr(optimizer, "momentum", 0.0) == momentum


def test_adamw_decays_kernels_and_no_biases():
    keras.utils.set_random_seed(0)
    model = models.mlp((2, 2, 1), 3, units=(4,))
    model.set_weights([np.ones_like(w) for w in model.get_weights()])
    optimizer = make(optimizer="adamw", learning_rate=0.1, weight_decay=0.05)
    zeros = [np.zeros(v.shape, "float32") for v in model.trainable_variables]
    optimizer.apply(zeros, model.trainable_variables)
    # Loshchilov and Hutter, algorithm 2: w - rate * decay * w, the gradient being 0
    for weight in model.get_weights():
        expected = 1 - 0.1 * 0.05 if weight.ndim == 2 else 1.0
        np.testing.assert_allclose(weight, expected, rtol=1e-6)


@pytest.mark.parametrize("step", [0, 1, 10, 999, 5000])
def test_schedules_follow_their_formulas(step):
    def rate(schedule, decay_rate=0.0, decay_steps=0):
        schedule = optimizers.learning_rate_schedule(schedule, 0.1, decay_rate, decay_steps)
        return float(schedule(step))

    assert rate("exponential", 1e-4) == pytest.approx(0.1 * np.exp(-1e-4 * step), rel=1e-5)
    assert rate("stepwise", 1e-3, 100) == pytest.approx(
        0.1 * np.exp(-1e-3 * (step // 100 * 100)), rel=1e-5
    )
    progress = min(step / 1000, 1)
    assert rate("cosine", decay_steps=1000) == pytest.approx(
        0.05 * (1 + np.cos(np.pi * progress)), abs=1e-8
    )


@pytest.mark.parametrize("step", [0, 1, 30, 99, 100, 101, 550, 1000, 5000])
def test_a_warmup_rises_from_0_to_where_the_schedule_begins(step):
    def rate(schedule, decay_steps):
        given = schedule, 0.1, 0.0, decay_steps, 100
        return float(optimizers.learning_rate_schedule(*given)(step))

    rising = 0.1 * step / 100
    assert rate("constant", 0) == pytest.approx(min(rising, 0.1), rel=1e-5)
    progress = min((step - 100) / 900, 1)
    falling = 0.05 * (1 + np.cos(np.pi * progress))
    expected = rising if step < 100 else falling
    assert rate("cosine", 1000) == pytest.approx(expected, rel=1e-5, abs=1e-8)


def test_a_warmup_that_does_not_fit_its_schedule_is_refused():
    def refused(match, schedule, warmup_steps, decay_steps=0):
        with pytest.raises(ValueError, match=match):
            optimizers.learning_rate_schedule(schedule, 0.1, 1e-3, decay_steps, warmup_steps)

    for schedule in ("exponential", "stepwise"):
        refused(f"^warmup_steps=5 with schedule={schedule}: expected 0$", schedule, 5, 100)
    refused("^warmup_steps=-1: expected 0 or more$", "constant", -1)
    refused("^warmup_steps=100: expected from 0 to less than 100$", "cosine", 100, 100)


def test_a_warmup_is_left_out_where_another_schedule_is_asked_for():
    hp = keras_tuner.HyperParameters()
    hp.values["schedule"] = "exponential"
    optimizer = optimizers.from_hyperparameters(hp, schedule="cosine", warmup_steps=100)
    schedule = optimizer.get_config()["learning_rate"]
    assert schedule["class_name"] == "ExponentialDecay" and "warmup_steps" not in hp.values


def test_the_averages_of_weights_are_kept_which_are_those_by_hand():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(8, 2)).astype("float32"), random.normal(size=8).astype("float32")
    model = models.mlp((2,), 1, units=(), output="value")
    model.set_weights([np.array([[1.0], [-1.0]]), np.array([0.5])])
    optimizer = make(optimizer="sgd", learning_rate=0.3, ema_momentum=0.8)
    model.compile(optimizer, "mean_squared_error", run_eagerly=True)
    weights, average = np.array([1.0, -1.0, 0.5]), None
    columns = np.column_stack([x, np.ones(8)])
    for _ in range(5):
        weights = weights - 0.3 * 2 * columns.T @ (columns @ weights - y) / 8
        average = weights if average is None else 0.8 * average + 0.2 * weights
    data = data_of(train=split_of(x, y))
    Trainer(epochs=5, batch_size=8, patience=0).fit(model, data, plan="graph")
    kept = np.concatenate([weight.ravel() for weight in model.get_weights()])
    np.testing.assert_allclose(kept, average, rtol=1e-5)
    assert abs(kept - weights).min() > 1e-2


@pytest.mark.parametrize("momentum", [-0.1, 1.0])
def test_a_momentum_of_averages_out_of_range_is_refused(momentum):
    with pytest.raises(ValueError, match=rf"^ema_momentum={momentum}: expected less than 1, and 0"):
        make(ema_momentum=momentum)
    assert not make().use_ema


def test_warmup_and_averages_are_keys_that_no_search_turns_by_itself():
    module = modules.load(catalogue.find("mnist_mlp"))[0]
    given = {"warmup_steps": "30", "ema_momentum": "0.9"}
    settings = keys.resolve(module, given)
    assert settings.overrides == {"warmup_steps": 30, "ema_momentum": 0.9}
    assert settings.overrides.items() <= settings.hp.values.items()
    turned = {parameter.name: type(parameter) for parameter in settings.hp.space}
    assert turned["warmup_steps"] is turned["ema_momentum"] is keras_tuner_parts.Fixed
    with pytest.raises(UserError, match="warmup_steps has no effect here; it requires schedule="):
        keys.resolve(module, {**given, "schedule": "stepwise"})


def test_accumulated_gradients_move_like_one_large_batch():
    images = np.random.RandomState(0).randint(0, 256, (8, 2, 2, 1), dtype=np.uint8)
    labels = np.arange(8) % 3

    def trained(accumulation, batch_size):
        keras.utils.set_random_seed(0)
        model = models.mlp((2, 2, 1), 3, units=(4,))
        optimizer = make(
            optimizer="sgd", learning_rate=0.5, gradient_accumulation_steps=accumulation
        )
        model.compile(optimizer, "sparse_categorical_crossentropy")
        for _ in range(3):
            for start in range(0, 8, batch_size):
                part = slice(start, start + batch_size)
                model.train_on_batch(images[part], labels[part])
        return model.get_weights()

    for whole, accumulated in zip(trained(1, 8), trained(4, 2), strict=True):
        np.testing.assert_allclose(accumulated, whole, atol=1e-6)


def compiled(**values):
    model = models.mlp((2, 2, 1), 3, units=(4,))
    model.compile(make(**values), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("schedule", ["exponential", "cosine", "stepwise"])
def test_a_schedule_and_reduce_on_plateau_contradict_each_other(schedule):
    with pytest.raises(UserError, match="contradict each other"):
        Trainer(reduce_lr_patience=2).check(compiled(schedule=schedule), 100)
    Trainer(reduce_lr_patience=2).check(compiled(schedule="constant"), 100)
    Trainer(reduce_lr_patience=0).check(compiled(schedule=schedule), 100)


def test_accumulation_asks_for_a_batch_size_that_divides_the_examples():
    model = compiled(gradient_accumulation_steps=2)
    with pytest.raises(UserError, match="the nearest that do: 25, 50"):
        Trainer(batch_size=32).check(model, 100)
    Trainer(batch_size=25).check(model, 100)


def small_network():
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    return models.mlp((3,), 2, units=(4,))


def steps(optimizer, model, count):
    """The weights after so many steps on one batch, and those before."""
    model.compile(optimizer, "sparse_categorical_crossentropy")
    inputs, labels = np.eye(3, dtype=np.float32), np.array([0, 1, 0])
    before = model.get_weights()
    for _ in range(count):
        model.train_on_batch(inputs, labels)
    return before, model.get_weights()


def test_slowed_variables_take_smaller_steps_under_adam_too():
    model, other = small_network(), small_network()
    optimizer = keras.optimizers.Adam(0.01)
    optimizers.scale_learning_rate(optimizer, model.trainable_variables[:2], 0.1)
    before, slowed = steps(optimizer, model, 1)
    _, full = steps(keras.optimizers.Adam(0.01), other, 1)
    for i, factor in enumerate((0.1, 0.1, 1.0, 1.0)):
        expected = factor * (full[i] - before[i])
        np.testing.assert_allclose(slowed[i] - before[i], expected, atol=1e-7)


def test_during_the_warmup_slowed_variables_stay_as_they_are():
    model = small_network()
    optimizer = make(optimizer="adamw", weight_decay=0.1, learning_rate=0.01)
    optimizers.scale_learning_rate(optimizer, model.trainable_variables[:2], 1.0, warmup_steps=3)
    before, after = steps(optimizer, model, 3)
    np.testing.assert_array_equal(after[0], before[0])
    assert (after[2] != before[2]).any()
    before, after = steps(optimizer, model, 1)
    assert (after[0] != before[0]).any()


def test_weight_decay_leaves_slowed_variables_and_biases_alone():
    model = small_network()
    optimizer = make(optimizer="adamw", weight_decay=0.1, learning_rate=0.1)
    optimizers.scale_learning_rate(optimizer, model.trainable_variables[:1], 0.5)
    before = [v.numpy() for v in model.trainable_variables]
    zeros = [np.zeros(v.shape, "float32") for v in model.trainable_variables]
    optimizer.apply(zeros, model.trainable_variables)
    after = [v.numpy() for v in model.trainable_variables]
    np.testing.assert_array_equal(after[0], before[0])
    np.testing.assert_allclose(after[2], 0.99 * before[2], rtol=1e-5)


def test_a_slowed_optimizer_is_saved_and_loaded_as_what_it_is(tmp_path):
    model = small_network()
    optimizer = keras.optimizers.Adam(0.01)
    optimizers.scale_learning_rate(optimizer, model.trainable_variables[:2], 0.1)
    steps(optimizer, model, 1)
    model.save(tmp_path / "model.keras")
    assert type(keras.models.load_model(tmp_path / "model.keras").optimizer) is type(optimizer)
