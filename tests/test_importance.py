"""Which of the searched keys matter."""

import numpy as np
import pytest

from kpipe.measures.importance import FEWEST, importance

SCALES = {
    "useless": "linear",
    "rate": "log",
    "kind": "choice",
    "slope": "linear",
    "width": "choice",
}


def trials(count, seed=0):
    """The objective: greatest near a rate of 1e-3, better of one kind, rising with the slope."""
    rng = np.random.default_rng(seed)
    drawn = [
        {
            "useless": float(rng.random()),
            "rate": float(10 ** rng.uniform(-6, 0)),
            "kind": str(rng.choice(["c", "a", "b"])),
            "slope": float(rng.random()),
            "width": int(rng.choice([8, 64, 512])),
        }
        for _ in range(count)
    ]
    objective = [
        -abs(np.log10(t["rate"]) + 3) + 1.5 * (t["kind"] == "b") + t["slope"] for t in drawn
    ]
    for trial in drawn:
        if trial["kind"] == "a":
            del trial["slope"]  # not active
    return drawn, objective


def test_what_matters_is_told_from_what_does_not():
    found = importance(trials(120)[0], SCALES, trials(120)[1])
    (first, (rate, spread)), *_ = found.keys.items()
    assert first == "rate" and 0 < spread < rate / 3 and found.r2 > 0.6
    for key, (value, _) in found.keys.items():
        assert abs(value) < 0.05 if key in ("useless", "width") else value > 0.1
    assert found.is_known


def test_that_a_key_is_not_active_counts_for_the_key_that_it_depends_on():
    rng = np.random.default_rng(0)
    drawn = [{"layers": int(n), "units": int(rng.integers(2, 512))} for n in rng.integers(0, 4, 60)]
    objective = [0.95 if t["layers"] else 0.5 for t in drawn] + 0.01 * rng.random(60)
    for trial in drawn:
        if not trial["layers"]:
            del trial["units"]
    found = importance(drawn, {"layers": "linear", "units": "log"}, objective).keys
    assert found["layers"][0] > 0.5 > 0.1 > found["units"][0]


def test_it_is_the_same_at_each_call_and_does_not_depend_on_the_direction():
    values, objective = trials(40)
    found = importance(values, SCALES, objective)
    assert importance(values, SCALES, objective) == found
    risen = importance(values, SCALES, np.exp(objective))
    assert risen == found  # only ranks count: a diverged trial weighs like any other


def test_noise_is_not_praised():
    values, _ = trials(60)
    found = importance(values, SCALES, np.random.default_rng(1).random(60))
    assert not found.is_known and max(value for value, _ in found.keys.values()) < 0.2


@pytest.mark.parametrize(
    ("objective", "r2"), [([0.5] * FEWEST, 0.0), ([1.0, 2.0] * (FEWEST // 2 - 1), None)]
)
def test_of_equal_values_or_a_few_trials_nothing_can_be_told(objective, r2):
    found = importance(trials(len(objective))[0], SCALES, objective)
    assert found.r2 == r2 and not found.is_known


def test_values_of_several_types_and_keys_that_were_never_active():
    values = [{"mixed": [1, True, "1", 0.5][i % 4], "on": i % 2 == 0} for i in range(20)]
    scales = {"mixed": "choice", "on": "choice", "never": "log"}
    found = importance(values, scales, [float(i % 2) for i in range(20)])
    assert next(iter(found.keys)) == "on" and found.keys["never"] == (0, 0)
