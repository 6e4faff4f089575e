# SPDX-License-Identifier: Apache-2.0
"""Chat completions in the shape of the OpenAI API, with an engine that says what the test wants."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest
from openai.types import ErrorObject
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from enclave.api import errors
from enclave.api.errors import ApiError
from enclave.engine.protocol import (
    Begun,
    Conversation,
    Finished,
    FinishReason,
    Generate,
    Order,
    Rejected,
    Rejection,
    Report,
    Role,
    Sampling,
    Text,
    Turn,
)
from models.manifest import Manifest, ToolFormat
from tests.fakes.engine import KeptReply, answered, post
from tests.unit.enclave.api_support import (
    MANIFEST,
    USER,
    WITH_TOOLS,
    Document,
    chosen,
    error_of,
    events,
    said,
)

CHAT = "/v1/chat/completions"
PARAMETERS: Document = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
WEATHER: Document = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Weather of a place",
        "parameters": PARAMETERS,
    },
}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Ulm"}}\n</tool_call>'


def ask(
    reports: Sequence[Report],
    body: Document | None = None,
    *,
    manifest: Manifest = MANIFEST,
    gone: bool = False,
) -> tuple[KeptReply, Order]:
    """The reply to a request, and what the engine was told."""
    request = post(CHAT, {"model": "m", "messages": USER} | (body or {}))
    reply, told = answered(manifest, request, reports, gone=gone)
    assert isinstance(told[0], Generate)
    return reply, told[0].order


def whole(
    reports: Sequence[Report], body: Document | None = None, *, manifest: Manifest = MANIFEST
) -> ChatCompletion:
    """A whole answer, as OpenAI's own package reads it."""
    reply, _ = ask(reports, body, manifest=manifest)
    assert (reply.status, reply.content_type, reply.ended) == (200, "application/json", True)
    return ChatCompletion.model_validate_json(reply.body)


def chunks(reply: KeptReply) -> list[ChatCompletionChunk]:
    """The events of a stream, as OpenAI's own package reads them."""
    assert (reply.status, reply.content_type, reply.ended) == (200, "text/event-stream", True)
    return [ChatCompletionChunk.model_validate(event) for event in events(reply.body)]


def refused(body: Document, manifest: Manifest = MANIFEST) -> tuple[int, ErrorObject]:
    """The error of a request that never reaches the engine."""
    reply, told = answered(manifest, post(CHAT, {"model": "m", "messages": USER} | body), [])
    assert told == []
    return reply.status, error_of(reply.body)


@pytest.mark.parametrize(
    ("reason", "shown"),
    [(FinishReason.STOP, "stop"), (FinishReason.LENGTH, "length"), (FinishReason.DEADLINE, "length")],
)
def test_a_whole_answer(reason: FinishReason, shown: str) -> None:
    answer = whole(said("hello", "\n🎻", reason=reason))
    assert answer.id.startswith("chatcmpl-")
    assert answer.to_dict() == {
        "id": answer.id,
        "created": answer.created,
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hello\n🎻"},
                "logprobs": None,
                "finish_reason": shown,
            }
        ],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 2},
        },
    }


def test_a_streamed_answer() -> None:
    reply, _ = ask(said("a\n", "b"), {"stream": True})
    assert reply.body.endswith(b"data: [DONE]\n\n")
    assert [chunk.choices[0].delta.to_dict() for chunk in chunks(reply)] == [
        {"role": "assistant", "content": ""},
        {"content": "a\n"},
        {"content": "b"},
        {},
    ]
    assert [chunk.choices[0].finish_reason for chunk in chunks(reply)] == [None, None, None, "stop"]
    assert {chunk.object for chunk in chunks(reply)} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in chunks(reply)}) == 1


