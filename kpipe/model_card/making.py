"""How a model was made and proven, and its files: sections of its card."""

from typing import Any

from .. import formatting, manifest, report
from ..records import Run
from . import markdown
from .markdown import code, text
from .other_formats import other_formats

# The files of a run that are listed: what the model is, and what was measured.
_FILES = ("model.keras", "serving/", "run.json", "metrics.json", "predictions.npz", "golden.npz")


def training(run: Run) -> str:
    """Writes how the model was trained: network, settings, course and times."""
    record = run.record
    rows: list[tuple[str, Any]] = [
        ("seed", record.seed),
        ("execution plan", record.plan),
        ("precision", record.dtype_policy),
        ("budget", None if record.budget is None else formatting.duration(record.budget)),
        ("callbacks", record.callbacks),
        ("shards of a batch", record.shards or None),
        *report.summary_of(run).items(),
        *((f"time: {name}", time) for name, time in report.times_of(run).items()),
        ("finished", record.finished),
    ]
    said = ", ".join(code(key) for key in record.overrides)
    command = " ".join(record.command.split())
    note = f"Not the pipeline's defaults: {said}." if said else "All values are defaults."
    return markdown.join(
        "## Training",
        markdown.paragraph(report.notes_of(run)),
        markdown.settings("training", rows),
        "### Settings",
        note,
        markdown.settings(
            "key", [*record.hyperparameters.items(), *record.trainer.items()], exact=True
        ),
        _network(run),
        "The same training again:",
        markdown.block("python" if command.startswith("kpipe.") else "sh", command),
    )


def _network(run: Run) -> str:
    model = run.record.model
    if not model:
        return ""
    share = formatting.count(model.trainable_parameters)
    rows = [
        (
            text(layer.name),
            text(layer.type),
            text(formatting.shape(layer.output_shape)),
            formatting.count(layer.parameters),
        )
        for layer in model.layers
    ]
    return markdown.join(
        f"### Network: {text(formatting.words(model.name))}",
        f"{model.parameters:,} parameters, {share} trainable.",
        markdown.table(("layer", "type", "output shape", "parameters"), rows),
    )


def export(run: Run) -> str:
    """Writes what was compared to prove the export, and which other formats there are."""
    record, proof = run.record, run.record.proof
    if proof is None:
        said = "The export was not verified."
    elif proof.passed:
        largest, allowed = map(formatting.small, (proof.max_difference, proof.tolerance))
        compared = report.compared(proof, record.data.examples.get("test"))
        said = (
            "A process without Keras replayed the export: it answers as the trained model did, "
            f"within {largest} (allowed: {allowed}){compared}."
        )
        if proof.undecided:
            said += (
                f" Of {formatting.counted(proof.undecided, 'test example')} the chosen words were "
                "not compared, since they depend on the last bit."
            )
    else:
        said = f"The export DIFFERS from the trained model: {report.difference(proof)}."
    differences = proof.differences.items() if proof else ()
    rows = [(text(name), formatting.small(value)) for name, value in differences]
    return markdown.join(
        "## Export",
        markdown.paragraph(said),
        markdown.table(("endpoint", "largest difference"), rows) if rows else "",
        other_formats(run),
    )


def identity(run: Run) -> str:
    """Writes versions, machine, and the hashes of code, weights and files."""
    record = run.record
    hashes: list[tuple[str, Any]] = [
        ("weights", record.weights_sha256),
        ("code of the pipeline", record.code_sha256),
        *((f"module {name}", digest) for name, digest in record.modules.items()),
        *((f"content of {key}", digest) for key, digest in record.contents.items()),
    ]
    machine = ((formatting.words(key), value) for key, value in record.machine.items())
    return markdown.join(
        "## Environment and files",
        markdown.settings("environment", [*record.versions.items(), *machine]),
        "### SHA-256",
        markdown.settings("of", hashes),
        _files(run),
        "`kpipe verify` compares all files with them, and replays the export.",
    )


def _files(run: Run) -> str:
    path = run.folder / manifest.NAME
    if not path.is_file():
        return ""
    listed = manifest.read(path)
    rows = [
        (code(name), "" if size is None else f"{size:,}", code(digest))
        for name, (digest, size) in sorted(listed.items())
        if name.startswith(_FILES)
    ]
    return markdown.table(("file", "bytes", "SHA-256"), rows)
