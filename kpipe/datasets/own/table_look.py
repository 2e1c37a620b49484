"""The look at the columns of a table, for people."""

from ..look import ColumnLook, Look
from .profile import TableProfile
from .roles import Options, Roles
from .row_scan import RowScan


def describe(
    profiled: TableProfile,
    options: Options,
    roles: Roles,
    rows: RowScan,
    max_length: int,
) -> Look:
    """Describes the columns, and warns of those that are suspicious."""
    target = ",".join(options.target)
    leaking = [name for name, determined in rows.determined.items() if determined.found]
    leaking += [
        name
        for name, correlation in rows.correlations.items()
        if correlation.found and name not in leaking
    ]
    grouping = [
        name
        for name in (roles.inputs if options.text is None and not options.group else ())
        if profiled.columns[name].names_groups
    ]
    warnings = [
        f"Column {name} seems to name patients, users or the like, each in several rows. "
        f"group={name} keeps the rows of one on one side; without it, results are better than on "
        "new ones."
        for name in grouping
    ]
    warnings += [
        f"Column {name} gives the target away: it determines {target} in every row. If it is not "
        f"known before {target} is, leave it out with drop={name}."
        for name in leaking
        if name not in grouping
    ]
    notes = [*profiled.dialect.notes]
    for name in roles.inputs if options.text is None else ():
        found = profiled.columns[name]
        if found.kind[0] == "category" and 0.05 < found.numeric / found.present < 1 and found.odd:
            line, value = found.odd[0]
            warnings.append(
                f"Column {name} contains numbers and text, such as {value!r} in row {line}: its "
                "values are categories."
            )
        if found.kind[0] == "date" and found.ambiguous:
            warnings.append(
                f"Dates of column {name} are read as {found.format}, but month and day could be "
                "exchanged: no day is above 12."
            )
    used, sized = roles.uses, {}
    if options.text is not None:
        words = profiled.columns[roles.inputs[0]].words
        sized = {"words per text": words}
        if max_length and words[3] > max_length:
            warnings.append(
                f"More than a quarter of the texts have over {max_length} words, and are cut: "
                "max_length= keeps more of them."
            )
    out: dict[str, list[str]] = {}
    for name, use in used.items():
        if use.startswith("left out: ") and use != "left out: drop":
            out.setdefault(use.removeprefix("left out: "), []).append(name)
    notes += [f"Left out, {reason}: {', '.join(names)}." for reason, names in out.items()]
    return Look(
        name="",
        what="rows" if options.text is None else "texts",
        task=roles.task,
        reason=roles.reason,
        columns=tuple(
            ColumnLook(name, used[name], column.missing, column.different, column.summary)
            for name, column in profiled.columns.items()
        ),
        sizes=sized,
        warnings=tuple(warnings),
        notes=tuple(notes),
    )
