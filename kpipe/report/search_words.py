"""What a hyperparameter search says, in sentences."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from .. import formatting
from ..figures.trials import measured, named, number, shown
from ..measures.importance import FEWEST, Importance
from ..records.study import RUNNING, Study, TrialRecord

NAMED = 6  # trials that a sentence names
EDGE = 0.05  # of a range, from its end
FEWEST_CHOICES = 3  # of which the first and the last are an end


def value_of(study: Study, trial: TrialRecord) -> str:
    """Writes the objective of a trial with its interval."""
    entry = {"value": trial.value, "low": trial.low, "high": trial.high}
    return formatting.measured(study.objective.removeprefix("val_"), entry)


def values_of(trial: TrialRecord) -> str:
    """Writes the values of a trial: "learning_rate=0.001, units_1=64"."""
    return ", ".join(f"{key}={shown(value)}" for key, value in trial.values.items())


def unfinished(study: Study) -> str:
    """Writes how far a search is; "" if its best trial has been trained as a run."""
    if study.refit:
        return ""
    ended = sum(trial.status != RUNNING for trial in study.trials)
    running = [trial.trial for trial in study.trials if trial.status == RUNNING]
    said = f"{formatting.counted(ended, 'trial')} {'has' if ended == 1 else 'have'} ended"
    if running:
        said += f", {_listed(running)} {'is' if len(running) == 1 else 'are'} not finished"
    made = "no run was made of the best" if study.ranked or running else "none was completed"
    return f"{said}; {made}."


def sentences(study: Study, importance: Importance) -> Iterator[str]:
    """Yields what a reader must know to use the search."""
    trials = measured(study)
    if not trials:
        yield "No trial was completed; the reasons are below."
        return
    yield from _noise(study, trials)
    yield from _optimism(study, trials)
    yield from _edges(study, trials[0], importance)
    yield _importance(importance, len(trials))


def refit(study: Study) -> str:
    """Writes how the best trial became a run, and how far that is from the trial; "" before."""
    if not study.refit:
        return ""
    how, run = study.refit["how"], study.refit.get("run")
    meant = {
        "best": "the run has the weights of the trial",
        "retrain": "the run was trained again on train",
        "train+val": "the run was trained again on train, then on train and val",
    }.get(how, "")
    said = f"{how} ({meant})" if meant else how
    trial = number(study, study.refit.get("trial"))
    if run is None:
        return f"{said}; the trial had a {named(study)} of {trial}"
    own = " before val was added" * (how == "train+val")
    return f"{said}; its {named(study)}{own} is {number(study, run)}, the trial had {trial}"


def _noise(study: Study, trials: Sequence[TrialRecord]) -> Iterator[str]:
    """Says which trials cannot be told from the best."""
    best = trials[0]
    if len(trials) == 1:
        return
    if best.low is None or best.high is None:
        yield (
            "The trials have no intervals, so that it cannot be told how many are as good as trial "
            f"{best.trial}: --repeats 3 gives them."
        )
        return
    close = [
        trial.trial
        for trial in trials[1:]
        if trial.low is not None
        and trial.high is not None
        and (trial.high >= best.low if study.direction == "max" else trial.low <= best.high)
    ]
    if close:
        yield (
            f"Trial {best.trial} is not distinguishable from {_listed(close)}: their 95 % "
            "intervals overlap. Take the one that is simplest or fastest, or give more --repeats."
        )
    else:
        yield f"Trial {best.trial} stands out: no other interval overlaps with its own."


def _optimism(study: Study, trials: Sequence[TrialRecord]) -> Iterator[str]:
    if len(trials) > 1:
        yield (
            f"The {named(study)} of trial {trials[0].trial} is optimistic: it is the best of "
            f"{len(trials):,}, and chance helped to choose it. Test, which no trial saw, is "
            "measured once, in the report of the run."
        )


def _importance(importance: Importance, trials: int) -> str:
    if importance.r2 is None:
        few = formatting.counted(trials, "completed trial")
        return f"Which keys matter cannot be told from {few}; at least {FEWEST} are needed."
    if not importance.is_known:
        return (
            "Which keys matter cannot be told: a random forest explains nothing of trials that it "
            f"has not seen (R2 {importance.r2:z.2f}, out of bag)."
        )
    return (
        f"A random forest explains {formatting.percent(importance.r2, 0)} of the ranks of trials "
        "that it has not seen (out-of-bag R2). The importance of a key is by how much this falls "
        f"when the key's values are permuted{'; with so few trials it is rough' * (trials < 40)}."
    )


def _edges(study: Study, best: TrialRecord, importance: Importance) -> Iterator[str]:
    """Says which keys that matter are at an end of their range in the best trial."""
    for key, value in best.values.items():
        mean, spread = importance.keys.get(key, (0.0, 0.0))
        if importance.is_known and mean <= 2 * spread:
            continue
        if end := end_of_range(study, key, value):
            yield (
                f"{key} is at the {end} end of its range in the best trial, {shown(value)} (range: "
                f"{study.space[key]}): widen it."
            )


def end_of_range(study: Study, key: str, value: Any) -> str:
    """Returns "lower" or "upper" if a value is at that end of its key's range, else "".

    A lower end of 0 is no limit of the search but of the key.
    """
    scale = study.scales[key]
    words = study.space[key].replace(",", "" if scale != "choice" else " ")
    try:
        ends = sorted(float(word) for word in words.split() if word != "to")
        at = float(value)
    except (TypeError, ValueError):  # texts have no ends
        return ""
    if isinstance(value, bool) or len(ends) < (FEWEST_CHOICES if scale == "choice" else 2):
        return ""
    low, high = ends[0], ends[-1]
    if scale == "choice":
        place = {low: 0.0, high: 1.0}.get(at, 0.5)
    elif scale == "log" and low > 0 and at > 0:
        place = math.log(at / low) / math.log(high / low)
    else:
        place = (at - low) / (high - low)
    if place <= EDGE and low != 0:
        return "lower"
    return "upper" if place >= 1 - EDGE else ""


def _listed(numbers: Sequence[int]) -> str:
    """Lists trials: "trial 3", "trials 3 and 5", "trials 3, 5, 8 and 12 others"."""
    if len(numbers) == 1:
        return f"trial {numbers[0]}"
    first = [str(n) for n in numbers[:NAMED]]
    if rest := len(numbers) - len(first):
        last = f"{rest:,} other{'s' * (rest > 1)}"
    else:
        last = first.pop()
    return f"trials {', '.join(first)} and {last}"
