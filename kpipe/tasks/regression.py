"""Regression: a number an example."""

from .. import figures, formatting
from ..measures.evaluation import sign_of
from ..report import Section
from ..runs import Run

HEADLINE = "mae"
FIGURES = (figures.learning_curves,)


def facts(run: Run) -> list[tuple[str, str]]:
    """What the error is compared with."""
    metrics, found = run.metrics, []
    if "mean_baseline_mae" in metrics:
        mean = formatting.measured("mae", metrics["mean_baseline_mae"])
        found.append(("MAE of always saying the mean", mean))
    if "linear_regression_mae" in metrics:
        linear = formatting.measured("mae", metrics["linear_regression_mae"])
        found.append(("MAE of linear regression", linear))
        found.append(("The network against it", _against_linear(run)))
    return found


def sections(run: Run) -> list[Section]:
    """The network beside what it is compared with."""
    shown = {
        "mae": "the network",
        "linear_regression_mae": "linear regression",
        "mean_baseline_mae": "always the mean of train",
    }
    rows = [
        (who, formatting.measured("mae", run.metrics[name]))
        for name, who in shown.items()
        if name in run.metrics
    ]
    head = ("", "mean absolute error [95 % interval]")
    if len(rows) < 2:  # nothing to compare with
        return []
    metrics = frozenset(shown) | {"above_linear_regression"}
    note = ""
    if "above_linear_regression" in run.metrics:
        note = f"The network {_against_linear(run)}, on the same examples."
    return [Section("Against simple baselines", head, rows, note, metrics=metrics)]


def summary(run: Run) -> str:
    """The result in a line or two."""
    metrics = run.metrics

    def say(name: str) -> str:
        return formatting.measured(name, metrics[name])

    names = [name for name in ("mae", "rmse", "r2") if name in metrics]
    measured = ", ".join(f"{formatting.words(name)} {say(name)}" for name in names)
    text = f"test {measured}, n = {metrics['mae']['n']:,}"
    if "mean_baseline_mae" in metrics:
        mean = formatting.number("mae", metrics["mean_baseline_mae"]["value"])
        text += f"; the mean alone has MAE {mean}"
    if "linear_regression_mae" in metrics:
        text += f"\nlinear regression has MAE {say('linear_regression_mae')}: the network "
        text += _against_linear(run)
    return text


def _against_linear(run: Run) -> str:
    """The paired difference of absolute errors; the smaller error is better."""
    difference = run.metrics["above_linear_regression"]
    verdict = {-1: "beats it", 0: "cannot be told apart from it", 1: "does not beat it"}
    shown = formatting.measured("above_linear_regression", difference)
    return f"{verdict[sign_of(difference)]}: its absolute error differs by {shown}"
