# SPDX-License-Identifier: Apache-2.0
"""A result never claims more than was checked."""

from dataclasses import replace

import pytest

from attestation.results import trust
from attestation.results.appraisal import appraisal_of, policy_id, result_of
from attestation.results.aspects import FOUNDATIONS
from attestation.results.ear import Appraisal, ResultError
from attestation.results.trust import Aspect, DebugStatus, Tier, tier
from attestation.verdict import Check, VendorRoot, Verdict
from attestation.verify import appraise
from tests.fakes import hardware
from tests.unit.attestation.results.support import NOW, POLICY_IDS, VERIFIER, result, verdict, with_check


def appraisal(judged: Verdict, *, machines_are_named: bool = False) -> Appraisal:
    return appraisal_of(judged, policy_ids=POLICY_IDS, machines_are_named=machines_are_named)


def values(judged: Verdict) -> dict[Aspect, int]:
    return dict(appraisal(judged).vector)


def test_genuine_and_verified_evidence_affirms_what_was_appraised() -> None:
    found = appraisal(verdict())
    assert found.status is Tier.AFFIRMING
    assert dict(found.vector) == {Aspect.HARDWARE: 2, Aspect.EXECUTABLES: 3, Aspect.RUNTIME_OPAQUE: 2}
    assert found.attester.debug is DebugStatus.DISABLED_SINCE_BOOT


def test_a_launch_measurement_says_nothing_of_what_runs_later() -> None:
    assert appraisal(verdict()).value(Aspect.EXECUTABLES) == trust.BOOTED_AS_APPROVED


@pytest.mark.parametrize(
    "aspect", [Aspect.CONFIGURATION, Aspect.FILE_SYSTEM, Aspect.STORAGE_OPAQUE, Aspect.SOURCED_DATA]
)
def test_what_is_not_appraised_is_not_affirmed(aspect: Aspect) -> None:
    assert appraisal(verdict()).value(aspect) == trust.NO_ASSERTION


def test_an_instance_is_recognized_only_where_the_policy_names_machines() -> None:
    assert appraisal(verdict()).value(Aspect.INSTANCE_IDENTITY) == trust.NO_ASSERTION
    named = appraisal(verdict(), machines_are_named=True)
    assert named.value(Aspect.INSTANCE_IDENTITY) == trust.AFFIRMED


def test_a_simulated_machine_is_contraindicated_though_every_check_passed() -> None:
    found = appraisal(verdict(VendorRoot.SIMULATED), machines_are_named=True)
    assert found.verifier.verified
    assert found.verifier.simulated
    assert found.status is Tier.CONTRAINDICATED
    assert tier(found.value(Aspect.HARDWARE)) is Tier.CONTRAINDICATED
    assert not any(tier(value) is Tier.AFFIRMING for _, value in found.vector)
    assert found.attester.debug is None


def test_the_verifiers_own_verdict_on_simulated_evidence() -> None:
    judged = appraise(hardware.evidence(), hardware.policy(), hardware.NOW)
    assert judged.verified
    assert appraisal(judged).status is Tier.CONTRAINDICATED


def test_what_the_verifier_checks_is_what_genuine_hardware_is_affirmed_by() -> None:
    judged = appraise(hardware.evidence(), hardware.policy(), hardware.NOW)
    genuine = replace(judged, vendor_root=VendorRoot.AMD, simulated=False)
    assert appraisal(genuine).status is Tier.AFFIRMING


def test_tdx_is_affirmed_by_its_own_checks() -> None:
    ids = sorted({each for row in FOUNDATIONS if row.tee == "tdx" for each in row.checks})
    checks = tuple(Check(each, True, "", "", "", each) for each in ids)
    judged = replace(verdict(VendorRoot.INTEL), tee="tdx", checks=checks)
    assert values(judged) == {Aspect.HARDWARE: 2, Aspect.EXECUTABLES: 3, Aspect.RUNTIME_OPAQUE: 2}
    launch_only = replace(judged, checks=tuple(each for each in checks if each.section != "B4"))
    assert values(launch_only) == {Aspect.HARDWARE: 2, Aspect.RUNTIME_OPAQUE: 2}


