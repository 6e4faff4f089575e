# SPDX-License-Identifier: Apache-2.0
"""How long an old platform is tolerated: to the second, from the level that superseded its own."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from attestation.policy import PolicyError, parse_policy, render_policy
from attestation.simulated.collateral import LEVELS, Level, Status, TcbInfo
from attestation.simulated.intel import TdxSetting
from attestation.simulated.td_quote import QeFields
from attestation.simulated.tdx_statuses import with_status
from attestation.tdx.policy import TdxPolicy
from attestation.tdx.rules import appraise_quote
from attestation.verdict import Outcome
from tests.fakes.trust_domain import policy as whole_policy
from tests.unit.attestation.tdx.simulated import (
    GOOD,
    NOW,
    POLICY,
    REPORT_DATA,
    ROOTS,
    collateral_of,
    quote_of,
)

DAY = 86_400
DAYS = (NOW - int(datetime(2026, 5, 13, tzinfo=UTC).timestamp())) // DAY
"""Whole days from the date of the newest simulated levels to the time of the tests."""
OLD = with_status(GOOD, Status.OUT_OF_DATE)


def tolerating(days: int) -> TdxPolicy:
    return replace(POLICY, out_of_date_grace_days=days)


def failures(setting: TdxSetting, policy: TdxPolicy, now: int = NOW) -> set[str]:
    checks, _ = appraise_quote(quote_of(setting), collateral_of(setting), policy, ROOTS, REPORT_DATA, now)
    return {check.name for check in checks if not check.ok}


def dated(date: str) -> TdxSetting:
    """The old machine, where the newer levels are all of this date."""
    levels = tuple(replace(level, date=date) if level.early_microcode > 5 else level for level in LEVELS)
    return replace(OLD, tcb_info=TcbInfo(levels=levels))


def test_without_grace_out_of_date_is_refused() -> None:
    assert failures(OLD, POLICY) == {"tcb status"}


def test_grace_ends_with_its_last_second() -> None:
    start = NOW - 3 * DAY
    setting = dated(datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert failures(setting, tolerating(3)) == set()
    assert failures(setting, tolerating(3), NOW + 1) == {"tcb status"}
    assert failures(setting, tolerating(2)) == {"tcb status"}
    assert failures(setting, tolerating(4), NOW + DAY) == set()
    assert failures(setting, tolerating(4), NOW + DAY + 1) == {"tcb status"}


def test_grace_is_noted_and_says_since_when() -> None:
    checks, result = appraise_quote(
        quote_of(OLD), collateral_of(OLD), tolerating(DAYS + 1), ROOTS, REPORT_DATA, NOW
    )
    check = next(check for check in checks if check.name == "tcb status")
    assert check.outcome is Outcome.NOTED
    assert "superseded 2026-05-13 00:00:00 UTC" in check.found
    assert f"or OutOfDate for {DAYS + 1} days" in check.expected
    assert result is not None
    assert result.outdated is not None
    assert result.outdated.advisory_ids == {"INTEL-SA-00837"}


def test_later_recoveries_do_not_renew_the_grace() -> None:
    """The machine missed two: what counts is the older one."""
    missed = Level(6, 3, Status.OUT_OF_DATE, ("INTEL-SA-00900",), "2025-01-01T00:00:00Z")
    levels = tuple(level for level in LEVELS if level.early_microcode not in {6})
    at = next(index for index, level in enumerate(levels) if level.status is Status.OUT_OF_DATE)
    setting = replace(OLD, tcb_info=TcbInfo(levels=(*levels[:at], missed, *levels[at:])))
    since = (NOW - int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())) // DAY
    assert failures(setting, tolerating(DAYS + 1)) == {"tcb status"}
    assert failures(setting, tolerating(since + 1)) == set()


def test_level_that_nothing_newer_supersedes_gains_nothing() -> None:
    assert failures(dated("2024-11-13T00:00:00Z"), tolerating(30)) == {"tcb status"}


@pytest.mark.parametrize(
    "status", [Status.REVOKED, Status.NOT_SUPPORTED, Status.OUT_OF_DATE_CONFIGURATION_NEEDED]
)
def test_grace_is_for_out_of_date_alone(status: Status) -> None:
    assert "tcb status" in failures(with_status(GOOD, status), tolerating(36_500))


@pytest.mark.parametrize("isvsvn", [6, 7])
def test_old_quoting_enclave_is_tolerated_as_long(isvsvn: int) -> None:
    setting = replace(GOOD, qe=QeFields(svn=isvsvn))
    assert failures(setting, POLICY) == {"quoting enclave level", "tcb status"}
    assert failures(setting, tolerating(DAYS)) == {"quoting enclave level", "tcb status"}
    assert failures(setting, tolerating(DAYS + 1)) == set()


@pytest.mark.parametrize(
    ("platform_superseded", "first"),
    [("2026-06-13T00:00:00Z", "2026-05-13"), ("2026-04-13T00:00:00Z", "2026-04-13")],
)
def test_the_part_that_was_superseded_first_begins_the_grace(platform_superseded: str, first: str) -> None:
    """Platform and quoting enclave are old; what replaced the enclave is of 2026-05-13."""
    setting = replace(dated(platform_superseded), qe=QeFields(svn=6))
    _, result = appraise_quote(quote_of(setting), collateral_of(setting), POLICY, ROOTS, REPORT_DATA, NOW)
    assert result is not None
    assert result.outdated is not None
    start = int(datetime.fromisoformat(f"{first}T00:00:00+00:00").timestamp())
    assert result.outdated.superseded_at == start
    days = (NOW - start) // DAY
    assert failures(setting, tolerating(days)) == {"quoting enclave level", "tcb status"}
    assert failures(setting, tolerating(days + 1)) == set()


def test_advisories_of_parts_that_are_not_old_are_not_tolerated() -> None:
    """The quoting enclave is old, and the platform has an advisory of its own."""
    levels = (replace(LEVELS[0], advisories=("INTEL-SA-00001",)), *LEVELS[1:])
    setting = replace(GOOD, qe=QeFields(svn=6), tcb_info=TcbInfo(levels=levels))
    assert failures(setting, tolerating(DAYS + 1)) == {"tcb status"}
    named = replace(tolerating(DAYS + 1), tolerated_advisories=frozenset({"INTEL-SA-00001"}))
    assert failures(setting, named) == set()


def test_setting_is_read_and_written() -> None:
    policy = replace(whole_policy(), tdx=replace(whole_policy().tdx, out_of_date_grace_days=14))
    assert "out_of_date_grace_days = 14" in render_policy(policy)
    assert parse_policy(render_policy(policy)) == policy
    assert "out_of_date_grace_days" not in render_policy(whole_policy())
    with pytest.raises(PolicyError, match="out_of_date_grace_days"):
        parse_policy(render_policy(policy).replace("grace_days = 14", "grace_days = -1"))
