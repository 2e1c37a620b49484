"""The space of a search, known before its first trial: keys, values, and how many there are."""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import keras_tuner
from keras_tuner.engine import hyperparameters as hp_types

from ..errors import UserError, nearest
from ..experiments import catalogue, keys
from ..experiments.experiment import Experiment

COUNTED = 100_000  # trials up to which a finite space is counted
LARGEST_GRID = 10_000  # trials of a grid without a limit
_BUILDS = 100  # at most, to find keys that depend on others


def make_space(
    experiment: Experiment, overrides: Mapping[str, object], over: Sequence[str]
) -> keras_tuner.HyperParameters:
    """Builds the space of a search: the named keys and those with choices, or else all keys.

    Args:
        experiment: The pipeline, with its choices.
        overrides: Given values and choices; a key with one value is fixed.
        over: Names of keys to search over their declared ranges.

    Returns:
        The searched keys, and as `Fixed` those that they depend on.

    Raises:
        UserError: A name of `over` is unknown, fixed or has no range.
    """
    settings = experiment.settings
    choices, values, declared = settings.choices, settings.hp.values, settings.hp.space
    narrowed = {*choices, *over}
    if not narrowed:
        declared = _all_keys(experiment, overrides)
    _check_over(over, declared, settings, overrides)
    # On sample data trials have the defaults that the run of the best one will have.
    shorter = getattr(experiment.module, "sample", {}) if experiment.source.kind == "sample" else {}
    fixed = ({name for name in shorter if name in values} | overrides.keys()) - narrowed
    # A conditional key needs the key that it depends on in the space.
    for parameter in reversed(declared):
        if narrowed and parameter.name in fixed | narrowed:
            fixed |= {parent.name for parent in parameter.conditions} - narrowed
    space = []
    for parameter in declared:
        name, conditions = parameter.name, parameter.conditions
        if name in choices:
            parameter = hp_types.Choice(name, choices[name], conditions=conditions)
        elif name in fixed:
            parameter = hp_types.Fixed(name, values[name], conditions=conditions)
        elif narrowed and name not in over:
            continue
        space.append(parameter)
    hp = keras_tuner.HyperParameters()
    hp.merge(space)
    for name in choices.keys() - {parameter.name for parameter in declared}:  # of the Trainer
        hp.Choice(name, choices[name])
    if not searched(hp):
        raise UserError(
            f"{experiment.name} has no key to search with what is given; give a key several values "
            "(key=a,b)"
        )
    return hp


def _check_over(
    over: Sequence[str],
    declared: Sequence[Any],
    settings: keys.Settings,
    overrides: Mapping[str, object],
) -> None:
    ranges = {p.name: p for p in declared}
    for name in over:
        if name in overrides and name not in settings.choices:
            raise UserError(
                f"--over {name} and {name}={overrides[name]} contradict each other; give it "
                "several values, or none"
            )
        if name in settings.choices:
            continue
        if name not in ranges and hasattr(settings.trainer, name):
            value = getattr(settings.trainer, name)
            raise UserError(f"--over {name}: it has no range; give values, {name}={value},...")
        if name not in ranges:
            raise UserError(f"--over {name}: no such key; {nearest(name, ranges)}")
        if isinstance(ranges[name], hp_types.Fixed):
            raise UserError(
                f"--over {name}: it is not searched by itself; give values, {name}="
                f"{settings.hp.values.get(name)},..."
            )
        active = any(settings.hp.is_active(p) for p in declared if p.name == name)
        parents = {c.name for p in declared if p.name == name for c in p.conditions}
        if not active and not parents & {*over, *settings.choices}:
            requires = keys.conditions(ranges[name])
            raise UserError(f"--over {name}: it has no effect here; it requires {requires}")


def _all_keys(experiment: Experiment, overrides: Mapping[str, object]) -> list[Any]:
    """Returns all keys, also those that a pipeline declares for certain values of others.

    The defaults of bundled pipelines declare all of them. Of others, each choice, each switch and
    the largest number are tried, one at a time.
    """
    module, settings = experiment.module, experiment.settings
    found = {(p.name, str(p.conditions)): p for p in settings.hp.space}
    if experiment.name in catalogue.names():
        return [*found.values()]
    is_sample = experiment.source.kind == "sample"
    waiting: list[dict[str, Any]] = [{}]
    tried = 0
    seen: set[str] = set()
    while waiting and tried < _BUILDS:
        given = waiting.pop(0)
        tried += 1
        try:
            space = keys.resolve(module, {**overrides, **given}, sample=is_sample).hp.space
        except UserError:  # values that do not go together
            continue
        for parameter in space:
            found.setdefault((parameter.name, str(parameter.conditions)), parameter)
            if parameter.name in seen or parameter.name in overrides:
                continue
            seen.add(parameter.name)
            needed = {c.name: c.values[0] for c in parameter.conditions}
            for value in _extremes(parameter):
                waiting.append({**given, **needed, parameter.name: value})
    return [*found.values()]


