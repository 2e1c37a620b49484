"""Requests for explanations: one example, what is explained of it, and by which methods."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from ..errors import UserError
from ..explaining import explain
from ..inputs import Examples
from .batching import unusable
from .limits import Limits, bad_input
from .requests import INSTANCES, Request, read
from .signatures import BYTES, DEFAULT
from .versions import Version


@dataclasses.dataclass(frozen=True)
class Question:
    """A request for an explanation.

    Attributes:
        request: The example.
        target: Label or output that is explained; None for the answer.
        methods: Names of methods; () for those that suit the input.
    """

    request: Request
    target: str | None
    methods: tuple[str, ...]


def read_request(content: Mapping[str, Any], version: Version, limits: Limits) -> Question:
    """Reads a request for an explanation.

    Raises:
        Refusal: It is not one example, or does not fit the model.
    """
    request = read(content, version.signatures, limits, ("target", "methods"))
    if request.count != 1 or not request.rows:
        raise bad_input(f'"{INSTANCES}": expected one example, since each takes many computations')
    if request.signature.name not in (DEFAULT, BYTES):
        raise bad_input(f"{request.signature.name} is not explained; expected {DEFAULT} or {BYTES}")
    target, methods = content.get("target"), content.get("methods") or []
    if target is not None and type(target) is not str:
        raise bad_input("target: expected a label, or null for the model's answer")
    if type(methods) is not list or any(type(name) is not str for name in methods):
        raise bad_input("methods: expected a list of names")
    return Question(request, target, tuple(methods))


def answer(question: Question, version: Version) -> bytes:
    """Explains, and writes the explanations as JSON.

    Raises:
        Refusal: The model, or what was asked for, cannot be explained.
    """
    try:
        found = explain(
            version.model,
            examples_of(question.request),
            target=question.target,
            methods=question.methods,
        )
        content = {"explanations": [explanation.to_json() for explanation in found]}
        return json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    except UserError as error:
        raise bad_input(str(error)) from None
    except tf.errors.OpError as error:
        raise unusable(question.request.place(0), error) from None
    except ValueError as error:
        if "JSON compliant" not in str(error):
            raise
        raise bad_input(f"{INSTANCES}[0]: the explanation contains NaN or infinity") from None


def examples_of(request: Request) -> Examples:
    """Returns the examples of a request in the form of those from files."""
    name = request.signature.name
    is_table = bool(request.signature.columns)
    values: Any = dict(request.arguments)
    if not is_table:
        (values,) = values.values()
    is_text = not is_table and name == DEFAULT and isinstance(values, list)
    places = [request.place(i) for i in range(request.count)]
    return Examples(
        "text" if is_text else "file",
        [word.decode() for word in values] if is_text else places,
        values,
        [(place, 0) for place in places],
        name,
    )
