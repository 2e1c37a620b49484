"""Keys of a pipeline: its declarations, valid overrides, and how they are shown."""

import contextlib
import dataclasses
import types
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import keras_tuner
from keras_tuner.engine import hyperparameters as hp_types

from ..datasets import Dataset
from ..errors import UserError, first_line, nearest
from ..training import Trainer


@dataclasses.dataclass(frozen=True)
class Settings:
    """Every key of a pipeline with its value.

    Attributes:
        hp: All hyperparameters with their values.
        trainer: The Trainer, with overrides applied.
        dataset: The result of `load_data` for these values.
        overrides: Values that were set and differ from their defaults.
        choices: For a search: keys that were given several values, and these values.
    """

    hp: keras_tuner.HyperParameters
    trainer: Trainer
    dataset: Dataset
    overrides: dict[str, Any]
    choices: dict[str, list]


_PUBLIC = {Dataset: "kpipe.datasets.Dataset", Trainer: "kpipe.Trainer"}


class _Keys(keras_tuner.HyperParameters):
    """Hyperparameters that apply overrides as soon as a pipeline declares a key.

    This way keys that exist only for a given value, such as num_layers=4, are declared in the same
    pass.

    Args:
        overrides: Text from the command line, or values.
        defaults: Values that override the declared defaults.
    """

    def __init__(self, overrides: Mapping[str, object], defaults: Mapping[str, object]):
        super().__init__()
        self.given, self.defaults = overrides, defaults
        self.parsed: dict[str, list] = {}

    def Int(self, name: str, *args: Any, **options: Any) -> Any:
        return self._override(name, super().Int(name, *args, **options))

    def Float(self, name: str, *args: Any, **options: Any) -> Any:
        return self._override(name, super().Float(name, *args, **options))

    def Boolean(self, name: str, *args: Any, **options: Any) -> Any:
        return self._override(name, super().Boolean(name, *args, **options))

    def Choice(self, name: str, *args: Any, **options: Any) -> Any:
        return self._override(name, super().Choice(name, *args, **options))

    def Fixed(self, name: str, *args: Any, **options: Any) -> Any:
        return self._override(name, super().Fixed(name, *args, **options))

    def _override(self, name: str, value: Any) -> Any:
        parameter = self.active.get(name)
        if parameter is None or name in self.parsed:
            return value
        if name in self.given:
            self._parse(parameter)
        elif name in self.defaults:
            self.values[name] = _parse_parameter(parameter, self.defaults[name])
        return self.values[name]

    def _parse(self, parameter: Any) -> None:
        given = self.given[parameter.name]
        several = [given] if _is_text(parameter) else _several(given)
        parsed = [_parse_parameter(parameter, one) for one in several]
        self.parsed[parameter.name] = [*dict.fromkeys(parsed)]
        self.values[parameter.name] = self.parsed[parameter.name][0]

    def parse_inactive(self, choices: dict[str, list]) -> None:
        """Parses given keys that have an effect with another of several values, and adds theirs."""
        for parameter in self.space:
            name, conditions = parameter.name, parameter.conditions
            if name in self.given and name not in self.parsed:
                values = [choices.get(c.name, [self.values.get(c.name)]) for c in conditions]
                pairs = zip(conditions, values, strict=True)
                if all(any(c.is_active({c.name: v}) for v in several) for c, several in pairs):
                    self._parse(parameter)
                    if len(self.parsed[name]) > 1:
                        choices[name] = self.parsed[name]

    @property
    def active(self) -> dict[str, Any]:
        return {p.name: p for p in self.space if self.is_active(p)}


@contextlib.contextmanager
def _declared(module: types.ModuleType, keys: _Keys) -> Iterator[None]:
    """Turns a ValueError of a pipeline's function into a one-line UserError."""
    try:
        yield
    except ValueError as error:
        shown = ", ".join(f"{key}={values[0]}" for key, values in keys.parsed.items())
        reason = first_line(error, 1000)  # what to do is at the end, after paths and names
        raise UserError(
            f"{module.__name__} cannot be built with {shown or 'its defaults'}: {reason}"
        ) from error


