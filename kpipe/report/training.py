"""The section of a report about the training."""

from collections.abc import Iterable, Mapping
from typing import Any

from .. import formatting
from ..records import Run
from ..training import times_faster
from .tables import grid, paragraph, section, settings


def section_of(run: Run) -> str:
    """Writes the section: what the training was, and how long its stages took."""
    record, training = run.record, run.record.training
    seconds, summary, note = dict(record.times), {}, ""
    if training:
        summary = {
            formatting.words(key): getattr(training, key)
            for key in ("epochs", "best_epoch", "steps", "stopped_by")
        }
        if training.waiting_seconds is not None and (train := seconds.get("train")):
            share = formatting.percent(training.waiting_seconds / train, 1)
            summary["waiting for data"] = f"{share} of the training time"
        if training.feature_seconds is not None:
            seconds["features (part of train)"] = training.feature_seconds
        if training.retraining_seconds is not None:
            seconds["retraining"] = training.retraining_seconds
        if training.retrained_epochs is not None:
            examples, epochs = training.retrained_examples, training.retrained_epochs
            note = (
                "After the best epoch was determined, the network was trained again from scratch, "
                f"on train and val, {formatting.count(examples)} examples, for {epochs:,} epochs. "
                "Results are those of the second training; curves are those of the first."
            )
        note = " ".join(filter(None, [_of_search(run), note, *_of_backbone(run)]))
    times = {formatting.words(key): formatting.duration(value) for key, value in seconds.items()}
    tables = grid(
        settings("summary", summary),
        settings("times", times),
        settings("a training step, as measured by --profile", _of_profile(record.profile)),
    )
    return section("Training", paragraph(note) + tables) if summary or times else ""


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
