"""A simple method beside the network, in every task: its answers, and what is said of them."""

from typing import NamedTuple

import numpy as np

from .. import formatting
from ..data import Data
from ..measures.copies import effect_of_copies
from ..measures.intervals import sign_of
from ..measures.ngrams import NAME as NGRAMS
from ..measures.ngrams import naive_bayes_ngrams
from ..measures.simple import simple_method
from ..records import Run

TF_IDF = "TF-IDF with logistic regression"
_BEATS = {1: "beats it", 0: "no significant difference", -1: "does not beat it"}
_BEATEN = {1: "beaten", 0: "no significant difference", -1: "NOT beaten"}


class _Compared(NamedTuple):
    """A method that the network is compared with.

    Attributes:
        name: The method: "logistic regression on 14 × 14 pixels".
        baseline: The metric of its own.
        above: The metric of the difference from the network.
        won: 1 if the network is significantly better, -1 if worse, else 0.
    """

    name: str
    baseline: str
    above: str
    won: int

    @property
    def short(self) -> str:
        """The name without what it was given: "logistic regression", "TF-IDF"."""
        if self.name.startswith(NGRAMS):
            return "NB n-grams"
        for word in (" with ", " on ", " ("):
            name = self.name.partition(word)[0]
            if name != self.name:
                return name
        return self.name


def measure(data: Data, name: str = "simple") -> dict[str, np.ndarray]:
    """Fits a simple method to train.

    Args:
        data: The data; the test split is predicted.
        name: Name of the array of predictions.

    Returns:
        The predictions, in the form of the labels; `simple_method`, the name of the method; for
        classes of texts `ngrams` and `ngrams_method`, the same of a second one; the arrays of
        `effect_of_copies`. {} if it cannot be fitted.
    """
    simple = simple_method([data.train], [data.test])
    if simple is None:
        return {}
    arrays = {name: simple.predicted, "simple_method": np.array(simple.name)}
    if stronger := naive_bayes_ngrams([data.train], [data.test]):
        arrays |= {"ngrams": stronger.predicted, "ngrams_method": np.array(stronger.name)}
    return arrays | effect_of_copies(data, simple.predicted)


def _compared(run: Run) -> list[_Compared]:
    found = []
    for name, baseline, above in (
        ("", "bag_of_words_baseline", "above_bag_of_words"),
        (NGRAMS, "ngrams_baseline", "above_ngrams"),
        ("linear regression", "linear_regression_mae", "mae_above_linear_regression"),
        ("", "simple_baseline", "above_simple"),
        ("", "simple_baseline_mae", "mae_above_simple"),
    ):
        if baseline in run.metrics and above in run.metrics:
            # Runs made before there were other methods than TF-IDF have no name of it.
            if name == NGRAMS:
                name = str(run.predictions.get("ngrams_method", name))
            name = name or str(run.predictions.get("simple_method", TF_IDF))
            sign = -1 if baseline.endswith("_mae") else 1  # the smaller error is better
            won = sign * sign_of(run.metrics[above])
            found.append(_Compared(name, baseline, above, won))
    return found


def facts(run: Run) -> list[tuple[str, str]]:
    """Returns the results of simple methods, and what copies would have done to them."""
    found = []
    for other in _compared(run):
        of = "MAE of " if other.baseline.endswith("_mae") else ""
        unit = f" {formatting.unit_of(other.above)}".rstrip()
        found.append((f"{of}{other.name}", _measured(run, other.baseline)))
        said = f"{_BEATS[other.won]}: {_measured(run, other.above)}{unit}"
        found.append((f"Network vs. {other.short}", said))
    return found + _copies(run)


def _copies(run: Run) -> list[tuple[str, str]]:
    metrics, compared = run.metrics, _compared(run)
    if "naive_split_overlap" not in metrics or not compared:
        return []
    look = run.data.look if run.data else None
    grouped = look is None or any(column.use == "group" for column in look.columns)
    copied = look is None or look.copies.exact or look.copies.near
    what = "copies and groups" if grouped and copied else "groups" if grouped else "copies"
    whose = "a copy" if not grouped else f"{'a copy or ' * bool(copied)}an example of their group"
    share = formatting.number("naive_split_overlap", metrics["naive_split_overlap"].get("value"))
    said = f"{share} of the test examples would have {whose} in train"
    for name, of in (("above_honest_split", "accuracy"), ("mae_above_honest_split", "MAE")):
        if name in metrics:
            unit = f" {formatting.unit_of(name)}".rstrip()
            method = compared[-1].name
            said += f", which changes the {of} of {method} by {_measured(run, name)}{unit}"
    return [(f"Had {what} been divided at random", said)]


def lines(run: Run) -> list[str]:
    """Returns lines of the summary, one for each simple method."""
    found = []
    for other in _compared(run):
        have = " have MAE" if other.short.endswith("trees") else " has MAE"
        has = have if other.baseline.endswith("_mae") else ""
        away = formatting.distance(other.above, run.metrics[other.above])
        measured = f"{other.name}{has} {_measured(run, other.baseline)}"
        found.append(f"{measured}: {_BEATEN[other.won]}, the network is {away}")
    return found


def alert(run: Run) -> str:
    """Returns a sentence if the network is significantly worse than a method without a network.

    If several methods are better, it names the best. Constant answers are compared only if no
    method is: by intervals that do not overlap, which is stricter than a paired difference.
    """
    metrics = run.metrics
    is_error = "mae" in metrics
    headline, unit = ("mae", "") if is_error else ("accuracy", " points")
    ours = metrics.get(headline, {})
    better = [other for other in _compared(run) if other.won < 0]
    if better:
        sign = -1 if is_error else 1
        best = max(better, key=lambda other: sign * (metrics[other.baseline]["value"] or 0.0))
        name, theirs = best.name, metrics[best.baseline]
        difference = f", difference {_measured(run, best.above)}{unit}"
    else:
        name = "always predicting the mean" if is_error else "always predicting the majority class"
        theirs = metrics.get("mean_baseline_mae" if is_error else "majority_baseline", {})
        low, high = (theirs, ours) if is_error else (ours, theirs)
        bounds = low.get("high"), high.get("low")
        if None in bounds or bounds[0] >= bounds[1]:  # type: ignore[operator]
            return ""
        difference = ""
    numbers = " against ".join(formatting.number(headline, e.get("value")) for e in (ours, theirs))
    return f"The network is worse than {name}: {'MAE ' * is_error}{numbers}{difference}."


def _measured(run: Run, name: str) -> str:
    return formatting.measured(name, run.metrics[name])


def table_of_errors(run: Run) -> tuple[dict[str, str], str]:
    """Returns who made each error of a regression, by metric, and a note on the differences."""
    compared = _compared(run)
    names = {other.baseline: other.name for other in compared}
    away = [
        formatting.distance(other.above, run.metrics[other.above], other.short)
        for other in compared
    ]
    note = f"On the same examples the network's error is {', and '.join(away)}." if away else ""
    return names, note
