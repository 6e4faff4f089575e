# SPDX-License-Identifier: Apache-2.0
"""The host's certificates: bounds that hold whatever the host writes."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.collect.certificate_table import (
    MAX_TABLE_BYTES,
    CertificateTableError,
    Content,
    chain_of,
    parse_certificate_table,
)
from tests.fakes.certificate_table import GOOD, head, pem, table


def test_guid_is_stored_as_efi_stores_it() -> None:
    assert GOOD[:16].hex() == "8d75da6364e66445adc5f4b93be8accd"
    assert [entry.guid for entry in parse_certificate_table(GOOD)] == [
        Content.VCEK.value,
        Content.ASK.value,
        Content.ARK.value,
    ]


def test_chain_in_the_order_of_evidence() -> None:
    assert chain_of(parse_certificate_table(GOOD)) == (b"leaf", b"middle", b"root")
    by_provider = table((Content.ARK, b"root"), (Content.ASK, b"middle"), (Content.VLEK, b"leaf"))
    assert chain_of(parse_certificate_table(by_provider.ljust(4096, b"\0"))) == (b"leaf", b"middle", b"root")


@pytest.mark.parametrize("empty", [b"", bytes(24), bytes(4096)])
def test_host_without_certificates(empty: bytes) -> None:
    assert parse_certificate_table(empty) == ()


VCEK = Content.VCEK.value


@pytest.mark.parametrize(
    ("hostile", "complaint"),
    [
        (bytes(MAX_TABLE_BYTES + 1), "exceeds"),
        (b"short", "an entry of zeros"),
        (head(VCEK, 24, 1), "an entry of zeros"),
        (head(VCEK, 24, 1) + bytes(23), "an entry of zeros"),
        (b"".join(head(UUID(int=n), 480, 1) for n in range(1, 20)) + bytes(48), "at most 16 entries"),
        (head(VCEK, 72, 1) * 2 + bytes(24) + b"x", "a GUID of its own"),
        (head(UUID(int=0), 48, 1) + bytes(24) + b"x", "a GUID of its own"),
        (head(VCEK, 47, 1) + bytes(24) + b"x", "found 1 bytes at 47"),
        (head(VCEK, 0, 24) + bytes(24) + b"x", "found 24 bytes at 0"),
        (head(VCEK, 48, 0) + bytes(24) + b"x", "found 0 bytes"),
        (head(VCEK, 48, 2) + bytes(24) + b"x", "found 2 bytes"),
        (head(VCEK, 0xFFFFFFFF, 0xFFFFFFFF) + bytes(24) + b"x", "found 4294967295 bytes"),
    ],
)
def test_hostile_table_is_refused(hostile: bytes, complaint: str) -> None:
    with pytest.raises(CertificateTableError, match=complaint):
        parse_certificate_table(hostile)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_table_or_refused(hostile: bytes) -> None:
    try:
        entries = parse_certificate_table(hostile)
    except CertificateTableError:
        return
    assert all(entry.data in hostile for entry in entries)


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        (((Content.ASK, b"a"), (Content.ARK, b"b")), "found 0"),
        (((Content.VCEK, b"a"), (Content.VLEK, b"b")), "found 2"),
        (((Content.VCEK, b"a"),), "expected ASK and ARK"),
        (((Content.VCEK, b"a"), (Content.ASK, b"b")), "expected ARK beside"),
        (((Content.VCEK, b"-----BEGIN X"), (Content.ASK, b"b"), (Content.ARK, b"c")), "certificate: "),
        (((Content.VCEK, pem(b"a") * 2), (Content.ASK, b"b"), (Content.ARK, b"c")), "found 2"),
    ],
)
def test_incomplete_chain_is_refused(entries: tuple[tuple[Content, bytes], ...], complaint: str) -> None:
    with pytest.raises(CertificateTableError, match=complaint):
        chain_of(parse_certificate_table(table(*entries)))
