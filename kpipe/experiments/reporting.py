"""Writes the report of a finished run, and its manifest."""

import dataclasses
import pathlib

from .. import figures, files, report
from ..datasets import Look
from ..export.versions import SERVING
from ..records import Record, Run, first_kernel
from .experiment import Experiment

# Folders of a run that its manifest does not list: what is written without its end, and what is
# written later, with a manifest of its own.
_UNLISTED = frozenset(("logs", "checkpoints", "exports"))


def is_listed(name: pathlib.PurePath) -> bool:
    """Whether the manifest of a run lists a file: all that lies in its export, which is loaded.

    Args:
        name: Its name in the run's folder.

    Example:
        is_listed(pathlib.PurePath("serving/1/saved_model.pb"))
    """
    return name.parts[0] == SERVING or not _UNLISTED & set(name.parts)


def write_report(experiment: Experiment, run: Run) -> None:
    """Writes figures and report of a run, with its learning curve if the folder contains one."""
    task, inputs = experiment.task, run.data.input if run.data else None
    plots = list(getattr(experiment.module, "plots", task.FIGURES))
    plots += [figure for figure in getattr(task, "ALWAYS", ()) if figure not in plots]
    facts = [*task.facts(run), *(inputs.facts(run.record.data.about) if inputs else ())]
    sections = list(task.sections(run))
    if curve := report.read_learning_curve(run.folder):
        plots.append(figures.more_data)
        sections.insert(0, report.learning_curve_section(curve))
    report.write(run, plots, facts, sections, alert=task.alert(run))


def write_unreadable(folder: pathlib.Path, look: Look | None) -> None:
    """Writes the files of a user's data that cannot be read, with the reasons, if there are any."""
    if look and look.unreadable:
        path = folder / "bad_files.csv"
        files.write_bytes(path, look.bad_files().encode(errors="backslashreplace"))
        print(f"{len(look.unreadable):,} left out as unreadable, listed in {path}", flush=True)


def report_again(experiment: Experiment, run: Run) -> None:
    """Writes the report of a finished run again; all its other files remain.

    What a report needs and a folder does not contain is made again: the data, which are cached,
    and the first layer before training, which follows from the seed.
    """
    prepared = experiment.prepare()
    start, _ = experiment.build_model(prepared)
    again = dataclasses.replace(run, data=prepared, initial_kernel=first_kernel(start))
    write_report(experiment, again)
    write_manifest(run.folder, run.record)


def write_manifest(folder: pathlib.Path, record: Record) -> None:
    """Writes the manifest, last: it marks the run as complete.

    Earlier versions of its export have a manifest of their own. A model card, or another page in
    Markdown, is written by people as well.
    """
    serving, own = folder / SERVING, folder / SERVING / str(record.version)
    final = [
        path
        for path in folder.rglob("*")
        if is_listed(path.relative_to(folder))
        and (serving not in path.parents or own in path.parents)
        and not (path.parent == folder and path.suffix == ".md")
    ]
    files.write_manifest(folder, final, format_version=record.format_version)
