"""A run in five lines, and as a card in a notebook.

The card has no style sheet, which notebooks remove from pages that they do not trust: text and
lines take the colour of what is around them, so that it is readable on a light and a dark page.
"""

import base64
import html
import io
import pathlib
from collections.abc import Iterator

from .. import formatting
from ..measures import trust
from ..measures.intervals import sign_of
from .record import Record

# Baselines: what they are called on a line, and the metric of the network's difference from them.
_BASELINES = {
    "simple_baseline": ("simple method", "above_simple"),
    "simple_baseline_mae": ("simple method", "mae_above_simple"),
    "bag_of_words_baseline": ("bag of words", "above_bag_of_words"),
    "ngrams_baseline": ("NB n-grams", "above_ngrams"),
    "linear_regression_mae": ("linear regression", "mae_above_linear_regression"),
    "majority_baseline": ("majority", ""),
    "mean_baseline_mae": ("mean", ""),
    "svd_psnr": ("SVD PSNR", ""),
}
_BEATEN = {1: " (beaten)", 0: " (no significant difference)", -1: " (NOT beaten)"}
_KINDS = {"own": "your own data", "sample": "SAMPLE DATA", "real": "real data"}
# Verdict: text and colour; white text on it is readable on any page.
_VERDICTS = {
    "reached": ("✓ target reached", "#00664a"),
    "consistent": ("≈ consistent with the target", "#7a5000"),
    "not reached": ("✗ target not reached", "#a83200"),
}
_FIRST = "learning_curves"  # the figure that is shown first
_FIGURES = 2
_PIXELS = 640  # width of a figure, shown at half of it: sharp on a screen of twice the pixels

_QUIET = "opacity:.72;font-size:.92em"
_CARD = (
    "border:1px solid rgba(128,128,128,.45);border-radius:8px;padding:14px 18px;max-width:720px;"
    "background:rgba(128,128,128,.06);color:inherit;line-height:1.5;font-family:system-ui,"
    "-apple-system,'Segoe UI',sans-serif;font-size:14px;margin:4px 0;overflow-wrap:anywhere"
)


def text(folder: pathlib.Path, record: Record, metrics: dict, headline: str) -> str:
    """Writes a run in five lines: name, data, result, proof, report.

    Args:
        folder: Folder of the run.
        record: Its record, of any format.
        metrics: The content of its metrics.json; {} if it is not known.
        headline: Its main metric, "" without one.
    """
    lines = (
        f"{record.pipeline} in {folder}",
        f"data: {_data(record)}",
        "; ".join(
            filter(None, (_result(headline, metrics), *_baselines(metrics), _target(record)))
        ),
        _proof(record),
        _report(folder, record),
    )
    return "\n".join(" ".join(line.split()) for line in lines)


def _data(record: Record) -> str:
    data = record.data
    kind = _KINDS.get(data.kind, data.kind or "unknown")
    if data.kind == "real" and not data.official:
        kind += ", not the official"
    named = " ".join(filter(None, (data.name, f"({kind})")))
    sizes = ", ".join(f"{n:,} {split}" for split, n in data.examples.items())
    return f"{named}, {sizes} examples" if sizes else named


def _result(headline: str, metrics: dict) -> str:
    if headline not in metrics:
        return "no metrics"
    entry = metrics[headline]
    count = "" if (n := entry.get("n")) is None else f", n = {n:,}"
    return f"{formatting.with_unit(headline)} {formatting.measured(headline, entry)}{count}"


def baselines(metrics: dict) -> Iterator[tuple[str, str, int | None]]:
    """Yields what a network is compared with: its name, its metric, and who is better.

    The last is 1 if the network is significantly better, -1 if it is worse, 0 if neither is
    significant, and None if that was not tested.

    Args:
        metrics: The content of a metrics.json.
    """
    for name, (said, above) in _BASELINES.items():
        if name in metrics:
            sign = -1 if name.endswith("_mae") else 1  # the smaller error is better
            entry = {"low": None, "high": None, **metrics.get(above, {})}
            yield said, name, sign * sign_of(entry) if above in metrics else None


def _baselines(metrics: dict) -> Iterator[str]:
    for said, name, won in baselines(metrics):
        verdict = "" if won is None else _BEATEN[won]
        yield f"{said} {formatting.number(name, metrics[name].get('value'))}{verdict}"


def _target(record: Record) -> str:
    if not (target := record.target):
        return ""
    limit = formatting.target(target.metric, target.at_least, target.at_most)
    return f"target {limit}: {target.verdict or 'not judged'}"


