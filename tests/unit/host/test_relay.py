# SPDX-License-Identifier: Apache-2.0
"""What the host passes on and what it says itself, without any connection."""

import json

import pytest

from host import relay
from wire import frames


def test_the_head_on_the_link_tells_method_path_and_content_type() -> None:
    encoded = relay.request_head("POST", "/ohttp", "message/ohttp-chunked-req")
    head = frames.RequestHeadReader().receive(encoded)
    assert head == frames.RequestHead("POST", "/ohttp", "message/ohttp-chunked-req")


def test_answers_of_the_enclave_are_passed_on_and_never_stored() -> None:
    outgoing = relay.enclave_answer(frames.AnswerHead(200, "application/ohttp-keys"))
    assert outgoing.status == 200
    assert outgoing.headers == (("content-type", "application/ohttp-keys"), ("cache-control", "no-store"))


def test_streamed_answers_ask_proxies_not_to_hold_them_back() -> None:
    headers = dict(relay.enclave_answer(frames.AnswerHead(200, "message/ohttp-chunked-res")).headers)
    assert headers["incremental"] == "?1"
    assert headers["x-accel-buffering"] == "no"


def test_an_enclave_that_is_not_available_is_to_be_tried_again() -> None:
    assert dict(relay.enclave_answer(frames.AnswerHead(503, "a/b")).headers)["retry-after"] == "2"
    assert "retry-after" not in dict(relay.enclave_answer(frames.AnswerHead(422, "a/b")).headers)


@pytest.mark.parametrize("problem", relay.Problem)
def test_problems_are_problem_documents(problem: relay.Problem) -> None:
    outgoing, document = relay.host_answer(problem), json.loads(problem.body())
    headers = dict(outgoing.headers)
    assert headers["content-type"] == "application/problem+json"
    assert headers["cache-control"] == "no-store"
    assert ("retry-after" in headers) == (problem.status == 503)
    assert document["status"] == outgoing.status == problem.status
    assert set(document) == {"type", "title", "status", "detail"}
    assert document["title"]
    assert document["detail"]


def test_the_enclave_is_reached_by_three_paths_only() -> None:
    assert relay.ROUTES == {
        "/.well-known/ohttp-gateway": ("GET", "POST"),
        "/.well-known/attested-ohttp": ("GET",),
        "/ohttp": ("POST",),
        "/.well-known/ohttp-gateway/s/{session}": ("POST",),
    }
