"""Attributions by gradients: integrated gradients, and Grad-CAM."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ..errors import UserError
from .network import Network

# Numbers of points on the way from the baseline; more follow if the sum is not yet exact.
STEPS = (16, 64, 256)
# Largest error of the sum: a share of the difference that it should be, and of the larger score.
TOLERANCE, SMALL = 0.01, 0.001


class Integrated(NamedTuple):
    """Integrated gradients of one example.

    Attributes:
        effects: float (places, ...): height and width of an image, words, or numbers.
        score: The output for the example.
        baseline_score: The output for the baseline. `effects` sum to the difference of both, but
            for the error of the sum over steps.
    """

    effects: np.ndarray
    score: float
    baseline_score: float


def integrated_gradients(
    network: Network,
    inputs: np.ndarray,
    baseline: np.ndarray,
    column: int,
    places: int,
    steps: Sequence[int] = STEPS,
) -> Integrated:
    """Attributes an output to parts of an input (Sundararajan et al., 2017).

    The gradient is averaged on the straight line from the baseline to the input, at the points of
    Gauss and Legendre's rule, and multiplied by the difference of both.

    Args:
        network: The network.
        inputs: One example, (1, ...).
        baseline: What contains nothing, of the same shape.
        column: Which value of the output.
        places: Number of leading axes of an example that are kept: 2 for an image, 1 for words.
        steps: Numbers of points, of which the next is used if the sum is not exact.

    Raises:
        UserError: What the output is computed from does not belong to a place of the input.
    """
    names = network.first_floats
    ends = network.values_at(inputs, names)
    starts = network.values_at(baseline, names)
    differences = [end - start for end, start in zip(ends, starts, strict=True)]
    moved = [i for i, difference in enumerate(differences) if difference.any()]
    shape = inputs.shape[1 : 1 + places]
    for i in moved:
        if differences[i].size % max(1, np.prod(shape)):
            raise UserError(f"{names[i]}: not one value for each part of the input")
    score, first = (float(network.score(x)[0, column]) for x in (inputs, baseline))
    effects = np.zeros(shape)
    for count in steps:
        nodes, weights = _gauss_legendre(count)
        path = [
            start + nodes.reshape(-1, *(1 for _ in start.shape[1:])) * difference
            for start, difference in zip(starts, differences, strict=True)
        ]
        path = [some.astype(np.float32) for some in path]
        _, slopes = network.gradients(inputs, names, path, column)
        effects = np.zeros(shape)
        for i in moved:
            mean = np.tensordot(weights, slopes[i].astype(np.float64), axes=1)
            effects += (mean * differences[i][0]).reshape(*shape, -1).sum(axis=-1)
        error = abs(effects.sum() - (score - first))
        if error <= TOLERANCE * abs(score - first) + SMALL * max(abs(score), abs(first)):
            break
    return Integrated(effects, score, first)


def _gauss_legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns points between 0 and 1, and their weights, whose sum is 1."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2


def can_integrate(network: Network, places: int) -> bool:
    """Whether `integrated_gradients` can be computed.

    All operations have a gradient, and the floats of an image have its size.
    """
    names = network.first_floats
    if not names or not network.can_differentiate(names):
        return False
    size = network.shape[:places]
    return places < 2 or all(_has_size(network.shape_of(name), size) for name in names)


def can_localize(network: Network) -> bool:
    """Whether `grad_cam` can be computed: there is a convolution, and a gradient behind it."""
    name = network.last_features
    return name is not None and network.can_differentiate([name])


def _has_size(shape: tuple[int | None, ...], size: tuple[int | None, ...]) -> bool:
    known = [length for length in shape[1:] if length is not None]
    wanted = [length for length in size if length is not None]
    if len(known) < len(shape) - 1 or len(wanted) < len(size):
        return shape[1 : 1 + len(size)] == size
    return bool(np.prod(known) % np.prod(wanted) == 0)


def grad_cam(network: Network, image: np.ndarray, column: int) -> np.ndarray:
    """Computes where the last convolution saw what speaks for an output (Selvaraju et al., 2017).

    Each feature map is weighted by the mean of its gradient; the positive part of their sum is
    resized to the image, and its largest value becomes 1. The gradient is that of the score before
    softmax or sigmoid.

    A mean is right where the network itself averages all places. Elsewhere, as before Flatten or
    global max pooling, it would show places that speak for nothing: each place is weighted by its
    own gradient instead (HiResCAM, Draelos and Carin, 2020), which is the same where it is a mean.

    Args:
        network: A network with `last_features`.
        image: One image, (1, height, width, channels).
        column: Which value of the output.

    Returns:
        float32 (height, width), from 0 to 1; 0 everywhere if nothing speaks for the output.
    """
    name = network.last_features
    assert name is not None
    features, slopes = network.slopes_of_logit(image, name, column)
    if network.features_are_rectified:
        features = np.maximum(features, 0)
    if network.features_are_pooled:
        slopes = slopes.mean(axis=(1, 2), keepdims=True)
    heat = np.maximum((features * slopes).sum(axis=-1), 0)[0]
    heat = tf.image.resize(heat[..., None], image.shape[1:3]).numpy()[..., 0]
    largest = heat.max()
    return (heat / largest if largest > 0 else heat).astype(np.float32)
