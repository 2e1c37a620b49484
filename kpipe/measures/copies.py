"""What copies and groups would have done to the result, had they been divided at random."""

from typing import Any

import numpy as np

from ..data import Data
from .classes import varying
from .intervals import interval_of_mean
from .simple import simple_method


def effect_of_copies(data: Data, honest: np.ndarray) -> dict[str, np.ndarray]:
    """Measures what the simple method gains if copies of test examples are in train.

    Of each group in the test split, a half is added to train, and the method, fitted again, answers
    the other half: the same examples as before, so that the gain is not that of another split.
    Where kpipe did not divide the examples itself, or none belong together, nothing is measured.

    Args:
        data: The data. Groups are never on both sides.
        honest: Answers of the method on the test split, in the form of the labels.

    Returns:
        `copies_overlap`, the share of test examples that would have a copy, or an example of their
        group, in train if all examples were divided at random; and, if the test split contains
        groups, `copies_label`, `copies_honest` and `copies_naive`: labels and both answers of that
        half, (m,). {} if there is nothing to measure.

    Example:
        effect_of_copies(data, simple_method([data.train], [data.test]).predicted)
    """
    parts = list(data.splits.values())
    if any(part.groups is None for part in parts):
        return {}
    of_parts: list[Any] = [part.groups[part.rows] for part in parts if part.groups is not None]
    groups = np.concatenate(of_parts)
    on_test = np.concatenate([np.full(len(part), part is data.test) for part in parts])
    if len(np.unique(groups)) == len(groups) or np.isin(groups[on_test], groups[~on_test]).any():
        return {}
    _, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    # All other members of a group are on the test side with probability share ** (size - 1).
    share = on_test.mean()
    found = {"copies_overlap": np.array(np.mean(1 - share ** (sizes[members] - 1.0)))}
    added, asked = _halves(groups[on_test])
    if not len(asked):
        return found
    print("measuring what copies and groups would have done, had they been divided", flush=True)
    test = data.test
    simple = simple_method([data.train, test.at(added)], [test.at(asked)])
    if simple is not None:
        found |= {
            "copies_label": test.labels[test.rows[asked]],
            "copies_honest": honest[asked],
            "copies_naive": simple.predicted,
        }
    return found


def _halves(groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divides each group of at least two in halves, at random; returns positions of both."""
    order = np.random.default_rng(0).permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    place = np.arange(len(groups)) - np.repeat(starts, sizes)
    size = np.repeat(sizes, sizes)
    several = size > 1
    first = place < (size + 1) // 2
    return np.sort(order[several & first]), np.sort(order[several & ~first])


def copies_metrics(
    arrays: dict[str, np.ndarray], train_labels: np.ndarray | None = None
) -> dict[str, dict]:
    """Computes what copies would have done to the simple method.

    Args:
        arrays: Content of predictions.npz.
        train_labels: For several labels per example, int (n, num_labels) of the train split.

    Returns:
        `naive_split_overlap`, and `above_honest_split`, the accuracy on a split at random minus
        that on the honest split, or `mae_above_honest_split`: the gain on examples with a copy in
        train times their share, with a 95 % interval. {} if nothing was measured.
    """
    if "copies_overlap" not in arrays:
        return {}
    overlap = float(arrays["copies_overlap"])
    share = {"value": overlap, "low": None, "high": None, "n": None}
    found = {"naive_split_overlap": share}
    if "copies_naive" not in arrays:
        return found
    labels, honest, naive = (arrays[f"copies_{name}"] for name in ("label", "honest", "naive"))
    name = "above_honest_split"
    if labels.dtype.kind == "f":
        name, gain = "mae_above_honest_split", np.abs(naive - labels) - np.abs(honest - labels)
    else:
        gain = (naive == labels).astype(float) - (honest == labels)
        if train_labels is not None:
            gain = gain[:, varying(train_labels)].mean(axis=1)
    entry = interval_of_mean(gain)
    scaled = {k: None if entry[k] is None else overlap * entry[k] for k in ("value", "low", "high")}
    return {**found, name: {**scaled, "n": entry["n"]}}
