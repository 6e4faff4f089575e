# SPDX-License-Identifier: Apache-2.0
"""Certificates and revocation lists with names, extensions and signatures as AMD's (attestation.md 3.2)."""

from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from attestation.snp.certificates import HARDWARE_ID, LEAF_NAME, PATCH_LEVELS, PRODUCT_NAME, STRUCTURE_VERSION
from attestation.snp.product import Product

ROOT_NAME: Final = "ARK-Genoa"
INTERMEDIATE_NAME: Final = "SEV-Genoa"
ROOT_SERIAL: Final = 0x20000
INTERMEDIATE_SERIAL: Final = 0x20002

DAY: Final = 24 * 60 * 60
LEAF_DAYS: Final = 7 * 365
REVOCATION_LIST_DAYS: Final = 30
# The authorities live as long as AMD's for this product, so no clock within a working life is wrong for them.
AUTHORITY_VALIDITY: Final = (
    datetime(2022, 10, 31, tzinfo=UTC),
    datetime(2047, 10, 31, tzinfo=UTC),
)

_PSS: Final = padding.PSS(mgf=padding.MGF1(SHA384()), salt_length=48)


def name(common_name: str) -> x509.Name:
    """A name with the common name that verifiers read; the rest says that it is not AMD's."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Simulation"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sottovoce, not Advanced Micro Devices"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def authority(
    common_name: str, serial: int, key: rsa.RSAPublicKey, *, issuer: str, issuer_key: rsa.RSAPrivateKey
) -> bytes:
    """The DER certificate of an authority: the root, or the intermediate below it."""
    is_root = common_name == issuer
    not_before, not_after = AUTHORITY_VALIDITY
    return (
        x509.CertificateBuilder(name(issuer), name(common_name), key, serial, not_before, not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_authority_key(issuer_key), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None if is_root else 0), critical=True)
        .add_extension(_authority_usage(crl_sign=is_root), critical=True)
        .sign(issuer_key, SHA384(), rsa_padding=_PSS)
        .public_bytes(Encoding.DER)
    )


def leaf(
    key: ec.EllipticCurvePublicKey, issuer_key: rsa.RSAPrivateKey, *, tcb: bytes, chip_id: bytes, now: int
) -> bytes:
    """The DER certificate of a chip's key at these patch levels, with serial number 0 as AMD's."""
    builder = x509.CertificateBuilder(
        name(INTERMEDIATE_NAME), name(LEAF_NAME), key, 1, _date(now - DAY), _date(now + LEAF_DAYS * DAY)
    )
    values = {
        STRUCTURE_VERSION: _integer(0),
        PRODUCT_NAME: b"\x16\x05Genoa",
        **{oid: _integer(level) for oid, level in zip(PATCH_LEVELS[Product.GENOA], tcb, strict=True)},
        HARDWARE_ID: chip_id,
    }
    for oid, value in values.items():
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)
        builder = builder.add_extension(extension, critical=False)
    return _with_serial_zero(builder.sign(issuer_key, SHA384(), rsa_padding=_PSS), issuer_key)


def revocation_list(root_key: rsa.RSAPrivateKey, *, now: int, revoked: tuple[int, ...] = ()) -> bytes:
    """The root's DER list of revoked serial numbers, current from a day ago until 30 days from `now`."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name(ROOT_NAME))
        .last_update(_date(now - DAY))
        .next_update(_date(now + REVOCATION_LIST_DAYS * DAY))
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(_authority_key(root_key), critical=False)
    )
    for serial in revoked:
        entry = (
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_date(now - DAY)).build()
        )
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(root_key, SHA384(), rsa_padding=_PSS).public_bytes(Encoding.DER)


def _with_serial_zero(certificate: x509.Certificate, issuer_key: rsa.RSAPrivateKey) -> bytes:
    """The library's builder refuses serial 0: put it in place of 1, and sign again."""
    content = certificate.tbs_certificate_bytes
    version_and_serial = bytes.fromhex("a0030201020201")
    patched = content.replace(version_and_serial + b"\x01", version_and_serial + b"\x00", 1)
    signature = issuer_key.sign(patched, _PSS, SHA384())
    encoded = certificate.public_bytes(Encoding.DER)
    return encoded.replace(content, patched).replace(certificate.signature, signature)


def _authority_key(issuer_key: rsa.RSAPrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())


def _authority_usage(*, crl_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _integer(level: int) -> bytes:
    """A DER INTEGER of one patch level."""
    content = level.to_bytes(1 if level < 0x80 else 2, "big")
    return bytes((0x02, len(content))) + content


def _date(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
