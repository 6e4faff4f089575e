# SPDX-License-Identifier: Apache-2.0
"""Certificates and revocation lists of RFC 5280, as strict as DER, in the form each vendor signs them.

Parsing says what the bytes mean, and accepts one signature scheme: AMD's, which is RSA-PSS with SHA-384, or
another that the caller names. `check_signed_by` and `check_authority` say whether to believe what was read;
each raises CertificateError.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import load_der_public_key

from attestation import der
from attestation.der import DerError, Reader

COMMON_NAME: Final = "2.5.4.3"
BASIC_CONSTRAINTS: Final = "2.5.29.19"
KEY_USAGE: Final = "2.5.29.15"
# What this code acts on. RFC 5280 section 4.2: any other extension marked critical means refusal.
UNDERSTOOD: Final = frozenset({BASIC_CONSTRAINTS, KEY_USAGE})
# RFC 5280 sections 5.2.5 and 5.3.3: how a list also names certificates of other issuers than its own.
ISSUING_DISTRIBUTION_POINT: Final = "2.5.29.28"
CERTIFICATE_ISSUER: Final = "2.5.29.29"
INDIRECT_LIST: Final = bytes.fromhex("30038401ff")

KEY_CERT_SIGN: Final = 0x04
CRL_SIGN: Final = 0x02

RSA_BITS: Final = 4096
RSA_EXPONENT: Final = 65537
_PSS: Final = padding.PSS(mgf=padding.MGF1(SHA384()), salt_length=48)

_SHA384: Final = bytes.fromhex("300d06096086480165030402020500")
_MGF1: Final = bytes.fromhex("301a06092a864886f70d010108") + _SHA384
_PSS_PARAMETERS: Final = b"\xa0\x0f" + _SHA384 + b"\xa1\x1c" + _MGF1 + b"\xa2\x03\x02\x01\x30"
_PSS_OID: Final = bytes.fromhex("06092a864886f70d01010a")


class CertificateError(Exception):
    """A certificate or revocation list cannot be read, or does not say what it must."""


@dataclass(frozen=True, slots=True, eq=False)
class Scheme:
    """A way to sign: its name, and how its AlgorithmIdentifier may be encoded."""

    name: str
    encodings: frozenset[bytes]


# AMD's authorities spell out the default trailer field, which DER forbids; leaves and lists leave it out.
RSA_PSS: Final = Scheme(
    "RSA-PSS with SHA-384 and a salt of 48 bytes",
    frozenset(
        {
            b"\x30\x41" + _PSS_OID + b"\x30\x34" + _PSS_PARAMETERS,
            b"\x30\x46" + _PSS_OID + b"\x30\x39" + _PSS_PARAMETERS + b"\xa3\x03\x02\x01\x01",
        }
    ),
)


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension's value, and whether a reader that does not know it must refuse."""

    critical: bool
    value: bytes


@dataclass(frozen=True, slots=True)
class Name:
    """A distinguished name: the bytes to compare, and the common name to read."""

    encoded: bytes
    common_name: str


