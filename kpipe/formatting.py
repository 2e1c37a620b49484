"""Formats numbers and names for people, the same way in reports, summaries, figures and tables."""

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence

# A metric: "value", "low" and "high", the 95 % interval, and "n" examples; any may be missing.
Entry = Mapping[str, float | None]

MISSING = "–"
_ABBREVIATIONS = {
    "roc auc": "ROC AUC",
    "beta vae": "BetaVAE",
    "dci": "DCI",
    "ece": "ECE",
    "f1": "F1",
    "factor vae": "FactorVAE",
    "kl": "KL",
    "mae": "MAE",
    "mig": "MIG",
    "psnr": "PSNR",
    "r2": "R2",
    "rmse": "RMSE",
    "sap": "SAP",
    "ssim": "SSIM",
    "svd": "SVD",
}
_UNITS = dict.fromkeys(
    ("psnr", "svd_psnr", "psnr_gain", "psnr_noisy", "psnr_denoised", "psnr_filtered"), "dB"
)
_UNITS |= dict.fromkeys(
    "bound negative_log_likelihood reconstruction_nats continuous_kl continuous_capacity "
    "discrete_kl discrete_capacity discrete_information".split(),
    "nats",
)
_ABOVE = "above_"


def words(name: str) -> str:
    """Writes a name in words.

    Example:
        words("svd_psnr")  # "SVD PSNR"
    """
    name = name.replace("_", " ")
    for written, said in _ABBREVIATIONS.items():
        name = re.sub(rf"\b{written}\b", said, name)
    return name


def with_unit(metric: str) -> str:
    """Writes the name of a metric in words, with its unit if it has one: "PSNR (dB)"."""
    unit = unit_of(metric)
    return f"{words(metric)} ({unit})" if unit else words(metric)


def unit_of(metric: str) -> str:
    """Returns the unit of a metric, or an empty string."""
    if is_difference(metric):
        return "points" if is_share(metric) else ""
    return _UNITS.get(metric.partition("/")[0], "")


def is_share(metric: str) -> bool:
    """Whether a metric is in percent: a share of examples, a mean or a difference of shares."""
    name = _compared(metric)
    if name in ("precision", "recall", "macro_f1", "ece", "calibrated_ece"):
        return True
    return name.endswith(("accuracy", "baseline", "overlap", "coverage"))


def is_difference(metric: str) -> bool:
    """Whether a metric is the network's minus a baseline's, such as `above_bag_of_words`."""
    return _ABOVE in metric.partition("/")[0]


def _compared(metric: str) -> str:
    """Returns the metric that `metric` is a part or a difference of; accuracy if none is named."""
    name = metric.partition("/")[0]
    return (name.partition(_ABOVE)[0].rstrip("_") or "accuracy") if _ABOVE in name else name


def percent(share: float, decimals: int = 2) -> str:
    """Formats a share in percent: "98.31 %"."""
    return f"{100 * share:.{decimals}f} %"


def points(difference: float) -> str:
    """Formats a difference of two shares, signed, in points: "+9.17"."""
    return f"{100 * difference:+.2f}"


def number(metric: str, value: float | None, unit: bool = True) -> str:
    """Formats the value of a metric.

    A share is in percent, a difference of shares in points, PSNR in dB with two decimals. All other
    metrics have four decimals, four significant digits if they are small or above 10, and no
    decimals above 1,000. A difference is signed.

    Args:
        metric: Name of the metric.
        value: Value of the metric; None if it is undefined.
        unit: Whether a share ends with a percent sign.

    Example:
        number("accuracy", 0.98312)  # "98.31 %"
    """
    if value is None:
        return MISSING
    sign = "+" if is_difference(metric) else ""
    if is_share(metric):
        if sign:
            return points(value)
        return percent(value) if unit else f"{100 * value:.2f}"
    if unit_of(metric) == "dB":
        return f"{value:.2f}"
    size = abs(value)
    if size >= 1000:
        return f"{value:{sign},.0f}"
    return f"{value:{sign}.4f}" if 0.01 <= size < 10 or not size else f"{value:{sign}#.4g}"


def interval(metric: str, entry: Entry) -> str:
    """Formats the interval of a metric without its unit, "[98.04, 98.55]"; "" if it has none."""
    low, high = entry.get("low"), entry.get("high")
    if low is None or high is None:
        return ""
    return f"[{number(metric, low, unit=False)}, {number(metric, high, unit=False)}]"


