# SPDX-License-Identifier: Apache-2.0
"""An attestation result as a value (draft-ietf-rats-ear-04). Making one checks it: decoders rely on that."""

from dataclasses import dataclass
from typing import Final

from attestation.details import Details
from attestation.results.cmw import Record
from attestation.results.trust import MAX_VALUE, MIN_VALUE, Aspect, DebugStatus, Tier, tier

PROFILE: Final = "tag:ietf.org,2026:rats/ear#04"
MAX_TIME: Final = 2**53 - 1
NONCE_SIZES: Final = range(8, 65)  # RFC 9711 section 4.1
MAX_TEXT_LENGTH: Final = 1024


class ResultError(Exception):
    """Bytes or values are no attestation result of this profile."""


@dataclass(frozen=True, slots=True)
class VerifierId:
    """Whose program made the result, and which build of it."""

    developer: str
    build: str


@dataclass(frozen=True, slots=True)
class Enclave:
    """What verified evidence says the enclave is. Digests are 32 bytes."""

    tee: str
    measurement: bytes
    audience: str
    deployment: str
    model: bytes
    release: bytes
    configuration: bytes
    epoch: int


@dataclass(frozen=True, slots=True)
class AttesterClaims:
    """What was read in the evidence. Empty parts were not proven."""

    debug: DebugStatus | None
    enclave: Enclave | None


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check by its ids in attestation.md 7 and its name, and what became of it."""

    section: str
    name: str
    outcome: str


@dataclass(frozen=True, slots=True)
class VerifierClaims:
    """What the verifier did: whose root the evidence led to, every check, and what it read of the machine."""

    vendor_root: str
    verified: bool
    checks: tuple[CheckResult, ...]
    platform: Details | None = None

    @property
    def simulated(self) -> bool:
        """Whether the machine was a simulated one, which protects nothing."""
        return self.vendor_root == "simulated"


@dataclass(frozen=True, slots=True)
class Appraisal:
    """The result for one attester. Raises ResultError for a status better than the vector allows."""

    status: Tier
    vector: tuple[tuple[Aspect, int], ...]
    policy_ids: tuple[str, ...]
    attester: AttesterClaims
    verifier: VerifierClaims

    def __post_init__(self) -> None:
        """Refuse a vector that is empty, disordered or out of range, and a status that flatters."""
        aspects = [aspect for aspect, _ in self.vector]
        if not aspects or aspects != sorted(set(aspects)):
            raise ResultError("expected a vector of at least one aspect, in order and each once")
        if not all(MIN_VALUE <= value <= MAX_VALUE for _, value in self.vector):
            raise ResultError("expected values of 8 bits in the vector")
        if not self.policy_ids or not all(map(_is_text, self.policy_ids)):
            raise ResultError("expected at least one policy id")
        worst = max(tier(value) for _, value in self.vector)
        if worst >= Tier.WARNING and self.status < worst:
            raise ResultError(f"status {self.status.name.lower()} is better than its vector allows")
        if self.status is Tier.AFFIRMING and self.verifier.simulated:
            raise ResultError("a simulated machine is never affirmed")

    def value(self, aspect: Aspect) -> int:
        """The value of an aspect; 0, no assertion, for one that is left out."""
        return dict(self.vector).get(aspect, 0)


@dataclass(frozen=True, slots=True)
class AttestationResult:
    """A whole result: times in unix seconds, and an appraisal for each label. Raises ResultError."""

    issued_at: int
    expires_at: int | None
    verifier: VerifierId
    nonce: bytes | None
    raw_evidence: Record | None
    appraisals: tuple[tuple[str, Appraisal], ...]

    def __post_init__(self) -> None:
        """Refuse times, nonces and labels that the profile does not have."""
        if not 0 <= self.issued_at <= MAX_TIME:
            raise ResultError("expected a time of issue in unix seconds")
        if self.expires_at is not None and not self.issued_at < self.expires_at <= MAX_TIME:
            raise ResultError("expected a time of expiry after that of issue")
        if self.nonce is not None and len(self.nonce) not in NONCE_SIZES:
            raise ResultError(f"expected a nonce of 8 to 64 bytes, found {len(self.nonce)}")
        if not (_is_text(self.verifier.developer) and _is_text(self.verifier.build)):
            raise ResultError("expected a developer and a build of the verifier")
        labels = [label for label, _ in self.appraisals]
        if not labels or not all(map(_is_text, labels)) or len(set(labels)) != len(labels):
            raise ResultError("expected at least one appraisal, each with a label of its own")


def _is_text(value: str) -> bool:
    return 0 < len(value) <= MAX_TEXT_LENGTH and value.isprintable()
