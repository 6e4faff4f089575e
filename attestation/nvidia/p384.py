# SPDX-License-Identifier: Apache-2.0
"""Certificates with ECDSA on P-384 and SHA-384, in the one form that NVIDIA's device authorities sign."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from attestation import der, x509
from attestation.der import DerError, Reader
from attestation.x509 import Certificate, CertificateError, Extension, Name, Signed

SCALAR_SIZE: Final = 48
SIGNATURE_SIZE: Final = 2 * SCALAR_SIZE
# AlgorithmIdentifier of ecdsa-with-SHA384; SubjectPublicKeyInfo of an uncompressed point on P-384.
_ECDSA_SHA384: Final = bytes.fromhex("300a06082a8648ce3d040303")
_KEY_PREFIX: Final = bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004")


def parse_certificate(certificate_der: bytes) -> Certificate:
    """Read exactly one certificate; CertificateError for anything else."""
    try:
        signed, algorithm, fields = _open(certificate_der)
        if fields.enter(0xA0).read(der.INTEGER).content != b"\x02":
            raise CertificateError("expected a certificate of version 3")
        serial = der.integer(fields.read(der.INTEGER))
        if (inside := fields.read(der.SEQUENCE).encoded) != algorithm or inside != _ECDSA_SHA384:
            raise CertificateError(f"expected ECDSA with SHA-384, found {inside.hex()}")
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
    if len(public_key_der) != len(_KEY_PREFIX) + SIGNATURE_SIZE or not public_key_der.startswith(_KEY_PREFIX):
        raise CertificateError(f"{subject.common_name}: expected a P-384 key")
    return Certificate(signed, serial, issuer, not_before, not_after, subject, public_key_der, extensions)


def check_signed_by(signed: Signed, issuer: Certificate) -> None:
    """Refuse a signature that the issuer's key did not make."""
    _verify(issuer, signed.signature, signed.content)


def verify_raw(signer: Certificate, signature: bytes, content: bytes) -> None:
    """Refuse a signature r, s (big-endian) that the certificate's key did not make over `content`."""
    if len(signature) != SIGNATURE_SIZE:
        raise CertificateError(f"expected a signature of {SIGNATURE_SIZE} bytes, found {len(signature)}")
    r, s = signature[:SCALAR_SIZE], signature[SCALAR_SIZE:]
    _verify(signer, encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big")), content)


def _verify(signer: Certificate, signature_der: bytes, content: bytes) -> None:
    name = signer.subject.common_name
    point = signer.public_key_der[len(_KEY_PREFIX) - 1 :]
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), point)
        key.verify(signature_der, content, ec.ECDSA(SHA384()))
    except InvalidSignature as error:
        raise CertificateError(f"signature is not by {name}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{name}: expected a point on P-384") from error


def _open(encoded: bytes) -> tuple[Signed, bytes, Reader]:
    outer = Reader(der.sole(encoded, der.SEQUENCE).content)
    content, algorithm = outer.read(der.SEQUENCE), outer.read(der.SEQUENCE)
    signature = der.whole_octets(outer.read(der.BIT_STRING))
    outer.end()
    return Signed(content.encoded, signature), algorithm.encoded, Reader(content.content)


def _name(fields: Reader) -> Name:
    """A Name with exactly one common name."""
    element = fields.read(der.SEQUENCE)
    common_names, names = list[str](), Reader(element.content)
    while not names.finished:
        attributes = names.enter(der.SET)
        while not attributes.finished:
            attribute = attributes.enter(der.SEQUENCE)
            kind = der.object_identifier(attribute.read(der.OBJECT_IDENTIFIER))
            value = attribute.read(der.UTF8_STRING, der.PRINTABLE_STRING, der.IA5_STRING)
            attribute.end()
            common_names += [der.text(value)] if kind == x509.COMMON_NAME else []
    if len(common_names) != 1:
        raise CertificateError(f"expected one common name, found {len(common_names)}")
    return Name(element.encoded, common_names[0])


def _time(fields: Reader) -> int:
    return der.unix_time(fields.read(der.UTC_TIME, der.GENERALIZED_TIME))


def _extensions(tagged: Reader) -> Mapping[str, Extension]:
    """Extensions by identifier; RFC 5280 section 4.2: one that is critical and unknown means refusal."""
    items = tagged.enter(der.SEQUENCE)
    tagged.end()
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
