"""Division of examples into two splits, parts or folds: stratified, by group, or by time."""

from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    import numpy as np


def divide(
    labels: "np.ndarray",
    fraction: float,
    seed: int,
    groups: "np.ndarray | None" = None,
    times: "np.ndarray | None" = None,
) -> tuple["np.ndarray", "np.ndarray"]:
    """Divides n examples: the same for the same seed.

    Classes are stratified: the share of each is about the same in both parts. With groups, whole
    groups are divided, and stratified by their most frequent class, so that `fraction` is a share
    of the groups; a class that is the most frequent one of a single group is not stratified. With
    times, the latest examples form the second part, whatever the seed; examples of one time, or of
    a group that is in both parts, stay in the first.

    Args:
        labels: int (n,) classes; other labels are not stratified.
        fraction: Share of the second part, between 0 and 1.
        seed: Random seed.
        groups: int (n,), equal for examples that belong together.
        times: Numbers (n,), larger for later examples.

    Returns:
        Positions of both parts, int64, sorted.

    Raises:
        UserError: There are too few examples, or groups, for every class to be in both parts.

    Example:
        rest, test = divide(np.arange(100) % 2, 0.2, seed=0, groups=np.arange(100) // 4)
    """
    import numpy as np

    if times is not None:
        return _divide_by_time(np.asarray(times), fraction, groups)
    if groups is None:
        first, second = _divide_at_random(labels, fraction, seed)
        return np.sort(first), np.sort(second)
    _, firsts, members = np.unique(groups, return_index=True, return_inverse=True)
    of_groups = labels[firsts]
    if labels.ndim == 1 and labels.dtype.kind in "iu" and len(firsts) < len(labels):
        of_groups = _most_frequent(labels, members)
        classes, counts = np.unique(of_groups, return_counts=True)
        of_groups[np.isin(of_groups, classes[counts < 2])] = classes[counts.argmax()]
    _, chosen = _divide_at_random(of_groups, fraction, seed)
    second_part = np.isin(members, chosen)
    return np.flatnonzero(~second_part), np.flatnonzero(second_part)


def part_of(
    labels: "np.ndarray", fraction: float, seed: int, groups: "np.ndarray | None" = None
) -> "np.ndarray":
    """Takes a share of n examples; a smaller share is within a larger one of the same seed.

    Examples are ordered once by the seed, so that every beginning contains each class with about
    its share, and all classes if it has as many examples; the part is such a beginning. With
    groups, whole groups are taken, up to that share of the examples but at least one.

    Args:
        labels: int (n,) classes; other labels are not stratified.
        fraction: The share, between 0 and 1.
        seed: Random seed.
        groups: int (n,), equal for examples that belong together.

    Returns:
        Positions of the part, int64, sorted.

    Example:
        len(part_of(np.arange(100) % 2, 0.25, seed=0))  # 25
    """
    import numpy as np

    count = len(labels)
    belongs = np.arange(count) if groups is None else groups
    _, firsts, members = np.unique(belongs, return_index=True, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(firsts))
    if labels.ndim == 1 and labels.dtype.kind in "iu":
        of_groups, place = labels[firsts][order], np.empty(len(order))
        for label in np.unique(of_groups):  # the i-th of c examples of a class is at i / c
            found = np.flatnonzero(of_groups == label)
            place[found] = np.arange(len(found)) / len(found)
        order = order[np.argsort(place, kind="stable")]
    taken = np.cumsum(np.bincount(members)[order]) <= round(fraction * count)
    return np.flatnonzero(np.isin(members, order[: max(1, taken.sum())]))


def folds_of(
    labels: "np.ndarray", count: int, seed: int, groups: "np.ndarray | None" = None
) -> "np.ndarray":
    """Divides n examples into folds of equal size, stratified by class: the same for the same seed.

    Whole groups are divided, by their most frequent class. The numbers of groups of a class, and of
    all classes, differ by at most one between folds.

    Args:
        labels: int (n,) classes.
        count: Number of folds.
        seed: Random seed.
        groups: int (n,), equal for examples that belong together.

    Returns:
        int64 (n,), the fold of each example, from 0.

    Raises:
        UserError: There are fewer groups than folds.

    Example:
        np.bincount(folds_of(np.arange(100) % 2, 5, seed=0))  # [20, 20, 20, 20, 20]
    """
    import numpy as np

    members, of_groups = np.arange(len(labels)), labels
    if groups is not None:
        members = np.unique(groups, return_inverse=True)[1]
        of_groups = _most_frequent(labels, members)
    if len(of_groups) < count:
        raise UserError(
            f"folds={count}: there are {len(of_groups):,} different examples or groups; expected "
            "at least as many as folds: use fewer folds"
        )
    shuffled = np.random.default_rng(seed).permutation(len(of_groups))
    # Dealt out like cards, one class after the other.
    order = shuffled[np.argsort(of_groups[shuffled], kind="stable")]
    dealt = np.empty(len(order), np.int64)
    dealt[order] = np.arange(len(order)) % count
    return dealt[members]


def _divide_at_random(
    labels: "np.ndarray", fraction: float, seed: int
) -> "tuple[np.ndarray, np.ndarray]":
    import numpy as np
    from sklearn.model_selection import train_test_split

    # Only classes can be stratified.
    stratify = labels if labels.ndim == 1 and labels.dtype.kind in "iu" else None
    positions = np.arange(len(labels))
    try:
        first, second = train_test_split(
            positions, test_size=fraction, random_state=seed, stratify=stratify
        )
    except ValueError as error:  # a class with too few examples, or a part for too few classes
        raise UserError(
            f"{len(labels):,} examples cannot be divided with every class in both parts "
            f"(test_size={fraction:g}): {error}; use more examples of each class"
        ) from None
    return first, second


def _divide_by_time(
    times: "np.ndarray", fraction: float, groups: "np.ndarray | None"
) -> "tuple[np.ndarray, np.ndarray]":
    import numpy as np

    wanted = max(1, round(fraction * len(times)))
    limit = np.sort(times)[-wanted]
    later = times >= limit
    if later.all():  # many examples at the time of the limit
        later = times > limit
    if groups is not None:
        later &= ~np.isin(groups, groups[~later])
    if later.all() or not later.any():
        raise UserError(
            f"{len(times):,} examples cannot be divided by time: fewer than two times remain, or "
            "every late example belongs to a group with an early one; use another column"
        )
    return np.flatnonzero(~later), np.flatnonzero(later)


def _most_frequent(labels: "np.ndarray", groups: "np.ndarray") -> "np.ndarray":
    """Returns the most frequent class of each group, in the order of the groups' numbers."""
    import numpy as np

    pairs, counts = np.unique(np.stack([groups, labels]), axis=1, return_counts=True)
    order = np.lexsort((counts, pairs[0]))  # the last pair of a group is its most frequent class
    numbers, members = pairs[0, order], pairs[1, order]
    return members[np.append(numbers[1:] != numbers[:-1], True)]
