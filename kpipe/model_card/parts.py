"""The parts of a card: those that kpipe writes, and those that people fill in, between markers."""

import dataclasses
import hashlib
import itertools
import pathlib
import re
from collections.abc import Sequence

from ..errors import UserError

# Markers of a part, a comment of HTML or, in the front matter, of YAML:
#     <!-- kpipe:results 0123456789abcdef -->   what is below is written by kpipe, with this digest
#     <!-- yours:contact -->                    what is below is written by people, and kept
#     <!-- /kpipe:results -->                   the end
_MARKER = re.compile(r"(?:<!--|#) ?(/?)(kpipe|yours):([a-z-]+)(?: ([0-9a-f]{16}))? ?(?:-->)?")
_IN_YAML = "metadata"  # what parts in the front matter are called


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a card.

    Attributes:
        owner: "kpipe" for what is written again, "yours" for what people fill in.
        name: Its name: "results".
        content: Its text, without markers.
        digest: The digest in its marker, if it was read.
    """

    owner: str
    name: str
    content: str
    digest: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.owner, self.name

    @property
    def is_changed(self) -> bool:
        """Whether a part that kpipe wrote was changed by hand."""
        return self.owner == "kpipe" and self.digest != digest_of(self.content)

    def __str__(self) -> str:
        digest = f" {digest_of(self.content)}" if self.owner == "kpipe" else ""
        start, end = f"{self.owner}:{self.name}{digest}", f"/{self.owner}:{self.name}"
        if self.name == _IN_YAML:
            return f"# {start}\n{self.content}\n# {end}\n"
        # Without empty lines Markdown would take a heading below a comment for a part of it.
        return f"<!-- {start} -->\n\n{self.content}\n\n<!-- {end} -->\n"


Piece = Part | str  # a part, or the text between parts


def digest_of(content: str) -> str:
    """Returns a digest that does not change with spaces at the ends of lines."""
    lines = "\n".join(line.rstrip() for line in content.strip().split("\n"))
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def new(parts: Sequence[Part]) -> list[Piece]:
    """Puts parts together as a new card; those of the front matter come first."""
    front = [part for part in parts if part.name == _IN_YAML]
    rest = [part for part in parts if part.name != _IN_YAML]
    pieces: list[Piece] = ["---\n", *front, "---\n"]
    for part in rest:
        pieces += ["\n", part]
    return pieces


def read(text: str, path: pathlib.Path) -> list[Piece]:
    """Divides a card into its parts and what stands between them.

    Raises:
        UserError: It is not a card of kpipe, or a marker is missing; the message names the line.
    """
    pieces: list[Piece] = []
    opened: re.Match | None = None
    lines: list[str] = []

    def refuse(number: int, problem: str) -> UserError:
        return UserError(
            f"{path}, line {number}: {problem}; put it right, or move the file away and write the "
            "card anew"
        )

    numbered = list(enumerate(text.removesuffix("\n").split("\n"), start=1))
    closing = next((n for n, line in numbered[1:] if line.rstrip() == "---"), 0)
    misplaced: tuple[int, str] | None = None  # the first, unless another problem explains it
    for number, line in numbered:
        marker = _MARKER.fullmatch(line.strip())
        if not marker:
            lines.append(line)
            if number == closing and not opened:  # as `new` divides it
                pieces.append("\n".join(lines) + "\n")
                lines = []
            continue
        end, owner, name, _ = marker.groups()
        if not misplaced and (name == _IN_YAML) != (number < closing):
            misplaced = number, f"{owner}:{name}"
        if opened and not end:
            raise refuse(number, f"{owner}:{name} begins before {opened[2]}:{opened[3]} ends")
        if end and (not opened or opened.group(2, 3) != (owner, name)):
            raise refuse(number, f"{owner}:{name} ends but did not begin")
        if opened:
            pieces.append(Part(owner, name, "\n".join(lines).strip(), opened[4] or ""))
        elif lines:
            pieces.append("\n".join(lines) + "\n")
        if not end and any(p.key == (owner, name) for p in pieces if isinstance(p, Part)):
            raise refuse(number, f"{owner}:{name} is there twice")
        opened, lines = (None if end else marker), []
    if opened:
        raise refuse(len(text.splitlines()), f"the end of {opened[2]}:{opened[3]} is missing")
    if lines:
        pieces.append("\n".join(lines) + "\n")
    known = {piece.key for piece in pieces if isinstance(piece, Part)}
    front = {("yours", _IN_YAML), ("kpipe", _IN_YAML)}
    if not front <= known or text.partition("\n")[0].rstrip() != "---":
        raise UserError(
            f"{path}: not a card that kpipe wrote; expected its front matter with markers at the "
            "beginning: move the file away, or choose another with --out"
        )
    if not closing:
        raise refuse(1, "the front matter is not closed by a line ---")
    if misplaced:
        number, name = misplaced
        where = "below" if number > closing else "above"
        raise refuse(number, f"{name} is {where} the --- of line {closing}, which ends the YAML")
    return pieces


def front_matter(pieces: Sequence[Piece]) -> tuple[str, str]:
    """Returns what people wrote in the front matter of a card that was read, and what kpipe did."""
    last = max(i for i, p in enumerate(pieces) if isinstance(p, Part) and p.name == _IN_YAML)
    own = generated = ""
    for piece in pieces[: last + 2]:  # the last one has the line that closes it
        if isinstance(piece, str):
            own += piece
        elif piece.owner == "yours":
            own += f"{piece.content}\n"
        else:
            generated += f"{piece.content}\n"
    return own, generated


def renew(existing: Sequence[Piece], parts: Sequence[Part]) -> list[Piece]:
    """Replaces what kpipe wrote; keeps what people filled in, the order, and what is between.

    Args:
        existing: A card that was read; it has the parts of the front matter.
        parts: The parts of the card now, with empty blanks.

    Returns:
        The card; a new part stands below the one before it in `parts`.
    """
    now = {part.key: part for part in parts}
    renewed: list[Piece] = []
    for piece in existing:
        if isinstance(piece, str) or piece.owner == "yours":
            renewed.append(piece)
        elif piece.key in now:
            renewed.append(now[piece.key])
    places = [part.key if isinstance(part, Part) else None for part in renewed]
    for before, part in itertools.pairwise(parts):
        if part.key not in places:
            place = places.index(before.key) + 1
            if before.name == _IN_YAML != part.name:  # below the piece that ends the YAML
                place = 2 + max(i for i, key in enumerate(places) if key and key[1] == _IN_YAML)
            renewed[place:place] = ["\n", part]
            places[place:place] = [None, part.key]
    return renewed


def take_blanks(parts: Sequence[Part], other: Sequence[Piece]) -> list[Part]:
    """Returns parts with the blanks as another card has them."""
    filled = {part.key: part for part in other if isinstance(part, Part) and part.owner == "yours"}
    return [filled.get(part.key, part) for part in parts]
