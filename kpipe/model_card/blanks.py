"""What people must say of a model, since no record contains it."""

import dataclasses
import re
from collections.abc import Iterator

from ..records import Record
from .metadata import input_kind, tags, to_yaml
from .parts import Part

NEEDED = "[More information needed]"  # what a reader sees until it is replaced, as on the Hub


@dataclasses.dataclass(frozen=True)
class Blank:
    """A section that people fill in: its heading, and what is asked for."""

    name: str
    title: str
    question: str

    @property
    def part(self) -> Part:
        content = f"## {self.title}\n\n<!-- TO FILL: {self.question} -->\n\n{NEEDED}"
        return Part("yours", self.name, content)


INTENDED_USE = Blank(
    "intended-use",
    "Intended use",
    "what the model is for: who uses it, on which inputs, and what follows from its answers.",
)
OUT_OF_SCOPE = Blank(
    "out-of-scope-use",
    "Out-of-scope use",
    "what it must not be used for: inputs that it was not tested on, decisions that its errors do "
    "not allow, misuse.",
)
ETHICS = Blank(
    "ethical-considerations",
    "Ethical considerations",
    "who is affected by its answers and its errors, whether groups of people were compared, how "
    "the data were collected, and whether those in them consented.",
)
TERMS = Blank(
    "terms",
    "Terms of use",
    "under which licence the model may be used, and that of the data that it was trained on.",
)
CONTACT = Blank("contact", "Contact", "who maintains the model, and where errors are reported.")
BLANKS = (INTENDED_USE, OUT_OF_SCOPE, ETHICS, TERMS, CONTACT)

# What templates leave where something is to be written.
_PLACEHOLDER = re.compile(r"\W*(todo|tbd|to fill|to be filled in|n/?a|)\W*", re.IGNORECASE)
_TO_DO = re.compile(r"^\W*((TODO|TBD)\b|(?i:todo|tbd)\s*(:|$))", re.MULTILINE)  # begins a line
_KEY = re.compile(r"([\w-]+):(|\s.*)")  # a line of YAML
_LANGUAGE = re.compile(r"[a-z]{2,3}(-\w+)*|multilingual|code")  # what the Hub takes


def front_matter(record: Record) -> Part:
    """Returns the part of the front matter that people fill in and add to."""
    lines = [
        "# TO FILL: license: apache-2.0, or another of https://hf.co/docs/hub/repositories-licenses"
    ]
    if input_kind(record) == "text":
        lines.append("# TO FILL: language: en, or a list of codes of ISO 639")
    return Part("yours", "metadata", "\n".join([*lines, to_yaml({"tags": tags(record)})]))


def is_filled(content: str) -> bool:
    """Whether there is more than headings, comments and placeholders, and nothing is to do."""
    said = re.sub(r"<!--.*?(-->|\Z)", "", content, flags=re.DOTALL)
    said = re.sub(r"^#+( .*)?$", "", said, flags=re.MULTILINE)
    to_do = NEEDED.lower() in said.lower() or _TO_DO.search(said)
    return not to_do and not _PLACEHOLDER.fullmatch(said)


def keys_of(front: str) -> dict[str, str]:
    """Returns the keys at the margin of YAML, with their values as they are written, "" for none.

    Values are without quotes and comments; those of a list are lines that begin with "-". The rest
    of the YAML is not read: it is the Hub's to judge.
    """
    found: dict[str, str] = {}
    name = ""
    for line in front.split("\n"):
        said = re.sub(r"(^|\s)#.*$", "", line).rstrip()
        if key := _KEY.fullmatch(said):
            name, said = key.groups()
            found[name] = ""
        said = said.strip().strip("\"'")
        if name and said not in ("", "null", "~") and not _PLACEHOLDER.fullmatch(said):
            found[name] = f"{found[name]}\n{said}".strip()
    return found


def missing_in_front(own: str, generated: str, record: Record) -> Iterator[str]:
    """Yields what the front matter lacks, or has twice.

    Args:
        own: What people wrote there.
        generated: The part that kpipe writes.
        record: The record of the run.
    """
    keys = keys_of(own)
    licence = keys.get("license", "")
    if not licence:
        yield "license: missing in the front matter; expected an identifier, such as apache-2.0"
    elif licence.startswith("-"):
        yield "license: a list; expected one identifier on the line, such as license: apache-2.0"
    elif not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", licence):
        yield (
            f"license: {licence!r} is no identifier; expected one of "
            "https://hf.co/docs/hub/repositories-licenses, such as apache-2.0"
        )
    elif licence == "other":
        for name in ("license_name", "license_link"):
            if not keys.get(name):
                yield f"{name}: missing in the front matter, which license: other needs"
    if input_kind(record) == "text" or "language" in keys:
        yield from _missing_language(keys.get("language", ""))
    lines = f"{own}\n{generated}".split("\n")
    found = [match[1] for line in lines if (match := _KEY.fullmatch(line))]
    for name in dict.fromkeys(name for name in found if found.count(name) > 1):
        yield f"{name}: twice in the front matter, which YAML does not allow"


def _missing_language(written: str) -> Iterator[str]:
    items = [item.strip("- \t\"'") for item in re.split(r"[\n,\[\]]", written)]
    codes = [item for item in items if item]
    if not codes:
        yield "language: missing in the front matter; expected that of the texts, such as en"
    for code in codes:
        if not _LANGUAGE.fullmatch(code):
            yield f"language: {code!r} is no code; expected one of ISO 639, such as en"
