# SPDX-License-Identifier: Apache-2.0
"""The table of certificates that a host gives with an SNP report (AMD 56421 4.1.8.1; attestation.md 3.2).

Entries of GUID, offset and length, ended by an entry of zeros; the certificates follow. All of it is the
host's word: bounds are checked here, and what a certificate is worth, the verifier's pinned roots decide.
"""

from dataclasses import dataclass, field
from enum import Enum
from struct import Struct
from typing import Final
from uuid import UUID

from attestation.tdx.pem import PemError, decode_pem

MAX_TABLE_BYTES: Final = 32 * 1024  # as much as configfs passes on
MAX_ENTRIES: Final = 16  # genuine tables have three or four

_ENTRY: Final = Struct("<16sII")
_END: Final = bytes(_ENTRY.size)
_PEM: Final = b"-----BEGIN"


class CertificateTableError(Exception):
    """The host's table of certificates cannot be read, or lacks one."""


class Content(Enum):
    """What an entry holds. GUIDs are stored as EFI stores them: the first three groups little-endian."""

    VCEK = UUID("63da758d-e664-4564-adc5-f4b93be8accd")
    VLEK = UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1")
    ASK = UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782")
    ARK = UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae")
    REVOCATION_LIST = UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea")
    PLATFORM_INFORMATION = UUID("ecae0c0f-9502-43b1-afa2-0ae2e0d565b6")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. GUIDs that are not in `Content` are a host's own business."""

    guid: UUID
    data: bytes = field(repr=False)


def parse_certificate_table(table: bytes) -> tuple[Entry, ...]:
    """Read a table; bytes that no entry points at are ignored, because tables come in padded pages.

    1. The size is bounded, and an entry of zeros ends the list within it. No bytes are an empty table.
    2. Each entry has a GUID that no other has.
    3. Each points behind the list and at bytes that are there.
    """
    # 1.
    if len(table) > MAX_TABLE_BYTES:
        raise CertificateTableError(f"table of {len(table)} bytes exceeds {MAX_TABLE_BYTES}")
    heads = _heads(table)
    # 2.
    guids = [UUID(bytes_le=guid) for guid, _, _ in heads]
    if len(set(guids)) != len(guids) or UUID(int=0) in guids:
        raise CertificateTableError("expected a GUID of its own for each entry")
    # 3.
    first = _ENTRY.size * (len(heads) + 1)
    entries: list[Entry] = []
    for guid, (_, offset, length) in zip(guids, heads, strict=True):
        if offset < first or not length or offset + length > len(table):
            raise CertificateTableError(
                f"expected bytes {first} to {len(table)} for {guid}, found {length} bytes at {offset}"
            )
        entries.append(Entry(guid, table[offset : offset + length]))
    return tuple(entries)


def chain_of(entries: tuple[Entry, ...]) -> tuple[bytes, ...]:
    """Leaf, intermediate and root in DER. CertificateTableError where the table lacks one of them."""
    found = {entry.guid: entry.data for entry in entries}
    leaves = [leaf for leaf in (Content.VCEK, Content.VLEK) if leaf.value in found]
    if len(leaves) != 1:
        raise CertificateTableError(f"expected a VCEK or a VLEK, found {len(leaves)} of them")
    missing = [content.name for content in (Content.ASK, Content.ARK) if content.value not in found]
    if missing:
        raise CertificateTableError(f"expected {' and '.join(missing)} beside the leaf; get them from AMD")
    return tuple(_der(found[content.value]) for content in (*leaves, Content.ASK, Content.ARK))


def _heads(table: bytes) -> list[tuple[bytes, int, int]]:
    heads: list[tuple[bytes, int, int]] = []
    for start in range(0, len(table), _ENTRY.size):
        encoded = table[start : start + _ENTRY.size]
        if encoded == _END:
            return heads
        if len(encoded) < _ENTRY.size or len(heads) == MAX_ENTRIES:
            break
        heads.append(_ENTRY.unpack(encoded))
    if table:
        raise CertificateTableError(f"expected an entry of zeros after at most {MAX_ENTRIES} entries")
    return heads


def _der(certificate: bytes) -> bytes:
    """Some hosts store text."""
    if not certificate.startswith(_PEM):
        return certificate
    try:
        certificates = decode_pem(certificate)
    except PemError as error:
        raise CertificateTableError(f"certificate: {error}") from error
    if len(certificates) != 1:
        raise CertificateTableError(f"expected one certificate for each entry, found {len(certificates)}")
    return certificates[0]
