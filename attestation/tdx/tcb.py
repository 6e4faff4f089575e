# SPDX-License-Identifier: Apache-2.0
"""Intel's TCB algorithm: from a quote and collateral to a status (attestation.md 5, steps 3 to 7).

The numbered rules are those of "4.1.2.5.2" in the comments of Intel's quote verification library. What does
not match any level is NOT_SUPPORTED, never up to date.
"""

from dataclasses import dataclass
from typing import Final

from attestation.tdx.certificates import Pck
from attestation.tdx.collateral import (
    Module,
    PlatformLevel,
    QeIdentity,
    Standing,
    SvnLevel,
    TcbInfo,
    TcbStatus,
)
from attestation.tdx.quote import QeReport, Quote, TdBody

__all__ = [
    "Evaluation",
    "TcbError",
    "TcbResult",
    "TcbStatus",
    "check_module",
    "check_platform",
    "check_quoting_enclave",
    "evaluate",
    "evaluate_svn",
    "relaunch",
]

MODULE_SVN: Final = 0
MODULE_VERSION: Final = 1
"""Bytes of tee_tcb_svn. Version 0 is the first module, which has no identity of its own."""
FIRST_COMPONENT_BESIDE_MODULE: Final = 2


class TcbError(Exception):
    """Quote, certificate and collateral are not about the same thing."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How one version of the TCB stands: in all, and platform, module and quoting enclave for themselves."""

    status: TcbStatus
    platform: Standing
    module: Standing
    quoting_enclave: Standing

    @property
    def standings(self) -> tuple[Standing, Standing, Standing]:
        """The three parts."""
        return self.platform, self.module, self.quoting_enclave


@dataclass(frozen=True, slots=True)
class Outdated:
    """The parts that are out of date: when the first of them was superseded, and their advisories.

    A level is superseded on the date of the next newer one. Later recoveries do not renew that date, or a
    machine that is never updated would be tolerated again after each.
    """

    superseded_at: int
    advisory_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class TcbResult:
    """The status of a quote, and what it follows from. `tcb_date` is the oldest of the matched levels.

    `launch` is how the TD stood by the TCB it was launched on; `status` differs from it only where a TD 1.5
    runs on a module that was updated since.
    """

    status: TcbStatus
    advisory_ids: tuple[str, ...]
    tcb_date: int
    module_status: TcbStatus
    qe_status: TcbStatus
    platform_status: TcbStatus
    evaluation_data_number: int
    launch: TcbStatus
    outdated: Outdated | None


NOTHING: Final = Standing(TcbStatus.NOT_SUPPORTED, 0, ())

_OUT_OF_DATE: Final = {
    TcbStatus.UP_TO_DATE: TcbStatus.OUT_OF_DATE,
    TcbStatus.SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE,
    TcbStatus.CONFIGURATION_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED: TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
}
_CONFIGURATION: Final = frozenset(
    {
        TcbStatus.CONFIGURATION_NEEDED,
        TcbStatus.CONFIGURATION_AND_SW_HARDENING_NEEDED,
        TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED,
    }
)
_LAUNCHED_OUT_OF_DATE: Final = frozenset({TcbStatus.OUT_OF_DATE, TcbStatus.OUT_OF_DATE_CONFIGURATION_NEEDED})


def evaluate(quote: Quote, pck: Pck, tcb_info: TcbInfo, qe_identity: QeIdentity) -> TcbResult:
    """Judge a quote; signatures and dates are not looked at here, and what does not fit is NOT_SUPPORTED."""
    body = quote.body
    launch = evaluate_svn(body.tee_tcb_svn, quote, pck, tcb_info, qe_identity)
    current = (
        launch
        if body.td15 is None or body.td15.tee_tcb_svn2 == body.tee_tcb_svn
        else evaluate_svn(body.td15.tee_tcb_svn2, quote, pck, tcb_info, qe_identity)
    )
    status = relaunch(launch.status, current.status)
    supported = status is not TcbStatus.NOT_SUPPORTED
    advisories = {advisory for part in launch.standings for advisory in part.advisory_ids}
    return TcbResult(
        status=status,
        advisory_ids=tuple(sorted(advisories)) if supported else (),
        tcb_date=min(part.date for part in launch.standings),
        module_status=launch.module.status,
        qe_status=launch.quoting_enclave.status,
        platform_status=launch.platform.status,
        evaluation_data_number=tcb_info.evaluation_data_number,
        launch=launch.status,
        outdated=_outdated(launch, body, tcb_info, qe_identity),
    )


