# SPDX-License-Identifier: Apache-2.0
"""Receipts, checked against evidence, and against request and answer.

`judge` is a pure function of bytes, a policy and a time: what was kept beside an answer can be checked years
later without a network (docs/spec/receipts.md). It says in one list of checks what holds and what does not.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from attestation.evidence import Claims, decode_claims, decode_evidence
from attestation.policy import Policy
from attestation.verdict import Check, Verdict
from attestation.verify import appraise
from sottovoce.receipt_form import SignedReceipt, decode_receipt
from wire import receipt as form
from wire.receipt import ContentDigest, Receipt


class NoTimeError(Exception):
    """The receipt states no time, so the caller must say as of when it is to be judged."""


@dataclass(frozen=True, slots=True)
class ReceiptVerdict:
    """Every check of a receipt. `proven` is what it says, and is None unless every check passed."""

    checks: tuple[Check, ...]
    evidence: Verdict
    judged_at: int
    proven: Receipt | None


@dataclass(frozen=True, slots=True)
class Subject:
    """What a receipt is compared with. None is what is not at hand: the check is then waived, visibly."""

    request: bytes | None = field(default=None, repr=False)
    answer: bytes | None = field(default=None, repr=False)


def judge(
    data: bytes, document: bytes, policy: Policy, subject: Subject, *, at: int | None = None
) -> ReceiptVerdict:
    """Check a receipt against an evidence document. `at` is unix seconds; else the receipt's own minute.

    1. The receipt and the evidence have their form (ReceiptError, EvidenceError).
    2. The evidence is accepted by the policy, at that time.
    3. The key is the one in the attested claims, and it signed.
    4. Keys, model, measurement, release and configuration are those of the evidence.
    5. The nonce is the one that was signed for; request and answer are those, where they are given.
    """
    signed, evidence = decode_receipt(data), decode_evidence(document)  # 1
    claims = decode_claims(evidence.claims)
    now = _moment(signed.receipt, claims) if at is None else at
    verdict = appraise(evidence, policy, now)  # 2
    checks = (
        _evidence_check(verdict),
        *_key_checks(signed, claims),
        *_content_checks(signed.receipt, claims, verdict.measurement, evidence.keys),
        *_subject_checks(signed, subject),
    )
    holds = all(check.ok for check in checks if not check.waived)
    return ReceiptVerdict(checks, verdict, now, signed.receipt if holds else None)


def _moment(receipt: Receipt, claims: Claims) -> int:
    """The second of the receipt's minute that is nearest to the issue of the evidence. Raises NoTimeError."""
    if not receipt.time:
        raise NoTimeError("the receipt states no time; say with --at as of when it is to be judged")
    last = receipt.time + form.TIME_STEP_SECONDS - 1
    return min(max(receipt.time, claims.issued_at), last)


def _evidence_check(verdict: Verdict) -> Check:
    failures = verdict.failures
    found = (
        f"{failures[0].name}: {failures[0].detail}" if failures else f"{len(verdict.checks)} checks passed"
    )
    why = "Without it the signing key could be anybody's."
    return Check("evidence", verdict.verified, "evidence that the policy accepts", found, why)


def _key_checks(signed: SignedReceipt, claims: Claims) -> tuple[Check, Check]:  # 3
    digest = sha256(signed.public_key).digest()
    return (
        _equal("receipt key", claims.receipt_key, digest, "The hardware vouches for this key alone."),
        Check(
            "signature",
            _is_signed(signed),
            "a signature of that key",
            "it signed" if _is_signed(signed) else "it did not sign this",
            "Nobody changed what the enclave said.",
        ),
    )


def _is_signed(signed: SignedReceipt) -> bool:
    key = Ed25519PublicKey.from_public_bytes(signed.public_key)
    try:
        key.verify(signed.signature, form.to_sign(signed.payload))
    except InvalidSignature:
        return False
    return True


def _content_checks(receipt: Receipt, claims: Claims, measurement: bytes, keys: bytes) -> tuple[Check, ...]:
    """4: one enclave is meant throughout."""
    return (
        _equal("key list", sha256(keys).digest(), receipt.keys, "The evidence is of the same epoch."),
        _equal("model", claims.model, receipt.model, "This model answered."),
        _equal("measurement", measurement, receipt.measurement, "This code ran."),
        _equal("release", claims.release, receipt.release, "The code was built as this release."),
        _equal("configuration", claims.configuration, receipt.configuration, "It was set up like this."),
    )


def _subject_checks(signed: SignedReceipt, subject: Subject) -> tuple[Check, ...]:  # 5
    receipt, nonce = signed.receipt, signed.nonce
    return (
        _equal("nonce", receipt.nonce, form.commitment(nonce), "The digests are opened as they were made."),
        _compared("request", subject.request, lambda content: _is_request(receipt, nonce, content)),
        _compared("answer", subject.answer, lambda content: _is_answer(receipt, nonce, content)),
    )


def _is_request(receipt: Receipt, nonce: bytes, content: bytes) -> bool:
    return form.salted(form.REQUEST_LABEL, nonce, sha256(content).digest()) == receipt.request


def _is_answer(receipt: Receipt, nonce: bytes, content: bytes) -> bool:
    """Whether this is the content as it came, whole or as a stream, or its text alone.

    Programs that print an answer end it with a line feed; one behind the text is allowed.
    """
    stream = ContentDigest(stream=True)
    stream.update(content)
    digests = (sha256(content).digest(), stream.digest())
    texts = {content, content.removesuffix(b"\n")}
    return any(form.salted(form.ANSWER_LABEL, nonce, digest) == receipt.answer for digest in digests) or any(
        form.salted(form.TEXT_LABEL, nonce, sha256(text).digest()) == receipt.text for text in texts
    )


def _compared(name: str, content: bytes | None, matches: Callable[[bytes], bool]) -> Check:
    why = f"The receipt is about this {name}."
    if content is None:
        return Check(name, False, f"the {name}", "not given", why, waived=True)
    same = matches(content)
    return Check(name, same, f"the {name} that was signed for", "the same" if same else "another one", why)


def _equal(name: str, expected: bytes, found: bytes, why: str) -> Check:
    return Check(name, expected == found, expected.hex(), found.hex(), why)


def receipt_json(verdict: ReceiptVerdict) -> str:
    """The verdict as one JSON object."""
    proven = verdict.proven
    said = None if proven is None else {name: _plain(getattr(proven, name)) for name in proven.__slots__}
    checks = [
        {"name": check.name, "outcome": check.outcome.value, "detail": check.detail, "why": check.why}
        for check in verdict.checks
    ]
    document = {
        "verified": proven is not None,
        "simulated": verdict.evidence.simulated,
        "judged_at": verdict.judged_at,
        "receipt": said,
        "checks": checks,
    }
    return json.dumps(document)


def _plain(value: bytes | int | str | dict[str, int | str]) -> int | str | dict[str, int | str]:
    return value.hex() if isinstance(value, bytes) else value
