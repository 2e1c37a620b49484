"""The sections of a model card that follow from a run's files; each returns Markdown."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from .. import formatting, report, tasks
from ..records import Run
from . import markdown
from .limits import limits as limits_of
from .markdown import code, text
from .metadata import input_kind, is_defined, kind_of, task_name

FEW = 20  # labels that are named
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
        f"target {text(formatting.words(record.target.metric))} {text(limit)}: "
        f"{text(record.target.verdict)}"
        for _, limit in report.target(record)
        if record.target
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
    trained = f"It was trained on {text(record.data.name)} ({text(kind_of(record.data))})"
    if "train" in examples:
        trained += f", {formatting.counted(examples['train'], 'example')}"
    if test := examples.get("test"):
        trained += f", and measured on {formatting.counted(test, 'test example')}"
    version = record.versions.get("kpipe", "")
    return f"{what} that {answer}. {trained}, with kpipe {text(version)}."


def use(run: Run) -> str:
    """Writes how the model is used, in Python, on the command line and by TensorFlow Serving."""
    model = json.dumps(f"{run.record.pipeline}/model.keras", ensure_ascii=False)
    layers = ["import kpipe.layers  # which model.keras contains"] if _has_layers(run) else []
    keras = ("import keras", *layers, "", f"keras.models.load_model({model}, compile=False)")
    proof = run.record.proof
    return markdown.join(
        "## How to use it",
        *(_export_in_use(run) if proof and proof.passed else ()),
        "With Keras, as it was trained:",
        markdown.block("python", *keras),
    )


def _export_in_use(run: Run) -> Iterator[str]:
    """Yields how the SavedModel is used, which is only there if it is verified."""
    record, kind = run.record, input_kind(run.record)
    call = {
        "image": 'answers = model.predict_files(["image.jpg"])  # images of any size',
        "text": 'answers = model.predict(["A text."])',
        "tabular": 'answers = model.predict_files(["rows.csv"])  # a row an example',
    }[kind]
    usage = {"image": "IMAGE ...", "text": '--text "A TEXT"', "tabular": "ROWS.csv"}[kind]
    name = json.dumps(record.pipeline, ensure_ascii=False)
    python = ["import kpipe", "", f"model = kpipe.load({name})  # the folder of this card", call]
    if task_name(record) == "reconstruction":
        python.append('images = model.decode(answers["code"])  # float32, white is 1')
    folder = shlex.quote(record.pipeline)
    yield "With TensorFlow, without Keras; the graph is checked before it is loaded:"
    yield markdown.block("python", *python)
    yield "On the command line, and as a server with TensorFlow Serving's protocol:"
    yield markdown.block("sh", f"kpipe predict {folder} {usage}", f"kpipe serve {folder}")
    yield "With TensorFlow Serving itself:"
    place = f'-v "$PWD"/{folder}/serving:/models/model'
    yield markdown.block("sh", f"docker run -p 8501:8501 {place} tensorflow/serving")
    differences = record.proof.differences if record.proof else ()
    names = {name.removesuffix(" on the test split") for name in differences}
    if listed := ", ".join(code(name) for name in sorted(names - {"test split"})):
        yield f"Signatures of the SavedModel: {listed}."


def _has_layers(run: Run) -> bool:
    latents = run.record.details.get("latents")
    return isinstance(latents, Mapping) and bool(latents.get("has_prior"))


def data(run: Run) -> str:
    """Writes what the model was trained and measured on."""
    found = run.record.data
    names = [str(name) for name in found.label_names]
    labels = ", ".join(names[:FEW]) + (f" and {len(names) - FEW} more" * (len(names) > FEW))
    published = found.kind == "real" and not is_defined(found)
    rows: list[tuple[str, Any]] = [
        ("name", found.name),
        ("kind", kind_of(found)),
        ("official, as published", found.official if published else None),
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
    return markdown.join(
        "## Results",
        f"Measured on the test split{_shared(run)}. Intervals are at 95 %.",
        markdown.table(("result", ""), rows),
        *map(markdown.section, sections),
    )


def _shared(run: Run) -> str:
    """Says whether the network was trained on the test examples, if they were compared."""
    shared, test = run.record.data.duplicates, run.record.data.examples.get("test")
    if shared is None:
        return ""
    if not shared:
        return ", on which it was not trained"
    if shared == test:
        return ", which also occurs in train"
    return f", of which {formatting.counted(shared, 'example')} also " + (
        "occurs in train" if shared == 1 else "occur in train"
    )


def limits(run: Run) -> str:
    """Writes the limits of the results."""
    return markdown.join("## Limits", markdown.bullets(map(markdown.paragraph, limits_of(run))))
