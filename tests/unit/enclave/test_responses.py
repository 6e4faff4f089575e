# SPDX-License-Identifier: Apache-2.0
"""Responses in the shape of the OpenAI API, with an engine that says what the test wants."""

from collections.abc import Sequence

import pytest
from openai.types import ErrorObject
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
)

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
    Text,
    ToolCall,
    Turn,
)
from models.manifest import Manifest
from tests.fakes.engine import KeptReply, answered, post
from tests.unit.enclave.api_support import MANIFEST, WITH_TOOLS, Document, chosen, error_of, events, said

RESPONSES = "/v1/responses"
TOOL: Document = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}}
CALL = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
LOGPROBS = "message.output_text.logprobs"


def ask(
    reports: Sequence[Report],
    body: Document | None = None,
    *,
    manifest: Manifest = MANIFEST,
    gone: bool = False,
) -> tuple[KeptReply, Order]:
    """The reply to a request, and what the engine was told."""
    request = post(RESPONSES, {"model": "m", "input": "?", "store": False} | (body or {}))
    reply, told = answered(manifest, request, reports, gone=gone)
    assert isinstance(told[0], Generate)
    return reply, told[0].order


def refused(body: Document, manifest: Manifest = MANIFEST) -> ErrorObject:
    """The error of a request that never reaches the engine."""
    request = post(RESPONSES, {"model": "m", "input": "?", "store": False} | body)
    reply, told = answered(manifest, request, [])
    assert told == []
    return error_of(reply.body)


def turns(order: Order) -> tuple[Turn, ...]:
    assert isinstance(order.prompt, Conversation)
    return order.prompt.turns


def test_a_whole_response() -> None:
    reply, order = ask(said("a", "b"), {"instructions": "Be brief.", "temperature": 0.5, "top_p": 0.5})
    response = Response.model_validate_json(reply.body)
    assert (response.status, response.output_text, response.error) == ("completed", "ab", None)
    assert (response.temperature, response.top_p, response.instructions) == (0.5, 0.5, "Be brief.")
    assert response.usage is not None
    assert response.usage.to_dict() == {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 8,
    }
    assert turns(order) == (Turn(Role.SYSTEM, "Be brief."), Turn(Role.USER, "?"))
    assert (order.sampling.temperature, order.sampling.top_p, order.max_tokens) == (0.5, 0.5, 64)


def test_a_response_that_was_cut_is_incomplete() -> None:
    reply, order = ask(said("a", reason=FinishReason.LENGTH), {"max_output_tokens": 3})
    response = Response.model_validate_json(reply.body)
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"
    assert order.max_tokens == 3


def test_a_streamed_response() -> None:
    reply, _ = ask(said("a", "b"), {"stream": True})
    documents = events(reply.body)
    assert [document["type"] for document in documents] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [document["sequence_number"] for document in documents] == list(range(10))
    last = ResponseCompletedEvent.model_validate(documents[-1]).response
    assert last.output_text == "ab"
    whole, _ = ask(said("a", "b"))
    assert [type(item) for item in last.output] == [
        type(item) for item in Response.model_validate_json(whole.body).output
    ]
    assert reply.body.startswith(b"event: response.created\ndata: {")


def test_calls_stand_between_messages() -> None:
    reports = said("Wait. ", CALL, "\n", CALL)
    reply, order = ask(reports, {"tools": [TOOL]}, manifest=WITH_TOOLS)
    message, first, second = Response.model_validate_json(reply.body).output
    assert isinstance(message, ResponseOutputMessage)
    assert isinstance(first, ResponseFunctionToolCall)
    assert isinstance(second, ResponseFunctionToolCall)
    assert (first.name, first.arguments) == ("f", "{}")
    assert first.call_id != second.call_id
    assert isinstance(order.prompt, Conversation)
    assert [tool.name for tool in order.prompt.tools] == ["f"]
    streamed, _ = ask(reports, {"tools": [TOOL], "stream": True}, manifest=WITH_TOOLS)
    kinds = [str(document["type"]) for document in events(streamed.body)]
    assert kinds.count("response.function_call_arguments.done") == 2
    assert kinds.index("response.output_text.done") < kinds.index("response.function_call_arguments.delta")


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "f"}])
def test_a_demanded_call_is_held_to_its_schema(choice: object) -> None:
    _, order = ask(said(CALL), {"tools": [TOOL], "tool_choice": choice}, manifest=WITH_TOOLS)
    assert order.shape is not None
    assert order.shape.before == "<tool_call>\n"


def test_items_become_messages() -> None:
    items: list[Document] = [
        {"role": "developer", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "b", "annotations": [], "logprobs": []}],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        {"role": "assistant", "content": "It rains."},
    ]
    _, order = ask(said("x"), {"input": items})
    assert turns(order) == (
        Turn(Role.SYSTEM, "Be brief."),
        Turn(Role.USER, "a"),
        Turn(Role.ASSISTANT, "b", (ToolCall("c1", "f", "{}"), ToolCall("c2", "f", "{}"))),
        Turn(Role.TOOL, "rain", tool_call_id="c1"),
        Turn(Role.ASSISTANT, "It rains."),
    )


def test_probabilities_and_forms() -> None:
    body: Document = {"include": [LOGPROBS], "top_logprobs": 1, "text": {"format": {"type": "json_object"}}}
    reports: list[Report] = [
        Begun(0, 1),
        Text(0, "a", 0, (chosen(b"a", (b"a", -0.5)),)),
        Text(0, "", 0, (chosen(b"\xc3"),)),
        Finished(0, FinishReason.STOP, 2),
    ]
    reply, order = ask(reports, body)
    assert (order.top_logprobs, order.shape is None) == (1, False)
    message = Response.model_validate_json(reply.body).output[0]
    assert isinstance(message, ResponseOutputMessage)
    (part,) = message.content
    assert part.type == "output_text"
    assert [logprob.token for logprob in part.logprobs or ()] == ["a", "\ufffd"]
    schema: Document = {"type": "json_schema", "name": "x", "schema": {"type": "null"}, "strict": True}
    _, order = ask(said("null"), {"text": {"format": schema}})
    assert order.shape is not None
    assert order.shape.schema == '{"type":"null"}'


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"store": True}, "store"),
        ({"store": None}, "store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "c"}, "conversation"),
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"metadata": {}}, "metadata"),
        ({"input": []}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": "a", "name": "n"}]}, "input[0].name"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": ["a"]}, "input[0]"),
        ({"input": [{"type": "function_call", "call_id": "c"}]}, "input[0].name"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"include": ["file_search_call.results"]}, "include[0]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [TOOL]}, "tools"),
        ({"text": {"verbosity": "low"}}, "text.verbosity"),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": 1}}}, "text.format.schema"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
)
def test_what_is_not_served_is_named(body: Document, param: str) -> None:
    found = refused(body)
    assert found.param is not None
    assert found.param.replace("[...]", "[0]") == param


def test_a_form_and_tools_do_not_go_together() -> None:
    body: Document = {"tools": [TOOL], "text": {"format": {"type": "json_object"}}}
    assert refused(body, WITH_TOOLS).param == "text.format"


def test_failures_whole_and_in_a_stream() -> None:
    reply, _ = ask([Rejected(0, Rejection.PROMPT_TOO_LONG, 70)], {"stream": True})
    assert (reply.status, error_of(reply.body).param) == (400, "input")
    reply, _ = ask([Begun(0, 1), Text(0, "a")], {"stream": True}, gone=True)
    last = events(reply.body)[-1]
    assert (last["type"], last["code"], reply.ended) == ("error", "engine_stopped", True)
