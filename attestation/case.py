# SPDX-License-Identifier: Apache-2.0
"""How checks are made: parts of evidence parsed once (attestation.md 7.5: X8), rules, and what they found."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from attestation import evidence
from attestation.snp.product import TcbError
from attestation.snp.report import ReportError
from attestation.verdict import Check, Decision
from attestation.x509 import CertificateError
from wire import merkle, ohttp

# What parsing bytes from outside may raise; anything else is a mistake of ours and is not caught.
DEFECTS: Final = (
    CertificateError,
    evidence.EvidenceError,
    ReportError,
    TcbError,
    ohttp.KeyListError,
    merkle.MerkleError,
)

Value = TypeVar("Value")
Input = TypeVar("Input")
Case = TypeVar("Case")


class NotEvaluatedError(Exception):
    """A check cannot be made, because something it needs cannot be read."""


class WaivedError(Exception):
    """A check is not made, because the caller said so by a value made for that."""


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


class Finding(NamedTuple):
    """A check's outcome. `expected` is given where it depends on the policy, and replaces the rule's.

    `noted` marks what passes and still deserves a look.
    """

    ok: bool
    found: str
    expected: str = ""
    noted: bool = False


@dataclass(frozen=True, slots=True)
class Rule(Generic[Case]):
    """A check to make: its id in attestation.md 7, what it wants, and whom its failure concerns."""

    section: str
    name: str
    decision: Decision
    expected: str
    examine: Callable[[Case], Finding]
    why: str


def attempt(parse: Callable[[Input], Value], encoded: Input) -> Value | Unreadable:
    """What a parser makes of some bytes, or its complaint."""
    try:
        return parse(encoded)
    except DEFECTS as error:
        return Unreadable(error)


def make_check(rule: Rule[Case], case: Case) -> Check:
    """Make one check. A check that cannot be made has not passed."""
    evaluated, waived = True, False
    try:
        finding = rule.examine(case)
    except NotEvaluatedError as missing:
        evaluated, finding = False, Finding(ok=False, found=f"not evaluated: {missing}")
    except WaivedError as waiver:
        evaluated, waived, finding = False, True, Finding(ok=False, found=f"not evaluated: {waiver}")
    except DEFECTS as error:
        finding = Finding(ok=False, found=f"a defect ({error})")
    return Check(  # by position: names would double what a check costs
        rule.name,
        finding.ok,
        finding.expected or rule.expected,
        finding.found,
        rule.why,
        rule.section,
        rule.decision,
        evaluated,
        waived,
        finding.noted,
    )
