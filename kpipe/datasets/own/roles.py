"""What each column of a table is used as, and the task that its target is for."""

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence

from ...errors import UserError, nearest
from ..columns import KINDS
from .cells import class_name
from .measuring import ALMOST, MAX_VALUES
from .profile import Profile, TableProfile

TASKS = ("classification", "multilabel", "regression")
FEW = 20  # different numbers, up to which they are classes
BOOLEANS = {"0", "1", "0.0", "1.0", "true", "false", "yes", "no"}
_LISTED = 30  # names of columns that an error lists


@dataclasses.dataclass(frozen=True)
class Options:
    """What a user says about a table; see `datasets.table` and `datasets.text_table`.

    Attributes:
        text: The column of texts; None for a table, "" to find it.
    """

    target: tuple[str, ...]
    task: str = ""
    group: str = ""
    time: str = ""
    split: str = ""
    drop: tuple[str, ...] = ()
    text: str | None = None
    test_fraction: float = 0.2
    split_seed: int = 0
    skip_bad: int = 0


@dataclasses.dataclass(frozen=True)
class Roles:
    """What a table is used for.

    Attributes:
        inputs: Names of the input columns; of a text table, the text.
        uses: Use of each column, see `ColumnLook.use`.
        task: One of `TASKS`.
        reason: Why.
        label_names: Names of classes, of labels, or of the number.
        classes: For a classification, the class of each value as it is written.
    """

    inputs: tuple[str, ...]
    uses: Mapping[str, str]
    task: str
    reason: str
    label_names: tuple[str, ...]
    classes: Mapping[str, int]


def split_names(names: "str | Sequence[str]", known: Collection[str] = ()) -> tuple[str, ...]:
    """Returns names of columns from "a,b", or from a list; a known name may contain a comma."""
    if isinstance(names, str) and names in known:
        return (names,)
    listed = names.split(",") if isinstance(names, str) else names
    return tuple(name.strip() for name in listed if name.strip())


def choose(where: str, table: TableProfile, options: Options) -> Roles:
    """Decides what each column is used as.

    Args:
        where: The file, for errors.
        table: Profile of the columns.
        options: What the user says.

    Raises:
        UserError: A column does not exist or cannot be used as it should be.
    """
    profiles = table.columns
    if not options.target:
        raise UserError(
            f"{where}: which column is the target? Give target=COLUMN; {_known('', profiles)}"
        )
    given: dict[str, str] = {}
    for use, names in (
        ("target", options.target),
        ("group", (options.group,)),
        ("time", (options.time,)),
        ("split", (options.split,)),
        ("text", (options.text or "",)),
        ("left out: drop", options.drop),
    ):
        for name in filter(None, names):
            word = use.rpartition(" ")[2]
            if name not in profiles:
                raise UserError(f"{where}: {word}={name}: no such column; {_known(name, profiles)}")
            if name in given:
                other = given[name].rpartition(" ")[2]
                raise UserError(f"{where}: column {name!r} is both {other} and {word}; choose one")
            given[name] = use
    uses = {**{name: _use(profile) for name, profile in profiles.items()}, **given}
    if options.text is None:
        inputs = tuple(name for name, use in uses.items() if use in KINDS)
        uses = {
            name: "left out: text" if use == "text" and name not in given else use
            for name, use in uses.items()
        }
        _check_inputs(where, inputs, uses, profiles, options.skip_bad)
    else:
        inputs = (options.text or _find_text(where, uses, given),)
        others = {name for name in profiles if name not in given and name not in inputs}
        uses = {name: "left out: not the text" if name in others else uses[name] for name in uses}
        uses[inputs[0]] = "text"
    targets = [profiles[name] for name in options.target]
    task, reason = _choose_task(where, targets, options.task)
    classes = _classes(where, targets[0]) if task == "classification" else {}
    names = options.target if task != "classification" else tuple(dict.fromkeys(classes))
    numbered = {name: i for i, name in enumerate(names)}
    return Roles(
        inputs=inputs,
        uses=uses,
        task=task,
        reason=reason,
        label_names=tuple(names),
        classes={raw: numbered[name] for name, raws in classes.items() for raw in raws},
    )


def is_boolean(profile: Profile) -> bool:
    """Whether all values are 0 and 1, true and false, or yes and no."""
    return bool(profile.values) and {v.lower() for v in profile.values or ()} <= BOOLEANS


