"""Requests of TensorFlow Serving's REST protocol: from JSON to the arguments of a signature.

https://www.tensorflow.org/tfx/serving/api_rest. Requests are read more strictly than there: a key
that is unknown or occurs twice, and NaN, which is not JSON, are refused.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf

from ..errors import nearest
from .limits import Limits, bad_input
from .signatures import DEFAULT, Signature
from .values import Place, Values, as_column, as_images, as_numbers, as_strings, is_encoded

INSTANCES = "instances"  # a row for each example
INPUTS = "inputs"  # a column for each argument


@dataclasses.dataclass(frozen=True)
class Request:
    """Examples for a signature.

    Attributes:
        signature: The signature.
        arguments: Values of all examples by argument.
        count: Number of examples.
        rows: Whether the request has rows, and its answer too.
        pixels: Pixels of each encoded image; () for other inputs.
    """

    signature: Signature
    arguments: Mapping[str, Values]
    count: int
    rows: bool
    pixels: Sequence[int] = ()

    @property
    def size(self) -> int:
        """Bytes of the arguments."""
        return sum(
            values.nbytes if isinstance(values, np.ndarray) else sum(map(len, values))
            for values in self.arguments.values()
        )

    def place(self, i: int) -> str:
        """Names an example in a message."""
        return f"{INSTANCES if self.rows else INPUTS}[{i}]"


def parse(body: bytes) -> dict[str, Any]:
    """Reads the body of a request.

    Args:
        body: JSON in UTF-8.

    Raises:
        Refusal: It is not an object in JSON, contains a key twice, or NaN or Infinity.

    Example:
        parse(b'{"instances": ["a text"]}')["instances"]  # ["a text"]
    """
    try:
        content = _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise bad_input(f"the body is not valid UTF-8, at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise bad_input(f"the body is not JSON: {error.msg}, at character {error.pos}") from None
    except RecursionError:
        raise bad_input("the body is nested too deeply") from None
    except ValueError:  # of Python, which reads no integer of more than 4,300 digits
        raise bad_input("the body contains a number of too many digits") from None
    if type(content) is not dict:
        raise bad_input(f'the body is no JSON object; expected {{"{INSTANCES}": [...]}}')
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise bad_input(f"the body contains the key {twice[:40]!r} twice in one object")
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise bad_input(f"the body contains {name}, which is not JSON; a missing number is null")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)


def read(
    content: Mapping[str, Any],
    signatures: Mapping[str, Signature],
    limits: Limits,
    also: Sequence[str] = (),
) -> Request:
    """Reads the examples of a request.

    Args:
        content: The request, in row format (`instances`) or column format (`inputs`).
        signatures: Those of the model.
        limits: What a request may contain.
        also: Further keys that it may have.

    Raises:
        Refusal: It does not fit the signature; the message names the example.
    """
    known = ("signature_name", INSTANCES, INPUTS, *also)
    for key in content:
        if key not in known:
            raise bad_input(f"unknown key {key[:40]!r}; {nearest(key[:40], known)}")
    name = content.get("signature_name", DEFAULT)
    if type(name) is not str or name not in signatures:
        raise bad_input(f"no signature {_short(name)}; known: {', '.join(signatures)}")
    signature = signatures[name]
    if (INSTANCES in content) == (INPUTS in content):
        raise bad_input(f'expected one of the keys "{INSTANCES}" and "{INPUTS}"')
    rows = INSTANCES in content
    by_argument, places = _rows(content, signature) if rows else _columns(content, signature)
    count = len(next(iter(by_argument.values())))
    if count > limits.instances:
        raise bad_input(
            f"{count:,} examples; expected at most {limits.instances}: send several requests"
        )
    arguments: dict[str, Values] = {}
    pixels: list[int] = []
    for argument, spec in signature.inputs.items():
        values, place = by_argument[argument], places[argument]
        if argument in signature.columns:
            arguments[argument] = as_column(values, signature.columns[argument], place)
        elif signature.encoded:
            arguments[argument], pixels = as_images(values, place, limits.pixels)
        elif spec.dtype == tf.string:
            arguments[argument] = as_strings(values, place)
        else:
            arguments[argument] = as_numbers(values, spec, place, signature.longest)
    return Request(signature, arguments, count, rows, pixels)


_Read = tuple[dict[str, list[Any]], dict[str, Place]]


def _rows(content: Mapping[str, Any], signature: Signature) -> _Read:
    """Reads rows: a value each, or an object with one for each argument."""
    rows = _listed(content[INSTANCES], INSTANCES)
    (only, *others) = signature.inputs
    if not others and not signature.columns and (type(rows[0]) is not dict or is_encoded(rows[0])):
        return {only: rows}, {only: lambda i: f"{INSTANCES}[{i}]"}
    read: dict[str, list[Any]] = {argument: [] for argument in signature.inputs}
    named = dict(signature.arguments)
    for i, row in enumerate(rows):
        if type(row) is not dict:
            wanted = ", ".join(map(repr, list(signature.inputs)[:5]))
            raise bad_input(f"{INSTANCES}[{i}]: expected an object with the keys {wanted}")
        for argument, value in _by_argument(row, named, signature, f"{INSTANCES}[{i}]").items():
            read[argument].append(value)

    def place_of(argument: str) -> Place:
        return lambda i: f"{INSTANCES}[{i}].{_key(rows[i], argument, named)}"

    return read, {argument: place_of(argument) for argument in read}


def _columns(content: Mapping[str, Any], signature: Signature) -> _Read:
    """Reads columns: a list of values, or an object with one for each argument."""
    columns = content[INPUTS]
    (only, *others) = signature.inputs
    if not others and not signature.columns and type(columns) is not dict:
        return {only: _listed(columns, INPUTS)}, {only: lambda i: f"{INPUTS}[{i}]"}
    if type(columns) is not dict or is_encoded(columns):
        wanted = ", ".join(map(repr, list(signature.inputs)[:5]))
        raise bad_input(f"{INPUTS}: expected an object with the keys {wanted}, a list each")
    named = dict(signature.arguments)
    read = _by_argument(columns, named, signature, INPUTS)
    keys = {argument: _key(columns, argument, named) for argument in read}
    lengths = {
        keys[argument]: len(_listed(values, f"{INPUTS}.{keys[argument]}"))
        for argument, values in read.items()
    }
    if len({*lengths.values()}) > 1:
        (first, size), *_ = lengths.items()
        other = next(key for key, length in lengths.items() if length != size)
        raise bad_input(
            f"{INPUTS}.{other}: {lengths[other]:,} values; expected {size:,}, as many as of {first}"
        )

    def place_of(key: str) -> Place:
        return lambda i: f"{INPUTS}.{key}[{i}]"

    return read, {argument: place_of(keys[argument]) for argument in read}


def _by_argument(
    given: Mapping[str, Any], named: Mapping[str, str], signature: Signature, place: str
) -> dict[str, Any]:
    """Returns the values of an object by argument: each of them once, and no others."""
    read: dict[str, Any] = {}
    for key, value in given.items():
        argument = named.get(key)
        if argument is None:
            known = list(signature.inputs)
            raise bad_input(
                f"{place}: unknown key {key[:40]!r}; {nearest(key[:40], known, known[:20])}"
            )
        if argument in read:
            raise bad_input(f"{place}: {key!r} and {_key(given, argument, named)!r} are one column")
        read[argument] = value
    for argument in signature.inputs:
        if argument not in read:
            raise bad_input(f"{place}: {argument!r} is missing")
    return read


def _key(given: Mapping[str, Any], argument: str, named: Mapping[str, str]) -> str:
    """Returns the key of an argument in an object."""
    return next(key for key in given if named[key] == argument)


def _listed(values: Any, place: str) -> list[Any]:
    if type(values) is not list or not values:
        raise bad_input(f"{place}: expected a list with at least one example")
    return values


def _short(value: Any) -> str:
    return repr(value[:40]) if type(value) is str else f"of type {type(value).__name__}"
