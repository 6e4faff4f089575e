# SPDX-License-Identifier: Apache-2.0
"""Only `verify` makes a verified enclave, and every check has a name, an id and a reason."""

from dataclasses import FrozenInstanceError, replace

import pytest

from attestation import rules
from attestation.policy import AnyMachine, AnyModel
from attestation.snp import rules as snp_rules
from attestation.verify import Untrusted, VerifiedEnclave, appraise, verify
from tests.fakes.hardware import CLAIMS, MEASUREMENT, NOW, evidence, policy

CHECKS = len(rules.FORM + rules.SESSION) + len(snp_rules.RULES)


def test_nobody_else_makes_a_verified_enclave() -> None:
    enclave = verify(evidence(), policy(), NOW)
    with pytest.raises(RuntimeError, match="only verify"):
        VerifiedEnclave(enclave.key_configurations, CLAIMS, enclave.verdict, evidence(), seal=object())
    with pytest.raises((TypeError, ValueError)):
        replace(enclave, claims=CLAIMS)  # type: ignore[call-arg]
    with pytest.raises(FrozenInstanceError):
        enclave.claims = CLAIMS  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def test_verified_enclave_holds_what_was_judged() -> None:
    judged = evidence()
    enclave = verify(judged, policy(), NOW)
    assert enclave.evidence == judged
    assert enclave.verdict.measurement == MEASUREMENT
    assert enclave.verdict.claims == enclave.claims == CLAIMS


def test_error_names_the_first_failure() -> None:
    with pytest.raises(Untrusted, match=r"^report structure: expected a report .* found a defect"):
        verify(replace(evidence(), report=b""), policy(), NOW)


def test_checks_have_unique_names_and_reasons() -> None:
    checks = appraise(evidence(), policy(), NOW).checks
    assert len({check.name for check in checks}) == len(checks) == CHECKS
    assert all(
        check.why.endswith(".") and check.expected and check.found and check.section for check in checks
    )


def test_one_failure_does_not_hide_another() -> None:
    verdict = appraise(replace(evidence(), report=b"", crl=b""), policy(), NOW)
    assert [check.name for check in verdict.failures if check.evaluated] == ["report structure", "revocation"]
    assert all(check.found.startswith("not evaluated: ") for check in verdict.failures if not check.evaluated)


def test_any_machine_and_any_model_are_explicit() -> None:
    anything = replace(policy(), machines=AnyMachine.ANY_MACHINE, models=AnyModel.ANY_MODEL)
    assert appraise(evidence(), anything, NOW).verified


def test_report_of_version_2_takes_its_product_from_the_certificates() -> None:
    judged = evidence(
        spoil=lambda fields: replace(fields, version=2, cpuid_family=0, cpuid_model=0, cpuid_stepping=0)
    )
    assert appraise(judged, policy(), NOW).verified