def measured(metric: str, entry: Entry) -> str:
    """Formats a metric with its interval: "98.31 % [98.04, 98.55]"."""
    return f"{number(metric, entry.get('value'))} {interval(metric, entry)}".strip()


def distance(metric: str, entry: Entry, baseline: str = "it") -> str:
    """Writes a difference in words: "9.17 points above it [+6.10, +12.23]"."""
    value, unit = number(metric, entry.get("value")), unit_of(metric)
    where = "below" if value.startswith("-") else "above"
    parts = (value.lstrip("+-"), unit, where, baseline, interval(metric, entry))
    return " ".join(filter(None, parts))


def limit(metric: str, value: float | None) -> str:
    """Formats the limit of a target, with the digits it was given with: "98.25 %", "0.05"."""
    if value is None:
        return MISSING
    return f"{100 * value:g} %" if is_share(metric) else f"{value:g}"


def target(metric: str, at_least: float | None = None, at_most: float | None = None) -> str:
    """Formats a target: "accuracy >= 98.25 %", "log_loss <= 0.05"."""
    if at_least is None:
        return f"{metric} <= {limit(metric, at_most)}"
    return f"{metric} >= {limit(metric, at_least)}"


def headline(of_target: str | None, of_task: str, metrics: Collection[str]) -> str:
    """Returns the main metric of a run: that of its target, else that of its task.

    Args:
        of_target: Metric of the target, if there is one.
        of_task: Main metric of the task; "" in runs of format 1, which do not record it.
        metrics: Names of all metrics of the run.
    """
    names = [of_target, of_task, "accuracy", "psnr", *metrics]
    return next((name for name in names if name and name in metrics), "")


def small(value: float | None) -> str:
    """Formats a tiny number, such as a rounding difference: "2.4e-07"."""
    return MISSING if value is None else f"{value:.2g}"


def quantity(value: float) -> str:
    """Formats a number of a user's data, of unknown size: "17", "4,000", "0.1235", "12,345.7"."""
    if value == round(value, 1) or abs(value) >= 1000:
        return f"{value:,.1f}".removesuffix(".0") if abs(value) < 1e15 else f"{value:.4g}"
    return f"{value:.4g}"


def count(n: int | None) -> str:
    """Formats a count, with thousands separators: "54,000"."""
    return MISSING if n is None else f"{n:,}"


def counted(n: int, noun: str) -> str:
    """Formats a count with its noun: "1 label", "2,000 labels"."""
    return f"{n:,} {noun}{'s' * (n != 1)}"


def duration(seconds: float) -> str:
    """Formats a duration in seconds: 0.8 s, 42 s, 3 min 5 s, 2 h 10 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def plans(milliseconds: Mapping[str, float]) -> str:
    """Lists execution plans with their milliseconds per step, the fastest first.

    Example:
        plans({"graph": 6.214, "kernels": 4.1})  # "kernels 4.1, graph 6.21"
    """
    ordered = sorted(milliseconds.items(), key=lambda item: item[1])
    return ", ".join(f"{plan} {time:.3g}" for plan, time in ordered)


def shape(sizes: object) -> str:
    """Formats a shape as Keras does, "(None, 900)"; several for a layer with several outputs."""
    return f"({', '.join(map(shape, sizes))})" if isinstance(sizes, list) else str(sizes)


def short(setting: object) -> str:
    """Formats a value for a narrow column of a terminal: a float with four digits."""
    if setting is None:
        return "-"
    return f"{setting:.4g}" if isinstance(setting, float) else str(setting)


def value(content: object, exact: bool = False) -> str:
    """Formats any value of a run's record.

    Args:
        content: A JSON value.
        exact: Whether a float keeps all its digits, so that it can be typed again; otherwise it has
            at most six.

    Example:
        value(0.1 + 0.2)  # "0.3"
    """
    if content is None:
        return MISSING
    if isinstance(content, bool):
        return "yes" if content else "no"
    if isinstance(content, int):
        return f"{content:,}"
    if isinstance(content, float):
        return str(content) if exact else f"{content:.6g}"
    if isinstance(content, Mapping):
        return ", ".join(f"{words(str(k))}: {value(v, exact)}" for k, v in content.items())
    if isinstance(content, (list, tuple)):
        return ", ".join(value(item, exact) for item in content) or "none"
    return str(content)


def to_csv(rows: Sequence[Mapping[str, object]]) -> str:
    r"""Writes rows as CSV, with all their keys as columns.

    Example:
        to_csv([{"a": 1}, {"b": 2}])  # "a,b\n1,\n,2\n"
    """
    content = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(content, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return content.getvalue()
