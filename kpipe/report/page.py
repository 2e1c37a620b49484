"""The report of a finished run: one HTML file that needs no network, script or other file."""

import base64
import html
import pathlib
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from .. import files
from ..figures import style
from ..measures.evaluation import told_apart

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SPACE = "\N{NO-BREAK SPACE}"
# Metrics of single classes and labels: they have tables of their own.
_APART = ("precision", "recall", "accuracy", "majority_baseline", "roc_auc")
_ABBREVIATIONS = {
    "roc auc": "ROC AUC",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "svd": "SVD",
    "kl": "KL",
    "mig": "MIG",
    "sap": "SAP",
    "dci": "DCI",
    "factor vae": "FactorVAE",
    "beta vae": "BetaVAE",
}
_UNITS = {"psnr": "dB", "svd_psnr": "dB"} | dict.fromkeys(
    "bound negative_log_likelihood continuous_kl continuous_capacity "
    "discrete_kl discrete_capacity discrete_information".split(),
    "nats",
)
MISTAKES = 10  # that are shown with their text
EXCERPT = 500  # characters of a text

# Verdict: (what it says, CSS class); every other verdict speaks for itself.
_VERDICTS = {
    "reached": ("✓ target reached", "good"),
    "consistent": ("≈ consistent with the target", "fair"),
    "not reached": ("✗ target not reached", "bad"),
}


class _Picture(NamedTuple):
    caption: str
    kind: str  # png or gif
    content: bytes
    wide: bool  # takes both columns


def write(run, plots: Iterable[Callable[..., "Figure | bytes | None"]]) -> pathlib.Path:
    """Draws the figures and writes them and the report into the run's folder.

    Args:
        run: The finished run: `name`, `folder`, `record` (the content of run.json), `metrics`,
            `label_names`, `data`, and whatever the plots ask for.
        plots: Functions `f(run) -> Figure | bytes | None`, the bytes those of an animated GIF. A
            function's name names its file, the first line of its docstring is its caption; None
            leaves the figure out.

    Returns:
        The path of `report.html`; the figures stand beside it as `figures/NAME.png` or `.gif`.
    """
    # Wide figures come last: before one, an odd number of others would leave a hole.
    pictures = sorted(_draw(run, plots), key=lambda picture: picture.wide)
    body = (
        _banner(run),
        _header(run),
        _verdict(run),
        _figures(pictures),
        _errors(run),
        _noise(run),
        _classes(run),
        _labels(run),
        _mistakes(run),
        _metrics(run),
        _architecture(run),
        _configuration(run),
        _training(run),
        _environment(run),
        _commands(run),
    )
    path = run.folder / "report.html"
    page = _PAGE.format(title=_text(run.name), style=_STYLE, body="\n".join(filter(None, body)))
    files.write_bytes(path, page.encode())
    return path


def _draw(run, plots: Iterable[Callable[..., "Figure | bytes | None"]]) -> list[_Picture]:
    folder = run.folder / "figures"
    files.make_folder(folder)
    pictures = []
    for plot in plots:
        figure = plot(run)
        kind = "gif" if isinstance(figure, bytes) else "png"
        path = folder / f"{plot.__name__}.{kind}"
        if figure is None:
            path.unlink(missing_ok=True)  # of an earlier report
            continue
        content = figure if kind == "gif" else style.to_png(figure)
        files.write_bytes(path, content)
        caption = (plot.__doc__ or _words(plot.__name__)).strip().splitlines()[0]
        wide = kind == "png" and figure.get_figwidth() > 6
        pictures.append(_Picture(caption, kind, content, wide))
    return pictures


# Sections, in the order of the page. Each returns HTML, or "" where there is nothing to say.


