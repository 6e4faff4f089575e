# SPDX-License-Identifier: Apache-2.0
"""What NVIDIA's device authorities and GPUs sign, all of it with ECDSA P-384 and SHA-384.

`attestation.x509` reads certificates. Here is whether a key made a signature; all raise CertificateError.
"""

from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from attestation import x509
from attestation.x509 import Certificate, CertificateError, Scheme, Signed

SCALAR_SIZE: Final = 48
SIGNATURE_SIZE: Final = 2 * SCALAR_SIZE
# RFC 5758 section 3.2: ecdsa-with-SHA384 has no parameters.
ECDSA_P384: Final = Scheme("ECDSA with SHA-384", frozenset({bytes.fromhex("300a06082a8648ce3d040303")}))
# RFC 5480 section 2: a SubjectPublicKeyInfo on P-384, up to the coordinates of its uncompressed point.
_KEY_PREFIX: Final = bytes.fromhex("3076301006072a8648ce3d020106052b8104002203620004")


def parse_certificate(certificate_der: bytes) -> Certificate:
    """Read exactly one certificate of a P-384 key, signed with another."""
    certificate = x509.parse_certificate(certificate_der, ECDSA_P384)
    if not certificate.public_key_der.startswith(_KEY_PREFIX):
        raise CertificateError(f"{certificate.subject.common_name}: expected a P-384 key")
    return certificate


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
    point = b"\x04" + signer.public_key_der[len(_KEY_PREFIX) :]
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), point)
        key.verify(signature_der, content, ec.ECDSA(SHA384()))
    except InvalidSignature as error:
        raise CertificateError(f"signature is not by {name}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{name}: expected a point on P-384") from error
