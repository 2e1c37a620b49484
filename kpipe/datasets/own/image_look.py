"""The look at a folder of images: what it contains, for people."""

import dataclasses
import functools
import pathlib
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..look import Copies, Look
from .division import class_warnings
from .image_scan import File, Scan

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Labelled:
    """The images of a folder, with what is known of them, in one order.

    Attributes:
        folder: The folder.
        images: All image files, readable or not.
        scan: What is known of each.
        pairs: int64 (m, 2), positions of copies.
        label_names: Names of the classes.
        labels: int64 (n,).
    """

    folder: pathlib.Path
    images: tuple[File, ...]
    scan: Scan
    pairs: "np.ndarray"
    label_names: tuple[str, ...]
    labels: "np.ndarray"

    @functools.cached_property
    def groups(self) -> "np.ndarray":
        """Equal numbers for copies of one image, int64 (n,)."""
        import numpy as np
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        size = len(self.images)
        graph = coo_matrix((np.ones(len(self.pairs)), self.pairs.T), shape=(size, size))
        return connected_components(graph, directed=False)[1].astype(np.int64)


def describe(
    known: Labelled, rows: "Mapping[str, np.ndarray]", shape: tuple[int, int, int]
) -> Look:
    """Describes the images for people.

    Args:
        known: The images.
        rows: Positions of the images of each split.
        shape: (height, width, channels) of the network's images.
    """
    import numpy as np

    used = np.sort(np.concatenate(list(rows.values())))
    labels, groups, channels = known.labels, known.groups, shape[2]
    grey = known.scan.grey[used]
    converted = Counter(reason for row in used for reason in known.scan.converted[row])
    converted["grey to RGB" if channels == 3 else "RGB to grey"] += int(
        (grey if channels == 3 else ~grey).sum()
    )
    whole = "All images are grey" if grey.all() else "Not all images are grey"
    warnings = []
    for split in ("val", "test"):
        if split in rows and (
            shared := int(np.isin(groups[rows[split]], groups[rows["train"]]).sum())
        ):
            warnings.append(
                f"{shared:,} of {len(rows[split]):,} {split} images are copies of train images: "
                "they make results look better than they are."
            )
    copies = _count_copies(known, used)
    if copies.conflicting:
        pair = " and ".join(copies.examples[0])
        warnings.append(
            f"{copies.conflicting:,} images have a copy in another class, such as {pair}: one of "
            "the labels is wrong."
        )
    per_class = {
        split: np.bincount(labels[of_split], minlength=len(known.label_names))
        for split, of_split in rows.items()
    }
    classes = {
        name: {split: int(counts[label]) for split, counts in per_class.items()}
        for label, name in enumerate(known.label_names)
    }
    return Look(
        name=known.folder.name or "images",
        what="images",
        task="classification",
        reason=f"{len(known.label_names)} folders of images",
        examples={split: len(of_split) for split, of_split in rows.items()},
        classes=classes,
        sizes={
            name: tuple(
                np.quantile(known.scan.shapes[used, axis], (0, 0.25, 0.5, 0.75, 1)).tolist()
            )
            for axis, name in enumerate(("width in pixels", "height in pixels"))
        },
        formats=dict(Counter(known.scan.formats[row] for row in used).most_common()),
        converted={reason: count for reason, count in converted.most_common() if count},
        copies=copies,
        warnings=(*class_warnings(classes), *warnings),
        notes=(
            f"{whole}: the network's images have channels={channels}.",
            *_size_notes(known.scan.shapes[used], shape[:2]),
        ),
    )


def _count_copies(known: Labelled, used: "np.ndarray") -> Copies:
    import numpy as np

    pairs, labels, groups = known.pairs, known.labels, known.groups
    different = len({known.scan.digests[row].tobytes() for row in used})
    # Groups with more than one label.
    both = np.unique(np.stack([groups[used], labels[used]]), axis=1)
    mixed, counts = np.unique(both[0], return_counts=True)
    conflicting = np.isin(groups[used], mixed[counts > 1])
    unlike = labels[pairs[:, 0]] != labels[pairs[:, 1]]
    shown = pairs[np.argsort(~unlike, kind="stable")][:5]
    return Copies(
        exact=len(used) - different,
        near=different - len(np.unique(groups[used])),
        conflicting=int(conflicting.sum()),
        examples=tuple(
            (known.images[first].path, known.images[second].path) for first, second in shown
        ),
    )


def _size_notes(shapes: "np.ndarray", wanted: tuple[int, int]) -> list[str]:
    counts = {
        f"smaller than {wanted[1]} × {wanted[0]} pixels, and enlarged": (
            shapes.min(axis=1) < min(wanted)
        ),
        "not square: their central square is used": shapes[:, 0] != shapes[:, 1],
    }
    return [
        f"{int(which.sum()):,} of {len(shapes):,} images are {what}."
        for what, which in counts.items()
        if which.any()
    ]
