"""The Taylor test: what a gradient leaves of the loss' change falls as the step's square."""

import numpy as np

from .differences import DIRECTIONS, LOSS, POINTS, READABLE, Point, Points, size_of

SLOPE_TOLERANCE = 0.05
TAYLOR_STEPS = 2.0 ** np.arange(0, 2.5, 0.5)  # multiples of the smallest readable step


def taylor_test(
    points: Points, i: int, rng: np.random.Generator
) -> tuple[tuple[float | str, float | str], bool]:
    """Computes slopes along the first direction in whose way no kink lies; are they right?

    What a wrong gradient leaves of the loss' change falls as the step does, with slope 1, in every
    direction; between dense kinks the slopes are irregular, and prove nothing.
    """
    slopes: tuple[float | str, float | str] = ("kinks", "kinks")
    beside: list[float | str] = []
    for attempt in range(DIRECTIONS):
        number = attempt * POINTS // DIRECTIONS
        if number == POINTS - 1 and all(map(_is_linear, beside)):
            return slopes, False  # a single unit may be right, all together are not
        point = points.at(number, i)
        # In the end one unit's weights alone: fewer kinks than those of all units.
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
    """Tables the step, the loss' change and what the gradient leaves of it, in all variables."""
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
    """Whether what the gradient leaves of the loss' change falls as a wrong gradient's does."""
    return isinstance(slope, str) or abs(slope - 1) <= SLOPE_TOLERANCE


def _direction(
    point: Point, i: int, rng: np.random.Generator, one_unit: bool = False
) -> np.ndarray:
    """Draws a direction that is not across the gradient, so that the first slope can be seen."""
    gradient, size = point.gradients[LOSS][i], size_of(point.values[i])
    direction = rng.standard_normal(gradient.shape)
    if norm := np.linalg.norm(gradient):
        if np.sum(direction * gradient) < 0:  # or they cancel, in a variable of one entry
            direction = -direction
        direction += gradient / norm * np.linalg.norm(direction)
    felt = np.flatnonzero(gradient)
    if one_unit and felt.size:
        unit = rng.choice(felt) % gradient.shape[-1]
        direction *= np.arange(gradient.shape[-1]) == unit
    return size * direction


def _slopes(point: Point, i: int, direction: np.ndarray) -> tuple[float | str, float | str]:
    """Computes how fast the loss' change, and what the gradient leaves of it, fall with the step.

    It takes the smallest steps at which the latter exceeds rounding: at larger ones a slightly
    wrong gradient would not show, and more kinks lie in the way.
    """
    slope = float(np.sum(point.gradients[LOSS][i] * direction))
    value, center, noise = point.line(i, direction, LOSS), point.center[LOSS], point.noise[LOSS]

    def remainders(step: float) -> tuple[float, float]:
        change = value(step) - center
        return abs(change), abs(change - step * slope)

    changes = 0.0
    for step in 2.0 ** np.arange(-40, -2):
        first, second = remainders(step)
        changes = max(changes, first)
        if second > READABLE * noise:
            break
    else:
        return (1.0, "linear") if changes > READABLE * noise else ("flat", "flat")
    steps = step * TAYLOR_STEPS
    table = np.array([remainders(step) for step in steps])
    table = np.maximum(table, noise / 10)  # a remainder can be 0
    fitted = np.polyfit(np.log(steps), np.log(table), 1)[0]
    return float(fitted[0]), float(fitted[1])
