# SPDX-License-Identifier: Apache-2.0
"""Reports and quotes without a document: everything is checked, and what is not given is waived visibly."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from attestation.policy import SimulatedRoots
from attestation.simulated.intel import TdxSetting
from attestation.simulated.intel_certificates import to_pem
from attestation.snp.case import NoCrl, NotCompared
from attestation.tdx_case import NoCollateral
from attestation.verdict import Outcome, VendorRoot, Verdict
from attestation.verify import appraise, verify_snp_report, verify_tdx_quote
from tests.fakes import trust_domain
from tests.fakes.hardware import KEYS, NOW, evidence, failed, judge, policy, vendor
from tests.fakes.trust_domain import domain

DATA = bytes([7]) * 64
SNP = evidence(spoil=lambda fields: replace(fields, report_data=DATA))
QUOTE = domain().evidence_quote(DATA)
COLLATERAL = domain().collateral.encode()


def outcomes(verdict: Verdict, outcome: Outcome) -> set[str]:
    return {check.name for check in verdict.checks if check.outcome is outcome}


def snp(crl: bytes | NoCrl = SNP.crl, data: bytes | NotCompared = DATA) -> Verdict:
    return verify_snp_report(SNP.report, SNP.chain, crl, policy(), NOW, data)


def tdx(collateral: bytes | NoCollateral = COLLATERAL, data: bytes | NotCompared = DATA) -> Verdict:
    return verify_tdx_quote(QUOTE, collateral, trust_domain.policy(), NOW, data)


@pytest.mark.parametrize("judge_raw", [snp, tdx])
def test_everything_given_and_right_is_verified(judge_raw: Callable[[], Verdict]) -> None:
    verdict = judge_raw()
    assert verdict.verified
    assert not verdict.refused
    assert verdict.vendor_root is VendorRoot.SIMULATED
    assert verdict.simulated
    assert verdict.claims is None
    assert len(verdict.measurement) == 48


def test_report_without_a_list_is_neither_verified_nor_refused() -> None:
    verdict = snp(crl=NoCrl.NO_CRL)
    assert not verdict.verified
    assert not verdict.refused
    assert outcomes(verdict, Outcome.WAIVED) == {"revocation", "revocation list age"}


def test_report_data_that_is_not_compared_is_not_passed() -> None:
    for verdict, name in (
        (snp(data=NotCompared.NOT_COMPARED), "report data binding"),
        (tdx(data=NotCompared.NOT_COMPARED), "report data"),
    ):
        assert outcomes(verdict, Outcome.WAIVED) == {name}
        assert not verdict.verified
        assert not verdict.refused


def test_other_report_data_is_refused() -> None:
    assert failed(snp(data=bytes(64))) == ["report data binding"]
    assert failed(tdx(data=bytes(64))) == ["report data"]
    assert failed(snp(data=DATA[:63])) == ["report data binding"]


def test_quote_without_collateral_is_neither_verified_nor_refused() -> None:
    verdict = tdx(NoCollateral.NO_COLLATERAL)
    assert not verdict.verified
    assert not verdict.refused
    assert {"collateral", "revocation", "tcb info", "tcb status"} <= outcomes(verdict, Outcome.WAIVED)
    assert {"quote signature", "certificate chain"} <= outcomes(verdict, Outcome.PASSED)


@pytest.mark.parametrize("position", [0, 60, 700])
def test_broken_quote_without_collateral_is_refused(position: int) -> None:
    broken = QUOTE[:position] + bytes((QUOTE[position] ^ 1,)) + QUOTE[position + 1 :]
    verdict = verify_tdx_quote(broken, NoCollateral.NO_COLLATERAL, trust_domain.policy(), NOW, DATA)
    assert verdict.refused


@pytest.mark.parametrize("collateral", [b"", b"{}", COLLATERAL + b"x", COLLATERAL[:-2]])
def test_collateral_of_another_form_is_refused(collateral: bytes) -> None:
    verdict = tdx(collateral)
    assert "collateral" in failed(verdict)
    assert verdict.refused


def test_quote_under_a_root_nobody_named_is_refused() -> None:
    nobody = replace(trust_domain.policy(), simulated_roots=SimulatedRoots(frozenset()))
    verdict = verify_tdx_quote(QUOTE, COLLATERAL, nobody, NOW, DATA)
    assert verdict.vendor_root is VendorRoot.UNKNOWN
    assert "trust anchor" in failed(verdict)
    document = appraise(trust_domain.evidence(), nobody, NOW)
    assert {"trust anchor", "report data"} <= set(failed(document))


@pytest.mark.parametrize("old", [b"-----BEGIN", b"MII", b"\nMII"])
def test_quote_whose_certificates_cannot_be_read_is_refused(old: bytes) -> None:
    before, _, after = QUOTE.rpartition(old)
    broken = before + (b"\nNII" if old == b"\nMII" else bytes(reversed(old))) + after
    verdict = verify_tdx_quote(broken, COLLATERAL, trust_domain.policy(), NOW, DATA)
    assert verdict.refused
    assert verdict.vendor_root is VendorRoot.UNKNOWN


def test_quote_whose_chain_is_broken_below_a_named_root_names_no_root() -> None:
    attacker = trust_domain.domain(TdxSetting(at=NOW, chain_authority="attacker"))
    chain = to_pem(*attacker.chain[:2], domain().root).encode("ascii") + b"\x00"
    forged = replace(attacker, certification=replace(attacker.certification, chain_pem=chain))
    verdict = verify_tdx_quote(
        forged.evidence_quote(DATA), COLLATERAL, trust_domain.policy(), NOW, NotCompared.NOT_COMPARED
    )
    passed = {check.name for check in verdict.checks if check.ok}
    assert "trust anchor" in passed
    assert "certificate chain" not in passed
    assert verdict.vendor_root is VendorRoot.UNKNOWN
    assert not verdict.simulated


def test_documents_of_trust_domains_are_verified_like_others() -> None:
    verdict = appraise(trust_domain.evidence(), trust_domain.policy(), NOW)
    assert verdict.verified
    assert (verdict.tee, verdict.vendor_root) == ("tdx", VendorRoot.SIMULATED)
    swapped = replace(trust_domain.evidence(), keys=KEYS[:5] + bytes([11]) + KEYS[6:])
    assert judge(swapped, trust_domain.policy()) == ["report data"]
    assert "measurement" in judge(trust_domain.evidence(), policy())


def test_list_that_nobody_can_be_asked_about_is_still_read() -> None:
    """Without a chain the list's signer is unknown, and only its form can be wrong."""
    verdict = verify_snp_report(SNP.report, SNP.chain[:2], SNP.crl, policy(), NOW, DATA)
    assert "revocation" in outcomes(verdict, Outcome.NOT_EVALUATED)
    broken = verify_snp_report(SNP.report, SNP.chain[:2], b"", policy(), NOW, DATA)
    assert "revocation" in outcomes(broken, Outcome.FAILED)
    assert verify_snp_report(b"", (), vendor().revocation_list(now=NOW), policy(), NOW, DATA).refused
