# SPDX-License-Identifier: Apache-2.0
"""bhttp-js against `wire.bhttp`: each reads what the other wrote, and both treat padding alike."""

import json
from collections.abc import Mapping
from typing import TypedDict

import pytest

from tests.conformance.javascript import javascript
from wire import bhttp
from wire.padding import padded_size
from wire.shaping import Frames, FrameShaper

AUTHORITY, PATH = "enclave.example", "/v1/chat/completions"
FIELDS = (("authorization", "Bearer secret"), ("content-type", "application/json"))
CONTENT = b'{"messages":[]}' * 10
REQUEST = bhttp.RequestHead("POST", "https", AUTHORITY, PATH, FIELDS)
RESPONSE = bhttp.ResponseHead(200, (("content-type", "text/event-stream"),))


class Decoded(TypedDict):
    """What bhttp-js made of a message; which keys there are depends on what was asked."""

    method: str
    url: str
    status: int
    fields: dict[str, str]
    content: str
    message: str
    refused: str


def by_bhttp_js(*work: Mapping[str, object]) -> list[Decoded]:
    """Have bhttp-js do some work."""
    results: list[Decoded] = json.loads(javascript("bhttp.mjs", work=work))
    return results


def pieces(content: bytes, size: int) -> bytes:
    """Content in pieces, as a stream sends it."""
    return b"".join(bhttp.encode_content(content[i : i + size]) for i in range(0, len(content), size))


@pytest.mark.parametrize("padding", [0, 1, 1024])
def test_our_requests_are_read_by_bhttp_js(padding: int) -> None:
    known = bhttp.encode_request(REQUEST, CONTENT)
    streamed = bhttp.encode_request_head(REQUEST) + pieces(CONTENT, 11) + bhttp.encode_end()
    for message in (known, streamed):
        [decoded] = by_bhttp_js({"kind": "request", "message": (message + bytes(padding)).hex()})
        assert (decoded["method"], decoded["url"]) == ("POST", f"https://{AUTHORITY}{PATH}")
        assert decoded["fields"] == dict(FIELDS)
        assert bytes.fromhex(decoded["content"]) == CONTENT


@pytest.mark.parametrize("size", [1, 100, 5000])
def test_our_responses_are_read_by_bhttp_js(size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    whole = len(bhttp.encode_response(RESPONSE, content))
    known = bhttp.encode_response(RESPONSE, content, padded_size=padded_size(whole))
    streamed = bhttp.encode_response_head(RESPONSE) + pieces(content, 300) + bhttp.encode_end() + bytes(512)
    for message in (known, streamed):
        [decoded] = by_bhttp_js({"kind": "response", "message": message.hex()})
        assert decoded["status"] == 200
        assert decoded["fields"] == dict(RESPONSE.fields)
        assert bytes.fromhex(decoded["content"]) == content


def test_a_shaped_stream_is_one_message_to_bhttp_js() -> None:
    events = [f'data: {{"text":"{"x" * length}"}}\n\n'.encode() for length in (1, 90, 479, 480, 481, 2000, 7)]
    shaper = FrameShaper(Frames())
    message = bhttp.encode_response_head(RESPONSE)
    for event in events:
        shaper.push(event)
        message += shaper.tick()
    shaper.finish()
    while not shaper.done:
        message += shaper.tick()
    [decoded] = by_bhttp_js({"kind": "response", "message": message.hex()})
    lines = bytes.fromhex(decoded["content"]).split(b"\n\n")
    assert [line for line in lines if line and not line.startswith(b":")] == [
        event.removesuffix(b"\n\n") for event in events
    ]


def test_padding_that_is_not_zero_is_refused_by_both() -> None:
    message = bhttp.encode_request(REQUEST, CONTENT) + b"\0\0\1"
    [decoded] = by_bhttp_js({"kind": "request", "message": message.hex()})
    assert "padding" in decoded["refused"]
    with pytest.raises(bhttp.MessageError):
        bhttp.RequestDecoder().receive(message)


def test_requests_of_bhttp_js_are_ours() -> None:
    described = {"url": f"https://{AUTHORITY}{PATH}", "method": "POST", "fields": dict(FIELDS)}
    [encoded] = by_bhttp_js({"kind": "encode request", **described, "content": CONTENT.hex()})
    decoder = bhttp.RequestDecoder()
    events = [*decoder.receive(bytes.fromhex(encoded["message"]) + bytes(64)), *decoder.end()]
    head = events[0]
    assert isinstance(head, bhttp.RequestHead)
    assert (head.method, head.scheme, head.authority) == ("POST", "https", AUTHORITY)
    assert head.path == PATH
    assert dict(head.fields) == dict(FIELDS)
    assert b"".join(event.data for event in events if isinstance(event, bhttp.Content)) == CONTENT


def test_responses_of_bhttp_js_are_ours() -> None:
    described = {"status": 201, "fields": dict(RESPONSE.fields)}
    [encoded] = by_bhttp_js({"kind": "encode response", **described, "content": CONTENT.hex()})
    decoder = bhttp.ResponseDecoder()
    events = [*decoder.receive(bytes.fromhex(encoded["message"])), *decoder.end()]
    assert events[0] == bhttp.ResponseHead(201, RESPONSE.fields)
    assert b"".join(event.data for event in events if isinstance(event, bhttp.Content)) == CONTENT
