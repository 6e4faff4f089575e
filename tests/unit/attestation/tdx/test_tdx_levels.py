# SPDX-License-Identifier: Apache-2.0
"""How a TCB is judged, component by component and status by status (attestation.md 5)."""

from dataclasses import replace

import pytest

from attestation.tdx import tcb
from attestation.tdx.certificates import parse_chain
from attestation.tdx.collateral import (
    Module,
    PlatformLevel,
    SvnLevel,
    TcbInfo,
    parse_qe_identity,
    parse_tcb_info,
)
from attestation.tdx.quote import parse_quote
from attestation.tdx.tcb import TcbStatus
from tests.unit.attestation.tdx.simulated import GOOD, collateral_of, quote_of

QUOTE = parse_quote(quote_of(GOOD))
COLLATERAL = collateral_of(GOOD)
INFO = parse_tcb_info(COLLATERAL.tcb_info)
IDENTITY = parse_qe_identity(COLLATERAL.qe_identity)
PCK = parse_chain(QUOTE.certificates).pck
LEVEL = INFO.levels[0]
MODULE = "TDX_01"

UP = TcbStatus.UP_TO_DATE
HARDENING = TcbStatus.SW_HARDENING_NEEDED
CONFIGURATION = TcbStatus.CONFIGURATION_NEEDED
BOTH = TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED
OLD = TcbStatus.OUT_OF_DATE
OLD_CONFIGURATION = TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED
RELAUNCH = TcbStatus.TD_RELAUNCH_ADVISED
RELAUNCH_CONFIGURATION = TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED
REVOKED = TcbStatus.REVOKED
UNKNOWN = TcbStatus.NOT_SUPPORTED


def with_level(level: PlatformLevel) -> TcbInfo:
    return replace(INFO, levels=(level,))


def one_more(components: tuple[int, ...], index: int) -> tuple[int, ...]:
    return (*components[:index], components[index] + 1, *components[index + 1 :])


def platform_status(svn: bytes, info: TcbInfo) -> TcbStatus:
    return tcb.evaluate_svn(svn, QUOTE, PCK, info, IDENTITY).platform.status


def svn_of(version: int, *others: int) -> bytes:
    """Security versions of a module of this version: its own, and those beside it."""
    return bytes((0, version, *others)).ljust(16, b"\x00")


@pytest.mark.parametrize("index", range(16))
def test_every_sgx_component_counts(index: int) -> None:
    exact = replace(LEVEL, sgx_components=PCK.components)
    assert platform_status(QUOTE.body.tee_tcb_svn, with_level(exact)) is UP
    above = replace(exact, sgx_components=one_more(PCK.components, index))
    assert platform_status(QUOTE.body.tee_tcb_svn, with_level(above)) is UNKNOWN


def test_pce_counts() -> None:
    exact = replace(LEVEL, pcesvn=PCK.pcesvn)
    assert platform_status(QUOTE.body.tee_tcb_svn, with_level(exact)) is UP
    above = replace(exact, pcesvn=PCK.pcesvn + 1)
    assert platform_status(QUOTE.body.tee_tcb_svn, with_level(above)) is UNKNOWN


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("index", range(16))
def test_components_of_a_module_with_an_identity_count_from_the_third(version: int, index: int) -> None:
    svn = svn_of(version, *range(3, 17))
    exact = replace(LEVEL, tdx_components=tuple(svn))
    assert platform_status(svn, with_level(exact)) is UP
    above = replace(exact, tdx_components=one_more(tuple(svn), index))
    beside = version > 0 and index < 2
    assert platform_status(svn, with_level(above)) is (UP if beside else UNKNOWN)


def test_what_matches_no_level_is_of_no_date() -> None:
    above = replace(LEVEL, pcesvn=PCK.pcesvn + 1)
    result = tcb.evaluate(QUOTE, PCK, with_level(above), IDENTITY)
    assert (result.status, result.tcb_date, result.advisory_ids) == (UNKNOWN, 0, ())


