# SPDX-License-Identifier: Apache-2.0
"""One exchange as the enclave sees it: splits, limits, and what is wrong inside."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.session import (
    MAX_CONTENT_BYTES,
    Aborted,
    Opened,
    OuterAnswer,
    Problem,
    Refused,
    Request,
    RequestReceiver,
)
from tests.fakes.courier import NOW, PROMPT, Ends, ends, read
from wire import bhttp, ohttp

HONEST = ends()


@pytest.fixture
def honest() -> Ends:
    """An enclave and its client."""
    return HONEST


def sealed(message: bytes, form: ohttp.Format = ohttp.Format.CHUNKED) -> tuple[ohttp.RequestSealer, bytes]:
    """A message sealed to the enclave's post-quantum key."""
    configuration = HONEST.verified.key_configurations[0]
    sealer = ohttp.RequestSealer(configuration, configuration.suites[0], form)
    if form is ohttp.Format.WHOLE:
        return sealer, sealer.seal(message, last=True)
    pieces = [message[start : start + 16384] for start in range(0, len(message), 16384)]
    return sealer, b"".join(sealer.seal(piece, last=False) for piece in pieces) + sealer.seal(b"", last=True)


def opened(message: bytes) -> Opened:
    """What the enclave makes of a message."""
    return HONEST.receive(sealed(message)[1])


def request(*fields: tuple[str, str], content: bytes = PROMPT) -> bytes:
    """A Binary HTTP request with these fields."""
    return bhttp.encode_request(bhttp.RequestHead("POST", "https", "llm.example", "/v1/x", fields), content)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 3000), max_size=8))
def test_any_split_of_the_bytes_is_the_same_request(cuts: list[int]) -> None:
    body = HONEST.exchange().body
    receiver = RequestReceiver(HONEST.ring, ohttp.CHUNKED_REQUEST)
    position = 0
    for cut in [*cuts, len(body)]:
        receiver.receive(body[position : position + cut], NOW)
        position += cut
    assert receiver.authenticated
    found = receiver.end().request
    assert isinstance(found, Request)
    assert (found.method, found.path, found.content) == ("POST", "/v1/chat/completions", PROMPT)


def test_an_unchunked_request_gets_an_unchunked_answer() -> None:
    sealer, body = sealed(request(), ohttp.Format.WHOLE)
    receiver = RequestReceiver(HONEST.ring, ohttp.REQUEST)
    receiver.receive(body, NOW)
    answer = receiver.end().answer
    assert answer.media_type == ohttp.RESPONSE
    assert answer.head(bhttp.ResponseHead(200, ())) == b""
    assert answer.content(b"data") == b""
    opener = sealer.response_opener()
    decoder = bhttp.ResponseDecoder()
    plain = b"".join(opener.receive(answer.end()) + opener.end())
    assert bhttp.Content(b"data") in decoder.receive(plain)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ((("content-encoding", "gzip"),), Problem.CONTENT_ENCODING),
        ((("transfer-encoding", "chunked"),), Problem.MALFORMED_MESSAGE),
        ((("content-length", "1"),), Problem.MALFORMED_MESSAGE),
        ((("host", "other.example"),), Problem.MALFORMED_MESSAGE),
        ((("content-type", "a"), ("content-type", "b")), Problem.MALFORMED_MESSAGE),
    ],
)
def test_fields_that_two_readers_could_read_in_two_ways_are_refused(
    fields: tuple[tuple[str, str], ...], problem: Problem
) -> None:
    assert opened(request(*fields)).request is problem


def test_fields_that_agree_are_accepted() -> None:
    fields = (("content-length", str(len(PROMPT))), ("host", "llm.example"), ("content-encoding", "identity"))
    assert isinstance(opened(request(*fields)).request, Request)


@pytest.mark.parametrize("message", [b"", b"\x05", request() + b"\1", request()[:9], b"\0" * 40])
def test_a_malformed_message_is_answered_inside(message: bytes) -> None:
    found = HONEST.receive(sealed(message)[1]) if message else None
    if found is not None:
        assert found.request is Problem.MALFORMED_MESSAGE


