"""What autoencoders are measured by, against numbers from NumPy and by hand."""

import dataclasses
import math
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import special, stats

from kpipe import data, datasets, layers, losses, models
from kpipe.inputs import InputTargets
from kpipe.inputs.images import add_noise, encode_png, fit_image
from kpipe.measures import denoising, reconstruction


@pytest.fixture(scope="module")
def few():
    """Some digits to be reconstructed: 100 to train, 20 for val, 40 for test."""
    dataset = datasets.mnist(image_size=32).as_autoencoder_data()
    prepared = data.prepare(dataset, dataset.find("sample"), seed=0)
    counts = {"train": 100, "val": 20, "test": 40}
    splits = {name: split.at(np.arange(counts[name])) for name, split in prepared.splits.items()}
    return dataclasses.replace(prepared, splits=splits)


def vectors(split):
    return split.take(np.arange(len(split)))[0].reshape(len(split), -1) / 255


def linear(size, encode, decode):
    model = models.autoencoder((32, 32, 1), size, output_activation="linear", use_bias=False)
    model.set_weights([encode, decode])
    model.compile("sgd", losses.squared_error)
    return model


def opened(model, data):
    return reconstruction.open_test(model, data, seed=0) | reconstruction.against_svd(model, data)


def test_a_network_with_the_singular_vectors_is_the_truncated_svd(few):
    train, test = vectors(few.train), vectors(few.test)
    basis = np.linalg.svd(train, full_matrices=False)[2][:5].T
    model = linear(5, basis, basis.T)
    measured = opened(model, few)
    metrics = reconstruction.metrics_of(measured, model, few)
    expected = np.mean(np.square(test - test @ basis @ basis.T), axis=1)
    np.testing.assert_allclose(measured["squared_error"], expected, atol=1e-6)
    np.testing.assert_allclose(measured["svd_squared_error"], expected, atol=1e-6)
    np.testing.assert_allclose(measured["code"], test @ basis, atol=1e-4)
    assert metrics["train_error_over_svd"]["value"] == pytest.approx(1.0, abs=1e-4)
    np.testing.assert_allclose(
        measured["svd_shown"].reshape(10, -1), (test @ basis @ basis.T)[:10], atol=1e-4
    )


def test_no_linear_network_has_a_smaller_train_error_than_the_svd(few):
    random = np.random.default_rng(0)
    for _ in range(3):
        basis = np.linalg.qr(random.normal(size=(1024, 5)))[0]
        model = linear(5, basis, basis.T)
        measured = opened(model, few)
        ratio = reconstruction.metrics_of(measured, model, few)["train_error_over_svd"]
        assert ratio["low"] > 1


def test_a_code_as_long_as_the_image_needs_no_svd(few):
    model = linear(100, np.zeros((1024, 100)), np.zeros((100, 1024)))  # 100 train images
    assert "svd_squared_error" not in opened(model, few)


@pytest.mark.parametrize("shape", [(16, 16), (8, 12)])  # SSIM's window is 11 pixels at most
def test_psnr_and_ssim_are_those_of_the_image_cut_to_white_and_black(shape):
    images = np.full((2, *shape, 1), 51, np.uint8)  # 0.2
    given = np.full((2, *shape, 1), 0.2, np.float32)
    given[1] = 0.3
    psnr, ssim = denoising.similarity(images, given)
    np.testing.assert_allclose(psnr, [100, -10 * math.log10(0.01)], atol=1e-3)
    assert ssim[0] == pytest.approx(1) and ssim[1] < 1
    white = np.full((2, *shape, 1), 255, np.uint8)
    np.testing.assert_allclose(denoising.similarity(white, given + 1)[0], 100)


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_noise_has_its_deviation_and_is_the_same_for_the_same_seed(level):
    grey = np.full((20, 32, 32, 1), 128, np.uint8)
    noisy = add_noise(grey, level, (3, 1)).numpy()
    assert noisy.dtype == np.uint8
    assert (noisy / 255).std() == pytest.approx(level, rel=0.03)
    assert noisy.mean() == pytest.approx(128, abs=1)
    np.testing.assert_array_equal(noisy, add_noise(grey, level, (3, 1)))
    assert (noisy != add_noise(grey, level, (4, 1)).numpy()).any()
    np.testing.assert_array_equal(add_noise(grey, 0.0, (3, 1)), grey)
    extreme = add_noise(np.array([[[[0]], [[255]]]] * 50, np.uint8), 2.0, (0, 0)).numpy()
    assert set(np.unique(extreme)) >= {0, 255}  # cut, not wrapped around
    assert (extreme[:, 0] == 0).mean() == pytest.approx(0.5, abs=0.25)


