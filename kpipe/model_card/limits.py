"""What a run's numbers do not say: derived from its record, metrics and predictions."""

from collections.abc import Iterator

import numpy as np

from .. import formatting
from ..measures import trust
from ..records import Run
from ..records.card import baselines
from ..report import about_data
from .metadata import task_name

SMALL = 1000  # test examples, fewer of which leave a wide interval
WIDE = 0.04  # width of a share's interval, 4 points
RARE = 30  # test examples of a class, fewer of which say little about it
LISTED = 5  # names on a line
# Keys of pipelines that begin with what another network, or other data, taught.
_PRETRAINED = ("weights", "backbone", "embeddings")


def limits(run: Run) -> Iterator[str]:
    """Yields the limits of a run, a sentence or two each, the most severe first."""
    yield from _of_data(run)
    yield from _of_comparison(run)
    yield from _of_size(run)
    yield from _of_classes(run)
    yield from _of_values(run)
    yield from _of_export(run)
    yield from _of_training(run)
    yield (
        "Not measured: other sources than that of the test split, later times (drift), inputs that "
        "are damaged or made to deceive, and differences between groups of people, places or "
        "devices."
    )


def _of_data(run: Run) -> Iterator[str]:
    data = run.record.data
    if said := about_data(run.record):
        yield said
    openings = data.test_openings
    if openings is not None and openings > 1:
        yield (
            f"The test split was opened {openings:,} times by this pipeline on this machine. "
            "Choices made after looking at its results make them optimistic."
        )
    elif openings is None:
        yield "It was not counted how often the test split was opened."
    if data.duplicates:
        test = data.examples.get("test") or 0
        share = f" ({formatting.percent(data.duplicates / test)})" if test else ""
        yield (
            f"{formatting.counted(data.duplicates, 'test example')}{share} also "
            f"{'occurs' if data.duplicates == 1 else 'occur'} in train, so that results are "
            "optimistic."
        )
    elif data.duplicates is None:
        yield "It was not counted how many test examples also occur in train."
    if corrections := run.record.origin.get("corrections"):
        yield f"Labels were corrected, as {corrections.rpartition('/')[2]} lists."


def _of_comparison(run: Run) -> Iterator[str]:
    named = {"simple method": str(run.predictions.get("simple_method", "simple method"))}
    better = [
        (named.get(said, said), won) for said, _, won in baselines(run.metrics) if won is not None
    ]
    if worse := [said for said, won in better if won < 0]:
        yield f"The network is significantly worse than: {', '.join(worse)}."
    if equal := [said for said, won in better if won == 0]:
        yield f"The network is not significantly better than: {', '.join(equal)}."
    ratio = run.metrics.get("train_error_over_svd", {}).get("low")
    if ratio is not None and ratio > 1:
        yield (
            "A truncated SVD with a code of the same size, the best linear method, has a smaller "
            "squared error on train."
        )
    if not better and task_name(run.record) != "reconstruction":
        yield "The network was not compared with a simple method."
    if (target := run.record.target) and target.verdict == "not reached":
        yield "The target was not reached."


def _of_size(run: Run) -> Iterator[str]:
    entry = run.metrics.get(run.headline, {})
    value, low, high, n = (entry.get(key) for key in ("value", "low", "high", "n"))
    if value is None or low is None or high is None or not n:
        return
    share = formatting.is_share(run.headline)
    wide = high - low > WIDE if share else high - low > 0.2 * abs(value)
    if (n < SMALL or wide) and (said := trust.sentence(run.headline, entry)):
        yield f"{'The test split is small. ' * (n < SMALL)}{said}."
    yield (
        f"Intervals are those of the test split alone. This is one training, with seed "
        f"{run.record.seed}; another seed gives another network, which they do not contain."
    )


def _of_classes(run: Run) -> Iterator[str]:
    """Yields classes that are predicted worst, or of which little is known."""
    recalls = {
        name: entry
        for name in run.label_names
        if (entry := run.metrics.get(f"recall/{name}")) and entry.get("value") is not None
    }
    if len(recalls) > 1:
        worst = min(recalls, key=lambda name: recalls[name]["value"] or 0.0)
        said = formatting.measured("recall", recalls[worst])
    if len(recalls) > 1 and recalls[worst]["value"] != 1:
        yield (
            f"The lowest recall of the {len(run.label_names)} classes is that of “{worst}”: "
            f"{said} of {formatting.counted(int(recalls[worst].get('n') or 0), 'test example')}."
        )
    counts = {name: run.metrics.get(f"recall/{name}", {}).get("n") for name in run.label_names}
    rare = [f"“{name}”" for name, n in counts.items() if n is not None and n < RARE]
    if rare:
        yield (
            f"{len(rare)} of {len(run.label_names)} classes have fewer than {RARE} test examples, "
            f"which say little about them: {_listed(rare)}."
        )
    if task_name(run.record) != "multilabel":
        return
    constant = [f"“{n}”" for n in run.label_names if f"accuracy/{n}" not in run.metrics]
    if constant:
        yield (
            f"{len(constant)} of {len(run.label_names)} labels do not vary in train, so that "
            f"answers to them mean nothing: {_listed(constant)}."
        )
    unsure = [
        f"“{name}”"
        for name in run.label_names
        if (low := run.metrics.get(f"accuracy/{name}", {}).get("low")) is not None
        and low <= (run.metrics.get(f"majority_baseline/{name}", {}).get("value") or 0.0)
    ]
    if unsure:
        yield (
            f"{len(unsure)} of {len(run.label_names)} labels are not predicted significantly more "
            f"often than by always answering their majority: {_listed(unsure)}."
        )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def _of_values(run: Run) -> Iterator[str]:
    if task_name(run.record) != "regression":
        return
    labels = run.predictions["label"]
    if len(labels):
        low, high = (
            formatting.quantity(float(value)) for value in (np.min(labels), np.max(labels))
        )
        yield f"True values of the test split lie between {low} and {high}; others were not tried."


def _of_export(run: Run) -> Iterator[str]:
    proof = run.record.proof
    if proof is None or not proof.passed:
        what = "was not verified" if proof is None else "differs from the trained model"
        yield f"The export {what}: its answers are not those that were measured."
    for problem in run.record.problems:
        yield f"Incomplete: {problem}."


def _of_training(run: Run) -> Iterator[str]:
    record = run.record
    if record.search:
        yield (
            f"Its settings are the best of {record.search['trials']:,} trials on val; results on "
            "val are optimistic, those on test are not affected."
        )
    begun = {key: record.hyperparameters.get(key) for key in _PRETRAINED}
    if begun := {key: value for key, value in begun.items() if value not in (None, "", "none")}:
        said = ", ".join(f"{key}={str(value).rpartition('/')[2]}" for key, value in begun.items())
        yield (
            f"It begins with what other data taught ({said}). Whether they contain examples of the "
            "test split, and what else they contain, is not known here."
        )
    if "calibrated_ece" not in run.metrics and task_name(record) in (
        "classification",
        "multilabel",
    ):
        yield "Its probabilities are not calibrated."
    cut = record.data.about.get("cut_texts")
    length = record.data.about.get("sequence_length")
    if cut and length:
        yield (
            f"Only the first {length:,} tokens of a text are read; {formatting.percent(cut)} of "
            "the training texts are longer."
        )
