"""Multi-label classification: several labels an example, each 0 or 1."""

from .. import figures, formatting
from ..report import Section
from ..runs import Run

HEADLINE = "accuracy"
FIGURES = (figures.learning_curves, figures.label_accuracies, figures.against_single_task)


def facts(run: Run) -> list[tuple[str, str]]:
    """What the accuracy is the mean of, and what it is compared with."""
    found = []
    if known := _known(run):
        found.append(("The accuracy", f"is the mean over {_labels(known, run)}"))
    if "majority_baseline" in run.metrics:
        majority = formatting.number("accuracy", run.metrics["majority_baseline"].get("value"))
        found.append(("Always saying each label's majority", majority))
    return found


def sections(run: Run) -> list[Section]:
    """The labels each alone."""
    known = _known(run)
    rows, shown = [], set[str]()
    for name in known:
        keys = [f"{kind}/{name}" for kind in ("accuracy", "majority_baseline", "roc_auc")]
        accuracy, majority, area = (run.metrics.get(key) or {} for key in keys)
        rows.append(
            (
                name,
                formatting.measured("accuracy", accuracy),
                formatting.number("accuracy", majority.get("value")),
                formatting.measured("roc_auc", area),
            )
        )
        shown.update(keys)
    head = ("label", "accuracy [95 % interval]", "majority class alone", "ROC AUC [95 % interval]")
    left_out = len(run.label_names) - len(known)
    note = (
        f"{left_out} of {len(run.label_names)} labels never vary in the training examples, so "
        "that nothing can be learned about them: they are left out."
    )
    return [Section("Labels", head, rows, note if left_out else "", metrics=frozenset(shown))]


def summary(run: Run) -> str:
    """The result in a line."""
    accuracy, majority = (run.metrics[key] for key in ("accuracy", "majority_baseline"))
    return (
        f"test accuracy {formatting.measured('accuracy', accuracy)}, the mean over "
        f"{_labels(_known(run), run)}, n = {accuracy['n']:,}; each label's majority alone "
        f"{formatting.number('accuracy', majority['value'])}"
    )


def _known(run: Run) -> list[str]:
    """The labels that were evaluated, each alone."""
    return [name for name in run.label_names if f"accuracy/{name}" in run.metrics]


def _labels(known: list[str], run: Run) -> str:
    if len(known) == len(run.label_names):
        return f"the {len(known)} labels"
    return f"the {len(known)} of {len(run.label_names)} labels that vary in train"