def test_denoising_is_measured_at_every_level(few):
    model = linear(5, np.zeros((1024, 5)), np.zeros((5, 1024)))  # gives black, whatever comes in
    measured = reconstruction.open_test(model, few, seed=0)
    metrics = reconstruction.metrics_of(measured, model, few)
    black = metrics["psnr"]["value"]
    noisy = [metrics[f"psnr_noisy/{level}"]["value"] for level in denoising.NOISE_LEVELS]
    assert noisy == sorted(noisy, reverse=True)
    for level, before in zip(denoising.NOISE_LEVELS, noisy, strict=True):
        assert metrics[f"psnr_denoised/{level}"]["value"] == pytest.approx(black)
        assert metrics[f"psnr_gain/{level}"]["value"] == pytest.approx(black - before, abs=1e-4)
        above = metrics[f"psnr_above_filtered/{level}"]["value"]
        filtered = metrics[f"psnr_filtered/{level}"]["value"]
        assert filtered > before or level < 0.1
        assert above == pytest.approx(black - filtered, abs=1e-4)


def test_the_filter_averages_where_there_is_only_noise_and_keeps_what_varies_more():
    # In the middle of nine pixels 8, ..., 8, 17: mean 9, variance 8 of 255 squared.
    pixels = np.full((1, 5, 5, 1), 8, np.uint8)
    pixels[0, 2, 2] = 17

    def middle(level):
        return 255 * denoising.wiener(pixels, level, 3)[0, 2, 2, 0]

    assert middle(4 / 255) == pytest.approx(9)  # 16 of noise exceed 8
    assert middle(2 / 255) == pytest.approx(9 + (1 - 4 / 8) * (17 - 9))  # Lim, section 9.2
    flat = np.full((2, 8, 8, 1), 100, np.uint8)
    # At the border as within: an image goes on beyond it, mirrored.
    np.testing.assert_allclose(denoising.wiener(flat, 0.1, 5), 100 / 255)


def test_the_noise_of_an_image_is_drawn_between_two_levels():
    grey = np.full((200, 16, 16, 1), 128, np.uint8)
    spread = add_noise(grey, (0.05, 0.15), (3, 1)).numpy().std(axis=(1, 2, 3)) / 255
    assert 0.04 < spread.min() < 0.07 and 0.13 < spread.max() < 0.17
    assert spread.mean() == pytest.approx(0.1, abs=0.005)
    with pytest.raises(ValueError, match="noise"):
        datasets.mnist().as_autoencoder_data(noise=(0.3, 0.1))


def test_an_untrained_denoiser_returns_its_image():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    model = models.denoiser((8, 8, 3), filters=4, depth=3)
    restored = model(images)["reconstruction"]
    np.testing.assert_allclose(restored, images / 255, atol=1e-6)
    with pytest.raises(ValueError, match="depth=1"):
        models.denoiser((8, 8, 3), depth=1)


def test_of_too_few_images_disentanglement_is_left_out(capsys):
    errors = dict.fromkeys(("squared_error", "psnr", "ssim"), np.ones(3))
    measured = {**errors, "code": np.eye(3)[:, :2], "label": np.array([[0, 1], [1, 2], [2, 0]])}
    train = types.SimpleNamespace(labels=measured["label"])
    given = types.SimpleNamespace(has_factors=True, train=train)
    metrics = reconstruction.metrics_of(measured, models.autoencoder((4, 4, 1), 2), given)
    assert metrics.keys() == errors.keys()
    assert "no measures of disentanglement: no factor has two values" in capsys.readouterr().out


@pytest.mark.parametrize("discrete", [(), (3, 2)])
def test_a_decoder_that_ignores_its_code_has_a_likelihood_known_by_hand(few, discrete):
    keras.utils.set_random_seed(0)
    model = models.joint_vae((32, 32, 1), 2, discrete=discrete)
    model.compile("adam", losses.bernoulli_mean_of_channels)
    last = model.get_layer("decoder").get_layer("reconstruction")
    last.set_weights([np.zeros(last.kernel.shape), np.array([-1.0])])
    white = 1 / (1 + math.e)
    test = few.test.at(np.arange(10))
    splits = {**few.splits, "test": test}
    floats = {k: dataclasses.replace(v, labels=v.labels / 2) for k, v in splits.items()}
    numbers = dataclasses.replace(few, splits=floats)
    measured = reconstruction.open_test(model, numbers, seed=0, samples=200)
    assert "right" not in measured  # a label that is no class has no cluster
    grey = vectors(test)
    exact = -(grey * np.log(white) + (1 - grey) * np.log(1 - white)).sum(axis=1)
    np.testing.assert_allclose(measured["reconstruction_nats"], exact, rtol=1e-5)
    np.testing.assert_allclose(measured["bound"], exact + measured["kl"].sum(axis=1), rtol=1e-5)
    # The mean of p(code) / q(code) over codes from q is 1.
    np.testing.assert_allclose(measured["negative_log_likelihood"], exact, atol=0.2)


