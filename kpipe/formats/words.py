"""How texts become token ids elsewhere: tokens.json, and Python code that reads it."""

import re

from .. import manifest
from ..inputs.tokens import RULES, UNKNOWN_ID
from .source import Source

FILE = "tokens.json"
# Classes of RE2, which are ASCII alone; other libraries' are not.
_ASCII = {r"\s": r"[ \t-\r]", r"\S": r"[^ \t-\r]", r"\w": "[0-9A-Za-z_]"}
# How README.md says it. Compared with TensorFlow on 4,837 tweets and on unusual texts: equal, but
# for characters that one of both Unicode versions does not have.
CODE = r"""
import json
import pathlib
import unicodedata

import regex  # pip install regex

settings = json.loads(pathlib.Path("tokens.json").read_text(encoding="utf-8"))
words = pathlib.Path("vocabulary.txt").read_text(encoding="utf-8").split("\n")
ids = {word: number for number, word in enumerate(words)}


def tokens(text: str) -> list[int]:
    text = "".join(" " if unicodedata.category(c) == "Cc" else c for c in text).lower()
    for rule in settings["rules"]:
        pattern = rule["pattern"].replace(r"\b", r"(?a:\b)")
        text = regex.sub(pattern, rule["replacement"], text)
    found = [ids.get(word, settings["unknown"]) for word in text.split()]
    return found[: settings["length"]] or [settings["unknown"]]
"""


def portable(pattern: str) -> str:
    r"""Writes a pattern of RE2 with explicit classes; \b remains, and is that of ASCII.

    Example:
        portable(r"\w+")  # "[0-9A-Za-z_]+"
    """
    return re.sub(r"\\[sSw]", lambda found: _ASCII[found[0]], pattern)


def to_json(source: Source) -> str:
    """Writes how the texts of a run become token ids."""
    rules = [{"pattern": portable(pattern), "replacement": to} for pattern, to in RULES]
    length = source.run.record.data.about["sequence_length"]
    ids = {"padding": 0, "unknown": UNKNOWN_ID}
    return manifest.to_text({"lowercase": True, "rules": rules, "length": length, **ids})