def _banner(run) -> str:
    data = _part(run, "data")
    if data.get("kind") == "sample":
        return f"""<aside class="banner"><strong>SAMPLE DATA:</strong> these numbers say that the
code runs, nothing about {_text(data.get("name"))}. With the real data:
<pre>{_whole(data.get("get_real"))}</pre></aside>"""
    if data.get("official") is False:
        return f"""<aside class="banner"><strong>NOT THE OFFICIAL DATA:</strong> what was found is
not {_text(data.get("name"))} as published, so these numbers cannot be compared with
published ones.</aside>"""
    return ""


def _header(run) -> str:
    data = _part(run, "data")
    examples = ", ".join(f"{_value(n)} {split}" for split, n in data.get("examples", {}).items())
    return f"""<header><h1>{_text(run.name)}</h1>
<p class="lead">{_text(run.record.get("title"))}</p>
<p class="quiet">Data: {_text(data.get("description"))} ({_text(examples)})</p></header>"""


def _verdict(run) -> str:
    """The headline metric, large, and what one must know to judge it."""
    target = _part(run, "target")
    default = "accuracy" if "accuracy" in run.metrics else next(iter(run.metrics), "accuracy")
    name = target.get("metric", default)
    entry = {**target, **run.metrics.get(name, {})}
    interval = _interval(name, entry)
    about = [f"95 % interval {interval}"] if interval else []
    about += [f"n{_SPACE}={_SPACE}{_value(entry['n'])}"] if entry.get("n") is not None else []
    over = ", mean over the labels," if _known_labels(run) and name == "accuracy" else ""
    words, look = _VERDICTS.get(target.get("verdict"), (target.get("verdict"), "plain"))
    chip = f'<p class="chip {look}">{_text(words)}</p>' if words else ""
    facts = "".join(f"<div><dt>{_text(k)}</dt><dd>{_text(v)}</dd></div>" for k, v in _facts(run))
    return f"""<section class="verdict"><div class="headline">
<p class="quiet">{_text(_with_unit(name))}{over} on the test split</p>
<p class="big">{_text(_number(name, entry.get("value")))}</p>
<p>{_text(", ".join(about))}</p>{chip}</div>
<dl>{facts}</dl>{_proof(run)}</section>"""


def _facts(run) -> Iterable[tuple[str, str]]:
    target, data = _part(run, "target"), _part(run, "data")
    if target:
        limit = "at_most" if target.get("at_least") is None else "at_least"
        source = f" ({target['source']})" if target.get("source") else ""
        number = _number(target["metric"], target[limit])
        yield "Target", f"{_words(limit)} {number}{source}"
    if "majority_baseline" in run.metrics:
        baseline = run.metrics["majority_baseline"].get("value")
        most = "each label's majority" if _known_labels(run) else "the most frequent class"
        yield f"Always saying {most}", _number("accuracy", baseline)
    if "negative_log_likelihood" in run.metrics:
        drawn = _value(run.record["likelihood_samples"])
        yield (
            "-ln p(image) by importance sampling",
            _metric("negative_log_likelihood", run.metrics["negative_log_likelihood"])
            + f" nats, {drawn} codes an image",
        )
    if "bag_of_words_baseline" in run.metrics:
        yield (
            "TF-IDF with logistic regression",
            _metric("accuracy", run.metrics["bag_of_words_baseline"]),
        )
        yield "The network against it", _against_bag_of_words(run.metrics["above_bag_of_words"])
    if "sequence_length" in data:
        words, length = _value(data["vocabulary"]), _value(data["sequence_length"])
        cut = _number("accuracy", data["cut_texts"])
        yield (
            "Texts",
            f"{words} words, the first {length} tokens; {cut} of the training texts are longer",
        )
    if "embeddings" in data:
        vectors = data["embeddings"]
        yield (
            "Word vectors",
            f"of {vectors['file']}, for {_number('accuracy', vectors['coverage'])} of the words",
        )
    if (openings := data.get("test_openings")) is not None:
        yield "Test split opened", "once" if openings == 1 else f"{openings:,} times so far"
    if (duplicates := data.get("duplicates")) is not None:
        yield "Test examples that train holds too", f"{duplicates:,}" if duplicates else "none"


