# SPDX-License-Identifier: Apache-2.0
"""The last value that passes and the first that does not, for everything with a bound."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from attestation.policy import PolicyError, parse_policy
from attestation.snp.certificates import AMD_ARC, PROVIDER, check_chain, parse_chain, parse_leaf
from attestation.snp.policy import GUEST_BITS
from attestation.snp.product import Product
from attestation.snp.report import ChipId, GuestPolicy, SigningKey
from attestation.snp.structure import P384_ORDER
from attestation.verdict import Verdict
from attestation.verify import appraise
from attestation.x509 import Certificate, CertificateError, Extension, parse_revocation_list
from tests.fakes.hardware import CLAIMS, MEASUREMENT, NOW, evidence, guest, policy, vendor

SKEW = policy().clock_skew_seconds
VALIDITY = policy().max_validity_seconds


def ok(verdict: Verdict, name: str) -> bool:
    """Whether one check passed."""
    return next(check.ok for check in verdict.checks if check.name == name)


@pytest.mark.parametrize(
    ("issued", "expires", "passes"),
    [
        (NOW, NOW + 1, True),
        (NOW - 1, NOW, False),
        (NOW - 100, NOW - 1, False),
        (NOW + SKEW, NOW + SKEW + 1, True),
        (NOW + SKEW + 1, NOW + SKEW + 2, False),
        (NOW, NOW + VALIDITY, True),
        (NOW, NOW + VALIDITY + 1, False),
        (NOW + 30, NOW + 30, False),
        (NOW + 30, NOW + 10, False),
    ],
)
def test_evidence_age(issued: int, expires: int, *, passes: bool) -> None:
    claims = replace(CLAIMS, issued_at=issued, expires_at=expires)
    assert ok(appraise(evidence(claims=claims), policy(), NOW), "evidence age") is passes


@pytest.mark.parametrize(("version", "passes"), [(0, True), (1, True), (2, False)])
def test_protocol_version(version: int, *, passes: bool) -> None:
    claims = replace(CLAIMS, minimum_version=version)
    assert ok(appraise(evidence(claims=claims), policy(), NOW), "protocol version") is passes


def test_ages_are_those_of_the_clock() -> None:
    claims = replace(CLAIMS, issued_at=NOW - 7, expires_at=NOW + 11)
    check = next(
        check
        for check in appraise(evidence(claims=claims), policy(), NOW).checks
        if check.name == "evidence age"
    )
    assert check.found == "issued 7 s ago, valid for 11 s more"


def test_certificates_are_valid_in_their_first_and_last_second() -> None:
    certificates = parse_chain(guest().chain).certificates
    first = max(certificate.not_before for certificate in certificates)
    last = min(certificate.not_after for certificate in certificates)
    for now, passes in ((first - 1, False), (first, True), (last, True), (last + 1, False)):
        assert ok(appraise(evidence(), policy(), now), "certificate validity") is passes
    check = next(
        check for check in appraise(evidence(), policy(), NOW).checks if check.name == "certificate validity"
    )
    assert check.found == f"valid until {datetime.fromtimestamp(last, UTC):%Y-%m-%d %H:%M:%S} UTC"


def test_revocation_list_is_valid_from_a_little_before_its_first_to_its_last_second() -> None:
    revocations = parse_revocation_list(guest().crl)
    first, last = revocations.this_update - SKEW, revocations.next_update
    for now, passes in ((first - 1, False), (first, True), (last, True), (last + 1, False)):
        assert ok(appraise(evidence(), policy(), now), "revocation list age") is passes


@pytest.mark.parametrize(
    ("offset", "number", "complaint"),
    [
        (0x2A0, 0, "outside the range"),
        (0x2A0, 1, "did not make"),
        (0x2A0, P384_ORDER - 1, "did not make"),
        (0x2A0, P384_ORDER, "outside the range"),
        (0x2E8, 0, "outside the range"),
        (0x2E8, 1, "did not make"),
        (0x2E8, P384_ORDER - 1, "did not make"),
        (0x2E8, P384_ORDER, "outside the range"),
    ],
)
def test_numbers_of_a_signature(offset: int, number: int, complaint: str) -> None:
    judged = evidence()
    encoded = number.to_bytes(48, "little")
    spoiled = replace(judged, report=judged.report[:offset] + encoded + judged.report[offset + 48 :])
    check = next(
        check for check in appraise(spoiled, policy(), NOW).checks if check.name == "report signature"
    )
    assert not check.ok
    assert complaint in check.found


@pytest.mark.parametrize("name", ["intermediate", "root"])
def test_certificate_of_no_authority_certifies_nothing(name: str) -> None:
    chain = parse_chain(guest().chain)
    nobody: dict[str, Extension] = {}
    spoiled = {
        "intermediate": replace(chain, intermediate=replace(chain.intermediate, extensions=nobody)),
        "root": replace(chain, root=replace(chain.root, extensions=nobody)),
    }
    check_chain(chain)
    with pytest.raises(CertificateError, match="expected a certificate authority"):
        check_chain(spoiled[name])


def leaf_with(identifier: str, value: bytes, certificate: Certificate) -> Certificate:
    """The certificate with another value of an extension."""
    extensions = {**certificate.extensions, identifier: Extension(critical=False, value=value)}
    return replace(certificate, extensions=extensions)


@pytest.mark.parametrize(("level", "passes"), [(254, True), (255, True), (256, False)])
def test_patch_levels_of_a_certificate(level: int, *, passes: bool) -> None:
    leaf = leaf_with(
        f"{AMD_ARC}.3.8",
        bytes((2, 2)) + level.to_bytes(2, "big"),
        parse_chain(guest().chain).leaf.certificate,
    )
    if passes:
        assert parse_leaf(leaf).tcb[7] == level
    else:
        with pytest.raises(CertificateError, match="one byte"):
            parse_leaf(leaf)


@pytest.mark.parametrize(("length", "passes"), [(0, False), (1, True), (255, True), (256, False)])
def test_length_of_a_providers_name(length: int, *, passes: bool) -> None:
    setting = vendor().setting(MEASUREMENT, at=NOW, signing_key=SigningKey.VLEK)
    certificate = parse_chain(vendor().start(setting).chain).leaf.certificate
    size = (
        bytes((length,)) if length < 128 else b"\x81" + bytes((length,)) if length < 256 else b"\x82\x01\x00"
    )
    leaf = leaf_with(PROVIDER, b"\x16" + size + b"p" * length, certificate)
    if passes:
        assert parse_leaf(leaf).provider == "p" * length
    else:
        with pytest.raises(CertificateError, match="provider's name"):
            parse_leaf(leaf)


@pytest.mark.parametrize(
    ("line", "accepted"),
    [
        ("guest_svn = 4294967295", True),
        ("guest_svn = 4294967296", False),
        ("mitigations = 18446744073709551615", True),
        ("mitigations = 18446744073709551616", False),
    ],
)
def test_numbers_of_a_policy(line: str, *, accepted: bool) -> None:
    text = f'version = 1\nmeasurements = []\nmachines = "any"\nmodels = "any"\n[snp]\n{line}\n'
    if accepted:
        parse_policy(text)
    else:
        with pytest.raises(PolicyError):
            parse_policy(text)


def found(verdict: Verdict, name: str) -> str:
    """What one check found."""
    return next(check.found for check in verdict.checks if check.name == name)


def test_identity_of_a_chip_has_64_bytes() -> None:
    """Turin certifies eight, and zeros fill up as in its reports."""
    assert len(parse_chain(guest().chain).leaf.chip_id) == 64
    turin = vendor().start(vendor().setting(MEASUREMENT, at=NOW, product=Product.TURIN))
    chip_id = parse_chain(turin.chain).leaf.chip_id
    assert any(chip_id[:8])
    assert chip_id[8:] == bytes(56)


def test_chip_is_known_by_its_identity_where_a_provider_vouches_for_it() -> None:
    setting = vendor().setting(MEASUREMENT, at=NOW, signing_key=SigningKey.VLEK)
    chip = ChipId(bytes(8) + bytes(range(56)))
    machine = vendor().start(replace(setting, fields=replace(setting.fields, chip_id=chip)))
    verdict = appraise(evidence(machine), replace(policy(), machines=frozenset({chip})), NOW)
    assert ok(verdict, "machine")
    assert found(verdict, "machine") == f"chip {chip.hex()}"


@pytest.mark.parametrize(
    ("version", "stated"),
    [(3, "none stated in version 3"), (4, "none stated in version 4"), (5, "0x0 at launch, 0x0 now")],
)
def test_mitigations_are_stated_from_version_5(version: int, stated: str) -> None:
    judged = evidence(spoil=lambda fields: replace(fields, version=version))
    assert found(appraise(judged, policy(), NOW), "mitigations") == stated


def test_bits_are_described_as_they_are() -> None:
    bits = GuestPolicy.RESERVED_ONE | GuestPolicy.SMT | GuestPolicy.CXL
    judged = evidence(spoil=lambda fields: replace(fields, policy=int(bits)))
    assert found(appraise(judged, policy(), NOW), "guest policy") == "smt, cxl"
    judged = evidence(spoil=lambda fields: replace(fields, policy=int(GuestPolicy.RESERVED_ONE)))
    assert found(appraise(judged, policy(), NOW), "guest policy") == "nothing set"


def test_bits_that_are_judged_on_their_own_are_no_wishes() -> None:
    assert set(GUEST_BITS) == {
        "smt",
        "single_socket",
        "cxl",
        "aes_256_xts",
        "rapl_disabled",
        "ciphertext_hiding",
        "page_swap_disabled",
    }
