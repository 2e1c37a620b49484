"""Attributions by gradients: integrated gradients, and Grad-CAM."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from ..errors import UserError
from .network import Network

POINTS = 16  # on a section of the way from the baseline; more would be for smoother functions
# On all sections, including those that were divided: of an image, and of a single number.
MOST, MOST_NUMBERS = 512, 2**14
TOGETHER = 4  # sections that are divided at a time, of which the errors are the largest
# Largest error of the sum: a share of the difference that it should be, and of the largest score.
TOLERANCE, SMALL = 0.01, 0.001
CANCELLED = 3  # times that, of the errors of sections without their signs


class Integrated(NamedTuple):
    """Integrated gradients of one example.

    Attributes:
        effects: float (places, ...): height and width of an image, words, or numbers.
        score: The output for the example.
        baseline_score: The output for the baseline. `effects` sum to the difference of both, but
            for an error of about 1 %.
        error: None; if the error is larger, its bound, in the unit of the output.
    """

    effects: np.ndarray
    score: float
    baseline_score: float
    error: float | None = None


class _Section(NamedTuple):
    """A part of the way from the baseline, 0, to the input, 1."""

    start: float
    stop: float
    effects: np.ndarray
    error: float  # distance of their sum from the difference of the scores; inf if not finite

    @property
    def middle(self) -> float:
        return (self.start + self.stop) / 2


def integrated_gradients(
    network: Network,
    inputs: np.ndarray,
    baseline: np.ndarray,
    column: int,
    places: int,
    most: int | None = None,
) -> Integrated:
    """Attributes an output to parts of an input (Sundararajan et al., 2017).

    The gradient is averaged on the straight line from the baseline to the input, at the points of
    Gauss and Legendre's rule, and multiplied by the difference of both. Sections where the sum is
    not the difference of the scores at their ends are divided by two, the worst first.

    Args:
        network: The network.
        inputs: One example, (1, ...).
        baseline: What contains nothing, of the same shape.
        column: Which value of the output.
        places: Number of leading axes of an example that are kept: 2 for an image, 1 for words.
        most: Number of points after which nothing more is divided; by default 512, and more for
            fewer than 32 numbers, which need not be bounded as pixels are.

    Raises:
        UserError: What the output is computed from does not belong to a place of the input, or is
            not finite.
    """
    names, shape = network.first_floats, inputs.shape[1 : 1 + places]
    ends = network.values_at(inputs, names)
    starts = [start.astype(np.float64) for start in network.values_at(baseline, names)]
    differences = [end - start for end, start in zip(ends, starts, strict=True)]
    moved = [i for i, difference in enumerate(differences) if difference.any()]
    for i in moved:
        if differences[i].size % max(1, math.prod(shape)):
            raise UserError(f"{names[i]}: not one value for each part of the input")
    most = most or max(MOST, MOST_NUMBERS // max(1, inputs.size))
    score, first = (float(network.score(x)[0, column]) for x in (inputs, baseline))
    scores = {0.0: first, 1.0: score}  # on the way
    largest = max(abs(score), abs(first))

    def integrate(bounds: Sequence[tuple[float, float]]) -> list[_Section]:
        """Integrates over sections, in their order, and notes the scores at their ends."""
        nonlocal largest
        nodes, weights = _gauss_legendre(POINTS)
        at = [np.append(start + nodes * (stop - start), stop) for start, stop in bounds]
        path = [
            begin + np.concatenate(at).reshape(-1, *(1 for _ in begin.shape[1:])) * difference
            for begin, difference in zip(starts, differences, strict=True)
        ]
        path = [some.astype(np.float32) for some in path]
        values, slopes = network.gradients(inputs, names, path, column)
        largest = max(largest, float(np.abs(values).max()))
        found = []
        for k, (start, stop) in enumerate(bounds):
            first, *_, last = range(k * (POINTS + 1), (k + 1) * (POINTS + 1))
            scores.setdefault(stop, float(values[last]))
            effects = np.zeros(shape)
            for i in moved:
                mean = np.tensordot(weights, slopes[i][first:last].astype(np.float64), axes=1)
                part = mean * differences[i][0] * (stop - start)
                effects += part.reshape(*shape, -1).sum(axis=-1)
            error = abs(float(effects.sum()) - (scores[stop] - scores[start]))
            error = error if np.isfinite(error) else np.inf
            found.append(_Section(start, stop, effects, error))
        return found

    sections, points = integrate([(0.0, 1.0)]), POINTS
    while True:
        error = sum(section.error for section in sections)
        allowed = TOLERANCE * abs(score - first) + SMALL * largest
        total = sum(float(section.effects.sum()) for section in sections)
        if error <= CANCELLED * allowed and abs(total - (score - first)) <= allowed:
            error = 0.0
            break
        sections.sort(key=lambda section: -section.error)
        count = min(TOGETHER, (most - points) // (2 * POINTS))
        divided = [s for s in sections[:count] if s.error > sections[0].error / 2]
        divided = [s for s in divided if s.start < s.middle < s.stop]
        if not divided:
            break
        halves = [half for s in divided for half in ((s.start, s.middle), (s.middle, s.stop))]
        kept = [s for s in sections if not any(s is other for other in divided)]
        sections = kept + integrate(halves)
        points += POINTS * len(halves)
    effects = np.sum([section.effects for section in sections], axis=0)
    if not np.isfinite([*effects.ravel(), score, first, largest, error]).all():
        raise UserError(
            "integrated gradients: an answer or its gradient is not finite between the input and "
            "what it is compared with; expected smaller numbers, or another method"
        )
    return Integrated(effects, score, first, error or None)


def _gauss_legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns points between 0 and 1, and their weights, whose sum is 1."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return (nodes + 1) / 2, weights / 2


def can_integrate(network: Network, places: int) -> bool:
    """Whether `integrated_gradients` can be computed.

    All operations have a gradient, and the floats of an image have its size. The mean of the
    answers to an image and its mirror image has none: each of the two has reasons of its own.
    """
    names = network.first_floats
    if not names or not network.can_differentiate(names) or network.mirrors:
        return False
    size = network.shape[:places]
    return places < 2 or all(_has_size(network.shape_of(name), size) for name in names)


def can_localize(network: Network) -> bool:
    """Whether `grad_cam` can be computed: there is a convolution, and a gradient behind it."""
    name = network.last_features
    return name is not None and network.can_differentiate([name]) and not network.mirrors


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