def test_importance_sampling_finds_the_likelihood_that_a_sum_over_all_codes_has(few):
    """One continuous latent, by quadrature, and one of three classes, both far from the prior."""
    keras.utils.set_random_seed(1)
    model = models.joint_vae((32, 32, 1), 1, discrete=(3,))
    model.compile("adam", losses.bernoulli)
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")
    for name, bias in (("z_mean", [1.2]), ("z_log_var", [0.0]), ("logits", [1.0, 0.0, -1.0])):
        encoder.get_layer(name).bias.assign(bias)
    first = decoder.layers[1]
    first.kernel.assign(20 * first.kernel)  # the code matters

    z, step = np.linspace(-6, 6, 121, retstep=True)
    codes = np.array([[x, *row] for row in np.eye(3) for x in z], np.float32)
    images = few.test.take(np.arange(2))[0]
    given = decoder.predict(codes, verbose=0)["reconstruction"]
    nats = np.array([losses.bernoulli(np.repeat(i[None], len(codes), 0), given) for i in images])
    log_prior = np.tile(stats.norm.logpdf(z), 3) + np.log(step / 3)
    exact = -special.logsumexp(log_prior - nats, axis=1)

    shown = dataclasses.replace(few, splits={**few.splits, "test": few.test.at(np.arange(2))})
    measured = reconstruction.open_test(model, shown, seed=0, samples=1000)
    assert (measured["kl"].sum(axis=1) > 0.8).all() and np.ptp(nats, axis=1).min() > 1
    # Without the weights it would be off by 0.46 to 0.69 nats.
    np.testing.assert_allclose(measured["negative_log_likelihood"], exact, atol=0.15)
    divergence = measured["bound"] - measured["reconstruction_nats"]
    np.testing.assert_allclose(divergence, measured["kl"].sum(axis=1), rtol=1e-4)
    assert (measured["bound"] > exact + 0.1).all()


def test_drawn_classes_are_distributed_as_the_encoder_says():
    kinds = models.Latents(1, (3,), True)
    probabilities = np.tile(np.array([0.5, 0.2, 0.3]), (20_000, 1))
    parts = {
        "z_mean": np.full((20_000, 1), 2.0),
        "z_log_var": np.full((20_000, 1), np.log(0.25)),
        "probabilities": probabilities,
    }
    code, log_ratio = reconstruction._draw(parts, kinds, np.random.default_rng(0))
    np.testing.assert_allclose(code[:, 1:].mean(axis=0), [0.5, 0.2, 0.3], atol=0.015)
    assert code[:, 0].mean() == pytest.approx(2, abs=0.02)
    assert code[:, 0].std() == pytest.approx(0.5, abs=0.02)
    # ln p(z) - ln q(z) + ln(1 / 3) - ln q(c), from SciPy
    z, c = code[:, 0], code[:, 1:].argmax(axis=1)
    expected = stats.norm.logpdf(z) - stats.norm.logpdf(z, 2, 0.5)
    expected += np.log(1 / 3) - np.log(probabilities[0][c])
    np.testing.assert_allclose(log_ratio, expected, atol=1e-4)


def test_a_latent_that_is_always_sure_of_one_class_tells_nothing():
    same = np.tile([1.0, 0.0, 0.0, 0.0], (8, 1))  # ln 4 from uniform
    each = np.eye(4)[np.arange(8) % 4]
    open_ = np.full((8, 4), 0.25)
    told = reconstruction.information([same, each, open_]).mean(axis=0)
    np.testing.assert_allclose(told, [0, np.log(4), 0], atol=1e-9)


def test_what_latents_tell_is_the_mutual_information():
    from sklearn.metrics import mutual_info_score

    random = np.random.default_rng(0)
    counts = random.integers(1, 50, (5, 3))  # of class j at image i, each image as often
    counts = np.round(600 * counts / counts.sum(axis=1, keepdims=True)).astype(int)
    counts[:, 0] += 600 - counts.sum(axis=1)
    told = reconstruction.information([counts / 600]).mean()
    assert told == pytest.approx(mutual_info_score(None, None, contingency=counts), abs=1e-9)


