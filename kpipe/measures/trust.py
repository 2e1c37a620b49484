"""What the interval of a metric says, and how many more test examples would halve it."""

import math

from scipy import optimize, stats

from .. import formatting
from .intervals import CONFIDENCE

_SQUARE = float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) ** 2


def examples_to_halve(metric: str, entry: formatting.Entry) -> int | None:
    """Returns how many more test examples would halve the interval, if the value stayed.

    The width of a share's Wilson interval is a function of the share and the number of trials,
    which is the number of examples for an accuracy, and proportional to it for a mean of shares.
    All other intervals are those of means: their width falls with the root of the examples, so that
    it takes four times as many; on a log scale, as for `rmse`, this holds to first order.

    Args:
        metric: Name of the metric; it says whether the metric is a share.
        entry: Its value, interval and n.

    Returns:
        The number of further examples; None if there is no interval, or one without width.

    Example:
        entry = {"value": 0.5, "low": 0.4038, "high": 0.5962, "n": 100}
        examples_to_halve("accuracy", entry)  # 312
    """
    value, low, high, n = (entry.get(key) for key in ("value", "low", "high", "n"))
    if value is None or low is None or high is None or not n or not low < high:
        return None
    if not formatting.is_share(metric) or formatting.is_difference(metric):
        return 3 * int(n)
    width = high - low
    if not 0 <= value <= 1 or width >= 1:
        return None
    trials, needed = (_trials(value, width / parts) for parts in (1, 2))
    # The bounds are rounded, so that the trials of an accuracy are n only up to rounding.
    return math.ceil(n * (needed / trials - 1) - 1e-6)


def _trials(share: float, width: float) -> float:
    """Returns the number of trials whose Wilson interval has this width."""
    return float(optimize.brentq(lambda n: wilson_width(share, n) - width, 1e-9, 1e15, rtol=1e-12))


def wilson_width(share: float, n: float) -> float:
    """Returns the width of the Wilson interval of a share of n trials, which need not be whole.

    Example:
        wilson_width(0.9, 10)  # 0.386
    """
    spread = share * (1 - share) / n + _SQUARE / (4 * n**2)
    return 2 * math.sqrt(_SQUARE * spread) / (1 + _SQUARE / n)


def sentence(metric: str, entry: formatting.Entry) -> str:
    """Writes what the interval of a metric says, for a reader who decides by it; "" without one.

    Example:
        sentence("mae", {"value": 2.0, "low": 1.5, "high": 2.5, "n": 50})
    """
    more = examples_to_halve(metric, entry)
    if more is None:
        return ""
    n, low, high = int(entry["n"] or 0), entry["low"], entry["high"]
    share = formatting.is_share(metric) and not formatting.is_difference(metric)
    bounds = f"{formatting.number(metric, low, unit=False)} and {formatting.number(metric, high)}"
    unit = "" if share else f" {formatting.unit_of(metric)}".rstrip()
    return (
        f"With {formatting.counted(n, 'test example')} the {formatting.words(metric)} may lie "
        f"between {bounds}{unit}; {formatting.counted(more, 'more test example')} would halve this "
        "interval"
    )
