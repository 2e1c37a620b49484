"""Measures of autoencoders: reconstruction error, denoising, likelihood, information of codes."""

import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from scipy import special

from ..data import Data, Split
from ..errors import first_line
from ..layers import KLRegularization
from ..losses import bernoulli, bernoulli_mean_of_channels
from ..measures import disentanglement
from ..models import Latents, latents
from .denoising import batches, denoise, denoising_metrics, similarity
from .intervals import interval_of_mean, proportion, ratio_of_means

# Codes drawn per image for the bound; an estimate of the likelihood has its own number.
BOUND_SAMPLES = 4
# Draws by which measures of disentanglement are repeated; with 40 factors a draw takes minutes.
SEEDS, FEWER_SEEDS, MANY_FACTORS = 5, 2, 10
SVD_VALUES = 500_000_000  # maximum train image values to decompose: 2 GB of float32
SHOWN = 10  # test images whose reconstruction by the baseline is kept for a figure


def open_test(model: keras.Model, data: Data, seed: int, samples: int = 0) -> dict:
    """Measures everything on the test split, one number or row per image.

    Args:
        model: A model like those of `models.autoencoder`, `models.vae`, `models.joint_vae`.
        data: The data; the test split is opened.
        seed: Random seed of noise and drawn codes.
        samples: Codes drawn per image to estimate its likelihood; 0 for no estimate.

    Returns:
        `index`, `label`, `code` and `certain` (see `Latents.is_decided`), `squared_error`, `psnr`
        in dB and `ssim` of the reconstruction. For a variational autoencoder also, all in nats,
        `kl` (n, latents); with discrete latents `information` (n, discrete latents); if it was
        trained on a likelihood `reconstruction_nats`, `bound` and, with `samples`,
        `negative_log_likelihood`. For other autoencoders also the arrays of `denoising.denoise`.
        With discrete latents and classes as
        labels also `right`: whether an image has the most frequent class of its cluster.
    """
    kinds, test = latents(model), data.test
    encoded = encode(model, test)
    measured = _measure(test, _decode(model, encoded["code"]))
    result = {
        "index": test.rows,
        "label": test.labels[test.rows],
        "code": encoded["code"],
        "certain": kinds.is_decided(encoded),
        **measured,
    }
    if kinds.has_prior:
        result["kl"] = encoded["kl"]
        if kinds.discrete:
            result["information"] = information(kinds.blocks(encoded["probabilities"]))
        if model.loss in (bernoulli, bernoulli_mean_of_channels):
            result |= _likelihood(model, kinds, test, encoded, seed, samples)
    else:
        result |= denoise(_reconstructor(model), data.train, test, seed)
    if kinds.discrete and test.labels.ndim == 1 and test.labels.dtype.kind == "i":
        train = data.train
        result["right"] = disentanglement.cluster_hits(
            kinds.classes(encoded["code"]),
            result["label"],
            fit_clusters=kinds.classes(encode(model, train)["code"]),
            fit_labels=train.labels[train.rows],
        )
    return result


def encode(model: keras.Model, split: Split) -> dict[str, np.ndarray]:
    """Returns the encoder's outputs for all images of a split, without noise."""
    encoder = _function(model.get_layer("encoder"))
    parts = [encoder(split.take(positions)[0]) for positions in batches(len(split))]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def information(blocks: list[np.ndarray]) -> np.ndarray:
    """Information of each discrete latent about an image in nats; the mean is mutual information.

    It is the KL divergence of the image's class probabilities from their mean over all images. The
    divergence from the uniform distribution exceeds it by the divergence of that mean: it is large,
    while the information is 0, if a latent has the same certain class for every image (Hoffman and
    Johnson, 2016).

    Args:
        blocks: Probabilities of each latent's classes, (n, classes).

    Returns:
        float (n, latents).
    """
    columns = []
    for block in blocks:
        block = np.clip(block.astype(np.float64), 1e-12, 1.0)
        columns.append(np.sum(block * np.log(block / block.mean(axis=0)), axis=1))
    return np.stack(columns, axis=1)


