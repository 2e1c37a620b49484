"""Regression: a number an example."""

from .. import figures, formatting
from ..measures.evaluation import sign_of
from ..report import Section
from ..runs import Run

HEADLINE = "mae"
FIGURES = (figures.learning_curves,)

_ABOVE = "mae_above_linear_regression"


def facts(run: Run) -> list[tuple[str, str]]:
    """What the error is compared with."""
    metrics, found = run.metrics, []
    if "mean_baseline_mae" in metrics:
        mean = formatting.measured("mae", metrics["mean_baseline_mae"])
        found.append(("MAE of always saying the mean", mean))
    if "linear_regression_mae" in metrics:
        linear = formatting.measured("mae", metrics["linear_regression_mae"])
        found.append(("MAE of linear regression", linear))
    if _ABOVE in metrics:
        # The smaller error is better.
        verdict = {-1: "beats it", 0: "cannot be told apart from it", 1: "does not beat it"}
        said = verdict[sign_of(metrics[_ABOVE])]
        found.append(("The network against it", f"{said}: {_measured(run, _ABOVE)}"))
    return found


def sections(run: Run) -> list[Section]:
    """The errors of the network and of simple baselines, side by side."""
    compared = {
        "mae": "the network",
        "linear_regression_mae": "linear regression",
        "mean_baseline_mae": "always the mean of train",
    }
    rows = [(who, _measured(run, name)) for name, who in compared.items() if name in run.metrics]
    if len(rows) < 2:  # nothing to compare with
        return []
    note = ""
    if _ABOVE in run.metrics:
        away = formatting.distance(_ABOVE, run.metrics[_ABOVE], "linear regression")
        note = f"On the same examples the network's error is {away}."
    head = ("", "mean absolute error [95 % interval]")
    metrics = frozenset((*compared, _ABOVE))
    return [Section("Against simple baselines", head, rows, note, metrics=metrics)]


def summary(run: Run) -> str:
    """The result in a line or two."""
    metrics = run.metrics
    names = [name for name in ("mae", "rmse", "r2") if name in metrics]
    measured = ", ".join(f"{formatting.words(name)} {_measured(run, name)}" for name in names)
    text = f"test {measured}, n = {metrics['mae']['n']:,}"
    if "mean_baseline_mae" in metrics:
        mean = formatting.number("mae", metrics["mean_baseline_mae"]["value"])
        text += f"; always saying the mean has MAE {mean}"
    if _ABOVE in metrics:
        verdict = {-1: "beaten", 0: "not told apart from it", 1: "NOT beaten"}
        text += (
            f"\nlinear regression has MAE {_measured(run, 'linear_regression_mae')}: "
            f"{verdict[sign_of(metrics[_ABOVE])]}, the network is "
            f"{formatting.distance(_ABOVE, metrics[_ABOVE])}"
        )
    return text


def _measured(run: Run, name: str) -> str:
    return formatting.measured(name, run.metrics[name])
