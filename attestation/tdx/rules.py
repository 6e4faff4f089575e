# SPDX-License-Identifier: Apache-2.0
"""The checks of a TDX quote, in the order of attestation.md 7.3 and 7.4.

`appraise_quote` makes every one of them: a failure hides no other, and what cannot be evaluated has failed.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Final

from attestation.case import Finding, NotEvaluatedError, Part, Rule, Unreadable, WaivedError, make_check
from attestation.settings import AnyValue
from attestation.tdx import p256, tcb
from attestation.tdx.certificates import IssuerChain, Pck
from attestation.tdx.collateral import Collateral, QeIdentity, TcbInfo
from attestation.tdx.platform import (
    DEFECTS,
    Platform,
    VerifiedPlatforms,
    examine_platform,
    examine_quote_alone,
    settle,
    unreadable_platform,
)
from attestation.tdx.policy import (
    GOVERNED_ATTRIBUTES,
    NEVER_ACCEPTED,
    ZERO_DIGEST,
    ReportDataExpectation,
    TdMeasurement,
    TdxPolicy,
)
from attestation.tdx.quote import Quote, TdAttributes, TdBody, parse_quote
from attestation.tdx.tcb import Outdated, TcbResult, TcbStatus
from attestation.verdict import Check, Decision
from attestation.x509 import Certificate

# TDX Module ABI: x87 and SSE, which every TD has, and the other states that a TD can have: AVX, AVX-512, PT,
# PKRU, CET, user interrupts, LBR, AMX and APX.
XFAM_REQUIRED: Final = 0x3
XFAM_KNOWN: Final = 0xEDBE7
SECONDS_PER_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class QuoteCase:
    """One appraisal's material."""

    quote: Part[Quote]
    platform: Platform
    result: Part[TcbResult]
    policy: TdxPolicy
    roots: frozenset[bytes]
    expected_report_data: bytes | ReportDataExpectation
    now: int

    @property
    def body(self) -> TdBody:
        """What the quote is about."""
        return self.quote.need().body

    @property
    def pck(self) -> Pck:
        """The platform's certificate."""
        return self.platform.chain.need().pck

    @property
    def tcb_info(self) -> TcbInfo:
        """Intel's statement about the platform."""
        return self.platform.statements.tcb_info.need()

    @property
    def qe_identity(self) -> QeIdentity:
        """Intel's statement about the quoting enclave."""
        return self.platform.statements.qe_identity.need()


def appraise_quote(  # noqa: PLR0913 - each is evidence or a rule of its own
    quote_data: bytes,
    collateral: Collateral | None,
    policy: TdxPolicy,
    roots: frozenset[bytes],
    expected_report_data: bytes | ReportDataExpectation,
    now: int,
    *,
    platforms: VerifiedPlatforms | None = None,
) -> tuple[tuple[Check, ...], TcbResult | None]:
    """Make every check; bad evidence raises nothing. `roots` are SHA-256 digests of public keys.

    The result is None where it could not be evaluated, and means nothing unless every check passed. With
    `platforms`, what was proven about a machine before is not proven again.
    """
    case = open_quote_case(
        quote_data, collateral, policy, roots, expected_report_data, now, platforms=platforms
    )
    result = case.result.outcome
    return check_quote_case(case), None if isinstance(result, Unreadable) else result


def open_quote_case(  # noqa: PLR0913 - as above
    quote_data: bytes,
    collateral: Collateral | None,
    policy: TdxPolicy,
    roots: frozenset[bytes],
    expected_report_data: bytes | ReportDataExpectation,
    now: int,
    *,
    platforms: VerifiedPlatforms | None = None,
) -> QuoteCase:
    """Parse and prove every part; what cannot be read is kept as such."""
    quote = Part("quote", settle(parse_quote, quote_data))
    platform = _platform(quote, collateral, platforms)
    result = Part("TCB result", settle(_evaluate, quote, platform))
    return QuoteCase(quote, platform, result, policy, roots, expected_report_data, now)


def check_quote_case(case: QuoteCase) -> tuple[Check, ...]:
    """Every check, in order."""
    return tuple(make_check(rule, case) for rule in TDX_CHECKS)


def _platform(
    quote: Part[Quote], collateral: Collateral | None, platforms: VerifiedPlatforms | None
) -> Platform:
    if isinstance(quote.outcome, Unreadable):
        return unreadable_platform()
    if collateral is None:
        return examine_quote_alone(quote.outcome)
    examine = examine_platform if platforms is None else platforms.examine
    return examine(quote.outcome, collateral)


