"""Gradient checks: central differences, Taylor test, Jacobian-transpose test."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .differences import (
    DIRECTIONS,
    LOSS,
    POINTS,
    PROJECTION,
    READABLE,
    Comparison,
    Point,
    Points,
    compare,
    size_of,
)
from .objective import Objective, as_model, in_float64
from .taylor import taylor_picture, taylor_test


@dataclasses.dataclass(frozen=True)
class VariableCheck:
    """The result of the tests for one variable or one input.

    Attributes:
        name: The variable's path; "input ..." for an input.
        shape: Shape of the variable.
        errors: Relative error of every entry compared with finite differences, (entries,).
        kinks: Number of entries at a kink of a ReLU or max pooling, where no derivative exists.
            They were compared at a nearby point, or left out if kinks are too dense.
        slopes: Slopes of the loss' change, and of its remainder after the gradient term, along a
            random direction: about 1 and 2; a word if there are none, such as "flat" for a gradient
            of 0.
        transpose_error: Relative difference of u'(J v) and v'(J'u); NaN if kinks are too dense.
        verdict: "ok", "WRONG", or "NOT CHECKED" if differences cannot decide.
        reasons: Reasons for a verdict other than "ok", in words.
    """

    name: str
    shape: tuple[int, ...]
    errors: np.ndarray
    kinks: int
    slopes: tuple[float | str, float | str]
    transpose_error: float
    verdict: str
    reasons: tuple[str, ...]

    @property
    def error(self) -> float:
        """The largest relative error."""
        return float(self.errors.max(initial=0.0))

    @property
    def passed(self) -> bool:
        return self.verdict == "ok"

    def row(self) -> tuple[str, ...]:
        """Returns the result as a table row with the columns `HEADING`."""
        return (
            self.name,
            "x".join(map(str, self.shape)) or "scalar",
            f"{self.errors.size:,}",
            f"{self.kinks:,}",
            f"{self.error:.1e}",
            *(slope if isinstance(slope, str) else f"{slope:.3f}" for slope in self.slopes),
            "kinks" if np.isnan(self.transpose_error) else f"{self.transpose_error:.1e}",
            self.verdict + (": " + ", ".join(self.reasons)) * bool(self.reasons),
        )


@dataclasses.dataclass(frozen=True)
class GradientCheck:
    """The result of `check`.

    Attributes:
        model: The model's name.
        variables: One entry for each trainable variable and each float input.
        tolerance: Largest relative error that passes.
        taylor: Step, change of the loss, and its remainder after the gradient term, along one
            direction in all variables, (steps, 3): for a figure.
    """

    model: str
    variables: tuple[VariableCheck, ...]
    tolerance: float
    taylor: np.ndarray

    @property
    def verdict(self) -> str:
        """The worst verdict of a variable."""
        given = {variable.verdict for variable in self.variables}
        return next(verdict for verdict in ("WRONG", "NOT CHECKED", "ok") if verdict in given)

    @property
    def passed(self) -> bool:
        return self.verdict == "ok"

    def rows(self) -> list[tuple[str, ...]]:
        """Returns a table: the heading, then a row for each variable."""
        return [HEADING, *(variable.row() for variable in self.variables)]

    def to_json(self) -> dict[str, Any]:
        """Returns the content of `rows` as plain values."""
        return {
            "model": self.model,
            "verdict": self.verdict,
            "tolerance": self.tolerance,
            "variables": [
                {
                    "name": v.name,
                    "shape": list(v.shape),
                    "entries": v.errors.size,
                    "kinks": v.kinks,
                    "largest_error": _finite(v.error),
                    "taylor_slopes": [_finite(slope) for slope in v.slopes],
                    "transpose_error": _finite(v.transpose_error),
                    "verdict": v.verdict,
                    "reasons": list(v.reasons),
                }
                for v in self.variables
            ],
        }


def _finite(value: float | str) -> float | str | None:
    """JSON has no NaN and no infinity."""
    return value if isinstance(value, str) or np.isfinite(value) else None


HEADING = (
    *("variable", "shape", "entries", "kinks", "largest error"),
    *("Taylor 1", "Taylor 2", "transpose", ""),
)


def check(
    model: keras.Layer,
    loss: object = None,
    x: object = None,
    y: object = None,
    *,
    samples: int = 20,
    tolerance: float = 1e-6,
    training: bool = True,
    seed: int = 0,
    progress: Callable[[VariableCheck], None] | None = None,
) -> GradientCheck:
    """Checks the gradient of a loss in every trainable variable and every float input.

    Everything is computed in float64, whatever the model's dtype; the model is unchanged
    afterwards. Dropout, sampling and other random layers draw the same numbers at every evaluation,
    and batch normalization uses the statistics of `x`, so that the loss is a deterministic
    function. Three tests are applied to every variable:

    - central differences of single entries, extrapolated once (Richardson), with a smaller step if
      the function bends too much;
    - the Taylor test: along a random direction d, L(w + t d) - L(w) falls like t, and the remainder
      L(w + t d) - L(w) - t d'g like t^2; and d'g agrees with differences;
    - the Jacobian-transpose test: for random u and v, u'(J v) = v'(J'u), with J v from differences
      of the outputs and J'u from backpropagation.

    At a kink of a ReLU or max pooling no derivative exists. There the one-sided differences
    disagree however small the step, unlike for a wrong gradient; such an entry or direction is
    compared at a nearby point.

    Args:
        model: A model, compiled or not, or a layer.
        loss: A Keras name, loss or function of (y, outputs), or a dict or list of them for several
            outputs; losses added by layers are included. None: added losses only or, if there are
            none, half the mean square of the outputs.
        x: Inputs of a few examples; every evaluation uses all of them.
        y: Targets, or None.
        samples: Number of random entries to compare in each variable, half of them where the
            gradient is not 0; a smaller variable is compared completely.
        tolerance: Largest relative error that passes. Deviations below the rounding error of the
            differences are ignored.
        training: Whether layers run in training mode.
        seed: Random seed of the entries and directions.
        progress: Function called with each variable's result as soon as it is available.

    Raises:
        ValueError: There is nothing to check, or the model computes in less than float64.

    Example:
        result = check(model, "sparse_categorical_crossentropy", images[:4], labels[:4])
        assert result.passed, result.rows()
    """
    if x is None:
        raise ValueError("x is missing: expected a few examples of the model's inputs")
    rng = np.random.default_rng(seed)
    model = as_model(model, x)
    with in_float64(model):
        try:
            objective = Objective(model, loss, x, y, training, rng)
        except (TypeError, AttributeError, LookupError, tf.errors.OpError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise ValueError(
                f"model {model.name!r} or its loss cannot be computed on x and y in float64: "
                f"{lines[-1] if lines else repr(error)}"
            ) from error
        points = Points(objective, rng)
        variables = []
        for i in range(len(objective.values)):
            variables.append(_check_variable(points, i, samples, tolerance, rng))
            if progress:
                progress(variables[-1])
        picture = taylor_picture(points.at(0), rng)
    return GradientCheck(model.name, tuple(variables), tolerance, picture)


def _check_variable(
    points: Points, i: int, samples: int, tolerance: float, rng: np.random.Generator
) -> VariableCheck:
    errors, kinks, reasons = _compare_entries(points, i, samples, tolerance, rng)
    slopes, fits = taylor_test(points, i, rng)
    if not fits or _along_a_direction(points, i, LOSS, tolerance, rng).state == "wrong":
        reasons.append("Taylor test")
    transposed = _along_a_direction(points, i, PROJECTION, tolerance, rng)
    if transposed.state == "wrong":
        reasons.append("Jacobian-transpose test")
    verdict = "WRONG" if reasons else "ok"
    if reasons and _is_narrow(points.at(0), i):
        verdict, reasons = "NOT CHECKED", ["something casts it to less than float64"]
    elif not reasons and not errors.size:
        verdict, reasons = "NOT CHECKED", ["nothing but kinks, take fewer examples"]
    return VariableCheck(
        name=points.objective.names[i],
        shape=points.objective.values[i].shape,
        errors=errors,
        kinks=kinks,
        slopes=slopes,
        transpose_error=np.nan if transposed.state == "nonsmooth" else transposed.error,
        verdict=verdict,
        reasons=tuple(reasons),
    )


def _compare_entries(
    points: Points, i: int, samples: int, tolerance: float, rng: np.random.Generator
) -> tuple[np.ndarray, int, list[str]]:
    """Compares single entries: returns relative errors, number of kinks, worst entry in words."""
    errors: list[float] = []
    worst: list[str] = []
    kinks, largest = 0, tolerance
    values, gradient = points.at(0).values[i], points.at(0).gradients[LOSS][i]
    for entry in _entries(gradient, samples, rng):
        size = max(abs(values[entry]), size_of(values))
        direction = np.zeros_like(gradient)
        direction[entry] = size
        for attempt in range(POINTS):
            point = points.at(attempt, i)
            slope = float(point.gradients[LOSS][i][entry]) * size
            result = compare(point, i, direction, LOSS, slope, tolerance)
            if result.settles(attempt):
                break
        kinks += result.state == "nonsmooth" or (result.state == "equal" and attempt > 0)
        if result.state == "nonsmooth":
            continue
        errors.append(result.error)
        if not result.error <= largest:  # nor NaN
            largest, index = result.error, ", ".join(map(str, entry))
            found = f"{slope / size:.6g}, not {result.difference / size:.6g}"
            worst = [f"gradient[{index}] = {found}"]
    return np.array(errors), kinks, worst


def _entries(gradient: np.ndarray, samples: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Chooses all entries of a small variable, or some of a large one, half with gradients."""
    chosen = np.arange(gradient.size)
    if gradient.size > samples:
        nonzero = np.flatnonzero(gradient)
        nonzero = rng.choice(nonzero, min(nonzero.size, samples // 2), replace=False)
        others = rng.permutation(np.setdiff1d(rng.choice(chosen, samples, replace=False), nonzero))
        chosen = np.concatenate([nonzero, others])[:samples]
    return [tuple(map(int, np.unravel_index(j, gradient.shape))) for j in chosen]


def _is_narrow(point: Point, i: int) -> bool:
    """Whether the loss is a staircase where the gradient is largest, as after a cast to float32.

    The eight steps together are shorter than one float32 step, so that they cross at most two of
    these; a thousand float32 steps are visible, unlike in a loss that does not depend on the entry.
    """
    gradient = point.gradients[LOSS][i]
    entry = np.unravel_index(np.argmax(np.abs(gradient)), gradient.shape)
    direction = np.zeros_like(gradient)
    direction[entry] = max(abs(point.values[i][entry]), size_of(point.values[i]))
    step = 1e-9
    if abs(gradient[entry] * direction[entry]) * step < READABLE * point.noise[LOSS]:
        return False  # too small to be visible
    value = point.line(i, direction, LOSS)
    return len({value(k * step) for k in range(9)}) < 5 and value(1e5 * step) != value(0.0)


def _along_a_direction(
    points: Points, i: int, which: int, tolerance: float, rng: np.random.Generator
) -> Comparison:
    """Compares the derivative along the first random direction that crosses no kink.

    For the projection of the outputs on u and a direction v this compares v'(J'u) with u'(J v).
    """
    for attempt in range(DIRECTIONS):
        number = attempt * POINTS // DIRECTIONS
        point = points.at(number, i)
        direction = size_of(point.values[i]) * rng.standard_normal(point.values[i].shape)
        slope = float(np.sum(point.gradients[which][i] * direction))
        result = compare(point, i, direction, which, slope, tolerance)
        if result.settles(number):
            break
    return result
