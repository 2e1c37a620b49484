"""Division of a user's own examples into splits, with what belongs together on one side."""

import collections
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ...errors import UserError
from ..splits import divide

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "val", "test")
LEFT_OUT = -1  # code of a row that is in no split
SMALL_CLASS = 20  # examples below which a class is warned of
IMBALANCE = 10


def joined(*keys: "np.ndarray") -> "np.ndarray":
    """Returns int64 (n,), equal for rows that are linked by one of several keys, or by a chain.

    Args:
        keys: Arrays (n,); rows of an equal value belong together.

    Example:
        joined(np.array([1, 1, 2, 3]), np.array([7, 8, 8, 9]))  # [0, 0, 0, 1]
    """
    import numpy as np
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    groups: np.ndarray = np.unique(keys[0], return_inverse=True)[1]
    for key in keys[1:]:
        # Each row links its value of one key to that of the other.
        others = np.unique(key, return_inverse=True)[1]
        first, second = int(groups.max()) + 1, int(others.max()) + 1
        links = (np.ones(len(groups), np.int8), (groups, first + others))
        graph = coo_matrix(links, shape=(first + second, first + second))
        groups = connected_components(graph, directed=False)[1][groups]
    return groups.astype(np.int64)


def check_fractions(test_fraction: float, val_fraction: float) -> None:
    """Refuses shares that leave nothing to train on."""
    for name, fraction in (("test_fraction", test_fraction), ("val_fraction", val_fraction)):
        if not 0 < fraction < 1:
            raise UserError(f"{name}={fraction}: expected a share between 0 and 1, such as 0.2")


def check_classes(
    labels: "np.ndarray", names: Sequence[str], what: str, groups: "np.ndarray | None" = None
) -> None:
    """Refuses classes that cannot be in train, val and test.

    Args:
        labels: int (n,).
        names: Name of each class.
        what: The data, for errors.
        groups: int (n,), equal for examples that stay on one side.

    Raises:
        UserError: There is one class only, or a class of fewer than three examples or groups.
    """
    import numpy as np

    if len(names) < 2:
        raise UserError(
            f"{what}: only one class, {', '.join(names) or 'none'}; expected two or more"
        )
    pairs = np.stack([labels, np.arange(len(labels)) if groups is None else groups])
    counts = np.bincount(np.unique(pairs, axis=1)[0], minlength=len(names))
    few = [f"{name!r} ({count})" for name, count in zip(names, counts, strict=True) if count < 3]
    if few:
        unit = "examples" if groups is None else "examples that differ, or groups,"
        raise UserError(
            f"{what}: classes with fewer than 3 {unit}: {', '.join(few[:5])}"
            f"{f' and {len(few) - 5:,} more' * (len(few) > 5)}; add examples or leave "
            f"{'these classes' if len(few) > 1 else 'the class'} out"
        )


def split_codes(
    labels: "np.ndarray",
    test_fraction: float,
    split_seed: int,
    groups: "np.ndarray | None",
    times: "np.ndarray | None",
    what: str,
) -> "np.ndarray":
    """Returns int8 (n,), the positions in `SPLITS` of train and test; see `splits.divide`.

    Raises:
        UserError: They cannot be divided; the message begins with `what`.
    """
    import numpy as np

    try:
        _, test = divide(labels, test_fraction, split_seed, groups, times)
    except UserError as error:
        raise UserError(f"{what}: {error}") from None
    codes = np.zeros(len(labels), np.int8)
    codes[test] = SPLITS.index("test")
    return codes


def describe_division(group: str, times: str, classes: bool) -> str:
    """Says how rows were divided, for `Look.divided`."""
    by_group = f", each {group} on one side" if group else ""
    if times:
        return f"by {times}: the latest rows are test{by_group}"
    return f"at random{', stratified by class' * classes}{by_group}"


def sizes(codes: "np.ndarray") -> dict[str, int]:
    """Counts the rows of each split that has any."""
    counts = {name: int((codes == i).sum()) for i, name in enumerate(SPLITS)}
    return {name: count for name, count in counts.items() if count}