def _against_bag_of_words(above: Mapping) -> str:
    """Told plainly, also where the network loses."""
    words = {1: "beats it", 0: "cannot be told apart from it", -1: "does not beat it"}
    return f"{words[told_apart(above)]}: {_metric('above_bag_of_words', above)} points"


def _proof(run) -> str:
    proof = _part(run, "proof")
    if not proof:
        return '<p class="proof plain"><strong>The export is not proven.</strong></p>'
    difference, allowed = _small(proof.get("max_difference")), _small(proof.get("tolerance"))
    if "latents" in run.record:
        return _proof_of_endpoints(run, proof, difference, allowed)
    if not proof.get("passed"):
        right, expected = _value(proof.get("test_correct")), _value(proof.get("expected_correct"))
        return f"""<p class="proof bad"><strong>✗ The export is not the trained model:</strong>
it differs by {difference} (allowed: {allowed}) and has {_text(right)} test answers right where
{_text(expected)} are expected.</p>"""
    where = f"at batches {_value(proof.get('batches'))}"
    if proof.get("texts"):
        where += ", from texts (some empty, very long or in many scripts) and token ids"
    if proof.get("encoded_files"):
        where += f", on {_value(proof['encoded_files'])} encoded files"
    where += (
        f" and on all {_value(_part(run, 'data').get('examples', {}).get('test'))} test examples"
    )
    return f"""<p class="proof good"><strong>✓ Export proven:</strong> it equals the trained model
to {difference} (allowed: {allowed}) {_text(where)}.</p>"""


def _proof_of_endpoints(run, proof: Mapping, difference: str, allowed: str) -> str:
    """Of an autoencoder: encode, decode and reconstruct."""
    if not proof.get("passed"):
        worst = max(proof["differences"], key=proof["differences"].get)
        return f"""<p class="proof bad"><strong>✗ The export is not the trained model:</strong>
it differs by {difference} (allowed: {allowed}), most of all in {_text(worst)}.</p>"""
    uncertain = ""
    if proof.get("uncertain_codes"):
        count = proof["uncertain_codes"]
        which = f"Of {count:,} images" if count > 1 else "Of one image"
        uncertain = f""" {which} a discrete latent is all but undecided between two classes; there
the means and what is decoded from the code were compared, and not the choice."""
    return f"""<p class="proof good"><strong>✓ Export proven:</strong> encode, decode and
reconstruct equal the trained model to {difference} (allowed: {allowed}, and of encode and decode
alone {_small(proof.get("exact_tolerance", proof.get("tolerance")))}) at batches
{_text(_value(proof.get("batches")))}, on {_value(proof.get("encoded_files"))} encoded files and on
all {_text(_value(proof.get("test_examples")))} test images.{_text(uncertain)}</p>"""


def _figures(pictures: Sequence[_Picture]) -> str:
    cards = [
        f"""<figure{' class="wide"' if picture.wide else ""}><img alt="{_text(picture.caption)}"
src="data:image/{picture.kind};base64,{base64.b64encode(picture.content).decode()}">
<figcaption>{_text(picture.caption)}</figcaption></figure>"""
        for picture in pictures
    ]
    return _section("Figures", f'<div class="figures">{"".join(cards)}</div>') if cards else ""


def _errors(run) -> str:
    """Of an autoencoder: the truncated SVD beside it."""
    if "svd_squared_error" not in run.metrics:
        return ""
    names = ("squared_error", "psnr", "ssim", "train_squared_error")
    size = _part(run, "latents").get("continuous")
    rows = [
        (who, *(_metric(name, run.metrics[f"{prefix}{name}"]) for name in names))
        for who, prefix in (("the network", ""), ("truncated SVD", "svd_"))
    ]
    ratio = _metric("train_error_over_svd", run.metrics["train_error_over_svd"])
    note = (
        f"Both keep {_value(size)} numbers of an image. The SVD is the best linear map that does "
        f"so: on train the network's squared error is {ratio} times its."
    )
    head = ("", "squared error", "PSNR (dB)", "SSIM", "squared error on train")
    return _section(
        "Against the truncated SVD",
        f"<p>{_text(note)}</p>" + _table(head, rows, look="numbers"),
    )