def _evaluate(quote: Part[Quote], platform: Platform) -> TcbResult:
    statements = platform.statements
    return tcb.evaluate(
        quote.need(), platform.chain.need().pck, statements.tcb_info.need(), statements.qe_identity.need()
    )


def _quote_structure(case: QuoteCase) -> Finding:
    quote = case.quote.examine()
    padding = f", then {quote.padding} zero bytes" if quote.padding else ""
    return Finding(
        True,
        f"version {quote.header.version}, body type {quote.body_type.value}, {quote.size} bytes{padding}",
        noted=bool(quote.padding),
    )


def _quote_signature(case: QuoteCase) -> Finding:
    quote = case.quote.need()
    p256.verify_raw(quote.attestation_key, quote.signature, quote.signed, "the attestation key")
    return Finding(True, "ECDSA P-256 signature by the attestation key")


def _proof(select: Callable[[Platform], Part[str]], case: QuoteCase) -> Finding:
    return Finding(True, select(case.platform).examine())


def _trust_anchor(case: QuoteCase) -> Finding:
    fingerprint = case.platform.chain.need().root.fingerprint
    return Finding(fingerprint in case.roots, f"root with key {fingerprint.hex()}")


def _certificate_validity(case: QuoteCase) -> Finding:
    return _all_valid(case, *case.platform.chain.need().certificates)


def _collateral_certificate_validity(case: QuoteCase) -> Finding:
    statements = case.platform.statements
    chains = (statements.tcb_info_chain, statements.qe_identity_chain, statements.pck_crl_chain)
    return _all_valid(case, *(certificate for chain in chains for certificate in _both(chain.need())))


def _both(chain: IssuerChain) -> tuple[Certificate, Certificate]:
    return chain.issuer, chain.root


def _all_valid(case: QuoteCase, *certificates: Certificate) -> Finding:
    for certificate in certificates:
        if not certificate.not_before <= case.now <= certificate.not_after:
            name, start, end = certificate.subject.common_name, certificate.not_before, certificate.not_after
            return Finding(False, f"{name}, valid from {_date(start)} to {_date(end)}", _at(case.now))
    return Finding(True, f"valid until {_date(min(certificate.not_after for certificate in certificates))}")


def _revocation_age(case: QuoteCase) -> Finding:
    statements = case.platform.statements
    lists = (statements.root_crl.need(), statements.pck_crl.need())
    start = max(item.this_update for item in lists)
    return _current(case, start, min(item.next_update for item in lists))


def _tcb_info_age(case: QuoteCase) -> Finding:
    return _current(case, case.tcb_info.issued_at, case.tcb_info.next_update)


def _qe_identity_age(case: QuoteCase) -> Finding:
    return _current(case, case.qe_identity.issued_at, case.qe_identity.next_update)


def _current(case: QuoteCase, start: int, end: int) -> Finding:
    current = start - case.policy.clock_skew_seconds <= case.now <= end
    return Finding(current, f"valid from {_date(start)} to {_date(end)}", _at(case.now))


def _tcb_info_platform(case: QuoteCase) -> Finding:
    tcb.check_platform(case.pck, case.tcb_info)
    return Finding(True, f"FMSPC {case.pck.fmspc.hex()}, PCE {case.pck.pceid.hex()}")


def _quoting_enclave(case: QuoteCase) -> Finding:
    report = case.quote.need().qe_report
    tcb.check_quoting_enclave(report, case.qe_identity)
    return Finding(True, f"product {report.isvprodid} of {report.mrsigner.hex()}")


def _quoting_enclave_level(case: QuoteCase) -> Finding:
    svn, status = case.quote.need().qe_report.isvsvn, case.result.need().qe_status
    return Finding(_part_accepted(case, status), f"security version {svn}, {status.value}")


def _tdx_module(case: QuoteCase) -> Finding:
    body = case.body
    tcb.check_module(body.tee_tcb_svn, body, case.tcb_info)
    return Finding(True, f"module version {body.tee_tcb_svn[tcb.MODULE_VERSION]}")


def _tdx_module_level(case: QuoteCase) -> Finding:
    svn, status = case.body.tee_tcb_svn[tcb.MODULE_SVN], case.result.need().module_status
    return Finding(_part_accepted(case, status), f"security version {svn}, {status.value}")


