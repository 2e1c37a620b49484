import keras
import numpy as np
import pytest

from kpipe import models

IMAGES = np.random.RandomState(0).randint(0, 256, (5, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (models.mlp, {}),
        (models.mlp, {"units": ()}),
        (models.mlp, {"units": (8, 8, 8), "dropout": 0.5, "l1": 1e-4, "l2": 1e-3}),
        (models.cnn, {"filters": (4, 8)}),
        (models.cnn, {"filters": (4,), "convolutions": 2, "batch_norm": False, "dropout": 0.5}),
        (models.cnn, {"filters": (4,), "dense_units": 0}),
        (models.cnn, {"filters": (4, 8), "pooling": "average"}),
        (models.resnet18, {"filters": 4, "dropout": 0.5}),
        (models.resnet18, {"filters": 4, "stem": "imagenet", "upsample": 2}),
    ],
)
def test_every_builder_gives_named_probabilities_and_trains(build, options):
    model = build((16, 16, 3), 7, **options)
    assert model.input.dtype == "uint8"
    outputs = model.predict(IMAGES, verbose=0)
    assert list(outputs) == ["probabilities"]
    assert outputs["probabilities"].shape == (5, 7)
    assert outputs["probabilities"].dtype == np.float32
    np.testing.assert_allclose(outputs["probabilities"].sum(axis=1), 1, atol=1e-6)
    # The prediction is traced, which takes less time than to trace a step of training.
    loss = "sparse_categorical_crossentropy"
    model.compile("adam", loss, metrics=["accuracy"], run_eagerly=True)
    before = model.get_weights()
    loss, _ = model.train_on_batch(IMAGES, np.arange(5))
    assert np.isfinite(loss)
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "leaky_relu", "linear"])
@pytest.mark.parametrize("initializer", ["random_normal", "glorot_normal", "glorot_uniform"])
def test_every_activation_and_start_of_the_documents_can_be_built(activation, initializer):
    model = models.mlp((2, 2, 1), 3, units=(4,), activation=activation, initializer=initializer)
    assert model.layers[3].activation is keras.activations.get(activation)
    assert isinstance(model.layers[3].kernel_initializer, type(keras.initializers.get(initializer)))


def test_an_mlp_is_the_product_of_its_matrices():
    model = models.mlp((2, 2, 1), 3, units=(4,), activation="tanh")
    images = np.array([[[[0], [51]], [[102], [255]]]], np.uint8)
    w1, b1, w2, b2 = model.get_weights()
    hidden = np.tanh(np.array([0, 0.2, 0.4, 1.0]) @ w1 + b1)
    scores = np.exp(hidden @ w2 + b2)
    np.testing.assert_allclose(
        model.predict(images, verbose=0)["probabilities"][0], scores / scores.sum(), atol=1e-6
    )


def test_penalties_are_sums_over_kernels_and_leave_biases_out():
    model = models.mlp((2, 2, 1), 3, units=(4,), l1=0.5, l2=0.25)
    w1, _, w2, _ = model.get_weights()
    expected = sum(0.5 * np.abs(w).sum() + 0.25 * np.square(w).sum() for w in (w1, w2))
    model.set_weights([w1, np.ones(4), w2, np.ones(3)])
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-6)


def test_parameters_of_the_documented_network():
    assert models.mlp((28, 28, 1), 10).count_params() == 784 * 900 + 900 + 900 * 450 + 450 + 4510


def test_batch_norm_replaces_the_bias():
    model = models.cnn((16, 16, 3), 2, filters=(4,), dense_units=0)
    assert model.layers[2].count_params() == 3 * 3 * 3 * 4


def test_a_model_is_saved_and_loaded_in_safe_mode(tmp_path):
    model = models.cnn((16, 16, 3), 2, filters=(4,), dropout=0.1)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        model.predict(IMAGES, verbose=0)["probabilities"],
        loaded.predict(IMAGES, verbose=0)["probabilities"],
    )


def test_an_mlp_takes_vectors_as_they_are():
    model = models.mlp((2,), 3, units=())
    assert (model.input.name, model.input.dtype) == ("features", "float32")
    points = np.array([[0.5, -2.0]], np.float32)
    scores = np.exp(points @ model.get_weights()[0])
    np.testing.assert_allclose(
        model.predict(points, verbose=0)["probabilities"], scores / scores.sum(), atol=1e-6
    )


