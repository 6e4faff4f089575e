# SPDX-License-Identifier: Apache-2.0
"""JSON: one reading of every document, and the exact bytes under its signature."""

import pytest

from attestation.tdx.documents import (
    MAX_DOCUMENT_SIZE,
    DocumentError,
    Members,
    compose_signed,
    read_list,
    read_object,
    read_signed,
)
from attestation.tdx.pem import REVOCATION_LIST, PemError, decode_pem

SIGNATURE = "ab" * 64


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b'{"a":1,"a":2}', "each name once"),
        (b'{"a":{"b":1,"b":1}}', "each name once"),
        (b'{"a":NaN}', "whole numbers, found NaN"),
        (b'{"a":1.5}', "whole numbers, found 1.5"),
        (b'{"a":1e3}', "whole numbers, found 1e3"),
        (b'{"a":12345678901}', "up to 10 digits"),
        (b'{"a":1} x', "nothing after"),
        (b"[" * 100_000, "expected a JSON value"),
        (b"", "expected a JSON value"),
        (b"\xff", "in UTF-8"),
        (b" " * (MAX_DOCUMENT_SIZE + 1), "exceeds"),
        (b"[]", "expected an object as thing"),
    ],
)
def test_other_text_is_refused(document: bytes, words: str) -> None:
    with pytest.raises(DocumentError, match=words):
        read_object(document, "thing")


def test_list_is_a_list() -> None:
    assert len(read_list(b" [{}, {}]\n", "thing")) == 2
    with pytest.raises(DocumentError, match="expected a list as thing"):
        read_list(b"{}", "thing")


def members() -> Members:
    return read_object(
        b'{"yes":true,"one":1,"minus":-1,"text":"ab","time":"2026-01-02T03:04:05Z","list":["a",1],"half":"\\ud800"}',
        "thing",
    )


def test_values_have_the_type_that_was_asked_for() -> None:
    taken = members()
    assert taken.number("one", 1) == 1
    assert taken.octets("text", 1) == b"\xab"
    assert taken.time("time") == 1767323045
    with pytest.raises(DocumentError, match=r"number up to 1 as thing\.yes"):
        taken.number("yes", 1)
    with pytest.raises(DocumentError, match=r"number up to 1 as thing\.minus"):
        taken.number("minus", 1)
    with pytest.raises(DocumentError, match=r"list of texts as thing\.list"):
        taken.texts("list")
    with pytest.raises(DocumentError, match="expected one in thing"):
        taken.number("one", 1)
    with pytest.raises(DocumentError, match=r"text as thing\.half"):
        taken.text("half")


def test_wrong_types_are_refused() -> None:
    with pytest.raises(DocumentError, match="number up to 0"):
        members().number("one", 0)
    with pytest.raises(DocumentError, match="4 hexadecimal digits"):
        members().octets("text", 2)
    with pytest.raises(DocumentError, match="expected text"):
        members().text("one")
    with pytest.raises(DocumentError, match="expected a list"):
        members().values("one")
    with pytest.raises(DocumentError, match="expected an object"):
        members().object("one")
    with pytest.raises(DocumentError, match="expected an object"):
        members().objects("list")
    with pytest.raises(DocumentError, match="unknown members half, list, minus, one, text, time, yes"):
        members().end()


@pytest.mark.parametrize("text", ["2026-13-01T00:00:00Z", "2026-01-01 00:00:00Z", "2026-01-01T00:00:60Z"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(DocumentError, match="time in UTC"):
        read_object(f'{{"time":"{text}"}}'.encode(), "thing").time("time")


def test_signature_covers_the_bytes_as_they_came() -> None:
    content = '{ "b" : 1,\t"a":"\\u00e4 \u00e4" }'
    document = read_signed(compose_signed("it", content, SIGNATURE), "it")
    assert document.signed.content == content.encode()
    assert document.signed.signature == bytes.fromhex(SIGNATURE)
    assert document.members.text("a") == "\u00e4 \u00e4"


@pytest.mark.parametrize(
    "document",
    [
        '{"other":{},"signature":"%s"}',
        '{"signature":"%s","it":{}}',
        '{"it":{},"signature":"%s","more":1}',
        '{"it":{},"signature":"%s"}x',
        '{"it":{},"signature":"%sff"}',
        '{"it":{}}%.0s',
        '{"it":%.0s',
        '{"it":[],"signature":"%s"}',
        '{"it":{},"it":{},"signature":"%s"}',
    ],
)
def test_other_framing_is_refused(document: str) -> None:
    with pytest.raises(DocumentError):
        read_signed((document % SIGNATURE).encode(), "it")


def block(content: str, label: str = "CERTIFICATE") -> bytes:
    return f"-----BEGIN {label}-----\n{content}\n-----END {label}-----\n".encode()


def test_pem_blocks_are_read_in_order() -> None:
    assert decode_pem(block("AAAA") + block("AQ==") + b"\x00") == (bytes(3), b"\x01")
    assert decode_pem(block("AAAA").replace(b"\n", b"\r\n")) == (bytes(3),)
    assert decode_pem(block("AAAA").rstrip(b"\n") + block("AAAA")) == (bytes(3), bytes(3))
    assert decode_pem(block("AAAA", "X509 CRL"), REVOCATION_LIST) == (bytes(3),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "found nothing"),
        (b"\x00", "found nothing"),
        (block("AAAA", "X509 CRL"), "found other text"),
        (block("AAAA") + b" ", "found other text"),
        (b"\x00" + block("AAAA"), "found other text"),
        (block("AAAA") * 6, "up to 5 PEM blocks"),
        (block("AA\nAA"), "found other text"),
        (block("AR=="), "canonical base64"),
        (block("AAA"), "expected base64"),
    ],
)
def test_other_pem_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(PemError, match=words):
        decode_pem(text)
