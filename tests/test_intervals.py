import numpy as np
import pytest
from scipy import stats

from kpipe.measures import intervals


def test_wilsons_interval_is_the_published_one():
    # Wilson 1927 by hand: z = 1.959964, (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)
    n, p, z = 263, 81 / 263, 1.959964
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    result = intervals.proportion(81, 263)
    assert result["n"] == 263
    assert result["value"] == pytest.approx(p)
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662
    assert (result["low"], result["high"]) == pytest.approx((middle - half, middle + half))
    assert (round(result["low"], 4), round(result["high"], 4)) == (0.2553, 0.3662)


def test_a_proportion_of_nothing_has_no_value():
    assert intervals.proportion(0, 0) == {"value": None, "low": None, "high": None, "n": 0}


def test_a_mean_of_one_share_has_its_wilson_interval():
    result = intervals.mean_of_shares(0.9, 0.9, 0.9 * 0.1 / 100, 100)
    assert result == pytest.approx(intervals.proportion(90, 100), rel=1e-12)


def test_the_difference_of_two_models_is_paired():
    first, second = np.array([1, 1, 0, 1] * 25), np.array([1, 0, 0, 1] * 25)
    result = intervals.paired_difference(first, second)
    assert result["value"] == 0.25 and result["n"] == 100
    half = 1.959964 * np.sqrt(0.25 * 0.75 / 100)
    assert result["low"] == pytest.approx(0.25 - half, abs=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.1, 0.2, 1), (-0.2, -0.1, -1), (-0.1, 0.1, 0), (0.0, 0.1, 0), (-0.1, 0.0, 0)],
)
def test_a_difference_is_told_apart_only_where_its_interval_does_not_hold_0(low, high, expected):
    assert intervals.sign_of({"low": low, "high": high}) == expected


def test_the_ratio_of_two_means_has_the_interval_of_the_delta_method():
    random = np.random.default_rng(0)
    second = random.uniform(1, 2, 400)
    first = 3 * second + random.normal(0, 0.5, 400)
    result = intervals.ratio_of_means(first, second)
    ratio = first.mean() / second.mean()
    # var(a / b) = (var a - 2 r cov(a, b) + r^2 var b) / b^2
    (a, ab), (_, b) = np.cov(first, second, ddof=0)
    half = 1.959964 * np.sqrt((a - 2 * ratio * ab + ratio**2 * b) / 400) / second.mean()
    assert result["value"] == pytest.approx(ratio) and result["n"] == 400
    assert result["low"] == pytest.approx(ratio - half, abs=1e-6)
    assert result["high"] == pytest.approx(ratio + half, abs=1e-6)
    exact = intervals.ratio_of_means(np.array([2.0, 4.0]), np.array([1.0, 2.0]))
    assert (exact["low"], exact["value"], exact["high"]) == (2, 2, 2)


def test_the_interval_of_a_mean_is_normal():
    values = np.random.default_rng(0).normal(3, 2, 500)
    result = intervals.interval_of_mean(values)
    error = values.std() / np.sqrt(500)
    assert (result["low"], result["high"]) == pytest.approx(
        stats.norm(values.mean(), error).interval(0.95)
    )
    assert result["value"] == values.mean() and result["n"] == 500
