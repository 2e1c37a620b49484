"""Examples in memory: NumPy arrays of images, vectors or labels, and lists of texts."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import UserError, first_line, nearest
from ..base import Dataset
from ..look import Copies, Look
from ..source import Source, from_arrays
from ..vectorization import Vectorization
from .division import (
    SPLITS,
    check_classes,
    check_fractions,
    class_warnings,
    copies_of,
    count_classes,
    describe_division,
    joined,
    sizes,
    split_codes,
)
from .roles import FEW, TASKS

if TYPE_CHECKING:
    import numpy as np

_PIECE = 1024  # texts


def arrays(
    x: "np.ndarray | Sequence[str]",
    y: "np.ndarray | Sequence[Any]",
    *,
    val: "tuple[Any, Any] | None" = None,
    test: "tuple[Any, Any] | None" = None,
    label_names: Sequence[str] = (),
    task: str = "",
    groups: "np.ndarray | Sequence[Any] | None" = None,
    name: str = "arrays",
    vocabulary_size: int = 20_000,
    max_length: int = 256,
    test_fraction: float = 0.2,
    val_fraction: float = 0.15,
    split_seed: int = 0,
) -> Dataset:
    """Examples in memory, for a pipeline file or a notebook.

    Equal inputs are on the same side of every split that is made here.

    Args:
        x: Images, uint8 (n, height, width, 1 or 3) or (n, height, width); vectors of numbers
            (n, d); or n texts.
        y: A class of each example, as text or as a whole number; a number, for a regression; or
            (n, k) 0 and 1, several labels.
        val: Inputs and labels of val; by default a part of train.
        test: Inputs and labels of test; by default a part of `x` and `y`.
        label_names: Names of the classes 0, 1, ..., of the labels, or of the number.
        task: "classification", "regression" or "multilabel"; by default chosen by `y`.
        groups: n values; examples of the same one are never on both sides of a split.
        name: Name of the dataset.
        vocabulary_size: See `Vectorization`, also for the next.
        max_length: Maximum number of tokens of a text.
        test_fraction: Share of the examples that becomes test, unless `test` is given.
        val_fraction: Share of train that becomes val by the run's seed, unless `val` is given.
        split_seed: Random seed of test, whatever the run's seed.

    Raises:
        UserError: The arrays do not fit; the message names the argument and the row.

    Example:
        datasets.arrays(images, labels)
    """
    import numpy as np

    check_fractions(test_fraction, val_fraction)
    parts = {"": (x, y), "val ": val, "test ": test}
    given = {part: pair for part, pair in parts.items() if pair is not None}
    inputs = [_as_inputs(pair[0], f"{part}x") for part, pair in given.items()]
    targets = [_as_targets(pair[1], f"{part}y") for part, pair in given.items()]
    for part, some, their in zip(given, inputs, targets, strict=True):
        if len(some) != len(their) or not len(some):
            raise UserError(
                f"arrays: {part}x has {len(some):,} examples and {part}y {len(their):,}; expected "
                "as many, and at least one"
            )
        first = inputs[0].dtype, inputs[0].shape[1:], targets[0].shape[1:], targets[0].dtype.kind
        if (some.dtype, some.shape[1:], their.shape[1:], their.dtype.kind) != first:
            raise UserError(
                f"arrays: {part}x and {part}y are {some.dtype} {some.shape} and {their.dtype} "
                f"{their.shape}; expected the types and shapes of x and y: {first[0]} (n"
                f"{''.join(f', {n}' for n in first[1])})"
            )
    joint = inputs[0] if len(inputs) == 1 else np.concatenate(inputs)
    labels, names, task, reason = _labels(np.concatenate(targets), task, tuple(label_names))
    numbers = {"": 0, "val ": SPLITS.index("val"), "test ": SPLITS.index("test")}
    codes = np.repeat([numbers[part] for part in given], list(map(len, targets))).astype(np.int8)
    hashes = _hashes(joint)
    together = _together(hashes, groups, len(given), len(targets[0]))
    if task == "classification":
        check_classes(labels, names, name, together)
    if test is None:
        mine = codes == 0
        own_groups = None if together is None else together[mine]
        codes[mine] = split_codes(labels[mine], test_fraction, split_seed, own_groups, None, name)
    digest = hashlib.sha256(_bytes(joint) + labels.tobytes() + codes.tobytes())
    digest.update(json.dumps([name, names, task]).encode())
    is_text = joint.dtype == object
    look = Look(
        name=name,
        what="texts" if is_text else "images" if joint.ndim == 4 else "rows",
        task=task,
        reason=reason,
        examples=sizes(codes),
        divided=describe_division("group" * (groups is not None), "", task == "classification")
        if test is None
        else "as given",
        classes={} if task == "regression" else count_classes(labels, codes, names),
        values=_quartiles(labels) if task == "regression" else (),
        sizes={"words per text": _quartiles([len(text.split()) for text in joint])}
        if is_text
        else {},
    )
    copies, conflicting, pairs, across = copies_of(
        hashes, labels, codes, np.arange(len(labels)), "example "
    )
    warnings = class_warnings(look.classes)
    if across:
        warnings.append(
            f"{across:,} examples are also in another split: results are better than on new data. "
            "Nothing was moved, since the splits are given."
        )
    look = dataclasses.replace(
        look,
        copies=Copies(exact=copies, conflicting=conflicting, examples=pairs),
        warnings=tuple(warnings),
    )

    def rows(split: str) -> "np.ndarray":
        return np.flatnonzero(codes == SPLITS.index(split))

    def pieces(split: str) -> Iterator[tuple[list[bytes], "np.ndarray"]]:
        chosen = rows(split)
        for start in range(0, len(chosen), _PIECE):
            some = chosen[start : start + _PIECE]
            yield joint[some].tolist(), labels[some]

    source = Source(
        kind="own",
        description=f"{len(labels):,} {look.what} in memory",
        identity=digest.hexdigest(),
        examples=look.examples,
        official=False,
        read=lambda split: from_arrays(f"{name} {split}", joint[rows(split)], labels[rows(split)]),
        pieces=pieces if is_text else None,
        groups=None if together is None else lambda split: together[rows(split)],
        look=look,
    )
    return Dataset(
        name=name,
        input_shape=() if is_text else joint.shape[1:],
        label_names=names,
        task=task,
        targets="scaled labels" if task == "regression" else "labels",
        val_fraction=0.0 if val is not None else val_fraction,
        vectorization=Vectorization(vocabulary_size, max_length) if is_text else None,
        fixed=source,
    )


def _as_inputs(values: Any, name: str) -> "np.ndarray":
    """Returns uint8 images (n, h, w, c), float32 vectors (n, d), or texts as UTF-8, object (n,).

    Raises:
        UserError: They are neither.
    """
    import numpy as np

    if not isinstance(values, np.ndarray):
        first = next(iter(values), None)
        values = _as_array(values, name, object if isinstance(first, (str, bytes)) else None)
    if values.dtype.kind in "OUS" and values.ndim == 1:
        texts = np.empty(len(values), object)
        for i, text in enumerate(values.tolist()):
            if not isinstance(text, (str, bytes)):
                raise UserError(f"arrays: {name}[{i}] is {type(text).__name__}; expected a text")
            texts[i] = text if isinstance(text, bytes) else text.encode("utf-8", "replace")
        return texts
    if values.dtype == np.uint8 and values.ndim in (3, 4):
        images = values[..., None] if values.ndim == 3 else values
        if images.shape[3] not in (1, 3):
            raise UserError(
                f"arrays: {name} are images of {images.shape[3]} channels, {values.shape}; "
                "expected 1 (grey) or 3 (RGB), the last of (n, height, width, channels)"
            )
        return images
    if values.dtype.kind not in "biuf" or values.ndim != 2:
        advice = {1: ": reshape(-1, 1) makes vectors of single numbers"}.get(values.ndim, "")
        if values.ndim in (3, 4):
            advice = ": give images as uint8 from 0 to 255"
        raise UserError(
            f"arrays: {name} is {values.dtype} {values.shape}; expected uint8 (n, height, width, "
            f"channels), numbers (n, size), or texts{advice}"
        )
    with np.errstate(over="ignore"):
        vectors = values.astype(np.float32)
    _check_finite(vectors, name)
    return vectors


def _as_array(values: Any, name: str, dtype: Any = None) -> "np.ndarray":
    import numpy as np

    try:
        return np.asarray(values, dtype)
    except ValueError as error:
        raise UserError(f"arrays: {name} is no array: {first_line(error)}") from None


def _as_targets(values: Any, name: str) -> "np.ndarray":
    """Returns bool, integer, float or str (n,) or (n, k).

    Raises:
        UserError: They are something else, or not finite.
    """
    import numpy as np

    if not isinstance(values, np.ndarray) or values.dtype.kind == "O":
        listed = list(values)
        texts = [isinstance(value, str) for value in listed]
        odd = [i for i, value in enumerate(listed) if value is None or texts[i] != any(texts)]
        if odd:
            shown = repr(listed[odd[0]])
            raise UserError(f"arrays: {name}[{odd[0]}] is {shown}; expected texts, or numbers")
        values = _as_array(listed, name)
    if values.dtype.kind not in "biufU" or values.ndim not in (1, 2):
        raise UserError(
            f"arrays: {name} is {values.dtype} {values.shape}; expected classes or numbers (n,), "
            "or 0 and 1 (n, labels)"
        )
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            _check_finite(values.astype(np.float32), name)
    return values


def _check_finite(values: "np.ndarray", name: str) -> None:
    import numpy as np

    bad = ~np.isfinite(values)
    bad = bad.any(axis=1) if bad.ndim == 2 else bad
    if bad.any():
        raise UserError(
            f"arrays: {name}[{int(bad.argmax())}] contains NaN or infinity, as do "
            f"{int(bad.sum()) - 1:,} others; expected finite numbers"
        )


def _labels(
    values: "np.ndarray", task: str, given: tuple[str, ...]
) -> tuple["np.ndarray", tuple[str, ...], str, str]:
    """Returns labels, their names, the task, and why it was chosen."""
    import numpy as np

    if task and task not in TASKS:
        raise UserError(f"task={task}: {nearest(task, TASKS)}")
    if values.ndim == 2:
        return *_several(values, task, given), "multilabel", "y has several columns of 0 and 1"
    different = np.unique(values)
    is_number = values.dtype.kind in "iuf"
    reason = f"y has {len(different):,} different values"
    few = len(different) <= FEW and 3 * len(different) <= len(values)
    # Classes are numbered without gaps; other whole numbers are counts or measures.
    numbered = values.dtype.kind in "iu" and bool((different == np.arange(len(different))).all())
    few = few or (numbered and 3 * len(different) <= len(values))
    if not task:
        named = len(given) > 1
        task = "regression" if is_number and not few and not named else "classification"
        reason += ", all numbers" * (task == "regression")
    if task == "multilabel" or (task == "regression" and not is_number):
        wanted = "(n, labels) of 0 and 1" if task == "multilabel" else "numbers"
        raise UserError(
            f"arrays: task={task} with y {values.dtype} {values.shape}: expected {wanted}"
        )
    if task == "regression":
        _check_names(given, 1)
        return values.astype(np.float32), given or ("value",), task, reason
    if given and is_number:
        wrong = (values < 0) | (values >= len(given)) | (values != np.floor(values))
        if wrong.any():
            row = int(wrong.argmax())
            raise UserError(
                f"arrays: y[{row}] is {values[row]}; expected a class from 0 to {len(given) - 1}, "
                f"as there are {len(given)} label_names"
            )
        return values.astype(np.int32), given, task, reason
    names = [str(int(v)) if is_number and v == int(v) else str(v) for v in different.tolist()]
    if given and set(given) != set(names):
        raise UserError(
            f"arrays: label_names are {', '.join(given)}, but the classes of y "
            f"{', '.join(names[:20])}; expected the same"
        )
    ids = np.searchsorted(different, values)
    if given:
        ids = np.array([given.index(name) for name in names])[ids]
    return ids.astype(np.int32), given or tuple(names), task, reason


def _several(
    values: "np.ndarray", task: str, given: tuple[str, ...]
) -> tuple["np.ndarray", tuple[str, ...]]:
    import numpy as np

    shape = f"y is {values.dtype} {values.shape}"
    if values.shape[1] < 2:
        raise UserError(f"arrays: {shape}; expected (n,): y.ravel()")
    zeros_and_ones = values.dtype.kind != "U" and np.isin(values, (0, 1)).all()
    if task not in ("", "multilabel") or not zeros_and_ones:
        raise UserError(f"arrays: {shape}; expected (n,), or 0 and 1 (n, labels)")
    if not task and (values.sum(axis=1) == 1).all():
        raise UserError(
            f"arrays: {shape} with a single 1 in every row, one-hot; expected classes, "
            "y.argmax(axis=1), or task=multilabel"
        )
    _check_names(given, values.shape[1])
    names = given or tuple(f"label {i}" for i in range(values.shape[1]))
    return values.astype(np.int8), names


def _check_names(given: tuple[str, ...], count: int) -> None:
    if given and len(given) != count:
        raise UserError(f"arrays: {len(given)} label_names, {', '.join(given)}; expected {count}")


def _together(hashes: "np.ndarray", groups: Any, num_parts: int, count: int) -> "np.ndarray | None":
    """Returns equal numbers for examples that belong together; None if none do."""
    keys = [hashes]
    if groups is not None:
        if len(groups) != count or num_parts > 1:
            raise UserError(
                f"arrays: {len(groups):,} groups for {count:,} examples; expected one for each, "
                "and neither val= nor test="
            )
        listed = list(groups)
        odd = [i for i, value in enumerate(listed) if value is None or value != value]
        if odd:
            raise UserError(f"arrays: groups[{odd[0]}] is missing; expected a number or a text")
        keys.append(_as_array(listed, "groups"))
    together = joined(*keys)
    return together if together.max() + 1 < len(together) else None


def _bytes(inputs: "np.ndarray") -> bytes:
    if inputs.dtype == object:
        return json.dumps([len(text) for text in inputs]).encode() + b"".join(inputs)
    return f"{inputs.dtype} {inputs.shape}".encode() + inputs.tobytes()


def _hashes(inputs: "np.ndarray") -> "np.ndarray":
    """Returns a 64-bit hash of each input."""
    import numpy as np

    if inputs.dtype != object:
        inputs = np.ascontiguousarray(inputs)
    digests = b"".join(hashlib.blake2b(row, digest_size=8).digest() for row in inputs)
    return np.frombuffer(digests, np.uint64)


def _quartiles(values: Any) -> tuple[float, ...]:
    import numpy as np

    return tuple(map(float, np.quantile(values, (0, 0.25, 0.5, 0.75, 1))))
