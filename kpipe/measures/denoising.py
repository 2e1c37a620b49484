"""Denoising at several levels, by a network and by a filter that needs no training."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from ..data import Split
from ..inputs.images import add_noise
from .intervals import interval_of_mean

NOISE_LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
KINDS = ("noisy", "denoised", "filtered")
WINDOWS = (3, 5, 7)  # pixels, of which the best on train is used at each level
CHOOSING = 500  # train images that choose it
BATCH = 256


def denoise(
    reconstruct: Callable[[np.ndarray], np.ndarray], train: Split, test: Split, seed: int
) -> dict[str, np.ndarray]:
    """Computes PSNR and SSIM before and after denoising, at each noise level.

    Args:
        reconstruct: Function from uint8 images to reconstructions, 0 to 1.
        train: Images that choose the window of the filter.
        test: Images to denoise, n of them.
        seed: Random seed of the noise.

    Returns:
        `psnr_KIND` in dB and `ssim_KIND`, float32 (n, noise levels), of the images "noisy",
        "denoised" by the network, and "filtered", see `wiener`.
    """
    columns: dict[str, list] = {f"{m}_{kind}": [] for kind in KINDS for m in ("psnr", "ssim")}
    for i, level in enumerate(NOISE_LEVELS):
        window = _best_window(train, level)
        parts: dict[str, list] = {name: [] for name in columns}
        for positions in batches(len(test)):
            images = test.take(positions)[0]
            noisy = add_noise(images, level, (seed + int(positions[0]), i)).numpy()
            given = (noisy / 255, reconstruct(noisy), wiener(noisy, level, window))
            for kind, values in zip(KINDS, given, strict=True):
                psnr, ssim = similarity(images, values)
                parts[f"psnr_{kind}"].append(psnr)
                parts[f"ssim_{kind}"].append(ssim)
        for name, values in parts.items():
            columns[name].append(np.concatenate(values))
    return {name: np.stack(values, axis=1) for name, values in columns.items()}


def wiener(noisy: np.ndarray, level: float, window: int) -> np.ndarray:
    """Denoises images by the adaptive Wiener filter (Lim, 1990, section 9.2), SciPy's.

    Where the pixels around one vary more than the noise, it is kept; elsewhere it becomes their
    mean. It is told the level of the noise, which a network has to find.

    Args:
        noisy: uint8 (n, height, width, channels).
        level: Standard deviation of the noise as a fraction of full white, above 0.
        window: Pixels on a side of what is around a pixel, odd; beyond its border an image is
            mirrored.

    Returns:
        float64, of the same shape.

    Example:
        wiener(np.full((1, 8, 8, 1), 128, np.uint8), 0.1, 3)[0, 4, 4]  # [0.502]
    """
    from scipy.signal import wiener as filtered  # takes half a second to import

    # SciPy takes what is outside of an image for black, which varies much more than the noise.
    around = window // 2
    sides = ((0, 0), (around, around), (around, around), (0, 0))
    padded = np.pad(noisy, sides, "reflect")
    # A region of one value has no variance, and SciPy divides by it before it is not used.
    with np.errstate(divide="ignore", invalid="ignore"):
        values = filtered(padded / 255, (1, window, window, 1), noise=level**2)
    return values[:, around:-around, around:-around]


def _best_window(train: Split, level: float) -> int:
    """Returns the window with the highest PSNR on some train images."""
    positions = np.linspace(0, len(train) - 1, min(CHOOSING, len(train))).astype(int)
    images = train.take(positions)[0]
    noisy = add_noise(images, level, (-1, 0)).numpy()
    return max(WINDOWS, key=lambda size: similarity(images, wiener(noisy, level, size))[0].mean())


def similarity(images: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes PSNR in dB and SSIM (Wang et al., 2004) of images clipped to 0..1.

    The window of SSIM is 11x11 pixels, or as large as a smaller image's shorter side.

    Args:
        images: uint8 (n, height, width, channels).
        given: float (n, height, width, channels), what is compared with them.
    """
    clean = (images / 255).astype(np.float32)
    given = np.clip(given, 0, 1).astype(np.float32)
    # A perfect image has infinite PSNR; 8 bits cannot represent more than 100 dB.
    psnr = np.minimum(tf.image.psnr(clean, given, max_val=1.0).numpy(), 100.0)
    window = min(11, *images.shape[1:3])
    return psnr, tf.image.ssim(clean, given, max_val=1.0, filter_size=window).numpy()


def denoising_metrics(measured: dict[str, np.ndarray]) -> dict[str, dict]:
    """Computes the mean of each level, and the gains, with normal 95 % intervals.

    Args:
        measured: Result of `denoise`; of earlier runs it lacks what is "filtered".
    """
    result: dict[str, dict] = {}
    for i, level in enumerate(NOISE_LEVELS):
        for kind in KINDS:
            for name in (f"psnr_{kind}", f"ssim_{kind}"):
                if name in measured:
                    result[f"{name}/{level}"] = interval_of_mean(measured[name][:, i])
        denoised = measured["psnr_denoised"][:, i]
        gain = denoised - measured["psnr_noisy"][:, i]
        result[f"psnr_gain/{level}"] = interval_of_mean(gain)
        if "psnr_filtered" in measured:
            above = denoised - measured["psnr_filtered"][:, i]
            result[f"psnr_above_filtered/{level}"] = interval_of_mean(above)
    return result


def batches(count: int) -> list[np.ndarray]:
    """Returns the positions of so many images, in order, divided into batches."""
    return np.split(np.arange(count), range(BATCH, count, BATCH))
