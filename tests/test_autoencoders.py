"""Builders of autoencoders, and what their codes consist of."""

import keras
import numpy as np
import pytest

from kpipe import layers, losses, models

IMAGES = np.random.RandomState(0).randint(0, 256, (6, 32, 32, 3), dtype=np.uint8)


def build_all():
    grey, colour = (32, 32, 1), (32, 32, 3)
    return {
        "linear": models.autoencoder(grey, 5, output_activation="linear", use_bias=False),
        "deep": models.autoencoder(grey, 5, units=(16, 8), decoder_units=(12,)),
        "convolutional": models.autoencoder(colour, 5, units=(16,), filters=(4, 8)),
        "vae": models.vae(grey, 2, units=(16, 8)),
        "convolutional vae": models.vae(colour, 3, units=(16,), filters=(4, 8)),
        "joint": models.joint_vae(grey, 4, discrete=(3, 3, 5)),
        "forty": models.joint_vae(colour, 4, discrete=(2,) * 40),
        "informed": models.joint_vae(
            grey, 4, discrete=(3, 5), discrete_capacity=(1.0, 9), discrete_term="information"
        ),
        "beta": models.joint_vae(grey, 4, discrete=(), weight=4.0),
    }


@pytest.fixture(scope="module")
def built():
    keras.utils.set_random_seed(0)
    return build_all()


def images_of(model):
    return IMAGES[..., : model.inputs[0].shape[-1]]


def outputs_of(model, inputs):
    """What `predict` gives, without the time to trace it."""
    return {name: np.array(value) for name, value in model(inputs, training=False).items()}


@pytest.mark.parametrize("name", build_all())
def test_every_builder_gives_images_back_by_its_code_and_trains(name, built, tmp_path):
    model, images = built[name], images_of(built[name])
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")
    outputs = model.predict(images, verbose=0)
    assert list(outputs) == ["reconstruction"]
    assert outputs["reconstruction"].shape == images.shape
    assert outputs["reconstruction"].dtype == np.float32
    code = outputs_of(encoder, images)["code"]
    assert code.shape == (6, models.latents(model).size)
    # Deterministic at inference: the whole is its two parts, time and again.
    decoded = outputs_of(decoder, code)["reconstruction"]
    np.testing.assert_allclose(decoded, outputs["reconstruction"], atol=1e-6)

    # The prediction is traced, which takes less time than to trace a step of training.
    model.compile("adam", losses.squared_error, run_eagerly=True)
    before = [np.array(v) for v in model.trainable_variables]
    model.train_on_batch(images, images)
    moved = [
        (np.array(v) != b).any() for v, b in zip(model.trainable_variables, before, strict=True)
    ]
    assert all(moved)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        outputs_of(copy, images)["reconstruction"],
        outputs_of(model, images)["reconstruction"],
    )


def test_a_linear_autoencoder_is_the_product_of_its_matrices(built):
    model = built["linear"]
    assert len(model.get_weights()) == 2
    encode, decode = model.get_weights()
    images = images_of(model)
    expected = (images.reshape(6, -1) / 255) @ encode @ decode
    given = outputs_of(model, images)["reconstruction"].reshape(6, -1)
    np.testing.assert_allclose(given, expected, atol=1e-5)


def test_a_decoder_mirrors_the_encoder_unless_its_widths_are_given(built):
    def widths(model, part):
        return [w.shape[-1] for w in model.get_layer(part).weights if len(w.shape) == 2]

    assert widths(built["deep"], "encoder") == [16, 8, 5]
    assert widths(built["deep"], "decoder") == [12, 1024]
    assert widths(built["vae"], "encoder") == [16, 8, 2, 2]
    assert widths(built["vae"], "decoder") == [8, 16, 784 + 240]
    mirrored = models.autoencoder((32, 32, 1), 5, units=(16, 8))
    assert widths(mirrored, "decoder") == [8, 16, 1024]