def count_classes(
    labels: "np.ndarray", codes: "np.ndarray", names: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Counts the examples of each class in each split: labels are int (n,) or 0 or 1 (n, k)."""
    import numpy as np

    counts = {
        split: np.bincount(labels[codes == SPLITS.index(split)], minlength=len(names))
        if labels.ndim == 1
        else labels[codes == SPLITS.index(split)].sum(axis=0)
        for split in sizes(codes)
    }
    return {
        name: {split: int(count[i]) for split, count in counts.items()}
        for i, name in enumerate(names)
    }


def class_warnings(classes: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Warns of classes that are small, unbalanced, or missing in a split."""
    totals = {name: sum(counts.values()) for name, counts in classes.items()}
    small = [f"{_cut(name)} ({n})" for name, n in totals.items() if n < SMALL_CLASS]
    found = [
        f"No example of {', '.join(missing[:10])}{' ...' * (len(missing) > 10)} is in {split}."
        for split in next(iter(classes.values()), {})
        if (missing := [_cut(name) for name, counts in classes.items() if not counts[split]])
    ]
    if small:
        found.append(
            f"Fewer than {SMALL_CLASS} examples of {', '.join(small[:10])}"
            f"{f' and {len(small) - 10} more classes' * (len(small) > 10)}: "
            "measures of these classes mean little."
        )
    if totals and max(totals.values()) > IMBALANCE * min(totals.values()):
        largest, smallest = (of(totals, key=lambda name: totals[name]) for of in (max, min))
        found.append(
            f"The classes are unbalanced: {totals[largest]:,} of {_cut(largest)}, "
            f"{totals[smallest]:,} of {_cut(smallest)}; try class_weight=balanced."
        )
    return found


def _cut(name: str) -> str:
    return name if len(name) <= 40 else f"{name[:37]}..."


def copies_of(
    hashes: "np.ndarray", labels: "np.ndarray", codes: "np.ndarray", lines: "np.ndarray", where: str
) -> tuple[int, int, tuple[tuple[str, str], ...], int]:
    """Counts examples that equal an earlier one.

    Args:
        hashes: uint64 (n,), equal for equal inputs.
        labels: (n,) or (n, k).
        codes: int8 (n,), the split of each.
        lines: int (n,), the line of each in the file.
        where: What a name of an example begins with.

    Returns:
        The copies, those with another label than the first, some pairs of names, and the copies
        that are in another split than the first.
    """
    import numpy as np

    ordered = np.sort(hashes)
    if not (ordered[1:] == ordered[:-1]).any():
        return 0, 0, (), 0
    _, firsts, members = np.unique(hashes, return_index=True, return_inverse=True)
    first = firsts[members]
    copies = np.flatnonzero(first != np.arange(len(hashes)))
    other = labels[copies] != labels[first[copies]]
    conflicting = other.any(axis=1) if other.ndim == 2 else other
    shown = sorted(range(len(copies)), key=lambda i: not conflicting[i])[:5]
    pairs = tuple(
        (f"{where}{lines[copies[i]]}", f"{where}{lines[first[copies[i]]]}") for i in shown
    )
    across = int((codes[copies] != codes[first[copies]]).sum())
    return len(copies), int(conflicting.sum()), pairs, across


def list_unreadable(where: str, unreadable: Sequence[tuple[int, str]], skip_bad: int) -> None:
    """Raises one error that lists all rows that cannot be used, if they are too many."""
    if len(unreadable) <= skip_bad:
        return
    reasons = collections.defaultdict(list)
    for line, reason in unreadable:
        reasons[reason].append(line)
    listed = "; ".join(
        f"row{'s' * (len(lines) > 1)} {', '.join(map(str, lines[:10]))}"
        f"{' ...' * (len(lines) > 10)}: {reason}"
        for reason, lines in list(reasons.items())[:20]
    )
    raise UserError(
        f"{where}: {len(unreadable):,} row{'s' * (len(unreadable) > 1)} cannot be used: {listed}"
        f"{' ...' * (len(reasons) > 20)}; mend them, or leave them out with "
        f"skip_bad={len(unreadable)}"
    )