def _extremes(parameter: Any) -> list[Any]:
    """Returns the values for which a pipeline may declare other keys than by default."""
    if isinstance(parameter, hp_types.Int):
        return [parameter.max_value]
    if isinstance(parameter, (hp_types.Choice, hp_types.Boolean)):
        return [value for value in parameter.values if value != parameter.default]
    return []


def searched(space: keras_tuner.HyperParameters) -> list[str]:
    """Returns the names of the keys that vary."""
    names = [p.name for p in space.space if not isinstance(p, hp_types.Fixed)]
    return [*dict.fromkeys(names)]


def active(space: keras_tuner.HyperParameters, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of a trial's searched keys that are active in it."""
    every = _with_fixed(space, values)
    names = {p.name for p in space.space if _is_active(p, every)}
    return {name: values[name] for name in searched(space) if name in names}


def without_effect(space: keras_tuner.HyperParameters, values: Mapping[str, Any]) -> set[str]:
    """Returns the keys with one value that are not active in a trial."""
    fixed = [p for p in space.space if isinstance(p, hp_types.Fixed)]
    every = _with_fixed(space, values)
    return {p.name for p in fixed} - {p.name for p in fixed if _is_active(p, every)}


def _with_fixed(space: keras_tuner.HyperParameters, values: Mapping[str, Any]) -> dict[str, Any]:
    fixed = {p.name: p.value for p in space.space if isinstance(p, hp_types.Fixed)}
    return fixed | dict(values)


def overrides_of(
    space: keras_tuner.HyperParameters, fixed: Mapping[str, object], values: Mapping[str, object]
) -> dict[str, Any]:
    """Returns all overrides of a trial, or of a cell of a comparison.

    Args:
        space: The space.
        fixed: The given keys with one value; those without effect in this trial are left out.
        values: The values of the searched keys.
    """
    idle = without_effect(space, values)  # such as the momentum of another optimizer
    given = {k: v for k, v in fixed.items() if k not in idle} | dict(values)
    # A schedule takes the place of the pipeline's reduce-on-plateau.
    schedule = values.get("schedule", "constant")
    return given if schedule == "constant" else {"reduce_lr_patience": 0, **given}


def ranges(space: keras_tuner.HyperParameters) -> dict[str, str]:
    """Writes the range of each searched key, with what it requires."""
    said: dict[str, str] = {}
    for parameter in space.space:
        if not isinstance(parameter, hp_types.Fixed):
            requires = keys.conditions(parameter)
            text = keys.range_of(parameter) + (f" (requires {requires})" if requires else "")
            said[parameter.name] = (
                f"{said[parameter.name]}; {text}" if parameter.name in said else text
            )
    return said


def scales(space: keras_tuner.HyperParameters) -> dict[str, str]:
    """Returns the scale of each searched key: "linear", "log" or "choice"."""
    return {p.name: _scale(p) for p in space.space if not isinstance(p, hp_types.Fixed)}


def _scale(parameter: Any) -> str:
    if isinstance(parameter, (hp_types.Int, hp_types.Float)):
        return "log" if parameter.sampling == "log" else "linear"
    return "choice"


def size(space: keras_tuner.HyperParameters) -> int | None:
    """Counts the different trials; None if there are more than `COUNTED`, or no end of them."""
    if any(_is_continuous(p) for p in space.space):
        return None
    counted = sum(1 for _ in itertools.islice(combinations(space, exact=True), COUNTED + 1))
    return counted if counted <= COUNTED else None


def combinations(
    space: keras_tuner.HyperParameters, exact: bool = False
) -> Iterator[dict[str, Any]]:
    """Yields the values of all trials of a grid, the last key varying fastest.

    Of a range without steps a grid has ten values, as in keras-tuner; `exact` takes all integers.
    """
    return _combine(space.space, {}, exact)


def _combine(
    parameters: Sequence[Any], values: dict[str, Any], exact: bool
) -> Iterator[dict[str, Any]]:
    if not parameters:
        yield values
        return
    first, rest = parameters[0], parameters[1:]
    if first.name in values or not _is_active(first, values):
        yield from _combine(rest, values, exact)
        return
    for value in _values(first, exact):
        yield from _combine(rest, {**values, first.name: value}, exact)


def _values(parameter: Any, exact: bool) -> Collection[Any]:
    if isinstance(parameter, hp_types.Fixed):
        return [parameter.value]
    if isinstance(parameter, hp_types.Int):
        if exact and parameter.step is None:
            return range(parameter.min_value, parameter.max_value + 1)
        return sorted({int(value) for value in parameter.values})
    if isinstance(parameter, hp_types.Float):
        return sorted(set(parameter.values))
    return list(parameter.values)


def _is_active(parameter: Any, values: Mapping[str, Any]) -> bool:
    return all(condition.is_active(values) for condition in parameter.conditions)


def _is_continuous(parameter: Any) -> bool:
    return isinstance(parameter, hp_types.Float) and parameter.step is None
