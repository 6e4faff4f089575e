# SPDX-License-Identifier: Apache-2.0
"""Bugs of published verifiers (attestation.md 7.3), each tried on this one."""

from dataclasses import replace

import pytest

from attestation.settings import AnyValue
from attestation.simulated.collateral import LEVELS, Status
from attestation.simulated.intel import TdxSetting
from attestation.simulated.td_quote import QeFields
from attestation.simulated.tdx_knobs import TDX_KNOBS
from attestation.simulated.tdx_statuses import with_status, with_version_5
from attestation.tdx.certificates import parse_chain
from attestation.tdx.collateral import TcbStatus, parse_qe_identity, parse_tcb_info
from attestation.tdx.platform import VerifiedPlatforms
from attestation.tdx.policy import TdMeasurement
from attestation.tdx.quote import QuoteError, parse_quote
from attestation.tdx.rules import appraise_quote
from attestation.tdx.tcb import TcbResult, evaluate, relaunch
from tests.unit.attestation.tdx.genuine import appraise, case_of, collateral, needs_vectors, read
from tests.unit.attestation.tdx.simulated import (
    GOOD,
    NOW,
    POLICY,
    REPORT_DATA,
    ROOTS,
    collateral_of,
    failures,
    judge,
    quote_of,
    with_td,
)


def result_of(setting: TdxSetting) -> TcbResult:
    _, result = judge(setting)
    assert result is not None
    return result


def with_svn(*svn: int) -> TdxSetting:
    encoded = bytes(svn).ljust(16, b"\x00")
    return with_td(tee_tcb_svn=encoded, tee_tcb_svn2=encoded)


def spoiled(name: str) -> TdxSetting:
    return TDX_KNOBS[name].change(GOOD)


def test_cve_2026_22696_qe_identity_not_verified() -> None:
    """An attacker's enclave on a genuine machine has a genuine report, and signs any quote."""
    rogue = replace(GOOD, qe=QeFields(mrsigner=bytes([0xBA]) * 32))
    assert failures(rogue) == {"quoting enclave", "quoting enclave level", "tcb status"}
    assert result_of(rogue).status is TcbStatus.NOT_SUPPORTED


def test_qe_identity_signed_by_nobody_is_refused() -> None:
    good = collateral_of(GOOD)
    changed = good.qe_identity.replace(b'"isvsvn":6', b'"isvsvn":5')
    assert changed != good.qe_identity
    checks, _ = appraise_quote(
        quote_of(GOOD), replace(good, qe_identity=changed), POLICY, ROOTS, REPORT_DATA, NOW
    )
    assert [check.name for check in checks if not check.ok] == ["qe identity"]


def test_sgx_quoting_enclave_identity_is_not_tdx() -> None:
    assert "qe identity" in failures(spoiled("qe-identity-of-sgx"))


def test_out_of_date_does_not_stop_before_the_qe_identity() -> None:
    """go-tdx-guest stops at OutOfDate and leaves the quoting enclave unchecked."""
    rogue = replace(with_status(GOOD, Status.OUT_OF_DATE), qe=QeFields(product_id=1))
    assert {"quoting enclave", "tcb status"} <= failures(rogue)
    accepting = replace(POLICY, accepted_statuses=frozenset({TcbStatus.OUT_OF_DATE}))
    assert "quoting enclave" in failures(rogue, accepting)


def test_components_compared_from_index_two() -> None:
    """The platform's level lists the first module's version; a later module is judged by its identity."""
    assert result_of(with_svn(5, 1, 3)).platform_status is TcbStatus.UP_TO_DATE
    assert result_of(with_svn(5, 0, 3)).status is TcbStatus.UP_TO_DATE
    assert result_of(with_svn(4, 0, 3)).status is TcbStatus.NOT_SUPPORTED


@needs_vectors
def test_genuine_google_quote_is_up_to_date() -> None:
    """Three published verifiers call it OutOfDate, by comparing from index 0 or a decimal identity."""
    case = case_of("tdx-v4-openpcc-gce")
    _, result = appraise(read(case.quote), collateral(case.collateral), case.now)
    assert result is not None
    assert result.status is TcbStatus.UP_TO_DATE


@needs_vectors
def test_sgx_components_are_compared_too() -> None:
    """A genuine Granite Rapids machine is OutOfDate by its SGX components alone."""
    case = case_of("tdx-v4-coco-6-gnr")
    _, result = appraise(read(case.quote), collateral(case.collateral), case.now)
    assert result is not None
    assert (result.status, result.platform_status) == (TcbStatus.OUT_OF_DATE, TcbStatus.OUT_OF_DATE)


def test_pcesvn_is_compared_too() -> None:
    old = replace(GOOD, platform=replace(GOOD.platform, pce_svn=12))
    assert result_of(old).platform_status is TcbStatus.NOT_SUPPORTED


