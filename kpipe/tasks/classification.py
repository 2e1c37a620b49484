"""Classification: one class an example."""

import numpy as np

from .. import figures, formatting
from ..measures.evaluation import sign_of
from ..report import Section
from ..runs import Run

HEADLINE = "accuracy"
FIGURES = (
    figures.learning_curves,
    figures.confusion_matrix,
    figures.roc_curve,
    figures.per_class,
    figures.worst_mistakes,
    figures.decision_regions,
    figures.against_bag_of_words,
)

MISTAKES = 10  # shown with their text
EXCERPT = 500  # characters of a text


def facts(run: Run) -> list[tuple[str, str]]:
    """What the accuracy is compared with."""
    metrics, found = run.metrics, []
    if "majority_baseline" in metrics:
        majority = formatting.number("accuracy", metrics["majority_baseline"].get("value"))
        found.append(("Always saying the most frequent class", majority))
    if "bag_of_words_baseline" in metrics:
        baseline = formatting.measured("accuracy", metrics["bag_of_words_baseline"])
        found.append(("TF-IDF with logistic regression", baseline))
        above = metrics["above_bag_of_words"]
        verdict = {1: "beats it", 0: "cannot be told apart from it", -1: "does not beat it"}
        difference = formatting.measured("above_bag_of_words", above)
        found.append(("The network against it", f"{verdict[sign_of(above)]}: {difference} points"))
    return found


def sections(run: Run) -> list[Section]:
    """The classes each alone, and of texts the mistakes that the network is surest of."""
    return [_classes(run), _mistakes(run)]


def summary(run: Run) -> str:
    """The result in a line or two."""
    metrics = run.metrics
    accuracy, majority = metrics["accuracy"], metrics["majority_baseline"]["value"]
    lines = [
        f"test accuracy {formatting.measured('accuracy', accuracy)}, n = {accuracy['n']:,}; the "
        f"majority class alone {formatting.number('accuracy', majority)}"
    ]
    if "bag_of_words_baseline" in metrics:
        baseline = formatting.measured("accuracy", metrics["bag_of_words_baseline"])
        above = metrics["above_bag_of_words"]
        verdict = {1: "beaten", 0: "not told apart from it", -1: "NOT beaten"}[sign_of(above)]
        lines.append(
            f"TF-IDF with logistic regression {baseline}: {verdict}, the network is "
            f"{formatting.distance('above_bag_of_words', above)}"
        )
    return "\n".join(lines)


def _classes(run: Run) -> Section:
    rows, shown = [], set[str]()
    for name in run.label_names:
        keys = (f"precision/{name}", f"recall/{name}")
        precision, recall = (run.metrics.get(key) or {} for key in keys)
        if precision or recall:
            cells = (formatting.measured("recall", entry) for entry in (precision, recall))
            rows.append((name, formatting.value(recall.get("n")), *cells))
            shown.update(keys)
    head = ("class", "test examples", "precision", "recall")
    return Section("Classes", head, rows, metrics=frozenset(shown))


def _mistakes(run: Run) -> Section:
    head = ("the mistakes it is most sure of", "true", "predicted", "probability")
    rows = []
    if run.data is not None and run.data.vocabulary:
        truth, probabilities = run.predictions["label"], run.predictions["probabilities"]
        said, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
        wrong = [i for i in np.argsort(-sure, kind="stable") if said[i] != truth[i]][:MISTAKES]
        for i, text in zip(wrong, run.data.test.take_texts(np.array(wrong, int)), strict=True):
            names = (run.label_names[truth[i]], run.label_names[said[i]])
            rows.append((_excerpt(text), *names, formatting.percent(sure[i])))
    return Section("Mistakes", head, rows, look="texts")


def _excerpt(text: str) -> str:
    """A text, or its beginning and its end."""
    text = " ".join(text.split())
    if len(text) <= EXCERPT:
        return text or "(empty)"
    return f"{text[: EXCERPT // 2]} … {text[-EXCERPT // 2 :]}"