@pytest.mark.parametrize(
    "failed",
    ["report structure", "report signature", "certificate chain", "revocation", "report data binding"],
)
def test_broken_cryptography_leaves_nothing(failed: str) -> None:
    found = appraisal(verdict(failed=(failed,)))
    assert found.status is Tier.CONTRAINDICATED
    assert {value for _, value in found.vector} == {trust.CRYPTOGRAPHY_FAILED}
    assert found.attester.debug is None


@pytest.mark.parametrize(
    ("failed", "aspect", "value"),
    [
        ("measurement", Aspect.EXECUTABLES, 33),
        ("debug", Aspect.CONFIGURATION, 96),
        ("debug", Aspect.RUNTIME_OPAQUE, 96),
        ("migration agent", Aspect.RUNTIME_OPAQUE, 96),
        ("vmpl", Aspect.CONFIGURATION, 96),
        ("tcb floor (reported)", Aspect.HARDWARE, 32),
        ("alias check", Aspect.HARDWARE, 32),
        ("machine", Aspect.INSTANCE_IDENTITY, 97),
    ],
)
def test_a_failed_check_speaks_of_its_aspect_and_affirms_nothing_else(
    failed: str, aspect: Aspect, value: int
) -> None:
    found = appraisal(verdict(failed=(failed,)))
    assert found.status is Tier.CONTRAINDICATED
    assert found.value(aspect) == value
    assert not any(tier(each) is Tier.AFFIRMING for _, each in found.vector)


def test_the_worst_of_two_failures_counts() -> None:
    judged = with_check(verdict(failed=("alias check",)), "vmpl", Check("module", False, "", "", "", "B8"))
    assert values(judged)[Aspect.HARDWARE] == trust.NOT_RECOGNIZED


def test_debug_is_reported_as_the_machine_signed_it() -> None:
    assert appraisal(verdict(failed=("debug",))).attester.debug is DebugStatus.ENABLED
    assert appraisal(verdict(skipped=("debug",))).attester.debug is None
    assert appraisal(verdict(VendorRoot.UNKNOWN, failed=("trust anchor", "debug"))).attester.debug is None


def test_old_collateral_leaves_what_the_machine_signed() -> None:
    old = Check("evaluation data number", False, "", "", "", "T14")
    found = appraisal(with_check(verdict(VendorRoot.INTEL), "vmpl", old))
    assert (found.status, dict(found.vector)) == (Tier.CONTRAINDICATED, {Aspect.HARDWARE: 32})
    assert found.attester.debug is DebugStatus.DISABLED_SINCE_BOOT


@pytest.mark.parametrize("failed", ["evidence age", "audience"])
def test_a_refusal_for_another_reason_is_a_refusal(failed: str) -> None:
    found = appraisal(verdict(failed=(failed,)))
    assert found.status is Tier.CONTRAINDICATED
    assert dict(found.vector) == {Aspect.HARDWARE: trust.NO_ASSERTION}


def test_what_could_not_be_checked_is_no_assertion() -> None:
    found = appraisal(verdict(skipped=("revocation",)))
    assert found.status is Tier.NONE
    assert dict(found.vector) == {Aspect.HARDWARE: trust.NO_ASSERTION}
    assert found.attester.enclave is None


def test_a_waived_check_is_no_affirmation() -> None:
    check = Check("alias check", False, "", "", "", "A9", waived=True)
    found = appraisal(with_check(verdict(), "alias check", check))
    assert found.status is Tier.NONE
    assert dict(found.vector) == {Aspect.HARDWARE: trust.NO_ASSERTION}


def test_a_pass_with_a_note_is_no_affirmation_of_its_aspect() -> None:
    noted = Check("alias check", True, "", "", "", "A9", noted=True)
    found = appraisal(with_check(verdict(), "alias check", noted))
    assert found.verifier.verified
    assert found.status is Tier.NONE
    assert found.value(Aspect.HARDWARE) == trust.NO_ASSERTION


