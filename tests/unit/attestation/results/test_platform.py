# SPDX-License-Identifier: Apache-2.0
"""What is known of a machine survives both forms of a result, and other claims about machines are refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attestation.binding import NO_FRESHNESS
from attestation.details import Details, SnpDetails, TdxDetails
from attestation.results.appraisal import appraisal_of
from attestation.results.ear import ResultError
from attestation.results.members import Claims, Members
from attestation.results.platform import encode_platform, read_platform
from attestation.results.serialization import CBOR, JSON
from attestation.results.values import Value, decode_cbor, decode_json, encode_cbor, encode_json
from attestation.snp.case import NoCrl, NotCompared
from attestation.snp.product import Product, Tcb
from attestation.snp.report import GuestPolicy, PlatformInfo
from attestation.tdx_case import NoCollateral
from attestation.verdict import Check, Verdict
from attestation.verify import verify_snp_report, verify_tdx_quote
from tests.fakes import hardware, trust_domain
from tests.fakes.hardware import NOW

POLICIES = ("ni:///sha-256;x",)


def snp_verdict() -> Verdict:
    evidence = hardware.evidence()
    return verify_snp_report(
        evidence.report, evidence.chain, NoCrl.NO_CRL, hardware.policy(), NOW, NotCompared.NOT_COMPARED
    )


def tdx_verdict(collateral: bytes | NoCollateral) -> Verdict:
    quote = trust_domain.domain().evidence_quote(NO_FRESHNESS * 2)
    return verify_tdx_quote(quote, collateral, trust_domain.policy(), NOW, NotCompared.NOT_COMPARED)


def details_of(verdict: Verdict) -> Details:
    assert verdict.details is not None
    return verdict.details


SNP = details_of(snp_verdict())
TDX = details_of(tdx_verdict(trust_domain.domain().collateral.encode()))
WITHOUT = details_of(tdx_verdict(NoCollateral.NO_COLLATERAL))
assert isinstance(SNP, SnpDetails)
assert isinstance(TDX, TdxDetails)
TURIN = replace(
    SNP,
    product=Product.TURIN,
    reported=Tcb(1, 2, 3, 4, 5),
    committed=Tcb(1, 2, 3, 4, 5),
    launch=Tcb(1, 2, 3, 4, 5),
    current=Tcb(255, 2, 3, 4, 5),
    platform_info=PlatformInfo(1 << 63 | 0b101),
    provider="CN=cc-us-east-2.amazonaws.com",
)


@pytest.mark.parametrize("details", [SNP, TURIN, TDX, WITHOUT])
def test_machine_survives_both_forms(details: Details) -> None:
    for form, written, read in (
        (JSON, encode_json, decode_json),
        (CBOR, encode_cbor, decode_cbor),
    ):
        claims = read(written(encode_platform(details, form)))
        assert read_platform(Members.of(claims, form)) == details


@pytest.mark.parametrize("part", ["tcb_info", "pck_crl", "tcb_info_issuer_chain"])
def test_collateral_of_which_a_part_cannot_be_read_has_no_opinion(part: str) -> None:
    """Intel's statement, a list, or a chain that is one certificate short."""
    members: dict[str, str] = json.loads(trust_domain.domain().collateral.encode())
    spoil = {
        "tcb_info": "{}",
        "pck_crl": "00",
        "tcb_info_issuer_chain": members[part].rpartition("-----BEGIN")[0],
    }
    told = tdx_verdict(json.dumps({**members, part: spoil[part]}).encode())
    assert isinstance(told.details, TdxDetails)
    assert told.details.tcb is None


def test_what_cannot_be_read_has_no_details() -> None:
    evidence = hardware.evidence()
    reserved = hardware.evidence(spoil=lambda fields: replace(fields, current_tcb=bytes([1]) * 8))
    for report, chain in ((b"", evidence.chain), (evidence.report, ()), (reserved.report, reserved.chain)):
        judged = verify_snp_report(
            report, chain, NoCrl.NO_CRL, hardware.policy(), NOW, NotCompared.NOT_COMPARED
        )
        assert judged.details is None
    quote = verify_tdx_quote(
        b"", NoCollateral.NO_COLLATERAL, trust_domain.policy(), NOW, NotCompared.NOT_COMPARED
    )
    assert quote.details is None


@given(st.integers(0, 2**64 - 1))
def test_every_bit_has_one_name(bits: int) -> None:
    details = replace(TURIN, platform_info=PlatformInfo(bits), guest_policy=GuestPolicy(bits))
    assert read_platform(Members.of(encode_platform(details, JSON), JSON)) == details


def test_collateral_that_cannot_be_read_has_no_opinion() -> None:
    assert isinstance(WITHOUT, TdxDetails)
    assert WITHOUT.tcb is None
    assert isinstance(TDX, TdxDetails)
    assert TDX.tcb is not None


@pytest.mark.parametrize(
    ("details", "name", "value"),
    [
        (SNP, "tee", "sgx"),
        (SNP, "tee", None),
        (SNP, "product", "rome"),
        (SNP, "more", 1),
        (SNP, "chip_id", "00"),
        (SNP, "chip_id", 1),
        (SNP, "vmpl", -1),
        (SNP, "abi", "1"),
        (SNP, "guest_policy", ["bit 16"]),
        (SNP, "guest_policy", ["bit 64"]),
        (SNP, "guest_policy", ["smt", "smt"]),
        (SNP, "guest_policy", ["nothing"]),
        (SNP, "guest_policy", "smt"),
        (SNP, "reported_tcb", {"bootloader": 1}),
        (SNP, "reported_tcb", {"bootloader": 256, "tee": 0, "snp": 0, "microcode": 0}),
        (SNP, "reported_tcb", {"fmc": 0, "bootloader": 1, "tee": 0, "snp": 0, "microcode": 0}),
        (SNP, "reported_tcb", []),
        (SNP, "current_version", "1.55"),
        (SNP, "current_version", "1.55.256"),
        (TDX, "fmspc", "00"),
        (TDX, "tcb", {}),
        (TDX, "tcb", 1),
    ],
)
def test_other_claims_are_refused(details: Details, name: str, value: Value) -> None:
    claims: Claims = {**encode_platform(details, JSON), name: value}
    with pytest.raises(ResultError):
        read_platform(Members.of(claims, JSON))


def spoiled(verdict: Verdict, section: str) -> Verdict:
    """The verdict with the checks of one section failed."""

    def fail(check: Check) -> Check:
        return check._replace(ok=False, evaluated=True, waived=False) if section in check.section else check

    return replace(verdict, checks=tuple(map(fail, verdict.checks)))


def test_machine_is_told_where_signatures_hold_and_nothing_else() -> None:
    """A list or nonce that the caller does not have is waived; a signature that fails is not."""
    verdict = snp_verdict()
    assert appraisal_of(verdict, policy_ids=POLICIES).verifier.platform == SNP
    assert appraisal_of(spoiled(verdict, "A7"), policy_ids=POLICIES).verifier.platform == SNP
    for section in ("S3", "S6", "S9", "A1"):
        assert appraisal_of(spoiled(verdict, section), policy_ids=POLICIES).verifier.platform is None
    told = tdx_verdict(trust_domain.domain().collateral.encode())
    assert appraisal_of(told, policy_ids=POLICIES).verifier.platform == TDX
    assert appraisal_of(tdx_verdict(b"rubbish"), policy_ids=POLICIES).verifier.platform is None