def metrics_of(measured: dict, model: keras.Model, data: Data) -> dict[str, dict]:
    """Computes every metric as {"value", "low", "high", "n"}, means with normal 95 % intervals.

    Args:
        measured: Result of `open_test`.
        model: The trained network; divergences are compared with its capacities.
        data: The data that `measured` was computed on.
    """
    result = {}
    for name in ("bound", "negative_log_likelihood", "reconstruction_nats"):
        if name in measured:
            result[name] = interval_of_mean(measured[name])
    if "right" in measured:
        result["unsupervised_accuracy"] = proportion(
            measured["right"].sum(), len(measured["right"])
        )
    for name in ("squared_error", "psnr", "ssim"):
        result[name] = interval_of_mean(measured[name])
    if "kl" in measured:
        result |= _divergences(measured["kl"], model)
    if "information" in measured:
        result["discrete_information"] = interval_of_mean(measured["information"].sum(axis=1))
    if "svd_squared_error" in measured:
        for name in ("squared_error", "psnr", "ssim"):
            result[f"svd_{name}"] = interval_of_mean(measured[f"svd_{name}"])
        train, baseline = measured["train_squared_error"], measured["svd_train_squared_error"]
        result["train_squared_error"] = interval_of_mean(train)
        result["svd_train_squared_error"] = interval_of_mean(baseline)
        result["train_error_over_svd"] = ratio_of_means(train, baseline)
    if "psnr_noisy" in measured:
        result |= denoising_metrics(measured)
    if data.has_factors:
        kinds = latents(model)
        codes = disentanglement.Codes(
            measured["code"][:, : kinds.continuous], kinds.classes(measured["code"])
        )
        seeds = SEEDS if data.train.labels.shape[1] <= MANY_FACTORS else FEWER_SEEDS
        try:
            result |= disentanglement.scores(codes, measured["label"], seeds=seeds)
        except ValueError as error:  # too few test images
            print(f"no measures of disentanglement: {first_line(error)}", flush=True)
    return result


def _divergences(kl: np.ndarray, model: keras.Model) -> dict[str, dict]:
    """Computes the KL of continuous and discrete latents, and its distance from the capacity."""
    continuous = latents(model).continuous
    parts = {"continuous": kl[:, :continuous], "discrete": kl[:, continuous:]}
    result = {}
    for name, columns in parts.items():
        if not columns.shape[1]:
            continue
        entry = result[f"{name}_kl"] = interval_of_mean(columns.sum(axis=1))
        capacity = _capacity(model.get_layer(name))
        if not capacity:
            continue
        result[f"{name}_capacity"] = {"value": capacity, "low": None, "high": None, "n": entry["n"]}
        value, low, high = (abs(entry[key] - capacity) for key in ("value", "low", "high"))
        inside = entry["low"] <= capacity <= entry["high"]
        result[f"{name}_kl_off_capacity"] = {
            "value": value / capacity,
            "low": 0.0 if inside else min(low, high) / capacity,
            "high": max(low, high) / capacity,
            "n": entry["n"],
        }
    return result


def _capacity(layer: KLRegularization) -> float | None:
    """Returns the capacity at the training step of the weights."""
    if layer.capacity is None or isinstance(layer.capacity, (int, float)):
        return layer.capacity
    return float(layer.capacity(layer.step))


