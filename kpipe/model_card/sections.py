"""The sections of a model card that follow from a run's files; each returns Markdown."""

import json
import pathlib
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from .. import files, formatting, manifest, report, tasks
from ..errors import UserError
from ..records import Run
from . import markdown
from .limits import limits as limits_of
from .markdown import code, text
from .metadata import input_kind, task_name

FEW = 20  # labels that are named
EXPORTS = "exports"  # folder of other formats, in that of a run
_KINDS = {"real": "real", "sample": "SAMPLE DATA: synthetic, small", "own": "own data"}
_ANSWERS = {
    "classification": "assigns one of {labels} classes to {article}",
    "multilabel": "says of each of {labels} labels whether {article} has it",
    "regression": "predicts a number{labels} for {article}",
    "reconstruction": "encodes {article} as a code, and reconstructs it from that",
}
_ARTICLES = {"image": "an image", "text": "a text", "tabular": "a row of numbers"}


def summary(run: Run) -> str:
    """Writes what the model is, on what it was trained, and what it reaches."""
    record, task = run.record, tasks.find(run.record.task)
    alerts = [line for line in (report.about_data(record), task.alert(run)) if line]
    if record.proof is None or not record.proof.passed:
        alerts.append("THE EXPORT IS NOT VERIFIED: it may answer otherwise than what was measured.")
    warning = "\n>\n".join(f"> **{text(line)}**" for line in alerts)
    said = (markdown.paragraph(line) for line in task.summary(run).splitlines())
    target = [
        f"target {text(limit)}: {text(record.target.verdict if record.target else '')}"
        for _, limit in report.target(record)
    ]
    return markdown.join(
        f"# {text(record.pipeline)}",
        # The title of a user's data is that of a pipeline for any data.
        markdown.paragraph(record.title) if record.data.kind != "own" else "",
        warning,
        _in_words(run),
        markdown.bullets([*said, *target]),
    )


def _in_words(run: Run) -> str:
    record = run.record
    name, examples = task_name(record), record.data.examples
    labels = list(record.data.label_names)
    if name == "multilabel":
        labels = [label for label in labels if f"accuracy/{label}" in run.metrics]
    said = formatting.count(len(labels))
    if name == "regression":
        said = f", {text(labels[0])}," if len(labels) == 1 else ""
    article = (
        "a row of a table" if "columns" in record.data.about else _ARTICLES[input_kind(record)]
    )
    answer = _ANSWERS[name].format(labels=said, article=article)
    what = "A network"
    if record.model:
        what = f"A network ({text(record.model.name)}) of {record.model.parameters:,} parameters"
    kind = _KINDS.get(record.data.kind, record.data.kind)
    trained = f"It was trained on {text(record.data.name)} ({text(kind)})"
    if "train" in examples:
        trained += f", {formatting.counted(examples['train'], 'example')}"
    if test := examples.get("test"):
        trained += f", and measured on {formatting.counted(test, 'test example')}"
    return f"{what} that {answer}. {trained}, with kpipe {text(_version(run))}."


def _version(run: Run) -> str:
    return run.record.versions.get("kpipe", "")


def use(run: Run) -> str:
    """Writes how the model is used, in Python, on the command line and by TensorFlow Serving."""
    record, kind = run.record, input_kind(run.record)
    name = record.pipeline
    is_encoder = task_name(record) == "reconstruction"
    call = {
        "image": 'answers = model.predict_files(["image.jpg"])  # images of any size',
        "text": 'answers = model.predict(["A text."])',
        "tabular": 'answers = model.predict_files(["rows.csv"])  # a row an example',
    }[kind]
    python = [
        "import kpipe",
        "",
        f"model = kpipe.load({json.dumps(name, ensure_ascii=False)})  # the folder of this card",
        call,
    ]
    if is_encoder:
        python.append('images = model.decode(answers["code"])  # float32, white is 1')
    given = record.data.usage or {"image": "IMAGE ...", "text": '--text "A TEXT"'}.get(
        kind, "ROWS.csv"
    )
    folder = shlex.quote(name)
    shell = (f"kpipe predict {folder} {given}", f"kpipe serve {folder}")
    serving = (
        f'docker run -p 8501:8501 -v "$PWD"/{folder}/serving:/models/model tensorflow/serving',
    )
    layers = "import kpipe.layers  # which model.keras contains\n" if _has_layers(run) else ""
    keras = (
        "import keras",
        *layers.splitlines(),
        "",
        f"model = keras.models.load_model({json.dumps(name + '/model.keras', ensure_ascii=False)}"
        ", compile=False)",
    )
    return markdown.join(
        "## How to use it",
        "With TensorFlow, without Keras; the graph is checked before it is loaded:",
        markdown.block("python", *python),
        "On the command line, and as a server with TensorFlow Serving's protocol:",
        markdown.block("sh", *shell),
        "With TensorFlow Serving itself:",
        markdown.block("sh", *serving),
        "With Keras, as it was trained:",
        markdown.block("python", *keras),
        _endpoints(run),
    )


