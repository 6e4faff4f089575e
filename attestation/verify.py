# SPDX-License-Identifier: Apache-2.0
"""Evidence, a policy and the time in; a verified enclave or a refusal out (attestation.md 7).

`appraise` makes every check and reports all of them; `verify` accepts only where every one was made and
passed. Simulated hardware takes the same path: only the policy's set of roots tells it apart, and the octet
in the report data that follows from the root.
"""

from dataclasses import InitVar, dataclass
from types import MappingProxyType
from typing import Final, final

from attestation import rules
from attestation.case import DEFECTS, Case, NotEvaluatedError, Rule, Unreadable, open_case
from attestation.evidence import Claims, Evidence
from attestation.policy import Measurement, Policy
from attestation.snp import rules as snp_rules
from attestation.verdict import Check, Decision, VendorRoot, Verdict
from wire import ohttp

RULES: Final = rules.FORM + snp_rules.RULES + rules.SESSION


class VerificationError(Exception):
    """The evidence was refused. `verdict` holds every check; the message is the first that failed."""

    def __init__(self, verdict: Verdict) -> None:
        first = verdict.failures[0]
        super().__init__(f"{first.name}: {first.detail}")
        self.verdict = verdict


class Untrusted(VerificationError):  # noqa: N818
    """The evidence proves nothing: its form, signatures, roots or binding are wrong. Do not retry."""


class Expired(VerificationError):  # noqa: N818
    """Evidence, a certificate or the revocation list is not valid now. Fetch again, and check the clock."""


class WrongMeasurement(VerificationError):  # noqa: N818
    """Other code than the policy accepts. Find out whether it is an update, and accept its measurement."""


class WrongPlatform(VerificationError):  # noqa: N818
    """A machine, a generation, a patch level or a guest setting that the policy does not accept."""


class WrongAudience(VerificationError):  # noqa: N818
    """An enclave of another deployment answered."""


class WrongModel(VerificationError):  # noqa: N818
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


def appraise(evidence: Evidence, policy: Policy, now: int) -> Verdict:
    """Make every check; bad evidence raises nothing. `now` is the client's own clock in unix seconds."""
    return _appraise(open_case(evidence, policy, now))


def verify(evidence: Evidence, policy: Policy, now: int) -> VerifiedEnclave:
    """The enclave behind the evidence, or a VerificationError of the first check that failed."""
    case = open_case(evidence, policy, now)
    verdict = _appraise(case)
    if not verdict.verified:
        raise _REFUSALS[verdict.failures[0].decision](verdict)
    return VerifiedEnclave(case.keys.need(), case.claims.need(), verdict, evidence, seal=_SEAL)


def _appraise(case: Case) -> Verdict:
    checks = tuple(_make(rule, case) for rule in RULES)
    vendor_root = _vendor_root(case, checks)
    report, claims = case.report.outcome, case.claims.outcome
    return Verdict(
        checks=checks,
        tee=case.evidence.tee,
        vendor_root=vendor_root,
        simulated=vendor_root is VendorRoot.SIMULATED,
        measurement=Measurement(b"") if isinstance(report, Unreadable) else report.measurement,
        claims=None if isinstance(claims, Unreadable) else claims,
    )


def _make(rule: Rule, case: Case) -> Check:
    evaluated, ok, expected = True, False, rule.expected
    try:
        finding = rule.examine(case)
        ok, found, expected = finding.ok, finding.found, finding.expected or rule.expected
    except NotEvaluatedError as missing:
        evaluated, found = False, f"not evaluated: {missing}"
    except DEFECTS as error:
        found = f"a defect ({error})"
    return Check(rule.name, ok, expected, found, rule.why, rule.section, rule.decision, evaluated)


def _vendor_root(case: Case, checks: tuple[Check, ...]) -> VendorRoot:
    """A root means something only where the chain leads to it."""
    passed = {check.name for check in checks if check.ok}
    return case.vendor_root if {"certificate chain", "trust anchor"} <= passed else VendorRoot.UNKNOWN
