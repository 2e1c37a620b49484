"""The folder of a run: its name, and renaming of existing folders."""

import contextlib
import hashlib
import os
import pathlib
import re
import shutil
import urllib.parse
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .. import files
from ..errors import INTERRUPTED, RunError, Stopped
from ..export.versions import SERVING, keep_versions

if TYPE_CHECKING:
    from .experiment import Experiment

# Where the checkpoints of a run are, in its folder.
CHECKPOINTS = ("checkpoints", "retraining/checkpoints", "fine_tuning/checkpoints")


def run_folder(
    out: pathlib.Path, experiment: "Experiment", suffix: str = "", **options: object
) -> pathlib.Path:
    """Returns the folder named after the settings: name[-sample][,key=value ...][,seed=N].

    Keys in a pipeline's `data_keys`, such as the column to predict, are not named.

    Args:
        out: Folder of all results.
        experiment: Its keys, plan, precision, budget and seed are named if they differ from the
            defaults.
        suffix: What follows the name of the pipeline.
        **options: Further values to name, except those that are None.
    """
    name, settings = experiment.name + suffix, experiment.settings
    parts = [name + ("-sample" if experiment.source.kind == "sample" else "")]
    choices = {key: ",".join(map(str, values)) for key, values in settings.choices.items()}
    budget = f"{experiment.budget:g}s" if experiment.budget else None
    corrections = experiment.dataset.corrections
    by = corrections.path.stem if corrections else None
    chosen = {"plan": experiment.plan, "precision": experiment.precision}
    options = {**chosen, "budget": budget, "corrections": by, **options}
    named = {**settings.overrides, **choices, **{k: v for k, v in options.items() if v}}
    named = {k: v for k, v in named.items() if k not in getattr(experiment.module, "data_keys", ())}
    for key, value in sorted(named.items()):
        parts.append(f"{key}={urllib.parse.quote(str(value), safe=':+')}")
    if experiment.seed:
        parts.append(f"seed={experiment.seed}")
    joined = ",".join(parts)
    content = os.fsencode(joined)
    if len(joined) > 120 or len(content) > 200:  # a name has at most 255 bytes, in any alphabet
        begin = content[:103].decode(errors="ignore")
        joined = f"{begin}-{hashlib.sha256(content).hexdigest()[:16]}"
    files.make_folder(out)
    return out / joined


@contextlib.contextmanager
def starting_over(folder: pathlib.Path) -> Iterator[Callable[[], None]]:
    """Yields a function that renames an existing folder, so that nothing is lost.

    It is to be called as late as possible. If the block fails before it has anything to keep, such
    as a first checkpoint, the folder gets its name back. Else the error says that the same command
    would start over again.

    What is served is missing only between two renames; after a kill there, the next start has it
    again.
    """
    renamed: list[pathlib.Path] = []
    called = False
    beside = folder.with_name(f".{folder.name}.beside")
    if beside.exists() and not folder.exists():
        beside.rename(folder)
    shutil.rmtree(beside, ignore_errors=True)

    def set_aside() -> None:
        nonlocal called
        called = True
        if not folder.exists():
            return
        number = 1
        while (kept := folder.with_name(f"{folder.name}~{number}")).exists():
            number += 1
        keep_versions(folder, beside)
        folder.rename(kept)
        renamed.append(kept)
        if beside.exists():
            beside.rename(folder)
        print(f"the existing run is kept as {kept}", flush=True)

    try:
        yield set_aside
    except BaseException as error:
        names = {path.name for path in folder.glob("*") if path.suffix != ".json"}
        begun = bool(names - {"logs", SERVING})
        if renamed and not begun:
            if folder.exists():
                folder.rename(beside)
            renamed[0].rename(folder)
            print(f"{renamed[0]} is {folder} again", flush=True)
        elif called and begun and isinstance(error, (RunError, KeyboardInterrupt, Stopped)):
            again, said = "the same command", str(error) or INTERRUPTED
            error.args = (re.sub(f"{again}(?! without)", f"{again} without --fresh", said),)
        raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
