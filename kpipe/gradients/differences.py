"""Compares derivatives of an objective with finite differences."""

import dataclasses
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from .objective import Objective

STEPS = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # of a difference, as a share of the variable's size
JITTER = 1e-2  # distance of a nearby point, as a share of the variable's size
CHAOTIC = 1e-6  # relative change of a value that rounding of its arguments never causes
LOSS, PROJECTION = 0, 1
POINTS = 3  # the given point, and nearby ones where no kink is hit exactly
DIRECTIONS = 12  # random directions that a test may try, since one can cross kinks
# Minimum change of the loss, in units of its rounding error, for a slope to be read from it.
READABLE = 50.0


class Point:
    """A point at which derivatives are compared, with the loss and its gradients.

    Attributes:
        center: The loss and the projection, float64 (2,).
        gradients: Gradients of loss and projection in every value.
        noise: Rounding errors of loss and projection, float64 (2,).

    Raises:
        ValueError: The objective changes from one evaluation to the next.
    """

    def __init__(
        self, objective: Objective, values: list[np.ndarray], rng: np.random.Generator
    ) -> None:
        self.objective, self.values = objective, values
        self.tensors = [tf.constant(value) for value in values]
        self.center: np.ndarray = objective.evaluate(self.tensors).numpy()
        gradients = objective.differentiate(self.tensors)
        self.gradients: list[list[np.ndarray]] = [[g.numpy() for g in part] for part in gradients]
        # Rounding error of the function, from arguments that differ by their rounding error.
        spread = self._spread(values, rng)
        if (spread > CHAOTIC * np.abs(self.center)).any():
            # An input at a threshold, such as a mask value: nudge variables only.
            spread = self._spread(values[: objective.count], rng)
        again = np.abs(objective.evaluate(self.tensors).numpy() - self.center)
        if (again > CHAOTIC * np.abs(self.center)).any():
            raise ValueError(
                f"model {objective.model.name!r} gives {self.center[0]:.6g}, then "
                f"{self.center[0] + again[0]:.6g} for the same variables and inputs: a layer draws "
                "random numbers without a keras.random.SeedGenerator; add one to that layer"
            )
        self.noise = spread + 4 * np.finfo(float).eps * np.maximum(np.abs(self.center), 1e-100)

    def _spread(self, nudged: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
        rest = self.tensors[len(nudged) :]
        found = [
            self.objective.evaluate(
                [tf.constant(v * (1 + 2e-16 * rng.choice([-1, 1], v.shape))) for v in nudged] + rest
            )
            for _ in range(3)
        ]
        return np.abs(np.array(found) - self.center).max(axis=0)

    def line(self, i: int, direction: np.ndarray, which: int) -> Callable[[float], float]:
        """Returns the function t -> value at this point plus t * `direction` in variable `i`."""

        def value(t: float) -> float:
            tensors = list(self.tensors)
            tensors[i] = tf.constant(self.values[i] + t * direction)
            return float(self.objective.evaluate(tensors)[which])

        return value


class Points:
    """The given point, and nearby points without exact kinks.

    The first nearby point moves the variables only, because an input that is padding or a mask
    value changes its meaning when moved. For an input it moves everything, because ties of a max
    pooling remain while the input stays.
    """

    def __init__(self, objective: Objective, rng: np.random.Generator) -> None:
        self.objective, self.rng = objective, rng
        self.made: dict[tuple[int, int], Point] = {}

    def at(self, number: int, i: int = 0) -> Point:
        """Returns point `number`, for the comparison of variable or input `i`."""
        count, values = self.objective.count, self.objective.values
        moved = 0 if number == 0 else count if number == 1 and i < count else len(values)
        if (number, moved) not in self.made:
            near = [
                value
                + (k < moved) * JITTER * size_of(value) * self.rng.standard_normal(value.shape)
                for k, value in enumerate(values)
            ]
            self.made[number, moved] = Point(self.objective, near, self.rng)
        return self.made[number, moved]


def size_of(value: np.ndarray) -> float:
    """Returns the root mean square of a variable's entries; 1 if all are 0."""
    return float(np.sqrt(np.mean(np.square(value)))) or 1.0


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The comparison of a derivative with finite differences.

    Attributes:
        error: Relative error.
        difference: The derivative from differences.
        state: "equal", "wrong", or "nonsmooth" (at a kink).
    """

    error: float
    difference: float
    state: str

    def settles(self, point: int) -> bool:
        """Whether the comparison at point number `point` is final, so that no other is needed.

        Exactly at several kinks, such as with all biases at 0, backpropagation may return a number
        that is not a one-sided derivative from any side (Kakade and Lee, 2018). A wrong gradient is
        wrong at nearby points as well.
        """
        if self.state == "wrong":
            return point > 0 or not np.isfinite(self.error)
        return self.state == "equal"


def compare(
    point: Point, i: int, direction: np.ndarray, which: int, slope: float, tolerance: float
) -> Comparison:
    """Compares a derivative along a direction with finite differences.

    If a step crosses a kink, the differences with the step and with its half, and the two second
    differences, disagree about as much as the slopes on both sides of the kink. If two consecutive
    steps are smooth and agree on another derivative, the gradient is wrong.
    """
    if not np.isfinite(slope):
        return Comparison(np.inf, np.nan, "wrong")
    value, center, before = point.line(i, direction, which), point.center[which], None
    for step in STEPS:
        left, near_left, near_right, right = map(value, (-step, -step / 2, step / 2, step))
        whole, half = (right - left) / (2 * step), (near_right - near_left) / step
        numeric = (4 * half - whole) / 3
        floor = 3 * point.noise[which] / step
        away = abs(numeric - slope)
        error = away / max(abs(numeric), abs(slope), floor / tolerance, 1e-300)
        if error <= tolerance:
            return Comparison(error, numeric, "equal")
        bend = (right - 2 * center + left) / step
        near_bend = (near_right - 2 * center + near_left) / (step / 2)
        roughness = max(abs(whole - half), abs(bend - 2 * near_bend))
        smooth = away > 10 * roughness + floor
        if smooth and before is not None and abs(numeric - before) < away / 100 + floor:
            return Comparison(error, numeric, "wrong")
        before = numeric if smooth else None
    return Comparison(error, numeric, "nonsmooth")
