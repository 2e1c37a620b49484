import keras
import numpy as np
import pytest
from own import blobs, data_of, split_of
from scipy import stats

from kpipe import Trainer, models
from kpipe.inputs import ImageInput

IMAGES = np.random.RandomState(0).randint(0, 256, (5, 16, 16, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("build", "options"),
    [
        (models.mlp, {}),
        (models.mlp, {"units": ()}),
        (models.mlp, {"units": (8, 8, 8), "dropout": 0.5, "l1": 1e-4, "l2": 1e-3}),
        (models.mlp, {"units": (8,), "batch_norm": True, "input_dropout": 0.2, "max_norm": 1.0}),
        (models.cnn, {"filters": (4, 8)}),
        (models.cnn, {"filters": (4,), "convolutions": 2, "batch_norm": False, "dropout": 0.5}),
        (models.cnn, {"filters": (4,), "dense_units": 0}),
        (models.cnn, {"filters": (4, 8), "pooling": "average"}),
        (models.cnn, {"filters": (4,), "early_pooling": True, "whitening": True}),
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


@pytest.mark.parametrize("plan", ["graph", "kernels"])
def test_no_update_leaves_a_column_of_a_hidden_kernel_longer_than_max_norm(plan):
    points, labels = blobs(96)
    data = data_of(train=split_of(points, labels.astype(np.int32)))
    keras.utils.set_random_seed(0)
    # Adam of 10,000 values is one kernel of TensorFlow.
    model = models.mlp((5,), 3, units=(100, 100), max_norm=0.5)
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    Trainer(epochs=2, batch_size=32, patience=0).fit(model, data, plan=plan)
    first, second, last = (np.linalg.norm(w, axis=0) for w in model.get_weights()[::2])
    for norms in (first, second):
        assert norms.max() <= 0.5 + 1e-5 and np.isclose(norms, 0.5, atol=1e-5).sum() > 10
    assert last.min() > 0.5  # of the outputs


def test_max_norm_scales_what_an_update_gives():
    points, labels = blobs(20)
    keras.utils.set_random_seed(0)
    model = models.mlp((5,), 3, units=(6,), max_norm=0.9)
    model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy", run_eagerly=True)
    w1, b1, w2, b2 = (weight.astype(float) for weight in model.get_weights())
    model.train_on_batch(points, labels)
    hidden = np.maximum(points @ w1 + b1, 0)
    scores = np.exp(hidden @ w2 + b2)
    errors = (scores / scores.sum(axis=1, keepdims=True) - np.eye(3)[labels]) / 20
    updated = w1 - 0.5 * points.T @ (errors @ w2.T * (hidden > 0))
    norms = np.linalg.norm(updated, axis=0)
    assert norms.min() < 0.9 < norms.max()
    expected = updated * np.minimum(1, 0.9 / norms)
    np.testing.assert_allclose(model.get_weights()[0], expected, atol=1e-5)


def test_dropout_of_the_inputs_comes_before_the_first_layer():
    keras.utils.set_random_seed(0)
    model = models.mlp((1000,), 1000, units=(), input_dropout=0.2, output="value")
    model.set_weights([np.eye(1000), np.zeros(1000)])
    ones = np.ones((1, 1000), np.float32)
    np.testing.assert_allclose(model(ones, training=False)["value"], ones)
    values, counts = np.unique(model(ones, training=True)["value"].numpy(), return_counts=True)
    np.testing.assert_allclose(values, [0, 1.25])  # 1 / (1 - 0.2)
    assert 150 < counts[0] < 250


def test_batch_norm_of_an_mlp_precedes_the_activation():
    points, _ = blobs(10)
    model = models.mlp((5,), 3, units=(4,), batch_norm=True, output="value")
    layer = next(x for x in model.layers if isinstance(x, keras.layers.BatchNormalization))
    random = np.random.default_rng(0)
    layer.set_weights([random.uniform(0.5, 2, 4) for _ in range(4)])
    kernel, gamma, beta, *rest = model.get_weights()
    mean, variance, *last = rest if len(rest) == 4 else (rest[2], rest[3], rest[0], rest[1])
    normalized = gamma * (points @ kernel - mean) / np.sqrt(variance + layer.epsilon) + beta
    expected = np.maximum(normalized, 0) @ last[0] + last[1]
    assert (normalized < 0).any()
    np.testing.assert_allclose(model(points, training=False)["value"], expected, atol=1e-5)


def of_every_kind():
    """A model with each kind of layer that PyTorch draws otherwise, one of them in a model within.

    Returns:
        The model, and by its layers' names the b of PyTorch's U(-b, b).
    """
    inside = keras.Sequential(
        [keras.Input((8, 8, 8)), keras.layers.Conv2D(100, 3, groups=4, name="grouped")]
    )
    x = inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(64, (3, 5), padding="same", name="convolution")(x)
    x = keras.layers.BatchNormalization(name="normalization")(x)
    x = keras.layers.Conv2DTranspose(200, 3, padding="same", name="transposed")(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = keras.layers.Conv2D(8, 1, name="pointwise")(x)
    x = keras.layers.Flatten()(inside(x))
    model = keras.Model(inputs, keras.layers.Dense(200, name="dense")(x))
    # The sizes of PyTorch's kernels without the first axis: of outputs, of a transposed convolution
    # of inputs.
    fan_in = {"convolution": 3 * 3 * 5, "transposed": 200 * 9, "depthwise": 1 * 9}
    fan_in |= {"pointwise": 200, "grouped": 2 * 9, "dense": 6 * 6 * 100}
    return model, {name: 1 / np.sqrt(size) for name, size in fan_in.items()}


def test_torchs_initial_weights_are_uniform_within_its_bounds():
    keras.utils.set_random_seed(0)
    model, bounds = of_every_kind()
    normalization = model.get_layer("normalization").get_weights()
    assert models.initialize(model, "torch") is model
    layers = {layer.name: layer for layer in model._flatten_layers() if layer.name in bounds}
    assert layers.keys() == bounds.keys()
    for name, bound in bounds.items():
        for weight in layers[name].get_weights():  # kernel and bias
            if weight.size >= 64:
                uniform = stats.uniform(-bound, 2 * bound)
                assert stats.kstest(weight.ravel(), uniform.cdf).pvalue > 1e-3, name
            assert 0 < abs(weight).max() <= bound * (1 + 1e-6)
    for before, after in zip(
        normalization, model.get_layer("normalization").get_weights(), strict=True
    ):
        np.testing.assert_array_equal(before, after)


def test_initial_weights_follow_the_seed():
    def drawn(seed, initialization="torch"):
        keras.utils.set_random_seed(seed)
        model = models.mlp((5,), 3, units=(4, 4))
        return [w.tolist() for w in models.initialize(model, initialization).get_weights()]

    assert drawn(0) == drawn(0)
    first, other, plain = drawn(0), drawn(1), drawn(0, "keras")
    assert all(one != two for one, two in zip(first, other, strict=True))
    assert all(one != two for one, two in zip(first, plain, strict=True))
    assert first[2] != first[4]  # of equal layers
    assert plain[1] == [0] * 4


def test_an_unknown_initialization_is_refused():
    with pytest.raises(ValueError, match=r"^initialization='caffe': expected one of keras, torch$"):
        models.initialize(models.mlp((5,), 3), "caffe")


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


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_pooling_takes_the_mean_or_the_maximum_of_every_filter(pooling):
    model = models.cnn((8, 8, 3), 2, filters=(4,), pooling=pooling, dense_units=0)
    images = IMAGES[:, :8, :8]
    last = keras.Model(model.input, model.get_layer("block0_0_relu").output)(images).numpy()
    expected = last.mean(axis=(1, 2)) if pooling == "average" else last.max(axis=(1, 2))
    np.testing.assert_allclose(models.backbone(model)(images), expected, atol=1e-6)


def test_whitened_patches_are_uncorrelated_and_stay_so():
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 6, 1)).astype(np.uint8)
    images[..., 1:, :] = images[..., :-1, :] // 2 + images[..., 1:, :] // 2  # alike neighbours
    model = models.cnn((6, 6, 1), 2, filters=(4,), whitening=True, activation="gelu")
    split = split_of(images, np.zeros(40, np.int32), input=ImageInput((6, 6, 1)))
    ImageInput((6, 6, 1)).adapt(model, split)
    layer = model.get_layer("whitening")
    assert not layer.trainable_weights
    outputs = keras.Model(model.input, layer.output)(images).numpy().reshape(-1, 8)
    np.testing.assert_allclose(outputs[:, 4:], -outputs[:, :4], atol=1e-5)
    # Of 2x2 patches, by hand: pixels from -1 to 1, not centred.
    pixels = images[..., 0] / 127.5 - 1
    parts = pixels[:, :-1, :-1], pixels[:, :-1, 1:], pixels[:, 1:, :-1], pixels[:, 1:, 1:]
    patches = np.stack([part.ravel() for part in parts], axis=1)
    variances = np.linalg.eigvalsh(patches.T @ patches / len(patches))[::-1]
    assert variances[0] > 2 * variances[3]
    expected = np.diag(variances / (variances + 2e-3))
    np.testing.assert_allclose(
        outputs[:, :4].T @ outputs[:, :4] / len(outputs), expected, atol=1e-4
    )
    before = layer.get_weights()[0]
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    model.train_on_batch(images, np.zeros(40))
    np.testing.assert_array_equal(layer.get_weights()[0], before)
    # Of other images: filters that came with a backbone fit its other layers.
    ImageInput((6, 6, 1)).adapt(model, split.at(np.arange(9)))
    np.testing.assert_array_equal(layer.get_weights()[0], before)


def test_an_own_layer_of_that_name_is_left_alone():
    images = keras.Input((6, 6, 1), dtype="uint8")
    x = keras.layers.BatchNormalization(name="whitening")(images)
    split = split_of(np.zeros((4, 6, 6, 1), np.uint8), np.zeros(4), input=ImageInput((6, 6, 1)))
    ImageInput((6, 6, 1)).adapt(keras.Model(images, x), split)


def test_a_negative_limit_of_norms_is_refused():
    with pytest.raises(ValueError, match=r"max_norm=-1.0: expected more than 0, or 0"):
        models.mlp((3,), 2, max_norm=-1.0)


def test_early_pooling_leaves_a_quarter_of_the_pixels_to_the_other_convolutions():
    def sizes(**options):
        model = models.cnn((16, 16, 3), 2, filters=(4, 4), convolutions=2, **options)
        return [layer.output.shape[1] for layer in model.layers if layer.name.endswith("_conv")]

    assert sizes() == [16, 16, 8, 8]
    assert sizes(early_pooling=True) == [16, 8, 8, 4]


def test_labels_that_stand_for_themselves_have_probabilities_of_their_own():
    model = models.cnn((8, 8, 3), 5, filters=(4,), output_activation="sigmoid")
    probabilities = model.predict(IMAGES[:, :8, :8], verbose=0)["probabilities"]
    assert (probabilities > 0).all() and (probabilities < 1).all()
    assert not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3)


def test_a_pooling_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="pooling='mean': expected one of flatten, average, max"):
        models.cnn((8, 8, 3), 2, pooling="mean")
