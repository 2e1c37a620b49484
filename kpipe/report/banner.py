"""What a page says first of data that are a sample, or not the official ones."""

from ..records import Record
from .tables import code, text


def about_data(record: Record) -> str:
    """Says that the data are a sample, or not the official ones; "" if neither is so."""
    data = record.data
    if data.kind == "sample":
        return (
            "SAMPLE DATA: these numbers show that the code runs; they say nothing about "
            f"{data.name}."
        )
    if data.kind not in ("", "own") and not data.official:
        return (
            f"NOT THE OFFICIAL DATA: these data are not {data.name} as published, so the numbers "
            "cannot be compared with published ones."
        )
    return ""


def data_banner(record: Record, *, get_real: str = "") -> str:
    """Writes a box that says it; "" if there is nothing to say.

    Args:
        record: The record of what the page is about.
        get_real: The command that uses the real data instead of a sample.
    """
    title, _, said = about_data(record).partition(": ")
    if not said:
        return ""
    command = ""
    if get_real and record.data.kind == "sample":
        command = f" With the real data:\n<pre>{code(get_real)}</pre>"
    return f'<aside class="banner"><strong>{title}:</strong> {text(said)}{command}</aside>'
