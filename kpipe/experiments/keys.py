"""Keys of a pipeline: what it declares, what an override may be, how they are shown."""

import dataclasses
import types
from collections.abc import Mapping

import keras
import keras_tuner
from keras_tuner.engine import hyperparameters as hp_types

from ..errors import UserError
from ..training.trainer import Trainer
from .catalogue import nearest


@dataclasses.dataclass(frozen=True)
class Settings:
    """A pipeline's module with every key resolved.

    Attributes:
        module: The pipeline.
        hp: All hyperparameters with their values.
        trainer: With its overrides applied.
        overrides: What was set and differs from the default.
        choices: Keys with several values, for a search: the values.
    """

    module: types.ModuleType
    hp: keras_tuner.HyperParameters
    trainer: Trainer
    overrides: dict
    choices: dict[str, list]


def declare(module: types.ModuleType, values: Mapping) -> tuple:
    """Runs a pipeline's three functions on one `hp`; they read no data. Returns hp, trainer."""
    hp = keras_tuner.HyperParameters()
    hp.values.update(values)
    keras.utils.clear_session()
    try:
        module.load_data(hp)
        module.build_model(hp)
        trainer = module.build_trainer(hp)
    except ValueError as error:
        shown = ", ".join(f"{key}={value}" for key, value in values.items()) or "its defaults"
        message = str(error).strip().splitlines()[0]
        raise UserError(f"{module.__name__} cannot be built with {shown}: {message}") from error
    return hp, trainer


def resolve(module: types.ModuleType, overrides: Mapping[str, object]) -> Settings:
    """Applies overrides (text from a command line, or values) to a pipeline's keys.

    Raises:
        UserError: A key is unknown or without effect, or a value has the wrong type or range.
    """
    values, choices = {}, {}
    while True:  # a value can bring new keys into being, such as num_layers=4
        hp, trainer = declare(module, values)
        active = {p.name: p for p in hp.space if hp.is_active(p)}
        new = [key for key in overrides if key in active and key not in values]
        if not new:
            break
        for key in new:
            several = [overrides[key]] if _is_text(active[key]) else _several(overrides[key])
            parsed = [_parse_parameter(active[key], value) for value in several]
            values[key] = parsed[0]
            if len(parsed) > 1:
                choices[key] = parsed
    changed = {key: value for key, value in values.items() if value != active[key].default}

    fields = {field.name: field for field in _settable()}
    of_trainer = {}
    for key in overrides:
        if key in values:
            continue
        if key not in fields:
            raise _unknown(key, hp, [*active, *fields])
        parsed = [_parse_field(fields[key], v) for v in _several(overrides[key])]
        of_trainer[key] = parsed[0]
        if len(parsed) > 1:
            choices[key] = parsed
    changed |= {k: v for k, v in of_trainer.items() if v != getattr(trainer, k)}
    trainer = dataclasses.replace(trainer, **of_trainer)
    keras.utils.clear_session()
    trainer.check(module.build_model(_with_values(hp.values)), num_examples=0)
    return Settings(module, hp, trainer, changed, choices)


def for_sample(settings: Settings, overrides: Mapping[str, object]) -> Settings:
    """The settings on sample data: shorter, unless what makes them so was given.

    `sample_epochs` takes the place of `epochs`, and what a pipeline's `sample` says that of its
    defaults, such as the steps of a schedule that a short training would not see the end of.
    """
    active = {p.name for p in settings.hp.space if settings.hp.is_active(p)}
    sample = getattr(settings.module, "sample", {})
    shorter = {k: v for k, v in sample.items() if k in active and k not in overrides}
    # A pipeline's default that was asked for is another than the sample's.
    asked = {k: settings.hp.values[k] for k in sample if k in active and k in overrides}
    settings = dataclasses.replace(settings, overrides=settings.overrides | asked)
    if shorter:
        resolved = resolve(settings.module, {**overrides, **shorter})
        settings = dataclasses.replace(resolved, overrides=settings.overrides)
    if "epochs" in overrides:
        return settings
    return dataclasses.replace(settings, trainer=settings.trainer.on_sample())


def _with_values(values: Mapping) -> keras_tuner.HyperParameters:
    hp = keras_tuner.HyperParameters()
    hp.values.update(values)
    return hp


def _is_text(parameter) -> bool:
    """Whether a key is free text, such as a path: its commas separate nothing."""
    return isinstance(parameter, hp_types.Fixed) and isinstance(parameter.value, str)