@dataclass(frozen=True, slots=True)
class Signed:
    """The outer form of certificates and lists: what is signed, and the signature."""

    content: bytes = field(repr=False)
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Certificate:
    """An X.509 certificate, version 3."""

    signed: Signed
    serial: int
    issuer: Name
    not_before: int
    not_after: int
    subject: Name
    public_key_der: bytes = field(repr=False)
    extensions: Mapping[str, Extension]

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the public key. Roots are pinned by it: one key has several certificates."""
        return sha256(self.public_key_der).digest()


@dataclass(frozen=True, slots=True)
class RevocationList:
    """An X.509 certificate revocation list, version 2.

    `serials` are those of the list's own issuer; `others` are certificates of other issuers that it names.
    """

    signed: Signed
    issuer: Name
    this_update: int
    next_update: int
    serials: frozenset[int]
    others: frozenset[tuple[bytes, int]] = frozenset()

    def names(self, certificate: Certificate) -> bool:
        """Whether the certificate is on the list: serial numbers are counted apart for each issuer (S8)."""
        own = certificate.issuer.encoded == self.issuer.encoded and certificate.serial in self.serials
        return own or (certificate.issuer.encoded, certificate.serial) in self.others


@lru_cache(maxsize=64)
def parse_certificate(certificate_der: bytes, scheme: Scheme = RSA_PSS) -> Certificate:
    """Read exactly one certificate; CertificateError for anything else. Authorities occur in every chain."""
    try:
        signed, algorithm, fields = _open(certificate_der)
        if fields.enter(0xA0).read(der.INTEGER).content != b"\x02":
            raise CertificateError("expected a certificate of version 3")
        serial = der.integer(fields.read(der.INTEGER))
        _check_algorithm(fields, algorithm, scheme)
        issuer = _name(fields)
        not_before, not_after = _validity(fields)
        subject = _name(fields)
        public_key_der = fields.read(der.SEQUENCE).encoded
        extensions = _extensions(fields.enter(0xA3))
        fields.end()
    except DerError as error:
        raise CertificateError(f"certificate: {error}") from error
    return Certificate(signed, serial, issuer, not_before, not_after, subject, public_key_der, extensions)


@lru_cache(maxsize=16)
def parse_revocation_list(list_der: bytes, scheme: Scheme = RSA_PSS) -> RevocationList:
    """Read exactly one revocation list with an end date. A list serves every platform for weeks."""
    try:
        signed, algorithm, fields = _open(list_der)
        if fields.read(der.INTEGER).content != b"\x01":
            raise CertificateError("expected a revocation list of version 2")
        _check_algorithm(fields, algorithm, scheme)
        issuer = _name(fields)
        this_update, next_update = _time(fields), _time(fields)
        entries = _entries(fields.enter(der.SEQUENCE)) if fields.at(der.SEQUENCE) else []
        _check_scope(_extensions(fields.enter(0xA0), ISSUING_DISTRIBUTION_POINT))
        fields.end()
        serials, others = _revoked(entries, issuer)
    except DerError as error:
        raise CertificateError(f"revocation list: {error}") from error
    return RevocationList(signed, issuer, this_update, next_update, serials, others)


def check_signed_by(signed: Signed, issuer: Certificate) -> None:
    """Refuse an RSA-PSS signature that the issuer's key did not make."""
    try:
        _verify_once(issuer.public_key_der, signed.signature, signed.content)
    except InvalidSignature as error:
        raise CertificateError(f"signature is not by {issuer.subject.common_name}") from error
    except CertificateError as error:
        raise CertificateError(f"{issuer.subject.common_name}: {error}") from error


@lru_cache(maxsize=64)
def _verify_once(public_key_der: bytes, signature: bytes, content: bytes) -> None:
    """What authorities sign is the same for many machines and for weeks. A refusal is never remembered."""
    authority_key(public_key_der).verify(signature, content, _PSS, SHA384())


