# SPDX-License-Identifier: Apache-2.0
"""What Intel signs, all of it with ECDSA P-256 and SHA-256: certificates, lists, statements and quotes.

`attestation.x509` reads them. Here is whether a key made a signature; all raise CertificateError.
"""

from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from attestation import der, x509
from attestation.der import DerError
from attestation.x509 import Certificate, CertificateError, RevocationList, Scheme, Signed

POINT_SIZE: Final = 64
SIGNATURE_SIZE: Final = 64
DIGITAL_SIGNATURE: Final = 0x80

# RFC 5758 section 3.2: ecdsa-with-SHA256 has no parameters.
ECDSA_P256: Final = Scheme("ECDSA with SHA-256", frozenset({bytes.fromhex("300a06082a8648ce3d040302")}))
# RFC 5480 section 2: a SubjectPublicKeyInfo on P-256, up to its uncompressed point.
_KEY_PREFIX: Final = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
_ECDSA: Final = ec.ECDSA(SHA256())


def parse_certificate(certificate_der: bytes) -> Certificate:
    """Read exactly one certificate of a P-256 key, signed with another."""
    certificate = x509.parse_certificate(certificate_der, ECDSA_P256)
    if not certificate.public_key_der.startswith(_KEY_PREFIX):
        raise CertificateError(f"{certificate.subject.common_name}: expected a P-256 key")
    return certificate


def parse_revocation_list(list_der: bytes) -> RevocationList:
    """Read exactly one revocation list with an end date."""
    return x509.parse_revocation_list(list_der, ECDSA_P256)


@lru_cache(maxsize=64)
def load_point(public_point: bytes, name: str) -> ec.EllipticCurvePublicKey:
    """The public key at x, y; CertificateError where that is no point of P-256."""
    if len(public_point) != POINT_SIZE:
        raise CertificateError(
            f"{name}: expected a P-256 key of {POINT_SIZE} bytes, found {len(public_point)}"
        )
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + public_point)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{name}: expected a point on P-256") from error


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
