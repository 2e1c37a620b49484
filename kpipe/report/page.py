"""The page of a report, and the sections common to all runs."""

import dataclasses
import datetime
import pathlib
import shlex
from collections.abc import Iterable, Mapping

from .. import files, formatting
from ..measures import trust
from ..records import Record, Run
from . import look, pictures, style, training, words
from .banner import data_banner
from .tables import (
    Section,
    code,
    escape,
    grid,
    paragraph,
    section,
    section_of,
    settings,
    table,
    text,
)

_SPACE = "\N{NO-BREAK SPACE}"
# Metrics that are shown below a headline metric.
_BESIDE = {"accuracy": ("balanced_accuracy", "macro_f1")}
# Verdict: (text, CSS class); any other verdict is shown as it is.
_VERDICTS = {
    "reached": ("✓ target reached", "good"),
    "consistent": ("≈ consistent with the target", "fair"),
    "not reached": ("✗ target not reached", "bad"),
}


def write(
    run: Run,
    plots: Iterable[pictures.Plot],
    facts: Iterable[tuple[str, str]] = (),
    sections: Iterable[Section] = (),
    alert: str = "",
) -> pathlib.Path:
    """Draws the figures and writes them and the report into the run's folder.

    A figure that raises an error is left out; the error is shown on the terminal, added to the
    problems of the record, and shown on the page with these.

    Args:
        run: The finished run.
        plots: Functions `f(run) -> Figure | bytes | None`; bytes are an animated GIF, None leaves
            the figure out. The function's name becomes the file name, the first line of its
            docstring the caption.
        facts: Pairs for the box next to the headline metric: ("Always predicting the most frequent
            class", "11.35 %").
        sections: Tables of the task.
        alert: What a reader must know first, such as that a simple method is better.

    Returns:
        The path of `report.html`; figures are `figures/NAME.png` or `.gif` in the same folder.

    Example:
        write(run, (figures.learning_curves,), tasks.find(run.record.task).facts(run))
    """
    drawn, failures = pictures.draw(run.folder, run, plots)
    run.record.problems += [line for line in failures if line not in run.record.problems]
    sections = tuple(sections)
    found = getattr(run.data, "look", None)
    body = (
        f'<aside class="alert">{text(alert)}</aside>' if alert else "",
        data_banner(run.record, get_real=run.record.data.get_real),
        _header(run),
        _verdict(run, facts),
        look.sections(found) if found else "",
        pictures.lay_out(drawn, run.record.problems),
        *map(section_of, sections),
        section_of(words.metrics_section(run, sections)),
        _architecture(run.record),
        _configuration(run.record),
        training.section_of(run),
        _environment(run.record),
        _commands(run),
    )
    page = style.PAGE.format(
        title=escape(_title(run)),
        icon=style.ICON,
        style=style.STYLE,
        body="\n".join(filter(None, body)),
    )
    path = run.folder / "report.html"
    files.write_bytes(path, page.encode())
    return path


# Sections, in the order of the page. Each returns HTML, or "" if it has no content.


def _title(run: Run) -> str:
    sample = ", sample data" if run.record.data.kind == "sample" else ""
    return f"{run.name}{sample}, seed {run.record.seed}"


def _header(run: Run) -> str:
    record = run.record
    sizes = ", ".join(f"{n:,} {split}" for split, n in record.data.examples.items())
    found = f"Data: {record.data.description}" if record.data.description else ""
    about = f"{found} ({sizes})" if found and sizes else found
    trained = f"{' · ' if about else ''}trained {_date(record.finished)}" if record.finished else ""
    return f"""<header><h1>{text(run.name)}</h1>
<p class="lead">{text(record.title)}</p>
<p class="quiet">{text(about)}{trained}</p></header>"""


def _date(written: str) -> str:
    """Formats date and time of day, in the time zone of the run."""
    try:
        shown = f"{datetime.datetime.fromisoformat(written):%Y-%m-%d %H:%M}"
    except ValueError:
        shown = written
    return f'<time datetime="{escape(written)}">{escape(shown)}</time>'


def _verdict(run: Run, facts: Iterable[tuple[str, str]]) -> str:
    """Writes the headline metric, large, and the facts needed to judge it."""
    pairs = [*words.target(run.record), *facts]
    pairs += [*_trust(run), *words.data_facts(run.record)]
    listed = "".join(f"<div><dt>{text(k)}</dt><dd>{text(v)}</dd></div>" for k, v in pairs)
    return f"""<section class="verdict">{_headline(run)}
<dl>{listed}</dl>{_proof(run.record)}</section>"""


