# SPDX-License-Identifier: Apache-2.0
"""Which checks there are, and what the failure of each means to whoever has to act on it."""

from collections.abc import Callable, Sequence

import pytest

from attestation import rules, tdx_case
from attestation.azure import checks as azure
from attestation.azure import gce
from attestation.azure.checks import AzureCase
from attestation.azure.gce import GoogleFacts
from attestation.binding import TeeOctet
from attestation.case import Finding, NotEvaluatedError, Rule, WaivedError, make_check
from attestation.nvidia import checks as nvidia
from attestation.nvidia.checks import GpuCase
from attestation.rules import Session
from attestation.snp import appraisal
from attestation.snp import rules as snp_rules
from attestation.snp.case import NotCompared, SnpCase
from attestation.tdx import log_checks
from attestation.tdx import rules as tdx_rules
from attestation.tdx.log_checks import LogCase
from attestation.tdx.rules import QuoteCase
from attestation.tdx_case import NoCollateral
from attestation.verdict import Decision, Outcome, VendorRoot
from attestation.verify import verify_tdx_quote
from tests.fakes import trust_domain
from tests.fakes.hardware import NOW

Rules = (
    Sequence[Rule[Session]]
    | Sequence[Rule[SnpCase]]
    | Sequence[Rule[QuoteCase]]
    | Sequence[Rule[LogCase]]
    | Sequence[Rule[AzureCase]]
    | Sequence[Rule[GoogleFacts]]
    | Sequence[Rule[GpuCase]]
)

SNP_PLATFORM = """debug, migration agent, vmpl, chip key mask, tcb floor (reported), tcb floor (committed),
    tcb floor (launch), tcb floor (current), firmware rollback, alias check, platform info, guest policy,
    guest policy abi, mitigations, product, machine, provider"""
SNP_EVIDENCE = """report structure, report signature, signing key, certificate chain, trust anchor,
    revocation, certificate TCB, chip identity, product agreement, report data binding"""
TDX_PLATFORM = """quoting enclave level, tdx module level, tcb level, relaunch, debug, td attributes,
    sept ve disable, migration, xfam, service td, mrseam, tcb status, platform configuration, fmspc, ppid"""
TDX_EVIDENCE = """quote structure, quote signature, attestation key, quoting enclave report,
    certificate chain, trust anchor, revocation, tcb info, tcb info platform, qe identity, quoting enclave,
    tdx module, collateral root, report data"""
TDX_AGE = """certificate validity, revocation list age, tcb info age, collateral certificate validity,
    qe identity age, evaluation data number, collateral age"""
AZURE_EVIDENCE = """hcl blob, hardware report, hardware signature, runtime data binding, runtime data,
    user data, tpm quote, tpm quote signature, tpm quote nonce, register digest"""
REGISTERS = "event log rtmr0, event log rtmr1, event log rtmr2, event log rtmr3"
GPU_EVIDENCE = """gpu report structure, certificate chain, trust anchor, gpu report signature, gpu firmware,
    gpu nonce, revocation"""


def named(names: str, decision: Decision) -> dict[str, Decision]:
    return dict.fromkeys((name.strip() for name in names.replace("\n", " ").split(",")), decision)


@pytest.mark.parametrize(
    ("made", "meant"),
    [
        (lambda: rules.FORM, named("evidence form", Decision.UNTRUSTED)),
        (
            lambda: rules.SESSION,
            named("key list, claims, protocol version", Decision.UNTRUSTED)
            | named("evidence age", Decision.EXPIRED)
            | named("audience", Decision.WRONG_AUDIENCE)
            | named("model", Decision.WRONG_MODEL),
        ),
        (
            lambda: snp_rules.RULES,
            named(SNP_EVIDENCE, Decision.UNTRUSTED)
            | named("certificate validity, revocation list age", Decision.EXPIRED)
            | named(
                "measurement, guest svn, family id, image id, id key, author key, host data",
                Decision.WRONG_MEASUREMENT,
            )
            | named(SNP_PLATFORM, Decision.WRONG_PLATFORM),
        ),
        (
            lambda: tdx_rules.TDX_CHECKS,
            named(TDX_EVIDENCE, Decision.UNTRUSTED)
            | named(TDX_AGE, Decision.EXPIRED)
            | named("measurement, rtmr3, mrconfigid, mrowner, mrownerconfig", Decision.WRONG_MEASUREMENT)
            | named(TDX_PLATFORM, Decision.WRONG_PLATFORM),
        ),
        (
            lambda: azure.RULES + azure.TDX_RULES,
            named(AZURE_EVIDENCE, Decision.UNTRUSTED)
            | named("guest measurements", Decision.WRONG_MEASUREMENT)
            | named("tdreport hashes, td quote agreement", Decision.UNTRUSTED),
        ),
        (
            lambda: log_checks.LOG_CHECKS,
            named("event log", Decision.UNTRUSTED) | named(REGISTERS, Decision.WRONG_MEASUREMENT),
        ),
        (lambda: gce.RULES, named("google instance, google host record", Decision.WRONG_PLATFORM)),
        (
            lambda: nvidia.RULES,
            named(GPU_EVIDENCE, Decision.UNTRUSTED)
            | named("certificate validity", Decision.EXPIRED)
            | named("gpu measurements", Decision.WRONG_MEASUREMENT),
        ),
    ],
    ids=["form", "session", "snp", "tdx", "azure", "log", "google", "gpu"],
)
def test_every_check_is_there_and_says_whom_its_failure_concerns(
    made: Callable[[], Rules], meant: dict[str, Decision]
) -> None:
    assert {rule.name: rule.decision for rule in made()} == meant


def test_roots_decide_the_octet_of_report_data() -> None:
    simulated = {VendorRoot.SIMULATED: TeeOctet.SIMULATED}
    assert {VendorRoot.AMD: TeeOctet.SEV_SNP} | simulated == appraisal.TEE_OCTETS
    assert {VendorRoot.INTEL: TeeOctet.TDX} | simulated == tdx_case.TEE_OCTETS
    assert [octet.value for octet in TeeOctet] == [1, 2, 255]


def test_collateral_that_the_caller_does_not_have_has_not_passed() -> None:
    quote, accepted = trust_domain.evidence().report, trust_domain.policy()
    verdict = verify_tdx_quote(quote, NoCollateral.NO_COLLATERAL, accepted, NOW, NotCompared.NOT_COMPARED)
    check = next(check for check in verdict.checks if check.name == "collateral")
    assert (check.ok, check.evaluated, check.waived) == (False, False, True)
    assert not any(check.ok and not check.evaluated for check in verdict.checks)


@pytest.mark.parametrize(
    ("trouble", "outcome"),
    [
        (NotEvaluatedError("the list cannot be read"), Outcome.NOT_EVALUATED),
        (WaivedError("the caller has none"), Outcome.WAIVED),
    ],
)
def test_check_that_is_not_made_has_not_passed(trouble: Exception, outcome: Outcome) -> None:
    def examine(_case: str) -> Finding:
        raise trouble

    check = make_check(Rule("X2", "name", Decision.EXPIRED, "wanted", examine, "Why."), "case")
    assert (check.ok, check.evaluated, check.outcome) == (False, False, outcome)
    assert check.found == f"not evaluated: {trouble}"
    assert (check.expected, check.decision) == ("wanted", Decision.EXPIRED)
