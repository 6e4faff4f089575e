# SPDX-License-Identifier: Apache-2.0
"""Certificates and lists are read whole or refused, down to the byte."""

import functools
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509 as cryptography_x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from attestation.x509 import (
    BASIC_CONSTRAINTS,
    CRL_SIGN,
    KEY_CERT_SIGN,
    KEY_USAGE,
    Certificate,
    CertificateError,
    Extension,
    Name,
    check_authority,
    check_signed_by,
    parse_certificate,
    parse_revocation_list,
)
from tests.fakes.hardware import NOW, guest, vendor

LEAF, INTERMEDIATE, ROOT = guest().chain


def root() -> Certificate:
    return parse_certificate(ROOT)


def patched(encoded: bytes, old: str, new: str) -> bytes:
    """One occurrence changed, its length kept, so that only the parser can object."""
    before, after = bytes.fromhex(old), bytes.fromhex(new)
    assert before in encoded
    assert len(before) == len(after)
    return encoded.replace(before, after, 1)


def test_certificate_fields() -> None:
    leaf, intermediate = parse_certificate(LEAF), parse_certificate(INTERMEDIATE)
    assert (leaf.serial, intermediate.serial, root().serial) == (0, 0x20002, 0x20000)
    assert leaf.subject.common_name == "SEV-VCEK"
    assert leaf.issuer == intermediate.subject
    assert leaf.not_before == NOW - 24 * 60 * 60
    assert root().fingerprint == vendor().root_fingerprint
    assert intermediate.extensions[BASIC_CONSTRAINTS].critical


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a003020102", "a003020101"),  # version 2
        ("0603550403", "060355042a"),  # no common name
        ("060355040a", "0603550403"),  # two common names
        ("0603551d13", "0603551d0f"),  # key usage twice
        ("0603551d13", "0603551d14"),  # critical, and unknown
        ("0603551d130101ff", "0603551d13010100"),  # the default written out
        ("0603551d130101ff", "0603551d13010101"),  # no boolean
        ("020130", "020120"),  # another salt
        ("0609608648016503040202", "0609608648016503040201"),  # another hash
    ],
)
def test_other_certificates_are_refused(old: str, new: str) -> None:
    with pytest.raises(CertificateError):
        parse_certificate(patched(INTERMEDIATE, old, new))


def test_algorithm_outside_must_be_the_signed_one() -> None:
    start = INTERMEDIATE.rindex(bytes.fromhex("020130"))
    changed = INTERMEDIATE[: start + 2] + b"\x20" + INTERMEDIATE[start + 3 :]
    with pytest.raises(CertificateError, match="RSA-PSS"):
        parse_certificate(changed)


@pytest.mark.parametrize("step", [7, 13])
def test_no_cut_certificate_is_read(step: int) -> None:
    for end in range(0, len(LEAF), step):
        with pytest.raises(CertificateError):
            parse_certificate(LEAF[:end])


def test_signature_must_be_by_the_issuer() -> None:
    intermediate = parse_certificate(INTERMEDIATE)
    check_signed_by(intermediate.signed, root())
    with pytest.raises(CertificateError, match="not by SEV-Genoa"):
        check_signed_by(intermediate.signed, intermediate)


def key_der(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@functools.cache
def small_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@functools.cache
def other_keys() -> dict[str, bytes]:
    small = small_key().public_key()
    odd = rsa.RSAPublicNumbers(3, int.from_bytes(bytes([0xFF]) * 512)).public_key()
    curve = ec.generate_private_key(ec.SECP384R1()).public_key()
    return {
        "RSA-4096": key_der(small),
        "RSA exponent": key_der(odd),
        "expected an RSA": key_der(curve),
        "unread": b"0",
    }


@pytest.mark.parametrize("complaint", ["RSA-4096", "RSA exponent", "expected an RSA", "unread"])
def test_other_keys_are_refused(complaint: str) -> None:
    issuer = replace(root(), public_key_der=other_keys()[complaint])
    with pytest.raises(CertificateError, match=complaint):
        check_signed_by(root().signed, issuer)


def with_extension(identifier: str, value: str) -> Certificate:
    return replace(
        root(), extensions={**root().extensions, identifier: Extension(True, bytes.fromhex(value))}
    )


def test_authorities_say_that_they_are() -> None:
    check_authority(root(), KEY_CERT_SIGN | CRL_SIGN)
    check_authority(parse_certificate(INTERMEDIATE), KEY_CERT_SIGN)
    bare = {BASIC_CONSTRAINTS: root().extensions[BASIC_CONSTRAINTS]}
    check_authority(replace(root(), extensions=bare), CRL_SIGN)


@pytest.mark.parametrize(
    "certificate",
    [
        parse_certificate(LEAF),
        with_extension(BASIC_CONSTRAINTS, "3000"),
        with_extension(BASIC_CONSTRAINTS, "30030101ff00"),
        with_extension(BASIC_CONSTRAINTS, "30050101ff0500"),
        with_extension(KEY_USAGE, "03020204"),
        with_extension(KEY_USAGE, "030100"),
        with_extension(KEY_USAGE, "0302"),
    ],
)
def test_others_may_not_sign_lists(certificate: Certificate) -> None:
    with pytest.raises(CertificateError):
        check_authority(certificate, CRL_SIGN)


def test_revocation_list_fields() -> None:
    revocations = parse_revocation_list(vendor().revocation_list(now=NOW, revoked=(5, 0x20002)))
    assert revocations.serials == {5, 0x20002}
    assert revocations.issuer == root().subject
    assert revocations.next_update == NOW + 30 * 24 * 60 * 60
    assert parse_revocation_list(guest().crl).serials == frozenset()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("02010130", "02010030"),  # version 1
        ("0603551d14", "0603551d23"),  # an extension twice
        ("020130", "020120"),  # another salt
    ],
)
def test_other_revocation_lists_are_refused(old: str, new: str) -> None:
    with pytest.raises(CertificateError):
        parse_revocation_list(patched(guest().crl, old, new))


