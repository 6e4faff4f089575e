# SPDX-License-Identifier: Apache-2.0
"""Answers in the shape of the OpenAI API."""

import json

import pytest

from enclave.api import chat, errors
from enclave.api.chat import Completion
from enclave.api.errors import ApiError
from enclave.engine.protocol import Begun, Finished, FinishReason, Ready, Rejected, Rejection, Text

ENVELOPE = {"id", "object", "created", "model"}


def completed(reason: FinishReason = FinishReason.STOP) -> Completion:
    completion = Completion("m", 64, identifier="chatcmpl-1", created=1_790_000_000)
    assert completion.take(Begun(1, 5)) == ""
    assert completion.take(Text(1, "hello")) == "hello"
    assert completion.take(Finished(1, reason, 3)) == ""
    return completion


def event(data: bytes) -> dict[str, object]:
    assert data.startswith(b"data: ")
    assert data.endswith(b"\n\n")
    assert data.count(b"\n") == 2
    document: dict[str, object] = json.loads(data.removeprefix(b"data: "))
    return document


@pytest.mark.parametrize("reason", [FinishReason.STOP, FinishReason.LENGTH])
def test_a_whole_answer(reason: FinishReason) -> None:
    assert json.loads(completed(reason).document("hello\n🎻")) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "hello\n🎻"},
                "logprobs": None,
                "finish_reason": reason.value,
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    }


def test_a_piece_of_a_stream_has_no_reason_to_end() -> None:
    document = event(completed().event({"content": "a\nb"}))
    assert document["object"] == "chat.completion.chunk"
    assert document["choices"] == [
        {"index": 0, "delta": {"content": "a\nb"}, "logprobs": None, "finish_reason": None}
    ]


def test_the_last_piece_of_a_stream_says_why_it_ends() -> None:
    document = event(completed(FinishReason.LENGTH).event({}, last=True))
    assert document["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}]


def test_usage_has_an_event_of_its_own_without_choices() -> None:
    document = event(completed().usage_event())
    assert set(document) == ENVELOPE | {"choices", "usage"}
    assert document["choices"] == []
    assert document["usage"] == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


def test_all_pieces_of_a_stream_have_one_identifier() -> None:
    completion = Completion("m", 64)
    pieces = [completion.event({"content": "a"}), completion.event({}, last=True), completion.usage_event()]
    envelopes = [{name: event(piece)[name] for name in ("id", "created", "model")} for piece in pieces]
    assert envelopes[0] == envelopes[1] == envelopes[2]
    assert str(envelopes[0]["id"]).startswith("chatcmpl-")
    assert completion.identifier != Completion("m", 64).identifier


def test_the_end_of_a_stream_is_the_word_of_the_api() -> None:
    assert chat.DONE == b"data: [DONE]\n\n"


def test_a_prompt_that_is_too_long_is_told_with_its_size() -> None:
    with pytest.raises(ApiError, match="has 70 tokens and leaves no room in a context of 64") as raised:
        Completion("m", 64).take(Rejected(1, Rejection.PROMPT_TOO_LONG, 70))
    error = raised.value
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")


def test_messages_that_the_template_refuses_are_named() -> None:
    with pytest.raises(ApiError, match="chat template does not take these messages") as raised:
        Completion("m", 64).take(Rejected(1, Rejection.TEMPLATE_REFUSED, 0))
    assert (raised.value.status, raised.value.param) == (400, "messages")


def test_a_report_out_of_place_is_a_fault_of_the_engine() -> None:
    with pytest.raises(ApiError) as raised:
        Completion("m", 64).take(Ready(64, 1, "b1", {}))
    assert raised.value.status == 500


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
    assert event(chat.error_event(error)) == json.loads(error.body)