def test_a_check_that_is_missing_is_no_affirmation() -> None:
    judged = verdict()
    fewer = replace(judged, checks=tuple(each for each in judged.checks if each.section != "S8"))
    assert fewer.verified
    assert appraisal(fewer).status is Tier.NONE


def test_evidence_of_an_unknown_kind_is_not_affirmed() -> None:
    assert appraisal(replace(verdict(), tee="novel")).status is Tier.NONE


def test_no_checks_at_all_are_no_assertion() -> None:
    found = appraisal(replace(verdict(), checks=()))
    assert (found.status, found.verifier.verified) == (Tier.NONE, False)


def test_claims_of_the_enclave_are_passed_on_only_if_verified() -> None:
    assert appraisal(verdict()).attester.enclave is not None
    assert appraisal(verdict(failed=("audience",))).attester.enclave is None
    assert appraisal(replace(verdict(), claims=None)).attester.enclave is None


def test_a_result_expires_with_the_evidence() -> None:
    assert result().expires_at == NOW + 600
    assert result(verdict(failed=("audience",))).expires_at is None


def test_a_result_after_the_evidence_has_expired_is_impossible() -> None:
    with pytest.raises(ResultError, match="expiry"):
        result_of(verdict(), issued_at=NOW + 600, verifier=VERIFIER, policy_ids=POLICY_IDS)


def test_a_policy_is_named_by_its_bytes() -> None:
    # RFC 6920 section 8.2 names these bytes so.
    assert policy_id(b"Hello World!") == "ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (-128, Tier.CONTRAINDICATED),
        (-97, Tier.CONTRAINDICATED),
        (-96, Tier.WARNING),
        (-33, Tier.WARNING),
        (-32, Tier.AFFIRMING),
        (-2, Tier.AFFIRMING),
        (-1, Tier.NONE),
        (0, Tier.NONE),
        (1, Tier.NONE),
        (2, Tier.AFFIRMING),
        (31, Tier.AFFIRMING),
        (32, Tier.WARNING),
        (95, Tier.WARNING),
        (96, Tier.CONTRAINDICATED),
        (127, Tier.CONTRAINDICATED),
    ],
)
def test_tiers_are_those_of_ar4si(value: int, expected: Tier) -> None:
    assert tier(value) is expected


def test_a_status_cannot_flatter() -> None:
    good = appraisal(verdict())
    with pytest.raises(ResultError, match="better than its vector"):
        replace(good, vector=((Aspect.HARDWARE, 32),))
    simulated = replace(good.verifier, vendor_root="simulated")
    with pytest.raises(ResultError, match="never affirmed"):
        replace(good, verifier=simulated)


@pytest.mark.parametrize(
    "vector",
    [
        (),
        ((Aspect.HARDWARE, 0), (Aspect.HARDWARE, 0)),
        ((Aspect.HARDWARE, 0), (Aspect.EXECUTABLES, 0)),
        ((Aspect.HARDWARE, 128),),
        ((Aspect.HARDWARE, -129),),
    ],
)
def test_a_vector_has_one_form(vector: tuple[tuple[Aspect, int], ...]) -> None:
    with pytest.raises(ResultError):
        replace(appraisal(verdict()), vector=vector)


def test_a_result_needs_a_policy_and_a_nonce_of_its_sizes() -> None:
    with pytest.raises(ResultError, match="policy"):
        appraisal_of(verdict(), policy_ids=())
    for size in (0, 7, 65):
        with pytest.raises(ResultError, match="nonce"):
            result(nonce=bytes(size))
    with pytest.raises(ResultError, match="label"):
        replace(result(), appraisals=())
    with pytest.raises(ResultError, match="developer"):
        replace(result(), verifier=replace(VERIFIER, build=""))
    with pytest.raises(ResultError, match="issue"):
        replace(result(), issued_at=-1)
