"""What copies and groups would have done to the result, had they been divided at random."""

from typing import Any

import numpy as np

from ..data import Data
from .classes import varying
from .intervals import interval_of_mean, proportion
from .regression import mean_absolute_error
from .simple import at, simple_method


def effect_of_copies(data: Data) -> dict[str, np.ndarray]:
    """Fits the simple method to a naive split of the same examples, which ignores their groups.

    The naive split has the same sizes, and is stratified by class. Where kpipe did not divide the
    examples itself, or none belong together, there is nothing to compare.

    Args:
        data: The data. Groups never on both sides are its honest split.

    Returns:
        `naive_label` and `naive_simple`, the labels and predictions of the naive test split (m,);
        `naive_overlap`, bool (m,): whether another example of its group is in train; {} if there is
        nothing to compare, or the method cannot be fitted.

    Example:
        effect_of_copies(data)["naive_overlap"].mean()
    """
    from sklearn.model_selection import train_test_split

    parts = list(data.splits.values())
    if any(part.groups is None for part in parts):
        return {}
    of_parts: list[Any] = [part.groups[part.rows] for part in parts if part.groups is not None]
    groups = np.concatenate(of_parts)
    on_test = np.concatenate([np.full(len(part), part is data.test) for part in parts])
    if len(np.unique(groups)) == len(groups) or np.isin(groups[on_test], groups[~on_test]).any():
        return {}
    labels = np.concatenate([part.labels[part.rows] for part in parts])
    sizes = {"train_size": len(data.train), "test_size": len(data.test)}
    is_class = labels.ndim == 1 and labels.dtype.kind == "i"
    try:
        train, test = train_test_split(
            np.arange(len(labels)),
            random_state=0,
            stratify=labels if is_class else None,
            **sizes,
        )
    except ValueError:  # a class with one example, or a test split for too few classes
        train, test = train_test_split(np.arange(len(labels)), random_state=0, **sizes)
    train, test = np.sort(train), np.sort(test)
    print("measuring what copies and groups would have done, had they been divided", flush=True)
    simple = simple_method(at(parts, train), at(parts, test))
    if simple is None:
        return {}
    return {
        "naive_label": labels[test],
        "naive_simple": simple.predicted,
        "naive_overlap": np.isin(groups[test], groups[train]),
    }


def naive_metrics(
    arrays: dict[str, np.ndarray], train_labels: np.ndarray | None = None
) -> dict[str, dict]:
    """Computes the metrics of the naive split.

    Args:
        arrays: Content of predictions.npz.
        train_labels: For several labels per example, int (n, num_labels) of the train split.

    Returns:
        `naive_split_baseline`, the accuracy of the simple method, or `naive_split_mae`; and
        `naive_split_overlap`, the share of test examples that would have had a copy, or an example
        of their group, in train. {} if nothing was compared.
    """
    if "naive_simple" not in arrays:
        return {}
    labels, predicted, shared = (arrays[f"naive_{n}"] for n in ("label", "simple", "overlap"))
    overlap = {"naive_split_overlap": proportion(shared.sum(), len(shared))}
    if labels.dtype.kind == "f":
        return {"naive_split_mae": mean_absolute_error(labels, predicted), **overlap}
    right = predicted == labels
    if train_labels is not None:
        known = varying(train_labels)
        entry = interval_of_mean(right[:, known].mean(axis=1))
    else:
        entry = proportion(right.sum(), len(right))
    return {"naive_split_baseline": entry, **overlap}
