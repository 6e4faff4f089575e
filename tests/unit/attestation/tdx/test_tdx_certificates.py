# SPDX-License-Identifier: Apache-2.0
"""Certificates and lists of P-256 keys: one form is read, every other is refused by name."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from attestation.simulated.intel_certificates import PLATFORM_CA, ROOT, Holder, certify
from attestation.simulated.window import CURRENT
from attestation.tdx import p256
from attestation.tdx.certificates import (
    PlatformFlag,
    SgxType,
    check_issued,
    check_list,
    parse_chain,
    parse_issuer_chain,
    parse_pck,
)
from attestation.x509 import Certificate, CertificateError
from tests.unit.attestation.tdx.encoding import (
    BASIC_CONSTRAINTS,
    BITS,
    BOOLEAN,
    ENUMERATED,
    FALSE,
    GENERATOR,
    INTEGER,
    KEY_USAGE,
    NO_AUTHORITY,
    OCTETS,
    P256_KEY,
    SEQUENCE,
    SGX,
    SIGNS,
    TRUE,
    CertificateParts,
    ListParts,
    extension,
    integer,
    name,
    pair,
    pck,
    revoked,
    sgx_pairs,
    tcb_pairs,
    tlv,
)
from tests.unit.attestation.tdx.simulated import GOOD_TD, NOW

PARTS = CertificateParts()
RSA = bytes.fromhex("300d06092a864886f70d01010b0500")
CHAIN = GOOD_TD.chain


def test_parts_are_a_certificate() -> None:
    certificate = p256.parse_certificate(PARTS.encode())
    assert certificate.subject.common_name == "Intel SGX PCK Certificate"
    assert p256.point(certificate) == GENERATOR


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        (replace(PARTS, version=tlv(0xA0, b"\x02\x01\x01")), "version 3"),
        (replace(PARTS, inside=RSA, outside=RSA), "ECDSA with SHA-256"),
        (replace(PARTS, outside=RSA), "ECDSA with SHA-256"),
        (replace(PARTS, issuer=name()), "one common name, found 0"),
        (replace(PARTS, issuer=name("a", "b")), "one common name, found 2"),
        (replace(PARTS, key=tlv(SEQUENCE, tlv(SEQUENCE))), "expected a P-256 key"),
        (replace(PARTS, after=integer(1)), "3 more bytes"),
        (replace(PARTS, extensions=(SIGNS, SIGNS)), "occurs twice"),
        (replace(PARTS, extensions=(extension("2.5.29.54", b"", TRUE),)), "critical and unknown"),
        (replace(PARTS, extensions=(extension("2.5.29.54", b"", FALSE),)), "default is false"),
    ],
)
def test_other_form_of_certificate_is_refused(spoiled: CertificateParts, words: str) -> None:
    with pytest.raises(CertificateError, match=words):
        p256.parse_certificate(spoiled.encode())


def test_revoked_serials_are_read() -> None:
    reason = extension("2.5.29.21", b"\x0a\x01\x01")
    encoded = ListParts(entries=(revoked(5), revoked(6, reason))).encode()
    assert p256.parse_revocation_list(encoded).serials == {5, 6}
    assert p256.parse_revocation_list(ListParts().encode()).serials == set()


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        (ListParts(version=b"\x02\x01\x00"), "version 2"),
        (ListParts(extensions=(extension("2.5.29.27", b"", TRUE),)), "critical and unknown"),
        (ListParts(extensions=(extension("2.5.29.28", b"", TRUE),)), "full scope"),
        (ListParts(entries=(revoked(5, extension("2.5.29.24", b"", TRUE)),)), "critical and unknown"),
        (ListParts(entries=(revoked(5, extension("2.5.29.29", b"", TRUE)),)), "expected a DER tag of 30"),
    ],
)
def test_other_form_of_list_is_refused(spoiled: ListParts, words: str) -> None:
    with pytest.raises(CertificateError, match=words):
        p256.parse_revocation_list(spoiled.encode())


def test_list_that_names_another_issuer_revokes_what_that_one_issued() -> None:
    elsewhere = extension("2.5.29.29", tlv(SEQUENCE, tlv(0xA4, PARTS.subject)), TRUE)
    revocations = p256.parse_revocation_list(ListParts(entries=(revoked(5), revoked(1, elsewhere))).encode())
    certificate = p256.parse_certificate(PARTS.encode())
    assert revocations.serials == {5}
    assert certificate.serial == 1
    assert not revocations.names(certificate)
    assert revocations.names(replace(certificate, issuer=certificate.subject))


def test_bytes_are_no_list() -> None:
    with pytest.raises(CertificateError, match="revocation list: "):
        p256.parse_revocation_list(b"\x30")


@pytest.mark.parametrize(
    ("extensions", "words"),
    [
        ((NO_AUTHORITY,), "basic constraints and key usage"),
        ((SIGNS,), "basic constraints and key usage"),
        ((NO_AUTHORITY, extension(KEY_USAGE, b"\x05\x00")), "expected a DER tag"),
        ((NO_AUTHORITY, extension(KEY_USAGE, tlv(BITS, b"\x00"))), "for signatures"),
        ((NO_AUTHORITY, extension(KEY_USAGE, tlv(BITS, b"\x01\x06"))), "for signatures"),
        ((SIGNS, extension(BASIC_CONSTRAINTS, tlv(SEQUENCE, TRUE))), "for signatures"),
    ],
)
def test_certificate_for_another_use_does_not_sign(extensions: tuple[bytes, ...], words: str) -> None:
    certificate = p256.parse_certificate(replace(PARTS, extensions=extensions).encode())
    with pytest.raises(CertificateError, match=words):
        p256.check_signer(certificate)


def test_certificate_for_signatures_signs() -> None:
    p256.check_signer(p256.parse_certificate(PARTS.encode()))


def test_key_off_the_curve_is_refused() -> None:
    off = p256.parse_certificate(replace(PARTS, key=P256_KEY + bytes(64)).encode())
    with pytest.raises(CertificateError, match="point on P-256"):
        p256.check_signed_by(off.signed, off)
    short = p256.parse_certificate(replace(PARTS, key=P256_KEY + bytes(64)).encode())
    with pytest.raises(CertificateError, match="64 bytes, found 63"):
        p256.load_point(p256.point(short)[1:], "short")


def test_signature_of_another_size_is_refused() -> None:
    with pytest.raises(CertificateError, match="signature of 64 bytes, found 63"):
        p256.verify_raw(GENERATOR, bytes(63), b"", "nobody")


def test_signature_of_zeros_is_refused() -> None:
    """CVE-2022-21449: r and s of zero fit everything, where nobody checks their range."""
    with pytest.raises(CertificateError, match="not by nobody"):
        p256.verify_raw(GENERATOR, bytes(64), b"", "nobody")


def parse_fields(pairs: dict[str, bytes]) -> None:
    parse_pck(p256.parse_certificate(pck(pairs).encode()))


def test_fields_of_the_processor_ca_are_read() -> None:
    read = parse_pck(p256.parse_certificate(pck(sgx_pairs()).encode()))
    assert read.components == tuple(range(1, 17))
    assert (read.pcesvn, read.sgx_type, read.platform_instance_id) == (17, SgxType.STANDARD, b"")
    assert read.flags == frozenset()


def with_field(arc: str, value: bytes) -> dict[str, bytes]:
    return sgx_pairs() | {f"{SGX}.{arc}": pair(f"{SGX}.{arc}", value)}


def with_tcb(arc: int, value: bytes) -> dict[str, bytes]:
    pairs = tcb_pairs() | {f"{SGX}.2.{arc}": pair(f"{SGX}.2.{arc}", value)}
    return with_field("2", tlv(SEQUENCE, *pairs.values()))


CONFIGURED = with_field("6", tlv(OCTETS, bytes(16)))


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ({}, "fields of the SGX extension"),
        (CONFIGURED, "fields of the SGX extension"),
        (with_field("8", tlv(OCTETS, b"")), "fields of the SGX extension"),
        (with_field("1", tlv(OCTETS, bytes(15))), "expected 16 octets"),
        (with_field("1", tlv(INTEGER, bytes(16))), "expected 16 octets"),
        (with_field("1", tlv(OCTETS, bytes(16)) + TRUE), "3 more bytes"),
        (with_field("5", tlv(ENUMERATED, b"\x03")), "SGX type of 0 to 2"),
        (with_field("5", tlv(INTEGER, b"\x00")), "SGX type of 0 to 2"),
        (with_tcb(1, integer(256)), "number up to 255"),
        (with_tcb(1, tlv(OCTETS, b"\x01")), "number up to 255"),
        (with_tcb(17, integer(1 << 16)), "number up to 65535"),
        (with_tcb(19, integer(1)), "fields of a TCB"),
        ({"a": sgx_pairs()[f"{SGX}.1"], "b": sgx_pairs()[f"{SGX}.1"]}, "occurs twice"),
    ],
)
def test_other_form_of_the_sgx_extension_is_refused(pairs: dict[str, bytes], words: str) -> None:
    with pytest.raises(CertificateError, match=words):
        parse_fields(pairs)


def with_configuration(*pairs: bytes) -> dict[str, bytes]:
    return CONFIGURED | {f"{SGX}.7": pair(f"{SGX}.7", tlv(SEQUENCE, *pairs))}


def test_configuration_is_read() -> None:
    pairs = with_configuration(pair(f"{SGX}.7.1", TRUE), pair(f"{SGX}.7.2", FALSE))
    read = parse_pck(p256.parse_certificate(pck(pairs).encode()))
    assert read.flags == {PlatformFlag.DYNAMIC_PLATFORM}


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        (pair(f"{SGX}.7.4", TRUE), "fields of a configuration"),
        (pair(f"{SGX}.7.1", integer(1)), "expected booleans"),
        (pair(f"{SGX}.7.1", tlv(BOOLEAN, b"\x01")), "boolean of 00 or ff"),
    ],
)
def test_other_form_of_the_configuration_is_refused(flag: bytes, words: str) -> None:
    with pytest.raises(CertificateError, match=words):
        parse_fields(with_configuration(flag))


def test_one_member_of_a_configuration_that_is_no_boolean_is_enough() -> None:
    mixed = (pair(f"{SGX}.7.1", TRUE), pair(f"{SGX}.7.2", tlv(INTEGER, b"\xff")))
    with pytest.raises(CertificateError, match="expected booleans"):
        parse_fields(with_configuration(*mixed))


def test_certificate_without_sgx_extension_is_no_platforms() -> None:
    with pytest.raises(CertificateError, match="expected the SGX extension"):
        parse_pck(p256.parse_certificate(PARTS.encode()))


def test_chain_has_three_certificates_in_order() -> None:
    with pytest.raises(CertificateError, match="found 2 certificates"):
        parse_chain(CHAIN[:2])
    with pytest.raises(CertificateError, match="expected Intel SGX PCK Certificate, found Intel SGX Root CA"):
        parse_chain(CHAIN[::-1])


def test_issuer_chain_has_two_certificates() -> None:
    with pytest.raises(CertificateError, match="found 3 certificates"):
        parse_issuer_chain(CHAIN, PLATFORM_CA)


def certificates() -> tuple[Certificate, Certificate, Certificate]:
    leaf, intermediate, root = map(p256.parse_certificate, CHAIN)
    return leaf, intermediate, root


def test_issuer_of_another_name_is_refused() -> None:
    leaf, _, root = certificates()
    with pytest.raises(CertificateError, match="expected the issuer Intel SGX Root CA, found"):
        check_issued(leaf, root)


def test_leaf_issues_nothing() -> None:
    leaf, _, _ = certificates()
    with pytest.raises(CertificateError, match="certificate authority"):
        check_issued(replace(leaf, issuer=leaf.subject), leaf)


def test_namesake_of_the_issuer_is_refused() -> None:
    _, intermediate, _ = certificates()
    holder = Holder(ROOT, ec.derive_private_key(7, ec.SECP256R1()))
    namesake = p256.parse_certificate(certify(holder, holder, CURRENT.around(NOW)))
    with pytest.raises(CertificateError, match="signature is not by Intel SGX Root CA"):
        check_issued(intermediate, namesake)


def test_list_of_another_issuer_is_refused() -> None:
    _, intermediate, _ = certificates()
    with pytest.raises(CertificateError, match="revocation list of Intel SGX PCK Platform CA"):
        check_list(p256.parse_revocation_list(ListParts().encode()), intermediate)
