# SPDX-License-Identifier: Apache-2.0
"""Each thing that can be wrong fails the check that is about it, and nothing good fails."""

from dataclasses import replace

import dcap_qvl
import pytest

from attestation.settings import AnyValue
from attestation.simulated.collateral import Status
from attestation.simulated.td_quote import BodyType
from attestation.simulated.tdx_knobs import TDX_KNOBS
from attestation.simulated.tdx_statuses import with_status, with_version_5
from attestation.tdx.policy import ReportDataExpectation, TdMeasurement
from attestation.tdx.quote import TdAttributes
from attestation.tdx.rules import APPRAISAL, STRUCTURE, TDX_CHECKS, appraise_quote
from attestation.tdx.tcb import TcbStatus
from attestation.verdict import Outcome
from tests.unit.attestation.tdx.simulated import (
    GOOD,
    GOOD_TD,
    INTEL,
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

# Not of a quote, but of a log beside it.
ABOUT_LOGS = {"log-short", "log-changed"}
ONES = bytes([1]) * 48


def test_good_quote_passes_every_check() -> None:
    checks, result = judge(GOOD)
    assert [check.name for check in checks if not check.ok] == []
    assert result is not None
    assert (result.status, result.advisory_ids) == (TcbStatus.UP_TO_DATE, ())
    assert (result.module_status, result.qe_status, result.platform_status) == (TcbStatus.UP_TO_DATE,) * 3
    assert result.evaluation_data_number == 21


def test_ids_are_in_order_and_complete() -> None:
    sections = [section for rule in TDX_CHECKS for section in rule.section.split()]
    for letter, rules, last in (("T", STRUCTURE, 14), ("B", APPRAISAL, 11)):
        of_letter = [int(section[1:]) for section in sections if section[0] == letter]
        assert set(of_letter) == set(range(1, last + 1))
        assert all(rule.section.startswith(letter) for rule in rules)
    assert len({rule.name for rule in TDX_CHECKS}) == len(TDX_CHECKS)


@pytest.mark.parametrize("name", [name for name in TDX_KNOBS if name not in ABOUT_LOGS])
def test_knob_fails_the_check_it_names(name: str) -> None:
    knob = TDX_KNOBS[name]
    checks, _ = judge(knob.change(GOOD))
    failed = {section for check in checks if not check.ok for section in check.section.split()}
    assert (failed == set()) if knob.accepted else (knob.check in failed)


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("body_type", list(BodyType))
def test_status_is_that_of_the_oracle(status: Status, body_type: BodyType) -> None:
    setting = with_status(GOOD, status)
    if body_type is not BodyType.TD_1_0:
        setting = with_version_5(replace(setting, quote=replace(setting.quote, body_type=body_type)))
    quote = quote_of(setting)
    _, result = judge(setting)
    assert result is not None
    oracle = dcap_qvl.QuoteCollateralV3.from_json(INTEL.power_on(setting).collateral.encode().decode())
    if status in {Status.NOT_SUPPORTED, Status.REVOKED}:
        assert (
            result.status
            is {
                Status.NOT_SUPPORTED: TcbStatus.NOT_SUPPORTED,
                Status.REVOKED: TcbStatus.REVOKED,
            }[status]
        )
        with pytest.raises(ValueError, match=r"No matching TCB level|revoked|Revoked"):
            dcap_qvl.verify_with_root_ca(quote, oracle, GOOD_TD.root, NOW)
        return
    verified = dcap_qvl.verify_with_root_ca(quote, oracle, GOOD_TD.root, NOW)
    assert result.status.value == status.value == verified.status
    assert list(result.advisory_ids) == sorted(verified.advisory_ids)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.UP_TO_DATE])
def test_status_that_the_policy_does_not_name_is_refused(status: Status) -> None:
    assert "tcb status" in failures(with_status(GOOD, status))


def test_status_that_the_policy_names_is_accepted_with_its_advisories() -> None:
    setting = with_status(GOOD, Status.OUT_OF_DATE)
    accepting = replace(POLICY, accepted_statuses=frozenset({TcbStatus.OUT_OF_DATE}))
    assert failures(setting, accepting) == {"tcb status"}
    tolerant = replace(accepting, tolerated_advisories=frozenset({"INTEL-SA-00837"}))
    assert failures(setting, tolerant) == set()


