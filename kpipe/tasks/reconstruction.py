"""Reconstruction: a network whose decoder makes an image from the code of its encoder."""

from .. import figures, formatting
from ..report import Section
from ..runs import Run

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