@pytest.mark.parametrize(
    ("build", "outputs"), [({}, 1), ({"units": ()}, 1), ({"dropout": 0.5, "l2": 1e-3}, 3)]
)
def test_an_mlp_can_give_values(build, outputs):
    model = models.mlp((4,), outputs, output="value", **build)
    points = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    given = model.predict(points, verbose=0)
    assert list(given) == ["value"] == [model.layers[-1].name]
    assert (given["value"].shape, given["value"].dtype) == ((5, outputs), np.float32)
    last = keras.Model(model.input, model.layers[-2].output).predict(points, verbose=0)
    kernel, bias = model.layers[-1].get_weights()
    np.testing.assert_allclose(given["value"], last @ kernel + bias, atol=1e-6)


@pytest.mark.parametrize("shape", [(5,), (5, 1)])
def test_losses_and_metrics_of_a_value_are_means_over_examples(shape):
    model = models.mlp((4,), 1, output="value")
    points = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    labels = np.array([-3.0, 0.0, 1.0, 2.0, 40.0], np.float32)
    errors = model.predict(points, verbose=0)["value"][:, 0] - labels
    model.compile("sgd", "mean_squared_error", metrics=["mae", keras.metrics.R2Score()])
    # Batches of 4 and 1: a mean that ignored their sizes would weigh the last example by 4.
    loss, mae, r2 = model.evaluate(points, labels.reshape(shape), batch_size=4, verbose=0)
    assert loss == pytest.approx(np.mean(errors**2), rel=1e-5)
    assert mae == pytest.approx(np.mean(np.abs(errors)), rel=1e-5)
    assert r2 == pytest.approx(1 - np.mean(errors**2) / labels.var(), rel=1e-5)
    # The difference of (5, 1) and (5,) would be (5, 5), and its gradient another one.
    kernel = model.layers[-1].kernel
    hidden = keras.Model(model.input, model.layers[-2].output).predict(points, verbose=0)
    before = kernel.numpy()
    model.train_on_batch(points, labels.reshape(shape))
    gradient = 2 * hidden.T @ errors[:, None] / 5
    np.testing.assert_allclose(kernel.numpy(), before - 0.01 * gradient, atol=1e-5)


def test_an_mlp_normalizes_vectors_by_constants_that_it_keeps(tmp_path):
    means, deviations = (5.0, 200.0), (2.0, 0.5)
    model = models.mlp((2,), 1, units=(), output="value", normalize=(means, deviations))
    points = np.array([[5, 200], [7, 200], [5, 199.5]], np.float32)
    kernel, bias = model.get_weights()
    expected = np.array([[0, 0], [1, 0], [0, -1]]) @ kernel + bias
    np.testing.assert_allclose(model.predict(points, verbose=0)["value"], expected, atol=1e-6)
    assert len(model.trainable_variables) == len(model.variables) == 2
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(points, verbose=0)["value"], expected, atol=1e-6)


def test_outputs_and_inputs_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="output='values': expected 'probabilities' or 'value'"):
        models.mlp((2,), 1, output="values")
    with pytest.raises(
        ValueError, match=r"normalize= with images of shape \(8, 8, 3\); expected vectors"
    ):
        models.mlp((8, 8, 3), 1, normalize=((0.0,), (1.0,)))


def test_average_pooling_takes_the_mean_of_every_filter():
    model = models.cnn((8, 8, 3), 2, filters=(4,), pooling="average", dense_units=0)
    last = keras.Model(model.input, model.get_layer("block0_0_relu").output)
    images = IMAGES[:, :8, :8]
    expected = last.predict(images, verbose=0).mean(axis=(1, 2))
    given = models.backbone(model).predict(images, verbose=0)
    np.testing.assert_allclose(given, expected, atol=1e-6)


def test_labels_that_stand_for_themselves_have_probabilities_of_their_own():
    model = models.cnn((8, 8, 3), 5, filters=(4,), output_activation="sigmoid")
    probabilities = model.predict(IMAGES[:, :8, :8], verbose=0)["probabilities"]
    assert (probabilities > 0).all() and (probabilities < 1).all()
    assert not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3)


def test_a_pooling_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="pooling='max': expected 'flatten' or 'average'"):
        models.cnn((8, 8, 3), 2, pooling="max")
