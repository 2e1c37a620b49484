"""A learning curve in words and as a table."""

import pathlib
from collections.abc import Mapping
from typing import Any

from .. import files, formatting
from ..errors import UserError
from .tables import Section

FLAT = 0.05  # of the error: a gain that is smaller for certain
LEARNING_CURVE = "learning_curve.json"  # in the folder of a run
_KEYS = {"metric", "seeds", "sizes", "points", "curve", "twice", "back_test", "left_out"}


def read_learning_curve(folder: pathlib.Path) -> dict[str, Any] | None:
    """Reads the learning curve in a run's folder; None if there is none.

    Raises:
        UserError: The file is damaged; the message names it.
    """
    path = folder / LEARNING_CURVE
    if not path.is_file():
        return None
    content = files.read_json(path)
    if not isinstance(content, dict) or not content.keys() >= _KEYS:
        raise UserError(f"{path}: not a learning curve; expected one that kpipe wrote")
    return content


def learning_curve_lines(curve: Mapping[str, Any]) -> list[str]:
    """Writes what a learning curve says: what twice the data would bring, and its back-test."""
    said = [_gain(curve), *_back_test(curve)]
    if not law_holds(curve):  # which a reader must know first
        said.reverse()
    return [*said, *_noise(curve), *curve["left_out"]]


def law_holds(curve: Mapping[str, Any]) -> bool:
    """Whether the back-test does not speak against the law."""
    return curve["back_test"] is None or curve["back_test"]["holds"] is not False


def learning_curve_table(curve: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Returns head and rows of the table of sizes; the last row is the extrapolation."""
    metric = curve["metric"]
    head = ("training examples", "share", f"val {formatting.words(metric)} [95 % interval]")
    rows = [
        (f"{size['examples']:,}", f"{100 * size['fraction']:g} %", _measured(metric, size))
        for size in curve["sizes"]
    ]
    twice = curve["twice"]
    last = (f"{twice['examples']:,}", "200 %", f"{_measured(metric, twice)}, extrapolated")
    return head, [*rows, last]


def learning_curve_section(curve: Mapping[str, Any]) -> Section:
    """Returns the section of a report."""
    head, rows = learning_curve_table(curve)
    return Section("Learning curve", head, rows, " ".join(learning_curve_lines(curve)))


def as_metric(metric: str, error: Mapping[str, Any]) -> dict[str, Any]:
    """Converts an error with its interval to a metric: an accuracy is 1 - error."""
    if not formatting.is_share(metric):
        return dict(error)
    value, low, high = (error[key] for key in ("value", "low", "high"))
    turned = {"value": 1 - value, "low": None, "high": None}
    return turned if low is None else {**turned, "low": 1 - high, "high": 1 - low}


def _measured(metric: str, error: Mapping[str, Any]) -> str:
    return formatting.measured(metric, as_metric(metric, error))


def _gain(curve: Mapping[str, Any]) -> str:
    metric, gain, examples = curve["metric"], curve["gain"], curve["twice"]["examples"]
    name = f"val {formatting.words(metric)}"
    said = f"twice the data ({examples:,} examples) would"
    difference = f"{metric}_above_"  # which is signed
    if formatting.is_share(metric):
        said += f" bring {formatting.measured(difference, gain)} points of {name}"
    else:  # an error, which falls
        change = {"value": -gain["value"], "low": -gain["high"], "high": -gain["low"]}
        said += f" change the {name} by {formatting.measured(difference, change)}"
    if not law_holds(curve):
        return f"By the law, which does not hold, {said}."
    if gain["low"] > 0:
        return f"{said[0].upper()}{said[1:]}, if the curve goes on as it did."
    if gain["high"] < 0:
        return f"More data made it worse: {said}, if the curve goes on as it did."
    flat = gain["high"] <= FLAT * curve["sizes"][-1]["value"]
    first = "The curve is flat" if flat else "It cannot be told whether more data would help"
    return f"{first}: {said}; the interval contains 0."


def _back_test(curve: Mapping[str, Any]) -> list[str]:
    test, metric = curve["back_test"], curve["metric"]
    if test is None:
        return []
    before = len(curve["sizes"]) - 1
    measured = as_metric(metric, {**test, "value": test["measured"]})
    text = (
        f"Back-test: from the first {before} sizes it would have predicted "
        f"{_measured(metric, test)} at 100 %; measured "
        f"{formatting.number(metric, measured['value'])}"
    )
    if test["low"] is None:
        return [f"{text} (no interval from {before} trainings; three seeds give one)."]
    if test["holds"]:
        return [f"{text}."]
    return [f"{text}: outside, so the law does not hold here, and neither does the extrapolation."]


def _noise(curve: Mapping[str, Any]) -> list[str]:
    if len(curve["seeds"]) > 1:
        return []
    return ["One seed: the noise of training is told from the scatter of these points alone."]
