# SPDX-License-Identifier: Apache-2.0
"""What checks examine: evidence with its parts parsed once (attestation.md 7.5: X8), policy and time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from attestation import x509
from attestation.evidence import Claims, Evidence, EvidenceError, decode_claims
from attestation.policy import AMD_ROOTS, Policy
from attestation.snp.certificates import Chain, parse_chain
from attestation.snp.product import TcbError
from attestation.snp.report import Report, ReportError, parse_report
from attestation.verdict import Decision, VendorRoot
from attestation.x509 import CertificateError, RevocationList
from wire import ohttp

# What parsing bytes from outside may raise; anything else is a mistake of ours and is not caught.
DEFECTS: Final = (CertificateError, EvidenceError, ReportError, TcbError, ohttp.KeyListError)

Value = TypeVar("Value")


class NotEvaluatedError(Exception):
    """A check cannot be made, because something it needs cannot be read."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The parser's exception, kept until the check that is about this part."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Part(Generic[Value]):
    """A part of the evidence, parsed, or why it could not be."""

    name: str
    outcome: Value | Unreadable

    def examine(self) -> Value:
        """The value, for the check that is about this part; raises what the parser raised."""
        if isinstance(self.outcome, Unreadable):
            raise self.outcome.error
        return self.outcome

    def need(self) -> Value:
        """The value, for a check about something else; NotEvaluatedError where there is none."""
        if isinstance(self.outcome, Unreadable):
            raise NotEvaluatedError(f"the {self.name} cannot be read")
        return self.outcome


@dataclass(frozen=True, slots=True)
class Case:
    """One appraisal's material."""

    evidence: Evidence
    policy: Policy
    now: int
    report: Part[Report]
    chain: Part[Chain]
    revocation_list: Part[RevocationList]
    keys: Part[tuple[ohttp.KeyConfiguration, ...]]
    claims: Part[Claims]

    @property
    def vendor_root(self) -> VendorRoot:
        """Whose root the chain names, by its public key. Whether the chain leads there is another check."""
        chain = self.chain.need()
        if chain.root.fingerprint == AMD_ROOTS[chain.product]:
            return VendorRoot.AMD
        if chain.root.fingerprint in self.policy.simulated_roots.fingerprints:
            return VendorRoot.SIMULATED
        return VendorRoot.UNKNOWN


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's outcome. `expected` is given where it depends on the policy, and replaces the rule's."""

    ok: bool
    found: str
    expected: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A check to make: its id in attestation.md 7, what it wants, and whom its failure concerns."""

    section: str
    name: str
    decision: Decision
    expected: str
    examine: Callable[[Case], Finding]
    why: str


def open_case(evidence: Evidence, policy: Policy, now: int) -> Case:
    """Parse every part; what cannot be read is kept as such."""
    return Case(
        evidence,
        policy,
        now,
        Part("report", _attempt(parse_report, evidence.report)),
        Part("certificate chain", _attempt(parse_chain, evidence.chain)),
        Part("revocation list", _attempt(x509.parse_revocation_list, evidence.crl)),
        Part("key list", _attempt(ohttp.decode_key_list, evidence.keys)),
        Part("claims", _attempt(decode_claims, evidence.claims)),
    )


Input = TypeVar("Input")


def _attempt(parse: Callable[[Input], Value], encoded: Input) -> Value | Unreadable:
    try:
        return parse(encoded)
    except DEFECTS as error:
        return Unreadable(error)
