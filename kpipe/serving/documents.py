"""The description of a server's API: OpenAPI 3.1, and the same as a page."""

import html
import json
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow as tf

from .. import __version__
from ..datasets.columns import Column
from .paths import ROOT, quote
from .signatures import BYTES, DEFAULT, Signature
from .versions import Version

# A grey pixel.
_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)
_B64 = {
    "type": "object",
    "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
    "required": ["b64"],
    "additionalProperties": False,
}
_TEXT = {"anyOf": [{"type": "string"}, _B64]}
_OF_COLUMN: Mapping[str, Any] = {
    "number": {"type": ["number", "null"]},
    "boolean": {"enum": [True, False, 0, 1, None]},
    "category": {"anyOf": [{"type": ["string", "null"]}, _B64]},
    "date": {"type": ["string", "null"]},
}
_ERRORS = {
    "400": "The request is wrong; the error names the example.",
    "403": "A page of another site, or a name that the server is not known by.",
    "404": "There is no such model, version or path.",
    "413": "The body is too large.",
    "503": "The server is full, or loads the model; see Retry-After.",
    "504": "No answer within the deadline.",
}
_LIST = {"type": "array", "minItems": 1}


def openapi(models: Mapping[str, Version]) -> dict[str, Any]:
    """Describes the API of a server in OpenAPI 3.1.

    Args:
        models: The version of each model that answers, by name.
    """
    paths: dict[str, Any] = {
        ROOT: {"get": _get("All models", "models")},
        "/health": {"get": _get("Whether the process is alive", "server")},
        "/ready": {"get": _get("Whether requests should be sent here", "server")},
        "/metrics": {"get": _get("Metrics for Prometheus", "server", "text/plain")},
    }
    for name, version in models.items():
        path = f"{ROOT}/{quote(name)}"
        paths[path] = {"get": _get("State of its versions", name)}
        paths[f"{path}/metadata"] = {"get": _get("Its signatures", name)}
        paths[f"{path}/about"] = {"get": _get("Task, labels, inputs, test metric and limits", name)}
        paths[f"{path}:predict"] = {"post": _predict(name, version)}
        paths[f"{path}:explain"] = {"post": _explain(name, version)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "kpipe serve",
            "version": __version__,
            "description": "Models behind TensorFlow Serving's REST protocol. Each path of a model "
            f"also exists for one of its versions: {ROOT}/NAME/versions/N.",
        },
        "paths": paths,
    }


def _get(summary: str, tag: str, media_type: str = "application/json") -> dict[str, Any]:
    answer = {"description": "OK", "content": {media_type: {}}}
    return {"summary": summary, "tags": [tag], "responses": {"200": answer}}