def _noise(run) -> str:
    """Of an autoencoder: noisy images before and after it, by level."""
    levels = [name.split("/")[1] for name in run.metrics if name.startswith("psnr_gain/")]
    rows = [
        (
            level,
            *(
                _metric(name, run.metrics[f"{name}/{level}"])
                for name in ("psnr_noisy", "psnr_denoised", "ssim_noisy", "ssim_denoised")
            ),
        )
        for level in levels
    ]
    head = ("noise", "PSNR before (dB)", "after", "SSIM before", "after")
    note = "Standard deviation of the noise as a share of white; means over the test split."
    return _section("Noise", f"<p>{note}</p>" + _table(head, rows, look="numbers")) if rows else ""


def _classes(run) -> str:
    rows = []
    for name in run.label_names:
        precision = run.metrics.get(f"precision/{name}") or {}
        recall = run.metrics.get(f"recall/{name}") or {}
        if precision or recall:
            count = _value(recall.get("n"))
            rows.append((name, count, _metric("precision", precision), _metric("recall", recall)))
    head = ("class", "test examples", "precision", "recall")
    return _section("Classes", _table(head, rows, look="numbers")) if rows else ""


def _labels(run) -> str:
    """Of a network with several labels: each alone."""
    known = _known_labels(run)
    if not known:
        return ""
    rows = [
        (
            name,
            _metric("accuracy", run.metrics[f"accuracy/{name}"]),
            _number("accuracy", (run.metrics.get(f"majority_baseline/{name}") or {}).get("value")),
            _metric("roc_auc", run.metrics.get(f"roc_auc/{name}") or {}),
        )
        for name in known
    ]
    head = ("label", "accuracy [95 % interval]", "majority class alone", "ROC AUC [95 % interval]")
    left_out = len(run.label_names) - len(known)
    note = (
        f"<p>{left_out} of {len(run.label_names)} labels never vary in the training examples, so "
        "that nothing can be learned about them: they are left out.</p>"
    )
    return _section("Labels", (note if left_out else "") + _table(head, rows, look="numbers"))


def _mistakes(run) -> str:
    """Of a network on texts: the mistakes it is most sure of, with their text."""
    texts = run.data is not None and getattr(run.data, "vocabulary", None)
    if not texts or _known_labels(run):  # of several labels an example, none is "the" mistake
        return ""
    truth, probabilities = run.predictions["label"], run.predictions["probabilities"]
    said = probabilities.argmax(axis=1)
    wrong = [i for i in probabilities.max(axis=1).argsort()[::-1] if said[i] != truth[i]][:MISTAKES]
    if not wrong:
        return ""
    rows = [
        (
            _excerpt(text),
            run.label_names[truth[i]],
            run.label_names[said[i]],
            _number("accuracy", probabilities[i, said[i]]),
        )
        for i, text in zip(wrong, run.data.test.take_texts(wrong), strict=True)
    ]
    head = ("the mistakes it is most sure of", "true", "predicted", "probability")
    return _section("Mistakes", _table(head, rows, look="texts"))


def _excerpt(text: str) -> str:
    """A text, or its beginning and its end."""
    text = " ".join(text.split())
    if len(text) <= EXCERPT:
        return text or "(empty)"
    return f"{text[: EXCERPT // 2]} … {text[-EXCERPT // 2 :]}"


def _metrics(run) -> str:
    apart = {f"{kind}/{name}" for kind in _APART for name in run.label_names}
    rows = [
        (_with_unit(name), _metric(name, entry), _value(entry.get("n")))
        for name, entry in run.metrics.items()
        if name not in apart and not name.startswith(("psnr_", "ssim_"))
    ]
    table = _table(("metric on the test split", "value [95 % interval]", "n"), rows, look="numbers")
    return _section("Metrics", table) if rows else ""


