"""Verifies a finished run: its files against its manifest, its export against the golden cases."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator

from . import files, formatting, manifest
from .errors import RunError, UserError
from .experiments.reporting import is_listed
from .export import prove
from .export.scanning import check_graph
from .export.versions import SERVING, other_versions
from .formats.again import find_change
from .formats.source import EXPORTS
from .records import Record, read_record

SHOWN = 10  # names on a line
REPLAYED = ("serving/", "golden.npz", "predictions.npz")  # what a replay reads


@dataclasses.dataclass
class Verification:
    """The result of `verify`; `lines` are what it printed.

    Attributes:
        folder: The run's folder.
        lines: One line for each check.
        problems: Those of them that say what is wrong; none if the run is verified.
    """

    folder: pathlib.Path
    lines: list[str] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.problems

    def __repr__(self) -> str:
        return "\n".join([f"{self.folder}:", *self.lines])

    def _say(self, line: str, problem: bool = False) -> None:
        line = " ".join(line.splitlines())
        print(line, flush=True)
        self.lines.append(line)
        if problem:
            self.problems.append(line)


def verify(folder: str | os.PathLike, *, trust: bool = False) -> Verification:
    """Verifies a finished run, of this or an older format; nothing is written.

    The record must be readable, and every file be as the manifest lists it. Then the golden cases
    are replayed through the export in a fresh process without Keras, as at the end of the run, and
    through what `kpipe export` converted it to. The data are not needed: the test split is replayed
    if its prepared arrays still exist.

    Args:
        folder: The folder, such as "saved_models/mnist_mlp"; also a copy, a link or a read-only
            one.
        trust: Whether to replay an export with operations that `kpipe.load` refuses.

    Raises:
        UserError: It is not the folder of a run.

    Example:
        assert kpipe.verify("saved_models/mnist_mlp").passed
    """
    folder = pathlib.Path(folder).expanduser()
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; expected a run's folder")
    if not ((folder / "run.json").exists() or (folder / manifest.NAME).exists()):
        raise UserError(f"{folder}: not the folder of a run; expected one with run.json")
    result = Verification(folder)
    record = _verify_record(result)
    if not (record and record.status == "unfinished"):
        intact = _verify_files(result, record)
        if intact and record:
            _verify_export(result, record, trust)
            _verify_conversions(result, trust)
        elif record:  # what is damaged is not loaded
            result._say("export: not replayed, since not all files that it needs are verified")
    failed = f"NOT VERIFIED: {formatting.counted(len(result.problems), 'problem')}"
    result._say("verified" if result.passed else failed)
    return result


def _verify_record(result: Verification) -> Record | None:
    try:
        record = read_record(result.folder / "run.json")
    except UserError as error:
        result._say(str(error), problem=True)
        return None
    about = f"run.json: {record.pipeline}, format {record.format_version}"
    if record.status == "unfinished":
        result._say(f"{about}: not finished; it is resumed by: {record.command}", problem=True)
        return record
    result._say(f"{about}, {record.status} {record.finished or ''}".rstrip())
    if record.problems:
        said = "; ".join(record.problems)
        result._say(f"run.json: incomplete: {said}; it is completed by: {record.command}")
    return record


def _verify_files(result: Verification, record: Record | None = None) -> bool:
    """Compares all files with the manifest; returns whether a replay can read what it needs."""
    path = result.folder / manifest.NAME
    if not path.is_file():
        how = f"; the run is completed by: {record.command}" if record else ""
        result._say(f"manifest.json: missing{how}", problem=True)
        return False
    try:
        listed = manifest.read(path)
    except UserError as error:
        result._say(str(error), problem=True)
        return False
    found = {
        name: file for name, file in _found(result.folder) if is_listed(pathlib.PurePath(name))
    }
    missing = [name for name in listed if name not in found]
    damaged = [n for n in listed if n in found and manifest.find_change(found[n], *listed[n])]
    unlisted = [name for name in found if name not in listed]
    later: list[str] = []
    if record:
        earlier, after = other_versions(result.folder, record.version)
        for folder in earlier:
            _verify_version(result, folder)
        later = [f"{SERVING}/{folder.name}/" for folder in after]
        of_others = tuple([f"{SERVING}/{folder.name}/" for folder in earlier] + later)
        unlisted = [name for name in unlisted if not name.startswith(of_others)]
    # What lies in the export is loaded with it, and the latest version is served.
    planted = later + [name for name in unlisted if name.startswith(f"{SERVING}/")]
    for what, names in (("missing", missing), ("damaged or changed", damaged)):
        if names:
            result._say(f"files: {what}: {_shown(names)}", problem=True)
    if planted:
        result._say(f"files: not written by the run: {_shown(planted)}", problem=True)
    if others := [name for name in unlisted if name not in planted]:
        result._say(f"files: not listed in manifest.json, hence not verified: {_shown(others)}")
    if not (missing or damaged or planted):
        result._say(f"files: all {formatting.counted(len(listed), 'file')} are as written")
    return not any(name.startswith(REPLAYED) for name in missing + damaged + planted)


def _verify_version(result: Verification, folder: pathlib.Path) -> None:
    """Compares the files of a version that an earlier run left with its own manifest."""
    try:
        manifest.check(folder)
        listed = manifest.read(folder / manifest.NAME)
        if planted := [name for name, _ in _found(folder) if name not in listed]:
            raise UserError(f"{folder}: not written by the run: {_shown(planted)}")
    except UserError as error:
        result._say(f"files: {error}", problem=True)


def _found(folder: pathlib.Path) -> Iterator[tuple[str, pathlib.Path]]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != manifest.NAME:
            yield name, path


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _verify_conversions(result: Verification, trust: bool) -> None:
    """Compares what `kpipe export` wrote with its manifests, and replays it."""
    for folder in sorted((result.folder / EXPORTS).glob("[!.]*/")):
        said, problem = find_change(result.folder, folder, trust)
        result._say(f"{EXPORTS}/{folder.name}: {said}", problem)


def _verify_export(result: Verification, record: Record, trust: bool) -> None:
    """Replays the golden cases, and the test split if its arrays exist."""
    try:
        test_files = [files.home() / name for name in record.data.test_files]
    except UserError:  # no home folder, hence no prepared arrays
        test_files = [pathlib.Path(name) for name in record.data.test_files]
    missing = [path for path in test_files if not path.is_file()]
    try:
        if not trust:
            check_graph(result.folder, record.version)
        proof = prove(result.folder, [] if missing else test_files)
    except (UserError, RunError) as error:
        result._say(str(error), problem=True)
        return
    worst, allowed = (formatting.small(proof[name]) for name in ("max_difference", "tolerance"))
    said = f"largest difference {worst} (allowed: {allowed})"
    if proof["passed"]:
        result._say(f"export: answers as the trained model did: {said}")
    else:
        words = "" if proof["labels_agree"] else "; words such as labels differ"
        result._say(f"export: differs from the trained model: {said}{words}", problem=True)
    if proof["test_examples"] is not None:
        result._say(f"test split: {proof['test_examples']:,} examples were replayed as well")
    elif missing:
        result._say(f"test split: not replayed, since {missing[0]} does not exist any more")
    else:
        result._say("test split: not replayed, since run.json does not name its prepared arrays")