def _has_layers(run: Run) -> bool:
    latents = run.record.details.get("latents")
    return isinstance(latents, Mapping) and bool(latents.get("has_prior"))


def _endpoints(run: Run) -> str:
    proof = run.record.proof
    names = {n.removesuffix(" on the test split") for n in (proof.differences if proof else {})}
    listed = ", ".join(code(name) for name in sorted(names - {"test split"}))
    return f"Signatures of the SavedModel: {listed}." if listed else ""


def data(run: Run) -> str:
    """Writes what the model was trained and measured on."""
    found = run.record.data
    names = [str(name) for name in found.label_names]
    labels = ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" * (len(names) > FEW))
    official = {"real": formatting.value(found.official)}.get(found.kind)
    rows: list[tuple[str, Any]] = [
        ("name", found.name),
        ("kind", _KINDS.get(found.kind, found.kind)),
        ("official, as published", official),
        ("source", found.description),
        *((f"{split} examples", n) for split, n in found.examples.items()),
        ("labels", f"{len(names):,}: {labels}" if names else None),
        *((name[0].lower() + name[1:], said) for name, said in report.data_facts(run.record)),
        *((formatting.words(n), v) for n, v in found.about.items() if n != "cut_texts"),
        ("fingerprint of the prepared data", found.fingerprint),
    ]
    return markdown.join("## Data", markdown.settings("data", rows))


def results(run: Run) -> str:
    """Writes the metrics with their intervals, baselines, target, classes and calibration."""
    task = tasks.find(run.record.task)
    entry = run.metrics.get(run.headline, {})
    bounds = formatting.interval(run.headline, entry)
    rows = []
    if run.headline:
        said = f"**{text(formatting.number(run.headline, entry.get('value')))}**"
        said += f", 95 % interval {bounds}" * bool(bounds)
        said += f", n = {n:,}" if (n := entry.get("n")) is not None else ""
        rows.append((text(formatting.with_unit(run.headline)), said))
    verdict = run.record.target.verdict if run.record.target else ""
    rows += [
        (text(name), f"{text(limit)}: {text(verdict)}") for name, limit in report.target(run.record)
    ]
    rows += [(text(name), text(said)) for name, said in task.facts(run)]
    sections = list(task.sections(run))
    if curve := report.read_learning_curve(run.folder):
        sections.insert(0, report.learning_curve_section(curve))
    sections.append(report.metrics_section(run, sections))
    note = "Measured on the test split, on which it was not trained. Intervals are at 95 %."
    return markdown.join(
        "## Results",
        note,
        markdown.table(("result", ""), rows),
        *map(markdown.section, sections),
    )


def limits(run: Run) -> str:
    """Writes the limits of the results."""
    return markdown.join("## Limits", markdown.bullets(map(markdown.paragraph, limits_of(run))))


def training(run: Run) -> str:
    """Writes how the model was trained: network, settings, course and times."""
    record = run.record
    rows: list[tuple[str, Any]] = [
        ("seed", record.seed),
        ("execution plan", record.plan),
        ("precision", record.dtype_policy),
        ("budget", None if record.budget is None else formatting.duration(record.budget)),
        ("callbacks", record.callbacks),
        ("devices' shards of a batch", record.shards or None),
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
        _formats(run),
    )


def _formats(run: Run) -> str:
    """Writes a table of the other formats that `kpipe export` wrote."""
    found = list(_exports(run.folder))
    if not found:
        return ""
    keys = list(dict.fromkeys(key for _, facts in found for key in facts))
    rows = [
        (text(name), *(text(formatting.value(facts[key])) if key in facts else "" for key in keys))
        for name, facts in found
    ]
    head = ("folder", *(text(formatting.words(key)) for key in keys))
    return markdown.join("### Other formats", markdown.table(head, rows))


def _exports(folder: pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields what is recorded of other formats: their plain facts, by the name of their folder.

    Raises:
        UserError: A record is damaged; the message names it.
    """
    for path in sorted(folder.glob(f"{EXPORTS}/*/export.json")):
        content = files.read_json(path)
        if not isinstance(content, Mapping):
            raise UserError(f"{path}: not the record of an export; export it again with --fresh")
        plain = (bool, int, float, str)
        yield (
            path.parent.relative_to(folder).as_posix(),
            {key: value for key, value in content.items() if isinstance(value, plain)},
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
    return markdown.join(
        "## Environment and files",
        markdown.settings("environment", [*record.versions.items(), *_machine(record.machine)]),
        "### SHA-256",
        markdown.settings("of", hashes),
        _files(run),
        "`kpipe verify` compares all files with them, and replays the export.",
    )


def _machine(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from ((formatting.words(key), value) for key, value in values.items())


# The files of a run that are listed: what the model is, and what was measured.
_FILES = ("model.keras", "serving/", "run.json", "metrics.json", "predictions.npz", "golden.npz")


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
