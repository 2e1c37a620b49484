"""The page of a hyperparameter search, `search.html`."""

import functools
import os
import pathlib
import re
import shlex
import urllib.parse
from collections.abc import Sequence

from .. import files, formatting
from ..figures import search as figures
from ..figures.trials import measured, named, number, shown
from ..measures.importance import Importance, importance
from ..records import Record
from ..records.study import COMPLETED, FAILED, RUNNING, Study, TrialRecord
from . import pictures, style
from .banner import data_banner
from .search_words import refit, sentences, unfinished, value_of, values_of
from .tables import code, escape, paragraph, section, table, text

SHOWN = 500  # completed trials
SHOWN_FAILED = 100
PLOTS = (
    figures.best_so_far,
    figures.trial_curves,
    figures.hyperparameters,
    figures.parallel_coordinates,
)

_STYLE = """
.banner { margin: 1rem 0; }
.says { margin: 1.5rem 0 0; padding-left: 1.2rem; }
.says li + li { margin-top: .4rem; }
.values { grid-column: 1 / -1; }
.values dd { overflow-wrap: anywhere; }
.every .scroll { max-height: 40rem; overflow-y: auto; }
.every thead th { position: sticky; top: 0; background: var(--page); }
.trials td { white-space: nowrap; }
.trials .marked th::after { content: ""; }
.failed td { min-width: 14rem; }
.failed td:nth-child(3), .space td:nth-child(2) { overflow-wrap: anywhere; }
.space td:nth-child(2) { min-width: 7rem; }
@media print { .every .scroll { max-height: none; } }
a { color: inherit; }
"""


def write_search(study: Study, record: Record, folder: pathlib.Path) -> pathlib.Path:
    """Draws the figures and writes them and the page into the search's folder.

    A figure that raises an error is left out; the error is shown on the terminal and on the page.

    Args:
        study: The search, finished or not: it is as long as it has no `refit`.
        record: Its record.
        folder: Its folder, which gets `search.html` and `figures/`.

    Returns:
        The path of the page, one HTML file that needs no network.
    """
    found = _importance(study)
    plots = [functools.update_wrapper(functools.partial(p, importance=found), p) for p in PLOTS]
    drawn, failures = pictures.draw(folder, study, plots)
    title = f"{record.pipeline}: {study.tuner} search"
    says = "".join(f"<li>{_unbroken(sentence)}</li>" for sentence in sentences(study, found))
    parts = [
        data_banner(record, get_real=record.data.get_real),
        _state(study, record),
        _header(title, record),
        _headline(study, folder),
        f'<section><ul class="says">{says}</ul></section>',
        pictures.lay_out(drawn, failures),
        _trials(study),
        _failed(study),
        _space(study, found),
        _commands(study, record),
    ]
    page = style.PAGE.format(
        title=escape(title + ", sample data" * (record.data.kind == "sample")),
        icon=style.ICON,
        style=style.STYLE + _STYLE,
        body="\n".join(filter(None, parts)),
    )
    path = folder / "search.html"
    files.write_bytes(path, page.encode())
    return path


def _importance(study: Study) -> Importance:
    trials = measured(study)
    objective = [trial.value for trial in trials if trial.value is not None]
    return importance([trial.values for trial in trials], study.scales, objective)


def _unbroken(sentence: str) -> str:
    """Escapes a sentence, whose options do not break at their hyphens."""
    return re.sub(r"--[a-z]+", r'<span class="whole">\g<0></span>', text(sentence))


# Sections, in the order of the page. Each returns HTML, or "" if it has no content.


def _state(study: Study, record: Record) -> str:
    said = unfinished(study)
    if not said:
        return ""
    return f"""<aside class="banner"><strong>NOT FINISHED:</strong> {text(said)} The same command
goes on:<pre>{code(record.command)}</pre></aside>"""


def _header(title: str, record: Record) -> str:
    sizes = ", ".join(f"{n:,} {split}" for split, n in record.data.examples.items())
    about = f"Data: {record.data.description}" if record.data.description else ""
    about += f" ({sizes})" if about and sizes else ""
    return f"""<header><h1>{text(title)}</h1>
<p class="lead">{text(record.title)}</p>
<p class="quiet">{text(about)}</p></header>"""


def _headline(study: Study, folder: pathlib.Path) -> str:
    """Writes the best trial, large, and what the search was."""
    trials = measured(study)
    big = ""
    if trials:
        best = trials[0]
        metric = study.objective.removeprefix("val_")
        bounds = formatting.interval(metric, {"low": best.low, "high": best.high})
        about = f"95 % interval {bounds}, " if bounds else ""
        big = f"""<div class="headline"><p class="quiet">{text(named(study))} of the best trial</p>
<p class="big">{text(number(study, best.value))}</p>
<p>{text(about)}trial {best.trial} of {len(study.trials):,}</p></div>"""
    facts = "".join(
        f"<div><dt>{text(name)}</dt><dd>{text(said)}</dd></div>"
        for name, said in _facts(study).items()
        if said
    )
    if trials:
        facts += f"""<div class="values"><dt>Values of trial {trials[0].trial}</dt>
<dd>{text(values_of(trials[0]))}</dd></div>"""
    if study.refit:
        path = pathlib.Path(study.refit["folder"]).absolute() / "report.html"
        link = urllib.parse.quote(os.path.relpath(path, folder.absolute()).replace(os.sep, "/"))
        facts += f"""<div class="values"><dt>Run of the best trial</dt><dd>{text(refit(study))};
<a href="{escape(link)}">its report</a></dd></div>"""
    if not big:
        return f'<dl class="facts">{facts}</dl>'
    return f'<section class="verdict">{big}<dl>{facts}</dl></section>'


