"""The tables of a search: trials.csv, curves.csv, and what the terminal shows."""

from typing import Any

from .. import formatting
from ..experiments import catalogue
from ..records.study import Study, TrialRecord

SHOWN = 20  # rows on a terminal


def trials(study: Study) -> list[dict[str, Any]]:
    """Returns a row for each trial: the completed ones, the best first, then the others."""
    ranked = study.ranked
    rest = [trial for trial in study.trials if trial.value is None]
    return [_row(study, trial) for trial in [*ranked, *rest]]


def _row(study: Study, trial: TrialRecord) -> dict[str, Any]:
    parts = trial.parts
    return {
        "trial": trial.trial,
        "status": trial.status,
        study.objective: trial.value,
        "low": trial.low,
        "high": trial.high,
        **{name: trial.values.get(name) for name in study.space},
        "best_epoch": _several([part.best_epoch for part in parts]),
        "epochs": _several([part.epochs for part in parts]),
        "stopped_by": _several([part.stopped_by for part in parts]),
        "seconds": round(trial.seconds, 1) if parts else None,
        "parameters": parts[0].parameters if parts else None,
        "ended": trial.ended,
        "each": " ".join(f"{part.value:.6g}" for part in parts) if len(parts) > 1 else None,
        "error": trial.error,
    }


def _several(values: list[Any]) -> Any:
    """Writes the values of a trial's parts: one, or several with spaces between."""
    same = len(set(values)) == 1
    return values[0] if same else " ".join(map(str, values)) if values else None


def curves(study: Study) -> list[dict[str, Any]]:
    """Returns a row for each epoch of each training."""
    rows = []
    for trial in study.trials:
        for part in trial.parts:
            columns = part.curves
            for i, epoch in enumerate(columns.get("epoch", ())):
                about = {"trial": trial.trial, "repeat": part.repeat, "fold": part.fold}
                rest = {name: values[i] for name, values in columns.items() if name != "epoch"}
                rows.append({**about, "epoch": epoch, **rest})
    return rows


def to_text(study: Study) -> str:
    """Formats the best trials for a terminal, without errors and what never varied."""
    rows = trials(study)
    hidden = ("error", "ended", "low", "high")
    names = list(dict.fromkeys(name for row in rows for name in row if name not in hidden))
    varied = [
        name for name in names if name == "trial" or len({str(row.get(name)) for row in rows}) > 1
    ]
    cells = [tuple(formatting.short(row.get(name)) for name in varied) for row in rows[:SHOWN]]
    more = f"\n... and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return "\n" + catalogue.align([tuple(varied), *cells]) + more
