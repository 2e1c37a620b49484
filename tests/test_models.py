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
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
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
    with pytest.raises(ValueError, match="pooling='max' is neither 'flatten' nor 'average'"):
        models.cnn((8, 8, 3), 2, pooling="max")