@pytest.mark.parametrize(
    ("platform", "module", "enclave", "merged"),
    [
        (UP, UP, UP, UP),
        (HARDENING, UP, UP, HARDENING),
        (CONFIGURATION, UP, UP, CONFIGURATION),
        (BOTH, UP, UP, BOTH),
        (OLD, UP, UP, OLD),
        (UP, OLD, UP, OLD),
        (UP, UP, OLD, OLD),
        (HARDENING, OLD, UP, OLD),
        (CONFIGURATION, OLD, UP, OLD_CONFIGURATION),
        (BOTH, UP, OLD, OLD_CONFIGURATION),
        (OLD, OLD, OLD, OLD),
        (OLD_CONFIGURATION, OLD, UP, OLD_CONFIGURATION),
        (REVOKED, OLD, UP, REVOKED),
        (UP, REVOKED, OLD, REVOKED),
        (UP, UP, REVOKED, REVOKED),
        (UNKNOWN, REVOKED, UP, UNKNOWN),
        (REVOKED, UNKNOWN, UP, UNKNOWN),
        (UP, UP, UNKNOWN, UNKNOWN),
    ],
)
def test_the_worst_part_decides(
    platform: TcbStatus, module: TcbStatus, enclave: TcbStatus, merged: TcbStatus
) -> None:
    levels = (SvnLevel(0, replace(LEVEL.standing, status=module)),)
    info = replace(
        with_level(
            replace(LEVEL, tdx_components=(0,) * 16, standing=replace(LEVEL.standing, status=platform))
        ),
        module_identities={MODULE: replace(INFO.module_identities[MODULE], levels=levels)},
    )
    identity = replace(IDENTITY, levels=(SvnLevel(0, replace(LEVEL.standing, status=enclave)),))
    assert tcb.evaluate_svn(svn_of(1), QUOTE, PCK, info, identity).status is merged


@pytest.mark.parametrize("change", ["signer", "attributes"])
@pytest.mark.parametrize("described", ["module", "identity"])
def test_module_has_the_signer_and_attributes_of_both_descriptions(described: str, change: str) -> None:
    def spoiled(module: Module) -> Module:
        if change == "signer":
            return replace(module, mrsigner=bytes([1]) * 48)
        return replace(module, attributes=1, mask=1)

    infos = {
        "module": replace(INFO, module=spoiled(INFO.module)),
        "identity": replace(INFO, module_identities={MODULE: spoiled(INFO.module_identities[MODULE])}),
    }
    svn, body = svn_of(1, *QUOTE.body.tee_tcb_svn[2:]), QUOTE.body
    assert tcb.check_module(svn, body, INFO) == INFO.module_identities[MODULE]
    with pytest.raises(tcb.TcbError):
        tcb.check_module(svn, body, infos[described])
    assert tcb.evaluate_svn(svn, QUOTE, PCK, infos[described], IDENTITY).module.status is UNKNOWN


@pytest.mark.parametrize(
    ("launch", "current", "result"),
    [
        *((launch, UP, launch) for launch in (UP, HARDENING, CONFIGURATION, BOTH, REVOKED, UNKNOWN)),
        *((launch, OLD, launch) for launch in (UP, HARDENING, OLD, OLD_CONFIGURATION, REVOKED, UNKNOWN)),
        *((launch, OLD_CONFIGURATION, launch) for launch in (UP, OLD, OLD_CONFIGURATION)),
        (OLD, UP, RELAUNCH),
        (OLD, HARDENING, RELAUNCH),
        (OLD, CONFIGURATION, RELAUNCH_CONFIGURATION),
        (OLD, BOTH, RELAUNCH_CONFIGURATION),
        (OLD_CONFIGURATION, UP, RELAUNCH_CONFIGURATION),
        (OLD_CONFIGURATION, HARDENING, RELAUNCH_CONFIGURATION),
        *((launch, REVOKED, REVOKED) for launch in (UP, OLD, REVOKED)),
        *((launch, UNKNOWN, UNKNOWN) for launch in (UP, OLD, REVOKED, UNKNOWN)),
        (UNKNOWN, REVOKED, UNKNOWN),
    ],
)
def test_relaunch_is_advised_where_only_the_launch_was_old(
    launch: TcbStatus, current: TcbStatus, result: TcbStatus
) -> None:
    assert tcb.relaunch(launch, current) is result


def test_first_level_that_is_reached_decides() -> None:
    svn = QUOTE.body.tee_tcb_svn
    old = replace(LEVEL, tdx_components=(*svn[:2], *(number + 1 for number in svn[2:])))
    newer = bytes((*svn[:2], *(number + 1 for number in svn[2:])))
    levels = (old, replace(LEVEL, standing=replace(LEVEL.standing, status=OLD)))
    assert QUOTE.body.td15 is None
    info = replace(INFO, levels=levels)
    assert tcb.evaluate_svn(newer, QUOTE, PCK, info, IDENTITY).platform.status is UP
    assert tcb.evaluate_svn(svn, QUOTE, PCK, info, IDENTITY).platform.status is OLD
    assert tcb.evaluate(QUOTE, PCK, info, IDENTITY).status is OLD
