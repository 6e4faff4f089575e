# SPDX-License-Identifier: Apache-2.0
"""Completions, embeddings, models and paths, with an engine that says what the test wants."""

import json
import struct
from collections.abc import Sequence
from dataclasses import replace

import pytest
from openai.types import Completion, CreateEmbeddingResponse, Model

from enclave.engine.protocol import (
    Begun,
    Embed,
    Embedded,
    Finished,
    FinishReason,
    Generate,
    Order,
    PlainText,
    Rejected,
    Rejection,
    Report,
    Text,
    TokenList,
)
from enclave.session import Problem, Request
from tests.fakes.engine import KeptReply, answered, post
from tests.unit.enclave.api_support import MANIFEST, Document, chosen, error_of, events, said

COMPLETIONS, EMBEDDINGS = "/v1/completions", "/v1/embeddings"


def ask(reports: Sequence[Report], body: Document) -> tuple[KeptReply, Order]:
    """The reply to a request for a completion, and what the engine was told."""
    reply, told = answered(MANIFEST, post(COMPLETIONS, {"model": "m", "prompt": "?"} | body), reports)
    assert isinstance(told[0], Generate)
    return reply, told[0].order


def embed(report: Report, body: Document) -> tuple[KeptReply, Embed]:
    """The reply to a request for vectors, and what the engine was told."""
    reply, told = answered(MANIFEST, post(EMBEDDINGS, {"model": "m", "input": "?"} | body), [report])
    assert isinstance(told[0], Embed)
    return reply, told[0]


def refused(path: str, body: Document) -> tuple[str | None, str | None]:
    """Parameter and code of the error for a request that never reaches the engine."""
    reply, told = answered(MANIFEST, post(path, {"model": "m"} | body), [])
    assert told == []
    error = error_of(reply.body)
    return error.param, error.code


def chunks_of(reply: KeptReply) -> list[Completion]:
    """The events of a stream, as OpenAI's own package reads them."""
    return [Completion.construct(None, **event) for event in events(reply.body)]


def test_a_whole_completion() -> None:
    reply, order = ask(said("a", "b"), {})
    completion = Completion.model_validate_json(reply.body)
    assert completion.id.startswith("cmpl-")
    assert completion.object == "text_completion"
    assert [choice.to_dict() for choice in completion.choices] == [
        {"index": 0, "text": "ab", "logprobs": None, "finish_reason": "stop"}
    ]
    assert completion.usage is not None
    assert completion.usage.total_tokens == 8
    assert (order.prompt, order.max_tokens) == (PlainText("?"), 16)


def test_a_streamed_completion() -> None:
    body: Document = {"stream": True, "stream_options": {"include_usage": True}, "echo": False}
    reply, _ = ask(said("a", "b"), body)
    chunks = chunks_of(reply)
    assert [chunk.choices[0].text for chunk in chunks[:-1]] == ["a", "b", ""]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert reply.body.endswith(b"data: [DONE]\n\n")


def test_probabilities_of_a_completion_have_offsets() -> None:
    first, second = chosen(b"He", (b"He", -0.5), (b"Sh", -1.0)), chosen(b"y")
    reports: list[Report] = [
        Begun(0, 1),
        Text(0, "He", 0, (first,)),
        Text(0, "y", 0, (second,)),
        Finished(0, FinishReason.LENGTH, 2),
    ]
    reply, order = ask(reports, {"logprobs": 2})
    assert order.top_logprobs == 2
    logprobs = Completion.model_validate_json(reply.body).choices[0].logprobs
    assert logprobs is not None
    assert logprobs.to_dict() == {
        "tokens": ["He", "y"],
        "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [{"He": -0.5, "Sh": -1.0}, {}],
        "text_offset": [0, 2],
    }
    streamed, _ = ask(reports, {"logprobs": 2, "stream": True})
    found = [chunk.choices[0].logprobs for chunk in chunks_of(streamed)]
    assert [each.text_offset if each else None for each in found] == [[0], [2], []]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a", PlainText("a")),
        (["a"], PlainText("a")),
        ([1, 2], TokenList((1, 2))),
        ([[1, 2]], TokenList((1, 2))),
    ],
)
def test_forms_of_a_prompt(prompt: object, expected: object) -> None:
    assert ask(said("x"), {"prompt": prompt})[1].prompt == expected


