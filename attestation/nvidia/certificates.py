# SPDX-License-Identifier: Apache-2.0
"""A GPU's chain: the key of its firmware, certified in steps up to NVIDIA's root (attestation.md 2).

The leaf is made anew by the GPU at each start, for the firmware that was started: its extension names that
firmware, so a chain is about the code as well as about the chip.
"""

from dataclasses import dataclass
from typing import Final

from attestation import der, x509
from attestation.der import DerError, Reader
from attestation.nvidia import p384
from attestation.x509 import Certificate, CertificateError

NVIDIA_ROOT: Final = bytes.fromhex("a90c4eb5acfd3e3d03a25db6a26b84f720ad0503196c627c21ddd48dd85b06a4")
"""SHA-256 of the public key of NVIDIA Device Identity CA."""

MIN_LENGTH, MAX_LENGTH = 2, 5
FIRMWARE_ID: Final = "2.23.133.5.4.1"  # TCG DICE: CompositeDeviceID with FWID
FIRMWARE_ID_SIZE: Final = 48
DIGITAL_SIGNATURE: Final = 0x80
_SHA384: Final = "2.16.840.1.101.3.4.2.2"


@dataclass(frozen=True, slots=True)
class GpuChain:
    """The certificates, leaf first, and the digest of the firmware that the leaf's key belongs to."""

    certificates: tuple[Certificate, ...]
    firmware_id: bytes

    @property
    def leaf(self) -> Certificate:
        """The certificate of the key that signs reports."""
        return self.certificates[0]

    @property
    def root(self) -> Certificate:
        """The certificate at the end, which means something only where its key is pinned."""
        return self.certificates[-1]


def parse_chain(encoded: tuple[bytes, ...]) -> GpuChain:
    """Read 2 to 5 certificates, leaf first; CertificateError for a leaf that is no key of firmware."""
    if not MIN_LENGTH <= len(encoded) <= MAX_LENGTH:
        raise CertificateError(f"expected {MIN_LENGTH} to {MAX_LENGTH} certificates, found {len(encoded)}")
    certificates = tuple(map(p384.parse_certificate, encoded))
    leaf = certificates[0]
    try:
        return GpuChain(certificates, _firmware_id(leaf))
    except DerError as error:
        raise CertificateError(f"{leaf.subject.common_name}: {error}") from error


def check_chain(chain: GpuChain) -> None:
    """Refuse a chain with a step that the next authority did not certify; the root certifies itself."""
    for certificate, issuer in zip(chain.certificates, chain.certificates[1:], strict=False):
        check_issued(certificate, issuer)
    check_issued(chain.root, chain.root)


def check_issued(certificate: Certificate, issuer: Certificate) -> None:
    """Refuse a certificate that this authority did not issue."""
    if certificate.issuer.encoded != issuer.subject.encoded:
        found, expected = issuer.subject.common_name, certificate.issuer.common_name
        raise CertificateError(
            f"{certificate.subject.common_name} was issued by {expected}, and {found} follows"
        )
    x509.check_authority(issuer, x509.KEY_CERT_SIGN)
    p384.check_signed_by(certificate.signed, issuer)


def _firmware_id(leaf: Certificate) -> bytes:
    """SEQUENCE { version 1, key of the device, FWID { SHA-384, digest } }."""
    name, extensions = leaf.subject.common_name, leaf.extensions
    if FIRMWARE_ID not in extensions or x509.KEY_USAGE not in extensions:
        raise CertificateError(f"{name}: expected a leaf with the identity of firmware and a key usage")
    if x509.BASIC_CONSTRAINTS in extensions:
        raise CertificateError(f"{name}: expected a leaf, and no authority")
    usage = der.bits(der.sole(extensions[x509.KEY_USAGE].value, der.BIT_STRING))
    if not usage or not usage[0] & DIGITAL_SIGNATURE:
        raise CertificateError(f"{name}: expected a key for signatures")
    fields = Reader(der.sole(extensions[FIRMWARE_ID].value, der.SEQUENCE).content)
    if der.integer(fields.read(der.INTEGER)) != 1:
        raise CertificateError(f"{name}: expected an identity of firmware of version 1")
    fields.read(der.SEQUENCE)
    digest = fields.enter(der.SEQUENCE)
    fields.end()
    algorithm = der.object_identifier(digest.read(der.OBJECT_IDENTIFIER))
    value = digest.read(der.OCTET_STRING).content
    digest.end()
    if algorithm != _SHA384 or len(value) != FIRMWARE_ID_SIZE:
        raise CertificateError(f"{name}: expected a digest of firmware with SHA-384")
    return value
