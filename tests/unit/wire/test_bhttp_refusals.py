# SPDX-License-Identifier: Apache-2.0
"""Binary HTTP that must be refused, however it is split, and must not be written (wire.md 7.16, 7.17)."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.wire.support import few, split
from wire import bhttp, varint

HEAD = bhttp.RequestHead("POST", "https", "example.com", "/v1", (("accept", "x"),))
OPEN_HEAD = bhttp.encode_request_head(HEAD)


def text(value: bytes) -> bytes:
    return varint.encode(len(value)) + value


def control(
    method: bytes = b"POST", scheme: bytes = b"https", authority: bytes = b"a", path: bytes = b"/"
) -> bytes:
    return text(method) + text(scheme) + text(authority) + text(path)


def line(name: bytes, value: bytes = b"v") -> bytes:
    return text(name) + text(value)


def with_fields(*lines: bytes) -> bytes:
    return b"\x02" + control() + b"".join(lines) + b"\0\0\0"


def feed(
    decoder: bhttp.RequestDecoder | bhttp.ResponseDecoder, message: bytes, size: int
) -> list[bhttp.Event]:
    events = [
        event for piece in split(message, range(0, len(message), size)) for event in decoder.receive(piece)
    ]
    return events + decoder.end()


def refused(message: bytes, decoder: type[bhttp.RequestDecoder | bhttp.ResponseDecoder]) -> None:
    for size in (1, 7, len(message) + 1):
        with pytest.raises(bhttp.MessageError):
            feed(decoder(), message, size)


def test_what_the_refused_messages_are_made_of_is_accepted() -> None:
    for message in (with_fields(line(b"a")), with_fields(*[line(b"a")] * 100), b"\0" + control()):
        assert bhttp.End(()) in feed(bhttp.RequestDecoder(), message, 7)


BAD_REQUESTS = {
    "response framing": b"\x01" + control() + bytes(3),
    "indeterminate response framing": b"\x03" + control() + bytes(3),
    "framing 4": b"\x04" + control() + bytes(3),
    "framing 2^30": varint.encode(2**30) + control() + bytes(3),
    "method put": b"\x02" + control(b"PUT") + bytes(3),
    "method in lower case": b"\x02" + control(b"post") + bytes(3),
    "method with a blank": b"\x02" + control(b"POST ") + bytes(3),
    "method with a line break": b"\x02" + control(b"GET\r\n") + bytes(3),
    "no method": b"\x02" + control(b"") + bytes(3),
    "no scheme": b"\x02" + control(scheme=b"") + bytes(3),
    "scheme with a colon": b"\x02" + control(scheme=b"https:") + bytes(3),
    "scheme with a line break": b"\x02" + control(scheme=b"https\n") + bytes(3),
    "authority with a blank": b"\x02" + control(authority=b"a b") + bytes(3),
    "authority with a line break": b"\x02" + control(authority=b"a\r\nb") + bytes(3),
    "authority not ascii": b"\x02" + control(authority=b"\xe4") + bytes(3),
    "no path": b"\x02" + control(path=b"") + bytes(3),
    "path without slash": b"\x02" + control(path=b"v1") + bytes(3),
    "path with a blank": b"\x02" + control(path=b"/ HTTP/1.1") + bytes(3),
    "path with a line break": b"\x02" + control(path=b"/\r\nx: y") + bytes(3),
    "path with a zero": b"\x02" + control(path=b"/\0") + bytes(3),
    "path with delete": b"\x02" + control(path=b"/\x7f") + bytes(3),
    "path not ascii": b"\x02" + control(path=b"/\xe4") + bytes(3),
    "path ends with a line break": b"\x02" + control(path=b"/\n") + bytes(3),
    "path above 8 KiB": b"\x02" + control(path=b"/" * 8193) + bytes(3),
    "path of 2^62-1": b"\x02" + text(b"GET") + text(b"https") + text(b"a") + varint.encode(varint.MAX),
    "pseudo field": with_fields(line(b":path", b"/")),
    "name with a blank": with_fields(line(b"a b")),
    "name with a line break": with_fields(line(b"a\r\nb")),
    "name ends with a line break": with_fields(line(b"a\n")),
    "name not ascii": with_fields(line(b"\xe4")),
    "value with a carriage return": with_fields(line(b"a", b"x\ry")),
    "value with a line feed": with_fields(line(b"a", b"x\ny")),
    "value with a zero": with_fields(line(b"a", b"x\0y")),
    "value ends with a line feed": with_fields(line(b"a", b"x\n")),
    "value begins with a blank": with_fields(line(b"a", b" x")),
    "value begins with a tab": with_fields(line(b"a", b"\tx")),
    "value ends with a blank": with_fields(line(b"a", b"x ")),
    "value of nothing but a blank": with_fields(line(b"a", b" ")),
    "101 fields": with_fields(*[line(b"a")] * 101),
    "head above 16 KiB": with_fields(*[line(b"a", b"x" * 1000)] * 17),
    "value above 16 KiB": with_fields(line(b"a", b"x" * 20000)),
    "name of 2^62-1": b"\x02" + control() + varint.encode(varint.MAX),
    "known section above 16 KiB": b"\0"
    + control()
    + varint.encode(20000)
    + line(b"a", b"x" * 19990)
    + bytes(3),
    "known section of 2^62-1": b"\0" + control() + varint.encode(varint.MAX),
    "field runs past its section": b"\0" + control() + b"\x03" + line(b"a") + b"\0\0",
    "empty name in a known section": b"\0" + control() + b"\x02\0\0" + b"\0\0",
    "bad trailer": OPEN_HEAD + b"\0" + line(b"a", b"x\ny") + b"\0",
    "101 trailers": OPEN_HEAD + b"\0" + line(b"a") * 101 + b"\0",
    "trailers above 16 KiB": OPEN_HEAD + b"\0" + line(b"a", b"x" * 1000) * 17 + b"\0",
    "padding not zero": OPEN_HEAD + bytes(2) + bytes(20) + b"\1",
    "known-length padding not zero": bhttp.encode_request(HEAD, b"content") + b"\0\0a",
    "padding not zero after a truncated message": b"\0" + control() + bytes(4) + b"\1",
    "empty message": b"",
    "only framing": b"\0",
}
BAD_RESPONSES = {
    "request framing": b"\0" + varint.encode(200) + bytes(3),
    "indeterminate request framing": b"\x02" + varint.encode(200) + bytes(3),
    "status 99": b"\x03" + varint.encode(99) + bytes(3),
    "status 600": b"\x03" + varint.encode(600) + bytes(3),
    "status 2^62-1": b"\x03" + varint.encode(varint.MAX) + bytes(3),
    "status 0": b"\x03" + bytes(4),
    "informational and nothing more": b"\x01" + varint.encode(100),
    "bad field of an informational response": b"\x03"
    + varint.encode(103)
    + line(b":a")
    + b"\0\x40\xc8"
    + bytes(3),
    "endless informational responses": b"\x03" + (varint.encode(100) + b"\0") * 6000,
    "bad field": b"\x03" + varint.encode(200) + line(b"a b") + bytes(3),
    "padding not zero": b"\x03" + varint.encode(200) + bytes(3) + b"x",
}


@pytest.mark.parametrize("message", BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_bad_request_is_refused(message: bytes) -> None:
    refused(message, bhttp.RequestDecoder)


@pytest.mark.parametrize("message", BAD_RESPONSES.values(), ids=BAD_RESPONSES.keys())
def test_bad_response_is_refused(message: bytes) -> None:
    refused(message, bhttp.ResponseDecoder)


def test_lengths_out_of_range_are_refused_at_once() -> None:
    for start in (b"\x02" + control() + varint.encode(varint.MAX), b"\0" + control() + varint.encode(16384)):
        with pytest.raises(bhttp.MessageError, match="longer than allowed"):
            bhttp.RequestDecoder().receive(start)


def test_content_of_any_length_is_passed_on_and_never_collected() -> None:
    decoder = bhttp.RequestDecoder()
    decoder.receive(OPEN_HEAD + varint.encode(varint.MAX))
    for _ in range(5):
        assert decoder.receive(bytes(100_000)) == [bhttp.Content(bytes(100_000))]


def test_every_truncation_of_an_indeterminate_message_is_refused() -> None:
    message = OPEN_HEAD + bhttp.encode_content(b"content") + bhttp.encode_end((("trailer", "x"),))
    for size in range(len(message)):
        decoder = bhttp.RequestDecoder()
        events = decoder.receive(message[:size])
        assert not [event for event in events if isinstance(event, bhttp.End)]
        with pytest.raises(bhttp.MessageError, match="ends early"):
            decoder.end()


def test_a_known_length_message_ends_early_unless_whole_sections_are_missing() -> None:
    message = bhttp.encode_request(HEAD, b"content")
    head, fields = message.index(b"/v1") + 3, message.index(b"\x01x") + 2
    ended = {head: bhttp.RequestHead("POST", "https", "example.com", "/v1", ()), fields: HEAD}
    for size in range(len(message) - 1):
        decoder = bhttp.RequestDecoder()
        events = decoder.receive(message[:size])
        if size in ended:
            assert events + decoder.end() == [ended[size], bhttp.End(())]
        else:
            with pytest.raises(bhttp.MessageError, match="ends early"):
                decoder.end()


@few
@given(st.binary(max_size=200), st.integers(1, 9))
def test_garbage_is_read_or_refused_but_never_breaks_the_decoder(garbage: bytes, size: int) -> None:
    for decoder, start in (
        (bhttp.RequestDecoder(), OPEN_HEAD),
        (bhttp.RequestDecoder(), b"\0" + control()),
        (bhttp.ResponseDecoder(), b"\x03\x40\xc8"),
    ):
        try:
            events = feed(decoder, start + garbage, size)
        except bhttp.MessageError:
            continue
        assert len([event for event in events if isinstance(event, bhttp.End)]) == 1


@pytest.mark.parametrize("decoder", [bhttp.RequestDecoder, bhttp.ResponseDecoder])
def test_decoder_is_dead_after_an_error_and_after_the_end(
    decoder: type[bhttp.RequestDecoder | bhttp.ResponseDecoder],
) -> None:
    failed = decoder()
    with pytest.raises(bhttp.MessageError):
        failed.receive(b"\x04")
    with pytest.raises(RuntimeError, match="after an error"):
        failed.receive(b"")
    with pytest.raises(RuntimeError, match="after an error"):
        failed.end()
    ended = decoder()
    message = b"\0" + control() if decoder is bhttp.RequestDecoder else b"\x01\x40\xc8"
    ended.receive(message)
    assert ended.end()
    with pytest.raises(RuntimeError, match="after its end"):
        ended.receive(b"")


@pytest.mark.parametrize(
    "head",
    [
        dataclasses.replace(HEAD, method="PATCH"),
        dataclasses.replace(HEAD, scheme="https://"),
        dataclasses.replace(HEAD, authority="a\r\nb"),
        dataclasses.replace(HEAD, authority="bücher.example"),
        dataclasses.replace(HEAD, path="v1"),
        dataclasses.replace(HEAD, path="/a b"),
        dataclasses.replace(HEAD, path="/" * 8193),
    ],
)
def test_encoder_refuses_what_the_decoder_would(head: bhttp.RequestHead) -> None:
    with pytest.raises(bhttp.MessageError):
        bhttp.encode_request(head, b"")
    with pytest.raises(bhttp.MessageError):
        bhttp.encode_request_head(head)


@pytest.mark.parametrize(
    "fields",
    [
        (("", "x"),),
        ((":path", "x"),),
        (("a", "x\r\ny: z"),),
        (("a", "x "),),
        (("a", "€"),),
        (("\u017f", "x"),),
        (("a", "x"),) * 101,
        (("a", "x" * 1000),) * 17,
    ],
)
def test_encoder_refuses_fields_that_the_decoder_would(fields: bhttp.Fields) -> None:
    head, answer = dataclasses.replace(HEAD, fields=fields), bhttp.ResponseHead(200, fields)
    with pytest.raises(bhttp.MessageError):
        bhttp.encode_request(head, b"")
    with pytest.raises(bhttp.MessageError):
        bhttp.encode_request_head(head)
    with pytest.raises(bhttp.MessageError):
        bhttp.encode_response(answer, b"")
    with pytest.raises(bhttp.MessageError):
        bhttp.encode_response_head(answer)
    with pytest.raises(bhttp.MessageError):
        bhttp.encode_end(fields)


@pytest.mark.parametrize("status", [0, 100, 199, 600])
def test_encoder_refuses_a_status_that_is_not_final(status: int) -> None:
    with pytest.raises(bhttp.MessageError):
        bhttp.encode_response(bhttp.ResponseHead(status, ()), b"")


def test_largest_head_is_encoded_and_read() -> None:
    def encoded(size: int) -> bytes:
        return bhttp.encode_request_head(dataclasses.replace(HEAD, fields=(("a", "x" * size),)))

    overhead = len(encoded(16000)) - 16000
    message = encoded(bhttp.MAX_HEAD_BYTES - overhead)
    assert len(message) == bhttp.MAX_HEAD_BYTES
    assert bhttp.End(()) in feed(bhttp.RequestDecoder(), message + bhttp.encode_end(), 100)
    with pytest.raises(bhttp.MessageError):
        encoded(bhttp.MAX_HEAD_BYTES - overhead + 1)
