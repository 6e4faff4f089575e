# SPDX-License-Identifier: Apache-2.0
"""Verdicts made by hand, so that vectors do not change with the verifier, and keys that everybody knows."""

from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attestation.evidence import Claims
from attestation.results.appraisal import policy_id, result_of
from attestation.results.cmw import Record
from attestation.results.ear import AttestationResult, VerifierId
from attestation.snp.report import Measurement
from attestation.verdict import Check, VendorRoot, Verdict

NOW: Final = 1_790_000_000
VERIFIER: Final = VerifierId("https://sottovoce.example", "sottovoce 0.1.0")
POLICY_IDS: Final = (policy_id(b"a policy\n"),)
P256: Final = ec.derive_private_key(0x5EC4E7, ec.SECP256R1())
ED25519: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))

SNP_CHECKS: Final = (
    ("X2", "evidence form"),
    ("S1 S2 S4", "report structure"),
    ("S3", "report signature"),
    ("S5", "signing key"),
    ("S6 S12", "certificate chain"),
    ("S6", "trust anchor"),
    ("S7", "certificate validity"),
    ("S8", "revocation"),
    ("S9", "certificate TCB"),
    ("S10", "chip identity"),
    ("S11", "product agreement"),
    ("A1", "report data binding"),
    ("A2", "measurement"),
    ("A3", "debug"),
    ("A4", "migration agent"),
    ("A5", "vmpl"),
    ("A6", "chip key mask"),
    ("A7", "tcb floor (reported)"),
    ("A7", "tcb floor (current)"),
    ("A9", "alias check"),
    ("A14", "product"),
    ("A14", "machine"),
    ("X4", "evidence age"),
    ("X5", "audience"),
)
CLAIMS: Final = Claims(
    audience="https://llm.example",
    configuration=bytes([1]) * 32,
    epoch=3,
    expires_at=NOW + 600,
    issued_at=NOW,
    model=bytes([7]) * 32,
    minimum_version=1,
    receipt_key=bytes([2]) * 32,
    release=bytes(32),
    deployment="living-room",
)


def verdict(
    root: VendorRoot = VendorRoot.AMD, *, failed: tuple[str, ...] = (), skipped: tuple[str, ...] = ()
) -> Verdict:
    """A verdict in which all checks passed but those named."""
    checks = tuple(
        Check(
            name,
            ok=name not in failed + skipped,
            expected="",
            found="",
            why="",
            section=section,
            evaluated=name not in skipped,
        )
        for section, name in SNP_CHECKS
    )
    measurement = Measurement(bytes(range(48)))
    return Verdict(checks, "sev-snp", root, root is VendorRoot.SIMULATED, measurement, CLAIMS)


def with_check(judged: Verdict, name: str, changed: Check) -> Verdict:
    """The verdict with another check in place of the one of this name."""
    return replace(judged, checks=tuple(changed if each.name == name else each for each in judged.checks))


def result(
    judged: Verdict | None = None, *, nonce: bytes | None = None, raw_evidence: Record | None = None
) -> AttestationResult:
    """The result of a verdict, made at NOW."""
    return result_of(
        verdict() if judged is None else judged,
        issued_at=NOW,
        verifier=VERIFIER,
        policy_ids=POLICY_IDS,
        nonce=nonce,
        raw_evidence=raw_evidence,
    )
