# SPDX-License-Identifier: Apache-2.0
"""The reader takes canonical DER and nothing else (X.690 section 10)."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation import der
from attestation.der import DerError, Element, Reader


def element(content: bytes, tag: int = der.INTEGER) -> Element:
    return Element(tag, content, b"")


def test_elements_are_read_in_order_to_the_end() -> None:
    reader = Reader(bytes.fromhex("020105 3003 020101 0500"))
    assert reader.read(der.INTEGER) == Element(der.INTEGER, b"\x05", b"\x02\x01\x05")
    inner = reader.enter(der.SEQUENCE)
    assert inner.read(der.INTEGER).content == b"\x01"
    inner.end()
    assert reader.at(0x05)
    with pytest.raises(DerError, match="2 more bytes"):
        reader.end()
    reader.read(0x05)
    assert not reader.at(0x05)
    reader.end()


@pytest.mark.parametrize("size", [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF])
def test_every_length_has_one_form(size: int) -> None:
    length = (
        bytes((size,)) if size < 0x80 else bytes.fromhex(f"81{size:02x}" if size < 0x100 else f"82{size:04x}")
    )
    assert der.sole(b"\x04" + length + bytes(size), der.OCTET_STRING).content == bytes(size)


@pytest.mark.parametrize(
    "encoded",
    [
        "",  # nothing
        "04",  # no length
        "0401",  # no content
        "0480 0000",  # indefinite
        "048101 00",  # one length byte too many
        "04820001 00",  # two length bytes too many
        "048200ff" + "00" * 255,  # one length byte too many
        "0483000001 00",  # longer than anything here
        "0482ff",  # a length that ends early
        "0400 00",  # trailing byte
        "0500",  # another tag
    ],
)
def test_other_forms_are_refused(encoded: str) -> None:
    with pytest.raises(DerError):
        der.sole(bytes.fromhex(encoded), der.OCTET_STRING)


@given(st.binary(max_size=64))
def test_garbage_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(DerError):
        assert der.sole(data, der.SEQUENCE).encoded == data


@pytest.mark.parametrize(("content", "value"), [("00", 0), ("7f", 127), ("0080", 128), ("020000", 0x20000)])
def test_canonical_integers(content: str, value: int) -> None:
    assert der.integer(element(bytes.fromhex(content))) == value


@pytest.mark.parametrize("content", ["", "80", "ff", "0000", "007f"])
def test_other_integers_are_refused(content: str) -> None:
    with pytest.raises(DerError, match="canonical"):
        der.integer(element(bytes.fromhex(content)))


def test_booleans_are_zero_or_all_ones() -> None:
    assert der.boolean(element(b"\xff"))
    assert not der.boolean(element(b"\x00"))
    for content in (b"", b"\x01", b"\xff\xff"):
        with pytest.raises(DerError):
            der.boolean(element(content))


def test_unused_bits_are_counted_and_zero() -> None:
    assert der.bits(element(b"\x00")) == b""
    assert der.bits(element(b"\x02\x04")) == b"\x04"
    for content in (b"", b"\x08\x00", b"\x01", b"\x03\x04"):
        with pytest.raises(DerError):
            der.bits(element(content))


def test_signatures_use_whole_octets() -> None:
    assert der.whole_octets(element(b"\x00\xaa")) == b"\xaa"
    for content in (b"", b"\x01\xaa"):
        with pytest.raises(DerError):
            der.whole_octets(element(content))


def test_text_is_utf8() -> None:
    assert der.text(element(b"SEV-VCEK")) == "SEV-VCEK"
    with pytest.raises(DerError):
        der.text(element(b"\xff"))


@pytest.mark.parametrize(
    ("content", "dotted"),
    [
        ("550403", "2.5.4.3"),
        ("2b060104019c780104", "1.3.6.1.4.1.3704.1.4"),
        ("00", "0.0"),
        ("8837", "2.999"),
    ],
)
def test_object_identifiers(content: str, dotted: str) -> None:
    assert der.object_identifier(element(bytes.fromhex(content))) == dotted


@pytest.mark.parametrize("content", ["", "80", "5580", "558001"])
def test_other_object_identifiers_are_refused(content: str) -> None:
    with pytest.raises(DerError):
        der.object_identifier(element(bytes.fromhex(content)))


@pytest.mark.parametrize(
    ("tag", "content", "seconds"),
    [
        (der.UTC_TIME, b"700101000000Z", 0),
        (der.UTC_TIME, b"491231235959Z", 2524607999),
        (der.GENERALIZED_TIME, b"20500101000000Z", 2524608000),
    ],
)
def test_times(tag: int, content: bytes, seconds: int) -> None:
    assert der.unix_time(element(content, tag)) == seconds


@pytest.mark.parametrize(
    ("tag", "content"),
    [
        (der.UTC_TIME, b"700101000000"),
        (der.UTC_TIME, b"7001010000Z"),
        (der.UTC_TIME, b"700101000000+0000"),
        (der.UTC_TIME, b"701301000000Z"),
        (der.UTC_TIME, b"700101000000Z\n"),
        (der.GENERALIZED_TIME, b"20500101000000.5Z"),
        (der.GENERALIZED_TIME, b"00000101000000Z"),
    ],
)
def test_other_times_are_refused(tag: int, content: bytes) -> None:
    with pytest.raises(DerError):
        der.unix_time(element(content, tag))