def _part_accepted(case: QuoteCase, status: TcbStatus) -> bool:
    """Up to date, or such that the policy accepts what follows from it for the whole."""
    if status is TcbStatus.UP_TO_DATE:
        return True
    accepted = case.result.need().status in case.policy.accepted_statuses
    return status not in NEVER_ACCEPTED and (accepted or _grace(case) is not None)


def _grace(case: QuoteCase) -> Outdated | None:
    """What is out of date and still tolerated, where that is all that is wrong with the status."""
    result, days = case.result.need(), case.policy.out_of_date_grace_days
    outdated = result.outdated
    if result.status is not TcbStatus.OUT_OF_DATE or outdated is None or not days:
        return None
    return outdated if case.now <= outdated.superseded_at + days * SECONDS_PER_DAY else None


def _tcb_level(case: QuoteCase) -> Finding:
    status = case.result.need().platform_status
    return Finding(status is not TcbStatus.NOT_SUPPORTED, f"platform {status.value}")


def _relaunch(case: QuoteCase) -> Finding:
    result = case.result.need()
    if case.body.td15 is None:
        return Finding(True, "a TD 1.0, which says nothing about updates since its launch")
    found = f"by the TCB at launch {result.launch.value}, with that of now {result.status.value}"
    return Finding(result.status not in NEVER_ACCEPTED, found)


def _evaluation_data_number(case: QuoteCase) -> Finding:
    of_tcb, of_qe = case.tcb_info.evaluation_data_number, case.qe_identity.evaluation_data_number
    least = case.policy.minimum_evaluation_data_number
    return Finding(
        of_tcb == of_qe and of_tcb >= least,
        f"number {of_tcb} in the TCB info, {of_qe} in the quoting enclave identity",
        f"one number, at least {least}",
    )


def _collateral_age(case: QuoteCase) -> Finding:
    age = case.now - min(case.tcb_info.issued_at, case.qe_identity.issued_at)
    limit = case.policy.max_collateral_age_seconds
    return Finding(age <= limit, f"issued {age} s ago", f"issued no more than {limit} s ago")


def _report_data(case: QuoteCase) -> Finding:
    expected, found = case.expected_report_data, case.body.report_data
    if isinstance(expected, ReportDataExpectation):
        raise WaivedError(f"report data {found.hex()} was not compared, as no value was expected")
    return Finding(hmac.compare_digest(expected, found), found.hex(), expected.hex())


def _debug(case: QuoteCase) -> Finding:
    if not case.body.attributes & TdAttributes.DEBUG:
        return Finding(True, "debugging is off")
    allowed = case.policy.unsafe_allow_debug
    return Finding(allowed, "debugging is on: the host can read the TD's memory", noted=True)


def _td_attributes(case: QuoteCase) -> Finding:
    allowed = case.policy.allowed_attributes | GOVERNED_ATTRIBUTES
    others = case.body.attributes & ~allowed.value
    return Finding(
        not others,
        f"{case.body.attributes:#x}",
        f"no attributes but {case.policy.allowed_attributes.value:#x}",
    )


def _sept_ve(case: QuoteCase) -> Finding:
    if case.body.attributes & TdAttributes.SEPT_VE_DISABLE:
        return Finding(True, "SEPT_VE_DISABLE is set")
    allowed = case.policy.allow_sept_ve_off
    return Finding(allowed, "SEPT_VE_DISABLE is not set: the host can interrupt the TD anywhere", noted=True)


def _migration(case: QuoteCase) -> Finding:
    migratable = bool(case.body.attributes & TdAttributes.MIGRATABLE)
    return Finding(not migratable, "the TD can be migrated" if migratable else "the TD stays on its machine")


def _xfam(case: QuoteCase) -> Finding:
    found, expected = case.body.xfam, case.policy.xfam
    number = int.from_bytes(found, "little")
    known = number & XFAM_REQUIRED == XFAM_REQUIRED and not number & ~XFAM_KNOWN
    if isinstance(expected, AnyValue):
        return Finding(known, found.hex())
    return Finding(known and found == expected, found.hex(), expected.hex())


def _measurement(case: QuoteCase) -> Finding:
    body = case.body
    matching = _matching(case)
    known = ", ".join(sorted(item.mrtd.hex() for item in case.policy.measurements))
    return Finding(
        bool(matching),
        f"MRTD {body.mrtd.hex()}, "
        + ", ".join(f"RTMR{index} {body.rtmrs[index].hex()}" for index in range(3)),
        f"MRTD {known} with its RTMR0 to 2" if known else "a measurement, but the policy names none",
    )


