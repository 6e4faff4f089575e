# SPDX-License-Identifier: Apache-2.0
"""Keys and signatures of GPUs are of P-384 in one form, or refused."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography import x509 as cryptography_x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from attestation.nvidia import p384
from attestation.nvidia.measurements import parse_report
from attestation.x509 import Certificate, CertificateError
from tests.fakes.gpu import END, START, ReportFields, chain
from tests.fakes.hardware import guest

LEAF = p384.parse_certificate(chain()[0])
REPORT = parse_report(ReportFields().encode())


def certificate(curve: ec.EllipticCurve, digest: SHA256 | SHA384) -> bytes:
    """A certificate that vouches for itself."""
    key = ec.generate_private_key(curve)
    name = cryptography_x509.Name([cryptography_x509.NameAttribute(NameOID.COMMON_NAME, "other")])
    return (
        cryptography_x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(START)
        .not_valid_after(END)
        .add_extension(cryptography_x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, digest)
        .public_bytes(Encoding.DER)
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: certificate(ec.SECP256R1(), SHA384()), "other: expected a P-384 key"),
        (lambda: certificate(ec.SECP384R1(), SHA256()), "expected ECDSA with SHA-384"),
        (lambda: guest().chain[2], "expected ECDSA with SHA-384"),
    ],
)
def test_certificate_of_another_key_or_signature_is_refused(make: Callable[[], bytes], words: str) -> None:
    with pytest.raises(CertificateError, match=words):
        p384.parse_certificate(make())


def with_point(point: bytes) -> Certificate:
    prefix = LEAF.public_key_der[: -2 * p384.SCALAR_SIZE]
    return replace(LEAF, public_key_der=prefix + point)


@pytest.mark.parametrize("point", [b"\x01" * 96, bytes(95), bytes(97), b""])
def test_key_that_is_no_point_signed_nothing(point: bytes) -> None:
    with pytest.raises(CertificateError, match="expected a point on P-384"):
        p384.verify_raw(with_point(point), REPORT.signature, REPORT.signed)


@pytest.mark.parametrize("size", [0, 95, 97])
def test_signature_has_one_length(size: int) -> None:
    p384.verify_raw(LEAF, REPORT.signature, REPORT.signed)
    with pytest.raises(CertificateError, match=f"96 bytes, found {size}"):
        p384.verify_raw(LEAF, (REPORT.signature + b"\x00")[:size], REPORT.signed)


@pytest.mark.parametrize("signature", [bytes(96), b"\xff" * 96])
def test_numbers_out_of_range_are_no_signature(signature: bytes) -> None:
    with pytest.raises(CertificateError, match="not by Fake GPU firmware"):
        p384.verify_raw(LEAF, signature, REPORT.signed)
