"""The versions of a run's export: `serving/1`, `serving/2`, ..., as TensorFlow Serving expects.

A version appears by renaming, when it is proven. A run that is trained anew with `--fresh` keeps
the versions of the run before it and adds one, so that a server always has one to load.
"""

import glob
import pathlib
import shutil

from .. import files, manifest
from ..errors import UserError

SERVING = "serving"
UNPROVEN = "unproven"  # what is not served yet
GRAPH = "saved_model.pb"


def versions_of(folder: pathlib.Path) -> list[int]:
    """Returns the versions in a run's folder, the oldest first.

    Example:
        versions_of(pathlib.Path("saved_models/mnist_mlp"))[-1]  # the one that is served
    """
    names = [path.name for path in (folder / SERVING).glob("*") if path.is_dir()]
    # As TensorFlow Serving reads names: 1, not 01.
    return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)


def version_folder(folder: pathlib.Path, version: int | None = None) -> pathlib.Path:
    """Returns the folder of a SavedModel.

    Args:
        folder: A run's folder, or a SavedModel folder itself.
        version: One of the run's versions; None for the latest.

    Raises:
        UserError: There is no such SavedModel.
    """
    known = versions_of(folder)
    if not (folder / SERVING).is_dir() and version is None:
        model = folder
    elif version is not None and version not in known:
        listed = ", ".join(map(str, known)) or "none"
        raise UserError(f"{folder}: no version {version} of its export; expected one of: {listed}")
    else:
        model = folder / SERVING / str(version or (known[-1] if known else 1))
    if not (model / GRAPH).is_file():
        raise UserError(
            f"{folder}: contains no SavedModel, {model / GRAPH} is missing; expected a run's "
            "folder, which contains serving/1"
        )
    return model


def check_version(folder: pathlib.Path, model: pathlib.Path) -> None:
    """Compares a version with the manifest of its run, or else with its own.

    Args:
        folder: The run's folder, or `model`.
        model: The folder of the version.

    Raises:
        UserError: A file is missing, damaged or changed; the message names it.
    """
    part, remedy = f"{SERVING}/{model.name}", "export it again"
    path = folder / manifest.NAME
    if model != folder and path.is_file() and manifest.lists(path, part):
        manifest.check(folder, part, remedy=remedy)
    elif (model / manifest.NAME).is_file():  # alone, of an earlier run, or its run is not finished
        manifest.check(model, remedy=remedy)


def publish(folder: pathlib.Path, version: int) -> None:
    """Moves an export that is proven to where it is served."""
    files.make_folder(folder / SERVING)
    files.remove_leftovers(folder / SERVING)
    files.replace_folder(folder / SERVING / str(version), folder / UNPROVEN / str(version))
    shutil.rmtree(folder / UNPROVEN)


def next_version(folder: pathlib.Path) -> int:
    """Returns a number that no version of a run had, nor of those that were set aside before it.

    A server may have loaded one that is not there any more, such as a damaged one.

    Args:
        folder: The run's folder; those that were set aside are beside it, with ~1, ~2, ...
    """
    aside = folder.parent.glob(f"{glob.escape(folder.name)}~*")
    folders = [folder, *(path for path in aside if path.name.rpartition("~")[2].isdecimal())]
    return max((version for path in folders for version in versions_of(path)), default=0) + 1


def keep_versions(earlier: pathlib.Path, folder: pathlib.Path) -> None:
    """Keeps the versions of a run in a folder for the one that follows it.

    Files are linked, so that they take no space; a damaged version is left out and named.
    """
    for version in versions_of(earlier):
        model = earlier / SERVING / str(version)
        try:
            check_version(earlier, model)
        except UserError as error:
            print(f"{error}: not kept as a version of the next run", flush=True)
            continue
        files.make_folder(folder / SERVING)
        with files.new_folder(folder / SERVING / str(version)) as temporary:
            for path in model.rglob("*"):
                target = temporary / path.relative_to(model)
                if path.is_dir():
                    target.mkdir(exist_ok=True)
                elif target != temporary / manifest.NAME:
                    files.link(path, target)


def other_versions(
    folder: pathlib.Path, version: int
) -> tuple[list[pathlib.Path], list[pathlib.Path]]:
    """Returns the folders of the versions before the run's own, and of those after it.

    Those before it are of earlier runs, and each has a manifest of its own. No run wrote those
    after it, and they would be served in its place.
    """
    paths = {other: folder / SERVING / str(other) for other in versions_of(folder)}
    earlier = [path for other, path in paths.items() if other < version]
    return earlier, [path for other, path in paths.items() if other > version]
