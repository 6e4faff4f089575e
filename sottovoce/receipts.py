# SPDX-License-Identifier: Apache-2.0
"""Receipts as a client has them: read, checked against evidence, and against request and answer.

`judge` is a pure function of bytes, a policy and a time: what was kept beside an answer can be checked years
later without a network (docs/spec/receipts.md). It says in one list of checks what holds and what does not.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from attestation.evidence import Claims, EvidenceError, decode_claims, decode_evidence
from attestation.policy import Policy
from attestation.results.values import Value, ValueFormError, decode_cbor
from attestation.verdict import Check, Verdict
from attestation.verify import appraise
from wire import receipt as form
from wire.receipt import ContentDigest, Receipt
from wire.strict_json import StrictJsonError, base64url_octets, encode_base64url

_DIGESTS: Final = ("request", "answer", "text", "model", "release", "configuration", "keys", "nonce")
_NAMES: Final = frozenset(
    {*_DIGESTS, "version", "measurement", "time", "sampling", "tokens", "finish", "repeatable"}
)
MAX_WORDS: Final = 100


class ReceiptError(Exception):
    """Not a receipt, or none came with the answer."""


class NoTimeError(Exception):
    """The receipt states no time, so the caller must say as of when it is to be judged."""


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A receipt in its one form, which nobody verified yet."""

    receipt: Receipt
    payload: bytes
    public_key: bytes
    nonce: bytes = field(repr=False)
    signature: bytes


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


def new_wish(now: float) -> str:
    """A field that asks for a receipt, with a nonce, and the minute of `now` in unix seconds."""
    minute = int(now) // form.TIME_STEP_SECONDS * form.TIME_STEP_SECONDS
    return f"1;time={minute};nonce={encode_base64url(os.urandom(form.NONCE_SIZE))}"


def from_text(value: str) -> bytes:
    """The receipt in a field or a comment. Raises ReceiptError."""
    try:
        return base64url_octets(value, "receipt")
    except StrictJsonError as error:
        raise ReceiptError(str(error)) from None


def decode_receipt(data: bytes) -> SignedReceipt:
    """Read a receipt; ReceiptError for anything but its one encoding, and where its key is hidden."""
    if len(data) > form.MAX_RECEIPT_BYTES:
        raise ReceiptError(f"a receipt of {len(data)} bytes exceeds {form.MAX_RECEIPT_BYTES}")
    if data[:1] != form.TAG:
        raise ReceiptError("expected COSE_Sign1")
    match _cbor(data[1:]):
        case [form.PROTECTED, dict(header), bytes(payload), bytes(signature)]:
            if header.keys() != {"key", "nonce"}:
                raise ReceiptError("expected the key and the nonce in the header, and nothing else")
            return SignedReceipt(
                _receipt(payload),
                payload,
                _octets(header["key"], "key", form.KEY_SIZE),
                _octets(header["nonce"], "nonce", form.NONCE_SIZE),
                _octets(signature, "signature", form.SIGNATURE_SIZE),
            )
        case _:
            raise ReceiptError("expected a COSE_Sign1 with EdDSA, a header, a payload and a signature")


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


def _receipt(payload: bytes) -> Receipt:
    members = _cbor(payload)
    if not isinstance(members, dict) or members.keys() != _NAMES:
        raise ReceiptError("expected exactly the names of a receipt")
    values = {str(name): value for name, value in members.items()}
    if _number(values, "version") != form.VERSION:
        raise ReceiptError(f"expected a receipt of version {form.VERSION}")
    digests = {name: _octets(values[name], name, form.DIGEST_SIZE) for name in _DIGESTS}
    prompt, completion = _tokens(values["tokens"])
    return Receipt(
        **digests,
        measurement=_octets(values["measurement"], "measurement", form.MEASUREMENT_SIZE),
        time=_number(values, "time"),
        sampling=_sampling(values["sampling"]),
        prompt_tokens=prompt,
        completion_tokens=completion,
        finish=_words(values, "finish"),
        repeatable=_words(values, "repeatable"),
    )


def _tokens(value: Value) -> tuple[int, int]:
    match value:
        case [int(prompt), int(completion)] if type(prompt) is type(completion) is int:
            return prompt, completion
        case _:
            raise ReceiptError("expected two numbers as tokens")


def _sampling(value: Value) -> dict[str, int | str]:
    if not isinstance(value, dict):
        raise ReceiptError("expected settings as sampling")
    settings: dict[str, int | str] = {}
    for name, setting in value.items():
        if not isinstance(name, str) or isinstance(setting, bool) or not isinstance(setting, int | str):
            raise ReceiptError("expected numbers by name as sampling")
        settings[name] = setting
    return settings


def _number(members: dict[str, Value], name: str) -> int:
    value = members[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= form.MAX_TIME:
        raise ReceiptError(f"expected a number as {name}")
    return value


def _words(members: dict[str, Value], name: str) -> str:
    value = members[name]
    if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_WORDS:
        raise ReceiptError(f"expected some words as {name}")
    return value


def _octets(value: Value, name: str, size: int) -> bytes:
    if not isinstance(value, bytes) or len(value) != size:
        raise ReceiptError(f"expected {size} bytes as {name}")
    return value


def _cbor(data: bytes) -> Value:
    try:
        return decode_cbor(data)
    except ValueFormError as error:
        raise ReceiptError(str(error)) from None


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


__all__ = [
    "EvidenceError",
    "NoTimeError",
    "ReceiptError",
    "ReceiptVerdict",
    "SignedReceipt",
    "Subject",
    "decode_receipt",
    "from_text",
    "judge",
    "new_wish",
    "receipt_json",
]