def _architecture(run) -> str:
    model = _part(run, "model")
    rows = [
        (
            layer["name"],
            layer["type"],
            _shape(layer["output_shape"]),
            layer.get("formula", ""),
            _value(layer["parameters"]),
        )
        for layer in model.get("layers", ())
    ]
    total, trainable = model.get("parameters"), model.get("trainable_parameters")
    share = "all" if total == trainable else _value(trainable)
    sentence = f"{_value(total)} parameters, {share} trainable."
    return _section(
        f"Architecture: {_words(model.get('name', ''))}",
        f"<p>{_text(sentence)}</p>"
        + _table(("layer", "type", "output shape", "how", "parameters"), rows, look="layers"),
    )


def _configuration(run) -> str:
    overrides = _part(run, "overrides")
    said = ", ".join(f"{key} = {_value(value)}" for key, value in overrides.items())
    note = f"Overridden: {said}." if overrides else "Nothing was overridden: the defaults."
    return _section(
        "Configuration",
        f"<p>{_text(note)}</p>"
        + _grid(
            _settings("hyperparameters", _part(run, "hyperparameters"), overrides),
            _settings("trainer", _part(run, "trainer"), overrides),
        ),
    )


def _training(run) -> str:
    training, seconds = dict(_part(run, "training")), dict(_part(run, "times"))
    note = ""
    if "retrained_epochs" in training:
        epochs, examples = (
            training.pop("retrained_epochs"),
            training.pop("retrained_examples", None),
        )
        note = (
            f"Once the best epoch was known, the network was trained anew on train and val, "
            f"{_value(examples)} examples, for {_value(epochs)} epochs. The results are those of "
            "the network trained anew; the curves are those of the first one."
        )
    if "retraining_seconds" in training:
        seconds["training anew"] = training.pop("retraining_seconds")
    summary = {_words(key): value for key, value in training.items()}
    times = {_words(key): _duration(value) for key, value in seconds.items()}
    return _section(
        "Training",
        (f"<p>{_text(note)}</p>" if note else "")
        + _grid(_settings("summary", summary), _settings("times", times)),
    )


def _environment(run) -> str:
    data = {key: value for key, value in _part(run, "data").items() if key != "get_real"}
    identity = {key: str(run.record.get(key)) for key in ("seed", "plan", "weights_sha256")}
    return _section(
        "Environment",
        _grid(
            _settings("versions", _part(run, "versions")),
            _settings("machine", {_words(k): v for k, v in _part(run, "machine").items()}),
            _settings("run", {_words(key): value for key, value in identity.items()}),
            _settings("data", {_words(key): value for key, value in data.items()}),
        ),
    )


def _commands(run) -> str:
    folder = run.folder
    if folder.is_absolute() and folder.is_relative_to(pathlib.Path.cwd()):
        folder = folder.relative_to(pathlib.Path.cwd())
    path = folder.as_posix()
    load = f"import kpipe\n\nmodel = kpipe.load({path!r})"
    if "latents" in run.record:
        load += "\nmodel.decode(model.encode(images)['code'])  # model.reconstruct(images)"
    body = f"""<p>The same run anew:</p><pre>{_whole(run.record.get("command"))}</pre>
<p>The model in Python:</p><pre>{_text(load)}</pre>"""
    texts = "sequence_length" in _part(run, "data")
    # The command line takes image files and texts.
    if texts or run.data is None or len(run.data.input_shape) == 3:
        given = '--text "A TEXT"' if texts else "IMAGE ..."
        predict = f"kpipe predict {shlex.quote(path)} {given}"
        body += f"\n<p>The model on the command line:</p><pre>{_whole(predict)}</pre>"
    return _section("Do it again, use it", body)


# Pieces of HTML. They escape all they are given, except `body`, which is HTML already.


def _section(title: str, body: str) -> str:
    return f"<section><h2>{_text(title)}</h2>\n{body}</section>"