def test_several_prompts_are_answered_in_their_order() -> None:
    body: Document = {"model": "m", "prompt": ["a", [7, 8]], "n": 2, "seed": 1}
    reports = [*said("x"), *said("y", choice=1)[1:]]
    reply, told = answered(MANIFEST, post(COMPLETIONS, body), reports)
    prompts = [(each.order.prompt, each.order.choices) for each in told if isinstance(each, Generate)]
    assert prompts == [(PlainText("a"), 2), (TokenList((7, 8)), 2)]
    completion = Completion.model_validate_json(reply.body)
    assert [(choice.index, choice.text) for choice in completion.choices] == [
        *[(0, "x"), (1, "y")],
        *[(2, "x"), (3, "y")],
    ]
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (10, 12)
    assert reply.accounts[0].finish == "stop stop stop stop"
    streamed, _ = answered(MANIFEST, post(COMPLETIONS, body | {"stream": True}), reports)
    texts = [(chunk.choices[0].index, chunk.choices[0].text) for chunk in chunks_of(streamed)]
    assert [text for text in texts if text[1]] == [(0, "x"), (1, "y"), (2, "x"), (3, "y")]
    assert streamed.accounts == reply.accounts


def test_one_prompt_that_is_not_taken_refuses_all_and_cancels_the_others() -> None:
    body: Document = {"model": "m", "prompt": ["a", "b"], "stream": True}
    reply, told = answered(MANIFEST, post(COMPLETIONS, body), [Rejected(0, Rejection.PROMPT_EMPTY)])
    assert (reply.status, error_of(reply.body).param) == (400, "prompt")
    assert sum(isinstance(each, Generate) for each in told) == 2


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (COMPLETIONS, {"prompt": ["a"] * 17}, "prompt"),
        (COMPLETIONS, {"prompt": ["a", 1]}, "prompt"),
        (COMPLETIONS, {"prompt": []}, "prompt"),
        (COMPLETIONS, {"prompt": [-1]}, "prompt"),
        (COMPLETIONS, {}, "prompt"),
        (COMPLETIONS, {"prompt": "a", "echo": True}, "echo"),
        (COMPLETIONS, {"prompt": "a", "suffix": "b"}, "suffix"),
        (COMPLETIONS, {"prompt": "a", "best_of": 2}, "best_of"),
        (COMPLETIONS, {"prompt": "a", "logprobs": 21}, "logprobs"),
        (COMPLETIONS, {"prompt": "a", "stream_options": {}}, "stream_options"),
        (EMBEDDINGS, {"input": []}, "input"),
        (EMBEDDINGS, {"input": ["a", 1]}, "input"),
        (EMBEDDINGS, {"input": ["a"] * 257}, "input"),
        (EMBEDDINGS, {"input": "a", "encoding_format": "int8"}, "encoding_format"),
        (EMBEDDINGS, {"input": "a", "dimensions": 0}, "dimensions"),
        (EMBEDDINGS, {"input": "a", "user": "me"}, "user"),
    ],
)
def test_parameters_that_do_not_fit_are_named(path: str, body: Document, param: str) -> None:
    found, _ = refused(path, body)
    assert found is not None
    assert found.partition("[")[0] == param


@pytest.mark.parametrize("path", [COMPLETIONS, EMBEDDINGS])
def test_another_model_is_not_here(path: str) -> None:
    content: Document = (
        {"model": "gpt-9", "prompt": "a"} if path == COMPLETIONS else {"model": "gpt-9", "input": "a"}
    )
    reply, _ = answered(MANIFEST, post(path, content), [])
    assert (reply.status, error_of(reply.body).code) == (404, "model_not_found")