def _several(value: object) -> list:
    return value.split(",") if isinstance(value, str) else [value]


def _unknown(key: str, hp: keras_tuner.HyperParameters, known: list[str]) -> UserError:
    for parameter in hp.space:
        if parameter.name == key:
            return UserError(f"{key} has no effect here: it applies with {conditions(parameter)}")
    return UserError(f"no key {key!r}; {nearest(key, known)}")


def conditions(parameter) -> str:
    """When a key is active: "optimizer=adamw"; empty when always."""
    return " and ".join(
        f"{condition.name}={'|'.join(map(str, condition.values))}"
        for condition in parameter.conditions
    )


def _parse_parameter(parameter, value: object) -> object:
    key = parameter.name
    if isinstance(parameter, hp_types.Boolean):
        return _parse_boolean(key, value)
    if isinstance(parameter, hp_types.Choice):
        return _parse_choice(key, value, parameter.values)
    if isinstance(parameter, hp_types.Fixed):
        return _parse_like(key, value, parameter.value)
    integer = isinstance(parameter, hp_types.Int)
    return _parse_number(key, value, parameter.min_value, parameter.max_value, integer)


def _settable() -> list[dataclasses.Field]:
    """The fields of the Trainer that are keys of the command line."""
    return [f for f in dataclasses.fields(Trainer) if f.metadata.get("settable", True)]


def _parse_field(field: dataclasses.Field, value: object) -> object:
    if field.metadata["choices"]:
        return _parse_choice(field.name, value, field.metadata["choices"])
    if field.type is str:
        return str(value)
    if field.type is bool:
        return _parse_boolean(field.name, value)
    low, high = field.metadata["low"], field.metadata["high"]
    return _parse_number(field.name, value, low, high, integer=field.type is int)


def _parse_number(key: str, value: object, low: float, high: float, integer: bool):
    what = "an integer" if integer else "a number"
    error = UserError(f"{key}={value}: expected {what} from {_number(low)} to {_number(high)}")
    try:
        number = int(value) if integer else float(value)
    except (TypeError, ValueError):
        raise error from None
    whole = not integer or isinstance(value, str) or number == value  # int(2.5) is 2
    if isinstance(value, bool) or not whole or not low <= number <= high:
        raise error
    return number


def _parse_boolean(key: str, value: object) -> bool:
    text = str(value).lower()
    if text not in ("true", "false", "1", "0"):
        raise UserError(f"{key}={value}: expected true or false")
    return text in ("true", "1")


def _parse_like(key: str, value: object, default: object) -> object:
    """A Fixed parameter is not searched; any value of its type may take its place."""
    if isinstance(default, bool):
        return _parse_boolean(key, value)
    if isinstance(default, str):
        return str(value)
    return _parse_number(key, value, 0, 1e9, integer=isinstance(default, int))


def _parse_choice(key: str, value: object, values: list) -> object:
    for known in values:
        if value == known or (isinstance(value, str) and _same(value, known)):
            return known
    raise UserError(f"{key}={value}: expected one of {', '.join(map(str, values))}")


def _same(text: str, known: object) -> bool:
    try:
        return type(known)(text) == known
    except ValueError:
        return False


def describe(module: types.ModuleType) -> list[tuple[str, str, str, str]]:
    """Rows of key, default, range and condition, for `NAME --help`."""
    hp, trainer = declare(module, {})
    rows = [("key", "default", "range", "applies with")]
    for parameter in hp.space:
        rows.append(
            (parameter.name, str(parameter.default), _range(parameter), conditions(parameter))
        )
    for field in _settable():
        rows.append((field.name, str(getattr(trainer, field.name)), _field_range(field), ""))
    return rows


def _range(parameter) -> str:
    if isinstance(parameter, hp_types.Boolean):
        return "true, false"
    if isinstance(parameter, hp_types.Choice):
        return ", ".join(map(str, parameter.values))
    if isinstance(parameter, hp_types.Fixed):
        return "not searched"
    return f"{_number(parameter.min_value)} to {_number(parameter.max_value)}"


def _field_range(field: dataclasses.Field) -> str:
    if field.type is bool:
        return "true, false"
    if field.metadata["choices"]:
        return ", ".join(field.metadata["choices"])
    if field.type is str:
        return "a metric"
    return f"{_number(field.metadata['low'])} to {_number(field.metadata['high'])}"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
