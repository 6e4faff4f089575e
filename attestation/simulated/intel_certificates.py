# SPDX-License-Identifier: Apache-2.0
"""Certificates and revocation lists with names, extensions and signatures as Intel's (attestation.md 12)."""

from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from attestation.simulated.pck import SGX_EXTENSION

ROOT: Final = "Intel SGX Root CA"
PLATFORM_CA: Final = "Intel SGX PCK Platform CA"
PROCESSOR_CA: Final = "Intel SGX PCK Processor CA"
PCK: Final = "Intel SGX PCK Certificate"
TCB_SIGNING: Final = "Intel SGX TCB Signing"

# RFC 5280 section 4.1.2.2 allows 20 octets; a serial number of 159 bits never needs a sign octet beyond them.
_SERIAL_BITS: Final = 159
_DISTRIBUTION: Final = "https://intel.simulated.invalid/{}.der"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has a key, and what the certificate calls them."""

    name: str
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def serial(self) -> int:
        """The serial number of the certificate: made of the key, as Intel's are."""
        identifier = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()).digest
        return int.from_bytes(identifier, "big") & ((1 << _SERIAL_BITS) - 1)


def certify(
    holder: Holder, issuer: Holder, validity: tuple[datetime, datetime], *, sgx: bytes = b""
) -> bytes:
    """The DER certificate of a holder. Whoever is named a CA is one; `sgx` makes a PCK certificate."""
    lengths = {ROOT: 1, PLATFORM_CA: 0, PROCESSOR_CA: 0}
    authority = holder.name in lengths
    key = holder.key.public_key()
    location = x509.UniformResourceIdentifier(_DISTRIBUTION.format("pck" if sgx else "root"))
    points = [x509.DistributionPoint([location], None, None, None)]
    constraints = x509.BasicConstraints(ca=authority, path_length=lengths.get(holder.name))
    builder = (
        x509.CertificateBuilder(_name(issuer), _name(holder), key, holder.serial, *validity)
        .add_extension(_authority_key(issuer), critical=False)
        .add_extension(x509.CRLDistributionPoints(points), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_usage(authority=authority), critical=True)
        .add_extension(constraints, critical=True)
    )
    if sgx:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(SGX_EXTENSION), sgx)
        builder = builder.add_extension(extension, critical=False)
    signed = builder.sign(issuer.key, SHA256(), ecdsa_deterministic=True)
    return signed.public_bytes(Encoding.DER)


def revocation_list(
    issuer: Holder, validity: tuple[datetime, datetime], revoked: tuple[int, ...] = ()
) -> bytes:
    """The issuer's DER list of revoked serial numbers, with the two extensions that verifiers insist on."""
    start, end = validity
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(_name(issuer))
        .last_update(start)
        .next_update(end)
        .add_extension(x509.CRLNumber(1), critical=False)
        .add_extension(_authority_key(issuer), critical=False)
    )
    for serial in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(start)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(issuer.key, SHA256(), ecdsa_deterministic=True).public_bytes(Encoding.DER)


def fingerprint(certificate_der: bytes) -> bytes:
    """SHA-256 of the certified public key, by which roots are pinned."""
    key = x509.load_der_x509_certificate(certificate_der).public_key()
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def to_pem(*certificates: bytes) -> str:
    """The PEM form of a chain."""
    return "".join(
        x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM).decode("ascii")
        for certificate in certificates
    )


def _name(holder: Holder) -> x509.Name:
    """The common name that verifiers read; the rest says that it is not Intel's."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, holder.name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sottovoce, not Intel Corporation"),
            x509.NameAttribute(NameOID.LOCALITY_NAME, "Simulation"),
        ]
    )


def _authority_key(issuer: Holder) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())


def _usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=not authority,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
