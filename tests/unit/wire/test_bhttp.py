# SPDX-License-Identifier: Apache-2.0
"""Binary HTTP that is well formed: published messages, and any others."""

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.wire.support import VECTORS, few, split
from wire import bhttp, varint

PUBLISHED: dict[str, str] = json.loads((VECTORS / "rfc9292.json").read_text())
CUTS = st.lists(st.integers(0, 10_000), max_size=8)
NAMES = st.from_regex(r"[!#$%&'*+.^_`|~0-9a-z-]{1,20}", fullmatch=True)
VALUES = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=40).map(
    lambda value: value.strip(" \t")
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=6).map(tuple)
VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)
REQUEST_HEADS = st.builds(
    bhttp.RequestHead,
    st.sampled_from(sorted(bhttp.METHODS)),
    st.sampled_from(["https", "http"]),
    VISIBLE,
    VISIBLE.map("/".__add__),
    FIELDS,
)
RESPONSE_HEADS = st.builds(bhttp.ResponseHead, st.integers(200, 599), FIELDS)
PIECES = st.lists(st.binary(max_size=200), max_size=4)

Summary = tuple[list[bhttp.RequestHead | bhttp.ResponseHead], bytes, list[bhttp.End]]


def summary(events: Iterable[bhttp.Event]) -> Summary:
    """Return what the events say, without how the content was cut."""
    heads: list[bhttp.RequestHead | bhttp.ResponseHead] = []
    ends: list[bhttp.End] = []
    content = b""
    for event in events:
        match event:
            case bhttp.Content(data):
                assert data
                assert heads
                assert not ends
                content += data
            case bhttp.End():
                ends.append(event)
            case bhttp.RequestHead() | bhttp.ResponseHead():
                assert not content
                heads.append(event)
    return heads, content, ends


def decoded(
    decoder: bhttp.RequestDecoder | bhttp.ResponseDecoder, message: bytes, cuts: Iterable[int] = ()
) -> Summary:
    events = [event for piece in split(message, cuts) for event in decoder.receive(piece)]
    return summary(events + decoder.end())


@pytest.mark.parametrize("name", ["known_length_request", "indeterminate_length_request"])
def test_published_request(name: str) -> None:
    message = bytes.fromhex(PUBLISHED[name])
    head = bhttp.RequestHead(
        "GET",
        "https",
        "",
        "/hello.txt",
        (
            ("user-agent", "curl/7.16.3 libcurl/7.16.3 OpenSSL/0.9.7l zlib/1.2.3"),
            ("host", "www.example.com"),
            ("accept-language", "en, mi"),
        ),
    )
    assert decoded(bhttp.RequestDecoder(), message) == ([head], b"", [bhttp.End(())])
    assert decoded(bhttp.RequestDecoder(), message, range(len(message))) == ([head], b"", [bhttp.End(())])
    if name == "known_length_request":
        assert bhttp.encode_request(head, b"") == message
    else:
        assert bhttp.encode_request_head(head) + bhttp.encode_end() + bytes(10) == message


def test_published_response_after_informational_ones() -> None:
    message = bytes.fromhex(PUBLISHED["indeterminate_length_response"])
    heads, content, ends = decoded(bhttp.ResponseDecoder(), message)
    assert content == b"Hello World! My content includes a trailing CRLF.\r\n"
    assert ends == [bhttp.End(())]
    [head] = heads
    assert isinstance(head, bhttp.ResponseHead)
    assert head.status == 200
    # The published name is `Accept-Encoding`, in mixed case.
    assert [name for name, _ in head.fields] == [
        "date",
        "server",
        "last-modified",
        "etag",
        "accept-ranges",
        "content-length",
        "vary",
        "content-type",
    ]
    assert dict(head.fields)["vary"] == "Accept-Encoding"
    assert decoded(bhttp.ResponseDecoder(), message, range(len(message))) == (heads, content, ends)


def test_published_response_with_trailers() -> None:
    message = bytes.fromhex(PUBLISHED["known_length_response"])
    head = bhttp.ResponseHead(200, ())
    end = bhttp.End((("trailer", "text"),))
    assert decoded(bhttp.ResponseDecoder(), message) == ([head], b"This content contains CRLF.\r\n", [end])


@few
@given(REQUEST_HEADS, st.binary(max_size=300), st.integers(0, 2000), CUTS)
def test_known_length_request_survives_any_split(
    head: bhttp.RequestHead, content: bytes, padded_size: int, cuts: list[int]
) -> None:
    message = bhttp.encode_request(head, content, padded_size=padded_size)
    assert len(message) >= padded_size
    assert decoded(bhttp.RequestDecoder(), message, cuts) == ([head], content, [bhttp.End(())])


@few
@given(RESPONSE_HEADS, st.binary(max_size=300), st.integers(0, 2000), CUTS)
def test_known_length_response_survives_any_split(
    head: bhttp.ResponseHead, content: bytes, padded_size: int, cuts: list[int]
) -> None:
    message = bhttp.encode_response(head, content, padded_size=padded_size)
    assert len(message) >= padded_size
    assert decoded(bhttp.ResponseDecoder(), message, cuts) == ([head], content, [bhttp.End(())])


