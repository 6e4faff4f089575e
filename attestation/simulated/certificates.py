# SPDX-License-Identifier: Apache-2.0
"""Certificates and revocation lists with names, extensions and signatures as AMD's (attestation.md 3.2)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from attestation.snp.certificates import (
    CERTIFIED_NAMES,
    HARDWARE_ID,
    PATCH_LEVELS,
    PRODUCT_NAME,
    STRUCTURE_VERSION,
    STRUCTURE_VERSIONS,
)
from attestation.snp.product import Product
from attestation.snp.report import SigningKey

CSP_ID: Final = "1.3.6.1.4.1.3704.1.5"
CSP_NAME: Final = "CN=simulated.sottovoce.invalid"
LEAF_NAMES: Final = MappingProxyType({SigningKey.VCEK: "SEV-VCEK", SigningKey.VLEK: "SEV-VLEK"})

# Serial numbers as AMD's: the product's root, and offsets of the two intermediates below it.
ROOT_SERIALS: Final = MappingProxyType(
    {Product.MILAN: 0x10000, Product.GENOA: 0x20000, Product.TURIN: 0x30000}
)
_INTERMEDIATE_OFFSETS: Final = MappingProxyType({SigningKey.VCEK: 2, SigningKey.VLEK: 0x101})

# The authorities live as long as AMD's for this product, so no clock within a working life is wrong for them.
AUTHORITY_VALIDITY: Final = (
    datetime(2022, 10, 31, tzinfo=UTC),
    datetime(2047, 10, 31, tzinfo=UTC),
)

_PSS: Final = padding.PSS(mgf=padding.MGF1(SHA384()), salt_length=48)


@dataclass(frozen=True, slots=True)
class Authority:
    """A root, or one of the two intermediates below it."""

    name: str
    serial: int
    key: rsa.RSAPrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class LeafFields:
    """What the certificate of a signing key says.

    `chip_id` is as the product writes it, and absent from a VLEK. Some genuine certificates name the product
    with a stepping, such as "Milan-B0".
    """

    product: Product
    signing_key: SigningKey
    tcb: bytes
    chip_id: bytes
    csp_id: str = CSP_NAME
    product_name: str = ""

    def extensions(self) -> Mapping[str, bytes]:
        """AMD's extensions in AMD's order."""
        levels = zip(PATCH_LEVELS[self.product], self.tcb, strict=True)
        return {
            STRUCTURE_VERSION: _integer(STRUCTURE_VERSIONS[self.product]),
            PRODUCT_NAME: _ia5_string(self.product_name or CERTIFIED_NAMES[self.product]),
            **{identifier: _integer(level) for identifier, level in levels},
            **self._identity(),
        }

    def _identity(self) -> Mapping[str, bytes]:
        if self.signing_key is SigningKey.VLEK:
            return {CSP_ID: _ia5_string(self.csp_id)}
        return {HARDWARE_ID: self.chip_id}


def root_of(product: Product, key: rsa.RSAPrivateKey) -> Authority:
    """The product's root."""
    return Authority(f"ARK-{CERTIFIED_NAMES[product]}", ROOT_SERIALS[product], key)


def intermediate_of(product: Product, signing_key: SigningKey, key: rsa.RSAPrivateKey) -> Authority:
    """The product's issuer of chip keys, or of cloud providers' keys."""
    kind = "VLEK-" if signing_key is SigningKey.VLEK else ""
    return Authority(f"SEV-{kind}{CERTIFIED_NAMES[product]}", intermediate_serial(product, signing_key), key)


def intermediate_serial(product: Product, signing_key: SigningKey) -> int:
    """The serial number by which a revocation list names an intermediate."""
    return ROOT_SERIALS[product] + _INTERMEDIATE_OFFSETS[signing_key]


