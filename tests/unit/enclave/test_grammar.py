# SPDX-License-Identifier: Apache-2.0
"""JSON schemas become grammars that llama.cpp takes, within limits; anything else is refused by its name."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.engine.grammar import MAX_DEPTH, MAX_NODES, MAX_REPETITION, SchemaError, compile_shape
from enclave.engine.protocol import Shape

PERSON = {
    "title": "Person",
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "in full", "maxLength": 40},
        "title": {"enum": ["Dr", None, 3, True]},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
        "next": {"$ref": "#/$defs/next"},
        "any": {"description": "anything"},
        "either": {"anyOf": [{"type": "null"}, {"const": "x"}]},
    },
    "required": ["name", "title"],
    "additionalProperties": False,
    "$defs": {"next": {"type": ["string", "null"]}},
}


def refused(schema: object, **literals: str) -> str:
    with pytest.raises(SchemaError) as raised:
        compile_shape(Shape(json.dumps(schema), **literals))
    return raised.value.keyword


def test_a_schema_becomes_a_grammar() -> None:
    grammar = compile_shape(Shape(json.dumps(PERSON)))
    assert grammar.count("root ::=") == 1
    assert '"\\"name\\""' in grammar
    assert "in full" not in grammar


def test_what_stands_around_the_document_is_part_of_the_grammar() -> None:
    grammar = compile_shape(Shape('{"type": "object"}', '<call "é">\n', "</call>"))
    first, *rest = grammar.splitlines()
    assert first == 'root ::= "<call \\"\\U000000E9\\">\\n" whole-document "</call>"'
    assert sum(line.startswith("whole-document ::=") for line in rest) == 1
    assert not any(line.startswith("root ::=") for line in rest)


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [
        ([], "schema"),
        ("text", "schema"),
        ({"type": "text"}, "type"),
        ({"type": []}, "type"),
        ({"type": "string", "pattern": "^(a+)+$"}, "pattern"),
        ({"$ref": "https://example.com/schema"}, "$ref"),
        ({"$ref": "#/$defs/none"}, "$ref"),
        ({"$ref": "#/properties/a"}, "$ref"),
        ({"$ref": 1}, "$ref"),
        ({"allOf": [{"type": "string"}]}, "allOf"),
        ({"not": {}}, "not"),
        ({"if": {}}, "if"),
        ({"type": "integer", "minimum": 0}, "minimum"),
        ({"type": "array", "items": {}, "maxItems": MAX_REPETITION + 1}, "maxItems"),
        ({"type": "string", "maxLength": True}, "maxLength"),
        ({"type": "string", "minLength": -1}, "minLength"),
        ({"type": "string", "format": "regex"}, "format"),
        ({"type": "object", "properties": []}, "properties"),
        ({"type": "object", "properties": {"a": 1}}, "properties"),
        ({"type": "object", "properties": {}, "required": [1]}, "required"),
        ({"anyOf": []}, "anyOf"),
        ({"enum": []}, "enum"),
        ({"const": "x" * 2000}, "const"),
        ({"items": [{"type": "string"}]}, "items"),
        ({"type": "object", "secret of mine": 1}, "secret of mine"),
    ],
)
def test_what_is_not_served_is_named(schema: object, keyword: str) -> None:
    assert refused(schema) == keyword


def test_limits_on_depth_size_and_literals() -> None:
    deep: dict[str, object] = {"type": "string"}
    for _ in range(MAX_DEPTH):
        deep = {"type": "array", "items": deep}
    assert refused(deep) == "depth"
    assert refused({"anyOf": [{"type": "null"}] * (MAX_NODES + 1)}) == "size"
    assert refused({"const": 1, "description": "x" * (1 << 16)}) == "schema"
    assert refused({"type": "null"}, before="x" * 2000) == "literal"


@pytest.mark.parametrize("text", ["", "{", "nul", '{"type": NaN}', "[" * 100000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(SchemaError):
        compile_shape(Shape(text))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 400) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "items", "properties", "$ref", "enum", "anyOf", "required", "const", "a"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(JSON)
def test_whatever_comes_is_a_grammar_or_refused(schema: object) -> None:
    try:
        grammar = compile_shape(Shape(json.dumps(schema)))
    except SchemaError:
        return
    assert "root ::=" in grammar