@few
@given(REQUEST_HEADS, PIECES, FIELDS, st.integers(0, 50), CUTS)
def test_indeterminate_request_survives_any_split(
    head: bhttp.RequestHead,
    pieces: list[bytes],
    trailers: bhttp.Fields,
    padding: int,
    cuts: list[int],
) -> None:
    content = b"".join(bhttp.encode_content(piece) for piece in pieces)
    message = bhttp.encode_request_head(head) + content + bhttp.encode_end(trailers) + bytes(padding)
    expected = ([head], b"".join(pieces), [bhttp.End(trailers)])
    assert decoded(bhttp.RequestDecoder(), message, cuts) == expected


@few
@given(RESPONSE_HEADS, PIECES, FIELDS, st.integers(0, 50), CUTS)
def test_indeterminate_response_survives_any_split(
    head: bhttp.ResponseHead,
    pieces: list[bytes],
    trailers: bhttp.Fields,
    padding: int,
    cuts: list[int],
) -> None:
    content = b"".join(bhttp.encode_content(piece) for piece in pieces)
    message = bhttp.encode_response_head(head) + content + bhttp.encode_end(trailers) + bytes(padding)
    expected = ([head], b"".join(pieces), [bhttp.End(trailers)])
    assert decoded(bhttp.ResponseDecoder(), message, cuts) == expected


def test_padding_is_exact() -> None:
    head = bhttp.RequestHead("POST", "https", "example.com", "/", ())
    assert len(bhttp.encode_request(head, b"x" * 100, padded_size=1024)) == 1024
    assert bhttp.encode_request(head, b"x" * 100).endswith(b"x" + b"\0")


def test_events_come_as_early_as_they_can() -> None:
    head = bhttp.ResponseHead(200, (("content-type", "text/event-stream"),))
    decoder = bhttp.ResponseDecoder()
    assert decoder.receive(bhttp.encode_response_head(head)) == [head]
    assert decoder.receive(bhttp.encode_content(b"data: 1")[:-1]) == [bhttp.Content(b"data: ")]
    assert decoder.receive(b"1") == [bhttp.Content(b"1")]
    assert decoder.receive(bhttp.encode_end()) == [bhttp.End(())]
    assert decoder.receive(bytes(510)) == []
    assert decoder.end() == []


def test_no_content_is_no_end_of_content() -> None:
    assert bhttp.encode_content(b"") == b""


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ("00034745540568747470730b6578616d706c652e636f6d012f", b""),
        ("00034745540568747470730b6578616d706c652e636f6d012f00", b""),
        ("00034745540568747470730b6578616d706c652e636f6d012f0000", b""),
        ("00034745540568747470730b6578616d706c652e636f6d012f000161", b"a"),
        ("00034745540568747470730b6578616d706c652e636f6d012f0000000000", b""),
    ],
)
def test_empty_sections_at_the_end_may_be_left_out(message: str, content: bytes) -> None:
    head = bhttp.RequestHead("GET", "https", "example.com", "/", ())
    expected = ([head], content, [bhttp.End(())])
    encoded = bytes.fromhex(message)
    assert decoded(bhttp.RequestDecoder(), encoded) == expected
    assert decoded(bhttp.RequestDecoder(), encoded, range(len(encoded))) == expected


def test_shortest_response() -> None:
    assert decoded(bhttp.ResponseDecoder(), bytes.fromhex("0140c8")) == (
        [bhttp.ResponseHead(200, ())],
        b"",
        [bhttp.End(())],
    )


def long(value: int) -> bytes:
    """Return the longest form of a small integer."""
    return b"\xc0" + value.to_bytes(7, "big")


def test_longer_integers_than_needed_are_accepted_everywhere() -> None:
    def text(value: bytes) -> bytes:
        return long(len(value)) + value

    control = text(b"GET") + text(b"https") + text(b"a") + text(b"/")
    line = text(b"n") + text(b"v")
    head = bhttp.RequestHead("GET", "https", "a", "/", (("n", "v"),))
    known = long(0) + control + long(len(line)) + line + text(b"content") + long(0)
    assert decoded(bhttp.RequestDecoder(), known) == ([head], b"content", [bhttp.End(())])
    terminated = long(2) + control + line + long(0) + text(b"content") + long(0) + long(0)
    assert decoded(bhttp.RequestDecoder(), terminated) == ([head], b"content", [bhttp.End(())])


def test_names_in_upper_case_become_lower_case() -> None:
    head = bhttp.RequestHead("GET", "https", "a", "/", (("Content-TYPE", "Text/Plain"),))
    lower = (("content-type", "Text/Plain"),)
    encoded = bhttp.encode_request(head, b"")
    assert b"content-type" in encoded
    mixed = encoded.replace(b"content-type", b"Content-Type")
    [decoded_head], _, _ = decoded(bhttp.RequestDecoder(), mixed)
    assert decoded_head.fields == lower
    assert bhttp.encode_end((("Trailer", "x"),)) == bhttp.encode_end((("trailer", "x"),))


def test_known_length_informational_responses_are_skipped() -> None:
    line = b"\x01a\x01b"
    informational = varint.encode(103) + varint.encode(len(line)) + line
    message = b"\x01" + informational * 3 + varint.encode(204) + b"\0\0\0"
    assert decoded(bhttp.ResponseDecoder(), message) == (
        [bhttp.ResponseHead(204, ())],
        b"",
        [bhttp.End(())],
    )


def test_what_may_be_private_is_not_shown() -> None:
    head = bhttp.RequestHead("GET", "https", "a", "/", (("authorization", "secret"),))
    shown = [head, bhttp.ResponseHead(200, head.fields), bhttp.Content(b"secret"), bhttp.End(head.fields)]
    assert "secret" not in repr(shown)