def _post(name: str, summary: str, schema: Any, example: Any, answer: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": schema, "example": example}}
    error = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    failed = {
        status: {"description": words, "content": {"application/json": {"schema": error}}}
        for status, words in _ERRORS.items()
    }
    done = {"description": "OK", "content": {"application/json": {"schema": answer}}}
    return {
        "summary": summary,
        "tags": [name],
        "requestBody": {"required": True, "content": content},
        "responses": {"200": done, **failed},
    }


def _predict(name: str, version: Version) -> dict[str, Any]:
    signatures = version.signatures.values()
    given = [schema for s in signatures for schema in (_in_rows(s), _in_columns(s))]
    answers = [schema for s in signatures for schema in _answers(s)]
    example = _example(version)
    return _post(name, "Predict", {"anyOf": given}, example, {"anyOf": answers})


def _explain(name: str, version: Version) -> dict[str, Any]:
    signatures = [s for s in version.signatures.values() if s.name == DEFAULT or s.encoded]
    more = {
        "target": {"type": ["string", "null"]},
        "methods": {"type": ["array", "null"], "items": {"type": "string"}},
    }
    given = []
    for signature in signatures:
        schema = _in_rows(signature)
        schema["properties"] |= more
        schema["properties"]["instances"] |= {"maxItems": 1}
        given.append(schema)
    example = _example(version)
    answer = {
        "type": "object",
        "properties": {"explanations": {"type": "array", "items": {"type": "object"}}},
        "required": ["explanations"],
    }
    return _post(name, "What an answer depends on", {"anyOf": given}, example, answer)


def _in_rows(signature: Signature) -> dict[str, Any]:
    """Schema of a request with a row for each example."""
    parts = {argument: _one(signature, argument) for argument in signature.inputs}
    row = _object(parts)
    if len(parts) == 1 and not signature.columns:
        row = {"anyOf": [*parts.values(), row]}
    return _request(signature, "instances", {**_LIST, "items": row})


def _in_columns(signature: Signature) -> dict[str, Any]:
    """Schema of a request with a column for each argument."""
    parts = {a: {**_LIST, "items": _one(signature, a)} for a in signature.inputs}
    columns = _object(parts)
    if len(parts) == 1 and not signature.columns:
        columns = {"anyOf": [*parts.values(), columns]}
    return _request(signature, "inputs", columns)


def _request(signature: Signature, key: str, schema: Any) -> dict[str, Any]:
    required = [key] if signature.name == DEFAULT else ["signature_name", key]
    return {
        "type": "object",
        "title": f"{signature.name}, {'rows' if key == 'instances' else 'columns'}",
        "properties": {"signature_name": {"const": signature.name}, key: schema},
        "required": required,
        "additionalProperties": False,
    }


def _answers(signature: Signature) -> Iterable[dict[str, Any]]:
    """Schemas of the answers to rows and to columns."""
    parts = {name: _of_spec(spec) for name, spec in signature.outputs.items()}
    if len(parts) == 1:
        (row,) = parts.values()
        columns: dict[str, Any] = {"type": "array", "items": row}
    else:
        row = _object(parts)
        columns = _object({name: {"type": "array", "items": one} for name, one in parts.items()})
    yield _object({"predictions": {"type": "array", "items": row}})
    yield _object({"outputs": columns})


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _one(signature: Signature, argument: str) -> dict[str, Any]:
    """Schema of one example's value of an argument."""
    column: Column | None = signature.columns.get(argument)
    if column:
        return dict(_OF_COLUMN[column.kind])
    if signature.encoded:
        return _B64
    return _of_spec(signature.inputs[argument], signature.longest)


def _of_spec(spec: tf.TensorSpec, longest: int = 0) -> dict[str, Any]:
    """Schema of one example of a tensor."""
    if spec.dtype == tf.string:
        schema: dict[str, Any] = dict(_TEXT)
    elif spec.dtype == tf.bool:
        schema = {"type": "boolean"}
    elif spec.dtype.is_floating:
        schema = {"type": "number"}
    else:
        schema = {"type": "integer", "minimum": spec.dtype.min, "maximum": spec.dtype.max}
    for size in reversed(spec.shape.as_list()[1:]):
        most = longest if size is None else size
        schema = {"type": "array", "items": schema, "minItems": size or 1}
        schema |= {"maxItems": most} if most else {}
    return schema


def _example(version: Version) -> dict[str, Any]:
    """A request, as short as it can be."""
    if BYTES in version.signatures:
        return {"signature_name": BYTES, "instances": [{"b64": _PNG}]}
    signature = version.signatures[DEFAULT]
    if signature.columns:
        columns = version.about["input"]["columns"]
        return {"instances": [{column["argument"]: column["example"] for column in columns}]}
    (spec,) = signature.inputs.values()
    value: Any = "a text" if spec.dtype == tf.string else 0
    for size in reversed(spec.shape.as_list()[1:]):
        value = [value] * (size or 1)
    return {"instances": [value]}


def page(described: Mapping[str, Any]) -> str:
    """Writes a description in OpenAPI as a page without scripts.

    Args:
        described: What `openapi` returned.
    """
    parts = []
    for path, methods in described["paths"].items():
        for method, about in methods.items():
            parts.append(_section(path, method, about))
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>kpipe serve: API</title><link rel="stylesheet" href="page/style.css"></head>
<body>
<main>
<h1>kpipe serve: API</h1>
<p>{html.escape(described["info"]["description"])} The same for programs:
<a href="openapi.json">openapi.json</a>. <a href="./">Try the models</a>.</p>
{"".join(parts)}</main>
</body>
</html>
"""


def _section(path: str, method: str, about: Mapping[str, Any]) -> str:
    head = f"<h3><code>{method.upper()} {html.escape(path)}</code></h3>\n"
    head += f"<p>{html.escape(about['summary'])}.</p>\n"
    if method == "get":
        return head
    body = about["requestBody"]["content"]["application/json"]
    example = json.dumps(body["example"], ensure_ascii=False)
    shown = example if len(example) < 1000 else f"{example[:1000]} ..."
    answer = about["responses"]["200"]["content"]["application/json"]["schema"]
    errors = "".join(
        f"<li>{status}: {html.escape(found['description'])}</li>"
        for status, found in about["responses"].items()
        if status != "200"
    )
    return (
        f"{head}<p>For example:</p><pre>{html.escape(shown)}</pre>\n"
        f"<details><summary>Schema of requests</summary>{_pre(body['schema'])}</details>\n"
        f"<details><summary>Schema of answers</summary>{_pre(answer)}</details>\n"
        f"<details><summary>Errors</summary><ul>{errors}</ul></details>\n"
    )


def _pre(schema: Any) -> str:
    return f"<pre>{html.escape(json.dumps(schema, indent=1, ensure_ascii=False))}</pre>"
