"""Units that answer nothing, networks that learned nothing, answers over mirrored images."""

import types

import keras
import numpy as np
import pytest

import kpipe
from kpipe import datasets, models
from kpipe.data import prepare
from kpipe.errors import UserError
from kpipe.measures.dead_units import dead_units
from kpipe.tasks import _learned, classification


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


def test_what_has_no_relu_or_is_no_functional_model_has_none(digits):
    assert dead_units(models.mlp((28, 28, 1), 10, activation="tanh"), digits.train) == {}

    class Own(keras.Model):
        pass

    assert dead_units(Own(), digits.train) == {}


def run(predictions, dead=None):
    record = types.SimpleNamespace(model=types.SimpleNamespace(dead_units=dead or {}))
    return types.SimpleNamespace(predictions=predictions, record=record, metrics={})


def test_the_same_answer_for_all_is_an_alert_that_names_dead_layers():
    same = np.tile([0.3, 0.7], (50, 1)) + np.random.default_rng(0).normal(0, 1e-3, (50, 2))
    said = classification.alert(run({"probabilities": same}, {"dense_1": (50, 50), "d": (1, 9)}))
    assert said.startswith("This network has learned nothing") and "loss is that of chance" in said
    assert "all 50 units of dense_1 are dead" in said and "of d " not in said
    labels = np.arange(50.0)
    assert "nothing" in _learned.alert(run({"value": np.full(50, 24.5), "label": labels}))


def test_answers_that_differ_are_no_alert():
    differ = np.random.default_rng(0).dirichlet((1, 1), 50)
    assert _learned.alert(run({"probabilities": differ})) == ""
    labels = np.arange(50.0)
    assert _learned.alert(run({"value": labels + 1, "label": labels})) == ""
    assert _learned.alert(run({"code": labels})) == ""


def test_the_report_counts_them(finished_run):
    (counted,) = finished_run.record.model.dead_units.values()
    assert counted[1] == 64
    assert f"dead units</th><td>{counted[0]} of 64" in (
        finished_run.folder / "report.html"
    ).read_text(encoding="utf-8")


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
    assert not datasets.cifar10().augmented(flip_at_test=True).augmentation.in_training