def _known(word: str, profiles: Mapping[str, Profile]) -> str:
    names = list(profiles)
    hint = ""
    if any(name.startswith("Unnamed") or re.fullmatch(r"[\d.,]+", name) for name in names):
        hint = "; the first line must be the names of the columns"
    listed = [*names[:_LISTED], *["..."] * (len(names) > _LISTED)]
    return nearest(word, names, listed) + hint


def _use(profile: Profile) -> str:
    kind, reason = profile.kind
    return kind or f"left out: {reason}"


def _check_inputs(
    where: str,
    inputs: Sequence[str],
    uses: Mapping[str, str],
    profiles: Mapping[str, Profile],
    skip_bad: int,
) -> None:
    if not inputs:
        listed = [f"{name} ({use})" for name, use in uses.items()]
        out = ", ".join(listed[:_LISTED]) + " ..." * (len(listed) > _LISTED)
        raise UserError(f"{where}: no column is left as an input: {out}")
    for name in inputs:
        mixed = profiles[name].mixed
        if mixed and not skip_bad:  # else the rows are counted, and left out
            what = "numbers" if profiles[name].kind[0] == "number" else "dates"
            rows = ", ".join(f"{value!r} in row {line}" for line, value in mixed)
            raise UserError(
                f"{where}: column {name!r} contains {what}, but {rows}; correct them, or leave "
                f"the rows out with skip_bad, or the column with drop={name}"
            )


def _find_text(where: str, uses: Mapping[str, str], given: Mapping[str, str]) -> str:
    texts = [name for name, use in uses.items() if use == "text" and name not in given]
    if len(texts) == 1:
        return texts[0]
    candidates = texts or [name for name in uses if name not in given]
    what = "several columns of texts" if texts else "no column of texts"
    raise UserError(f"{where}: {what}; choose one with text=: {', '.join(candidates)}")


def _choose_task(where: str, targets: Sequence[Profile], asked: str) -> tuple[str, str]:
    """Chooses the task by the values of the target, unless the user chose it."""
    if asked and asked not in TASKS:
        raise UserError(f"task={asked}: {nearest(asked, TASKS)}")
    chosen = ", as task= says" if asked else ""
    if len(targets) > 1 or asked == "multilabel":
        wrong = [target.name for target in targets if not is_boolean(target)]
        if wrong or len(targets) == 1 or asked not in ("", "multilabel"):
            raise UserError(
                f"{where}: target={','.join(target.name for target in targets)}: several targets "
                f"are labels of 0 and 1, task=multilabel{', but not ' * bool(wrong)}"
                f"{', '.join(wrong)}; choose one column, or several of 0 and 1"
            )
        return "multilabel", f"{len(targets)} target columns of 0 and 1{chosen}"
    target = targets[0]
    if not target.present:
        raise UserError(f"{where}: target={target.name}: all values are missing")
    is_number = target.numeric > 0 and target.kind[0] != "category" and not target.zeros
    is_number = is_number and target.numeric >= ALMOST * target.present
    counted = f"{target.name} has {target.different:,} different values"
    few = target.different <= FEW and 3 * target.different <= target.present
    task = asked or ("regression" if is_number and not few else "classification")
    if task == "regression" and not is_number:
        line, value = (target.odd or ((0, ""),))[0]
        raise UserError(
            f"{where}: task=regression with target={target.name}: {value!r} in row {line} is no "
            "number; choose another target, or task=classification"
        )
    if task == "classification" and target.values is None:
        raise UserError(
            f"{where}: target={target.name} has {target.different:,} different values; expected "
            f"at most {MAX_VALUES:,} classes"
            f"{', or task=regression' * is_number}"
        )
    if asked:
        return task, counted + chosen
    return task, f"{counted}{', all numbers' * (task == 'regression')}"


def _classes(where: str, target: Profile) -> dict[str, list[str]]:
    """Returns the spellings of each class: numbers in their order, texts by alphabet."""
    numeric = target.numeric == target.present and not target.zeros
    spellings: dict[str, list[str]] = {}
    for raw in target.values or ():
        name = _number_name(float(raw)) if numeric else class_name(raw)
        spellings.setdefault(name, []).append(raw)
    if len(spellings) < 2:
        raise UserError(
            f"{where}: target={target.name} has only one value, {', '.join(spellings)!r}; expected "
            "two or more classes"
        )
    return dict(sorted(spellings.items(), key=lambda item: float(item[0]) if numeric else item[0]))


def _number_name(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
