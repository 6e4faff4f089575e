# SPDX-License-Identifier: Apache-2.0
"""JSON schemas of requests: forms that an answer is held to, by a grammar that the engine makes of them."""

from collections.abc import Sequence

import msgspec

from enclave.api.call_forms import CallForm
from enclave.api.parameters import Function, invalid
from enclave.engine.protocol import Shape, Tool

MAX_SCHEMA_BYTES = 1 << 16
DEFINITIONS = ("$defs", "definitions")

Schema = dict[str, object]

_decoder = msgspec.json.Decoder(Schema)


def any_object() -> Shape:
    """Any JSON object."""
    return Shape('{"type":"object"}')


def schema_shape(raw: msgspec.Raw, param: str) -> Shape:
    """JSON that fits this schema. Raises ApiError."""
    return Shape(_text(_schema(raw, param)))


def tool(function: Function, param: str) -> Tool:
    """A function as the model's template shows it. Raises ApiError."""
    return Tool(function.name, function.description or "", _text(_parameters(function, param)))


def call_shape(functions: Sequence[tuple[Function, str]], form: CallForm) -> Shape:
    """A call of one of these functions, each with the name of its parameter. Raises ApiError."""
    definitions: dict[str, Schema] = {}
    calls: list[object] = []
    for function, param in functions:
        parameters = _parameters(function, param)
        _hoist(parameters, definitions, param)
        call = {"name": {"const": function.name}, form.arguments: parameters}
        calls.append(
            {"type": "object", "properties": call, "required": [*call], "additionalProperties": False}
        )
    document: Schema = {"anyOf": calls}
    return Shape(_text(document | definitions), form.before, form.after)


def _hoist(parameters: Schema, definitions: dict[str, Schema], param: str) -> None:
    """Move definitions to the root of the document, where references look for them."""
    for place in DEFINITIONS:
        found = parameters.pop(place, None)
        if found is None:
            continue
        if not isinstance(found, dict):
            raise invalid(f"{param}.{place}", "must be an object")
        known = definitions.setdefault(place, {})
        for name, definition in msgspec.convert(found, Schema).items():
            if known.setdefault(name, definition) != definition:
                raise invalid(f"{param}.{place}", "functions of one request define it differently")


def _parameters(function: Function, param: str) -> Schema:
    if bytes(function.parameters) == b"null":
        return {"type": "object", "properties": {}}
    return _schema(function.parameters, f"{param}.parameters")


def _schema(raw: msgspec.Raw, param: str) -> Schema:
    if len(raw) > MAX_SCHEMA_BYTES:
        raise invalid(param, f"a schema has at most {MAX_SCHEMA_BYTES} bytes")
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        raise invalid(param, "must be a JSON schema that is an object") from None


def _text(schema: Schema) -> str:
    return msgspec.json.encode(schema).decode()