def _facts(study: Study) -> dict[str, str]:
    counts = {COMPLETED: len(measured(study)), FAILED: len(_not_measured(study))}
    trained = study.folds * study.repeats
    splits = [f"{study.folds} folds"] * (study.folds > 1)
    splits += [f"{study.repeats} seeds"] * (study.repeats > 1)
    searched = max((trial.ended or 0.0 for trial in study.trials), default=0.0)
    size = "an infinite number" if study.size is None else f"{study.size:,}"
    keys = formatting.counted(len(study.space), "key")
    return {
        "Trials": ", ".join(f"{n:,} {kind}" for kind, n in counts.items() if n),
        "Different trials in the space": f"{size}, from {keys}",
        "Tuner": f"{study.tuner}, seed {study.seed}",
        "Each trial": "one training" if trained == 1 else f"the mean of {' × '.join(splits)}",
        "Duration": formatting.duration(searched) if searched else "",
        "Trainings at a time": f"{study.jobs:,}",
        "Test": "not seen by any trial",
    }


def _trials(study: Study) -> str:
    """Writes the table of completed trials, the best first."""
    trials = measured(study)
    keys = [key for key in study.space if any(key in trial.values for trial in trials)]
    rows = [
        (
            f"{rank}",
            f"{trial.trial}",
            value_of(study, trial),
            *(shown(trial.values[key]) if key in trial.values else "" for key in keys),
            _between([part.best_epoch for part in trial.parts]),
            formatting.duration(trial.seconds) if trial.parts else formatting.MISSING,
            _between([part.parameters for part in trial.parts]),
        )
        for rank, trial in enumerate(trials[:SHOWN], start=1)
    ]
    if not rows:
        return ""
    interval = " [95 % interval]" * any(trial.low is not None for trial in trials)
    head = ("rank", "trial", named(study) + interval, *keys, "best epoch", "time", "parameters")
    body = table(head, rows, look="trials", marked=("1",))
    return section("Trials", paragraph(_rest(trials, SHOWN)) + f'<div class="every">{body}</div>')


def _failed(study: Study) -> str:
    trials = _not_measured(study)
    rows = [
        (f"{trial.trial}", trial.error or "its objective is not a number", values_of(trial))
        for trial in trials[:SHOWN_FAILED]
    ]
    if not rows:
        return ""
    body = table(("trial", "reason", "values"), rows, look="failed")
    return section("Failed trials", paragraph(_rest(trials, SHOWN_FAILED)) + body)


def _not_measured(study: Study) -> list[TrialRecord]:
    """Returns the trials that ended without a finite objective."""
    done = {trial.trial for trial in measured(study)}
    return [t for t in study.trials if t.status != RUNNING and t.trial not in done]


def _rest(trials: Sequence[TrialRecord], shown: int) -> str:
    if len(trials) <= shown:
        return ""
    return f"The first {shown} of {len(trials):,}; all are in trials.csv."


def _between(numbers: Sequence[int]) -> str:
    """Writes the numbers of a trial's parts: "12", "9 to 12"."""
    if not numbers:
        return formatting.MISSING
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _space(study: Study, importance: Importance) -> str:
    trials = measured(study)
    rows = []
    for key, words in study.space.items():
        best = trials[0].values if trials else {}
        cells = [key, words, study.scales[key], shown(best[key]) if key in best else ""]
        if importance.is_known:
            value, spread = importance.keys[key]
            cells.append(f"{max(0.0, value):.2f} ± {spread:.2f}")
        rows.append(tuple(cells))
    head = ("key", "range", "scale", "best trial", *["importance"] * importance.is_known)
    return section("Space", table(head, rows, look="space"))


def _commands(study: Study, record: Record) -> str:
    said = "The same command continues a search that was interrupted"
    if study.tuner in ("random", "bayesian"):
        said += ", and with more --trials it goes on"
    body = f"<p>{_unbroken(said)}:</p>\n<pre>{code(record.command)}</pre>"
    if trials := measured(study):
        given = " ".join(shlex.quote(f"{k}={_typed(v)}") for k, v in trials[0].values.items())
        body += f"\n<p>Values of the best trial, to be typed:</p><pre>{code(given)}</pre>"
    return section("Go on", body)


def _typed(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