def test_usage_has_an_event_of_its_own_without_choices() -> None:
    reply, _ = ask(said("a"), {"stream": True, "stream_options": {"include_usage": True}})
    last = chunks(reply)[-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.to_dict() == {
        "prompt_tokens": 5,
        "completion_tokens": 3,
        "total_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 2},
    }
    plain, _ = ask(said("a"), {"stream": True, "stream_options": {"include_usage": False}})
    assert all(chunk.choices for chunk in chunks(plain))


def test_every_parameter_reaches_the_engine() -> None:
    _, order = ask(
        [*said("x"), Finished(0, FinishReason.STOP, 1, 1)],
        {
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"role": "assistant", "content": "c", "refusal": None},
            ],
            "temperature": 0.5,
            "top_p": 0.25,
            "seed": 7,
            "frequency_penalty": -0.5,
            "presence_penalty": 1.5,
            "repetition_penalty": 1.25,
            "logit_bias": {"12": -100, "7": 3},
            "top_k": 40,
            "min_p": 0.125,
            "stop": ["a", "b"],
            "n": 2,
            "max_completion_tokens": 9,
            "max_tokens": 5,
            "logprobs": True,
            "top_logprobs": 4,
            "response_format": {"type": "json_object"},
        },
    )
    assert order.prompt == Conversation(
        (Turn(Role.SYSTEM, "Be brief."), Turn(Role.USER, "ab"), Turn(Role.ASSISTANT, "c"))
    )
    assert order.sampling == Sampling(
        temperature=0.5,
        top_p=0.25,
        seed=7,
        top_k=40,
        min_p=0.125,
        frequency_penalty=-0.5,
        presence_penalty=1.5,
        repeat_penalty=1.25,
        logit_bias=((7, 3.0), (12, -100.0)),
    )
    assert (order.max_tokens, order.stop, order.choices, order.top_logprobs) == (9, ("a", "b"), 2, 4)
    assert order.shape is not None
    assert json.loads(order.shape.schema) == {"type": "object"}


def test_defaults_change_nothing() -> None:
    _, order = ask(said("x"))
    assert order.sampling == Sampling(seed=order.sampling.seed)
    assert (order.max_tokens, order.stop, order.choices) == (64, (), 1)
    assert (order.top_logprobs, order.shape, order.session) == (None, None, b"")
    _, another = ask(said("x"))
    assert order.sampling.seed != another.sampling.seed


def test_several_choices_keep_apart() -> None:
    reports: list[Report] = [
        Begun(0, 5),
        Text(0, "a", 1),
        Text(0, "b", 0),
        Finished(0, FinishReason.STOP, 1, 0),
        Text(0, "c", 1),
        Finished(0, FinishReason.LENGTH, 2, 1),
    ]
    answer = whole(reports, {"n": 2})
    assert [choice.message.content for choice in answer.choices] == ["b", "ac"]
    assert [choice.finish_reason for choice in answer.choices] == ["stop", "length"]
    reply, _ = ask(reports, {"n": 2, "stream": True})
    shown = [(chunk.choices[0].index, chunk.choices[0].delta.to_dict()) for chunk in chunks(reply)]
    assert shown[2:] == [
        (1, {"content": "a"}),
        (0, {"content": "b"}),
        (0, {}),
        (1, {"content": "c"}),
        (1, {}),
    ]


def test_probabilities_of_tokens() -> None:
    held = Text(0, "", 0, (chosen(b"\xc3", (b"\xc3", -0.5), (b"x", -2.0)),))
    reports: list[Report] = [
        Begun(0, 5),
        held,
        Text(0, "é", 0, (chosen(b"\xa9"),)),
        Finished(0, FinishReason.STOP, 2),
    ]
    expected = [
        {
            "token": "\ufffd",
            "logprob": -0.5,
            "bytes": [0xC3],
            "top_logprobs": [
                {"token": "\ufffd", "logprob": -0.5, "bytes": [0xC3]},
                {"token": "x", "logprob": -2.0, "bytes": [120]},
            ],
        },
        {"token": "\ufffd", "logprob": -0.5, "bytes": [0xA9], "top_logprobs": []},
    ]
    logprobs = whole(reports, {"logprobs": True, "top_logprobs": 2}).choices[0].logprobs
    assert logprobs is not None
    assert logprobs.to_dict() == {"content": expected}
    reply, order = ask(reports, {"logprobs": True, "stream": True})
    assert order.top_logprobs == 0
    found = [chunk.choices[0].logprobs for chunk in chunks(reply)]
    shown = [None if each is None else each.to_dict() for each in found]
    assert shown == [None, {"content": expected[:1]}, {"content": expected[1:]}, None]


