"""Reconstruction: an autoencoder learns to reconstruct its input from a code.

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
from ..layers import KLRegularization
from ..measures import denoising, disentanglement
from ..measures import reconstruction as measures
from ..models import latents
from ..records import Metrics, Run
from ..report import Section
from . import _cases, _contract

HEADLINE = "psnr"
FIGURES = (
    figures.learning_curves,
    figures.reconstructions,
    figures.denoising,
    figures.traversals,
    figures.latent_kl,
    figures.code_scatter,
    figures.latent_grid,
    figures.discrete_code_by_class,
)
# Options that a pipeline can set as module variables, with their defaults.
OPTIONS = {"likelihood_samples": 0}
# For endpoints from image to image, a fortieth of a grey level: a steep decoder amplifies the last
# bits of a code, which depend on the batch size.
IMAGE_TOLERANCE = 1e-4


def metric_names(label_names: Sequence[str]) -> list[str]:
    """Returns the names of all metrics that `metrics` can contain; a variant has some of them."""
    errors = ["squared_error", "psnr", "ssim"]
    names = [*errors, *(f"svd_{name}" for name in errors)]
    names += ["train_squared_error", "svd_train_squared_error", "train_error_over_svd"]
    names += ["bound", "negative_log_likelihood", "reconstruction_nats", "discrete_information"]
    for part in ("continuous", "discrete"):
        names += [f"{part}_kl", f"{part}_capacity", f"{part}_kl_off_capacity"]
    names += ["unsupervised_accuracy", *disentanglement.NAMES]
    noise = [f"{name}_{kind}" for kind in denoising.KINDS for name in ("psnr", "ssim")]
    noise += ["psnr_gain", "psnr_above_filtered"]
    return names + [f"{name}/{level}" for name in noise for level in denoising.NOISE_LEVELS]


def check(model: keras.Model, data: Data) -> None:
    """Checks that model and data fit the task, before training.

    Raises:
        UserError: They do not fit; the message is one line and suggests a fix.
    """
    if not isinstance(data.input, ImageInput):
        raise UserError(
            f"{data.name} has {data.input.name} of shape {data.input_shape}; expected images, "
            "(height, width, channels): choose another dataset or task"
        )
    if not {"encoder", "decoder"} <= {layer.name for layer in model.layers}:
        raise UserError(
            f"{model.name} has no layers named encoder and decoder, which reconstruction needs; "
            "see models.autoencoder"
        )
    _check_parts(model)
    if not isinstance(data.targets, InputTargets):
        raise UserError(
            f"{model.name} reconstructs images, but {data.name} has labels as targets; call "
            "as_autoencoder_data() on the dataset in load_data"
        )
    if data.augmentation.flip_at_test:
        raise UserError(
            f"{data.name} has flip_at_test=True: a mean of two images is no reconstruction; leave "
            "it out of augmented() in load_data"
        )
    _contract.check_loss(model, data, _contract.dry_batch(model, data))


def _check_parts(model: keras.Model) -> None:
    """Checks the outputs and layers that measures and export use."""
    encoder = _part(model, "encoder", "code")
    _part(model, "decoder", "reconstruction")
    shape = encoder.output["code"].shape[1:]
    if len(shape) != 1:
        raise UserError(
            f"{model.name}: its encoder outputs codes of shape {_contract.per_example(shape)}; "
            "expected one axis: use keras.layers.Flatten()"
        )
    structure = latents(model)
    needed = ["probabilities"] if structure.discrete else []
    parts = []
    if structure.has_prior:
        needed += ["z_log_var", "kl"]
        parts = ["continuous", "discrete"] if structure.discrete else ["continuous"]
    for output in needed:
        if output not in encoder.output:
            raise UserError(
                f'{model.name}: its encoder has no output "{output}", which its latents need; see '
                "models.joint_vae"
            )
    regularized = {layer.name for layer in model.layers if isinstance(layer, KLRegularization)}
    for part in parts:
        if part not in regularized:
            raise UserError(
                f'{model.name} has an encoder with "z_mean", but no layer '
                f'KLRegularization(name="{part}"), which the measures of its latents need; see '
                "models.joint_vae"
            )


def _part(model: keras.Model, name: str, output: str) -> keras.Model:
    """Returns encoder or decoder: a model of one input, whose outputs are named."""
    part = model.get_layer(name)
    if len(_contract.inputs_of(part)) != 1:
        raise UserError(
            f"{model.name}: its {name} is {type(part).__name__}; expected a model of one input: "
            f'keras.Model(input, {{"{output}": ...}}, name="{name}")'
        )
    outputs = part.output if isinstance(part.output, dict) else {}
    if output not in outputs:
        raise UserError(
            f'{model.name}: its {name} has no output "{output}"; name it: '
            f'keras.Model(input, {{"{output}": ...}}, name="{name}")'
        )
    return part


def inference(model: keras.Model, data: Data) -> keras.Model:
    """Returns the trained model itself; its encoder and decoder are exported."""
    return model


def describe(model: keras.Model, likelihood_samples: int = 0) -> dict[str, Any]:
    """Returns the structure of the code, for the record."""
    structure = dataclasses.asdict(latents(model))
    return {"latents": structure, "likelihood_samples": likelihood_samples}


def measure(
    model: keras.Model, data: Data, seed: int, likelihood_samples: int = 0
) -> dict[str, np.ndarray]:
    """Opens the test split, see `measures.reconstruction.open_test`."""
    return measures.open_test(model, data, seed, likelihood_samples)


def baselines(model: keras.Model, data: Data) -> dict[str, np.ndarray]:
    """Fits a truncated SVD to train, see `measures.reconstruction.against_svd`."""
    return measures.against_svd(model, data)


def metrics(arrays: dict[str, np.ndarray], model: keras.Model, data: Data) -> Metrics:
    """Computes errors and, for a variational autoencoder, bound, divergences, disentanglement."""
    return measures.metrics_of(arrays, model, data)


def endpoints(model: keras.Model, data: Data, arrays: dict[str, np.ndarray]) -> Endpoints:
    """Builds the signatures; all are deterministic.

    `encode` takes `images` and returns the encoder's outputs, including `code`, float32 (n, size).
    `decode` takes such a `code` and returns `reconstruction`, float32 (n, height, width, channels).
    `reconstruct`, also named `serving_default`, takes `images` and returns both `reconstruction`
    and `code`; `serving_bytes` does the same for encoded files.
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
    """Builds the cases that the export must reproduce, and the mask of decided test examples.

    If two classes of a discrete latent are almost equally probable, its one-hot code depends on the
    last bit. In this case only the means are compared with the recorded ones; the image is compared
    with `decode` applied to the code that came with it, not with the recorded image.
    """
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")
    structure = latents(model)
    split, rows = _cases.golden_rows(data)
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
            cases.append(_whole(endpoint, given.named, whole, **about))
        if given.about:
            continue
        parts = [
            Comparison(name, values, rows=decided if name == "code" else None)
            for name, values in encoded.items()
        ]
        images = given.named[given.argument]
        cases.append(Case("encode", {"images": images}, parts, batches=given.batches))
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
    """Builds a case of an endpoint from image to image."""
    follows = {"reconstruction": ("decode", "code")}
    return Case(endpoint, given, expected, tolerance=IMAGE_TOLERANCE, follows=follows, **options)