def test_relaunch_that_the_policy_names_is_accepted() -> None:
    setting = with_status(GOOD, Status.TD_RELAUNCH_ADVISED)
    accepting = replace(
        POLICY,
        accepted_statuses=frozenset({TcbStatus.TD_RELAUNCH_ADVISED}),
        tolerated_advisories=frozenset({"INTEL-SA-00837"}),
    )
    assert failures(setting, accepting) == set()


def test_missing_collateral_leaves_what_needs_it_not_evaluated() -> None:
    checks, result = appraise_quote(quote_of(GOOD), None, POLICY, ROOTS, REPORT_DATA, NOW)
    missing = {check.name for check in checks if check.outcome is Outcome.NOT_EVALUATED}
    assert missing == {check.name for check in checks if not check.ok}
    assert missing == {
        "revocation",
        "revocation list age",
        "tcb info",
        "tcb info age",
        "collateral certificate validity",
        "tcb info platform",
        "qe identity",
        "qe identity age",
        "quoting enclave",
        "quoting enclave level",
        "tdx module",
        "tdx module level",
        "tcb level",
        "relaunch",
        "collateral root",
        "evaluation data number",
        "collateral age",
        "tcb status",
    }
    assert all(check.found.startswith("not evaluated: ") for check in checks if check.name in missing)
    assert result is None


def test_unreadable_quote_leaves_everything_else_not_evaluated() -> None:
    checks, result = appraise_quote(b"", collateral_of(GOOD), POLICY, ROOTS, REPORT_DATA, NOW)
    assert [check.outcome for check in checks] == [
        Outcome.FAILED,
        *[Outcome.NOT_EVALUATED] * (len(TDX_CHECKS) - 1),
    ]
    assert result is None


def test_report_data_that_is_not_compared_is_not_passed() -> None:
    expectation = ReportDataExpectation.NOT_COMPARED
    checks, _ = appraise_quote(quote_of(GOOD), collateral_of(GOOD), POLICY, ROOTS, expectation, NOW)
    (refused,) = [check for check in checks if not check.ok]
    assert (refused.name, refused.outcome) == ("report data", Outcome.WAIVED)


def test_other_report_data_is_refused() -> None:
    checks, _ = appraise_quote(quote_of(GOOD), collateral_of(GOOD), POLICY, ROOTS, bytes(64), NOW)
    assert [check.name for check in checks if not check.ok] == ["report data"]


def test_no_accepted_root_accepts_nothing() -> None:
    quote, collateral = quote_of(GOOD), collateral_of(GOOD)
    checks, _ = appraise_quote(quote, collateral, POLICY, frozenset(), REPORT_DATA, NOW)
    assert [check.name for check in checks if not check.ok] == ["trust anchor"]


def test_debug_is_refused_unless_the_policy_says_unsafe() -> None:
    setting = with_td(td_attributes=TdAttributes.DEBUG | TdAttributes.SEPT_VE_DISABLE)
    assert failures(setting) == {"debug"}
    assert failures(setting, replace(POLICY, unsafe_allow_debug=True)) == set()


def test_sept_ve_off_is_refused_unless_allowed() -> None:
    assert failures(with_td(td_attributes=0)) == {"sept ve disable"}
    assert failures(with_td(td_attributes=0), replace(POLICY, allow_sept_ve_off=True)) == set()


def test_attribute_is_refused_unless_named() -> None:
    setting = with_td(td_attributes=TdAttributes.PERFMON | TdAttributes.SEPT_VE_DISABLE)
    assert failures(setting) == {"td attributes"}
    assert failures(setting, replace(POLICY, allowed_attributes=TdAttributes.PERFMON)) == set()


def test_migration_has_no_allowance() -> None:
    assert failures(with_td(td_attributes=TdAttributes.MIGRATABLE | TdAttributes.SEPT_VE_DISABLE)) == {
        "migration"
    }


@pytest.mark.parametrize("xfam", [0, 1, 0xE7 | 1 << 3, 0xE7 | 1 << 40])
def test_unknown_or_missing_processor_state_is_refused(xfam: int) -> None:
    assert failures(with_td(xfam=xfam)) == {"xfam"}


