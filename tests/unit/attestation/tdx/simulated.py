# SPDX-License-Identifier: Apache-2.0
"""Quotes and collateral of a simulated Intel, of which a test spoils one thing, judged by the real rules."""

from dataclasses import replace
from typing import TypedDict, Unpack

from attestation.settings import AnyValue
from attestation.simulated.intel import SimulatedIntel, SimulatedTd, TdxSetting
from attestation.tdx.collateral import Collateral, decode_collateral
from attestation.tdx.policy import TdMeasurement, TdxPolicy
from attestation.tdx.rules import TDX_CHECKS, appraise_quote
from attestation.tdx.tcb import TcbResult
from attestation.verdict import Check

NOW = 1_790_000_000
REPORT_DATA = bytes(range(64))
INTEL = SimulatedIntel(b"attestation/tdx tests")
GOOD = TdxSetting(at=NOW)
GOOD_TD = INTEL.power_on(GOOD)
ROOTS = frozenset({GOOD_TD.root_fingerprint})


def measurement_of(machine: SimulatedTd) -> TdMeasurement:
    fields = machine.fields.td
    return TdMeasurement(fields.mrtd, fields.rtmr0, fields.rtmr1, fields.rtmr2, fields.rtmr3)


# Accepts the good TD on any machine.
POLICY = TdxPolicy(measurements=frozenset({measurement_of(GOOD_TD)}), fmspcs=AnyValue.ANY, ppids=AnyValue.ANY)


def quote_of(setting: TdxSetting) -> bytes:
    return INTEL.power_on(setting).evidence_quote(REPORT_DATA)


def collateral_of(setting: TdxSetting) -> Collateral:
    return decode_collateral(INTEL.power_on(setting).collateral.encode())


def judge(setting: TdxSetting, policy: TdxPolicy = POLICY) -> tuple[tuple[Check, ...], TcbResult | None]:
    return appraise_quote(quote_of(setting), collateral_of(setting), policy, ROOTS, REPORT_DATA, NOW)


def failures(setting: TdxSetting, policy: TdxPolicy = POLICY) -> set[str]:
    """The names of the checks that were made and failed, and of those that could not be made."""
    checks, _ = judge(setting, policy)
    assert [check.name for check in checks] == [rule.name for rule in TDX_CHECKS]
    return {check.name for check in checks if not check.ok}


class TdChanges(TypedDict, total=False):
    """Fields of a TD to change."""

    td_attributes: int
    xfam: int
    mrseam: bytes
    mrconfigid: bytes
    mrowner: bytes
    mrownerconfig: bytes
    mrservicetd: bytes
    tee_tcb_svn: bytes
    tee_tcb_svn2: bytes


def with_td(**changes: Unpack[TdChanges]) -> TdxSetting:
    """The good setting with other fields of the TD."""
    td = replace(GOOD.quote.td, **changes)
    return replace(GOOD, quote=replace(GOOD.quote, td=td))