def _matching(case: QuoteCase) -> list[TdMeasurement]:
    """The measurements whose firmware, kernel and command line are those of the quote."""
    body = case.body
    return [
        item
        for item in case.policy.measurements
        if item.mrtd == body.mrtd
        and _accepts(item.rtmr0, body.rtmr0)
        and _accepts(item.rtmr1, body.rtmr1)
        and _accepts(item.rtmr2, body.rtmr2)
    ]


def _accepts(expected: bytes | AnyValue, found: bytes) -> bool:
    return isinstance(expected, AnyValue) or expected == found


def _rtmr3(case: QuoteCase) -> Finding:
    matching, found = _matching(case), case.body.rtmr3
    if not matching:
        raise NotEvaluatedError("no accepted measurement says what to expect")
    expected = ", ".join(item.rtmr3.hex() for item in matching if isinstance(item.rtmr3, bytes))
    return Finding(any(_accepts(item.rtmr3, found) for item in matching), found.hex(), expected)


def _listed(
    select: Callable[[TdBody], bytes],
    accepted: Callable[[TdxPolicy], frozenset[bytes] | AnyValue],
    case: QuoteCase,
) -> Finding:
    return _among(select(case.body), accepted(case.policy))


def _among(found: bytes, accepted: frozenset[bytes] | AnyValue) -> Finding:
    if isinstance(accepted, AnyValue):
        return Finding(True, f"{found.hex()}; the policy accepts any")
    expected = (
        ", ".join(sorted(known.hex() for known in accepted)) or "one that the policy names, but it names none"
    )
    return Finding(found in accepted, found.hex(), expected)


def _service_td(case: QuoteCase) -> Finding:
    td15 = case.body.td15
    if td15 is None:
        return Finding(True, "a TD 1.0, which has no service TD")
    return _among(td15.mrservicetd, case.policy.allowed_service_tds | {ZERO_DIGEST})


def _tcb_status(case: QuoteCase) -> Finding:
    result, policy, grace = case.result.need(), case.policy, _grace(case)
    tolerated = policy.tolerated_advisories | (grace.advisory_ids if grace else frozenset[str]())
    listed = f" with {', '.join(result.advisory_ids)}" if result.advisory_ids else ""
    outdated = f", superseded {_date(result.outdated.superseded_at)}" if result.outdated else ""
    days = policy.out_of_date_grace_days
    return Finding(
        (result.status in policy.accepted_statuses or grace is not None)
        and set(result.advisory_ids) <= tolerated,
        f"{result.status.value}{listed}, TCB of {_date(result.tcb_date)}{outdated}",
        f"{' or '.join(sorted(policy.accepted_statuses))}, with no advisory that the policy does not name"
        + (f", or OutOfDate for {days} days" if days else ""),
        noted=grace is not None,
    )


def _platform_flags(case: QuoteCase) -> Finding:
    flags, accepted = case.pck.flags, case.policy.platform_flags
    memory = case.pck.sgx_type.name.lower().replace("_", " ")
    return Finding(
        flags <= accepted,
        f"{', '.join(sorted(flags)) or 'none set'}; {memory} memory",
        f"no flags but {', '.join(sorted(accepted)) or 'none'}",
    )


def _fmspc(case: QuoteCase) -> Finding:
    return _among(case.pck.fmspc, case.policy.fmspcs)


def _ppid(case: QuoteCase) -> Finding:
    return _among(case.pck.ppid, case.policy.ppids)


@lru_cache(maxsize=256)
def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _at(now: int) -> str:
    return f"one valid at {_date(now)}"


def _rule(
    section: str,
    name: str,
    decision: Decision,
    expected: str,
    examine: Callable[[QuoteCase], Finding],
    why: str,
) -> Rule[QuoteCase]:
    """A rule that reports what the parsers and proofs of this package complain about as a failed check."""
    return Rule(section, name, decision, expected, partial(_examine, examine), why)


def _examine(examine: Callable[[QuoteCase], Finding], case: QuoteCase) -> Finding:
    try:
        return examine(case)
    except DEFECTS as error:
        return Finding(False, f"a defect ({error})")


_UNTRUSTED: Final = Decision.UNTRUSTED
_EXPIRED: Final = Decision.EXPIRED
_CODE: Final = Decision.WRONG_MEASUREMENT
_PLATFORM: Final = Decision.WRONG_PLATFORM
_OLD_WHY: Final = "Old statements do not know what was found since, and a host can keep them."