def test_xfam_can_be_exact() -> None:
    expected = GOOD.quote.td.xfam.to_bytes(8, "little")
    assert failures(GOOD, replace(POLICY, xfam=expected)) == set()
    assert failures(with_td(xfam=0xE7), replace(POLICY, xfam=expected)) == {"xfam"}


@pytest.mark.parametrize("register", ["rtmr0", "rtmr1", "rtmr2"])
def test_other_kernel_under_the_same_mrtd_is_refused(register: str) -> None:
    (known,) = POLICY.measurements
    other = TdMeasurement(
        known.mrtd,
        ONES if register == "rtmr0" else known.rtmr0,
        ONES if register == "rtmr1" else known.rtmr1,
        ONES if register == "rtmr2" else known.rtmr2,
        known.rtmr3,
    )
    policy = replace(POLICY, measurements=frozenset({other}))
    assert failures(GOOD, policy) == {"measurement", "rtmr3"}
    any_value = AnyValue.ANY
    loose = TdMeasurement(known.mrtd, any_value, any_value, any_value, any_value)
    assert failures(GOOD, replace(POLICY, measurements=frozenset({loose}))) == set()


def test_application_measurements_must_be_zero_unless_named() -> None:
    (known,) = POLICY.measurements
    silent = TdMeasurement(known.mrtd, known.rtmr0, known.rtmr1, known.rtmr2)
    assert failures(GOOD, replace(POLICY, measurements=frozenset({silent}))) == {"rtmr3"}


def test_no_measurement_accepts_nothing() -> None:
    assert failures(GOOD, replace(POLICY, measurements=frozenset())) == {"measurement", "rtmr3"}


def test_configuration_that_the_policy_names_replaces_zero() -> None:
    listed = frozenset({ONES})
    named = replace(POLICY, mrconfigids=listed, mrowners=listed, mrownerconfigs=listed)
    assert failures(with_td(mrconfigid=ONES, mrowner=ONES, mrownerconfig=ONES), named) == set()
    assert failures(GOOD, named) == {"mrconfigid", "mrowner", "mrownerconfig"}
    anything = replace(POLICY, mrconfigids=AnyValue.ANY)
    assert failures(with_td(mrconfigid=ONES), anything) == set()
    assert failures(GOOD, replace(POLICY, mrconfigids=frozenset())) == {"mrconfigid"}


def test_service_td_is_refused_unless_named() -> None:
    setting = with_version_5(with_td(mrservicetd=ONES))
    assert failures(setting) == {"service td"}
    assert failures(setting, replace(POLICY, allowed_service_tds=frozenset({ONES}))) == set()
    assert failures(with_version_5(GOOD), replace(POLICY, allowed_service_tds=frozenset({ONES}))) == set()


def test_module_measurement_is_refused_unless_named() -> None:
    named = replace(POLICY, mrseams=frozenset({GOOD.quote.td.mrseam}))
    assert failures(GOOD, named) == set()
    assert failures(with_td(mrseam=ONES), named) == {"mrseam"}


def test_platform_is_refused_unless_named() -> None:
    platform = GOOD.platform
    named = replace(
        POLICY,
        fmspcs=frozenset({platform.fmspc}),
        ppids=frozenset({platform.ppid}),
        platform_flags=frozenset(),
    )
    assert failures(GOOD, named) == {"platform configuration"}
    plain = replace(platform, dynamic_platform=False, cached_keys=False, smt=False)
    assert failures(replace(GOOD, platform=plain), named) == set()
    assert failures(GOOD, replace(POLICY, fmspcs=frozenset(), ppids=frozenset())) == {"fmspc", "ppid"}


def test_collateral_has_a_greatest_age() -> None:
    assert failures(GOOD, replace(POLICY, max_collateral_age_seconds=3600)) == {"collateral age"}


def test_zero_padding_is_reported() -> None:
    checks, _ = judge(TDX_KNOBS["padding"].change(GOOD))
    assert checks[0].outcome is Outcome.NOTED
    assert checks[0].found.endswith("then 64 zero bytes")
