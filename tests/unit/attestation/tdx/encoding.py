# SPDX-License-Identifier: Apache-2.0
"""DER by hand: certificates and lists that no library would write."""

from dataclasses import dataclass

SEQUENCE, SET, INTEGER, BITS, OCTETS, OID, BOOLEAN, UTF8, UTC = (
    0x30, 0x31, 0x02, 0x03, 0x04, 0x06, 0x01, 0x0C, 0x17,
)  # fmt: skip
ENUMERATED = 0x0A
ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
P256_KEY = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
GENERATOR = bytes.fromhex(
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
BASIC_CONSTRAINTS, KEY_USAGE = "2.5.29.19", "2.5.29.15"


def tlv(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    width = (size.bit_length() + 7) // 8
    return bytes((tag, 0x80 | width)) + size.to_bytes(width, "big") + content


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    content = bytes((40 * first + second,))
    for arc in rest:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(arc & 0x7F | 0x80)
        content += bytes(reversed(groups))
    return tlv(OID, content)


def integer(value: int) -> bytes:
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def name(*common_names: str) -> bytes:
    country = tlv(SET, tlv(SEQUENCE, oid("2.5.4.6"), tlv(0x13, b"US")))
    return tlv(
        SEQUENCE,
        *(tlv(SET, tlv(SEQUENCE, oid("2.5.4.3"), tlv(UTF8, item.encode()))) for item in common_names),
        country,
    )


def extension(identifier: str, value: bytes, *critical: bytes) -> bytes:
    return tlv(SEQUENCE, oid(identifier), *critical, tlv(OCTETS, value))


TRUE, FALSE = tlv(BOOLEAN, b"\xff"), tlv(BOOLEAN, b"\x00")
SIGNS = extension(KEY_USAGE, tlv(BITS, b"\x06\xc0"), TRUE)
NO_AUTHORITY = extension(BASIC_CONSTRAINTS, tlv(SEQUENCE), TRUE)


@dataclass(frozen=True)
class CertificateParts:
    """A certificate, right but unsigned, for `dataclasses.replace` to spoil one part."""

    version: bytes = tlv(0xA0, b"\x02\x01\x02")
    inside: bytes = ECDSA_SHA256
    outside: bytes = ECDSA_SHA256
    issuer: bytes = name("Intel SGX Root CA")
    subject: bytes = name("Intel SGX PCK Certificate")
    key: bytes = P256_KEY + GENERATOR
    extensions: tuple[bytes, ...] = (SIGNS, NO_AUTHORITY)
    after: bytes = b""

    def encode(self) -> bytes:
        time = tlv(UTC, b"260101000000Z")
        extensions = tlv(0xA3, tlv(SEQUENCE, *self.extensions))
        content = tlv(
            SEQUENCE,
            *(self.version, integer(1), self.inside, self.issuer, tlv(SEQUENCE, time, time)),
            *(self.subject, self.key, extensions, self.after),
        )
        return tlv(SEQUENCE, content, self.outside, tlv(BITS, b"\x00", tlv(SEQUENCE, integer(1), integer(1))))


@dataclass(frozen=True)
class ListParts:
    """A revocation list, right but unsigned."""

    version: bytes = b"\x02\x01\x01"
    entries: tuple[bytes, ...] = ()
    extensions: tuple[bytes, ...] = (extension("2.5.29.20", integer(1)),)

    def encode(self) -> bytes:
        time = tlv(UTC, b"260101000000Z")
        entries = tlv(SEQUENCE, *self.entries) if self.entries else b""
        extensions = tlv(0xA0, tlv(SEQUENCE, *self.extensions))
        issuer = name("Intel SGX Root CA")
        content = tlv(SEQUENCE, self.version, ECDSA_SHA256, issuer, time, time, entries, extensions)
        return tlv(SEQUENCE, content, ECDSA_SHA256, tlv(BITS, b"\x00", tlv(SEQUENCE, integer(1), integer(1))))


def revoked(serial: int, *extensions: bytes) -> bytes:
    listed = tlv(SEQUENCE, *extensions) if extensions else b""
    return tlv(SEQUENCE, integer(serial), tlv(UTC, b"260101000000Z"), listed)


SGX = "1.2.840.113741.1.13.1"


def pair(identifier: str, value: bytes) -> bytes:
    return tlv(SEQUENCE, oid(identifier), value)


def tcb_pairs() -> dict[str, bytes]:
    pairs = {f"{SGX}.2.{arc}": pair(f"{SGX}.2.{arc}", integer(arc)) for arc in range(1, 18)}
    return pairs | {f"{SGX}.2.18": pair(f"{SGX}.2.18", tlv(OCTETS, bytes(16)))}


def sgx_pairs() -> dict[str, bytes]:
    """The fields of the SGX extension, by identifier."""
    return {
        f"{SGX}.1": pair(f"{SGX}.1", tlv(OCTETS, bytes(16))),
        f"{SGX}.2": pair(f"{SGX}.2", tlv(SEQUENCE, *tcb_pairs().values())),
        f"{SGX}.3": pair(f"{SGX}.3", tlv(OCTETS, bytes(2))),
        f"{SGX}.4": pair(f"{SGX}.4", tlv(OCTETS, bytes(6))),
        f"{SGX}.5": pair(f"{SGX}.5", tlv(ENUMERATED, b"\x00")),
    }


def pck(pairs: dict[str, bytes]) -> CertificateParts:
    return CertificateParts(extensions=(SIGNS, NO_AUTHORITY, extension(SGX, tlv(SEQUENCE, *pairs.values()))))