def _outdated(
    launch: Evaluation, body: TdBody, tcb_info: TcbInfo, qe_identity: QeIdentity
) -> Outdated | None:
    """None where no part of the TCB at launch is out of date."""
    levels: dict[Standing, tuple[Standing, ...]] = {
        launch.platform: tuple(level.standing for level in tcb_info.levels),
        launch.quoting_enclave: tuple(level.standing for level in qe_identity.levels),
    }
    if body.tee_tcb_svn[MODULE_VERSION] and launch.module is not NOTHING:
        identity = check_module(body.tee_tcb_svn, body, tcb_info)
        levels[launch.module] = tuple(level.standing for level in identity.levels)
    old = [part for part in launch.standings if part.status is TcbStatus.OUT_OF_DATE]
    if not old:
        return None
    return Outdated(
        min(_superseded_at(part, levels[part]) for part in old),
        frozenset(advisory for part in old for advisory in part.advisory_ids),
    )


def _superseded_at(standing: Standing, levels: tuple[Standing, ...]) -> int:
    """The date of the next newer level; the level's own where none is newer, so that nothing is gained."""
    return min((level.date for level in levels if level.date > standing.date), default=standing.date)


def evaluate_svn(
    tee_tcb_svn: bytes, quote: Quote, pck: Pck, tcb_info: TcbInfo, qe_identity: QeIdentity
) -> Evaluation:
    """Judge one TCB: platform (4.1.2.5.2.1), module (.2), quoting enclave (.3), then all (.4 to .7)."""
    platform = _platform(tee_tcb_svn, pck, tcb_info)
    module = _module(tee_tcb_svn, quote.body, tcb_info) if tee_tcb_svn[MODULE_VERSION] else platform
    quoting_enclave = _quoting_enclave(quote.qe_report, qe_identity)
    merged = _merge(platform.status, module.status, quoting_enclave.status)
    return Evaluation(merged, platform, module, quoting_enclave)


def relaunch(launch: TcbStatus, current: TcbStatus) -> TcbStatus:
    """T13. A TD launched on an old module that was updated since needs no new machine, only a new launch.

    Intel's rule, made stricter in one place: what is revoked or unknown now is so in all.
    """
    if current in {TcbStatus.NOT_SUPPORTED, TcbStatus.REVOKED}:
        return TcbStatus.NOT_SUPPORTED if TcbStatus.NOT_SUPPORTED in {launch, current} else TcbStatus.REVOKED
    if launch not in _LAUNCHED_OUT_OF_DATE or current in _LAUNCHED_OUT_OF_DATE:
        return launch
    if launch in _CONFIGURATION or current in _CONFIGURATION:
        return TcbStatus.TD_RELAUNCH_ADVISED_CONFIGURATION_NEEDED
    return TcbStatus.TD_RELAUNCH_ADVISED


def check_platform(pck: Pck, tcb_info: TcbInfo) -> None:
    """T7. Refuse TCB info about other platforms."""
    if (tcb_info.fmspc, tcb_info.pceid) != (pck.fmspc, pck.pceid):
        raise TcbError(
            f"TCB info is about FMSPC {tcb_info.fmspc.hex()} and PCE {tcb_info.pceid.hex()}, "
            f"the platform is {pck.fmspc.hex()} and {pck.pceid.hex()}"
        )