def authority(subject: Authority, issuer: Authority) -> bytes:
    """The DER certificate of an authority, signed by itself or by the root above it."""
    is_root = subject.name == issuer.name
    key = subject.key.public_key()
    return (
        x509.CertificateBuilder(
            _name(issuer.name), _name(subject.name), key, subject.serial, *AUTHORITY_VALIDITY
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_authority_key(issuer.key), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None if is_root else 0), critical=True)
        .add_extension(_authority_usage(crl_sign=is_root), critical=True)
        .sign(issuer.key, SHA384(), rsa_padding=_PSS)
        .public_bytes(Encoding.DER)
    )


def leaf(
    fields: LeafFields,
    key: ec.EllipticCurvePublicKey,
    issuer: Authority,
    validity: tuple[datetime, datetime],
) -> bytes:
    """The DER certificate of a signing key at these patch levels, with serial number 0 as AMD's."""
    subject = _name(LEAF_NAMES[fields.signing_key])
    builder = x509.CertificateBuilder(_name(issuer.name), subject, key, 1, *validity)
    for identifier, value in fields.extensions().items():
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(identifier), value)
        builder = builder.add_extension(extension, critical=False)
    return _with_serial_zero(builder.sign(issuer.key, SHA384(), rsa_padding=_PSS), issuer.key)


def revocation_list(
    root: Authority,
    validity: tuple[datetime, datetime],
    revoked: tuple[int, ...] = (),
    *,
    leaf_of: Authority | None = None,
) -> bytes:
    """The root's DER list of revoked serial numbers.

    With `leaf_of` it also names serial 0 of that intermediate, in the one form a root has for the certificate
    of another issuer: a critical CertificateIssuer (RFC 5280 section 5.3.3).
    """
    start, end = validity
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(_name(root.name))
        .last_update(start)
        .next_update(end)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(_authority_key(root.key), critical=False)
    )
    for serial in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start)
        builder = builder.add_revoked_certificate(entry.build())
    if leaf_of:
        builder = builder.add_revoked_certificate(_leaf_entry(leaf_of, start))
    signed = builder.sign(root.key, SHA384(), rsa_padding=_PSS)
    return _with_entry_zero(signed, root.key) if leaf_of else signed.public_bytes(Encoding.DER)


def _leaf_entry(issuer: Authority, start: datetime) -> x509.RevokedCertificate:
    names = x509.CertificateIssuer([x509.DirectoryName(_name(issuer.name))])
    entry = x509.RevokedCertificateBuilder().serial_number(1).revocation_date(start)
    return entry.add_extension(names, critical=True).build()


def _with_serial_zero(certificate: x509.Certificate, issuer_key: rsa.RSAPrivateKey) -> bytes:
    """The library's builder refuses serial 0: put it in place of 1, and sign again."""
    content = certificate.tbs_certificate_bytes
    version_and_serial = bytes.fromhex("a0030201020201")
    patched = content.replace(version_and_serial + b"\x01", version_and_serial + b"\x00", 1)
    signature = issuer_key.sign(patched, _PSS, SHA384())
    encoded = certificate.public_bytes(Encoding.DER)
    return encoded.replace(content, patched).replace(certificate.signature, signature)


def _with_entry_zero(revocations: x509.CertificateRevocationList, root_key: rsa.RSAPrivateKey) -> bytes:
    """The same for the list's entry of serial 1, which stands before the time of its revocation."""
    content = revocations.tbs_certlist_bytes
    patched = content.replace(b"\x02\x01\x01\x17\x0d", b"\x02\x01\x00\x17\x0d", 1)
    signature = root_key.sign(patched, _PSS, SHA384())
    encoded = revocations.public_bytes(Encoding.DER)
    return encoded.replace(content, patched).replace(revocations.signature, signature)


def _name(common_name: str) -> x509.Name:
    """A name with the common name that verifiers read; the rest says that it is not AMD's."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Simulation"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sottovoce, not Advanced Micro Devices"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


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


def _ia5_string(text: str) -> bytes:
    """A DER IA5String of fewer than 128 characters."""
    return bytes((0x16, len(text))) + text.encode("ascii")
