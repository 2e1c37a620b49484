"""What a report says about the texts that a network was trained on."""

from collections.abc import Mapping
from typing import Any

from .. import formatting


def facts(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Vocabulary, length and word vectors, as pairs of a name and what there is to say.

    Args:
        about: What texts record about themselves, see `record.DataRecord`.

    Returns:
        Nothing for other inputs.
    """
    found = []
    if is_of_texts(about):
        size, length = (formatting.count(about[key]) for key in ("vocabulary", "sequence_length"))
        cut = formatting.percent(about["cut_texts"])
        sentence = (
            f"{size} words, the first {length} tokens; {cut} of the training texts are longer"
        )
        found.append(("Texts", sentence))
    if vectors := about.get("embeddings"):
        coverage = formatting.percent(vectors["coverage"])
        found.append(("Word vectors", f"from {vectors['file']}, for {coverage} of the words"))
    return found


def is_of_texts(about: Mapping[str, Any]) -> bool:
    """Whether a record is of a run on texts."""
    return "sequence_length" in about
