"""The section of a report about the training."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import formatting
from ..records import Run
from ..training import times_faster
from .tables import grid, paragraph, section, settings


def section_of(run: Run) -> str:
    """Writes the section: what the training was, and how long its stages took."""
    summary, times = summary_of(run), times_of(run)
    tables = grid(
        settings("summary", summary),
        settings("times", times),
        settings("a training step, as measured by --profile", _of_profile(run.record.profile)),
    )
    return section("Training", paragraph(notes_of(run)) + tables) if summary or times else ""


def summary_of(run: Run) -> dict[str, Any]:
    """Returns epochs, steps, and what ended the training, by name in words."""
    training = run.record.training
    if not training:
        return {}
    names = ("epochs", "best_epoch", "steps", "stopped_by")
    summary = {formatting.words(name): getattr(training, name) for name in names}
    if run.record.model and run.record.model.dead_units:
        summary["dead units"] = _of_dead(run.record.model.dead_units)
    if training.waiting_seconds is not None and (train := run.record.times.get("train")):
        share = formatting.percent(training.waiting_seconds / train, 1)
        summary["waiting for data"] = f"{share} of the training time"
    return summary


def _of_dead(dead_units: Mapping[str, Sequence[int]]) -> str:
    """Says how many units of ReLUs are 0 for every example, and in which layers."""
    dead, units = map(sum, zip(*dead_units.values(), strict=True))
    where = ", ".join(f"{n:,} of {name}" for name, (n, _) in dead_units.items() if n)
    return f"{dead:,} of {units:,}{f': {where}' * bool(where and len(dead_units) > 1)}"


def times_of(run: Run) -> dict[str, str]:
    """Returns the duration of each stage, by name in words."""
    seconds, training = dict(run.record.times), run.record.training
    if training and training.feature_seconds is not None:
        seconds["features (part of train)"] = training.feature_seconds
    if training and training.retraining_seconds is not None:
        seconds["retraining"] = training.retraining_seconds
    return {formatting.words(key): formatting.duration(value) for key, value in seconds.items()}


def notes_of(run: Run) -> str:
    """Writes what else there is to say: of a search, a second training, a frozen backbone."""
    training = run.record.training
    if not training:
        return ""
    again = ""
    if training.retrained_epochs is not None:
        examples, epochs = training.retrained_examples, training.retrained_epochs
        again = (
            "After the best epoch was determined, the network was trained again from scratch, "
            f"on train and val, {formatting.count(examples)} examples, for {epochs:,} epochs. "
            "Results are those of the second training; curves are those of the first."
        )
    return " ".join(filter(None, [_of_search(run), again, *_of_backbone(run)]))


def _of_profile(profile: Mapping[str, Any]) -> dict[str, str]:
    """Writes where the time of a training step went; {} if that was not measured."""
    if not profile:
        return {}
    parts, gflop = profile["milliseconds"], profile["gflop"]
    total = sum(parts.values())
    rows = {
        name: f"{time:.3g} ms, {formatting.percent(time / total, 1)}"
        for name, time in parts.items()
    }
    rows["step"] = f"{total:.3g} ms"
    if gflop:
        rate = 1000 * gflop / total
        share = formatting.percent(rate / profile["peak"], 0)
        rows["products"] = f"{rate:.3g} GFLOP/s, {share} of {profile['peak']:.3g}"
    return rows


_HOW = {
    "best": "has the weights of that trial",
    "retrain": "was trained again from scratch",
    "train+val": "was trained again from scratch, and then on train and val",
}


def _of_search(run: Run) -> str:
    """Says which trial of which search the run is, and how far it lies from it."""
    found, training = run.record.search, run.record.training
    if not found or not training:
        return ""
    name = found["objective"]
    metric = name.removeprefix("val_")
    epochs, values = run.history["epoch"], run.history.get(name)
    here = values[epochs.index(training.best_epoch)] if values else None
    each = f", the mean of {found['trainings']:,} trainings" if found["trainings"] > 1 else ""
    return (
        f"These are the values of trial {found['trial']}, the best of {found['trials']:,} of a "
        f"{found['tuner']} search; this run {_HOW[found['how']]}. Its {formatting.words(name)} is "
        f"{formatting.number(metric, here)}, that of the trial was "
        f"{formatting.measured(metric, found)}{each}. Both are optimistic, since the trial was "
        "chosen by it; test was not."
    )


def _of_backbone(run: Run) -> Iterable[str]:
    """Says in words how a frozen backbone was trained on: cached features, then fine-tuning."""
    training = run.record.training
    assert training
    frozen = training.frozen_epochs
    if (seconds := training.feature_seconds) is not None:
        epoch, times = times_faster(run.history["seconds"][:frozen], seconds)
        yield (
            "The features of the frozen backbone were computed once, without augmentation, in "
            f"{formatting.duration(seconds)}. An epoch of the head on them took "
            f"{epoch:.2g} s: about {times:,.0f} times faster than through the "
            "backbone."
        )
    if frozen:
        tuned = training.epochs - frozen
        kept = (
            f"The best epoch, {training.best_epoch}, is one of them."
            if training.best_epoch > frozen
            else f"None was better than epoch {training.best_epoch}, whose weights are kept."
        )
        yield (
            f"After {formatting.counted(frozen, 'epoch')} of the head alone the backbone was "
            f"fine-tuned for {formatting.counted(tuned, 'epoch')}, except its batch "
            f"normalization. {kept}"
        )
