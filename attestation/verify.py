# SPDX-License-Identifier: Apache-2.0
"""Evidence, a policy and the time in; a verified enclave or a refusal out (attestation.md 7).

`appraise` makes every check and reports all of them; `verify` accepts only where every one was made and
passed. Simulated hardware takes the same path: only the policy's set of roots tells it apart, and the octet
in the report data that follows from the root.
"""

from dataclasses import InitVar, dataclass, field, replace
from types import MappingProxyType
from typing import Final, final

from attestation import binding, rules
from attestation.binding import FOR_ANY_CLIENT, Fresh, Purpose
from attestation.cache import Cache
from attestation.case import Unreadable, make_check
from attestation.evidence import SEV_SNP, TDX, Claims, Evidence
from attestation.policy import Measurement, Policy
from attestation.rules import KeyList, Session, open_session
from attestation.snp import rules as snp_rules
from attestation.snp.case import (
    Commitment,
    NoCrl,
    NotCompared,
    SnpCaches,
    SnpCase,
    SnpEvidence,
    open_snp_case,
)
from attestation.snp.details import snp_details
from attestation.tdx.platform import VerifiedPlatforms
from attestation.tdx_case import NoCollateral, TdxEvidence, appraise_tdx
from attestation.verdict import Check, Decision, VendorRoot, Verdict
from wire import ohttp
from wire.merkle import Leaf


class VerificationError(Exception):
    """The evidence was refused. `verdict` holds every check; the message is the first that failed."""

    def __init__(self, verdict: Verdict) -> None:
        first = verdict.failures[0]
        super().__init__(f"{first.name}: {first.detail}")
        self.verdict = verdict


class Untrusted(VerificationError):  # noqa: N818 - the decision itself
    """The evidence proves nothing: its form, signatures, roots or binding are wrong. Do not retry."""


class Expired(VerificationError):  # noqa: N818 - the decision itself
    """Evidence, a certificate or the revocation list is not valid now. Fetch again, and check the clock."""


class WrongMeasurement(VerificationError):  # noqa: N818 - the decision itself
    """Other code than the policy accepts. Find out whether it is an update, and accept its measurement."""


class WrongPlatform(VerificationError):  # noqa: N818 - the decision itself
    """A machine, a generation, a patch level or a guest setting that the policy does not accept."""


class WrongAudience(VerificationError):  # noqa: N818 - the decision itself
    """An enclave of another deployment answered."""


class WrongModel(VerificationError):  # noqa: N818 - the decision itself
    """The enclave serves a model that the policy does not accept."""


_REFUSALS: Final = MappingProxyType(
    {
        Decision.UNTRUSTED: Untrusted,
        Decision.EXPIRED: Expired,
        Decision.WRONG_MEASUREMENT: WrongMeasurement,
        Decision.WRONG_PLATFORM: WrongPlatform,
        Decision.WRONG_AUDIENCE: WrongAudience,
        Decision.WRONG_MODEL: WrongModel,
    }
)

_SEAL: Final = object()


@final
@dataclass(frozen=True, slots=True)
class VerifiedEnclave:
    """Keys that live in an enclave the policy accepts. Only `verify` makes one; others get a RuntimeError."""

    key_configurations: tuple[ohttp.KeyConfiguration, ...]
    claims: Claims
    verdict: Verdict
    evidence: Evidence
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        """Refuse to exist without a verification."""
        if seal is not _SEAL:
            raise RuntimeError("only verify makes a verified enclave")


@dataclass(frozen=True, slots=True)
class Caches:
    """What a client keeps from one verification to the next; pass the same object again (X9)."""

    snp: SnpCaches = field(default_factory=lambda: SnpCaches(Cache(), Cache()))
    tdx: VerifiedPlatforms = field(default_factory=VerifiedPlatforms)
    key_lists: Cache[KeyList] = field(default_factory=Cache)


def appraise(evidence: Evidence, policy: Policy, now: int, caches: Caches | None = None) -> Verdict:
    """Make every check; bad evidence raises nothing. `now` is the client's own clock in unix seconds.

    `caches` saves time alone: with them and without, the verdict is the same.
    """
    caches = caches or Caches()
    return _appraise(open_session(evidence, policy, now, FOR_ANY_CLIENT, caches.key_lists), caches)