STRUCTURE: Final = (
    _rule(
        "T1",
        "quote structure",
        _UNTRUSTED,
        "a TDX quote of version 4 or 5 with nothing but zeros after it",
        _quote_structure,
        "Bytes without a known meaning are where forgeries hide.",
    ),
    _rule(
        "T2",
        "quote signature",
        _UNTRUSTED,
        "an ECDSA P-256 signature by the attestation key",
        _quote_signature,
        "Nothing in a quote can be changed after it was signed.",
    ),
    _rule(
        "T3",
        "attestation key",
        _UNTRUSTED,
        "a quoting enclave that commits to the attestation key",
        partial(_proof, lambda platform: platform.key_bound),
        "Without it, anyone could sign quotes with a key of their own.",
    ),
    _rule(
        "T4",
        "quoting enclave report",
        _UNTRUSTED,
        "a report signed by the platform's key",
        partial(_proof, lambda platform: platform.qe_signed),
        "Only a genuine processor's key can vouch for the enclave that signs quotes.",
    ),
    _rule(
        "T5",
        "certificate chain",
        _UNTRUSTED,
        "a certificate of the platform signed by its authority, signed by the root",
        partial(_proof, lambda platform: platform.chain_signed),
        "The manufacturer vouches for the platform's key in two steps.",
    ),
    _rule(
        "T5",
        "trust anchor",
        _UNTRUSTED,
        "an accepted root",
        _trust_anchor,
        "Anyone can make a chain that is right in itself; only the known root makes it the manufacturer's.",
    ),
    _rule(
        "T5",
        "certificate validity",
        _EXPIRED,
        "certificates valid now",
        _certificate_validity,
        "The manufacturer vouches for a limited time.",
    ),
    _rule(
        "T6",
        "revocation",
        _UNTRUSTED,
        "revocation lists by both authorities with no certificate that is used here",
        partial(_proof, lambda platform: platform.not_revoked),
        "The manufacturer withdraws keys that have leaked.",
    ),
    _rule(
        "T6",
        "revocation list age",
        _EXPIRED,
        "current revocation lists",
        _revocation_age,
        "An old list does not know the keys withdrawn since.",
    ),
    _rule(
        "T7",
        "tcb info",
        _UNTRUSTED,
        "TCB info signed under the platform's root",
        partial(_proof, lambda platform: platform.tcb_info_signed),
        "What is up to date must be the manufacturer's statement, not the host's.",
    ),
    _rule("T7", "tcb info age", _EXPIRED, "current TCB info", _tcb_info_age, _OLD_WHY),
    _rule(
        "T7 T8",
        "collateral certificate validity",
        _EXPIRED,
        "certificates valid now",
        _collateral_certificate_validity,
        "The manufacturer vouches for a limited time.",
    ),
    _rule(
        "T7",
        "tcb info platform",
        _UNTRUSTED,
        "TCB info about this kind of platform",
        _tcb_info_platform,
        "Each kind of processor has its own levels.",
    ),
    _rule(
        "T8",
        "qe identity",
        _UNTRUSTED,
        "a quoting enclave identity signed under the platform's root",
        partial(_proof, lambda platform: platform.qe_identity_signed),
        "Which enclave may sign quotes must be the manufacturer's statement.",
    ),
    _rule("T8", "qe identity age", _EXPIRED, "a current identity", _qe_identity_age, _OLD_WHY),
    _rule(
        "T8",
        "quoting enclave",
        _UNTRUSTED,
        "the quoting enclave that the identity describes",
        _quoting_enclave,
        "Any enclave on a genuine processor has a genuine report; only the manufacturer's may sign quotes.",
    ),
    _rule(
        "T8",
        "quoting enclave level",
        _PLATFORM,
        "a quoting enclave that is up to date",
        _quoting_enclave_level,
        "An old quoting enclave may have lost its key.",
    ),
    _rule(
        "T9",
        "tdx module",
        _UNTRUSTED,
        "a module that the TCB info describes",
        _tdx_module,
        "The module is what keeps the host out of the TD.",
    ),
    _rule(
        "T9",
        "tdx module level",
        _PLATFORM,
        "a module that is up to date",
        _tdx_module_level,
        "An old module has published holes.",
    ),
    _rule(
        "T10 T11 T12",
        "tcb level",
        _PLATFORM,
        "a level of the TCB info that the platform reaches",
        _tcb_level,
        "What the manufacturer has no opinion on is not up to date.",
    ),
    _rule(
        "T13",
        "relaunch",
        _PLATFORM,
        "a TCB that is known both at launch and now",
        _relaunch,
        "A module can be replaced under a running TD.",
    ),
    _rule(
        "T14",
        "collateral root",
        _UNTRUSTED,
        "all collateral under the platform's root",
        partial(_proof, lambda platform: platform.one_root),
        "Statements of another authority say nothing about this platform.",
    ),
    _rule(
        "T14",
        "evaluation data number",
        _EXPIRED,
        "one number, not below the policy's",
        _evaluation_data_number,
        "A host could choose statements from before a hole in its machine was known.",
    ),
    _rule("T14", "collateral age", _EXPIRED, "recent collateral", _collateral_age, _OLD_WHY),
)