def test_beta_of_a_vae_rises_from_0_in_the_steps_of_its_warmup():
    model = models.vae((4, 4, 1), 2, units=(8,), beta=3.0, warmup_steps=4)
    images, found = IMAGES[:, :4, :4, :1], []
    for training in (True, True, False, True, True, True):
        outputs = model(images, training=training)
        assert outputs["reconstruction"].shape == images.shape
        kl = model.get_layer("encoder")(images)["kl"]
        found.append(float(model.losses[0]) / float(keras.ops.sum(keras.ops.mean(kl, axis=0))))
    np.testing.assert_allclose(found, [0.75, 1.5, 3, 2.25, 3, 3], rtol=1e-5)


def test_the_information_of_a_joint_vae_is_limited_instead_of_its_divergence(built):
    model = built["informed"]
    layer = model.get_layer("discrete")
    assert type(layer) is layers.InformationRegularization and layer.sizes == (3, 5)
    assert type(built["joint"].get_layer("discrete")) is layers.KLRegularization
    probabilities = model.get_layer("encoder")(images_of(model))["probabilities"]
    before = np.array(layer.mean)
    model(images_of(model), training=True)
    expected = 0.9 * before + 0.1 * np.mean(probabilities, axis=0)
    np.testing.assert_allclose(layer.mean, expected, rtol=1e-4)
    with pytest.raises(ValueError, match="discrete_term='bits': expected divergence or info"):
        models.joint_vae((32, 32, 1), 4, discrete_term="bits")


def test_drawn_codes_are_used_in_training_alone(built):
    model, images = built["joint"], images_of(built["joint"])
    first, second = (np.array(model(images, training=True)["reconstruction"]) for _ in range(2))
    assert (first != second).any()
    at_inference = [np.array(model(images)["reconstruction"]) for _ in range(2)]
    np.testing.assert_array_equal(*at_inference)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 64])
def test_joint_vae_has_the_published_layers(size, channels):
    model = models.joint_vae((size, size, channels), 10, discrete=(10,))
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")
    kernels = [w.shape for w in encoder.trainable_weights if len(w.shape) > 1]
    more = [(4, 4, 32, 32)] if size == 64 else []
    assert kernels == [
        (4, 4, channels, 32),
        *more,
        (4, 4, 32, 64),
        (4, 4, 64, 64),
        (1024, 256),
        (256, 10),
        (256, 10),
        (256, 10),
    ]
    kernels = [w.shape for w in decoder.trainable_weights if len(w.shape) > 1]
    more = [(4, 4, 64, 64)] if size == 64 else []
    # In a transposed convolution's kernel the filters come before the input channels.
    published = [(4, 4, 32, 64), (4, 4, 32, 32), (4, 4, channels, 32)]
    assert kernels == [(20, 256), (256, 1024), *more, *published]