def _declare(module: types.ModuleType, keys: _Keys) -> tuple[Dataset, keras.Model, Trainer]:
    keras.utils.clear_session(free_memory=False)  # names begin anew; memory is freed elsewhere
    with _declared(module, keys):
        return module.load_data(keys), module.build_model(keys), module.build_trainer(keys)


def _check_type(module: types.ModuleType, function: str, value: object, wanted: type) -> None:
    if not isinstance(value, wanted):
        raise UserError(
            f"{module.__name__}: {function}(hp) returned {type(value).__name__}; expected a "
            f"{_PUBLIC.get(wanted, 'keras.Model')}"
        )


def load_dataset(
    module: types.ModuleType, overrides: Mapping[str, object], complete: bool = False
) -> Dataset:
    """Returns a pipeline's dataset.

    Args:
        module: The pipeline's module.
        overrides: Text from the command line, or values, by key.
        complete: Whether only keys of the data are allowed.

    Raises:
        UserError: A key of the data has a wrong value, or is unknown if `complete`.
    """
    keys = _Keys(overrides, {})
    with _declared(module, keys):
        dataset = module.load_data(keys)
    _check_type(module, "load_data", dataset, Dataset)
    for key in overrides if complete else ():
        if key not in keys.parsed:
            raise _unknown(key, keys, list(keys.active))
    return dataset


def known(module: types.ModuleType, overrides: Mapping[str, object]) -> set[str]:
    """Returns the names that can be overridden together with these values.

    Raises:
        Exception: Whatever the pipeline raises.
    """
    keys = _Keys(overrides, {})
    _declare(module, keys)
    return {*keys.active, *(field.name for field in _settable())}


def resolve(
    module: types.ModuleType, overrides: Mapping[str, object], *, sample: bool = False
) -> Settings:
    """Runs a pipeline's three functions once; they read no data.

    Args:
        module: The pipeline's module.
        overrides: Text from the command line, or values, by key.
        sample: Whether the data are a sample. If so, a pipeline's `sample` overrides its defaults,
            such as a schedule too long for a short training, and `sample_epochs` limits the epochs
            unless `epochs` is given.

    Raises:
        UserError: A key is unknown or has no effect, or a value has the wrong type or range.
    """
    shorter = getattr(module, "sample", {}) if sample else {}
    keys = _Keys(overrides, shorter)
    dataset, model, trainer = _declare(module, keys)
    _check_type(module, "load_data", dataset, Dataset)
    _check_type(module, "build_model", model, keras.Model)
    _check_type(module, "build_trainer", trainer, Trainer)
    active = keys.active
    choices = {key: values for key, values in keys.parsed.items() if len(values) > 1}
    # An override equal to the pipeline's default still differs from the sample's.
    changed = {
        key: values[0]
        for key, values in keys.parsed.items()
        if values[0] != active[key].default or key in shorter
    }
    fields = {field.name: field for field in _settable()}
    of_trainer: dict[str, Any] = {}
    keys.parse_inactive(choices)
    changed |= {key: values[0] for key, values in keys.parsed.items() if key not in active}
    for key in overrides.keys() - keys.parsed.keys():
        if key not in fields:
            raise _unknown(key, keys, [*active, *fields])
    for key in (key for key in overrides if key not in keys.parsed):
        several = [_parse_field(fields[key], value) for value in _several(overrides[key])]
        parsed = [*dict.fromkeys(several)]
        of_trainer[key] = parsed[0]
        if len(parsed) > 1:
            choices[key] = parsed
    declared, trainer = trainer, dataclasses.replace(trainer, **of_trainer)
    # Compared in the Trainer: the text "none" is None there.
    changed |= {k: v for k, v in of_trainer.items() if getattr(trainer, k) != getattr(declared, k)}
    if sample and "epochs" not in overrides:
        trainer = trainer.on_sample()
    trainer.check(model, num_examples=0)
    return Settings(keys, trainer, dataset, changed, choices)