def test_what_the_engine_refuses_names_the_parameter() -> None:
    for prompt, param in (("a", "logit_bias"), ([1], "prompt")):
        reply, _ = ask([Rejected(0, Rejection.TOKEN_UNKNOWN)], {"prompt": prompt})
        assert error_of(reply.body).param == param
    reply, _ = embed(Rejected(0, Rejection.PROMPT_TOO_LONG, 99), {})
    assert (reply.status, error_of(reply.body).param) == (400, "input")
    reply, _ = embed(Rejected(0, Rejection.BUSY, 0, 7), {})
    assert (reply.status, reply.retry_after_seconds) == (429, 7)


def test_vectors_in_both_forms() -> None:
    vectors = (struct.pack("<2f", 0.5, -0.25), struct.pack("<2f", 1.0, 0.0))
    reply, told = embed(Embedded(0, vectors, 4), {"input": ["a", "b"], "dimensions": 2})
    assert told.texts == (PlainText("a"), PlainText("b"))
    answer = CreateEmbeddingResponse.model_validate_json(reply.body)
    assert [item.embedding for item in answer.data] == [[0.5, -0.25], [1.0, 0.0]]
    assert [item.index for item in answer.data] == [0, 1]
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (4, 4)
    coded, _ = embed(Embedded(0, vectors[:1], 4), {"input": [1, 2], "encoding_format": "base64"})
    assert json.loads(coded.body)["data"][0]["embedding"] == "AAAAPwAAgL4="
    _, tokens = embed(Embedded(0, vectors, 4), {"input": [[1], [2, 3]]})
    assert tokens.texts == (TokenList((1,)), TokenList((2, 3)))
    wrong, _ = embed(Embedded(0, vectors, 4), {"dimensions": 3})
    assert (wrong.status, error_of(wrong.body).param) == (400, "dimensions")


def test_an_engine_that_ends_while_it_embeds() -> None:
    reply, _ = answered(MANIFEST, post(EMBEDDINGS, {"model": "m", "input": "a"}), [], gone=True)
    assert (reply.status, error_of(reply.body).code) == (500, "engine_stopped")


def get(path: str, method: str = "GET") -> KeptReply:
    return answered(MANIFEST, Request(method, path, {}, b""), [])[0]


def test_the_model_is_listed_with_context_and_digest() -> None:
    expected = {
        "id": "m",
        "object": "model",
        "created": 0,
        "owned_by": "sottovoce",
        "context_length": 64,
        "sha256": "00" * 32,
        "title": "Model",
        "licence": "MIT",
        "architecture": "llama",
        "quantisation": "Q4_0",
        "template_sha256": "00" * 32,
        "tools": "none",
    }
    assert Model.model_validate_json(get("/v1/models/m").body).to_dict() == expected
    assert json.loads(get("/v1/models").body) == {"object": "list", "data": [expected]}
    assert get("/v1/models/gpt-9").status == 404
    bare = replace(MANIFEST, template=None)
    reply, _ = answered(bare, Request("GET", "/v1/models/m", {}, b""), [])
    assert json.loads(reply.body)["template_sha256"] is None


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/models", 405),
        ("DELETE", "/v1/models/m", 405),
        ("GET", "/v1/chat/completions", 405),
        ("GET", "/v1/responses", 405),
        ("GET", "/", 404),
        ("POST", "/v1/files", 404),
        ("GET", "/v1/modelsx", 404),
        ("POST", "/v1/embeddings", 415),
    ],
)
def test_paths_and_methods(method: str, path: str, status: int) -> None:
    assert get(path, method).status == status


@pytest.mark.parametrize("problem", Problem)
def test_what_was_wrong_with_the_message_is_said(problem: Problem) -> None:
    reply, told = answered(MANIFEST, problem, [])
    assert (reply.status, error_of(reply.body).code, told) == (problem.value, problem.name.lower(), [])
