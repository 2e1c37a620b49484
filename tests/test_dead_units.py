"""Units that answer nothing, networks that learned nothing, answers over mirrored images."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from own import data_of, pictures, split_of

import kpipe
from kpipe import datasets, models, tasks
from kpipe.data import prepare
from kpipe.datasets import Augmentation
from kpipe.errors import UserError
from kpipe.inputs import ImageInput
from kpipe.inputs.augmentation import augment
from kpipe.measures.dead_units import dead_units
from kpipe.report import training
from kpipe.tasks import _learned, classification, multilabel, regression


@pytest.fixture(scope="module")
def digits():
    dataset = datasets.mnist(val_fraction=0.1)
    return prepare(dataset, dataset.find("sample"))


def kill(layer, count):
    kernel, bias = layer.get_weights()
    kernel, bias = np.abs(kernel), np.full_like(bias, 1.0)
    kernel[..., :count], bias[:count] = 0.0, -1.0
    layer.set_weights([kernel, bias])


def test_dead_units_of_dense_layers_and_filters_are_counted(digits):
    keras.utils.set_random_seed(0)
    model = models.mlp((28, 28, 1), 10, units=(20, 10))
    first, second, _ = [x for x in model.layers if isinstance(x, keras.layers.Dense)]
    kill(first, 7)
    kill(second, 0)
    assert dead_units(model, digits.train) == {first.name: (7, 20), second.name: (0, 10)}
    kill(second, 10)
    assert dead_units(model, digits.train)[second.name] == (10, 10)
    network = models.cnn((28, 28, 1), 10, filters=(4,), batch_norm=False, dense_units=0)
    kill(network.get_layer("block0_0_conv"), 3)
    assert dead_units(network, digits.train)["block0_0_relu"] == (3, 4)


def test_those_inside_of_other_models_are_named_by_both(digits):
    keras.utils.set_random_seed(0)
    model = models.autoencoder((28, 28, 1), 5, units=(8,), activation="relu")
    layer = next(x for x in model.get_layer("encoder").layers if x.weights)
    kill(layer, 5)
    counted = dead_units(model, digits.train)
    dead, units = counted[f"encoder/{layer.name}"]
    assert dead >= 5 and units == 8 and any(name.startswith("decoder/") for name in counted)
    images = keras.Input((28, 28, 1), dtype="uint8")
    keras.Model(images, model.get_layer("encoder")(images))  # calls it as well
    assert dead_units(model, digits.train) == counted


def test_a_layer_that_several_models_call_or_that_has_states_is_counted(digits):
    keras.utils.set_random_seed(0)
    flat = [keras.layers.Flatten(), keras.layers.Rescaling(1 / 255)]
    base = keras.Sequential(
        [keras.Input((28, 28, 1)), *flat, keras.layers.Dense(9, "relu", name="it")]
    )
    images = x = keras.Input((28, 28, 1))
    for layer in base.layers:
        x = layer(x)
    kill(base.layers[-1], 4)
    assert dead_units(keras.Model(images, x), digits.train) == {"it": (4, 9)}
    # Alive if it answers anything at either call.
    negative = keras.layers.Dense(9, kernel_initializer=keras.initializers.Constant(-1.0))
    dense = keras.layers.Dense(3, "relu", name="twice")
    twice = keras.layers.Add()([dense(x), dense(negative(x))])
    kernel = np.ones((9, 3), np.float32) * [-1, 1, 0]
    dense.set_weights([kernel, np.array([0, 0, -1.0])])
    assert dead_units(keras.Model(images, twice), digits.train)["twice"] == (1, 3)
    rows = keras.layers.Reshape((28, 28))(images)
    states = keras.layers.SimpleRNN(5, "relu", return_state=True, name="rnn")(rows)
    assert dead_units(keras.Model(images, states[0]), digits.train)["rnn"][1] == 5


def test_what_has_no_relu_or_is_no_functional_model_has_none(digits):
    for activation in ("tanh", "leaky_relu"):
        assert dead_units(models.mlp((28, 28, 1), 10, activation=activation), digits.train) == {}

    images = keras.Input((28, 28, 1))
    sloped = keras.layers.ReLU(negative_slope=0.1)(keras.layers.Flatten()(images))
    assert dead_units(keras.Model(images, sloped), digits.train) == {}

    class Own(keras.Model):
        pass

    assert dead_units(Own(), digits.train) == {}


def run(predictions=None, dead=None):
    training = types.SimpleNamespace(
        epochs=1, best_epoch=1, steps=9, stopped_by="epochs", waiting_seconds=None
    )
    model = types.SimpleNamespace(dead_units=dead or {})
    record = types.SimpleNamespace(model=model, training=training)
    return types.SimpleNamespace(predictions=predictions, record=record, metrics={})


def test_the_same_answer_for_all_is_an_alert_that_names_dead_layers():
    same = np.tile([0.3, 0.7], (50, 1)) + np.random.default_rng(0).normal(0, 1e-3, (50, 2))
    labels = np.arange(50) % 10 // 3 > 0  # seven of ten
    given = {"probabilities": same, "label": labels.astype(int)}
    said = classification.alert(run(given, {"dense_1": (50, 50), "d": (1, 9)}))
    assert said.startswith("This network has learned nothing") and "loss is that of chance" in said
    assert "all 50 units of dense_1 are dead" in said and "of d " not in said
    assert said.endswith("Try a smaller learning_rate.")
    several = np.stack([~labels, labels], axis=1).astype(int)
    assert multilabel.alert(run({"probabilities": same, "label": several})) == (
        "This network has learned nothing: its answers are the same for all examples, and its loss "
        "is that of chance. Try more epochs or another learning_rate."
    )
    values = {"value": np.linspace(24.6, 24.4, 50), "label": np.arange(50.0)}
    assert "all 1 unit of d are dead" in regression.alert(run(values, {"d": (1, 1)}))


def test_answers_that_differ_are_no_alert():
    differ = np.random.default_rng(0).dirichlet((1, 1), 50)
    assert _learned.alert(run({"probabilities": differ})) == ""
    labels = np.arange(50.0)
    assert _learned.alert(run({"value": labels + 1, "label": labels})) == ""
    assert _learned.alert(run({"code": labels})) == ""


def test_small_answers_to_a_rare_class_that_follow_it_are_no_alert():
    rng = np.random.default_rng(0)
    rare = rng.uniform(0.001, 0.012, 20_000)
    labels = (rng.uniform(size=20_000) < rare).astype(int)
    known = np.stack([1 - rare, rare], axis=1)
    assert known.std(axis=0).max() < 0.01
    assert classification.alert(run({"probabilities": known, "label": labels})) == ""
    shuffled = rng.permutation(known)
    assert "learned nothing" in classification.alert(
        run({"probabilities": shuffled, "label": labels})
    )


def test_the_report_names_layers_with_dead_units_if_there_are_several():
    def said(dead):
        return training.summary_of(run(dead=dead)).get("dead units")

    assert said({"a": (3, 10), "b": (0, 1205), "c": (1, 5)}) == "4 of 1,220: 3 of a, 1 of c"
    assert said({"a": [3, 10]}) == "3 of 10"  # lists, as they are read from JSON
    assert said({"a": (0, 10), "b": (0, 5)}) == "0 of 15" and said({}) is None


def test_the_report_counts_them(finished_run):
    (counted,) = finished_run.record.model.dead_units.values()
    assert counted[1] == 64
    assert f"dead units</th><td>{counted[0]} of 64" in (
        finished_run.folder / "report.html"
    ).read_text(encoding="utf-8")


ANSWERS = {"classification": "probabilities", "multilabel": "probabilities", "regression": "value"}


@pytest.mark.parametrize("task", ANSWERS)
def test_with_flip_at_test_an_answer_is_the_mean_of_those_to_an_image_and_its_mirror_image(task):
    images, labels = pictures(6)
    truth = {
        "classification": labels.astype(np.int32),
        "multilabel": np.eye(3, dtype=np.int32)[labels],
        "regression": labels.astype(np.float32),
    }[task]
    outputs = 1 if task == "regression" else 3
    activation = {"classification": "softmax", "multilabel": "sigmoid", "regression": "linear"}
    keras.utils.set_random_seed(0)
    options = {"filters": (4,), "dense_units": 0, "output_activation": activation[task]}
    network = models.cnn((8, 8, 1), outputs, **options)
    # An output without a name, of a loss on logits: the softmax is within the mean.
    logits = task == "classification"
    scores = keras.layers.Dense(outputs)(network.layers[-2].output)
    model = keras.Model(network.inputs[0], scores if logits else network.outputs[0])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss if logits else "mean_squared_error")
    split = split_of(images, truth, input=ImageInput((8, 8, 1)))
    names = ("value",) if task == "regression" else ("a", "b", "c")
    mirrored, plain = (
        tasks.find(task).inference(model, data_of(names, change, train=split))
        for change in (Augmentation(flip_at_test=True), Augmentation())
    )
    name = ANSWERS[task]
    given = [np.array(plain(x, training=False)[name]) for x in (images, images[:, :, ::-1])]
    assert abs(given[0] - given[1]).max() > 1e-3
    # As it is exported: for any number of images, and none.
    spec = tf.TensorSpec((None, 8, 8, 1), tf.uint8)
    program = tf.function(lambda x: mirrored(x, training=False)[name]).get_concrete_function(spec)
    found = program(tf.constant(images)).numpy()
    np.testing.assert_allclose(found, (given[0] + given[1]) / 2, atol=1e-6)
    np.testing.assert_allclose(program(tf.constant(images[:1])), found[:1], atol=1e-6)
    assert program(tf.constant(images[:0])).shape == (0, *found.shape[1:])
    assert [w is v for w, v in zip(mirrored.weights, model.weights, strict=True)]


@pytest.mark.slow
def test_mirrored_images_give_the_mean_of_both_answers_and_no_explanation(tmp_path, undrawn):
    trained = kpipe.run(
        "cifar10_cnn",
        data="sample",
        out=tmp_path,
        architecture="simple",
        filters=8,
        epochs=1,
        flip_at_test=True,
    )
    assert trained.record.proof.passed
    images = trained.data.test.take(np.arange(4))[0]
    model = kpipe.load(trained.folder)
    answers = model.predict(images)["probabilities"]
    (inner,) = [x for x in trained.model.layers if isinstance(x, keras.Model)]
    plain, mirrored = (
        inner.predict(given, verbose=0)["probabilities"] for given in (images, images[:, :, ::-1])
    )
    assert np.abs(plain - mirrored).max() > 1e-4
    np.testing.assert_allclose(answers, (plain + mirrored) / 2, atol=1e-6)
    np.testing.assert_allclose(answers, model.predict(images[:, :, ::-1])["probabilities"], 1e-4)
    with pytest.raises(UserError, match="flip_at_test"):
        kpipe.explaining.explain(model, types.SimpleNamespace(names=["a"], values=images[:1]))


def test_a_flip_at_test_is_of_images_and_changes_no_training():
    with pytest.raises(ValueError, match="flip_at_test"):
        datasets.peaks().augmented(flip_at_test=True)
    with pytest.raises(ValueError, match=r"flip_at_test=True: it changes only images; use flip"):
        datasets.ag_news().augmented(flip_at_test=True)
    augmentation = datasets.cifar10().augmented(flip_at_test=True).augmentation
    assert not augmentation.in_training
    images, _ = pictures(4)
    unchanged = augment(tf.constant(images), augmentation, tf.constant([0, 1], tf.int64))
    np.testing.assert_array_equal(unchanged, images)
