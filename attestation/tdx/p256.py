# SPDX-License-Identifier: Apache-2.0
"""Certificates and revocation lists of RFC 5280 in the one form Intel signs: ECDSA P-256 with SHA-256.

The values are those of `attestation.x509`, whose readers accept AMD's RSA-PSS only. Parsing says what the
bytes mean; `check_signed_by` says whether the issuer's key signed them. All raise CertificateError.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from attestation import der, x509
from attestation.der import DerError, Reader
from attestation.x509 import Certificate, CertificateError, Extension, Name, RevocationList, Signed

POINT_SIZE: Final = 64
SIGNATURE_SIZE: Final = 64
DIGITAL_SIGNATURE: Final = 0x80

# RFC 5758 section 3.2: ecdsa-with-SHA256 has no parameters.
_ECDSA_SHA256: Final = bytes.fromhex("300a06082a8648ce3d040302")
# RFC 5480 section 2: a SubjectPublicKeyInfo on P-256, up to its uncompressed point.
_KEY_PREFIX: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_ECDSA: Final = ec.ECDSA(SHA256())


def parse_certificate(certificate_der: bytes) -> Certificate:
    """Read exactly one certificate of a P-256 key, signed with another."""
    return _certificate(certificate_der)


def parse_revocation_list(list_der: bytes) -> RevocationList:
    """Read exactly one revocation list with an end date."""
    return _revocation_list(list_der)


def load_point(public_point: bytes, name: str) -> ec.EllipticCurvePublicKey:
    """The public key at x, y; CertificateError where that is no point of P-256."""
    return _key(public_point, name)


@lru_cache(maxsize=64)
def _certificate(certificate_der: bytes) -> Certificate:
    """The same authorities occur in every chain."""
    try:
        signed, algorithm, fields = _open(certificate_der)
        if fields.enter(0xA0).read(der.INTEGER).content != b"\x02":
            raise CertificateError("expected a certificate of version 3")
        serial = der.integer(fields.read(der.INTEGER))
        _check_algorithm(fields, algorithm)
        issuer = _name(fields)
        validity = fields.enter(der.SEQUENCE)
        not_before, not_after = _time(validity), _time(validity)
        validity.end()
        subject = _name(fields)
        public_key_der = fields.read(der.SEQUENCE).encoded
        extensions = _extensions(fields.enter(0xA3))
        fields.end()
    except DerError as error:
        raise CertificateError(f"certificate: {error}") from error
    if not public_key_der.startswith(_KEY_PREFIX):
        raise CertificateError(f"{subject.common_name}: expected a P-256 key")
    return Certificate(signed, serial, issuer, not_before, not_after, subject, public_key_der, extensions)


@lru_cache(maxsize=16)
def _revocation_list(list_der: bytes) -> RevocationList:
    """A list serves every platform for weeks."""
    try:
        signed, algorithm, fields = _open(list_der)
        if fields.read(der.INTEGER).content != b"\x01":
            raise CertificateError("expected a revocation list of version 2")
        _check_algorithm(fields, algorithm)
        issuer = _name(fields)
        this_update, next_update = _time(fields), _time(fields)
        serials = _revoked(fields.enter(der.SEQUENCE)) if fields.at(der.SEQUENCE) else frozenset[int]()
        _extensions(fields.enter(0xA0))
        fields.end()
    except DerError as error:
        raise CertificateError(f"revocation list: {error}") from error
    return RevocationList(signed, issuer, this_update, next_update, serials)


def check_signed_by(signed: Signed, issuer: Certificate) -> None:
    """Refuse a signature that the issuer's key did not make."""
    _verify_once(point(issuer), signed.signature, signed.content, issuer.subject.common_name)


def check_statement(signed: Signed, issuer: Certificate) -> None:
    """Refuse a statement whose signature r, s the issuer's key did not make."""
    signature = _to_der(signed.signature)
    _verify_once(point(issuer), signature, signed.content, issuer.subject.common_name)


def point(certificate: Certificate) -> bytes:
    """The certificate's public key, as x and y."""
    return certificate.public_key_der[len(_KEY_PREFIX) :]


def verify_raw(public_point: bytes, signature: bytes, content: bytes, name: str) -> None:
    """Refuse a signature of the form r, s (big-endian) that the key did not make over `content`."""
    _verify(public_point, _to_der(signature), content, name)


def _to_der(signature: bytes) -> bytes:
    if len(signature) != SIGNATURE_SIZE:
        raise CertificateError(f"expected a signature of {SIGNATURE_SIZE} bytes, found {len(signature)}")
    return encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))


def _verify(public_point: bytes, signature_der: bytes, content: bytes, name: str) -> None:
    try:
        load_point(public_point, name).verify(signature_der, content, _ECDSA)
    except InvalidSignature as error:
        raise CertificateError(f"signature is not by {name}") from error