def answer(outputs: dict[str, np.ndarray], i: int, names: tuple[str, ...]) -> tuple[str, dict]:
    """Returns the code of one example, in words and as JSON values."""
    code = outputs["code"][i]
    return " ".join(f"{x:.3f}" for x in code), {"code": list(map(float, code))}


def facts(run: Run) -> list[tuple[str, str]]:
    """Returns the likelihood, if it was estimated."""
    name = "negative_log_likelihood"
    if name not in run.metrics:
        return []
    estimate = formatting.measured(name, run.metrics[name])
    drawn = formatting.value(run.record.details.get("likelihood_samples"))
    return [("-ln p(image) by importance sampling", f"{estimate} nats, {drawn} codes per image")]


def alert(run: Run) -> str:
    """Returns "": an autoencoder is rarely trained to be nearer to its images than an SVD."""
    return ""


def sections(run: Run) -> list[Section]:
    """Returns the tables that compare the network with the truncated SVD, and noise levels."""
    return [_against_svd(run), _noise(run)]


def summary(run: Run) -> str:
    """Writes the result in a few lines."""
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
            text += f"{drawn} codes per image"
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
        lines.append(f"unsupervised accuracy {say('unsupervised_accuracy')}")
    if "mig" in metrics:
        names = {"mig": "MIG", "sap": "SAP", "factor_vae_score": "FactorVAE score"}
        lines.append(", ".join(f"{name} {say(key)}" for key, name in names.items()))
    return "\n".join(lines)


def _against_svd(run: Run) -> Section:
    head = ("", "squared error", "PSNR (dB)", "SSIM", "squared error on train")
    if "svd_squared_error" not in run.metrics:
        return Section("Comparison with the truncated SVD", head, [])
    names = ("squared_error", "psnr", "ssim", "train_squared_error")
    rows = [
        (who, *(formatting.measured(name, run.metrics[f"{prefix}{name}"]) for name in names))
        for who, prefix in (("the network", ""), ("truncated SVD", "svd_"))
    ]
    size = formatting.value(run.record.details["latents"]["continuous"])
    ratio = formatting.measured("train_error_over_svd", run.metrics["train_error_over_svd"])
    note = (
        f"Both encode an image in {size} numbers. The SVD is the best linear encoding: on train "
        f"the network's squared error is {ratio} times the SVD's."
    )
    shown = {f"{prefix}{name}" for name in names for prefix in ("", "svd_")}
    shown.add("train_error_over_svd")
    return Section("Comparison with the truncated SVD", head, rows, note, metrics=frozenset(shown))


def _noise(run: Run) -> Section:
    """Writes the table of noisy images before and after the network, by noise level."""
    columns = {
        "psnr_noisy": "PSNR before (dB)",
        "psnr_denoised": "after",
        "psnr_gain": "gain",
        "psnr_filtered": "Wiener filter",
        "psnr_above_filtered": "network minus filter",
        "ssim_noisy": "SSIM before",
        "ssim_denoised": "after",
        "ssim_filtered": "Wiener filter",
    }
    levels = [name.partition("/")[2] for name in run.metrics if name.startswith("psnr_gain/")]
    # Runs made before there was a filter have no results of it.
    names = [name for name in columns if any(f"{name}/{level}" in run.metrics for level in levels)]
    rows = [
        (level, *(formatting.measured(n, run.metrics[f"{n}/{level}"]) for n in names))
        for level in levels
    ]
    note = (
        "Standard deviation of the noise as a share of white; means over the test split. The "
        "filter is told the noise, the network is not."
    )
    shown = frozenset(f"{name}/{level}" for name in names for level in levels)
    head = ("noise", *(columns[name] for name in names))
    return Section("Noise", head, rows, note, metrics=shown)
