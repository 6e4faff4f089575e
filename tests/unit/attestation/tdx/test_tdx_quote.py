# SPDX-License-Identifier: Apache-2.0
"""Quotes: every byte has a meaning, and every size is within its bounds."""

from dataclasses import replace

import pytest

from attestation.simulated.td_quote import BodyType as SimulatedBody
from attestation.tdx.quote import MAX_QUOTE_SIZE, BodyType, QuoteError, parse_quote
from tests.unit.attestation.tdx.simulated import GOOD, REPORT_DATA, quote_of

V4 = quote_of(GOOD)
V5 = quote_of(replace(GOOD, quote=replace(GOOD.quote, version=5, body_type=SimulatedBody.TD_1_5)))
EXTENDED = quote_of(
    replace(GOOD, quote=replace(GOOD.quote, version=5, body_type=SimulatedBody.TD_1_5_EXTENDED))
)
SIGNATURE_SIZE = 48 + 584
REPORT = SIGNATURE_SIZE + 4 + 128 + 6


def patched(quote: bytes, offset: int, value: bytes) -> bytes:
    return quote[:offset] + value + quote[offset + len(value) :]


def test_versions_and_bodies_are_read() -> None:
    for data, version, body_type, end in (
        (V4, 4, BodyType.TD_1_0, 632),
        (V5, 5, BodyType.TD_1_5, 702),
        (EXTENDED, 5, BodyType.TD_1_5_EXTENDED, 939),
    ):
        quote = parse_quote(data)
        assert (quote.header.version, quote.body_type, quote.size) == (version, body_type, len(data))
        assert quote.signed == data[:end]
        assert quote.body.report_data == REPORT_DATA
        assert (quote.body.td15 is None) == (body_type is BodyType.TD_1_0)
        assert (quote.body.extended is None) == (body_type is not BodyType.TD_1_5_EXTENDED)


@pytest.mark.parametrize(
    ("quote", "words"),
    [
        (b"", "header of 48 bytes, found 0"),
        (V4[:47], "header of 48 bytes, found 47"),
        (V4[:100], "body of 584 bytes, found 52"),
        (V4[:633], "signature size of 4 bytes, found 1"),
        (V4[:700], "signature data of"),
        (patched(V4, 0, b"\x03"), "version 4 or 5, found 3"),
        (patched(V4, 0, b"\x06"), "version 4 or 5, found 6"),
        (patched(V4, 2, b"\x03"), "key type 2, found 3"),
        (patched(V4, 4, b"\x00"), "TEE type 0x81, found 0x0"),
        (patched(V4, 8, b"\x01"), "4 zero bytes at 8"),
        (patched(V4, 12, b"\x00"), "vendor"),
        (patched(V5, 48, b"\x01"), "type 2, 3 or 4, found 1"),
        (patched(V5, 50, b"\x89"), "body of 648 bytes of type 3, found 649"),
        (V5[:50], "body descriptor"),
        (patched(V4, REPORT - 6, b"\x05"), "type 6, found 5"),
        (patched(V4, REPORT - 4, b"\x00"), "certified report of"),
        (patched(V4, REPORT + 20, b"\x01"), "reserved parts"),
        (patched(V4, REPORT + 448, b"\xff\xff"), "authentication data of 65535"),
        (patched(V4, REPORT + 482, b"\x04"), r"type 5\), found type 4"),
        (patched(V4, REPORT + 484, b"\x00"), "certificate chain of"),
        (patched(V4, REPORT + 490, b"\x00"), "certificate chain: expected up to 5"),
        (V4 + b"\x01", "zero bytes after the quote"),
        (V4.ljust(MAX_QUOTE_SIZE + 1, b"\x00"), "exceeds 65536"),
    ],
)
def test_other_bytes_are_refused(quote: bytes, words: str) -> None:
    with pytest.raises(QuoteError, match=words):
        parse_quote(quote)


def test_signature_data_may_not_end_within_its_parts() -> None:
    """Each inner size is bound by the outer one, which says where the quote ends."""
    for size in (0, 64, 133):
        with pytest.raises(QuoteError):
            parse_quote(patched(V4, SIGNATURE_SIZE, size.to_bytes(4, "little")) + bytes(8))


@pytest.mark.parametrize("size", [0, 100, 447, 449, 470])
def test_certified_report_may_not_end_within_its_parts(size: int) -> None:
    content = V4[REPORT : REPORT + size]
    head = V4[SIGNATURE_SIZE + 4 : REPORT - 4] + size.to_bytes(4, "little")
    whole = head + content
    with pytest.raises(QuoteError):
        parse_quote(V4[:SIGNATURE_SIZE] + len(whole).to_bytes(4, "little") + whole)


@pytest.mark.parametrize("end", range(0, len(V4), 97))
def test_quote_cut_short_is_refused(end: int) -> None:
    with pytest.raises(QuoteError):
        parse_quote(V4[:end])


def test_zeros_after_a_quote_are_padding() -> None:
    quote = parse_quote(V4.ljust(8000, b"\x00"))
    assert (quote.size, quote.padding) == (len(V4), 8000 - len(V4))