def test_a_schema_reaches_the_engine_as_it_is() -> None:
    schema = {"type": "object", "properties": {"é": {"enum": [1, 2]}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    _, order = ask(said("{}"), {"response_format": wanted})
    assert order.shape is not None
    assert json.loads(order.shape.schema) == schema
    assert (order.shape.before, order.shape.after) == ("", "")
    _, free = ask(said("x"), {"response_format": {"type": "text"}})
    assert free.shape is None


def test_a_tool_is_called_by_the_model() -> None:
    reports = said("Let me see. <tool", CALL[5:])
    answer = whole(reports, {"tools": [WEATHER]}, manifest=WITH_TOOLS).choices[0]
    assert (answer.message.content, answer.finish_reason) == ("Let me see. ", "tool_calls")
    assert answer.message.tool_calls is not None
    (call,) = answer.message.tool_calls
    assert call.id.startswith("call_")
    assert call.to_dict() == {
        "id": call.id,
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city":"Ulm"}'},
    }
    only = whole(said(CALL, CALL), {"tools": [WEATHER]}, manifest=WITH_TOOLS).choices[0].message
    assert (only.content, len(only.tool_calls or ())) == (None, 2)


def test_calls_in_the_forms_of_other_models() -> None:
    llama3 = replace(WITH_TOOLS, tools=ToolFormat.LLAMA3)
    written = '{"name": "weather", "parameters": {"city": "Ulm"}}'
    answer = whole(said(written), {"tools": [WEATHER], "parallel_tool_calls": False}, manifest=llama3)
    assert [call.to_dict()["function"] for call in answer.choices[0].message.tool_calls or ()] == [
        {"name": "weather", "arguments": '{"city":"Ulm"}'}
    ]
    _, order = ask(said(written), {"tools": [WEATHER], "tool_choice": "required"}, manifest=llama3)
    assert order.shape is not None
    assert (order.shape.before, order.shape.after) == ("", "")
    assert '"parameters":{' in order.shape.schema


def test_a_list_of_calls_cannot_be_cut_after_the_first() -> None:
    mistral = replace(WITH_TOOLS, tools=ToolFormat.MISTRAL)
    body: Document = {"tools": [WEATHER], "parallel_tool_calls": False}
    reply, told = answered(mistral, post(CHAT, {"model": "m", "messages": USER} | body), [])
    assert told == []
    error = error_of(reply.body)
    assert (error.param, error.code) == ("parallel_tool_calls", "unsupported_parameter")


def test_calls_in_a_stream_are_numbered() -> None:
    body: Document = {"tools": [WEATHER], "stream": True}
    reply, order = ask(said(CALL, "\n", CALL), body, manifest=WITH_TOOLS)
    assert isinstance(order.prompt, Conversation)
    assert [tool.name for tool in order.prompt.tools] == ["weather"]
    assert (order.shape, order.stop) == (None, ())
    calls = [call for chunk in chunks(reply) for call in chunk.choices[0].delta.tool_calls or ()]
    assert [call.index for call in calls] == [0, 1]
    assert len({call.id for call in calls}) == 2
    assert chunks(reply)[-1].choices[0].finish_reason == "tool_calls"


def test_one_call_is_enough_where_calls_shall_not_be_parallel() -> None:
    reports = said(CALL.removesuffix("</tool_call>"))
    body: Document = {"tools": [WEATHER], "parallel_tool_calls": False}
    _, order = ask(reports, body, manifest=WITH_TOOLS)
    assert order.stop == ("</tool_call>",)
    assert whole(reports, body, manifest=WITH_TOOLS).choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize("chosen_tool", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_demanded_call_is_held_to_its_schema(chosen_tool: object) -> None:
    _, order = ask(said(CALL), {"tools": [WEATHER], "tool_choice": chosen_tool}, manifest=WITH_TOOLS)
    assert order.shape is not None
    assert (order.shape.before, order.shape.after) == ("<tool_call>\n", "\n</tool_call>")
    assert json.loads(order.shape.schema) == {
        "anyOf": [
            {
                "type": "object",
                "properties": {"name": {"const": "weather"}, "arguments": PARAMETERS},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        ]
    }


def test_definitions_of_a_tool_move_to_where_references_look() -> None:
    definitions = {"Place": {"type": "string"}}
    parameters = {"type": "object", "properties": {"p": {"$ref": "#/$defs/Place"}}, "$defs": definitions}
    tools = [{"type": "function", "function": {"name": name, "parameters": parameters}} for name in "ab"]
    _, order = ask(said(CALL), {"tools": tools, "tool_choice": "required"}, manifest=WITH_TOOLS)
    assert order.shape is not None
    document = json.loads(order.shape.schema)
    assert document["$defs"] == definitions
    assert "$defs" not in document["anyOf"][0]["properties"]["arguments"]
    tools[1]["function"] = {"name": "b", "parameters": parameters | {"$defs": {"Place": {"type": "null"}}}}
    _, error = refused({"tools": tools, "tool_choice": "required"}, WITH_TOOLS)
    assert error.param == "tools[1].function.$defs"


def test_tools_that_shall_not_be_called_are_not_shown() -> None:
    body: Document = {"tools": [WEATHER], "tool_choice": "none"}
    _, order = ask(said(CALL), body, manifest=WITH_TOOLS)
    assert order.prompt == Conversation((Turn(Role.USER, "?"),))
    message = whole(said(CALL), body, manifest=WITH_TOOLS).choices[0].message
    assert (message.content, message.tool_calls) == (CALL, None)


def test_calls_and_their_outcome_go_back_to_the_model() -> None:
    called = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    messages = [
        *USER,
        {"role": "assistant", "content": None, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]
    _, order = ask(said("It rains."), {"tools": [WEATHER], "messages": messages}, manifest=WITH_TOOLS)
    assert isinstance(order.prompt, Conversation)
    assert order.prompt.turns[1].tool_calls[0].id == "call_1"
    assert order.prompt.turns[2] == Turn(Role.TOOL, "rain", tool_call_id="call_1")


UNFIT: list[tuple[Document, Manifest, str, str]] = [
    ({"tools": [WEATHER]}, MANIFEST, "tools", "unsupported_parameter"),
    ({"tool_choice": "required"}, MANIFEST, "tool_choice", "invalid_value"),
    ({"parallel_tool_calls": True}, WITH_TOOLS, "parallel_tool_calls", "invalid_value"),
    ({"tools": [WEATHER, WEATHER]}, WITH_TOOLS, "tools", "invalid_value"),
    (
        {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "x"}}},
        WITH_TOOLS,
        "tool_choice",
        "invalid_value",
    ),
    (
        {"tools": [WEATHER], "response_format": {"type": "json_object"}},
        WITH_TOOLS,
        "response_format",
        "invalid_value",
    ),
    (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
        WITH_TOOLS,
        "tools[0].function.parameters",
        "invalid_value",
    ),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": 1}}},
        MANIFEST,
        "response_format.json_schema.schema",
        "invalid_value",
    ),
    (
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": {"description": "x" * 70_000}},
            }
        },
        MANIFEST,
        "response_format.json_schema.schema",
        "invalid_value",
    ),
    ({"top_logprobs": 2}, MANIFEST, "top_logprobs", "invalid_value"),
    ({"top_logprobs": 2, "logprobs": False}, MANIFEST, "top_logprobs", "invalid_value"),
    ({"stream_options": {"include_usage": True}}, MANIFEST, "stream_options", "invalid_value"),
    ({"model": "gpt-9"}, MANIFEST, "model", "model_not_found"),
]


