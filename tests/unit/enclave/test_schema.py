# SPDX-License-Identifier: Apache-2.0
"""Chat requests: what is served, and which parameter an error names."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.api.errors import ApiError
from enclave.api.schema import ChatRequest, parse_chat_request
from enclave.engine.protocol import Role, Turn

MESSAGES = [{"role": "user", "content": "?"}]
BASE: dict[str, object] = {"model": "m", "messages": MESSAGES}


WRONG: list[tuple[dict[str, object], str]] = [
    ({"model": ""}, "model"),
    ({"model": "m" * 201}, "model"),
    ({"model": 7}, "model"),
    ({"messages": []}, "messages"),
    ({"messages": MESSAGES * 1025}, "messages"),
    ({"messages": "?"}, "messages"),
    ({"messages": [{"role": "robot", "content": "?"}]}, "messages[0].role"),
    ({"messages": [{"content": "?"}]}, "messages[0].role"),
    ({"messages": [{"role": "tool", "content": "?"}]}, "messages[0].tool_call_id"),
    ({"messages": [{"role": "assistant"}]}, "messages[0]"),
    ({"messages": [{"role": "assistant", "content": None}]}, "messages[0]"),
    ({"messages": [{"role": "assistant", "content": "a", "refusal": "no"}]}, "messages[0].refusal"),
    ({"messages": [{"role": "assistant", "tool_calls": []}]}, "messages[0].tool_calls"),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "a", "type": "x"}]}]},
        "messages[0].tool_calls[0].type",
    ),
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
    (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": ""}] * 65}]},
        "messages[0].content",
    ),
    ({"messages": [{"role": "user", "content": "x" * ((1 << 20) + 1)}]}, "messages[0].content"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "text": ""}]}]},
        "messages[0].content[0].type",
    ),
    ({"stream": 1}, "stream"),
    ({"stream": "true"}, "stream"),
    ({"stream_options": True}, "stream_options"),
    ({"max_tokens": True}, "max_tokens"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": (1 << 20) + 1}, "max_tokens"),
    ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
    ({"temperature": True}, "temperature"),
    ({"temperature": "1"}, "temperature"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": 10**400}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_p": 1.1}, "top_p"),
    ({"seed": True}, "seed"),
    ({"seed": -1}, "seed"),
    ({"seed": 1 << 32}, "seed"),
    ({"stop": ""}, "stop"),
    ({"stop": "x" * 257}, "stop"),
    ({"stop": ["a"] * 5}, "stop"),
    ({"stop": ["a", ""]}, "stop[1]"),
    ({"n": 0}, "n"),
    ({"n": 9}, "n"),
    ({"n": True}, "n"),
    ({"frequency_penalty": 2.5}, "frequency_penalty"),
    ({"presence_penalty": -2.5}, "presence_penalty"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"repetition_penalty": 2.5}, "repetition_penalty"),
    ({"top_k": -1}, "top_k"),
    ({"top_k": 1.5}, "top_k"),
    ({"min_p": 1.5}, "min_p"),
    ({"logit_bias": {"a": 1}}, "logit_bias"),
    ({"logit_bias": {"-1": 1}}, "logit_bias"),
    ({"logit_bias": {"1": 101}}, "logit_bias"),
    ({"logit_bias": {"1": "2"}}, "logit_bias"),
    ({"logit_bias": {str(token): 0 for token in range(1025)}}, "logit_bias"),
    ({"logprobs": 1}, "logprobs"),
    ({"top_logprobs": 21}, "top_logprobs"),
    ({"top_logprobs": -1}, "top_logprobs"),
    ({"response_format": {"type": "xml"}}, "response_format.type"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}},
        "response_format.json_schema.name",
    ),
    ({"tools": []}, "tools"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}] * 129}, "tools"),
    ({"tool_choice": "maybe"}, "tool_choice"),
    ({"parallel_tool_calls": "yes"}, "parallel_tool_calls"),
]


def parse(**parameters: object) -> ChatRequest:
    return parse_chat_request(json.dumps(BASE | parameters).encode())


def refusal(body: bytes) -> ApiError:
    with pytest.raises(ApiError) as raised:
        parse_chat_request(body)
    return raised.value


def refused(**parameters: object) -> ApiError:
    return refusal(json.dumps(BASE | parameters).encode())


def test_a_request_with_everything() -> None:
    request = parse(
        stream=True,
        stream_options={"include_usage": True},
        max_tokens=5,
        max_completion_tokens=6,
        temperature=0,
        top_p=0.5,
        seed=0,
        stop=["a", "b"],
        n=1,
    )
    assert (request.stream, request.max_tokens, request.max_completion_tokens) == (True, 5, 6)
    assert (request.temperature, request.top_p, request.seed, request.n) == (0.0, 0.5, 0, 1)
    assert request.stream_options is not None
    assert request.stream_options.include_usage


@pytest.mark.parametrize("name", sorted(set(ChatRequest.__struct_fields__) - set(BASE)))
def test_an_optional_parameter_may_be_null(name: str) -> None:
    assert parse(**{name: None}) == parse()


@pytest.mark.parametrize(
    ("stop", "expected"),
    [(None, ()), ("end", ("end",)), ([], ()), (["a", "b"], ("a", "b")), ("x" * 256, ("x" * 256,))],
)
def test_forms_of_stop(stop: object, expected: tuple[str, ...]) -> None:
    assert parse(stop=stop).stops == expected


@pytest.mark.parametrize(
    ("role", "turn"),
    [
        ("system", Turn(Role.SYSTEM, "hello")),
        ("developer", Turn(Role.SYSTEM, "hello")),
        ("user", Turn(Role.USER, "hello")),
        ("assistant", Turn(Role.ASSISTANT, "hello")),
    ],
)
def test_messages_are_turns(role: str, turn: Turn) -> None:
    request = parse(messages=[{"role": role, "content": "hello"}])
    assert request.messages[0].turn() == turn


def test_parts_of_a_message_are_joined() -> None:
    parts = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
    assert parse(messages=[{"role": "user", "content": parts}]).messages[0].turn() == Turn(
        Role.USER, "one two"
    )


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"user": "me"}, "user"),
        ({"service_tier": "auto"}, "service_tier"),
        ({"response_format": {"type": "text", "schema": {}}}, "response_format.schema"),
        ({"stream_options": {"obfuscate": True}}, "stream_options.obfuscate"),
        ({"messages": [*MESSAGES, {"role": "user", "content": "?", "name": "n"}]}, "messages[1].name"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "?", "cache": 1}]}]},
            "messages[0].content[0].cache",
        ),
    ],
)
def test_a_parameter_that_is_not_served_is_named_with_its_path(
    parameters: dict[str, object], param: str
) -> None:
    error = refused(**parameters)
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", param)
    assert str(error) == f"the parameter {param} is not supported"


@pytest.mark.parametrize(("parameters", "param"), WRONG)
def test_a_value_that_is_wrong_is_named_with_its_path(parameters: dict[str, object], param: str) -> None:
    error = refused(**parameters)
    assert (error.status, error.code, error.param) == (400, "invalid_value", param)
    assert str(error).startswith(f"{param}: ")
    assert "`$" not in str(error)


@pytest.mark.parametrize("missing", BASE)
def test_a_required_parameter_that_is_missing_is_named(missing: str) -> None:
    body = {name: value for name, value in BASE.items() if name != missing}
    error = refusal(json.dumps(body).encode())
    assert error.code == "invalid_value"
    assert missing in str(error)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "01", "+1", "0x1", "1."])
def test_numbers_that_json_does_not_have_are_refused(number: str) -> None:
    body = json.dumps(BASE)[:-1] + f', "temperature": {number}}}'
    assert refusal(body.encode()).code == "invalid_json"


@pytest.mark.parametrize(
    "text", [b"\\ud800", b"\\udc00", b"\\ud800\\ud800", b"\xff", b"\xed\xa0\x80", b"\n", b"\\x41"]
)
@pytest.mark.parametrize("place", [b'"?"', b'"m"', b'"model"'])
def test_strings_that_are_no_text_are_refused(place: bytes, text: bytes) -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"?"}]}'
    assert refusal(body.replace(place, b'"' + text + b'"')).code == "invalid_json"


def test_surrogate_pairs_are_one_character() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"\\ud83c\\udfbb"}]}'
    assert parse_chat_request(body).messages[0].content == "🎻"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xef\xbb\xbf{}", b"nul", json.dumps(BASE).encode() + b"x", b"'a'"]
)
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    assert refusal(body).code == "invalid_json"


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"[" * 100_000, b'{"messages":' * 50_000])
def test_a_body_of_another_shape_is_refused(body: bytes) -> None:
    error = refusal(body)
    assert (error.status, error.code) == (400, "invalid_value")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=100))
def test_any_bytes_are_answered_with_an_error_document(body: bytes) -> None:
    document = json.loads(refusal(body).body)
    assert set(document["error"]) == {"message", "type", "param", "code"}


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_an_unknown_parameter_of_any_name_has_an_error_document(name: str) -> None:
    document = json.loads(refused(**{f"?{name}": 1}).body)
    assert document["error"]["code"] == "unsupported_parameter"


def test_nothing_of_a_conversation_is_in_its_text_form() -> None:
    body = b'{"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "secret"}]}]}'
    parsed = parse_chat_request(body)
    assert parsed.messages[0].turn().content == "secret"
    for shown in (
        parsed,
        parsed.messages,
        parsed.messages[0],
        parsed.messages[0].content,
        parsed.messages[0].turn(),
    ):
        assert "secret" not in repr(shown)