def verify(evidence: Evidence, policy: Policy, now: int, caches: Caches | None = None) -> VerifiedEnclave:
    """The enclave behind the evidence, or a VerificationError of the first check that failed."""
    return _verify(evidence, policy, now, FOR_ANY_CLIENT, caches or Caches())


def verify_fresh(
    evidence: Evidence, policy: Policy, now: int, leaf: Leaf, caches: Caches | None = None
) -> VerifiedEnclave:
    """The enclave that made this evidence for one session request, whose leaf this is (wire.md 6.3, mode 1).

    Raises VerificationError as `verify` does, and for evidence that was made for another request or for none.
    """
    return _verify(evidence, policy, now, Fresh(leaf), caches or Caches())


def _verify(
    evidence: Evidence, policy: Policy, now: int, purpose: Purpose, caches: Caches
) -> VerifiedEnclave:
    session = open_session(evidence, policy, now, purpose, caches.key_lists)
    verdict = _appraise(session, caches)
    if not verdict.verified:
        raise _REFUSALS[verdict.failures[0].decision](verdict)
    return VerifiedEnclave(session.keys.need(), session.claims.need(), verdict, session.evidence, seal=_SEAL)


def verify_snp_report(  # noqa: PLR0913 - what the hardware gives, piece by piece
    report: bytes,
    chain: tuple[bytes, ...],
    crl: bytes | NoCrl,
    policy: Policy,
    now: int,
    expected_report_data: bytes | NotCompared,
    *,
    caches: Caches | None = None,
) -> Verdict:
    """Judge a report that comes in no document: every check of the hardware's part is made and listed.

    What the caller says not to have is listed too, as waived, and then the verdict is not `verified`. The
    chain is leaf, intermediate, root; the 64 bytes of report data are compared whole.
    """
    evidence = SnpEvidence(report, chain, crl, expected_report_data)
    return _snp_verdict(open_snp_case(evidence, policy, now, (caches or Caches()).snp), (), (), None)


def verify_tdx_quote(
    quote: bytes,
    collateral: bytes | NoCollateral,
    policy: Policy,
    now: int,
    expected_report_data: bytes | NotCompared,
    *,
    caches: Caches | None = None,
) -> Verdict:
    """Judge a quote that comes in no document, like `verify_snp_report`."""
    evidence = TdxEvidence(quote, collateral, expected_report_data)
    return appraise_tdx(evidence, policy, now, (caches or Caches()).tdx)


def _appraise(session: Session, caches: Caches) -> Verdict:
    form = tuple(make_check(rule, session) for rule in rules.FORM)
    shared = tuple(make_check(rule, session) for rule in rules.SESSION)
    claims = None if isinstance(session.claims.outcome, Unreadable) else session.claims.outcome
    evidence = session.evidence
    configuration = binding.configuration_hash(evidence.keys, evidence.claims)
    # A path that leads nowhere fails the check of the form; the report is judged without it.
    root = session.freshness.outcome
    freshness = binding.NO_FRESHNESS if isinstance(root, Unreadable) else root
    commitment = Commitment(configuration, session.purpose.mode, freshness)
    if evidence.tee == TDX:
        given = TdxEvidence(evidence.report, evidence.collateral, commitment)
        own = appraise_tdx(given, session.policy, session.now, caches.tdx)
        return replace(own, checks=form + own.checks + shared, claims=claims)
    case = open_snp_case(
        SnpEvidence(evidence.report, evidence.chain, evidence.crl, commitment),
        session.policy,
        session.now,
        caches.snp,
    )
    return _snp_verdict(case, form, shared, claims)


def _snp_verdict(
    case: SnpCase, before: tuple[Check, ...], after: tuple[Check, ...], claims: Claims | None
) -> Verdict:
    own = tuple(make_check(rule, case) for rule in snp_rules.RULES)
    vendor_root = _vendor_root(case, own)
    report = case.report.outcome
    return Verdict(
        checks=before + own + after,
        tee=SEV_SNP,
        vendor_root=vendor_root,
        simulated=vendor_root is VendorRoot.SIMULATED,
        measurement=Measurement(b"") if isinstance(report, Unreadable) else report.measurement,
        claims=claims,
        details=snp_details(case),
    )


def _vendor_root(case: SnpCase, checks: tuple[Check, ...]) -> VendorRoot:
    """A root means something only where the chain leads to it."""
    passed = {check.name for check in checks if check.ok}
    proven = "certificate chain" in passed and "trust anchor" in passed
    return case.vendor_root if proven else VendorRoot.UNKNOWN