def _grid(*blocks: str) -> str:
    return f'<div class="grid">{"".join(blocks)}</div>'


def _table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    look: str = "",
    marked: Collection[str] = (),
) -> str:
    """A table with a CSS class, in a box that scrolls by itself.

    Rows whose first cell is in `marked` stand out.
    """
    top = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in head)
    body = ""
    for first, *rest in rows:
        cells = "".join(f"<td>{_text(cell)}</td>" for cell in rest)
        row_class = ' class="marked"' if first in marked else ""
        body += f'<tr{row_class}><th scope="row">{_text(first)}</th>{cells}</tr>\n'
    return f"""<div class="scroll"><table class="{look}"><thead><tr>{top}</tr></thead>
<tbody>{body}</tbody></table></div>
"""


def _settings(title: str, settings: Mapping[str, object], marked: Collection[str] = ()) -> str:
    rows = [(key, _value(value)) for key, value in settings.items()]
    return _table((title, ""), rows, look="settings", marked=marked)


def _text(value: object) -> str:
    return html.escape("" if value is None else str(value))


def _whole(text: str | None) -> str:
    """Text that breaks at its spaces only, not at the hyphens of --data or 1e-05."""
    words = (text or "").split(" ")
    return " ".join(f'<span class="whole">{_text(word)}</span>' for word in words)


# Numbers and words for people.


def _part(run, key: str) -> Mapping:
    """A part of the record; a missing one and null are empty."""
    return run.record.get(key) or {}


def _known_labels(run) -> list[str]:
    """The labels that were evaluated each alone; none of a network that says one class."""
    return [name for name in run.label_names if f"accuracy/{name}" in run.metrics]


def _words(name: str) -> str:
    for written, said in _ABBREVIATIONS.items():
        name = re.sub(rf"\b{written}\b", said, name.replace("_", " "))
    return name


def _with_unit(metric: str) -> str:
    unit = _UNITS.get(metric)
    return f"{_words(metric)} ({unit})" if unit else _words(metric)


def _is_share(metric: str) -> bool:
    name = metric.split("/")[0]
    return name in ("precision", "recall") or name.endswith(("accuracy", "baseline"))


def _number(metric: str, value: float | None, unit: bool = True) -> str:
    """98.31 % for a share, four decimals or digits for everything else."""
    if value is None:
        return "–"
    if metric == "above_bag_of_words":  # a difference of shares
        return f"{100 * value:+.2f}"
    if _is_share(metric):
        return f"{100 * value:.2f}" + (f"{_SPACE}%" if unit else "")
    return f"{value:.4f}" if 0.01 <= abs(value) < 10 else f"{value:.4g}"


def _interval(metric: str, entry: Mapping) -> str:
    if entry.get("low") is None or entry.get("high") is None:
        return ""
    low, high = (_number(metric, entry[key], unit=False) for key in ("low", "high"))
    return f"[{low},{_SPACE}{high}]"


def _metric(name: str, entry: Mapping) -> str:
    return f"{_number(name, entry.get('value'))} {_interval(name, entry)}".strip()


def _small(value: float | None) -> str:
    return "–" if value is None else _whole(f"{value:.2g}")


def _duration(seconds: float) -> str:
    """0.4 s, 61 s as 1 min 1 s, and 3,720 s as 1 h 2 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _shape(shape: object) -> str:
    """(None, 900), in Keras' way; layers with several outputs have several."""
    return f"({f',{_SPACE}'.join(map(_shape, shape))})" if isinstance(shape, list) else str(shape)


def _value(value: object) -> str:
    """Any value of the record as text; floats with all their digits, to be typed again."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(str(key))}: {_value(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_value, value)) or "none"
    return str(value)


# The policy is a second lock: even a string that was not escaped could load and run nothing.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body><main>
{body}
</main></body>
</html>
"""