def _headline(run: Run) -> str:
    name = run.headline
    if not name:
        return ""
    entry = run.metrics[name]
    bounds = formatting.interval(name, entry)
    about = [f"95 % interval {bounds}"] if bounds else []
    about += [f"n{_SPACE}={_SPACE}{n:,}"] if (n := entry.get("n")) is not None else []
    others = [other for other in _BESIDE.get(name, ()) if other in run.metrics]
    beside = "".join(
        f"<p>{text(f'{formatting.words(o)} {formatting.measured(o, run.metrics[o])}')}</p>"
        for o in others
    )
    verdict = run.record.target.verdict if run.record.target else ""
    said, look = _VERDICTS.get(verdict, (verdict, "plain"))
    chip = f'<p class="chip {look}">{text(said)}</p>' if said else ""
    return f"""<div class="headline">
<p class="quiet">{text(formatting.with_unit(name))} on the test split</p>
<p class="big">{text(formatting.number(name, entry.get("value")))}</p>
<p>{text(", ".join(about))}</p>{beside}{chip}</div>"""


def _trust(run: Run) -> Iterable[tuple[str, str]]:
    """What the interval says about own data, for which there is no target."""
    if run.record.data.kind == "own" and run.headline:
        said = trust.sentence(run.headline, run.metrics[run.headline])
        if said:
            yield "What the interval says", said


def _proof(record: Record) -> str:
    proof = record.proof
    if not proof:
        return '<p class="proof plain"><strong>The export is not verified.</strong></p>'
    if not proof.passed:
        return f"""<p class="proof bad"><strong>✗ The export differs from the trained
model:</strong> {text(words.difference(proof))}.</p>"""
    difference, allowed = map(formatting.small, (proof.max_difference, proof.tolerance))
    compared = words.compared(proof, record.data.examples.get("test"))
    return f"""<p class="proof good"><strong>✓ Export verified:</strong> it matches the trained
model within {difference} (allowed: {allowed}){text(compared)}.</p>"""


def _architecture(record: Record) -> str:
    model = record.model
    if not model:
        return ""
    rows = [
        (
            layer.name,
            layer.type,
            formatting.shape(layer.output_shape),
            layer.formula,
            formatting.count(layer.parameters),
        )
        for layer in model.layers
    ]
    total, trainable = model.parameters, model.trainable_parameters
    share = "all" if total == trainable else formatting.count(trainable)
    head = ("layer", "type", "output shape", "weight shapes", "parameters")
    return section(
        f"Architecture: {formatting.words(model.name)}",
        paragraph(f"{total:,} parameters, {share} trainable.") + table(head, rows, look="layers"),
    )


def _configuration(record: Record) -> str:
    overrides = record.overrides
    said = ", ".join(f"{key} = {formatting.value(v, exact=True)}" for key, v in overrides.items())
    note = f"Overridden: {said}." if overrides else "All values are defaults."
    tables = (
        settings(title, values, marked=overrides, exact=True)
        for title, values in (
            ("hyperparameters", record.hyperparameters),
            ("trainer", record.trainer),
        )
    )
    return section("Configuration", paragraph(note) + grid(*tables))


def _environment(record: Record) -> str:
    data = {
        field.name: getattr(record.data, field.name)
        for field in dataclasses.fields(record.data)
        if field.name not in ("get_real", "about")
    }
    plan, times = record.plan, record.plan_milliseconds
    if times:
        plan = f"{plan}, the fastest; ms a step: {formatting.plans(times)}"
    identity = {"seed": record.seed, "plan": plan, "weights_sha256": record.weights_sha256}
    return section(
        "Environment",
        grid(
            settings("versions", record.versions),
            settings("machine", _in_words(record.machine)),
            settings("run", _in_words(identity)),
            settings("data", _in_words({**data, **record.data.about})),
        ),
    )


def _in_words(values: Mapping[str, object]) -> dict[str, object]:
    """Writes names in words; leaves out unknown values."""
    return {
        formatting.words(key): value for key, value in values.items() if value not in (None, "", ())
    }


def _commands(run: Run) -> str:
    record, folder = run.record, run.folder
    if folder.is_absolute() and folder.is_relative_to(pathlib.Path.cwd()):
        folder = folder.relative_to(pathlib.Path.cwd())
    path = folder.as_posix()
    load = f"import kpipe\n\nmodel = kpipe.load({path!r})"
    if record.proof and "decode" in record.proof.differences:  # an endpoint of the export
        load += "\nmodel.decode(model.encode(images)['code'])  # model.reconstruct(images)"
    body = f"""<p>Reproduce the run:</p><pre>{code(record.command)}</pre>
<p>Use the model in Python:</p><pre>{escape(load)}</pre>"""
    if record.data.usage:
        command = f"kpipe predict {shlex.quote(path)} {record.data.usage}"
        body += f"\n<p>Use the model on the command line:</p><pre>{code(command)}</pre>"
    return section("Reproduce and use", body)
