"""The look: what was found in a user's own data, before anything is trained."""

import csv
import dataclasses
import io
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Copies:
    """Examples that occur more than once; all copies of one are on the same side of a split.

    Attributes:
        exact: Number of examples that equal an earlier one.
        near: Number of images that look like an earlier one, without being equal.
        conflicting: Number of examples whose copy has another label.
        examples: Some pairs of names, of an example and its copy.
    """

    exact: int = 0
    near: int = 0
    conflicting: int = 0
    examples: tuple[tuple[str, str], ...] = ()


@dataclasses.dataclass(frozen=True)
class ColumnLook:
    """A column of a table.

    Attributes:
        name: Its name.
        use: What it is used as: "target", "number", "category", "boolean", "date", "text", "group",
            "time", "split"; or why it is left out: "left out: identifier".
        missing: Number of missing values.
        different: Number of different values.
        summary: Its values for people: "17 to 90, median 37", or the most frequent ones.
    """

    name: str
    use: str
    missing: int = 0
    different: int = 0
    summary: str = ""


@dataclasses.dataclass(frozen=True)
class Look:
    """What was found in a user's own data.

    Attributes:
        name: Name of the data: that of the file or folder, without its ending.
        what: Noun for the examples: "images", "texts", "rows".
        task: The task that was chosen.
        reason: Why this task: "rating has 5 different values".
        examples: Number of examples per split; val is a part of train if it is cut from it later.
        divided: How the splits were made: "at random, stratified by class", "by the folders train
            and test".
        classes: Number of examples per class and split, for classification.
        values: Minimum, quartiles and maximum of the target, for a regression.
        columns: The columns of a table.
        sizes: Distributions of sizes, each as minimum, quartiles and maximum: "width in pixels",
            "words per text".
        formats: Number of examples per format: "JPEG", "PNG, 16 bits".
        converted: Number of examples per conversion: "grey to RGB", "turned as EXIF says".
        unreadable: File, or file and row, and reason of each example that was left out.
        copies: Duplicates.
        warnings: What a user must not miss, one sentence each.
        notes: Further remarks, one sentence each.
    """

    name: str
    what: str
    task: str = ""
    reason: str = ""
    examples: Mapping[str, int] = dataclasses.field(default_factory=dict)
    divided: str = ""
    classes: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    values: tuple[float, ...] = ()
    columns: tuple[ColumnLook, ...] = ()
    sizes: Mapping[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    formats: Mapping[str, int] = dataclasses.field(default_factory=dict)
    converted: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unreadable: tuple[tuple[str, str], ...] = ()
    copies: Copies = dataclasses.field(default_factory=Copies)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def bad_files(self) -> str:
        """Writes `unreadable` as CSV, with the columns path and reason."""
        content = io.StringIO(newline="")
        csv.writer(content, lineterminator="\n").writerows([("path", "reason"), *self.unreadable])
        return content.getvalue()