@pytest.mark.parametrize(("body", "manifest", "param", "code"), UNFIT)
def test_parameters_that_do_not_fit_are_named(
    body: Document, manifest: Manifest, param: str, code: str
) -> None:
    status, error = refused(body, manifest)
    assert (error.param, error.code) == (param, code)
    assert status == (404 if code == "model_not_found" else 400)


@pytest.mark.parametrize(
    ("rejection", "status", "param", "code"),
    [
        (Rejection.PROMPT_TOO_LONG, 400, "messages", "context_length_exceeded"),
        (Rejection.PROMPT_EMPTY, 400, "messages", "invalid_value"),
        (Rejection.TEMPLATE_REFUSED, 400, "messages", "invalid_value"),
        (Rejection.TOKEN_UNKNOWN, 400, "logit_bias", "invalid_value"),
        (Rejection.SCHEMA_REFUSED, 400, "response_format", "invalid_value"),
        (Rejection.BUSY, 429, None, "queue_full"),
        (Rejection.DEADLINE, 503, None, "deadline_exceeded"),
    ],
)
def test_what_the_engine_refuses_is_said_before_a_stream_begins(
    rejection: Rejection, status: int, param: str | None, code: str
) -> None:
    for stream in (False, True):
        reply, _ = ask([Rejected(0, rejection, 70, 4)], {"stream": stream})
        error = error_of(reply.body)
        assert (reply.status, error.param, error.code) == (status, param, code)
        assert reply.content_type == "application/json"
        assert reply.retry_after_seconds == {429: 4, 503: 1}.get(status, 0)
        if rejection is Rejection.PROMPT_TOO_LONG:
            assert "has 70 tokens and leaves no room in a context of 64" in error.message


