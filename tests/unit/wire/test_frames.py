# SPDX-License-Identifier: Apache-2.0
"""Heads on the link between host and enclave."""

import subprocess
import sys
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.wire.support import few, split
from wire import frames

PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=150)
CUTS = st.lists(st.integers(0, 1000), max_size=6)

Reader = frames.RequestHeadReader | frames.AnswerHeadReader


def read(
    reader: Reader, data: bytes, cuts: Iterable[int] = ()
) -> tuple[frames.RequestHead | frames.AnswerHead | None, bytes]:
    """Return the head and what follows it, as a shell would collect them."""
    pieces = split(data, cuts)
    while pieces:
        head = reader.receive(pieces.pop(0))
        if head is not None:
            return head, reader.rest + b"".join(pieces)
    return None, b""


def framed(encoded: bytes) -> bytes:
    return len(encoded).to_bytes(4, "big") + encoded


def test_request_head_has_the_layout_of_the_specification() -> None:
    head = frames.RequestHead("POST", "/.well-known/ohttp-gateway", "message/ohttp-req")
    encoded = frames.encode_request_head(head)
    json = b'{"m":"POST","p":"/.well-known/ohttp-gateway","ct":"message/ohttp-req"}'
    assert encoded == b"\0\0\0" + bytes([len(json)]) + json
    assert read(frames.RequestHeadReader(), encoded) == (head, b"")


def test_answer_head_has_the_layout_of_the_specification() -> None:
    encoded = frames.encode_answer_head(frames.AnswerHead(422, "a/b"))
    assert encoded == b"\x01\xa6\0\x03a/b"
    assert read(frames.AnswerHeadReader(), encoded + b"body") == (frames.AnswerHead(422, "a/b"), b"body")


@few
@given(PRINTABLE, PRINTABLE, PRINTABLE, st.binary(max_size=50), CUTS)
def test_request_head_survives_any_split(
    method: str, path: str, content_type: str, body: bytes, cuts: list[int]
) -> None:
    head = frames.RequestHead(method, path, content_type)
    assert read(frames.RequestHeadReader(), frames.encode_request_head(head) + body, cuts) == (head, body)


@few
@given(st.integers(200, 599), PRINTABLE, st.binary(max_size=50), CUTS)
def test_answer_head_survives_any_split(status: int, content_type: str, body: bytes, cuts: list[int]) -> None:
    head = frames.AnswerHead(status, content_type)
    assert read(frames.AnswerHeadReader(), frames.encode_answer_head(head) + body, cuts) == (head, body)


def test_incomplete_heads_are_no_heads() -> None:
    request = frames.encode_request_head(frames.RequestHead("GET", "/", ""))
    answer = frames.encode_answer_head(frames.AnswerHead(200, "text/plain"))
    for size in range(len(request)):
        assert read(frames.RequestHeadReader(), request[:size], range(size)) == (None, b"")
    for size in range(len(answer)):
        assert read(frames.AnswerHeadReader(), answer[:size], range(size)) == (None, b"")


def test_order_of_members_and_blanks_do_not_matter() -> None:
    encoded = framed(b' {"ct": "c", "p": "/", "m": "GET"}')
    assert read(frames.RequestHeadReader(), encoded) == (frames.RequestHead("GET", "/", "c"), b"")


BAD_REQUESTS = {
    "nothing": b"",
    "not json": b"GET / HTTP/1.1",
    "cut json": b'{"m":"GET","p":"/","ct":""',
    "no object": b'["GET","/",""]',
    "string": b'"m"',
    "missing member": b'{"m":"GET","p":"/"}',
    "unknown member": b'{"m":"GET","p":"/","ct":"","x":""}',
    "member twice": b'{"m":"GET","m":"POST","p":"/","ct":""}',
    "member twice instead of another": b'{"m":"GET","m":"GET","p":"/"}',
    "number": b'{"m":1,"p":"/","ct":""}',
    "null": b'{"m":"GET","p":null,"ct":""}',
    "true": b'{"m":"GET","p":"/","ct":true}',
    "list": b'{"m":"GET","p":["/"],"ct":""}',
    "object": b'{"m":{"m":"","p":"","ct":""},"p":"/","ct":""}',
    "list of heads": b'[{"m":"GET","p":"/","ct":""}]',
    "escaped line break": b'{"m":"GET","p":"/\\r\\nx: y","ct":""}',
    "escaped zero": b'{"m":"GET","p":"/\\u0000","ct":""}',
    "escaped umlaut": b'{"m":"GET","p":"/\\u00e4","ct":""}',
    "lone surrogate": b'{"m":"GET","p":"/\\ud800","ct":""}',
    "utf-8": '{"m":"GET","p":"/ä","ct":""}'.encode(),
    "utf-16": '{"m":"GET","p":"/","ct":""}'.encode("utf-16"),
    "byte order mark": b'\xef\xbb\xbf{"m":"GET","p":"/","ct":""}',
    "something behind": b'{"m":"GET","p":"/","ct":""}{}',
    "deep": b"[" * 4096,
    "huge number": b'{"m":' + b"9" * 4000 + b"}",
}