_STYLE = """
:root { --ink: #1c1e21; --quiet: #5c6370; --page: #fff; --card: #f5f6f8; --line: #dfe2e7;
  --good: #00664a; --fair: #7a5000; --bad: #a83200; --mark: #fff2c2; --warn: #ffd24d; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e7e9; --quiet: #a0a6b0; --page: #15171a; --card: #1f2226; --line: #363b42;
    --good: #4fd0a5; --fair: #f0b94a; --bad: #ff8a5c; --mark: #4a3d12; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 1.5rem 1rem 4rem; overflow-wrap: anywhere; }
h1 { font-size: clamp(1.7rem, 5vw, 2.4rem); line-height: 1.15; margin: 1rem 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .8rem; }
p { margin: .3rem 0; }
.lead { font-size: 1.15rem; }
.quiet, dt, figcaption { color: var(--quiet); }
pre { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  white-space: pre-wrap; background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  margin: .4rem 0 1rem; padding: .7rem .9rem; }
.banner { background: var(--warn); color: #1c1e21; border: 2px solid #1c1e21; border-radius: 8px;
  padding: .8rem 1rem; font-size: 1.05rem; }
.whole { display: inline-block; max-width: 100%; }
.banner pre { background: none; border: 0; margin: 0; padding: .4rem 0 0; }
.verdict { display: grid; gap: 1.2rem 2rem; grid-template-columns: auto 1fr; align-items: center;
  margin-top: 1.5rem; padding: 1.2rem 1.4rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 12px; }
.big { font-size: clamp(2.6rem, 9vw, 4rem); font-weight: 700; line-height: 1.1; margin: 0; }
.headline .quiet::first-letter { text-transform: uppercase; }
.good { color: var(--good); } .fair { color: var(--fair); } .bad { color: var(--bad); }
.chip { display: inline-block; border: 2px solid; border-radius: 99px; padding: .1rem .8rem;
  font-weight: 600; margin-top: .6rem; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 14rem), 1fr));
  gap: .9rem 1.5rem; margin: 0; }
dt { font-size: .9rem; } dd { margin: 0; font-weight: 600; }
.proof { grid-column: 1 / -1; border-top: 1px solid var(--line); padding-top: .9rem; margin: 0; }
.figures { columns: 2; column-gap: 1.2rem; }
figure { margin: 0 0 1.2rem; padding: .8rem; background: #fff; border: 1px solid var(--line);
  border-radius: 12px; break-inside: avoid; }
figure.wide { column-span: all; }
figure img { display: block; width: 100%; height: auto; }
figcaption { color: #5c6370; font-size: .9rem; margin-top: .5rem; }
.grid { display: grid; gap: 1.2rem 2rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums;
  font-size: .95rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .9rem .3rem .3rem;
  border-bottom: 1px solid var(--line); }
thead th { color: var(--quiet); font-size: .9rem; }
th, .numbers td, .layers td { overflow-wrap: break-word; }  /* never inside a word that fits */
tbody th { font-weight: 500; }
.numbers, .layers { max-width: 50rem; }
.numbers :is(th, td):nth-child(n+2), .layers :is(th, td):nth-child(n+3) {
  text-align: right; padding-right: .3rem; }
.texts th:first-child { width: 65%; font-weight: 400; }
.settings th:first-child { width: 45%; }
.marked :is(th, td) { background: var(--mark); font-weight: 700; }
.marked th::after { content: " (overridden)"; font-weight: 400; }
@media (max-width: 700px) {
  .verdict { grid-template-columns: 1fr; padding: 1rem; }
  .figures { columns: 1; }
  figure { padding: .4rem; }
  .numbers, .layers { font-size: .82rem; }
  .numbers :is(th, td), .layers :is(th, td) { padding: .3rem .2rem; }
}
@media print {
  @page { margin: 14mm; }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2 { break-after: avoid; }
  .grid { grid-template-columns: 1fr 1fr; }
  .scroll { overflow: visible; }
  figure img { max-height: 220mm; object-fit: contain; }
  figure, tr, pre, .verdict, .banner { break-inside: avoid; }
}
"""
