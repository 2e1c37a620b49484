"""What kpipe wrote, known by its SHA-256: it is compared before it is read again.

A folder has a `manifest.json`, written last, with the digest of each file. A JSON file that stands
alone ends with the digest of its own content.
"""

import hashlib
import json
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import UserError

NAME = "manifest.json"


def sha256(path: pathlib.Path) -> str:
    """Returns the SHA-256 of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(folder: pathlib.Path, paths: Iterable[pathlib.Path]) -> dict[str, Any]:
    """Returns the content of a manifest: digest and size of each file, by its name in `folder`."""
    described = {
        path.relative_to(folder).as_posix(): {"sha256": sha256(path), "size": path.stat().st_size}
        for path in sorted(paths)
        if path.is_file() and path != folder / NAME
    }
    return {"files": described}


def check(
    folder: pathlib.Path, *parts: str, remedy: str = "", note: pathlib.Path | None = None
) -> None:
    """Compares files with the manifest of their folder.

    Args:
        folder: A folder with a manifest.
        parts: Names of files or folders in it, all of which it must list; by default all files that
            it lists.
        remedy: What to do, the end of the message.
        note: The manifest, if it is not in the folder.

    Raises:
        UserError: A file is missing, damaged or changed, or so is the manifest; the message names
            it.

    Example:
        check(pathlib.Path("saved_models/mnist_mlp"), "metrics.json", "serving")
    """
    try:
        if reason := _find_damage(folder, note or folder / NAME, parts):
            raise UserError(reason)
    except UserError as error:
        raise UserError(f"{error}; {remedy}" if remedy else str(error)) from None


def read(path: pathlib.Path) -> dict[str, tuple[str, int | None]]:
    """Reads a manifest: SHA-256 and size of each file, by its name in the folder.

    Raises:
        UserError: It is missing, or not a manifest; the message names it.
    """
    try:
        content: Any = unseal(path.read_bytes())
        listed = {
            n: (str(entry["sha256"]), entry.get("size")) for n, entry in content["files"].items()
        }
        if outside := [name for name in listed if ".." in pathlib.PurePath(name).parts]:
            raise ValueError(f"it lists {outside[0]!r}")
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path} is not a valid manifest ({type(error).__name__}: {error})"
        ) from None
    return listed


def lists(path: pathlib.Path, part: str) -> bool:
    """Whether a manifest lists a file or folder, or cannot be read, which `check` tells."""
    try:
        return any(_is_in(name, part) for name in read(path))
    except UserError:
        return True


def _find_damage(folder: pathlib.Path, path: pathlib.Path, parts: tuple[str, ...]) -> str:
    listed = read(path)
    chosen = {part: [name for name in listed if _is_in(name, part)] for part in parts}
    for part, names in chosen.items():
        if not names:
            return f"{folder / part} is not listed in {path}"
    for name in sorted({name for names in chosen.values() for name in names} or listed):
        if change := find_change(folder / name, *listed[name]):
            return f"{folder / name} {change}, according to {path.name}"
    return ""


def find_change(file: pathlib.Path, digest: str, size: int | None) -> str:
    """Returns how a file differs from its entry in a manifest, or "".

    Args:
        file: The file.
        digest: Its SHA-256 when it was written.
        size: Its size; None if it was not noted.
    """
    try:
        now = file.stat().st_size
        if not file.is_file():  # reading a device may never end
            return "is not a file"
        same = size in (None, now) and sha256(file) == digest
    except (FileNotFoundError, NotADirectoryError):
        return "is missing"
    except (OSError, ValueError) as error:
        return f"cannot be read ({error})"
    return "" if same else "is damaged or changed"


def _is_in(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}/")


def to_text(content: object, allow_nan: bool = False) -> str:
    """Writes an object as readable JSON; NaN is refused, since JSON does not have it."""
    return json.dumps(content, indent=1, allow_nan=allow_nan) + "\n"


def seal(content: Mapping[str, Any], allow_nan: bool = False) -> bytes:
    """Writes an object as JSON with a last key "checksum", the SHA-256 of the text without it."""
    return _with_checksum(to_text(content, allow_nan).encode())


def _with_checksum(text: bytes) -> bytes:
    digest = hashlib.sha256(text).hexdigest()
    start = b"{" if text == b"{}\n" else text.removesuffix(b"\n}\n") + b","
    return start + f'\n "checksum": "{digest}"\n}}\n'.encode()


def unseal(raw: bytes) -> object:
    """Reads JSON; if it is an object with a checksum, compares and removes that.

    Raises:
        ValueError: It is not JSON, or was changed.
    """
    content = json.loads(raw.decode("utf-8"))
    # The key itself may be damaged: what ends like a checksum is taken for one.
    ends_like_one = re.search(rb'"[0-9a-f]{64}"\n}\n\Z', raw)
    if isinstance(content, dict) and ("checksum" in content or ends_like_one):
        start, _, _ = raw.rpartition(b'\n "checksum": ')
        text = b"{}\n" if start == b"{" else start.removesuffix(b",") + b"\n}\n"
        if raw != _with_checksum(text):
            raise ValueError("its checksum differs: it was damaged or changed")
        del content["checksum"]
    return content
