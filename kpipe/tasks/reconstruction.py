"""Reconstruction: an autoencoder learns its input itself, through a code.

The model has the layers "encoder", from images to {"code": ...}, and "decoder", from a code to
{"reconstruction": ...}; see `models.autoencoder`, `models.vae` and `models.joint_vae`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .. import figures, formatting
from ..data import Data
from ..errors import UserError
from ..export import TEST, Case, Comparison, Endpoints
from ..inputs import ImageInput, InputTargets
from ..measures import disentanglement
from ..measures import reconstruction as measures
from ..models import latents
from ..report import Section
from ..runs import Metrics, Run
from . import _contract

HEADLINE = "psnr"
FIGURES = (
    figures.learning_curves,
    figures.reconstructions,
    figures.denoising,
    figures.traversals,
    figures.latent_kl,
    figures.code_scatter,
    figures.decoded_plane,
    figures.discrete_code_by_class,
)
# What a pipeline can say beside its functions.
OPTIONS = {"likelihood_samples": 0}
# Of an image from an image, a fortieth of a grey level: the last bits of a code, which depend on
# the size of a batch, are enlarged by a steep decoder.
IMAGE_TOLERANCE = 1e-4


def metric_names(label_names: Sequence[str]) -> list[str]:
    """What `metrics` may contain: the names that a target may have; a variant has some of them."""
    errors = ["squared_error", "psnr", "ssim"]
    names = [*errors, *(f"svd_{name}" for name in errors)]
    names += ["train_squared_error", "svd_train_squared_error", "train_error_over_svd"]
    names += ["bound", "negative_log_likelihood", "reconstruction_nats", "discrete_information"]
    for part in ("continuous", "discrete"):
        names += [f"{part}_kl", f"{part}_capacity", f"{part}_kl_off_capacity"]
    names += ["unsupervised_accuracy", *disentanglement.NAMES]
    noise = ("psnr_noisy", "psnr_denoised", "psnr_gain", "ssim_noisy", "ssim_denoised")
    return names + [f"{name}/{level}" for name in noise for level in measures.NOISE_LEVELS]


def check(model: keras.Model, data: Data) -> None:
    """Model and data agree, before any work.

    Raises:
        UserError: They do not; one line says what to do.
    """
    if not isinstance(data.input, ImageInput):
        raise UserError(
            f"{data.name} has {data.input.name} of shape {data.input_shape}; expected images to be "
            "reconstructed"
        )
    if not {"encoder", "decoder"} <= {layer.name for layer in model.layers}:
        raise UserError(
            f"{model.name} has no layers named encoder and decoder, which reconstruction needs: "
            "see models.autoencoder"
        )
    if not isinstance(data.targets, InputTargets):
        raise UserError(
            f"{model.name} reconstructs images, and {data.name} has labels as targets: call "
            "as_autoencoder_data() where load_data names the dataset"
        )
    _contract.check_loss(model, data, _contract.dry_batch(model, data))


def inference(model: keras.Model, data: Data) -> keras.Model:
    """The trained model itself: its encoder and decoder are what is exported."""
    return model


def describe(model: keras.Model, likelihood_samples: int = 0) -> dict[str, Any]:
    """What the record says of the code."""
    structure = dataclasses.asdict(latents(model))
    return {"latents": structure, "likelihood_samples": likelihood_samples}


def measure(
    model: keras.Model, data: Data, seed: int, likelihood_samples: int = 0
) -> dict[str, np.ndarray]:
    """Opens the test split, see `measures.reconstruction.open_test`."""
    return measures.open_test(model, data, seed, likelihood_samples)


def metrics(arrays: dict[str, np.ndarray], model: keras.Model, data: Data) -> Metrics:
    """Errors, and of a variational autoencoder bound, divergences and disentanglement."""
    return measures.metrics_of(arrays, model, data)


def endpoints(model: keras.Model, data: Data) -> Endpoints:
    """Signatures, all deterministic.

    `encode` takes `images` and gives what the encoder does, among it `code`, float32 (n, size).
    `decode` takes such a `code` and gives `reconstruction`, float32 (n, height, width, channels).
    `reconstruct`, which is `serving_default` as well, takes `images` and gives both;
    `serving_bytes` does so from files.
    """
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")

    def encode(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return encoder(images, training=False)

    def decode(code: tf.Tensor) -> dict[str, tf.Tensor]:
        return decoder(code, training=False)

    def reconstruct(images: tf.Tensor) -> dict[str, tf.Tensor]:
        code = encode(images)["code"]
        return {**decode(code), "code": code}

    images = tf.TensorSpec((None, *encoder.inputs[0].shape[1:]), tf.uint8, name="images")
    code = tf.TensorSpec((None, *decoder.inputs[0].shape[1:]), tf.float32, name="code")
    signatures, resources = data.input.endpoints(reconstruct, images)
    signatures |= {
        "encode": (encode, images),
        "decode": (decode, code),
        "reconstruct": (reconstruct, images),
    }
    return Endpoints(signatures, [encoder, decoder, *resources], data.input.assets)


def golden(
    model: keras.Model, data: Data, arrays: dict[str, np.ndarray]
) -> tuple[list[Case], np.ndarray]:
    """Cases that the export must reproduce, and which test examples are decided.

    Where two classes of a discrete latent are as good as equally probable, its one-hot code depends
    on the last bit. There the means are compared, and the image with what `decode` makes of the
    code beside it, in place of the code and the image that were noted.
    """
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")
    structure = latents(model)
    split, rows = _contract.golden_rows(data)
    cases = []
    for given in data.input.golden(split.column, rows, "images"):  # type: ignore[arg-type]
        encoded = encoder.predict(given.inputs, verbose=0)
        image = decoder.predict(encoded["code"], verbose=0)["reconstruction"]
        decided = structure.is_decided(encoded)
        whole = [
            Comparison("code", encoded["code"], rows=decided),
            Comparison("code", encoded["code"], columns=structure.continuous),
            Comparison("reconstruction", image, rows=decided),
        ]
        about = {"batches": given.batches, "about": given.about}
        for endpoint in dict.fromkeys((given.endpoint, "reconstruct")):
            if given.about and endpoint != given.endpoint:
                continue
            cases.append(_whole(endpoint, {given.argument: given.values}, whole, **about))
        if given.about:
            continue
        parts = [
            Comparison(name, values, rows=decided if name == "code" else None)
            for name, values in encoded.items()
        ]
        cases.append(Case("encode", {"images": given.values}, parts, batches=given.batches))
        cases.append(
            Case(
                "decode",
                {"code": encoded["code"]},
                [Comparison("reconstruction", image)],
                batches=given.batches,
            )
        )
    codes = [
        Comparison("code", "code", rows="certain"),
        Comparison("code", "code", columns=structure.continuous),
    ]
    cases += [
        Case("encode", {"images": TEST}, codes[:1], complete=False),
        _whole("reconstruct", {"images": TEST}, codes, complete=False),
        Case(
            "decode",
            {"code": "code"},
            [Comparison("reconstruction", "squared_error", error=TEST)],
        ),
    ]
    return cases, arrays["certain"]


def _whole(endpoint: str, given: dict, expected: list[Comparison], **options: Any) -> Case:
    """A case of an endpoint from image to image."""
    follows = {"reconstruction": ("decode", "code")}
    return Case(endpoint, given, expected, tolerance=IMAGE_TOLERANCE, follows=follows, **options)


def answer(outputs: dict[str, np.ndarray], i: int, names: tuple[str, ...]) -> tuple[str, dict]:
    """The code of one example, in words and as JSON values."""
    code = outputs["code"][i]
    return " ".join(f"{x:.3f}" for x in code), {"code": list(map(float, code))}


def facts(run: Run) -> list[tuple[str, str]]:
    """The likelihood, where it was estimated."""
    name = "negative_log_likelihood"
    if name not in run.metrics:
        return []
    estimate = formatting.measured(name, run.metrics[name])
    drawn = formatting.value(run.record.details.get("likelihood_samples"))
    return [("-ln p(image) by importance sampling", f"{estimate} nats, {drawn} codes an image")]


def sections(run: Run) -> list[Section]:
    """The truncated SVD beside the network, and noisy images before and after it."""
    return [_against_svd(run), _noise(run)]


def summary(run: Run) -> str:
    """The result in a few lines."""
    metrics = run.metrics

    def say(name: str) -> str:
        return formatting.measured(name, metrics[name])

    lines = [
        f"test images reconstructed with squared error {say('squared_error')}, "
        f"PSNR {say('psnr')} dB, SSIM {say('ssim')}, n = {metrics['psnr']['n']:,}"
    ]
    if "svd_squared_error" in metrics:
        lines.append(
            f"truncated SVD with as many components: squared error {say('svd_squared_error')}, "
            f"PSNR {say('svd_psnr')} dB; on train the network's error is "
            f"{say('train_error_over_svd')} times the SVD's"
        )
    if "bound" in metrics:
        text = f"-ln p(image) is at most {say('bound')} nats"
        if "negative_log_likelihood" in metrics:
            drawn = formatting.value(run.record.details.get("likelihood_samples"))
            text += f", and about {say('negative_log_likelihood')} by importance sampling with "
            text += f"{drawn} codes an image"
        lines.append(text)
    for part in ("continuous", "discrete"):
        if f"{part}_kl" in metrics:
            text = f"KL of the {part} latents {say(f'{part}_kl')} nats"
            if f"{part}_capacity" in metrics:
                text += f", capacity {formatting.short(metrics[f'{part}_capacity']['value'])}"
            if part == "discrete":
                most = "at most " if len(run.record.details["latents"]["discrete"]) > 1 else ""
                text += f"; {most}{say('discrete_information')} of them are information about the "
                text += "image"
            lines.append(text)
    if "unsupervised_accuracy" in metrics:
        lines.append(f"classes found without labels: accuracy {say('unsupervised_accuracy')}")
    if "mig" in metrics:
        names = {"mig": "MIG", "sap": "SAP", "factor_vae_score": "FactorVAE score"}
        lines.append(", ".join(f"{name} {say(key)}" for key, name in names.items()))
    return "\n".join(lines)


def _against_svd(run: Run) -> Section:
    head = ("", "squared error", "PSNR (dB)", "SSIM", "squared error on train")
    if "svd_squared_error" not in run.metrics:
        return Section("Against the truncated SVD", head, [])
    names = ("squared_error", "psnr", "ssim", "train_squared_error")
    rows = [
        (who, *(formatting.measured(name, run.metrics[f"{prefix}{name}"]) for name in names))
        for who, prefix in (("the network", ""), ("truncated SVD", "svd_"))
    ]
    size = formatting.value(run.record.details["latents"]["continuous"])
    ratio = formatting.measured("train_error_over_svd", run.metrics["train_error_over_svd"])
    note = (
        f"Both keep {size} numbers of an image. The SVD is the best linear map that does so: on "
        f"train the network's squared error is {ratio} times the SVD's."
    )
    shown = {f"{prefix}{name}" for name in names for prefix in ("", "svd_")}
    shown.add("train_error_over_svd")
    return Section("Against the truncated SVD", head, rows, note, metrics=frozenset(shown))


def _noise(run: Run) -> Section:
    """Noisy images before and after the network, by level."""
    names = ("psnr_noisy", "psnr_denoised", "psnr_gain", "ssim_noisy", "ssim_denoised")
    levels = [name.partition("/")[2] for name in run.metrics if name.startswith("psnr_gain/")]
    rows = [
        (level, *(formatting.measured(n, run.metrics[f"{n}/{level}"]) for n in names))
        for level in levels
    ]
    head = ("noise", "PSNR before (dB)", "after", "gain", "SSIM before", "after")
    note = "Standard deviation of the noise as a share of white; means over the test split."
    shown = frozenset(f"{name}/{level}" for name in names for level in levels)
    return Section("Noise", head, rows, note, metrics=shown)