def test_module_identity_is_hexadecimal() -> None:
    assert failures(spoiled("module-hexadecimal")) == set()
    decimal = replace(with_svn(5, 16, 3), tcb_info=replace(GOOD.tcb_info, module_identities=("TDX_16",)))
    assert {"tdx module", "tcb status"} <= failures(decimal)


def test_module_without_identity_is_not_up_to_date() -> None:
    assert result_of(spoiled("module-unknown")).status is TcbStatus.NOT_SUPPORTED
    assert {"tdx module", "tdx module level"} <= failures(spoiled("module-unknown"))


def test_module_of_another_signer_is_refused() -> None:
    assert "tdx module" in failures(spoiled("seam-signer"))
    assert "tdx module" in failures(spoiled("seam-attributes"))


def test_module_below_every_level_is_not_up_to_date() -> None:
    assert result_of(with_svn(0, 1, 3)).module_status is TcbStatus.NOT_SUPPORTED


def test_no_matching_level_is_not_up_to_date() -> None:
    result = result_of(with_status(GOOD, Status.NOT_SUPPORTED))
    assert (result.status, result.advisory_ids) == (TcbStatus.NOT_SUPPORTED, ())
    assert {"tcb level", "tcb status"} <= failures(with_status(GOOD, Status.NOT_SUPPORTED))


def test_tcb_info_without_levels_is_not_up_to_date() -> None:
    empty = replace(GOOD, tcb_info=replace(GOOD.tcb_info, levels=()))
    assert result_of(empty).status is TcbStatus.NOT_SUPPORTED


def test_first_matching_level_counts_in_intels_order() -> None:
    reversed_levels = replace(GOOD, tcb_info=replace(GOOD.tcb_info, levels=LEVELS[::-1]))
    assert result_of(reversed_levels).status is TcbStatus.REVOKED


def test_tcb_info_of_another_platform_is_not_up_to_date() -> None:
    assert {"tcb info platform", "tcb level"} <= failures(spoiled("fmspc"))
    assert {"tcb info platform", "tcb level"} <= failures(spoiled("pceid"))


def test_evaluation_alone_refuses_what_does_not_belong_together() -> None:
    """Whoever calls the algorithm without the checks still gets no false UpToDate."""
    quote, supplied = parse_quote(quote_of(GOOD)), collateral_of(spoiled("fmspc"))
    pck = parse_chain(quote.certificates).pck
    info, identity = parse_tcb_info(supplied.tcb_info), parse_qe_identity(supplied.qe_identity)
    assert evaluate(quote, pck, info, identity).status is TcbStatus.NOT_SUPPORTED


def test_swapped_attestation_key_is_refused() -> None:
    """dk and cvm accept it: anyone can mint any quote."""
    assert failures(spoiled("key-swap")) == {"attestation key"}
    assert failures(spoiled("commitment-tail")) == {"attestation key"}


def test_chain_under_an_attackers_root_is_refused() -> None:
    assert "trust anchor" in failures(spoiled("wrong-root"))


def test_collateral_under_another_root_is_refused() -> None:
    assert {"collateral root", "tcb info", "qe identity", "revocation"} <= failures(
        spoiled("wrong-root-of-collateral")
    )


def test_expired_collateral_is_refused() -> None:
    assert failures(spoiled("expired-tcb-info")) >= {"tcb info age"}
    assert failures(spoiled("expired-qe-identity")) >= {"qe identity age"}


def test_tampered_tcb_info_is_refused() -> None:
    assert failures(spoiled("tcb-info-changed")) == {"tcb info"}


def test_downgrade_by_stale_collateral_is_refused() -> None:
    assert failures(spoiled("stale-collateral")) == {"evaluation data number"}
    assert failures(spoiled("evaluations-differ")) == {"evaluation data number"}


@pytest.mark.parametrize("part", ["pck_crl", "root_crl"])
def test_garbage_revocation_list_is_refused(part: str) -> None:
    good = collateral_of(GOOD)
    garbage = replace(good, pck_crl=b"x") if part == "pck_crl" else replace(good, root_crl=b"x")
    checks, _ = appraise_quote(quote_of(GOOD), garbage, POLICY, ROOTS, REPORT_DATA, NOW)
    assert {"revocation", "revocation list age"} == {check.name for check in checks if not check.ok}


def test_swapped_revocation_lists_are_refused() -> None:
    good = collateral_of(GOOD)
    swapped = replace(good, pck_crl=good.root_crl, root_crl=good.pck_crl)
    checks, _ = appraise_quote(quote_of(GOOD), swapped, POLICY, ROOTS, REPORT_DATA, NOW)
    assert {check.name for check in checks if not check.ok} == {"revocation"}


