# SPDX-License-Identifier: Apache-2.0
"""The result of an appraisal: every check with what was expected, what was found, and why it matters.

A check that could not be made, because what it needs is unreadable, has failed (attestation.md 7.5: X2).
"""

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple, NoReturn

from attestation.details import Details
from attestation.evidence import Claims
from attestation.snp.report import Measurement


class VendorRoot(StrEnum):
    """Whose root key the evidence leads to; unknown also where the chain to it is broken."""

    AMD = "amd"
    INTEL = "intel"
    NVIDIA = "nvidia"
    SIMULATED = "simulated"
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    """What became of one check. Only the first two are good."""

    PASSED = "pass"
    NOTED = "note"
    FAILED = "fail"
    NOT_EVALUATED = "not evaluated"
    WAIVED = "waived"


class Decision(Enum):
    """What a failed check means to whoever has to act on it."""

    UNTRUSTED = "untrusted"
    EXPIRED = "expired"
    WRONG_MEASUREMENT = "wrong measurement"
    WRONG_PLATFORM = "wrong platform"
    WRONG_AUDIENCE = "wrong audience"
    WRONG_MODEL = "wrong model"


class Check(NamedTuple):
    """One check. `why` says to a lay reader what it is good for; `section` is its id in attestation.md 7.

    `waived` is a check that the caller asked in so many words not to make. It is not passed. A tuple, because
    a verdict has dozens of checks, and each would else take as long as what it is about.
    """

    name: str
    ok: bool
    expected: str
    found: str
    why: str
    section: str = ""
    decision: Decision = Decision.UNTRUSTED
    evaluated: bool = True
    waived: bool = False
    noted: bool = False

    @property
    def outcome(self) -> Outcome:
        """What became of it: `noted` marks a pass that deserves a look."""
        if self.waived:
            return Outcome.WAIVED
        if not self.evaluated:
            return Outcome.NOT_EVALUATED
        if not self.ok:
            return Outcome.FAILED
        return Outcome.NOTED if self.noted else Outcome.PASSED

    @property
    def detail(self) -> str:
        """What was found, and for a failed check what was expected."""
        return self.found if self.ok else f"expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """All checks in order. `measurement` is empty, `claims` and `details` are None where they cannot be read.

    Nothing in here is to be believed unless `verified`.
    """

    checks: tuple[Check, ...]
    tee: str
    vendor_root: VendorRoot
    simulated: bool
    measurement: Measurement
    claims: Claims | None
    details: Details | None = None

    @property
    def verified(self) -> bool:
        """Whether there were checks, and every one was made and passed."""
        return bool(self.checks) and all(check.ok and check.evaluated for check in self.checks)

    @property
    def refused(self) -> bool:
        """Whether a check failed, or could not be made though nobody waived it.

        Evidence that is neither verified nor refused passed all that the caller let be checked.
        """
        return not self.checks or any(not (check.ok or check.waived) for check in self.checks)

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that failed: first those that were made, then those that could not be."""
        failed = [check for check in self.checks if not (check.ok and check.evaluated)]
        return tuple(sorted(failed, key=lambda check: not check.evaluated))

    def __bool__(self) -> NoReturn:
        """Refuse: a refusal in an `if` would read as consent (attestation.md 7.5, X1)."""
        raise TypeError("a verdict has no truth value; use verified")