def test_the_distance_from_a_capacity_is_a_share_of_it():
    model = models.joint_vae(
        (32, 32, 1),
        2,
        discrete=(4,),
        continuous_capacity=(4.0, 10),
        discrete_capacity=(1.0, 10),
    )
    for name in ("continuous", "discrete"):
        model.get_layer(name).step.assign(10)
    # Together 3, 5 and 3.1 nats of continuous latents, 0.9, 1.3 and 0.8 of the discrete one.
    kl = np.array([[1.0, 2.0, 0.9], [2.0, 3.0, 1.3], [1.0, 2.1, 0.8]])
    result = reconstruction._divergences(kl, model)
    assert result["continuous_kl"]["value"] == pytest.approx(3.7)
    assert result["continuous_capacity"]["value"] == 4.0
    off = result["continuous_kl_off_capacity"]
    assert off["value"] == pytest.approx(0.3 / 4)
    assert off["low"] == 0.0  # the interval holds the capacity
    assert off["high"] == pytest.approx((4 - result["continuous_kl"]["low"]) / 4)
    far = reconstruction._divergences(kl + 10, model)["discrete_kl_off_capacity"]
    assert far["value"] == pytest.approx(10.0)
    assert 0 < far["low"] < far["value"] < far["high"]


def test_a_beta_vae_has_no_capacity_to_be_far_from():
    model = models.vae((32, 32, 1), 2)
    result = reconstruction._divergences(np.ones((5, 2)), model)
    assert list(result) == ["continuous_kl"] and result["continuous_kl"]["value"] == 2.0
    fixed = layers.KLRegularization(1.0, capacity=3.0)
    assert reconstruction._capacity(fixed) == 3.0


def test_what_is_learned_is_the_clean_image_itself(few):
    noisy = dataclasses.replace(few.train, targets=InputTargets(0.2))
    inputs, targets = next(iter(noisy.batches(8)))
    clean = few.train.take(np.arange(8))[0]
    np.testing.assert_array_equal(targets, clean)
    assert (inputs.numpy() != clean).mean() > 0.3
    again, _ = next(iter(noisy.batches(8)))
    np.testing.assert_array_equal(inputs, again)  # validation is the same each time
    x, y = noisy.take_pairs(np.arange(3))
    np.testing.assert_array_equal(x, y)


def test_training_noise_is_new_at_each_step_and_a_function_of_it(few):
    from kpipe.datasets import Augmentation
    from kpipe.training.batches import Schedule, training_batches

    noisy = dataclasses.replace(few.train, targets=InputTargets(0.2))
    schedule = Schedule(len(noisy), 25)
    flipped = Augmentation(flip=True)

    def read(step):
        batches = training_batches(noisy, schedule, flipped, 0, step, 2)
        return [tuple(part.numpy()[0] for part in pair) for pair in batches]

    whole, rest = read(0), read(5)
    for (x, y), (a, b) in zip(whole[5:], rest, strict=True):
        np.testing.assert_array_equal(x, a)
        np.testing.assert_array_equal(y, b)
    noise = [x.astype(int) - y for x, y in whole]
    assert all((abs(n) > 0).mean() > 0.3 for n in noise)
    for other in (1, 4):  # where both are black, cutting takes the same off both
        black = (whole[0][1] == 0) & (whole[other][1] == 0)
        assert (noise[0] != noise[other])[black].mean() > 0.3
    # The target is changed as its input is: it is one of the images, or its mirror image.
    images = few.train.take(np.arange(100))[0]
    known = {image.tobytes() for image in (*images, *images[:, :, ::-1])}
    assert all(y[i].tobytes() in known for _, y in whole for i in range(25))


def test_colours_become_grey_where_the_shape_asks_for_it():
    red = np.zeros((8, 8, 3), np.uint8) + np.array([200, 0, 0], np.uint8)
    grey = fit_image(tf.constant(red), (8, 8, 1)).numpy()
    assert grey.shape == (8, 8, 1) and abs(int(grey[0, 0, 0]) - 0.299 * 200) <= 1


def test_a_written_image_is_cut_to_what_eight_bits_hold():
    image = np.array([[[-0.5], [0.5]], [[1.0], [7.0]]], np.float32)
    back = tf.io.decode_png(encode_png(image)).numpy()
    assert back[..., 0].tolist() == [[0, 128], [255, 255]]