def test_an_engine_that_ends_is_told_of_whole_and_in_a_stream() -> None:
    reply, _ = ask([Begun(0, 5), Text(0, "a")], gone=True)
    assert (reply.status, error_of(reply.body).code) == (500, "engine_stopped")
    assert reply.retry_after_seconds == 1
    reply, _ = ask([Begun(0, 5), Text(0, "a")], {"stream": True}, gone=True)
    assert (reply.status, reply.ended) == (200, True)
    assert events(reply.body)[-1] == {"error": errors.engine_failed().document}
    assert b"[DONE]" not in reply.body


def test_identity_is_the_token_or_else_the_session_or_else_nobody_twice() -> None:
    def identity(session: bytes = b"", authorization: str | None = None) -> bytes:
        headers = {} if authorization is None else {"authorization": authorization}
        request = post(CHAT, {"model": "m", "messages": USER}, session=session, headers=headers)
        _, told = answered(MANIFEST, request, said("x"))
        assert isinstance(told[0], Generate)
        assert told[0].order.session == session
        return told[0].order.identity

    alice, bob = f"Bearer {'a' * 22}", f"bearer {'b' * 22}"
    session = b"s" * 16
    assert identity(b"", alice) == identity(session, alice)
    everybody = {identity(b"", alice), identity(b"", bob), identity(session), identity(), identity()}
    assert len(everybody) == 5
    assert identity(session) == identity(session) == identity(session, "Bearer -")


@pytest.mark.parametrize(
    ("error", "kind", "retry_after_seconds"),
    [
        (errors.busy(), "invalid_request_error", 1),
        (errors.engine_failed(), "server_error", 1),
        (ApiError(400, "no", code="invalid_value", param="n"), "invalid_request_error", 0),
    ],
)
def test_errors_are_those_of_the_api(error: ApiError, kind: str, retry_after_seconds: int) -> None:
    assert json.loads(error.body) == {
        "error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}
    }
    assert error.retry_after_seconds == retry_after_seconds
