"""The paths of TensorFlow Serving's REST protocol."""

import dataclasses
import urllib.parse
from collections.abc import Collection

from ..errors import nearest
from .limits import Refusal

ROOT = "/v1/models"


@dataclasses.dataclass(frozen=True)
class Path:
    """What a path asks for.

    Attributes:
        name: The model.
        version: The number after `/versions/`; None for the latest.
        what: "predict" and the like after a colon, "metadata" or "about" after a slash, "" for the
            status.
        is_call: Whether it is after a colon: a POST request.
    """

    name: str
    version: int | None = None
    what: str = ""
    is_call: bool = False


def read_path(raw: bytes, names: Collection[str]) -> Path:
    """Reads `/v1/models/NAME[/versions/N][:predict|/metadata]`.

    Args:
        raw: The path as it was sent, percent-encoded, so that a name may contain a colon.
        names: Those of the models.

    Raises:
        Refusal: There is no such path or model.

    Example:
        read_path(b"/v1/models/mnist_mlp/versions/2:predict", ["mnist_mlp"]).version  # 2
    """
    parts = raw.decode("ascii", "replace").split("/")
    if [_plain(part) for part in parts[:3]] != ROOT.split("/") or len(parts) < 4:
        raise not_found(f"no such path; expected {ROOT}/NAME")  # a slash in it was encoded
    parts = parts[3:]
    what, is_call = "", False
    if ":" in parts[-1] and _plain(parts[-1]) not in names:
        parts[-1], _, what = parts[-1].rpartition(":")
        is_call = True
    elif len(parts) in (2, 4):
        what = parts.pop()
    name = _plain(parts[0])
    if name not in names:
        raise not_found(f"no model {name[:80]!r} is served; {nearest(name[:80], names)}")
    if parts[1:2] == ["labels"]:
        raise not_found("versions have no labels here; use /versions/N")
    if len(parts) == 1:
        return Path(name, None, what, is_call)
    if len(parts) == 3 and parts[1] == "versions" and parts[2].isdecimal() and len(parts[2]) < 20:
        return Path(name, int(parts[2]), what, is_call)
    raise not_found(f"no such path; expected {ROOT}/NAME[/versions/N][:predict]")


def not_found(message: str) -> Refusal:
    """Returns the refusal of a path or model that does not exist."""
    return Refusal(404, "not_found", message)


def quote(name: str) -> str:
    """Writes a model's name as a part of a path."""
    return urllib.parse.quote(name, safe=",=~+@")


def _plain(part: str) -> str:
    return urllib.parse.unquote(part, errors="replace")