# What authorities sign is the same for many platforms and for weeks. A refusal is never remembered.
_verify_once: Final = lru_cache(maxsize=64)(_verify)


@lru_cache(maxsize=64)
def _key(public_point: bytes, name: str) -> ec.EllipticCurvePublicKey:
    if len(public_point) != POINT_SIZE:
        raise CertificateError(
            f"{name}: expected a P-256 key of {POINT_SIZE} bytes, found {len(public_point)}"
        )
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + public_point)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{name}: expected a point on P-256") from error


def check_signer(certificate: Certificate) -> None:
    """Refuse a certificate that may not sign statements: an authority's, or one for another use."""
    name, extensions = certificate.subject.common_name, certificate.extensions
    if x509.KEY_USAGE not in extensions or x509.BASIC_CONSTRAINTS not in extensions:
        raise CertificateError(f"{name}: expected basic constraints and key usage")
    try:
        usage = der.bits(der.sole(extensions[x509.KEY_USAGE].value, der.BIT_STRING))
        constraints = der.sole(extensions[x509.BASIC_CONSTRAINTS].value, der.SEQUENCE).content
    except DerError as error:
        raise CertificateError(f"{name}: {error}") from error
    if not usage or not usage[0] & DIGITAL_SIGNATURE or constraints:
        raise CertificateError(f"{name}: expected a certificate for signatures, and no authority")


def _open(encoded: bytes) -> tuple[Signed, bytes, Reader]:
    """The signed part with its signature, the algorithm named outside it, and its fields."""
    outer = Reader(der.sole(encoded, der.SEQUENCE).content)
    content, algorithm = outer.read(der.SEQUENCE), outer.read(der.SEQUENCE)
    signature = der.whole_octets(outer.read(der.BIT_STRING))
    outer.end()
    return Signed(content.encoded, signature), algorithm.encoded, Reader(content.content)


def _check_algorithm(fields: Reader, outside: bytes) -> None:
    """RFC 5280 section 4.1.1.2: the algorithm named outside equals the signed one inside."""
    inside = fields.read(der.SEQUENCE).encoded
    if inside != outside or inside != _ECDSA_SHA256:
        raise CertificateError(f"expected ECDSA with SHA-256, found {inside.hex()} and {outside.hex()}")


def _name(fields: Reader) -> Name:
    """A Name with exactly one common name."""
    element = fields.read(der.SEQUENCE)
    common_names = list[str]()
    names = Reader(element.content)
    while not names.finished:
        attributes = names.enter(der.SET)
        while not attributes.finished:
            common_names += _common_name(attributes.enter(der.SEQUENCE))
    if len(common_names) != 1:
        raise CertificateError(f"expected one common name, found {len(common_names)}")
    return Name(element.encoded, common_names[0])


def _common_name(attribute: Reader) -> list[str]:
    kind = der.object_identifier(attribute.read(der.OBJECT_IDENTIFIER))
    value = attribute.read(der.UTF8_STRING, der.PRINTABLE_STRING, der.IA5_STRING)
    attribute.end()
    return [der.text(value)] if kind == x509.COMMON_NAME else []


def _time(fields: Reader) -> int:
    return der.unix_time(fields.read(der.UTC_TIME, der.GENERALIZED_TIME))


def _extensions(tagged: Reader) -> Mapping[str, Extension]:
    """Extensions by identifier; RFC 5280 section 4.2: one that is critical and unknown means refusal."""
    extensions = _extension_list(tagged.enter(der.SEQUENCE))
    tagged.end()
    return extensions


def _extension_list(items: Reader) -> Mapping[str, Extension]:
    extensions = dict[str, Extension]()
    while not items.finished:
        item = items.enter(der.SEQUENCE)
        identifier = der.object_identifier(item.read(der.OBJECT_IDENTIFIER))
        critical = item.at(der.BOOLEAN)
        if critical and not der.boolean(item.read(der.BOOLEAN)):
            raise DerError("expected no boolean where the default is false")
        if identifier in extensions:
            raise CertificateError(f"extension {identifier} occurs twice")
        if critical and identifier not in x509.UNDERSTOOD:
            raise CertificateError(f"extension {identifier} is critical and unknown")
        extensions[identifier] = Extension(critical, item.read(der.OCTET_STRING).content)
        item.end()
    return MappingProxyType(extensions)


def _revoked(entries: Reader) -> frozenset[int]:
    """Serial numbers on the list. An entry with a critical extension may concern another issuer: refused."""
    serials = set[int]()
    while not entries.finished:
        entry = entries.enter(der.SEQUENCE)
        serials.add(der.integer(entry.read(der.INTEGER)))
        _time(entry)
        if entry.at(der.SEQUENCE):
            _extension_list(entry.enter(der.SEQUENCE))
        entry.end()
    return frozenset(serials)
