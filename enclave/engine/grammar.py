# SPDX-License-Identifier: Apache-2.0
"""A JSON schema into a grammar of llama.cpp, within limits.

Grammars that people write are attack surface of llama.cpp (engine.md 6), so none is ever taken from outside:
the schema is checked against a short list of keywords, and against limits on size, depth and repetition, and
then the bindings' own converter makes the grammar. What is not on the list is refused by its name.
"""

import json
import re
from collections.abc import Callable

from llama_cpp.llama_grammar import json_schema_to_gbnf

from enclave.engine.protocol import Shape

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

MAX_SCHEMA_CHARACTERS = 1 << 16
MAX_DEPTH = 16
MAX_NODES = 1024
MAX_REPETITION = 256  # llama.cpp writes a repetition out
MAX_LITERAL_CHARACTERS = 1024
TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
FORMATS = frozenset({"date", "time", "date-time", "uuid"})
# Keywords that say something to people alone.
NOTES = frozenset({"$schema", "$id", "title", "description", "default", "examples", "strict"})
NAMED_SCHEMAS = frozenset({"properties", "$defs", "definitions"})
LISTED_SCHEMAS = frozenset({"anyOf", "oneOf", "prefixItems"})
SINGLE_SCHEMAS = frozenset({"items", "additionalProperties"})
ROOT_RULE = re.compile(r"^root ::=", re.MULTILINE)


class SchemaError(Exception):
    """The schema is not served; `keyword` is where, and says nothing of its content."""

    def __init__(self, keyword: str) -> None:
        super().__init__(keyword)
        self.keyword = keyword


def compile_shape(shape: Shape) -> str:
    """The grammar of an answer: what stands before, JSON that fits the schema, what stands after.

    Raises SchemaError.
    """
    if len(shape.schema) > MAX_SCHEMA_CHARACTERS:
        raise SchemaError("schema")
    for literal in (shape.before, shape.after):
        if len(literal) > MAX_LITERAL_CHARACTERS:
            raise SchemaError("literal")
    try:
        schema: Json = json.loads(shape.schema)
        grammar = _convert(schema)
    except SchemaError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError):
        raise SchemaError("schema") from None
    if not shape.before and not shape.after:
        return grammar
    inner = ROOT_RULE.sub("whole-document ::=", grammar)
    return f"root ::= {_literal(shape.before)} whole-document {_literal(shape.after)}\n{inner}"


def _convert(schema: Json) -> str:
    """The grammar of a schema, once it is checked."""
    if not isinstance(schema, dict):
        raise SchemaError("schema")
    _Check(schema).check(schema, MAX_DEPTH)
    return json_schema_to_gbnf(json.dumps(_without_notes(schema)))


def _without_notes(schema: dict[str, Json]) -> dict[str, Json]:
    """What counts of a schema that was checked: the converter does not take a note alone for a schema."""
    kept: dict[str, Json] = {}
    for keyword, value in schema.items():
        if keyword in NAMED_SCHEMAS and isinstance(value, dict):
            kept[keyword] = {name: _clean(each) for name, each in value.items()}
        elif keyword in LISTED_SCHEMAS and isinstance(value, list):
            kept[keyword] = [_clean(each) for each in value]
        elif keyword not in NOTES:
            kept[keyword] = _clean(value) if keyword in SINGLE_SCHEMAS else value
    return kept


def _clean(value: Json) -> Json:
    return _without_notes(value) if isinstance(value, dict) else value


def _literal(text: str) -> str:
    """A string of the grammar; what is not plain ASCII goes in by its number."""
    plain = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    escaped = (
        plain.get(character) or (character if " " <= character <= "~" else f"\\U{ord(character):08X}")
        for character in text
    )
    return '"' + "".join(escaped) + '"'


class _Check:
    """Walks through a schema, and counts."""

    def __init__(self, root: dict[str, Json]) -> None:
        self._root, self._nodes = root, 0
        self._keywords: dict[str, Callable[[Json, int], bool]] = {
            "type": self._type,
            "properties": self._schemas,
            "required": self._names,
            "additionalProperties": self._flag_or_schema,
            "items": self._schema,
            "prefixItems": self._list,
            "enum": self._literals,
            "const": self._literal,
            "anyOf": self._list,
            "oneOf": self._list,
            "minItems": self._count,
            "maxItems": self._count,
            "minLength": self._count,
            "maxLength": self._count,
            "format": lambda value, _: value in FORMATS,
            "$defs": self._schemas,
            "definitions": self._schemas,
            "$ref": self._reference,
        }

    def check(self, schema: dict[str, Json], depth: int) -> None:
        """Raise SchemaError with the first keyword that is not served, or beyond a limit."""
        self._nodes += 1
        if depth == 0 or self._nodes > MAX_NODES:
            raise SchemaError("depth" if depth == 0 else "size")
        for keyword, value in schema.items():
            if keyword in NOTES:
                continue
            serve = self._keywords.get(keyword)
            if serve is None or not serve(value, depth - 1):
                raise SchemaError(keyword)

    def _type(self, value: Json, _depth: int) -> bool:
        kinds = value if isinstance(value, list) else [value]
        return 0 < len(kinds) <= len(TYPES) and all(kind in TYPES for kind in kinds)

    def _schema(self, value: Json, depth: int) -> bool:
        if not isinstance(value, dict):
            return False
        self.check(value, depth)
        return True

    def _schemas(self, value: Json, depth: int) -> bool:
        if not isinstance(value, dict):
            return False
        return all(len(name) <= 256 and self._schema(each, depth) for name, each in value.items())

    def _list(self, value: Json, depth: int) -> bool:
        return isinstance(value, list) and bool(value) and all(self._schema(each, depth) for each in value)

    def _flag_or_schema(self, value: Json, depth: int) -> bool:
        return isinstance(value, bool) or self._schema(value, depth)

    def _names(self, value: Json, _depth: int) -> bool:
        return isinstance(value, list) and all(isinstance(name, str) for name in value)

    def _literal(self, value: Json, _depth: int) -> bool:
        self._nodes += 1
        return len(json.dumps(value)) <= MAX_LITERAL_CHARACTERS

    def _literals(self, value: Json, depth: int) -> bool:
        if not isinstance(value, list) or not 0 < len(value) <= MAX_NODES:
            return False
        return all(self._literal(each, depth) for each in value)

    def _count(self, value: Json, _depth: int) -> bool:
        return type(value) is int and 0 <= value <= MAX_REPETITION

    def _reference(self, value: Json, _depth: int) -> bool:
        """Only to a definition in the same schema: nothing is ever fetched."""
        if not isinstance(value, str):
            return False
        place, _, name = value.removeprefix("#/").partition("/")
        definitions = self._root.get(place) if place in ("$defs", "definitions") else None
        return isinstance(definitions, dict) and name in definitions