def test_content_above_the_limit_is_refused_inside() -> None:
    assert opened(request(content=b"x" * MAX_CONTENT_BYTES)).request is not Problem.CONTENT_TOO_LARGE
    assert opened(request(content=b"x" * (MAX_CONTENT_BYTES + 1))).request is Problem.CONTENT_TOO_LARGE


def test_a_body_above_the_limit_is_refused_outside(monkeypatch: pytest.MonkeyPatch, honest: Ends) -> None:
    monkeypatch.setattr(ohttp, "MAX_BODY_BYTES", 2000)
    receiver = RequestReceiver(honest.ring, ohttp.CHUNKED_REQUEST)
    with pytest.raises(Refused) as refused:
        receiver.receive(bytes([honest.exchange().body[0]]) + bytes(3000), NOW)
    assert refused.value.answer is OuterAnswer.TOO_LARGE
    authentic = RequestReceiver(honest.ring, ohttp.CHUNKED_REQUEST)
    authentic.receive(sealed(request(content=b"x" * 600))[1], NOW)
    assert authentic.authenticated
    with pytest.raises(Aborted):
        authentic.receive(bytes(500), NOW)


@pytest.mark.parametrize(
    "content_type", ["application/json", "message/ohttp-res", "", "message/ohttp-req; a=b"]
)
def test_other_media_types_are_refused(honest: Ends, content_type: str) -> None:
    with pytest.raises(Refused) as refused:
        RequestReceiver(honest.ring, content_type)
    assert refused.value.answer is OuterAnswer.UNSUPPORTED_MEDIA


def test_a_fault_after_authentication_ends_the_exchange_without_a_word(honest: Ends) -> None:
    _, body = sealed(request(content=b"x" * 40_000))
    receiver = RequestReceiver(honest.ring, ohttp.CHUNKED_REQUEST)
    with pytest.raises(Aborted):
        receiver.receive(body[:20_000] + b"\0" + body[20_001:], NOW)
    again = RequestReceiver(honest.ring, ohttp.CHUNKED_REQUEST)
    with pytest.raises(Refused):
        again.receive(body, NOW)


def test_of_two_copies_at_the_same_time_one_is_opened(honest: Ends) -> None:
    body = honest.exchange().body
    first, second = (RequestReceiver(honest.ring, ohttp.CHUNKED_REQUEST) for _ in range(2))
    first.receive(body[:1200], NOW)
    second.receive(body[:1200], NOW)
    first.receive(body[1200:], NOW)
    with pytest.raises(Refused):
        second.receive(body[1200:], NOW)
    assert isinstance(first.end().request, Request)


def test_a_whole_answer_is_padded(honest: Ends) -> None:
    sizes: set[int] = set()
    for content in (b"", b"yes", b"x" * 500):
        exchange = honest.exchange()
        body = honest.receive(exchange.body).answer.whole(bhttp.ResponseHead(200, ()), content)
        sizes.add(len(body))
        assert read(exchange, body) == (200, content)
    assert len(sizes) == 1


def test_a_whole_answer_to_an_unchunked_request_is_padded_too() -> None:
    sizes: set[int] = set()
    for content in (b"no", b"certainly, and here is why"):
        sealer, body = sealed(request(), ohttp.Format.WHOLE)
        receiver = RequestReceiver(HONEST.ring, ohttp.REQUEST)
        receiver.receive(body, NOW)
        answer = receiver.end().answer.whole(bhttp.ResponseHead(200, ()), content)
        opener = sealer.response_opener()
        plain = b"".join(opener.receive(answer) + opener.end())
        assert bhttp.Content(content) in bhttp.ResponseDecoder().receive(plain)
        sizes.add(len(answer))
    assert len(sizes) == 1


def test_a_key_is_not_used_with_another_kem(honest: Ends) -> None:
    body = bytearray(honest.exchange().body)
    body[0] |= 0x80  # the identifier of the classical key, with the head of the hybrid one
    with pytest.raises(Refused) as refused:
        honest.receive(bytes(body))
    assert refused.value.answer is OuterAnswer.MALFORMED


def test_requests_of_different_lengths_look_alike(honest: Ends) -> None:
    assert len(honest.exchange().body) == len(honest.exchange().body) == 7 + 1120 + 2 + 1024 + 16 + 1 + 16


def test_nothing_of_a_request_is_in_its_text_form() -> None:
    assert "malignant" not in repr(opened(request()))
