"""What an answer hangs on, as numbers for each part of an input."""

import dataclasses
from typing import Any

import numpy as np

IMAGE, TEXT, TABLE, ARRAY = "image", "text", "table", "array"
GRAD_CAM, INTEGRATED, ERASURE = "grad_cam", "integrated_gradients", "erasure"
# Methods for a kind of input, in the order in which they are shown.
METHODS = {
    IMAGE: (GRAD_CAM, INTEGRATED),
    TEXT: (ERASURE, INTEGRATED),
    TABLE: (ERASURE,),
    ARRAY: (ERASURE, INTEGRATED),
}
# What a number of each method is.
RELATIVE, LOG_ODDS, PROBABILITY, VALUE = "relative", "log-odds", "probability", "value"


@dataclasses.dataclass(frozen=True)
class Explanation:
    """How much each part of an input contributes to one output.

    Attributes:
        kind: "image", "text", "table" or "array".
        method: "grad_cam", "integrated_gradients" or "erasure".
        target: The label that is explained; "value" of a regression.
        score: Its probability, calibrated if the export is; of a regression the value.
        unit: What an effect is: "relative" to the largest, from 0 to 1; a difference of the
            target's "log-odds", of its "probability" or of the "value".
        baseline: What parts are compared with, in words.
        effects: float: (height, width) of an image, otherwise one for each of `names`. Positive
            ones speak for the target.
        names: The words, or the names of the columns.
        values: Of a table or array, the columns' values: None if missing.
        without: Score with each part replaced by the baseline; () of gradients.
        baseline_score: The score of the baseline; None unless the effects sum to the difference
            from it.
        error: What the sum may be off by; None if it is exact to about 1 %, or is no sum.
    """

    kind: str
    method: str
    target: str
    score: float
    unit: str
    baseline: str
    effects: np.ndarray
    names: tuple[str, ...] = ()
    values: tuple[Any, ...] = ()
    without: tuple[float, ...] = ()
    baseline_score: float | None = None
    error: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values: `heat` of an image, `words` of a text, `columns` of the others."""
        effects = self.effects.astype(float).tolist()
        content = {
            name: getattr(self, name)
            for name in ("kind", "method", "target", "score", "unit", "baseline")
        }
        if self.baseline_score is not None:
            content |= {"sum": float(self.effects.sum()), "baseline_score": self.baseline_score}
            content |= {"error": self.error}
        if self.kind == IMAGE:
            return content | {"shape": list(self.effects.shape), "heat": effects}
        if self.kind == TEXT:
            content["words"] = [list(pair) for pair in zip(self.names, effects, strict=True)]
            return content | ({"without": list(self.without)} if self.without else {})
        content["columns"] = [
            {"name": name, "value": value, "effect": effect}
            for name, value, effect in zip(self.names, self.values, effects, strict=True)
        ]
        for column, score in zip(content["columns"], self.without, strict=False):
            column["without"] = score
        return content

    def strongest(self, count: int) -> list[int]:
        """Returns the numbers of the parts with the largest effects, of either sign."""
        order = np.argsort(-np.abs(self.effects.ravel()), kind="stable")
        return [int(i) for i in order[:count] if self.effects.ravel()[i]]


def said(value: object) -> str:
    """Writes the value of a column."""
    if value is None:
        return "(missing)"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