@pytest.mark.parametrize("encoded", BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys())
def test_bad_request_head_is_refused(encoded: bytes) -> None:
    with pytest.raises(frames.FrameError):
        frames.RequestHeadReader().receive(framed(encoded))


@pytest.mark.parametrize("size", [4097, 2**20, 2**32 - 1])
def test_long_request_head_is_refused_before_it_comes(size: int) -> None:
    with pytest.raises(frames.FrameError, match=f"{size} bytes exceeds 4096"):
        frames.RequestHeadReader().receive(size.to_bytes(4, "big"))


@pytest.mark.parametrize(
    "encoded",
    ["00000000", "00c70000", "02580000", "ffff0000", "00c800c9", "00c8ffff", "00c8000161"[:-2] + "0a"],
)
def test_bad_answer_head_is_refused(encoded: str) -> None:
    with pytest.raises(frames.FrameError):
        frames.AnswerHeadReader().receive(bytes.fromhex(encoded))


@pytest.mark.parametrize("character", [b"\x7f", b"\xe4", b"\0", b"\r"])
def test_content_type_not_printable_is_refused(character: bytes) -> None:
    with pytest.raises(frames.FrameError):
        frames.AnswerHeadReader().receive(b"\0\xc8\0\x01" + character)


def test_longest_heads_are_taken() -> None:
    answer = frames.AnswerHead(599, "x" * 200)
    assert read(frames.AnswerHeadReader(), frames.encode_answer_head(answer)) == (answer, b"")
    empty = len(frames.encode_request_head(frames.RequestHead("", "", ""))) - 4
    request = frames.RequestHead("", "x" * (4096 - empty), "")
    assert read(frames.RequestHeadReader(), frames.encode_request_head(request)) == (request, b"")


@pytest.mark.parametrize(
    "head",
    [
        frames.RequestHead("GET", "/" * 4096, ""),
        frames.RequestHead("GET\n", "/", ""),
        frames.RequestHead("GET", "/ä", ""),
        frames.RequestHead("GET", "/", "\x7f"),
    ],
)
def test_request_head_that_would_be_refused_is_not_sent(head: frames.RequestHead) -> None:
    with pytest.raises(frames.FrameError):
        frames.encode_request_head(head)


@pytest.mark.parametrize(
    "head",
    [
        frames.AnswerHead(199, ""),
        frames.AnswerHead(600, ""),
        frames.AnswerHead(200, "x" * 201),
        frames.AnswerHead(200, "\r\n"),
    ],
)
def test_answer_head_that_would_be_refused_is_not_sent(head: frames.AnswerHead) -> None:
    with pytest.raises(frames.FrameError):
        frames.encode_answer_head(head)


@pytest.mark.parametrize("new_reader", [frames.RequestHeadReader, frames.AnswerHeadReader])
def test_reader_is_dead_after_an_error(new_reader: type[Reader]) -> None:
    reader = new_reader()
    with pytest.raises(frames.FrameError):
        reader.receive(b"\xff" * 4)
    with pytest.raises(RuntimeError, match="after an error"):
        reader.receive(b"")


def test_reader_reads_one_head() -> None:
    reader = frames.AnswerHeadReader()
    assert reader.receive(b"\0\xc8\0\0rest") == frames.AnswerHead(200, "")
    assert reader.rest == b"rest"
    with pytest.raises(RuntimeError, match="after the head"):
        reader.receive(b"more")


def test_host_gets_no_cryptography_with_this_module() -> None:
    program = "import sys, wire.frames; print(*sorted(name for name in sys.modules if '.' not in name))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    imported = set(run.stdout.split())
    assert "wire" in imported
    assert not imported & {"cryptography", "_cffi_backend", "hashlib", "hmac"}
    assert imported - set(sys.stdlib_module_names) <= {"wire", *site_modules()}


def site_modules() -> set[str]:
    """Return what the interpreter imports by itself before any program."""
    program = "import sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    return set(run.stdout.split())
