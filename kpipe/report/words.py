"""What is said of a run wherever it is described: its target, data, metrics and proof."""

from collections.abc import Iterable, Iterator

from .. import formatting
from ..records import ProofRecord, Record, Run
from .tables import Section


def target(record: Record) -> Iterator[tuple[str, str]]:
    """Yields the target of a run, if it has one: ("Target", "at least 98.25 % (lab course)")."""
    if found := record.target:
        at_most = found.at_least is None
        limit = formatting.limit(found.metric, found.at_most if at_most else found.at_least)
        source = f" ({found.source})" if found.source else ""
        yield "Target", f"at {'most' if at_most else 'least'} {limit}{source}"


def data_facts(record: Record) -> Iterator[tuple[str, str]]:
    """Yields how often the test split was opened, and what it shares with train."""
    if (openings := record.data.test_openings) is not None:
        yield "Test split opened", "once" if openings == 1 else f"{openings:,} times so far"
    if (duplicates := record.data.duplicates) is not None:
        yield "Test examples that also occur in train", f"{duplicates:,}" if duplicates else "none"


def metrics_section(run: Run, sections: Iterable[Section]) -> Section:
    """Returns the table of all metrics except those that other sections show."""
    shown = frozenset[str]().union(*(part.metrics for part in sections))
    rows = [
        (
            formatting.with_unit(name),
            formatting.measured(name, entry),
            formatting.value(entry.get("n")),
        )
        for name, entry in run.metrics.items()
        if name not in shown
    ]
    head = ("metric on the test split", "value [95 % interval]", "n")
    return Section("Metrics", head, rows)


def compared(proof: ProofRecord, test_examples: int | None) -> str:
    """Lists what a passed proof compared: " in 5 endpoints, with batches of 1, 7, 64, on ..."."""
    found = ""
    names = {name.removesuffix(" on the test split") for name in proof.differences}
    if count := len(names - {"test split"}):  # a name of format 1
        found += f" in {formatting.counted(count, 'endpoint')}"
    if proof.batches:
        found += f"{',' * bool(found)} with batches of {', '.join(map(str, proof.batches))}"
    cases = list(proof.compared)
    if examples := proof.test_examples or test_examples:
        cases.append("the test example" if examples == 1 else f"all {examples:,} test examples")
    if cases:
        listed = " and on ".join(filter(None, [", on ".join(cases[:-1]), cases[-1]]))
        found += f"{',' * bool(found)} on {listed}"
    return found


def difference(proof: ProofRecord) -> str:
    """Describes how an export differs from the trained model."""
    found = []
    if proof.max_difference > proof.tolerance or proof.labels_agree:
        largest, allowed = map(formatting.small, (proof.max_difference, proof.tolerance))
        found.append(f"largest difference {largest} (allowed: {allowed})")
    if found and proof.differences:
        worst = max(proof.differences, key=lambda name: proof.differences[name])
        found.append(f"in {worst}")
    if not proof.labels_agree:
        found.append("predicted labels differ")
    return ", ".join(found)