def _is_text(parameter: Any) -> bool:
    """Whether a key is free text, such as a path, whose commas do not separate values."""
    return isinstance(parameter, hp_types.Fixed) and isinstance(parameter.value, str)


def _several(value: object) -> list:
    return value.split(",") if isinstance(value, str) else [value]


def _unknown(key: str, hp: keras_tuner.HyperParameters, known: list[str]) -> UserError:
    for parameter in hp.space:
        if parameter.name == key:
            return UserError(f"{key} has no effect here; it requires {conditions(parameter)}")
    return UserError(f"no key {key!r}; {nearest(key, known)}")


def conditions(parameter: Any) -> str:
    """Writes when a key is active: "optimizer=adamw"; empty if always."""
    return " and ".join(
        f"{condition.name}={'|'.join(map(str, condition.values))}"
        for condition in parameter.conditions
    )


def _parse_parameter(parameter: Any, value: object) -> object:
    key = parameter.name
    if isinstance(parameter, hp_types.Boolean):
        return _parse_boolean(key, value)
    if isinstance(parameter, hp_types.Choice):
        return _parse_choice(key, value, parameter.values)
    if isinstance(parameter, hp_types.Fixed):
        return _parse_like(key, value, parameter.value)
    integer = isinstance(parameter, hp_types.Int)
    return parse_number(key, value, parameter.min_value, parameter.max_value, integer)


def _settable() -> list[dataclasses.Field]:
    """Returns the fields of the Trainer that can be set on the command line."""
    return [f for f in dataclasses.fields(Trainer) if f.metadata.get("settable", True)]


def _parse_field(field: dataclasses.Field, value: object) -> object:
    if field.metadata["choices"]:
        return _parse_choice(field.name, value, field.metadata["choices"])
    if field.type is str:
        return str(value)
    if field.type is bool:
        return _parse_boolean(field.name, value)
    low, high = field.metadata["low"], field.metadata["high"]
    return parse_number(field.name, value, low, high, integer=field.type is int)


def parse_number(key: str, value: Any, low: float, high: float, integer: bool) -> Any:
    """Returns a number, given as such or as text.

    Raises:
        UserError: It is not a number, not an integer, or out of range.
    """
    what = "an integer" if integer else "a number"
    error = UserError(f"{key}={value}: expected {what} from {_number(low)} to {_number(high)}")
    try:
        number = int(value) if integer else float(value)
    except (TypeError, ValueError, OverflowError):  # OverflowError: int(inf)
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
    """Parses a Fixed parameter, which is not searched; any value of its type overrides it."""
    if isinstance(default, bool):
        return _parse_boolean(key, value)
    if isinstance(default, str):
        return str(value)
    return parse_number(key, value, -1e9, 1e9, integer=isinstance(default, int))


def _parse_choice(key: str, value: object, values: list) -> object:
    for known in values:
        if value == known or (isinstance(value, str) and _same(value, known)):
            return known
    raise UserError(f"{key}={value}: expected one of {', '.join(map(str, values))}")


def _same(text: str, known: Any) -> bool:
    try:
        return type(known)(text) == known
    except ValueError:
        return False


def describe(
    module: types.ModuleType, overrides: Mapping[str, object] | None = None
) -> list[tuple[str, str, str, str]]:
    """Returns rows of key, default, range and condition, for `kpipe run NAME --help`.

    Args:
        module: The pipeline's module.
        overrides: Values without which it declares no keys, such as the target of own data.
    """
    keys = _Keys(overrides or {}, {})
    _, _, trainer = _declare(module, keys)
    rows = [("key", "default", "range", "requires")]
    for parameter in keys.space:
        rows.append(
            (parameter.name, str(parameter.default), range_of(parameter), conditions(parameter))
        )
    for field in _settable():
        value = getattr(trainer, field.name)
        default = "none" if value is None else str(value)
        rows.append((field.name, default, _field_range(field), ""))
    return rows


def range_of(parameter: Any) -> str:
    """Writes the range of a key, as `kpipe run NAME --help` shows it."""
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
