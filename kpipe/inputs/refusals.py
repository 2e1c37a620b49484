"""Errors about the examples of a source, each in one line that names what is at fault."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..datasets import Source
from ..errors import UserError, first_line

NAMED = 20  # examples that an error names for one reason, and reasons


def check_labels(labels: np.ndarray, source: Source) -> None:
    """Refuses labels that are not numbers.

    Raises:
        UserError: Labels have another type, such as strings, or are beyond int32.
    """
    if labels.dtype.kind not in "biuf":
        what = "strings" if labels.dtype.kind in "OSU" else labels.dtype.name
        raise UserError(
            f"{source.description}: labels are {what}; expected integers from 0, one for each name "
            "in label_names, or floats: convert them"
        )
    if labels.dtype.kind in "iu" and (wrong := labels.astype(np.int32) != labels).any():
        raise UserError(  # as int32 they would be other classes
            f"{source.description}: labels such as {labels[wrong][0]} are too large; expected "
            "integers from 0, one for each name in label_names: renumber them"
        )


def unreadable_source(source: Source, split: str, error: Exception) -> UserError:
    """Returns the error of examples that cannot be read; names the damaged file, if it is known."""
    culprit = source.damage(split) if source.damage else ""
    culprit = culprit or f"{source.description}: {split} cannot be read ({first_line(error)})"
    return UserError(f"{culprit}; prepare it again")


def incomplete(source: Source, split: str, written: int) -> UserError:
    culprit = source.damage(split) if source.damage else ""
    count = f"{split} contains {written} of {source.examples[split]} examples"
    return UserError(f"{culprit or f'{source.description}: {count}'}; prepare it again")


def unusable_examples(found: Mapping[str, Sequence[str]]) -> UserError:
    """Returns the error of examples that cannot be prepared: names by reason."""
    said = [
        f"{names[0]} {reason}"
        + f" (also {', '.join(names[1:NAMED])})" * (len(names) > 1)
        + f" (and {len(names) - NAMED:,} more)" * (len(names) > NAMED)
        for reason, names in found.items()
    ]
    more = f"; and {len(said) - NAMED:,} other reasons" * (len(said) > NAMED)
    return UserError("; ".join(said[:NAMED]) + more)