def test_a_code_holds_the_means_and_each_class_one_hot(built):
    model = built["joint"]
    kinds = models.latents(model)
    assert kinds == models.Latents(4, (3, 3, 5), True)
    encoded = outputs_of(model.get_layer("encoder"), images_of(model))
    np.testing.assert_array_equal(encoded["code"][:, :4], encoded["z_mean"])
    blocks = kinds.blocks(encoded["probabilities"])
    assert [block.shape for block in blocks] == [(6, 3), (6, 3), (6, 5)]
    for i, (block, code) in enumerate(
        zip(blocks, kinds.blocks(encoded["code"][:, 4:]), strict=True)
    ):
        np.testing.assert_allclose(block.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_array_equal(code, np.eye(block.shape[1])[block.argmax(axis=1)])
        np.testing.assert_array_equal(kinds.classes(encoded["code"])[:, i], block.argmax(axis=1))


def test_an_encoder_says_the_divergence_of_every_latent(built):
    encoded = outputs_of(built["joint"].get_layer("encoder"), IMAGES[..., :1])
    mean, log_var = encoded["z_mean"], encoded["z_log_var"]
    continuous = (mean**2 + np.exp(log_var) - 1 - log_var) / 2
    np.testing.assert_allclose(encoded["kl"][:, :4], continuous, atol=1e-6)
    blocks = models.Latents(4, (3, 3, 5), True).blocks(encoded["probabilities"])
    discrete = [np.log(p.shape[1]) + (p * np.log(p)).sum(axis=1) for p in blocks]
    np.testing.assert_allclose(encoded["kl"][:, 4:], np.transpose(discrete), atol=1e-6)


def test_a_code_is_uncertain_where_two_classes_are_as_good_as_equal():
    kinds = models.Latents(1, (2, 2), True)
    probabilities = np.array([[0.9, 0.1, 0.2, 0.8], [0.9, 0.1, 0.50004, 0.49996]])
    certain = kinds.is_decided({"code": np.zeros((2, 5)), "probabilities": probabilities})
    assert certain.tolist() == [True, False]
    assert models.Latents(3, (), False).is_decided({"code": np.zeros((2, 3))}).all()


def test_the_loss_is_the_reconstruction_and_what_capacities_add():
    keras.utils.set_random_seed(1)
    model = models.joint_vae(
        (32, 32, 1),
        3,
        discrete=(4, 2),
        weight=30.0,
        continuous_capacity=(5.0, 10),
        discrete_capacity=(5.0, 10),
    )
    model.compile("sgd", losses.bernoulli, metrics=[losses.reconstruction_metric(losses.bernoulli)])
    images = IMAGES[..., :1]
    kl = outputs_of(model.get_layer("encoder"), images)["kl"].mean(axis=0)
    logs = model.train_on_batch(images, images, return_dict=True)
    added = 30 * (abs(0.5 - kl[:3].sum()) + abs(0.5 - kl[3:].sum()))
    assert logs["loss"] - logs["reconstruction"] == pytest.approx(added, rel=1e-4)
    np.testing.assert_allclose([logs[f"continuous_kl/{i}"] for i in range(3)], kl[:3], rtol=1e-4)
    np.testing.assert_allclose([logs[f"discrete_kl/{i}"] for i in range(2)], kl[3:], rtol=1e-4)
    assert logs["continuous_capacity"] == logs["discrete_capacity"] == pytest.approx(0.5)


def test_a_discrete_capacity_stops_at_what_the_classes_hold():
    model = models.joint_vae((32, 32, 1), 3, discrete=(4, 2), discrete_capacity=(50.0, 10))
    assert float(model.get_layer("discrete").capacity(1000)) == pytest.approx(np.log(8))
    assert float(model.get_layer("discrete").capacity(0.2)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [("10", (10,)), ("40x2", (2,) * 40), ("none", ()), ("10+3x2", (10, 2, 2, 2)), ("2+3", (2, 3))],
)
def test_discrete_latents_are_said_in_words(text, sizes):
    assert models.discrete_sizes(text) == sizes


@pytest.mark.parametrize("text", ["", "1", "x2", "2x", "0x5", "10,2", "ten", "-3", "2.5", "²"])
def test_other_words_are_refused(text):
    with pytest.raises(ValueError, match="expected the classes of the discrete latents"):
        models.discrete_sizes(text)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: models.joint_vae((28, 28, 1)), "expected 32x32 or 64x64 pixels"),
        (lambda: models.joint_vae((32, 64, 1)), "expected 32x32 or 64x64 pixels"),
        (lambda: models.joint_vae((32, 32, 1), 0), "at least 1 continuous"),
        (lambda: models.joint_vae((32, 32, 1), 2, discrete=(1,)), "at least 2 classes"),
        (lambda: models.autoencoder((30, 30, 1), 4, filters=(4, 8)), "multiples of 4"),
        (lambda: models.vae((30, 30, 1), 4, filters=(4, 8)), "cannot be halved 2 times"),
    ],
)
def test_what_cannot_be_built_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
