# SPDX-License-Identifier: Apache-2.0
"""A verdict in the words of AR4SI, never claiming more than was checked.

1. Nothing is affirmed unless every check of the verdict was made and passed.
2. An aspect is affirmed only if the checks that it rests on are there and passed without a note.
3. Executables reach 3 (as approved at boot) and not 2: a launch measurement says nothing of later.
4. Simulated machines contraindicate hardware and memory whatever passed: nothing protects them.
5. File system, storage, sourced data and configuration are never affirmed: they are not appraised.
6. Whatever is refused has a status that no relying party takes for consent.
7. Nothing is said of the machine unless a signature under a known root covers it.
"""

import hashlib
from typing import Final

from attestation.details import Details
from attestation.nvidia.checks import NVIDIA_GPU
from attestation.results import trust
from attestation.results.aspects import APPRAISED, CONTRADICTIONS, CRYPTOGRAPHIC, DEBUG, FOUNDATIONS, IDENTITY
from attestation.results.cmw import Record
from attestation.results.ear import (
    Appraisal,
    AttestationResult,
    AttesterClaims,
    CheckResult,
    Enclave,
    VerifierClaims,
    VerifierId,
)
from attestation.results.trust import Aspect, DebugStatus, Tier
from attestation.results.values import base64url
from attestation.verdict import Check, Outcome, VendorRoot, Verdict

LABEL: Final = "cpu"
GPU_LABEL: Final = "gpu"
GENUINE: Final = frozenset({"amd", "intel"})


def policy_id(policy: bytes) -> str:
    """A name for a policy by its bytes (RFC 6920), so that a reader can tell which requirements applied."""
    return "ni:///sha-256;" + base64url(hashlib.sha256(policy).digest())


def result_of(  # noqa: PLR0913 - each is a claim of the result
    verdict: Verdict,
    *,
    issued_at: int,
    verifier: VerifierId,
    policy_ids: tuple[str, ...],
    machines_are_named: bool = False,
    nonce: bytes | None = None,
    raw_evidence: Record | None = None,
) -> AttestationResult:
    """The result of one verdict. Raises ResultError for values that no result can have.

    `machines_are_named` says that the policy lists machines; only then is the instance recognized. A result
    does not outlive the evidence: it expires with the claims of the enclave.
    """
    expires_at = verdict.claims.expires_at if verdict.verified and verdict.claims else None
    appraisal = appraisal_of(verdict, policy_ids=policy_ids, machines_are_named=machines_are_named)
    label = GPU_LABEL if verdict.tee == NVIDIA_GPU else LABEL
    return AttestationResult(issued_at, expires_at, verifier, nonce, raw_evidence, ((label, appraisal),))


def appraisal_of(
    verdict: Verdict, *, policy_ids: tuple[str, ...], machines_are_named: bool = False
) -> Appraisal:
    """What the verdict amounts to. Raises ResultError without a policy id."""
    vector = _vector(verdict, machines_are_named=machines_are_named)
    return Appraisal(
        status=_status(verdict, vector),
        vector=tuple(sorted(vector.items())),
        policy_ids=policy_ids,
        attester=AttesterClaims(_debug(verdict), _enclave(verdict)),
        verifier=VerifierClaims(
            vendor_root=verdict.vendor_root.value,
            verified=verdict.verified,
            checks=tuple(
                CheckResult(check.section, check.name, check.outcome.value) for check in verdict.checks
            ),
            platform=_platform(verdict),
        ),
    )


def _vector(verdict: Verdict, *, machines_are_named: bool) -> dict[Aspect, int]:
    failed = [check for check in verdict.checks if check.outcome is Outcome.FAILED]
    if any(_ids(check) & CRYPTOGRAPHIC for check in failed):
        return dict.fromkeys(APPRAISED, trust.CRYPTOGRAPHY_FAILED)
    vector = {Aspect.HARDWARE: trust.NO_ASSERTION}
    if _is_genuine(verdict) and verdict.verified:
        vector |= _affirmations(verdict, machines_are_named=machines_are_named)
    for check in failed:
        vector |= _contradictions(check, vector)
    if verdict.simulated or verdict.vendor_root is VendorRoot.SIMULATED:
        vector |= {Aspect.HARDWARE: trust.NOT_RECOGNIZED, Aspect.RUNTIME_OPAQUE: trust.CONTRAINDICATED}
    return vector


def _affirmations(verdict: Verdict, *, machines_are_named: bool) -> dict[Aspect, int]:
    passed = _passed(verdict)
    found = {
        each.aspect: each.value for each in FOUNDATIONS if each.tee == verdict.tee and each.checks <= passed
    }
    if machines_are_named and passed & IDENTITY and Aspect.HARDWARE in found:
        found[Aspect.INSTANCE_IDENTITY] = trust.AFFIRMED
    return found


def _passed(verdict: Verdict) -> frozenset[str]:
    """The ids of which every check passed, none of them with a note."""
    plain = {identifier for check in verdict.checks for identifier in _ids(check)}
    for check in verdict.checks:
        if check.outcome is not Outcome.PASSED:
            plain -= _ids(check)
    return frozenset(plain)


def _contradictions(check: Check, so_far: dict[Aspect, int]) -> dict[Aspect, int]:
    """The worst value of each aspect that this failure speaks of."""
    found: dict[Aspect, int] = {}
    for aspect, value, checks in CONTRADICTIONS:
        if _ids(check) & checks:
            so_bad = found.get(aspect, so_far.get(aspect, trust.NO_ASSERTION))
            found[aspect] = max(value, so_bad)
    return found


def _status(verdict: Verdict, vector: dict[Aspect, int]) -> Tier:
    if any(check.outcome is Outcome.FAILED for check in verdict.checks) or verdict.simulated:
        return Tier.CONTRAINDICATED
    affirmed = vector[Aspect.HARDWARE] == trust.AFFIRMED
    return Tier.AFFIRMING if verdict.verified and affirmed else Tier.NONE


def _debug(verdict: Verdict) -> DebugStatus | None:
    """Only what the machine's own signature covers, under a root that is known."""
    if any(check.outcome is not Outcome.PASSED for check in verdict.checks if _ids(check) & CRYPTOGRAPHIC):
        return None
    checks = [check for check in verdict.checks if check.name == "debug" and _ids(check) & DEBUG]
    if len(checks) != 1 or not _is_genuine(verdict) or not checks[0].evaluated or checks[0].waived:
        return None
    return DebugStatus.DISABLED_SINCE_BOOT if checks[0].ok else DebugStatus.ENABLED


def _enclave(verdict: Verdict) -> Enclave | None:
    """Nothing in a verdict is to be believed unless it is verified."""
    if not verdict.verified or verdict.claims is None:
        return None
    claims = verdict.claims
    return Enclave(
        tee=verdict.tee,
        measurement=bytes(verdict.measurement),
        audience=claims.audience,
        deployment=claims.deployment,
        model=claims.model,
        release=claims.release,
        configuration=claims.configuration,
        epoch=claims.epoch,
    )


def _platform(verdict: Verdict) -> Details | None:
    """7. Where the checks of signatures and roots passed, or the caller waived them."""
    if verdict.vendor_root is VendorRoot.UNKNOWN or any(
        check.outcome in {Outcome.FAILED, Outcome.NOT_EVALUATED}
        for check in verdict.checks
        if _ids(check) & CRYPTOGRAPHIC
    ):
        return None
    return verdict.details


def _is_genuine(verdict: Verdict) -> bool:
    return verdict.vendor_root.value in GENUINE and not verdict.simulated


def _ids(check: Check) -> frozenset[str]:
    return frozenset(check.section.split())