def test_list_with_another_issuer_in_its_chain_is_refused() -> None:
    good = collateral_of(GOOD)
    other = replace(good, pck_crl_chain=collateral_of(spoiled("wrong-root-of-collateral")).pck_crl_chain)
    checks, _ = appraise_quote(quote_of(GOOD), other, POLICY, ROOTS, REPORT_DATA, NOW)
    assert "collateral root" in {check.name for check in checks if not check.ok}


def test_relaunch_is_judged_by_the_second_version() -> None:
    current, launched = bytes((5, 1, 3)).ljust(16, b"\x00"), bytes((3, 1, 3)).ljust(16, b"\x00")
    updated = with_version_5(with_td(tee_tcb_svn=launched, tee_tcb_svn2=current))
    result = result_of(updated)
    assert (result.status, result.launch) == (TcbStatus.TD_RELAUNCH_ADVISED, TcbStatus.OUT_OF_DATE)
    assert result.advisory_ids == ("INTEL-SA-01036",)
    unknown = with_version_5(with_td(tee_tcb_svn2=bytes((5, 9, 3)).ljust(16, b"\x00")))
    assert result_of(unknown).status is TcbStatus.NOT_SUPPORTED
    assert "relaunch" in failures(unknown)


UP, OLD, OLD_CONFIG = (
    TcbStatus.UP_TO_DATE,
    TcbStatus.OUT_OF_DATE,
    TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
)


@pytest.mark.parametrize(
    ("launch", "current", "status"),
    [
        (UP, UP, UP),
        (UP, OLD, UP),
        (OLD, OLD, OLD),
        (OLD, OLD_CONFIG, OLD),
        (OLD, UP, TcbStatus.TD_RELAUNCH_ADVISED),
        (OLD, TcbStatus.SW_HARDENING_NEEDED, TcbStatus.TD_RELAUNCH_ADVISED),
        (OLD, TcbStatus.CONFIGURATION_NEEDED, TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED),
        (OLD_CONFIG, UP, TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED),
        (TcbStatus.REVOKED, UP, TcbStatus.REVOKED),
        (UP, TcbStatus.REVOKED, TcbStatus.REVOKED),
        (TcbStatus.NOT_SUPPORTED, UP, TcbStatus.NOT_SUPPORTED),
        (UP, TcbStatus.NOT_SUPPORTED, TcbStatus.NOT_SUPPORTED),
        (TcbStatus.NOT_SUPPORTED, TcbStatus.REVOKED, TcbStatus.NOT_SUPPORTED),
    ],
)
def test_relaunch_table(launch: TcbStatus, current: TcbStatus, status: TcbStatus) -> None:
    assert relaunch(launch, current) is status


def test_old_part_makes_the_platform_old() -> None:
    for setting in (with_svn(3, 1, 3), replace(GOOD, qe=QeFields(svn=6))):
        assert result_of(setting).status is TcbStatus.OUT_OF_DATE
        hardened = replace(setting, platform=with_status(GOOD, Status.CONFIGURATION_NEEDED).platform)
        assert result_of(hardened).status is TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED


def test_revoked_part_revokes_all() -> None:
    for setting in (with_svn(1, 1, 3), replace(GOOD, qe=QeFields(svn=1))):
        assert result_of(setting).status is TcbStatus.REVOKED
        assert "tcb status" in failures(setting)


def test_same_mrtd_with_another_kernel_is_refused() -> None:
    assert failures(spoiled("kernel")) == {"measurement", "rtmr3"}
    (known,) = POLICY.measurements
    loose = TdMeasurement(known.mrtd, known.rtmr0, AnyValue.ANY, known.rtmr2, known.rtmr3)
    assert failures(spoiled("kernel"), replace(POLICY, measurements=frozenset({loose}))) == set()


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(QuoteError, match="zero bytes after the quote"):
        parse_quote(quote_of(GOOD) + b"A" * 64)


def test_expired_collateral_is_not_revived_by_the_cache() -> None:
    platforms = VerifiedPlatforms()
    for days, expected in ((0, True), (40, False), (0, True)):
        checks, _ = appraise_quote(
            quote_of(GOOD),
            collateral_of(GOOD),
            POLICY,
            ROOTS,
            REPORT_DATA,
            NOW + days * 86400,
            platforms=platforms,
        )
        assert all(check.ok for check in checks) is expected


def test_collateral_of_the_other_authority_is_refused() -> None:
    """Both authorities are Intel's; a list of the one says nothing about keys that the other certified."""
    other = collateral_of(spoiled("processor-ca"))
    checks, _ = appraise_quote(quote_of(GOOD), other, POLICY, ROOTS, REPORT_DATA, NOW)
    assert {check.name for check in checks if not check.ok} == {"revocation", "collateral root"}