def test_list_names_certificates_of_its_own_and_of_other_issuers() -> None:
    """RFC 5280 sections 5.2.5 and 5.3.3: a named issuer holds for the entries that follow."""
    plain, own, other = list_builder(), name("ARK-Genoa"), name("SEV-Genoa")
    reason = cryptography_x509.CRLReason(cryptography_x509.ReasonFlags.key_compromise)
    listed = (
        plain.add_extension(indirect(), critical=True)
        .add_revoked_certificate(entry(5).add_extension(reason, critical=False).build())
        .add_revoked_certificate(entry(0).add_extension(issued_by(other), critical=True).build())
        .add_revoked_certificate(entry(7).build())
        .add_revoked_certificate(entry(9).add_extension(issued_by(own), critical=True).build())
    )
    revocations = parse_revocation_list(signed(listed))
    encoded = other.public_bytes()
    assert revocations.serials == {5, 9}
    assert revocations.others == {(encoded, 0), (encoded, 7)}
    leaf = parse_certificate(guest().chain[0])
    assert not revocations.names(leaf)
    assert revocations.names(replace(leaf, issuer=Name(encoded, "SEV-Genoa")))
    assert not revocations.names(replace(leaf, issuer=Name(own.public_bytes(), "ARK-Genoa")))
    assert revocations.names(replace(leaf, issuer=Name(own.public_bytes(), "ARK-Genoa"), serial=5))


def test_list_of_a_part_of_the_certificates_is_refused() -> None:
    partial = replace_scope(only_contains_ca_certs=True)
    with pytest.raises(CertificateError, match="full scope"):
        parse_revocation_list(signed(list_builder().add_extension(partial, critical=True)))
    delta = list_builder().add_extension(cryptography_x509.DeltaCRLIndicator(1), critical=True)
    with pytest.raises(CertificateError, match="critical and unknown"):
        parse_revocation_list(signed(delta))


def replace_scope(
    *, only_contains_ca_certs: bool = False, indirect_crl: bool = False
) -> cryptography_x509.IssuingDistributionPoint:
    return cryptography_x509.IssuingDistributionPoint(
        full_name=None,
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=only_contains_ca_certs,
        only_some_reasons=None,
        indirect_crl=indirect_crl,
        only_contains_attribute_certs=False,
    )


def indirect() -> cryptography_x509.IssuingDistributionPoint:
    return replace_scope(indirect_crl=True)


def issued_by(issuer: cryptography_x509.Name) -> cryptography_x509.CertificateIssuer:
    return cryptography_x509.CertificateIssuer([cryptography_x509.DirectoryName(issuer)])


def name(common_name: str) -> cryptography_x509.Name:
    return cryptography_x509.Name([cryptography_x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def entry(serial: int) -> cryptography_x509.RevokedCertificateBuilder:
    return cryptography_x509.RevokedCertificateBuilder(serial, datetime(2026, 1, 1, tzinfo=UTC))


def list_builder() -> cryptography_x509.CertificateRevocationListBuilder:
    day = datetime(2026, 1, 1, tzinfo=UTC)
    return cryptography_x509.CertificateRevocationListBuilder(name("ARK-Genoa"), day, day).add_extension(
        cryptography_x509.CRLNumber(1), critical=False
    )


def signed(builder: cryptography_x509.CertificateRevocationListBuilder) -> bytes:
    """Signed by a key that nothing knows: parsing does not ask."""
    pss = padding.PSS(mgf=padding.MGF1(SHA384()), salt_length=48)
    return builder.sign(small_key(), SHA384(), rsa_padding=pss).public_bytes(Encoding.DER)