def _decode(model: keras.Model, code: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from positions to reconstructions, so that not all are in memory."""
    decoder = _function(model.get_layer("decoder"))
    return lambda positions: decoder(code[positions])["reconstruction"].numpy()


def _function(model: keras.Model) -> Callable:
    """Returns a model in inference mode as one graph for batches of any size."""
    (given,) = model.inputs
    signature = [tf.TensorSpec((None, *given.shape[1:]), given.dtype)]
    return tf.function(lambda batch: model(batch, training=False), input_signature=signature)


def _reconstructor(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function from images to reconstructions, without the layers for training only."""
    encoder, decoder = (_function(model.get_layer(name)) for name in ("encoder", "decoder"))
    return lambda images: decoder(encoder(images)["code"])["reconstruction"].numpy()


def _measure(
    split: Split, reconstruct: Callable[[np.ndarray], np.ndarray], prefix: str = ""
) -> dict:
    """Computes squared error, PSNR and SSIM of each image's reconstruction."""
    parts = []
    for positions in batches(len(split)):
        images, given = split.take(positions)[0], reconstruct(positions)
        error = np.mean(np.square(images / 255 - given), axis=(1, 2, 3))
        parts.append((error.astype(np.float32), *similarity(images, given)))
    names = ("squared_error", "psnr", "ssim")
    columns = map(np.concatenate, zip(*parts, strict=True))
    return {f"{prefix}{name}": values for name, values in zip(names, columns, strict=True)}


def against_svd(model: keras.Model, data: Data) -> dict[str, np.ndarray]:
    """Computes errors of a truncated SVD of the train images, with as many components as the code.

    Returns:
        The errors on the test split, prefixed by `svd_`, and those of both on train. {} for a
        variational autoencoder, and if there is nothing to truncate.
    """
    train, pixels, size = data.train, math.prod(data.input_shape), latents(model).size
    if latents(model).has_prior or size >= min(len(train), pixels):  # no truncation, hence no error
        return {}
    from sklearn.decomposition import TruncatedSVD

    if len(train) * pixels > SVD_VALUES:
        print(f"not compared with a truncated SVD: {len(train):,} images are too many", flush=True)
        return {}
    print(f"fitting a truncated SVD with {size} components as a baseline", flush=True)
    vectors = train.take(np.arange(len(train)))[0].reshape(-1, pixels).astype(np.float32)
    vectors /= 255
    # arpack: the randomized solver's error is above the optimum, so that a network could beat it.
    svd = TruncatedSVD(size, algorithm="arpack", random_state=0).fit(vectors)
    del vectors
    components = svd.components_.astype(np.float32)

    def reconstructor(split: Split) -> Callable[[np.ndarray], np.ndarray]:
        def reconstruct(positions: np.ndarray) -> np.ndarray:
            images = split.take(positions)[0]
            vectors = images.reshape(-1, pixels).astype(np.float32) / 255
            return (vectors @ components.T @ components).reshape(images.shape)

        return reconstruct

    network = _reconstructor(model)
    return {
        **_measure(data.test, reconstructor(data.test), "svd_"),
        "svd_shown": reconstructor(data.test)(np.arange(min(SHOWN, len(data.test)))),
        "train_squared_error": _squared_errors(
            train, lambda positions: network(train.take(positions)[0])
        ),
        "svd_train_squared_error": _squared_errors(train, reconstructor(train)),
    }


def _squared_errors(split: Split, reconstruct: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.concatenate(
        [
            np.mean(np.square(split.take(positions)[0] / 255 - reconstruct(positions)), (1, 2, 3))
            for positions in batches(len(split))
        ]
    ).astype(np.float32)


def _likelihood(
    model: keras.Model, kinds: Latents, test: Split, encoded: dict, seed: int, samples: int
) -> dict[str, np.ndarray]:
    """Computes the bound on -ln p(x) and, with `samples`, its importance-sampled estimate.

    -ln p(x) is at most E[-ln p(x|code)] + KL (Kingma and Welling, 2014, equation 3), and about
    -ln mean(p(x|code) p(code) / q(code|x)) over codes drawn from q, which in expectation does not
    exceed that bound (Burda et al., 2016, equation 8).
    """
    decoder, rng = _function(model.get_layer("decoder")), np.random.default_rng(seed)
    draws = max(samples, BOUND_SAMPLES)
    nats, estimates = [], []
    for positions in batches(len(test)):
        images = test.take(positions)[0]
        parts = {name: values[positions] for name, values in encoded.items()}
        cross, weights = [], []
        for _ in range(draws):
            code, log_ratio = _draw(parts, kinds, rng)
            given = decoder(code)["reconstruction"]
            cross.append(np.asarray(bernoulli(images, given), np.float64))
            weights.append(log_ratio - cross[-1])
        nats.append(np.mean(cross, axis=0))
        estimates.append(math.log(draws) - special.logsumexp(weights, axis=0))
    reconstruction = np.concatenate(nats)
    bound = reconstruction + encoded["kl"].sum(axis=1)
    result = {"reconstruction_nats": reconstruction, "bound": bound}
    return result | ({"negative_log_likelihood": np.concatenate(estimates)} if samples else {})


def _draw(parts: dict, kinds: Latents, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draws a code for each image; returns it with ln p(code) - ln q(code|x)."""
    mean, log_var = parts["z_mean"], parts["z_log_var"].astype(np.float64)
    noise = rng.standard_normal(mean.shape)
    z = mean + np.exp(0.5 * log_var) * noise
    log_ratio = 0.5 * np.sum(np.square(noise) + log_var - np.square(z), axis=1)
    code = [z]
    for block in kinds.blocks(parts["probabilities"]) if kinds.discrete else []:
        cumulated = np.cumsum(block, axis=1)
        drawn = rng.random((len(block), 1)) * cumulated[:, -1:]
        chosen = np.minimum((cumulated <= drawn).sum(axis=1), block.shape[1] - 1)
        log_ratio -= np.log(block.shape[1] * block[np.arange(len(block)), chosen].astype(float))
        code.append(np.eye(block.shape[1])[chosen])
    return np.concatenate(code, axis=1).astype(np.float32), log_ratio
