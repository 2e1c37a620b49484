"""The Taylor test: the change of the loss minus the gradient term falls as the step squared."""

import bisect
import functools

import numpy as np

from .differences import DIRECTIONS, LOSS, POINTS, READABLE, Point, Points, size_of

SLOPE_TOLERANCE = 0.05
STEPS = 2.0 ** np.arange(-40, -2)
TAYLOR_STEPS = 2.0 ** np.arange(0, 2.5, 0.5)  # multiples of the smallest readable step


def taylor_test(
    points: Points, i: int, rng: np.random.Generator
) -> tuple[tuple[float | str, float | str], bool]:
    """Computes slopes along the first direction that crosses no kink; returns whether they fit.

    With a wrong gradient the remainder falls like the step, with slope 1, in every direction;
    between dense kinks slopes are irregular and prove nothing.
    """
    slopes: tuple[float | str, float | str] = ("kinks", "kinks")
    beside: list[float | str] = []
    for attempt in range(DIRECTIONS):
        number = attempt * POINTS // DIRECTIONS
        if number == POINTS - 1 and all(map(_is_linear, beside)):
            return slopes, False  # a single unit may be right, but all units together are not
        point = points.at(number, i)
        # Finally the weights of one unit only: they cross fewer kinks.
        direction = _direction(point, i, rng, one_unit=number == POINTS - 1)
        slopes = _slopes(point, i, direction)
        if all(
            isinstance(s, str) or abs(s - k) <= SLOPE_TOLERANCE for k, s in enumerate(slopes, 1)
        ):
            return slopes, True
        if number:  # at the point itself a kink looks like a wrong gradient
            beside.append(slopes[1])
    wrong = sum(map(_is_linear, beside))
    return (slopes, False) if wrong > len(beside) / 2 else (("kinks", "kinks"), True)


def taylor_picture(point: Point, rng: np.random.Generator) -> np.ndarray:
    """Tabulates step, change of the loss, and remainder, along a direction in all variables."""
    count = len(point.values)
    directions = [_direction(point, i, rng) for i in range(count)]
    slope = sum(np.sum(point.gradients[LOSS][i] * directions[i]) for i in range(count))
    rows = []
    for step in 2.0 ** np.arange(-34, -3):
        moved = [v + step * d for v, d in zip(point.values, directions, strict=True)]
        change = float(point.objective.evaluate(moved)[LOSS]) - point.center[LOSS]
        rows.append((step, abs(change), abs(change - step * slope)))
    return np.array(rows)


def _is_linear(slope: float | str) -> bool:
    """Whether the remainder falls like that of a wrong gradient."""
    return isinstance(slope, str) or abs(slope - 1) <= SLOPE_TOLERANCE


def _direction(
    point: Point, i: int, rng: np.random.Generator, one_unit: bool = False
) -> np.ndarray:
    """Draws a direction not orthogonal to the gradient, so that the first slope is visible."""
    gradient, size = point.gradients[LOSS][i], size_of(point.values[i])
    direction = rng.standard_normal(gradient.shape)
    if norm := np.linalg.norm(gradient):
        if np.sum(direction * gradient) < 0:  # else they cancel in a variable with one entry
            direction = -direction
        direction += gradient / norm * np.linalg.norm(direction)
    nonzero = np.flatnonzero(gradient)
    if one_unit and nonzero.size and gradient.ndim:
        unit = rng.choice(nonzero) % gradient.shape[-1]
        direction *= np.arange(gradient.shape[-1]) == unit
    return size * direction


def _slopes(point: Point, i: int, direction: np.ndarray) -> tuple[float | str, float | str]:
    """Computes how fast the change of the loss, and its remainder, fall with the step.

    It uses the smallest steps at which the remainder exceeds rounding: at larger ones a slightly
    wrong gradient would not be visible, and more kinks would be crossed.
    """
    slope = float(np.sum(point.gradients[LOSS][i] * direction))
    value, center, noise = point.line(i, direction, LOSS), point.center[LOSS], point.noise[LOSS]

    @functools.cache
    def remainders(step: float) -> tuple[float, float]:
        change = value(step) - center
        return abs(change), abs(change - step * slope)

    # By bisection: the remainder grows with the step.
    smallest = bisect.bisect_left(
        STEPS, True, key=lambda step: remainders(step)[1] > READABLE * noise
    )
    if smallest == len(STEPS):
        change, _ = remainders(STEPS[-1])
        return (1.0, "linear") if change > READABLE * noise else ("flat", "flat")
    steps = STEPS[smallest] * TAYLOR_STEPS
    table = np.array([remainders(step) for step in steps])
    table = np.maximum(table, noise / 10)  # a remainder can be 0
    fitted = np.polyfit(np.log(steps), np.log(table), 1)[0]
    return float(fitted[0]), float(fitted[1])