@lru_cache(maxsize=16)
def authority_key(public_key_der: bytes) -> rsa.RSAPublicKey:
    """The RSA-4096 key in a SubjectPublicKeyInfo: a root's is needed three times in one chain."""
    try:
        key = load_der_public_key(public_key_der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError("unreadable public key") from error
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != RSA_BITS:
        raise CertificateError(f"expected an RSA-{RSA_BITS} key")
    if key.public_numbers().e != RSA_EXPONENT:
        raise CertificateError(f"expected the RSA exponent {RSA_EXPONENT}")
    return key


def check_authority(certificate: Certificate, usage: int) -> None:
    """Refuse a certificate that is no authority, or whose key usage lacks one of the bits of `usage`."""
    name, extensions = certificate.subject.common_name, certificate.extensions
    try:
        if not _is_authority(extensions):
            raise CertificateError(f"{name}: expected a certificate authority")
        allowed = extensions.get(KEY_USAGE)
        if (
            allowed
            and (int.from_bytes(der.bits(der.sole(allowed.value, der.BIT_STRING))[:1]) & usage) != usage
        ):
            raise CertificateError(f"{name}: expected key usage {usage:#04x}, found {allowed.value.hex()}")
    except DerError as error:
        raise CertificateError(f"{name}: {error}") from error


def _open(encoded: bytes) -> tuple[Signed, bytes, Reader]:
    """The signed part with its signature, the algorithm named outside it, and its fields."""
    outer = Reader(der.sole(encoded, der.SEQUENCE).content)
    content, algorithm = outer.read(der.SEQUENCE), outer.read(der.SEQUENCE)
    signature = der.whole_octets(outer.read(der.BIT_STRING))
    outer.end()
    return Signed(content.encoded, signature), algorithm.encoded, Reader(content.content)


def _check_algorithm(fields: Reader, outside: bytes, scheme: Scheme) -> None:
    """RFC 5280 section 4.1.1.2: the algorithm named outside equals the signed one inside."""
    inside = fields.read(der.SEQUENCE).encoded
    if inside != outside or inside not in scheme.encodings:
        raise CertificateError(f"expected {scheme.name}, found {inside.hex()} and {outside.hex()}")


def _name(fields: Reader) -> Name:
    """A Name with exactly one common name."""
    return _read_name(fields.read(der.SEQUENCE).encoded)


@lru_cache(maxsize=64)
def _read_name(encoded: bytes) -> Name:
    """Subjects and issuers repeat within a chain and from chain to chain."""
    common_names = list[str]()
    names = Reader(der.sole(encoded, der.SEQUENCE).content)
    while not names.finished:
        attributes = names.enter(der.SET)
        while not attributes.finished:
            attribute = attributes.enter(der.SEQUENCE)
            kind = der.object_identifier(attribute.read(der.OBJECT_IDENTIFIER))
            value = attribute.read(der.UTF8_STRING, der.PRINTABLE_STRING, der.IA5_STRING)
            attribute.end()
            if kind == COMMON_NAME:
                common_names.append(der.text(value))
    if len(common_names) != 1:
        raise CertificateError(f"expected one common name, found {len(common_names)}")
    return Name(encoded, common_names[0])


def _validity(fields: Reader) -> tuple[int, int]:
    validity = fields.enter(der.SEQUENCE)
    not_before, not_after = _time(validity), _time(validity)
    validity.end()
    return not_before, not_after


def _time(fields: Reader) -> int:
    return der.unix_time(fields.read(der.UTC_TIME, der.GENERALIZED_TIME))


def _extensions(tagged: Reader, *understood: str) -> Mapping[str, Extension]:
    """Extensions by identifier: version 3 certificates tag them [3], version 2 lists [0]."""
    extensions = _extension_list(tagged.enter(der.SEQUENCE), *understood)
    tagged.end()
    return extensions


def _extension_list(items: Reader, *understood: str) -> Mapping[str, Extension]:
    extensions = dict[str, Extension]()
    while not items.finished:
        item = items.enter(der.SEQUENCE)
        identifier = der.object_identifier(item.read(der.OBJECT_IDENTIFIER))
        critical = _flag(item)
        if identifier in extensions:
            raise CertificateError(f"extension {identifier} occurs twice")
        if critical and identifier not in UNDERSTOOD and identifier not in understood:
            raise CertificateError(f"extension {identifier} is critical and unknown")
        extensions[identifier] = Extension(critical, item.read(der.OCTET_STRING).content)
        item.end()
    return MappingProxyType(extensions)


def _flag(fields: Reader) -> bool:
    """BOOLEAN DEFAULT FALSE, which DER leaves out when it is false."""
    if not fields.at(der.BOOLEAN):
        return False
    if not der.boolean(fields.read(der.BOOLEAN)):
        raise DerError("expected no boolean where the default is false")
    return True


def _is_authority(extensions: Mapping[str, Extension]) -> bool:
    """BasicConstraints ::= SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }."""
    if BASIC_CONSTRAINTS not in extensions:
        return False
    constraints = Reader(der.sole(extensions[BASIC_CONSTRAINTS].value, der.SEQUENCE).content)
    authority = _flag(constraints)
    if constraints.at(der.INTEGER):
        # A chain here is root, intermediate and leaf by construction, so a length limits nothing further.
        der.integer(constraints.read(der.INTEGER))
    constraints.end()
    return authority


def _entries(items: Reader) -> list[tuple[int, Mapping[str, Extension]]]:
    """Serial numbers with the extensions of their entries."""
    entries = list[tuple[int, Mapping[str, Extension]]]()
    while not items.finished:
        entry = items.enter(der.SEQUENCE)
        serial = der.integer(entry.read(der.INTEGER))
        _time(entry)
        extensions: Mapping[str, Extension] = MappingProxyType({})
        if entry.at(der.SEQUENCE):
            extensions = _extension_list(entry.enter(der.SEQUENCE), CERTIFICATE_ISSUER)
        entry.end()
        entries.append((serial, extensions))
    return entries


def _check_scope(extensions: Mapping[str, Extension]) -> None:
    """Refuse a list that covers a part of the certificates: it says nothing about the others."""
    scope = extensions.get(ISSUING_DISTRIBUTION_POINT)
    if scope is not None and scope.value != INDIRECT_LIST:
        raise CertificateError(f"expected a revocation list of full scope, found {scope.value.hex()}")


def _revoked(
    entries: list[tuple[int, Mapping[str, Extension]]], issuer: Name
) -> tuple[frozenset[int], frozenset[tuple[bytes, int]]]:
    """Serials of the list's issuer, and serials of others. A named issuer holds for what follows."""
    serials, others, current = set[int](), set[tuple[bytes, int]](), issuer.encoded
    for serial, extensions in entries:
        named = extensions.get(CERTIFICATE_ISSUER)
        if named is not None:
            names = der.sole(der.sole(named.value, der.SEQUENCE).content, 0xA4)
            current = der.sole(names.content, der.SEQUENCE).encoded
        if current == issuer.encoded:
            serials.add(serial)
        else:
            others.add((current, serial))
    return frozenset(serials), frozenset(others)