def _proof(record: Record) -> str:
    proof = record.proof
    if not proof:
        return "export not verified"
    difference, allowed = map(formatting.small, (proof.max_difference, proof.tolerance))
    verdict = "verified" if proof.passed else "NOT VERIFIED"
    return f"export {verdict}: largest difference {difference} (allowed: {allowed})"


def _report(folder: pathlib.Path, record: Record) -> str:
    if record.status == "unfinished":
        return f"unfinished; the same call goes on: {record.command}"
    path = folder / "report.html"
    return (
        f"report: {path}" if path.is_file() else f"no report; kpipe.load({str(folder)!r}) loads it"
    )


def as_html(folder: pathlib.Path, record: Record, metrics: dict, headline: str) -> str:
    """Writes a run as a card for a notebook: HTML without scripts, styles and links.

    The arguments are those of `text`.
    """
    when = f" · {record.finished[:16].replace('T', ' ')}" if record.finished else ""
    seconds = record.times.get("train")
    trained = "" if seconds is None else f" · trained in {formatting.duration(seconds)}"
    about = f"{_data(record)} · seed {record.seed}{trained}{when}"
    overrides = ", ".join(f"{key}={value}" for key, value in record.overrides.items())
    own = record.data.kind == "own" and headline in metrics
    said = trust.sentence(headline, metrics[headline]) if own else ""
    parts = (
        _div(record.pipeline, "font-size:1.15em;font-weight:600"),
        _div(record.title),
        _div(about, _QUIET),
        _div(overrides, _QUIET),
        _headline(headline, metrics),
        _verdict(record),
        _div(" · ".join(_baselines(metrics))),
        _div(f"{said}." if said else ""),
        _div(f"{'✓' if record.proof and record.proof.passed else '✗'} {_proof(record)}"),
        _pictures(folder / "figures"),
        _div(_report(folder, record), _QUIET),
    )
    return f'<div style="{_CARD}">{"".join(parts)}</div>'


def _div(content: str, style: str = "") -> str:
    look = f' style="{style}"' if style else ""
    return f"<div{look}>{html.escape(content)}</div>" if content else ""


def _headline(headline: str, metrics: dict) -> str:
    if headline not in metrics:
        return _div("no metrics")
    entry = metrics[headline]
    bounds, n = formatting.interval(headline, entry), entry.get("n")
    about = [f"95 % interval {bounds}"] if bounds else []
    about += [f"n = {n:,}"] if n is not None else []
    big = html.escape(formatting.number(headline, entry.get("value")))
    return (
        f'<div style="margin-top:10px;{_QUIET}">'
        f"{html.escape(formatting.with_unit(headline))} on the test split</div>"
        f'<div><span style="font-size:2.3em;font-weight:600;line-height:1.2;margin-right:8px">{big}'
        "</span>"
        f"{html.escape(', '.join(about))}</div>"
    )


def _verdict(record: Record) -> str:
    verdict = record.target.verdict if record.target else ""
    if verdict not in _VERDICTS:
        return _div(_target(record))
    said, color = _VERDICTS[verdict]
    style = f"background:{color};color:#fff;border-radius:1em;padding:1px 10px"
    return f'<div><span style="{style}">{said}</span> {html.escape(_target(record))}</div>'


def _pictures(folder: pathlib.Path) -> str:
    """Writes the first figures of a run, smaller, within the page."""
    paths = sorted(folder.glob("*.png"), key=lambda path: (path.stem != _FIRST, path.name))
    shown = "".join(
        f'<img alt="{html.escape(formatting.words(name))}" style="width:330px;max-width:100%;'
        f'border-radius:4px" src="data:image/png;base64,{content}">'
        for name, content in _smaller(paths)
    )
    style = "display:flex;flex-wrap:wrap;gap:8px;margin:10px 0;align-items:flex-start"
    return f'<div style="{style}">{shown}</div>' if shown else ""


def _smaller(paths: list[pathlib.Path]) -> Iterator[tuple[str, str]]:
    """Yields names and base64 of the first figures; leaves out those that cannot be read."""
    from PIL import Image

    done = 0
    for path in paths:
        if done == _FIGURES:
            return
        buffer = io.BytesIO()
        try:
            with Image.open(path) as image:
                image.thumbnail((_PIXELS, 2 * _PIXELS))
                image.convert("RGB").quantize(128).save(buffer, "PNG", optimize=True)
        except Exception:  # damaged files raise errors of many types
            continue
        done += 1
        yield path.stem, base64.b64encode(buffer.getvalue()).decode()