def check_quoting_enclave(report: QeReport, identity: QeIdentity) -> None:
    """T8. Refuse a quoting enclave that is not the one Intel describes."""
    if report.mrsigner != identity.mrsigner:
        raise TcbError(f"quoting enclave is signed by {report.mrsigner.hex()}")
    if report.isvprodid != identity.isvprodid:
        raise TcbError(f"quoting enclave is product {report.isvprodid}, expected {identity.isvprodid}")
    if _differ(report.miscselect, identity.miscselect, identity.miscselect_mask):
        raise TcbError(f"quoting enclave has MISCSELECT {report.miscselect.hex()}")
    if _differ(report.attributes, identity.attributes, identity.attributes_mask):
        raise TcbError(f"quoting enclave has attributes {report.attributes.hex()}")


def check_module(tee_tcb_svn: bytes, body: TdBody, tcb_info: TcbInfo) -> Module:
    """T9. The identity of the module that this TCB names; TcbError where body and identity do not fit."""
    _check_module_signer(body, tcb_info.module, "the TDX module")
    version = tee_tcb_svn[MODULE_VERSION]
    if not version:
        return tcb_info.module
    # Intel writes the version in hexadecimal: version 16 is TDX_10.
    name = f"TDX_{version:02X}"
    if name not in tcb_info.module_identities:
        raise TcbError(f"TCB info has no module identity {name}")
    identity = tcb_info.module_identities[name]
    _check_module_signer(body, identity, name)
    return identity


def _check_module_signer(body: TdBody, identity: Module, name: str) -> None:
    if body.mrsignerseam != identity.mrsigner:
        raise TcbError(f"{name} is signed by {body.mrsignerseam.hex()}")
    if _differ(body.seam_attributes, identity.attributes, identity.mask):
        raise TcbError(f"{name} has attributes {body.seam_attributes.hex()}")


def _differ(found: bytes, expected: int, mask: int) -> bool:
    return (int.from_bytes(found, "big") & mask) != (expected & mask)


def _platform(tee_tcb_svn: bytes, pck: Pck, tcb_info: TcbInfo) -> Standing:
    """The first level in Intel's order whose every component the platform reaches (T10 to T12)."""
    try:
        check_platform(pck, tcb_info)
    except TcbError:
        return NOTHING
    # A module with a version of its own is judged by its identity, not by the platform's level.
    first = FIRST_COMPONENT_BESIDE_MODULE if tee_tcb_svn[MODULE_VERSION] else 0
    for level in tcb_info.levels:
        if _reaches(level, pck, tee_tcb_svn, first):
            return level.standing
    return NOTHING


def _reaches(level: PlatformLevel, pck: Pck, tee_tcb_svn: bytes, first: int) -> bool:
    return (
        all(own >= least for own, least in zip(pck.components, level.sgx_components, strict=True))
        and pck.pcesvn >= level.pcesvn
        and all(
            own >= least for own, least in zip(tee_tcb_svn[first:], level.tdx_components[first:], strict=True)
        )
    )


def _module(tee_tcb_svn: bytes, body: TdBody, tcb_info: TcbInfo) -> Standing:
    try:
        identity = check_module(tee_tcb_svn, body, tcb_info)
    except TcbError:
        return NOTHING
    return _first(identity.levels, tee_tcb_svn[MODULE_SVN])


def _quoting_enclave(report: QeReport, identity: QeIdentity) -> Standing:
    try:
        check_quoting_enclave(report, identity)
    except TcbError:
        return NOTHING
    return _first(identity.levels, report.isvsvn)


def _first(levels: tuple[SvnLevel, ...], isvsvn: int) -> Standing:
    for level in levels:
        if isvsvn >= level.isvsvn:
            return level.standing
    return NOTHING


def _merge(platform: TcbStatus, *parts: TcbStatus) -> TcbStatus:
    """The worst: what is not supported or revoked is so in all, and an old part makes the platform old."""
    for decisive in (TcbStatus.NOT_SUPPORTED, TcbStatus.REVOKED):
        if decisive in {platform, *parts}:
            return decisive
    return _OUT_OF_DATE.get(platform, platform) if TcbStatus.OUT_OF_DATE in parts else platform