APPRAISAL: Final = (
    _rule(
        "B1",
        "report data",
        _UNTRUSTED,
        "the expected report data",
        _report_data,
        "It binds the quote to this use; without it, a quote may be anybody's and of any time.",
    ),
    _rule(
        "B2",
        "debug",
        _PLATFORM,
        "debugging off",
        _debug,
        "The host can read and change a TD that allows debugging.",
    ),
    _rule(
        "B2",
        "td attributes",
        _PLATFORM,
        "no attributes but those the policy names",
        _td_attributes,
        "An attribute nobody thought of may open the TD to its host.",
    ),
    _rule(
        "B2",
        "sept ve disable",
        _PLATFORM,
        "SEPT_VE_DISABLE set",
        _sept_ve,
        "Otherwise the host can take a page away and interrupt the TD where it expects no interruption.",
    ),
    _rule(
        "B2",
        "migration",
        _PLATFORM,
        "a TD that cannot be migrated",
        _migration,
        "Migration moves the TD, with its memory, to another machine.",
    ),
    _rule("B3", "xfam", _PLATFORM, "known processor features", _xfam, "Unknown processor state may leak."),
    _rule(
        "B4",
        "measurement",
        _CODE,
        "an accepted measurement",
        _measurement,
        "The code that was started is the code you accept: firmware, kernel and command line.",
    ),
    _rule(
        "B5",
        "rtmr3",
        _CODE,
        "the accepted application measurements",
        _rtmr3,
        "What the running system measured into the last register is what you accept.",
    ),
    _rule(
        "B6",
        "mrconfigid",
        _CODE,
        "an accepted configuration",
        partial(_listed, lambda body: body.mrconfigid, lambda policy: policy.mrconfigids),
        "The host passes configuration to the TD that the measurement does not cover.",
    ),
    _rule(
        "B6",
        "mrowner",
        _CODE,
        "an accepted owner",
        partial(_listed, lambda body: body.mrowner, lambda policy: policy.mrowners),
        "The host states whose TD it is.",
    ),
    _rule(
        "B6",
        "mrownerconfig",
        _CODE,
        "an accepted owner's configuration",
        partial(_listed, lambda body: body.mrownerconfig, lambda policy: policy.mrownerconfigs),
        "The owner's configuration is not covered by the measurement.",
    ),
    _rule(
        "B7",
        "service td",
        _PLATFORM,
        "no service TD, or an accepted one",
        _service_td,
        "A service TD can migrate this one, with its memory.",
    ),
    _rule(
        "B8",
        "mrseam",
        _PLATFORM,
        "an accepted TDX module",
        partial(_listed, lambda body: body.mrseam, lambda policy: policy.mrseams),
        "The module is what keeps the host out of the TD.",
    ),
    _rule(
        "B9",
        "tcb status",
        _PLATFORM,
        "an accepted status",
        _tcb_status,
        "Older firmware has published holes through which the host can read or forge a TD.",
    ),
    _rule(
        "B10",
        "platform configuration",
        _PLATFORM,
        "an accepted configuration of the platform",
        _platform_flags,
        "Some ways to set up a platform weaken it.",
    ),
    _rule(
        "B11",
        "fmspc",
        _PLATFORM,
        "an accepted kind of platform",
        _fmspc,
        "Memory of some platforms can be read with a device between processor and module.",
    ),
    _rule(
        "B11",
        "ppid",
        _PLATFORM,
        "an accepted machine",
        _ppid,
        "The same code on a machine in an attacker's hands is not the same.",
    ),
)

TDX_CHECKS: Final = STRUCTURE + APPRAISAL
