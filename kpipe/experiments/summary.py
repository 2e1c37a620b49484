"""Summary of a run for the terminal."""

from .. import formatting, tasks
from ..measures import trust
from ..records import ProofRecord, Run


def summary(run: Run) -> str:
    """Writes the result of a finished run in a few lines; the last is its report, if it has one.

    If the network is worse than a simple method, the first says so.
    """
    record = run.record
    task = tasks.find(record.task)
    alert = task.alert(run)
    lines = [alert] if alert else []
    kind = "your own" if record.data.kind == "own" else record.data.kind
    lines.append(f"{record.pipeline} on {kind} data: {task.summary(run)}")
    if record.data.kind == "own" and run.headline:
        lines += filter(None, [trust.sentence(run.headline, run.metrics[run.headline])])
    if target := record.target:
        limit = formatting.target(target.metric, target.at_least, target.at_most)
        source = f" ({target.source})" if target.source else ""
        lines.append(f"target {limit}{source}: {target.verdict}")
    if (openings := record.data.test_openings) is not None:
        shared = formatting.count(record.data.duplicates)
        times = "once" if openings == 1 else f"{openings:,} times"
        lines.append(
            f"test split opened {times} by this pipeline on this machine; {shared} of its examples "
            "also occur in train"
        )
    if record.proof:
        lines.append(_proof(record.proof))
    if (path := run.folder / "report.html").is_file():
        lines.append(f"report: {path}")
    return "\n".join(lines)


def _proof(proof: ProofRecord) -> str:
    difference, allowed = map(formatting.small, (proof.max_difference, proof.tolerance))
    text = f"export {'verified' if proof.passed else 'NOT VERIFIED'}: largest difference "
    text += f"{difference} (allowed: {allowed})"
    if proof.differences:
        worst = max(proof.differences, key=lambda name: proof.differences[name])
        text += f", in {worst}"
    if not proof.labels_agree:
        text += ", other labels"
    if proof.test_examples:
        text += f", {formatting.counted(proof.test_examples, 'test example')}"
    return text
